//! Tokens that are only watched.

use std::sync::Arc;

use super::*;
use crate::inventory::AccountPolicy;
use crate::secret::{Fingerprinter, Secret};

/// Generation 1 was adopted, its provider cannot mint, and it was looked for another secret just now.
fn watched() -> Case {
    let mut case = Case::steady();
    case.abilities.can.mints = false;
    case.policy.initial = Some(Initial {
        source: Some(SecretSource::Env("X".into())),
        parts: BTreeMap::new(),
        id: None,
        name: None,
        expires: None,
    });
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
                c.memo.sought = Some(c.now);
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
