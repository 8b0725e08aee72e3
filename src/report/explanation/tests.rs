use crate::clock::Span;
use crate::few::Few;
use crate::names::{GenerationNo, RotationId};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{ProviderClock, Remote};
use crate::report::status::Activity;
use crate::rotation::decide::Rest;
use crate::rotation::reckoning::Reckoning;
use crate::rotation::state::{Generation, Noted, Retiring, Retry};
use crate::rotation::tests::policy as sample;
use crate::rotation::{Phase, TokenState};

use super::*;
use crate::report::outlook::NextAction;
use crate::text::Paint;

fn generation(number: u32, age: Span) -> Generation {
    let minted_at = sample::start() - age;
    Generation {
        number: GenerationNo(number),
        account: "gps-account".parse().unwrap(),
        params: Some(crate::provider::Params::new()),
        revision: 0,
        marker: None,
        remote: Remote {
            id: None,
            expires: Expiry::told(minted_at + Span::days(30)),
            refresh_expires: None,
            renewable_until: None,
            facts: std::collections::BTreeMap::new(),
        },
        minted_at,
        issued_at: minted_at,
        fingerprints: Few::default(),
        compromised: None,
        reissue_unknown: None,
    }
}

/// A token of thirty days that is due after twenty, `days` after its mint.
fn aged(days: i64) -> TokenState {
    let mut current = Current::new(generation(1, Span::days(days)), crate::rotation::state::Delivery::default());
    current.delivery.settled = Some(current.generation.minted_at);
    TokenState { phase: Phase::Steady { current }, last_number: GenerationNo(1), ..TokenState::default() }
}

fn explain(policy: &TokenPolicy, state: &TokenState, wanted: bool) -> Explanation {
    let abilities = sample::abilities();
    let activity = Activity::Asleep(&abilities);
    let subject = Subject {
        name: &policy.name,
        policy: Some(policy),
        wanted,
        state,
        clock: ProviderClock::Silent,
        proof: None,
        activity,
    };
    Explanation::new(&subject, Some(&abilities), None, sample::start())
}

#[test]
fn a_place_without_room_is_told_with_what_to_do() {
    let (policy, state, abilities) = (sample::token(), aged(21), sample::abilities());
    let (current, account) = (state.phase.current().unwrap(), &policy.account.name);
    let reckoning = Reckoning { now: sample::start(), account, clock: ProviderClock::Silent, proof: None };
    let due = due::rules(&policy, &state, current, due::Means::Rotation, &reckoning);
    let due = due::deciding(&due, sample::start()).unwrap();
    let start = due::Start { at: Time::MAX_UTC, overridden: false };
    let held = Rest { until: None, reason: Reason::NoRoom, next: Some((due, start)) };
    let first = Rest { until: None, reason: Reason::NoRoom, next: None };
    for (rest, state) in [(held, state), (first, TokenState::default())] {
        let activity = Activity::Resting { rest: &rest, stuck: None };
        let subject = Subject {
            name: &policy.name,
            policy: Some(&policy),
            wanted: true,
            state: &state,
            clock: ProviderClock::Silent,
            proof: None,
            activity,
        };
        let told = Explanation::new(&subject, Some(&abilities), None, sample::start());
        let next = &told.token.next;
        assert_eq!((next.action, next.at, next.hold.as_deref()), (NextAction::Rotate, None, Some("no-room")));
        assert!(next.why.ends_with("; its provider takes no more live tokens there: revoke one that is not needed, `patrold audit` lists them"), "{}", next.why);
        let codes: Vec<_> = told.obstacles.iter().map(|obstacle| obstacle.code.as_str()).collect();
        assert_eq!(codes, ["no-room"]);
    }
}

fn failure() -> Failure {
    Failure::new(FailureCode::Forbidden, "no")
}

/// What a case makes of a policy and a state.
type Change = fn(&mut TokenPolicy, &mut TokenState);

#[test]
fn the_rule_that_decides_and_what_is_in_its_way_are_named() {
    let window = crate::timing::window::Window {
        opens: crate::timing::cron::Schedule::parse("0 0 2 * * *", chrono_tz::UTC).unwrap(),
        duration: Span::hours(1),
    };
    let never = crate::timing::window::Window {
        opens: crate::timing::cron::Schedule::parse("0 0 2 1 1 * 2030", chrono_tz::UTC).unwrap(),
        duration: Span::hours(1),
    };
    let check = |sentence: &str,
                 days: i64,
                 windows: Option<&crate::timing::window::Window>,
                 change: Change,
                 rule: &str,
                 obstacles: &[&str]| {
        let (mut policy, mut state) = (sample::token(), aged(days));
        policy.window = windows.cloned();
        change(&mut policy, &mut state);
        let explained = explain(&policy, &state, true);
        let decides: Vec<_> =
            explained.rules.iter().filter(|rule| rule.decides).map(|rule| rule.rule.as_str()).collect();
        let codes: Vec<_> = explained.obstacles.iter().map(|it| it.code.as_str()).collect();
        assert_eq!((decides.as_slice(), codes.as_slice()), (&[rule][..], obstacles), "{sentence}: {explained:#?}");
    };
    check("nothing is due", 5, None, |_, _| {}, "renew-before", &[]);
    check("a rhythm comes first", 5, None, |policy, _| policy.rotate_every = Some(Span::days(7)), "rotate-every", &[]);
    check("due and free to begin", 21, None, |_, _| {}, "renew-before", &[]);
    check("due and its window is closed", 21, Some(&window), |_, _| {}, "renew-before", &["window-closed"]);
    check("its window opens too late", 21, Some(&never), |_, _| {}, "renew-before", &["window-overridden"]);
    check("paused", 21, None, |policy, _| policy.paused = true, "renew-before", &["paused"]);
    check(
        "rolled back to",
        21,
        None,
        |_, state| {
            if let Phase::Steady { current } = &mut state.phase {
                current.preferred = Some(sample::start() - Span::hours(1));
            }
        },
        "renew-before",
        &["recalled"],
    );
    check("asked for", 5, Some(&window), |_, state| state.requested = Some(sample::start()), "requested", &[]);
    check(
        "dead, and the account does not mint",
        5,
        None,
        |_, state| {
            if let Phase::Steady { current } = &mut state.phase {
                current.dead = Some(Noted { at: sample::start(), failure: failure() });
            }
            let next = sample::start() + Span::minutes(1);
            state.retry = Some(Retry { attempts: 3, since: sample::start(), failure: failure(), next, at: None });
        },
        "dead",
        &["backing-off"],
    );
    check(
        "in the grace of the one before",
        1,
        None,
        |_, state| {
            let Phase::Steady { current } = std::mem::take(&mut state.phase) else { return };
            let retiring = Box::new(Retiring {
                generation: generation(0, Span::days(20)),
                rotation: RotationId::new([1; 6]),
                handed_over: sample::start(),
                revoke_at: sample::start() + Span::hours(1),
            });
            state.phase = Phase::Active { current, retiring };
        },
        "renew-before",
        &["grace"],
    );
}

#[test]
fn a_token_without_a_generation_has_one_rule_and_one_that_left_has_none() {
    let policy = sample::token();
    let vacant = explain(&policy, &TokenState::default(), true);
    assert_eq!(vacant.rules.len(), 1);
    assert!(vacant.rules[0].decides && vacant.rules[0].rule == "first-issue" && vacant.obstacles.is_empty());
    let left = explain(&policy, &aged(3), false);
    assert!(left.rules.is_empty());
    assert_eq!(left.obstacles[0].code, "left-inventory");
}

#[test]
fn rules_that_do_not_apply_say_why_and_the_account_is_told_of() {
    let (policy, state) = (sample::token(), aged(5));
    let mut explained = explain(&policy, &state, true);
    let rule = |name: &str| explained.rules.iter().find(|rule| rule.rule == name).unwrap().clone();
    assert_eq!(rule("schedule").at, None);
    assert_eq!(rule("schedule").words, "the inventory sets no `schedule`");
    assert_eq!(rule("requested").words, "not requested");
    assert_eq!(rule("expired").at, Some(sample::start() + Span::days(25)));
    let account = status::account(&policy.account, None, 1, sample::start());
    let degraded = AccountStatus { condition: AccountCondition::Degraded, ..account };
    explained.obstacles = of_account(&degraded);
    let mut text = Vec::new();
    explained.write(Paint::Plain, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("! account: the account gps-account is degraded: reason unknown\n"), "{text}");
    assert_eq!(text.matches("  yes  ").count(), 1, "{text}");
}

#[test]
fn the_end_of_an_old_token_has_its_evidence() {
    let start = sample::start();
    let mut policy = sample::token();
    policy.stores = vec![sample::store("a"), sample::store("b")];
    let mut current = Current::new(generation(2, Span::hours(1)), crate::rotation::state::Delivery::default());
    current.delivery.stores.insert("a".parse().unwrap(), crate::rotation::state::Progress::Done { at: start });
    let rotation = RotationId::new([1; 6]);
    let retiring = Retiring {
        generation: generation(1, Span::days(20)),
        rotation,
        handed_over: start,
        revoke_at: start + Span::hours(1),
    };
    let phase = Phase::Active { current, retiring: Box::new(retiring) };
    let state = TokenState { phase, last_number: GenerationNo(2), ..TokenState::default() };
    let said = |explanation: &Explanation| -> Vec<(String, bool)> {
        explanation.evidence.iter().map(|it| (format!("{} {}", it.source, it.words), it.given)).collect()
    };
    let explanation = explain(&policy, &state, true);
    let expected = [
        ("store a holds the new secret".to_owned(), true),
        ("store b does not hold the new secret yet".to_owned(), false),
    ];
    assert_eq!(said(&explanation)[..2], expected);
    let mut text = Vec::new();
    explanation.write(Paint::Plain, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("EVIDENCE") && text.contains("does not hold the new secret yet"), "{text}");
    assert_eq!(said(&explain(&policy, &aged(3), true)), [], "nothing waits for its end");
}
