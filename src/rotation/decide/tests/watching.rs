//! Tokens that are only watched.

use std::sync::Arc;

use super::serving::renewable;
use super::*;
use crate::inventory::{AccountPolicy, RenewBefore};
use crate::secret::{Fingerprinter, Secret};

/// Generation 1 was adopted, its provider cannot mint, and it was looked for another secret just now.
fn watched() -> Case {
    let mut case = Case::steady();
    case.abilities.can.mints = false;
    let source = Some(SecretSource::Env("X".into()));
    case.policy.initial = Some(Box::new(Initial { source, ..*policy::initial() }));
    case.current().generation.params = None;
    case.current().generation.marker = None;
    let fingerprint = Fingerprinter::new(&[0; 32]).of(&Secret::new("by hand"));
    case.current().generation.fingerprints.insert("token".into(), fingerprint);
    case.state.adopted = case.current().generation.fingerprints.clone();
    case.memo.sought = Some(case.now);
    case.policy.account = Arc::new(AccountPolicy { poll_every: Span::hours(50), ..(*case.policy.account).clone() });
    case
}

/// Its expiry is near; the stores were inspected just now.
fn due(case: &mut Case) {
    case.now = at(481);
    case.memo.inspected = Some(case.now);
    case.memo.sought = Some(case.now);
}

#[test]
fn a_watched_token() {
    let rows: [Row; 15] = [
        (
            "its end is what the inventory says where nobody else tells",
            watched,
            |c| {
                c.abilities.can.expiry_known = false;
                c.policy.initial.as_mut().unwrap().expires = Some(at(9));
            },
            "note observed",
        ),
        (
            "is adopted",
            Case::vacant,
            |c| {
                c.abilities.can.mints = false;
                c.policy.initial = watched().policy.initial;
            },
            "Adopt",
        ),
        (
            "also after there was one before",
            Case::vacant,
            |c| {
                c.abilities.can.mints = false;
                c.policy.initial = watched().policy.initial;
                c.state.last_number = GenerationNo(3);
            },
            "Adopt",
        ),
        ("without one nothing is minted", Case::vacant, |c| c.abilities.can.mints = false, "rest for ever: watch-only"),
        ("rests until its stores are inspected", watched, |_| {}, "rest until 12:00: watch-only"),
        ("its stores are inspected", watched, |c| c.memo.inspected = None, "Inspect"),
        ("another secret is looked for after a start", watched, |c| c.memo.sought = None, "Readopt"),
        (
            "but not in place of what was minted",
            watched,
            |c| {
                c.memo.sought = None;
                c.state.adopted.clear();
            },
            "rest until 12:00: watch-only",
        ),
        ("its replacement is asked for when it is due", watched, due, "note replacement-due"),
        (
            "once",
            watched,
            |c| {
                due(c);
                c.current().replacement = Some("renew-before".into());
            },
            "rest until 483:00: watch-only",
        ),
        (
            "and again when it has expired",
            watched,
            |c| {
                due(c);
                c.current().replacement = Some("renew-before".into());
                c.now = at(800);
                (c.memo.sought, c.memo.examined) = (Some(c.now), Some(c.now));
            },
            "note replacement-due",
        ),
        (
            "is not rotated although it is dead",
            watched,
            |c| {
                c.current().dead = Some(Noted { at: at(9), failure: failure() });
                c.current().replacement = Some("dead".into());
            },
            "rest until 60:00: watch-only",
        ),
        ("nor because somebody asks", watched, |c| c.state.requested = Some(at(9)), "rest until 12:00: watch-only"),
        (
            "that its expiry is unknown is no reason",
            watched,
            |c| {
                c.current().generation.remote.expires = Expiry::Unknown;
            },
            "rest until 12:00: never-due",
        ),
        (
            "is renewed in place where that is possible",
            watched,
            |c| {
                due(c);
                c.abilities.can.renews = true;
            },
            "BeginRenewal",
        ),
    ];
    rows.into_iter().for_each(check);
}

/// A watched pair that was renewed at the start, and that nothing but a renewal makes new.
fn pair() -> Case {
    let mut case = watched();
    renewable(&mut case);
    case.abilities.can.mints = false;
    // Nobody knows how long it lived before it was adopted: a span counts whole.
    case.policy.renew_before = RenewBefore::Span(Span::hours(20));
    let generation = &mut case.current().generation;
    generation.remote.refresh_expires = None;
    generation.remote.expires = Expiry::told(at(100));
    case.now = at(1);
    case.memo.inspected = Some(at(1));
    case.memo.sought = Some(at(1));
    case
}

/// Its window is open for an hour from 15 o'clock on, three hours after the start.
fn windowed(case: &mut Case) {
    let opens = crate::timing::cron::Schedule::parse("0 0 15 * * *", chrono_tz::Tz::UTC).unwrap();
    case.policy.window = Some(crate::timing::window::Window { opens, duration: Span::hours(1) });
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_token_that_only_renews() {
    let rows: [Row; 14] = [
        ("rests until its stores are inspected", pair, |_| {}, "rest until 3:00: not-due"),
        ("is renewed when somebody asks", pair, |c| c.state.requested = Some(at(1)), "BeginRenewal"),
        (
            "also when it is paused",
            pair,
            |c| {
                c.policy.paused = true;
                c.state.requested = Some(at(1));
            },
            "BeginRenewal",
        ),
        ("is renewed by age", pair, |c| c.policy.rotate_every = Some(Span::minutes(50)), "BeginRenewal"),
        (
            "not while it is paused",
            pair,
            |c| {
                c.policy.paused = true;
                c.policy.rotate_every = Some(Span::minutes(50));
            },
            "rest until 3:00: paused",
        ),
        (
            "nor while its window is closed",
            pair,
            |c| {
                windowed(c);
                c.policy.rotate_every = Some(Span::minutes(50));
            },
            "rest until 3:00: window-closed",
        ),
        (
            "which holds up nothing that its consumers need",
            pair,
            |c| {
                windowed(c);
                c.policy.rotate_every = Some(Span::minutes(50));
                c.current().generation.remote.expires = Expiry::told(at(1) + Span::minutes(5));
            },
            "BeginRenewal",
        ),
        (
            "waits for better luck",
            pair,
            |c| {
                c.state.requested = Some(at(1));
                c.current().renewal_retry = Some(retry(1, at(1) + Span::minutes(5)));
            },
            "rest until 1:05: backing-off",
        ),
        (
            "is renewed when it is dead",
            pair,
            |c| c.current().dead = Some(Noted { at: at(1), failure: failure() }),
            "BeginRenewal",
        ),
        (
            "is renewed when it was adopted dead",
            pair,
            |c| {
                c.current().generation.issued_at = at(1);
                c.current().generation.remote.expires = Expiry::told(at(-9));
            },
            "BeginRenewal",
        ),
        (
            "somebody is told where that fails for long",
            pair,
            |c| {
                c.current().generation.remote.expires = Expiry::told(at(-9));
                c.current().renewal_retry = Some(retry(9, at(3)));
                c.now = at(2);
            },
            "note replacement-due",
        ),
        (
            "its old generation does not hold it up",
            || {
                let mut case = pair();
                let Phase::Steady { current } = case.state.phase else { unreachable!() };
                case.state.phase =
                    Phase::Active { current, retiring: Box::new(Retiring { handed_over: at(0), ..*retiring() }) };
                case
            },
            |c| c.state.requested = Some(at(1)),
            "BeginRenewal",
        ),
        (
            "what may be used up is not used",
            pair,
            |c| {
                c.current().renewal_spent = true;
                c.current().replacement = Some("renewal-in-doubt".into());
                c.state.requested = Some(at(1));
                c.policy.rotate_every = Some(Span::minutes(50));
            },
            "rest until 3:00: watch-only",
        ),
        (
            "nor what is incomplete",
            pair,
            |c| {
                c.current().generation.fingerprints.remove("refresh_token");
                c.state.requested = Some(at(1));
            },
            "rest until 3:00: watch-only",
        ),
    ];
    rows.into_iter().for_each(check);
}
