//! Stories of one channel: what is the matter when, and what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::inventory::{NoticeCommand, RateLimit, Via, When};
use crate::names::{AccountName, ChannelName};
use crate::notice::{Condition, Kind, Severity};
use crate::outcome::{Failure, FailureCode};

fn at(seconds: i64) -> Time {
    Time::UNIX_EPOCH + Span::seconds(seconds)
}

fn policy() -> ChannelPolicy {
    ChannelPolicy {
        name: "oncall".parse().unwrap(),
        when: When {
            severity: Severity::Error,
            lasting: Span::seconds(60),
            kinds: [].into(),
            accounts: [].into(),
            tokens: [].into(),
        },
        via: Via::Command(NoticeCommand {
            argv: vec!["x".into()],
            pass_env: Vec::new(),
            timeout: Duration::from_secs(1),
        }),
        repeat: None,
        gather: Span::seconds(10),
        limit: Some(RateLimit { requests: 2, per: Duration::from_secs(3600) }),
    }
}

/// A channel over time.
struct Story {
    policy: ChannelPolicy,
    book: Book,
    now: Conditions,
    unseen: BTreeSet<AccountName>,
    told: Vec<String>,
}

impl Story {
    fn new(policy: ChannelPolicy) -> Self {
        Self { policy, book: Book::default(), now: Conditions::new(), unseen: BTreeSet::new(), told: Vec::new() }
    }

    fn open(&mut self, subject: &str, severity: Severity) {
        let key = ConditionKey { kind: Kind::Failing, subject: subject.to_owned() };
        let condition = Condition { severity, account: None, token: None, why: String::new(), help: String::new() };
        self.now.insert(key, condition);
    }

    fn close(&mut self, subject: &str) {
        self.now.remove(&ConditionKey { kind: Kind::Failing, subject: subject.to_owned() });
    }

    fn channels(&self) -> BTreeMap<ChannelName, Arc<ChannelPolicy>> {
        [(self.policy.name.clone(), Arc::new(self.policy.clone()))].into()
    }

    /// Looks at `seconds`, and sends what is to be sent, which `works` or does not.
    fn look(&mut self, seconds: i64, works: bool) -> Option<i64> {
        let now = at(seconds);
        let channels = self.channels();
        self.book.observe(&self.now, &self.unseen, &channels, now);
        let decision = decide(&self.policy, &self.book, &self.now, now);
        if decision.entries.is_empty() {
            return decision.next.map(|next| (next - Time::UNIX_EPOCH).num_seconds());
        }
        if !works {
            self.book.ended(&self.policy.name, Some((Failure::new(FailureCode::ChannelFailed, "no"), None)), now);
            return None;
        }
        let words = decision.entries.iter().map(|entry| format!("{} {}", entry.turn.word(), entry.key.subject));
        let words: Vec<_> = words.collect();
        self.told.push(format!(
            "{seconds}: {}{}",
            words.join(", "),
            ["", " +left out"][usize::from(decision.left_out > 0)]
        ));
        self.book.told(&self.policy.name, &decision.entries, 1, now);
        self.book.ended(&self.policy.name, None, now);
        None
    }
}

#[test]
fn what_lasts_is_told_once_and_its_end_too() {
    let mut story = Story::new(policy());
    story.open("a", Severity::Error);
    story.open("mild", Severity::Warning);
    assert_eq!(story.look(0, true), Some(60), "it may be over soon");
    assert_eq!(story.look(60, true), Some(70), "others may follow");
    story.open("b", Severity::Critical);
    story.look(70, true);
    assert_eq!(story.look(80, true), Some(130), "what is newer waits for its own time");
    story.look(140, true);
    story.look(200, true);
    story.close("a");
    story.look(300, true);
    story.look(310, true);
    assert_eq!(story.told, ["70: opened a", "140: opened b"], "the limit of two messages holds the closure back");
    story.look(70 + 3600, true);
    assert_eq!(story.told[2..], ["3670: closed a"]);
}

#[test]
fn what_is_over_soon_is_not_told() {
    let mut story = Story::new(policy());
    story.open("a", Severity::Error);
    story.look(0, true);
    story.close("a");
    assert_eq!(story.look(50, true), None);
    assert_eq!(story.told, Vec::<String>::new());
}

#[test]
fn a_storm_is_one_message() {
    let mut story = Story::new(policy());
    for number in 0..300 {
        story.open(&format!("t{number}"), Severity::Error);
        story.look(number / 100, true);
    }
    story.look(73, true);
    assert_eq!(story.told.len(), 1);
    assert_eq!(story.told[0].matches("opened").count(), 300);
}

#[test]
fn what_gets_worse_is_told_again() {
    let mut story = Story::new(ChannelPolicy { limit: None, ..policy() });
    story.open("a", Severity::Error);
    story.look(0, true);
    story.look(70, true);
    story.open("a", Severity::Critical);
    story.look(80, true);
    story.look(90, true);
    story.open("a", Severity::Error);
    story.look(100, true);
    story.look(200, true);
    assert_eq!(story.told, ["70: opened a", "90: worsened a"]);
}

#[test]
fn what_stays_open_is_told_again_as_often_as_was_asked() {
    let mut story = Story::new(ChannelPolicy { repeat: Some(Span::seconds(600)), limit: None, ..policy() });
    story.open("a", Severity::Error);
    for seconds in (0..2000).step_by(10) {
        story.look(seconds, true);
    }
    assert_eq!(story.told, ["70: opened a", "680: repeated a", "1290: repeated a", "1900: repeated a"]);
}

#[test]
fn a_channel_that_failed_tells_how_things_are_when_it_works_again() {
    let mut story = Story::new(policy());
    story.open("a", Severity::Error);
    story.open("b", Severity::Error);
    story.look(0, false);
    story.look(70, false);
    assert_eq!(story.look(70, false), Some(71), "it is not tried at once");
    story.look(71, false);
    assert_eq!(story.look(72, false), Some(73), "each failure doubles the wait");
    story.close("b");
    story.look(100, true);
    story.look(110, true);
    assert_eq!(story.told, ["100: opened a +left out"], "what came and went meanwhile is counted");
    assert_eq!(story.book.trouble(&story.policy.name), None);
}

#[test]
fn nothing_is_told_twice_after_a_restart_and_a_missed_end_is_told() {
    let mut story = Story::new(policy());
    story.open("a", Severity::Error);
    story.open("b", Severity::Error);
    story.look(0, true);
    story.look(70, true);
    story.book = Book::parse(&story.book.to_text()).unwrap();
    story.close("b");
    story.look(500, true);
    story.look(510, true);
    assert_eq!(story.told, ["70: opened a, opened b", "510: closed b"]);
    assert!(Book::parse(b"{\"version\":2}").unwrap_err().contains("version 2"));
}

#[test]
fn what_closes_and_opens_again_before_anybody_was_told_has_not_closed() {
    let mut story = Story::new(policy());
    story.open("a", Severity::Error);
    story.look(0, true);
    story.look(70, true);
    story.close("a");
    story.look(100, true);
    story.open("a", Severity::Error);
    story.look(105, true);
    for seconds in (110..1000).step_by(10) {
        story.look(seconds, true);
    }
    assert_eq!(story.told, ["70: opened a"]);
}

#[test]
fn an_account_that_was_not_seen_since_the_start_is_not_told_to_be_well() {
    let mut story = Story::new(policy());
    let key = ConditionKey { kind: Kind::AccountDown, subject: "gps".to_owned() };
    let account: AccountName = "gps".parse().unwrap();
    let down = Condition {
        severity: Severity::Error,
        account: Some(account.clone()),
        token: None,
        why: String::new(),
        help: String::new(),
    };
    story.now.insert(key, down);
    story.look(0, true);
    story.look(70, true);
    story.book = Book::parse(&story.book.to_text()).unwrap();
    story.now.clear();
    story.unseen.insert(account);
    story.look(100, true);
    story.look(200, true);
    assert_eq!(story.told, ["70: opened gps"]);
    story.unseen.clear();
    story.look(300, true);
    story.look(310, true);
    assert_eq!(story.told[1..], ["310: closed gps"]);
}
