//! What consumers use, and what goes out of use.

use super::*;

#[test]
fn a_vacant_token() {
    let rows: [Row; 7] = [
        ("gets its first generation", Case::vacant, |_| {}, "Begin"),
        ("not while it is paused", Case::vacant, |c| c.policy.paused = true, "rest for ever: paused"),
        ("not without the inventory", Case::vacant, |c| c.wanted = false, "rest for ever: left-inventory"),
        (
            "after a failure it waits",
            Case::vacant,
            |c| c.state.retry = Some(retry(1, at(1))),
            "rest until 1:00: backing-off",
        ),
        ("unless the clock was set back since", Case::vacant, |c| c.state.retry = Some(retry(1, at(9999))), "Begin"),
        ("it adopts what is there", Case::vacant, |c| c.policy.initial = Some(initial()), "Adopt"),
        (
            "but not twice",
            Case::vacant,
            |c| {
                c.policy.initial = Some(initial());
                c.state.last_number = GenerationNo(1);
            },
            "Begin",
        ),
    ];
    rows.into_iter().for_each(check);
}

#[expect(clippy::unnecessary_box_returns, reason = "it is held in a box wherever it goes")]
fn initial() -> Box<Initial> {
    Box::new(Initial { source: Some(SecretSource::Env("X".into())), ..*policy::initial() })
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row for each sentence")]
fn a_steady_token() {
    let rows: [Row; 22] = [
        ("rests until its stores are inspected", Case::steady, |_| {}, "rest until 12:00: not-due"),
        ("they are inspected at once after a start", Case::steady, |c| c.memo.inspected = None, "Inspect"),
        ("and after the clock was set back", Case::steady, |c| c.memo.inspected = Some(at(99)), "Inspect"),
        ("is rotated when it is due", Case::steady, |c| c.now = at(481), "Inspect"),
        ("is rotated when it is due and inspected", Case::steady, |c| due(c), "Begin"),
        (
            "is not rotated while it is paused",
            Case::steady,
            |c| {
                due(c);
                c.policy.paused = true;
            },
            "rest until 483:00: paused",
        ),
        (
            "a request goes before the pause",
            Case::steady,
            |c| {
                c.state.requested = Some(at(9));
                c.policy.paused = true;
            },
            "Begin",
        ),
        (
            "waits after a failure, without circling about the inspection of what nobody can use",
            Case::steady,
            |c| {
                c.memo.inspected = None;
                c.current().dead = Some(Noted { at: at(9), failure: failure() });
                c.state.retry = Some(retry(3, at(11)));
            },
            "rest until 11:00: backing-off",
        ),
        ("left the inventory", Case::steady, |c| c.wanted = false, "rest for ever: left-inventory"),
        (
            "left the inventory, and an operator retired it",
            Case::steady,
            |c| {
                c.wanted = false;
                c.state.retirement = Some(Retirement { asked: at(9), revoke_at: at(11) });
            },
            "rest until 11:00: retirement",
        ),
        (
            "its grace is over",
            Case::steady,
            |c| {
                c.wanted = false;
                c.state.retirement = Some(Retirement { asked: at(8), revoke_at: at(9) });
            },
            "Dismiss",
        ),
        (
            "it was retired, and its entry is back",
            Case::steady,
            |c| c.state.retirement = Some(Retirement { asked: at(8), revoke_at: at(9) }),
            "note retirement-withdrawn",
        ),
        ("a store was added", Case::steady, |c| c.policy.stores.push(policy::store("b")), "note store-owed"),
        (
            "a hook was added: it is not run for an old delivery",
            Case::steady,
            |c| c.policy.hooks.push(policy::hook("b", OnFailure::Retry)),
            "rest until 12:00: not-due",
        ),
        ("its delivery is owed", Case::steady, |c| c.current().delivery = Delivery::default(), "Write"),
        ("a listing does not contain it", Case::steady, |c| c.listed(9, &[]), "Examine"),
        (
            "which was looked at",
            Case::steady,
            |c| {
                c.listed(9, &[]);
                c.memo.examined = Some(at(9));
            },
            "rest until 12:00: not-due",
        ),
        (
            "a listing that is older than its secret",
            Case::steady,
            |c| {
                c.listed(0, &[]);
                c.memo.examined = Some(c.now);
            },
            "rest until 11:00: not-due",
        ),
        ("a listing of a time that is still to come", Case::steady, |c| c.listed(99, &[]), "rest until 12:00: not-due"),
        (
            "a listing tells its id",
            Case::steady,
            |c| {
                c.current().generation.remote.id = None;
                c.listed(9, &[1]);
            },
            "note observed",
        ),
        ("without listings the provider is asked", Case::steady, |c| c.abilities.can.lists = false, "Examine"),
        (
            "an older one that nobody can revoke is nearly over",
            Case::steady,
            |c| {
                due(c);
                c.state.orphans.push(Orphan::unrevocable(&generation(0, -220)));
            },
            "rest until 483:00: remnant-alive",
        ),
    ];
    rows.into_iter().for_each(check);
}

/// The present secret is due, and the stores were inspected just now.
fn due(case: &mut Case) {
    case.now = at(481);
    case.memo.inspected = Some(at(481));
}

#[test]
fn orphans() {
    let rows: [Row; 9] = [
        ("one that is over is revoked all the same", Case::steady, |c| deferred(c, -800, None), "Reap"),
        ("one is revoked when its time comes", Case::steady, |c| deferred(c, 0, Some(at(9))), "Reap"),
        ("not before", Case::steady, |c| deferred(c, 0, Some(at(11))), "rest until 11:00: not-due"),
        (
            "not while a store is owed",
            Case::steady,
            |c| {
                deferred(c, 0, Some(at(9)));
                c.current().delivery.settled = None;
                c.current().delivery.stores.insert("a".parse().unwrap(), Progress::Failed(retry(1, at(11))));
            },
            "rest until 11:00: delivering",
        ),
        (
            "not while consumers may depend on it",
            Case::steady,
            |c| {
                deferred(c, 0, Some(at(9)));
                c.current().dead = Some(Noted { at: at(9), failure: failure() });
            },
            "Begin",
        ),
        ("one of a grace that is over", Case::steady, |c| deferred(c, 0, None), "Reap"),
        (
            "a lost mint that is listed",
            Case::steady,
            |c| {
                lost(c, 400);
                c.listed(9, &[1, 2]);
            },
            "Reap",
        ),
        (
            "a lost mint of another account",
            Case::steady,
            |c| {
                lost(c, 400);
                c.listed(9, &[1, 2]);
                let Orphan::UnknownMint { account, .. } = &mut c.state.orphans[0] else { unreachable!() };
                *account = "other".parse().unwrap();
            },
            "rest until 12:00: not-due",
        ),
        ("a lost mint is not forgotten without a look", Case::steady, |c| lost(c, 9), "Seek"),
    ];
    rows.into_iter().for_each(check);
}

fn deferred(case: &mut Case, minted: i64, revoke_at: Option<Time>) {
    case.state.orphans.push(Orphan::deferred(&generation(0, minted), revoke_at));
}

fn lost(case: &mut Case, until: i64) {
    case.state.orphans.push(Orphan::UnknownMint {
        marker: marker(2),
        account: "gps-account".parse().unwrap(),
        params: Params::new(),
        at: at(1),
        until: Some(at(until)),
        retry: None,
    });
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn an_old_generation() {
    let rows: [Row; 19] = [
        ("lives through its grace", Case::active, |_| {}, "rest until 481:00: grace"),
        ("is revoked afterwards", Case::active, |c| c.now = at(481), "Revoke"),
        ("is revoked again later", Case::active, |c| revoking(c, 481, 482), "rest until 482:00: revoking"),
        (
            "lives on while a store is owed",
            Case::active,
            |c| {
                c.now = at(481);
                c.current().delivery.settled = None;
                c.current().delivery.stores.insert("a".parse().unwrap(), Progress::Failed(retry(1, at(490))));
            },
            "rest until 490:00: delivering",
        ),
        (
            "lives on while the new secret is lost and a store is owed",
            Case::active,
            |c| {
                c.now = at(481);
                c.current().secret_lost = true;
                c.current().delivery.settled = None;
            },
            "rest until 720:00: delivering",
        ),
        (
            "is over by every clock, and revoked all the same",
            Case::active,
            |c| (c.now, c.memo.inspected) = (at(721), Some(at(721))),
            "Revoke",
        ),
        (
            "is over, and its provider answers that it does not revoke it",
            Case::active,
            |c| {
                c.now = at(721);
                c.state.retry = Some(retry(1, at(722)));
            },
            "note retired",
        ),
        (
            "cannot be revoked",
            Case::active,
            |c| {
                c.now = at(481);
                c.abilities.can.revokes = false;
            },
            "note left-to-expire",
        ),
        (
            "cannot be named",
            Case::active,
            |c| {
                c.now = at(481);
                let Phase::Active { retiring, .. } = &mut c.state.phase else { unreachable!() };
                retiring.generation.marker = None;
                retiring.generation.remote.id = None;
            },
            "note left-to-expire",
        ),
        ("is in use", Case::active, |c| used(c, Span::minutes(20)), "rest until 481:20: in-use"),
        (
            "was used before the handover by one clock, and after it by another: it may be in use",
            Case::active,
            |c| {
                used(c, Span::minutes(20));
                c.clock = ProviderClock::Seen(Span::minutes(25));
            },
            "rest until 481:20: in-use",
        ),
        (
            "is used for ever",
            Case::active,
            |c| {
                c.now = at(481) + Span::minutes(30);
                c.memo.inspected = Some(c.now);
                used(c, Span::minutes(85));
            },
            "rest until 482:25: in-use",
        ),
        (
            "was last used in the future, which counts as now",
            Case::active,
            |c| used(c, Span::hours(23)),
            "rest until 481:30: in-use",
        ),
        (
            "makes room for a rotation that cannot wait",
            Case::active,
            |c| deadly(c, 481, 482),
            "note revocation-deferred",
        ),
        (
            "makes room when the new one is dead",
            Case::active,
            |c| c.current().dead = Some(Noted { at: at(480), failure: failure() }),
            "note revocation-deferred",
        ),
        (
            "makes no room while nothing is rotated",
            Case::active,
            |c| {
                c.current().dead = Some(Noted { at: at(480), failure: failure() });
                c.policy.paused = true;
            },
            "rest until 481:00: grace",
        ),
        (
            "lives through its grace before a request is served",
            Case::active,
            |c| c.state.requested = Some(c.now),
            "rest until 481:00: grace",
        ),
        (
            "does not hold up a request when it cannot be revoked",
            Case::active,
            |c| {
                revoking(c, 481, 482);
                c.state.requested = Some(at(480));
            },
            "note revocation-deferred",
        ),
        (
            "is revoked also when its token left",
            Case::active,
            |c| {
                c.now = at(481);
                forget(c);
            },
            "Revoke",
        ),
    ];
    rows.into_iter().for_each(check);
}

/// The old one never ends, cannot be revoked, and the new one is long due.
fn deadly(case: &mut Case, now: i64, next: i64) {
    revoking(case, now, next);
    let Phase::Active { current, retiring } = &mut case.state.phase else { unreachable!() };
    retiring.generation.remote.expires = Expiry::Never;
    current.generation.remote.expires = Expiry::told(at(now) + Span::minutes(10));
}

fn used(case: &mut Case, after: Span) {
    let entries = [1, 2]
        .map(entry)
        .into_iter()
        .map(|entry| Entry { last_used: Some(ProviderTime::told(at(480) + after)), ..entry });
    case.listing = Some(Listing::new(case.now, entries.collect(), None, true));
}

#[test]
fn a_renewal() {
    let rows: [Row; 5] = [
        ("is sent", Case::renewing, |c| c.memo.fresh = Some(intent().rotation), "Renew"),
        ("is in doubt after a restart", Case::renewing, |_| {}, "note renewal-doubted"),
        ("begins in time", Case::steady, |c| renewable(c), "BeginRenewal"),
        (
            "begins while a rotation waits for better luck",
            Case::steady,
            |c| {
                renewable(c);
                c.policy.rotate_every = Some(Span::hours(5));
                c.state.retry = Some(retry(4, at(11)));
            },
            "BeginRenewal",
        ),
        (
            "does not hold up a rotation",
            Case::steady,
            |c| {
                renewable(c);
                c.policy.rotate_every = Some(Span::hours(5));
                c.current().renewal_retry = Some(retry(4, at(11)));
            },
            "Begin",
        ),
    ];
    rows.into_iter().for_each(check);
}

/// An access token of eleven hours that can be renewed for a day.
pub(super) fn renewable(case: &mut Case) {
    case.abilities = policy::renewing();
    let fingerprint: crate::secret::Fingerprint = serde_json::from_str("\"00\"").unwrap();
    let generation = &mut case.current().generation;
    generation.fingerprints =
        ["token", "refresh_token"].map(|part| (part.to_owned(), fingerprint.clone())).into_iter().collect();
    generation.remote.expires = Expiry::told(at(11));
    generation.remote.refresh_expires = Some(ProviderTime::told(at(24)));
}
