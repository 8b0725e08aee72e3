use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::*;
use crate::few::Few;
use crate::names::GenerationNo;
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Params, ProviderClock, ProviderTime, Remote};
use crate::rotation::state::{Delivery, Generation, Noted};
use crate::rotation::tests::policy;
use crate::timing::cron::Schedule;
use crate::timing::window::Window;

/// A token, what is known of it, and how much later than its mint it is looked at.
struct Case {
    policy: TokenPolicy,
    state: TokenState,
    current: Current,
    means: Means,
    clock: ProviderClock,
}

impl Case {
    /// Thirty days, due ten days before their end.
    fn new() -> Self {
        let minted = policy::start();
        let generation = Generation {
            number: GenerationNo(1),
            account: "gps-account".parse().unwrap(),
            params: Some(Params::new()),
            revision: 0,
            marker: None,
            remote: Remote {
                id: None,
                expires: Expiry::told(minted + Span::days(30)),
                refresh_expires: None,
                renewable_until: None,
                facts: BTreeMap::new(),
            },
            minted_at: minted,
            issued_at: minted,
            fingerprints: Few::default(),
            compromised: None,
            reissue_unknown: None,
        };
        let current = Current::new(generation, Delivery::default());
        Self {
            policy: policy::token(),
            state: TokenState::default(),
            current,
            means: Means::Rotation,
            clock: ProviderClock::Seen(Span::zero()),
        }
    }

    /// Access tokens of half an hour, renewable for ten hours, and that for ten days.
    fn renewing() -> Self {
        let mut case = Self::new();
        let minted = policy::start();
        case.means = Means::Both;
        case.policy.renew_before = RenewBefore::Share(0.4);
        let remote = &mut case.current.generation.remote;
        remote.expires = Expiry::told(minted + Span::minutes(30));
        remote.refresh_expires = Some(ProviderTime::told(minted + Span::hours(10)));
        remote.renewable_until = Some(ProviderTime::told(minted + Span::days(10)));
        case
    }

    /// The same adopted, at a provider that cannot mint, and nobody knows how long it can be renewed.
    fn only_renewing() -> Self {
        let mut case = Self::renewing();
        case.means = Means::Renewal;
        let generation = &mut case.current.generation;
        generation.params = None;
        (generation.remote.refresh_expires, generation.remote.renewable_until) = (None, None);
        case
    }

    /// The rule that decides `after` the mint, with its times as hours and minutes since then.
    fn decides(&self, after: Span) -> String {
        let minted = policy::start();
        let account = &self.policy.account.name;
        let reckoning = Reckoning { now: minted + after, account, clock: self.clock, proof: None };
        let rules = rules(&self.policy, &self.state, &self.current, self.means, &reckoning);
        let Some(due) = deciding(&rules, minted + after) else { return "nothing".into() };
        let start = start(&self.policy, &due, minted + after);
        let hours = |time: Time| {
            if time == Time::MAX_UTC {
                "never".into()
            } else {
                let minutes = (time - minted).num_minutes();
                if minutes % 60 == 0 {
                    (minutes / 60).to_string()
                } else {
                    format!("{}:{:02}", minutes / 60, minutes % 60)
                }
            }
        };
        let kind = if due.kind == RuleKind::Renewal { " (in place)" } else { "" };
        let deadline = due.deadline.map_or(String::new(), |deadline| format!(", deadline {}", hours(deadline)));
        let overridden = if start.overridden { " without its window" } else { "" };
        format!("{}{kind} {}{deadline}, begins {}{overridden}", due.reason.code(), hours(due.at), hours(start.at))
    }
}

fn check(sentence: &str, make: fn() -> Case, change: fn(&mut Case), after: Span, expected: &str) {
    let mut case = make();
    change(&mut case);
    assert_eq!(case.decides(after), expected, "{sentence}");
}

fn open(case: &mut Case, expression: &str) {
    let opens = Schedule::parse(expression, Tz::UTC).unwrap();
    case.policy.window = Some(Window { opens, duration: Span::hours(2) });
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_token_falls_due_by_its_first_rule() {
    type Row = (&'static str, fn(&mut Case), i64, &'static str);
    let rows: [Row; 24] = [
        ("ten days before thirty are over", |_| {}, 0, "renew-before 480, deadline 600, begins 480"),
        ("when it is due, it begins now", |_| {}, 500, "renew-before 480, deadline 600, begins 500"),
        (
            "a share",
            |c| c.policy.renew_before = RenewBefore::Share(0.5),
            0,
            "renew-before 360, deadline 540, begins 360",
        ),
        (
            "longer than the life: a third of it",
            |c| c.policy.renew_before = RenewBefore::Span(Span::days(30)),
            0,
            "renew-before 480, deadline 600, begins 480",
        ),
        (
            "longer than what is left of a token that was adopted: the whole of it",
            |c| {
                adopted(c);
                c.policy.renew_before = RenewBefore::Span(Span::days(40));
                c.policy.jitter = Span::days(1);
            },
            0,
            "renew-before -240, deadline 240, begins 0",
        ),
        (
            "a share of what is left of a token that was adopted",
            |c| {
                adopted(c);
                c.policy.renew_before = RenewBefore::Share(0.5);
            },
            0,
            "renew-before 360, deadline 540, begins 360",
        ),
        ("by age", |c| c.policy.rotate_every = Some(Span::days(7)), 0, "rotate-every 168, deadline 600, begins 168"),
        (
            "by a schedule",
            |c| c.policy.schedule = Some(Schedule::parse("0 0 3 * * Mon", Tz::UTC).unwrap()),
            0,
            "schedule 15, deadline 600, begins 15",
        ),
        ("a request", |c| c.state.requested = Some(policy::start()), 1, "requested 0, deadline 0, begins 1"),
        ("dead at the provider", |c| dead(c, 5), 6, "dead 5, deadline 5, begins 6"),
        (
            "dead goes before a request",
            |c| {
                dead(c, 5);
                c.state.requested = Some(policy::start() + Span::hours(6));
            },
            7,
            "dead 5, deadline 5, begins 7",
        ),
        ("expired", |_| {}, 721, "expired 720, deadline 600, begins 721"),
        (
            "expired on the provider's clock, which is ahead",
            |c| c.clock = ProviderClock::Seen(Span::hours(2)),
            719,
            "expired 718, deadline 598, begins 719",
        ),
        ("its secret is lost", |c| c.current.secret_lost = true, 1, "secret-lost 0, deadline 600, begins 1"),
        ("other parameters", |c| c.policy.params.insert("a".into(), 1.into()), 1, "changed 0, deadline 600, begins 1"),
        ("another account", |c| c.policy.account = policy::account("other"), 1, "changed 0, deadline 600, begins 1"),
        ("it never expires", |c| c.current.generation.remote.expires = Expiry::Never, 9999, "nothing"),
        (
            "it expires in a thousand years and is rotated by age",
            |c| {
                c.current.generation.remote.expires = Expiry::told("3026-03-01T12:00:00Z".parse().unwrap());
                c.policy.rotate_every = Some(Span::days(30));
                c.policy.renew_before = RenewBefore::Share(0.33);
            },
            0,
            "rotate-every 720, deadline 7319449:40, begins 720",
        ),
        (
            "nobody tells its expiry: the lifetime asked for",
            |c| c.current.generation.remote.expires = Expiry::Unknown,
            0,
            "renew-before 480, deadline 600, begins 480",
        ),
        (
            "nobody can tell at all, but it was minted here",
            |c| {
                c.current.generation.remote.expires = Expiry::Unknown;
                c.policy.lifetime = None;
            },
            9,
            "nothing",
        ),
        (
            "nobody can tell of an adopted one",
            |c| {
                c.current.generation.remote.expires = Expiry::Unknown;
                c.current.generation.params = None;
            },
            9,
            "expiry-unknown 0, begins 9",
        ),
        (
            "an adopted one with a rhythm",
            |c| {
                c.current.generation.remote.expires = Expiry::Unknown;
                c.current.generation.params = None;
                c.policy.rotate_every = Some(Span::days(1));
            },
            9,
            "rotate-every 24, begins 24",
        ),
        (
            "it was told to have expired before it was minted: what was asked for counts",
            |c| c.current.generation.remote.expires = Expiry::told(policy::start() - Span::hours(1)),
            0,
            "renew-before 480, deadline 600, begins 480",
        ),
        (
            "jitter makes it earlier",
            |c| c.policy.jitter = Span::days(1),
            0,
            "renew-before 473:43, deadline 600, begins 473:43",
        ),
    ];
    for (sentence, change, after, expected) in rows {
        check(sentence, Case::new, change, Span::hours(after), expected);
    }
}

fn adopted(case: &mut Case) {
    case.current.generation.params = None;
}

fn dead(case: &mut Case, hours: i64) {
    let failure = Failure::new(FailureCode::Unauthorized, "");
    case.current.dead = Some(Noted { at: policy::start() + Span::hours(hours), failure });
}

#[test]
fn what_can_be_renewed_is_renewed() {
    type Row = (&'static str, fn(&mut Case), i64, &'static str);
    let rows: [Row; 7] = [
        ("its access token is renewed in time", |_| {}, 0, "renewal (in place) 0:18, deadline 0:24, begins 0:18"),
        ("a renewal that was missed comes first", |_| {}, 31, "renewal (in place) 0:18, deadline 0:24, begins 0:31"),
        ("but consumers do not wait long for it", |_| {}, 34, "expired 0:33, deadline 0:33, begins 0:34"),
        (
            "a spent refresh token",
            |c| c.current.renewal_spent = true,
            1,
            "renewal-in-doubt 0, deadline 0:24, begins 0:01",
        ),
        ("a dead one", |c| dead(c, 0), 1, "dead 0, deadline 0, begins 0:01"),
        (
            "a refresh token that dies first",
            |c| {
                let end = Some(ProviderTime::told(policy::start() + Span::minutes(20)));
                c.current.generation.remote.refresh_expires = end;
            },
            0,
            "renew-before 0:18, deadline 0:24, begins 0:18",
        ),
        (
            "the end of all renewals",
            |c| renewed(c, Span::hours(160)),
            160 * 60,
            "renewable-until 144, deadline 192, begins 160",
        ),
    ];
    for (sentence, change, after, expected) in rows {
        check(sentence, Case::renewing, change, Span::minutes(after), expected);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_can_only_be_renewed_is_renewed_for_every_reason() {
    type Row = (&'static str, fn(&mut Case), i64, &'static str);
    let rows: [Row; 15] = [
        ("its access token", |_| {}, 0, "renewal (in place) 0:18, deadline 0:24, begins 0:18"),
        (
            "somebody asks",
            |c| c.state.requested = Some(policy::start()),
            1,
            "requested (in place) 0, deadline 0, begins 0:01",
        ),
        (
            "its age, which begins anew with each renewal",
            |c| {
                renewed(c, Span::minutes(100));
                c.policy.rotate_every = Some(Span::minutes(10));
            },
            100,
            "rotate-every (in place) 1:50, begins 1:50",
        ),
        (
            "a schedule, counted from the last renewal",
            |c| {
                renewed(c, Span::minutes(100));
                c.policy.schedule = Some(Schedule::parse("0 45 * * * *", Tz::UTC).unwrap());
            },
            100,
            "schedule (in place) 1:45, deadline 2:10, begins 1:45",
        ),
        ("its access token is dead", |c| dead(c, 0), 1, "dead (in place) 0, deadline 0, begins 0:01"),
        (
            "it was adopted after its end",
            |c| c.current.generation.remote.expires = Expiry::told(policy::start() - Span::days(1)),
            0,
            "renewal (in place) -24, deadline -24, begins 0",
        ),
        (
            "nobody knows its end",
            |c| c.current.generation.remote.expires = Expiry::Unknown,
            0,
            "expiry-unknown (in place) 0, begins 0",
        ),
        (
            "not even where its age is a reason as well",
            |c| {
                c.current.generation.remote.expires = Expiry::Unknown;
                c.policy.rotate_every = Some(Span::days(1));
            },
            0,
            "expiry-unknown (in place) 0, begins 0",
        ),
        (
            "but once only",
            |c| {
                c.current.generation.remote.expires = Expiry::Unknown;
                c.current.generation.revision = 1;
                c.policy.rotate_every = Some(Span::days(1));
            },
            0,
            "rotate-every (in place) 24, begins 24",
        ),
        (
            "what renews it ends first",
            |c| {
                let end = Some(ProviderTime::told(policy::start() + Span::minutes(10)));
                c.current.generation.remote.refresh_expires = end;
            },
            0,
            "renewal (in place) 0:06, deadline 0:08, begins 0:06",
        ),
        (
            "what renews it may be used up: somebody is asked",
            |c| {
                c.current.renewal_spent = true;
                c.state.requested = Some(policy::start());
                dead(c, 0);
            },
            1,
            "dead 0, deadline 0, begins 0:01",
        ),
        ("nothing of it can be read", |c| c.current.secret_lost = true, 1, "secret-lost 0, deadline 0:24, begins 0:01"),
        (
            "its account changed: who minted it cannot renew it for another",
            |c| c.policy.account = policy::account("other"),
            1,
            "changed 0, deadline 0:30, begins 0:01",
        ),
        (
            "a window holds up what somebody likes to have",
            |c| {
                c.current.generation.remote.expires = Expiry::Never;
                c.policy.rotate_every = Some(Span::hours(1));
                open(c, "0 0 15 * * *");
            },
            70,
            "rotate-every (in place) 1, begins 3",
        ),
        (
            "and not what its consumers need",
            |c| open(c, "0 0 15 * * *"),
            20,
            "renewal (in place) 0:18, deadline 0:24, begins 0:20",
        ),
    ];
    for (sentence, change, after, expected) in rows {
        check(sentence, Case::only_renewing, change, Span::minutes(after), expected);
    }
}

/// Its access token was renewed last so long after the mint.
fn renewed(case: &mut Case, after: Span) {
    let issued = policy::start() + after;
    case.current.generation.issued_at = issued;
    case.current.generation.remote.expires = Expiry::told(issued + Span::minutes(30));
    case.current.generation.remote.refresh_expires = Some(ProviderTime::told(issued + Span::hours(10)));
}

#[test]
fn windows_delay_what_can_wait() {
    // The first of March 2026 is a Sunday; tests begin at noon.
    type Row = (&'static str, fn(&mut Case), i64, &'static str);
    let rows: [Row; 8] = [
        ("it is open", |c| open(c, "0 0 11 * * *"), 480, "renew-before 480, deadline 600, begins 480"),
        ("it opens soon", |c| open(c, "0 0 15 * * *"), 480, "renew-before 480, deadline 600, begins 483"),
        (
            "it opens after the deadline",
            |c| open(c, "0 0 0 1 4 *"),
            480,
            "renew-before 480, deadline 600, begins 600 without its window",
        ),
        (
            "the deadline has passed",
            |c| open(c, "0 0 0 1 4 *"),
            650,
            "renew-before 480, deadline 600, begins 650 without its window",
        ),
        (
            "the deadline holds also for a rule that has none",
            |c| {
                open(c, "0 0 0 1 6 *");
                c.policy.rotate_every = Some(Span::days(7));
            },
            500,
            "rotate-every 168, deadline 600, begins 600 without its window",
        ),
        (
            "a request does not wait",
            |c| {
                open(c, "0 0 0 1 4 *");
                c.state.requested = Some(policy::start());
            },
            1,
            "requested 0, deadline 0, begins 1",
        ),
        (
            "nor does death",
            |c| {
                open(c, "0 0 0 1 4 *");
                dead(c, 0);
            },
            1,
            "dead 0, deadline 0, begins 1",
        ),
        (
            "what never expires waits for ever",
            |c| {
                open(c, "0 0 0 1 1 * 2020");
                c.policy.rotate_every = Some(Span::days(7));
                c.current.generation.remote.expires = Expiry::Never;
            },
            200,
            "rotate-every 168, begins never",
        ),
    ];
    for (sentence, change, after, expected) in rows {
        check(sentence, Case::new, change, Span::hours(after), expected);
    }
}

#[test]
#[should_panic(expected = "a sentence")]
fn the_check_fails_for_another_rule() {
    check("a sentence", Case::new, |_| {}, Span::zero(), "renew-before 481, deadline 600, begins 481");
}
