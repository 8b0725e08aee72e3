//! What ends a wait before its time.

use super::*;
use crate::rotation::life::{deadline, end, life};
use crate::timing::backoff::Life;

/// A step failed at 0:10 and is tried again at 1:00; it is 0:30.
fn failed(case: &mut Case, code: FailureCode) {
    case.now = at(0) + Span::minutes(30);
    case.memo.inspected = Some(case.now);
    let at = Some(at(0) + Span::minutes(10));
    case.state.retry = Some(Retry { failure: Failure::new(code, ""), at, ..retry(1, self::at(1)) });
}

/// A token that is asked to rotate, and whose consumers have one that lives for a month.
fn waiting() -> Case {
    let mut case = Case::steady();
    case.state.requested = Some(at(0));
    case
}

fn minutes(minutes: i64) -> Time {
    at(0) + Span::minutes(minutes)
}

#[test]
fn a_wait_for_the_provider() {
    let waits = "rest until 1:00: backing-off";
    let rows: [Row; 9] = [
        ("lasts its time", waiting, |c| failed(c, FailureCode::RateLimited), waits),
        (
            "but a minute where consumers hold nothing that works",
            Case::vacant,
            |c| failed(c, FailureCode::RateLimited),
            "Begin",
        ),
        (
            "ends when the account answers again",
            waiting,
            |c| {
                failed(c, FailureCode::Connect);
                c.memo.recovered = Some(minutes(20));
            },
            "Begin",
        ),
        (
            "not when it had done so before the failure",
            waiting,
            |c| {
                failed(c, FailureCode::Connect);
                c.memo.recovered = Some(minutes(5));
            },
            waits,
        ),
        (
            "not at a moment that is still to come: the clock was set back",
            waiting,
            |c| {
                failed(c, FailureCode::Connect);
                c.memo.recovered = Some(minutes(99));
            },
            waits,
        ),
        (
            "a refusal is none",
            waiting,
            |c| {
                failed(c, FailureCode::Rejected);
                c.memo.recovered = Some(minutes(20));
            },
            waits,
        ),
        (
            "an operator's request ends any wait",
            waiting,
            |c| {
                failed(c, FailureCode::Rejected);
                c.memo.pressed = Some(minutes(20));
            },
            "Begin",
        ),
        (
            "but not that for what failed since",
            waiting,
            |c| {
                failed(c, FailureCode::Rejected);
                c.memo.pressed = Some(minutes(10));
            },
            waits,
        ),
        (
            "a start of the daemon ends none",
            waiting,
            |c| {
                failed(c, FailureCode::Connect);
                c.memo.resumed = Some(minutes(20));
            },
            waits,
        ),
    ];
    rows.into_iter().for_each(check);
}

#[test]
fn a_wait_for_a_hook() {
    let rows: [Row; 3] = [
        ("lasts its time", Case::delivered, |c| c.fail_hook(490), "rest until 490:00: delivering"),
        (
            "ends with a start of the daemon: rights and rules change with it",
            Case::delivered,
            |c| {
                c.fail_hook(490);
                c.memo.resumed = Some(minutes(20));
            },
            "Notify",
        ),
        (
            "and with an operator's request",
            Case::delivered,
            |c| {
                c.fail_hook(490);
                c.memo.pressed = Some(minutes(20));
            },
            "Notify",
        ),
    ];
    rows.into_iter().for_each(check);
}

#[test]
fn who_asked_meanwhile_does_not_wait_for_the_backoff_of_the_mint_before() {
    let mut case = Case::searching();
    case.state.requested = Some(at(481));
    case.now = at(482);
    case.state = apply(std::mem::take(&mut case.state), at(482), &Event::OrphanRevoked { next: at(490) }).unwrap();
    case.memo.inspected = Some(at(482));
    assert_eq!(case.decides(), "Begin");
    let mut case = Case::searching();
    case.state.requested = Some(at(479));
    case.state = apply(std::mem::take(&mut case.state), at(482), &Event::OrphanRevoked { next: at(490) }).unwrap();
    assert_eq!(case.state.retry.map(|retry| retry.next), Some(at(490)), "this is the mint that was asked for");
}

#[test]
fn consumers_are_told_ever_more_seldom_of_a_value_that_is_changed_again_and_again() {
    let mut repairs = Repairs::default();
    let every = Span::minutes(10);
    let told: Vec<_> = (0..2000).filter(|turn| repairs.tells(at(0) + every * *turn, every).is_none()).collect();
    assert_eq!(
        told,
        [
            0, 2, 6, 14, 30, 62, 98, 134, 170, 206, 242, 278, 314, 350, 386, 422, 458, 494, 530, 566, 602, 638, 674,
            710, 746, 782, 818, 854, 890, 926, 962, 998, 1034, 1070, 1106, 1142, 1178, 1214, 1250, 1286, 1322, 1358,
            1394, 1430, 1466, 1502, 1538, 1574, 1610, 1646, 1682, 1718, 1754, 1790, 1826, 1862, 1898, 1934, 1970
        ]
    );
}

#[test]
fn a_repair_of_what_nobody_reads_differently_owes_no_hooks() {
    let store: StoreKey = policy::store("a").key;
    let rows = [
        ("another value", false, None, "Notify"),
        ("another mode", true, None, "note redelivered"),
        ("another value, again", true, Some(at(12)), "note redelivered"),
    ];
    for (sentence, quiet, tell_at, next) in rows {
        let mut case = Case::steady();
        case.now = at(10);
        let found = "differs".into();
        let owed = Event::StoreOwed { store: store.clone(), found, revoke_at: None, added: false, quiet, tell_at };
        case.state = apply(std::mem::take(&mut case.state), at(10), &owed).unwrap();
        assert_eq!(case.decides(), "Write", "{sentence}");
        case.state = apply(
            std::mem::take(&mut case.state),
            at(10),
            &Event::StoreWritten { store: store.clone(), receipt: None },
        )
        .unwrap();
        assert_eq!(case.decides(), next, "{sentence}");
        if quiet {
            case.state = apply(std::mem::take(&mut case.state), at(10), &Event::Redelivered {}).unwrap();
            case.memo.inspected = Some(at(12));
            case.now = at(12);
            let told = case.decides() == "note consumers-owed";
            assert_eq!(told, tell_at.is_some(), "{sentence}: {}", case.decides());
        }
    }
}

#[test]
fn the_deadline_of_a_token_is_the_end_of_what_its_consumers_hold() {
    let served = |mut case: Case| {
        let store = policy::store("a").key;
        case.candidate().delivery.stores.insert(store, Progress::Done { at: at(480) });
        case
    };
    let dead = |mut case: Case| {
        case.current().dead = Some(Noted { at: at(9), failure: failure() });
        case
    };
    for (sentence, case, expected) in [
        ("nothing yet: now", Case::vacant(), at(0)),
        ("one generation: its expiry", Case::steady(), at(720)),
        ("a dead one: now", dead(Case::steady()), at(10)),
        ("a new one that nobody has: the old one's expiry", Case::verified(), at(720)),
        ("a new one that some have: its own", served(Case::verified()), at(480 + 720)),
    ] {
        assert_eq!(end(&case.state, &case.reckoning()), expected, "{sentence}");
        let latest = case.now + Span::hours(1);
        assert_eq!(deadline(&case.state, &case.reckoning()), expected.min(latest), "{sentence}: nobody waits for ever");
    }
}

#[test]
fn the_life_that_is_left_is_that_of_what_consumers_have() {
    let owing = |mut case: Case| {
        case.current().delivery.settled = None;
        case.current().delivery.stores.clear();
        case
    };
    let told = |mut case: Case| {
        case.current().delivery.settled = None;
        case
    };
    for (sentence, case, expected) in [
        ("nothing yet", Case::vacant(), Life::Over),
        ("one that is in the stores, and hooks are owed", told(Case::steady()), Life::For(Span::hours(710))),
        ("one generation", Case::steady(), Life::For(Span::hours(710))),
        ("one that is not delivered, and the one before is gone", owing(Case::steady()), Life::Over),
        (
            "one that is not delivered, and the one before lives",
            owing(Case::active()),
            Life::For(Span::minutes(43_170)),
        ),
    ] {
        assert_eq!(life(&case.state, &case.reckoning()), expected, "{sentence}");
    }
}

type Spoil = fn(&mut Case);

/// The failures that a rotation counts with whose mint got the answer `code`, after seven that failed before it.
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method is of one lifetime only")]
fn counted(code: FailureCode, spoil: impl Fn(&mut Case)) -> u32 {
    let mut case = Case::searching();
    case.state.failed_rotations = 7;
    let Phase::Searching { search, .. } = &mut case.state.phase else { panic!("it searches") };
    search.failure = Failure::new(code, "");
    spoil(&mut case);
    case.with_situation(|s| s.attempts())
}

#[test]
fn a_stop_of_our_own_lengthens_no_wait_where_the_orphan_can_be_taken_back() {
    let rows: [(&str, FailureCode, Spoil, u32); 7] = [
        ("a timeout counts", FailureCode::Timeout, |_| {}, 8),
        ("a stop does not", FailureCode::Stopped, |_| {}, 3),
        ("but where nobody lists", FailureCode::Stopped, |c| c.abilities.can.lists = false, 8),
        (
            "where each may have left one behind",
            FailureCode::Stopped,
            |c| {
                c.abilities.can.lists = false;
                c.state.failed_rotations = 1;
                for number in 3..6 {
                    c.state.orphans.push(Orphan::Unrevocable {
                        number: GenerationNo(number),
                        marker: None,
                        id: None,
                        until: None,
                    });
                }
            },
            4,
        ),
        ("or lists no names", FailureCode::Stopped, |c| c.abilities.can.marks = false, 8),
        ("or revokes", FailureCode::Stopped, |c| c.abilities.can.revokes = false, 8),
        ("the first failure is the first", FailureCode::Stopped, |c| c.state.failed_rotations = 0, 1),
    ];
    for (sentence, code, spoil, expected) in rows {
        assert_eq!(counted(code, spoil), expected, "{sentence}");
    }
}

#[test]
fn a_wait_for_the_rate_limit_of_the_account() {
    let rows: [Row; 6] = [
        (
            "lasts until a request may leave",
            waiting,
            |c| c.memo.limited = Some((at(9), at(11))),
            "rest until 11:00: rate-limit",
        ),
        (
            "also before there is a token",
            Case::vacant,
            |c| c.memo.limited = Some((at(0), at(1))),
            "rest until 1:00: rate-limit",
        ),
        ("and no longer", waiting, |c| c.memo.limited = Some((at(9), at(10))), "Begin"),
        (
            "another inventory may have another limit",
            waiting,
            |c| (c.memo.limited, c.memo.resumed) = (Some((at(9), at(11))), Some(at(10))),
            "Begin",
        ),
        ("the clock was set back since", waiting, |c| c.memo.limited = Some((at(11), at(13))), "Begin"),
        (
            "an operator's request does not end it",
            waiting,
            |c| (c.memo.limited, c.memo.pressed) = (Some((at(9), at(11))), Some(at(10))),
            "rest until 11:00: rate-limit",
        ),
    ];
    rows.into_iter().for_each(check);
}
