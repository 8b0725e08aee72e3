//! Providers that take so many live tokens in one place and no more.

use super::*;

/// At most two.
fn two(case: &mut Case) {
    case.abilities.can.max_live = Some(2);
}

/// The present secret is due, and the stores were inspected just now; at most two.
fn due(case: &mut Case) {
    two(case);
    case.now = at(481);
    case.memo.inspected = Some(at(481));
}

/// The same, and a listing of an hour ago shows the present token beside somebody else's.
fn crowded(case: &mut Case) {
    due(case);
    case.listed(480, &[1, 9]);
}

/// The same, with another one in place of somebody else's.
fn beside(case: &mut Case, change: fn(&mut Entry)) {
    due(case);
    let mut other = entry(9);
    change(&mut other);
    case.listing = Some(Listing::new(at(480), vec![entry(1), other], None, true));
}

fn deferred(case: &mut Case, revoke_at: i64, retry: Option<Retry>) {
    let generation = Box::new(generation(0, 0));
    case.state.orphans.push(Orphan::Deferred { generation, revoke_at: Some(at(revoke_at)), retry });
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn a_mint_does_not_go_beyond_what_is_allowed() {
    let rows: [Row; 16] = [
        ("there is room beside the present one", Case::steady, due, "Begin"),
        ("somebody else's token takes it", Case::steady, crowded, "rest until 483:00: no-room"),
        (
            "until the first of them ends",
            Case::steady,
            |c| {
                crowded(c);
                c.policy.drift_every = Span::days(99);
            },
            "rest until 720:00: no-room",
        ),
        (
            "not where the provider has no limit",
            Case::steady,
            |c| {
                crowded(c);
                c.abilities.can.max_live = None;
            },
            "Begin",
        ),
        (
            "nor where it allows more",
            Case::steady,
            |c| {
                crowded(c);
                c.abilities.can.max_live = Some(3);
            },
            "Begin",
        ),
        (
            "a request makes no room",
            Case::steady,
            |c| {
                crowded(c);
                c.state.requested = Some(at(480));
            },
            "rest until 483:00: no-room",
        ),
        ("one that is listed as dead takes none", Case::steady, |c| beside(c, |it| it.dead = true), "Begin"),
        (
            "nor does one that has expired",
            Case::steady,
            |c| beside(c, |it| it.remote.expires = Expiry::told(at(481))),
            "Begin",
        ),
        (
            "a listing that is older than the last revocation still shows it",
            Case::steady,
            |c| {
                crowded(c);
                c.memo.freed = Some(at(480));
            },
            "Begin",
        ),
        (
            "unless that was before the clock was set back",
            Case::steady,
            |c| {
                crowded(c);
                c.memo.freed = Some(at(999));
            },
            "rest until 483:00: no-room",
        ),
        (
            "the listing is of another place than the next one's",
            Case::steady,
            |c| {
                crowded(c);
                c.policy.params.insert("app".into(), "other".into());
            },
            "Begin",
        ),
        (
            "without a listing, what nobody can revoke counts",
            Case::steady,
            |c| {
                due(c);
                c.state.orphans.push(Orphan::unrevocable(&generation(0, -220)));
            },
            "rest until 483:00: no-room",
        ),
        (
            "the present one takes none once it is dead",
            Case::steady,
            |c| {
                crowded(c);
                c.current().dead = Some(Noted { at: at(480), failure: failure() });
            },
            "Begin",
        ),
        (
            "nor when it has expired",
            Case::steady,
            |c| {
                crowded(c);
                c.now = at(721);
                c.memo.examined = Some(c.now);
            },
            "Begin",
        ),
        (
            "a first one waits, too",
            Case::vacant,
            |c| {
                two(c);
                c.now = at(481);
                c.listed(480, &[8, 9]);
            },
            "rest until 1200:00: no-room",
        ),
        (
            "and begins where there is room",
            Case::vacant,
            |c| {
                two(c);
                c.now = at(481);
                c.listed(480, &[9]);
            },
            "Begin",
        ),
    ];
    rows.into_iter().for_each(check);
}

#[test]
fn what_is_left_of_an_older_generation_makes_room_first() {
    let rows: [Row; 5] = [
        (
            "one that waits for its time is revoked early",
            Case::steady,
            |c| {
                due(c);
                deferred(c, 500, None);
            },
            "Reap",
        ),
        (
            "not before it is due",
            Case::steady,
            |c| {
                two(c);
                deferred(c, 500, None);
            },
            "rest until 12:00: not-due",
        ),
        (
            "nor while there is room",
            Case::steady,
            |c| {
                due(c);
                c.abilities.can.max_live = Some(3);
                deferred(c, 500, None);
            },
            "rest until 483:00: remnant-alive",
        ),
        (
            "nor while consumers may have nothing else",
            Case::steady,
            |c| {
                due(c);
                deferred(c, 482, None);
                c.current().delivery.settled = None;
                c.current().delivery.stores.insert("a".parse().unwrap(), Progress::Failed(retry(1, at(490))));
            },
            "rest until 490:00: no-room",
        ),
        (
            "one that could not be revoked is tried when its time comes",
            Case::steady,
            |c| {
                due(c);
                deferred(c, 480, Some(retry(1, at(482))));
            },
            "rest until 482:00: no-room",
        ),
    ];
    rows.into_iter().for_each(check);
}

/// The new generation is near its end already, in the grace of the old one; at most two.
fn pressed(case: &mut Case) {
    two(case);
    case.current().generation.remote.expires = Expiry::told(case.now + Span::minutes(1));
}

#[test]
fn an_old_generation_gives_way_to_one_that_cannot_wait() {
    let rows: [Row; 8] = [
        ("it loses the rest of its grace", Case::active, pressed, "Revoke"),
        (
            "not where there is room for three",
            Case::active,
            |c| {
                pressed(c);
                c.abilities.can.max_live = Some(3);
            },
            "note revocation-deferred",
        ),
        (
            "not where its slot is elsewhere: it is not in the way",
            Case::active,
            |c| {
                pressed(c);
                match &mut c.state.phase {
                    Phase::Active { retiring, .. } => retiring.generation.account = "other".parse().unwrap(),
                    other => panic!("{other:?}"),
                }
            },
            "note revocation-deferred",
        ),
        (
            "not while consumers may have nothing else",
            Case::active,
            |c| {
                pressed(c);
                c.current().delivery.settled = None;
                c.current().delivery.stores.insert("a".parse().unwrap(), Progress::Failed(retry(1, at(490))));
            },
            "rest until 480:31: delivering",
        ),
        (
            "not when the new one is dead: it takes no room",
            Case::active,
            |c| {
                two(c);
                c.current().dead = Some(Noted { at: at(480), failure: failure() });
            },
            "note revocation-deferred",
        ),
        (
            "not while it is seen in use",
            Case::active,
            |c| {
                pressed(c);
                let used = Entry { last_used: Some(ProviderTime::told(c.now)), ..entry(1) };
                let mut present = entry(2);
                present.remote = c.current().generation.remote.clone();
                c.listing = Some(Listing::new(c.now, vec![used, present], None, true));
            },
            "rest until 480:31: in-use",
        ),
        (
            "nor when it was seen so right before its end",
            Case::active,
            |c| {
                pressed(c);
                match &mut c.state.phase {
                    Phase::Active { retiring, .. } => retiring.revoke_at += Span::minutes(20),
                    other => panic!("{other:?}"),
                }
            },
            "rest until 480:31: grace",
        ),
        (
            "and a revocation that fails is not passed over for a third",
            Case::active,
            |c| {
                revoking(c, 481, 482);
                pressed(c);
                c.state.requested = Some(at(480));
            },
            "rest until 481:01: revoking",
        ),
    ];
    rows.into_iter().for_each(check);
}
