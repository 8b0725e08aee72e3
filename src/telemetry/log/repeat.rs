//! Repetition: what goes wrong again and again is logged now and then, with a count of what was left out.
//!
//! A provider that is down for a night must not fill a disk, nor hide the one line that matters among thousands.

use std::collections::HashMap;

use crate::clock::{Span, Time};
use crate::event;

/// The same line is logged once in this time.
const INTERVAL: Span = Span::minutes(10);

/// More lines are not remembered; what is not remembered is logged.
const MOST: usize = 10_000;

/// Lines about neither a token nor an account that come as often as somebody else, or every token, causes them.
const PROVOKED: &[&str] = &[
    event::JOURNAL_STUCK,
    event::CONTROL_REFUSED,
    event::CONTROL_DISTURBED,
    event::HTTP_REFUSED,
    event::HTTP_DISTURBED,
    event::NOTICE_UNSENT,
    event::LIBRARY,
];

/// After these, what went wrong with the token or account before is over.
const SETTLED: &[&str] =
    &["activated", "retired", "redelivered", "renewal-verified", "remnant-ended", event::LISTING_RESUMED];

/// What a line is about; fields that it does not have are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    pub event: String,
    pub token: String,
    pub account: String,
    pub store: String,
    pub hook: String,
    pub marker: String,
    pub code: String,
    pub message: String,
}

/// What was logged lately.
#[derive(Debug, Default)]
pub(super) struct Repetition {
    told: HashMap<Subject, Told>,
    /// When there was no room and what is old was looked for.
    cleared: Option<Time>,
}

#[derive(Debug)]
struct Told {
    at: Time,
    left_out: u64,
}

impl Repetition {
    /// Whether a line at `now` is logged: with the number of those like it that were left out before, or not at all.
    /// `wrong`: it is a warning or an error.
    pub(super) fn judge(&mut self, subject: Subject, wrong: bool, now: Time) -> Option<u64> {
        if !wrong {
            self.settle(&subject);
            return Some(0);
        }
        let about = !subject.token.is_empty() || !subject.account.is_empty();
        if !about && !PROVOKED.contains(&&*subject.event) {
            return Some(0);
        }
        let fresh = |told: &Told| told.at <= now && now - told.at < INTERVAL;
        if let Some(told) = self.told.get_mut(&subject) {
            if fresh(told) {
                told.left_out += 1;
                return None;
            }
            let left_out = told.left_out;
            *told = Told { at: now, left_out: 0 };
            return Some(left_out);
        }
        // Looking through all of it for every line would cost more than the lines.
        let cleared = self.cleared.is_some_and(|at| at <= now && now - at < INTERVAL / 10);
        if self.told.len() >= MOST && !cleared {
            self.told.retain(|_, told| fresh(told));
            self.cleared = Some(now);
        }
        if self.told.len() < MOST {
            self.told.insert(subject, Told { at: now, left_out: 0 });
        }
        Some(0)
    }

    /// Forgets what a line that is no complaint shows to be over.
    fn settle(&mut self, good: &Subject) {
        let all = SETTLED.contains(&&*good.event);
        if self.told.is_empty() || !(all || !good.store.is_empty() || !good.hook.is_empty()) {
            return;
        }
        self.told.retain(|told, _| {
            let same = told.token == good.token && told.account == good.account;
            let part = all || told.store == good.store && told.hook == good.hook;
            !(same && part)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(event: &str, token: &str, store: &str) -> Subject {
        Subject {
            event: event.to_owned(),
            token: token.to_owned(),
            store: store.to_owned(),
            code: "connect".to_owned(),
            ..Subject::default()
        }
    }

    /// Judges lines, each so many seconds after the epoch.
    fn check(sentence: &str, lines: &[(i64, Subject, bool)], expected: &[Option<u64>]) {
        let mut repetition = Repetition::default();
        let at = |seconds: &i64| Time::UNIX_EPOCH + Span::seconds(*seconds);
        let judge =
            |(seconds, subject, wrong): &(i64, Subject, bool)| repetition.judge(subject.clone(), *wrong, at(seconds));
        assert_eq!(lines.iter().map(judge).collect::<Vec<_>>(), expected, "{sentence}");
    }

    #[test]
    fn the_same_is_told_once_in_a_while() {
        let mint = |token| failed("mint-refused", token, "");
        let store = |store| failed("store-failed", "a", store);
        let good = |event: &str, store: &str| Subject { code: String::new(), ..failed(event, "a", store) };
        check(
            "the same failure",
            &[(0, mint("a"), true), (1, mint("a"), true), (2, mint("a"), true), (601, mint("a"), true)],
            &[Some(0), None, None, Some(2)],
        );
        check("another token", &[(0, mint("a"), true), (1, mint("b"), true)], &[Some(0), Some(0)]);
        let other = Subject { code: "timeout".to_owned(), ..mint("a") };
        check("another cause", &[(0, mint("a"), true), (1, other, true)], &[Some(0), Some(0)]);
        check(
            "it went well between",
            &[(0, mint("a"), true), (1, good("retired", ""), false), (2, mint("a"), true)],
            &[Some(0), Some(0), Some(0)],
        );
        check(
            "another attempt is no success",
            &[(0, mint("a"), true), (1, good("intended", ""), false), (2, mint("a"), true)],
            &[Some(0), Some(0), None],
        );
        check(
            "one store of two",
            &[(0, store("x"), true), (1, good("store-written", "y"), false), (2, store("x"), true)],
            &[Some(0), Some(0), None],
        );
        check(
            "that store",
            &[(0, store("x"), true), (1, good("store-written", "x"), false), (2, store("x"), true)],
            &[Some(0), Some(0), Some(0)],
        );
        check("the clock was set back", &[(900, mint("a"), true), (0, mint("a"), true)], &[Some(0), Some(0)]);
    }

    #[test]
    fn what_an_operator_provokes_himself_is_always_told() {
        let problem = Subject { event: event::INVENTORY_PROBLEM.to_owned(), ..Subject::default() };
        check("an edit", &[(0, problem.clone(), true), (1, problem, true)], &[Some(0), Some(0)]);
        let refused = Subject { event: event::CONTROL_REFUSED.to_owned(), ..Subject::default() };
        check("a stranger", &[(0, refused.clone(), true), (1, refused, true)], &[Some(0), None]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut repetition = Repetition::default();
        let now = Time::UNIX_EPOCH;
        for number in 0..2 * MOST {
            assert_eq!(repetition.judge(failed("mint-refused", &number.to_string(), ""), true, now), Some(0));
        }
        assert_eq!(repetition.told.len(), MOST);
        repetition.judge(failed("mint-refused", "late", ""), true, now + INTERVAL);
        assert_eq!(repetition.told.len(), 1, "what is old makes room");
    }
}
