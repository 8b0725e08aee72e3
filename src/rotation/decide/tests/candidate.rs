//! From an intent to a handover, or to an end without one.

use super::*;

#[test]
fn a_mint() {
    let rows: [Row; 15] = [
        ("is sent", Case::intended, |c| c.memo.fresh = Some(intent().rotation), "Mint"),
        (
            "not when its token left meanwhile",
            Case::intended,
            |c| {
                c.memo.fresh = Some(intent().rotation);
                c.wanted = false;
            },
            "note mint-refused",
        ),
        ("is in doubt after a restart", Case::intended, |_| {}, "note mint-doubted"),
        ("in doubt is looked for", Case::searching, |_| {}, "Search"),
        ("is looked for again later", Case::searching, |c| searched(c, 1, 481), "rest until 481:00: searching"),
        ("is given up after an hour", Case::searching, |c| tried(c, 3, 60), "note search-ended"),
        ("not before", Case::searching, |c| tried(c, 3, 59), "Search"),
        ("not by the clock alone", Case::searching, |c| tried(c, 2, 9999), "Search"),
        (
            "sooner, while consumers have nothing",
            Case::searching,
            |c| {
                tried(c, 3, 6);
                c.current().dead = Some(Noted { at: at(480), failure: failure() });
            },
            "note search-ended",
        ),
        ("found is revoked", Case::searching, |c| found(c), "RevokeOrphan"),
        (
            "found stays known where nothing can be revoked",
            Case::searching,
            |c| {
                found(c);
                c.abilities.can.revokes = false;
            },
            "note search-ended",
        ),
        (
            "cannot be looked for without listings",
            Case::searching,
            |c| c.abilities.can.lists = false,
            "note search-ended",
        ),
        ("nor without markers", Case::searching, |c| c.abilities.can.marks = false, "note search-ended"),
        (
            "another account may be able to",
            Case::searching,
            |c| {
                c.abilities.can.lists = false;
                c.policy.account = policy::account("other");
            },
            "Search",
        ),
        ("goes on when its token left", Case::searching, |c| c.wanted = false, "Search"),
    ];
    rows.into_iter().for_each(check);
}

fn searched(case: &mut Case, attempts: u32, next: i64) {
    case.state.retry = Some(retry(attempts, at(next)));
}

fn tried(case: &mut Case, attempts: u32, minutes: i64) {
    case.now += Span::minutes(minutes);
    case.state.retry = Some(retry(attempts, case.now));
}

fn found(case: &mut Case) {
    let Phase::Searching { search, .. } = &mut case.state.phase else { unreachable!() };
    search.found = Some(generation(2, 480).remote);
}

#[test]
fn a_candidate() {
    let rows: [Row; 22] = [
        ("is proven", Case::minted, |_| {}, "Verify"),
        ("is proven again later", Case::minted, |c| searched(c, 1, 481), "rest until 481:00: verifying"),
        ("that nobody can prove", Case::minted, |c| c.abilities.can.verifies = false, "note verified"),
        ("that is somebody else's", Case::minted, |c| c.candidate().rejection = Some(failure()), "note undo-begun"),
        ("whose token left", Case::minted, |c| c.wanted = false, "note undo-begun"),
        ("that has expired by every clock is proven all the same", Case::minted, |c| c.now = at(1300), "Verify"),
        ("that is proven is written", Case::verified, |_| {}, "Write"),
        ("also when its token left: a store may hold it", Case::verified, |c| c.wanted = false, "Write"),
        ("of which nobody knows the stores", Case::verified, forget, "rest until 1200:00: left-inventory"),
        ("that is written", Case::verified, |c| c.candidate().delivery = delivered(false), "note delivered"),
        (
            "whose store fails waits, at most until somebody needs it",
            Case::verified,
            |c| fail_store(c, 900),
            "rest until 504:00: delivering",
        ),
        (
            "one of whose stores fails, while the current one ends",
            Case::verified,
            |c| {
                c.policy.stores.push(policy::store("b"));
                c.candidate().delivery.stores = delivered(false).stores;
                c.candidate().delivery.stores.insert("b".parse().unwrap(), Progress::Failed(retry(9, at(701))));
                c.now = at(700);
            },
            "Notify",
        ),
        (
            "that is nearly over itself becomes current",
            Case::verified,
            |c| {
                c.now = at(1150);
                fail_store(c, 1151);
            },
            "note activated-early",
        ),
        ("that is proven is delivered, whatever the clock says", Case::verified, |c| c.now = at(1300), "Write"),
        ("that is announced", Case::delivered, |_| {}, "note activated"),
        ("that is not announced yet", Case::delivered, |c| c.candidate().delivery.hooks.clear(), "Notify"),
        ("whose hook fails", Case::delivered, |c| c.fail_hook(481), "rest until 481:00: delivering"),
        (
            "whose hook wants it back",
            Case::delivered,
            |c| {
                c.fail_hook(481);
                c.hook().on_failure = OnFailure::Rollback;
            },
            "note undo-begun",
        ),
        (
            "with nothing to go back to",
            Case::delivered,
            |c| {
                c.fail_hook(481);
                c.hook().on_failure = OnFailure::Rollback;
                c.current().dead = Some(Noted { at: at(480), failure: failure() });
            },
            "rest until 481:00: delivering",
        ),
        (
            "of a first issue whose hook wants it back",
            Case::delivered,
            |c| {
                c.fail_hook(481);
                c.hook().on_failure = OnFailure::Rollback;
                let candidate = Box::new(c.candidate().clone());
                c.state.phase = Phase::Delivered { current: None, candidate };
            },
            "rest until 481:00: delivering",
        ),
        ("when a store is added", Case::delivered, |c| c.policy.stores.push(policy::store("b")), "note store-owed"),
        ("that is announced and whose token left", Case::delivered, |c| c.wanted = false, "note activated"),
    ];
    rows.into_iter().for_each(check);
}

fn fail_store(case: &mut Case, next: i64) {
    // No wait is longer than a day.
    let next = at(next).min(case.now + Span::hours(24));
    case.candidate().delivery.stores.insert("a".parse().unwrap(), Progress::Failed(retry(9, next)));
}

#[test]
fn an_undo() {
    let rows: [Row; 9] = [
        ("ends with a revocation", Case::undoing, |_| {}, "RevokeCandidate"),
        ("begins with the old secret", Case::undoing, |c| restored(c).stores.clear(), "Restore"),
        ("tells consumers of it", Case::undoing, |c| restored(c).hooks.clear(), "Renotify"),
        (
            "does not revoke what consumers may hold",
            Case::undoing,
            |c| {
                let row = Progress::Failed(retry(99, at(490)));
                restored(c).hooks.insert("reload".parse().unwrap(), row);
            },
            "rest until 490:00: undoing",
        ),
        (
            "makes room for a rotation that cannot wait",
            Case::undoing,
            |c| {
                let row = Progress::Failed(retry(99, at(701)));
                restored(c).hooks.insert("reload".parse().unwrap(), row);
                c.now = at(700);
            },
            "note undone",
        ),
        (
            "with nothing to go back to keeps what consumers hold",
            Case::undoing,
            |c| c.current().dead = Some(Noted { at: at(480), failure: failure() }),
            "note undone",
        ),
        ("of what nobody can revoke", Case::undoing, |c| c.abilities.can.revokes = false, "note undone"),
        ("of which nobody knows the stores", Case::undoing, forget, "rest until 1200:00: left-inventory"),
        ("is tried again", Case::undoing, |c| revoking(c, 481, 482), "rest until 482:00: undoing"),
    ];
    rows.into_iter().for_each(check);
}

fn restored(case: &mut Case) -> &mut Delivery {
    let Phase::Undoing { undo, .. } = &mut case.state.phase else { unreachable!() };
    &mut undo.restored
}

#[test]
fn a_check_runs_after_the_hooks_that_tell_and_gates_the_handover() {
    let with_check = |case: &mut Case| case.policy.hooks.push(policy::proof("proof"));
    let told = |case: &mut Case| {
        with_check(case);
        let row = Progress::Done { at: at(480) };
        case.candidate().delivery.hooks.insert("reload".parse().unwrap(), row);
    };
    let mut case = Case::delivered();
    with_check(&mut case);
    case.candidate().delivery.hooks.clear();
    case.with_situation(|s| match decide(s) {
        Step::Act(Action::Notify(hooks)) => assert_eq!(hooks, ["reload".parse().unwrap()], "those that tell go first"),
        step => panic!("{step:?}"),
    });
    let mut case = Case::delivered();
    told(&mut case);
    case.with_situation(|s| match decide(s) {
        Step::Act(Action::Notify(hooks)) => assert_eq!(hooks, ["proof".parse().unwrap()]),
        step => panic!("{step:?}"),
    });
    case.candidate().delivery.hooks.insert("proof".parse().unwrap(), Progress::Failed(retry(1, at(481))));
    assert_eq!(case.decides(), "rest until 481:00: delivering", "nothing is handed over, nothing revoked");
    case.candidate().delivery.hooks.insert("proof".parse().unwrap(), Progress::Done { at: at(480) });
    assert_eq!(case.decides(), "note activated");
}

#[test]
fn a_wave_begins_once_all_of_the_one_before_has_succeeded_its_checks_too() {
    let mut case = Case::delivered();
    case.candidate().delivery.hooks.clear();
    case.policy.hooks.push(policy::proof("proof"));
    let mut late = policy::hook("late", OnFailure::Retry);
    late.pace.wave = 2;
    // The order of the inventory does not count.
    case.policy.hooks.insert(0, late);
    for expected in ["reload", "proof", "late"] {
        case.with_situation(|s| match decide(s) {
            Step::Act(Action::Notify(hooks)) => assert_eq!(hooks, [expected.parse().unwrap()]),
            step => panic!("{expected}: {step:?}"),
        });
        let failed = Progress::Failed(retry(1, at(481)));
        case.candidate().delivery.hooks.insert(expected.parse().unwrap(), failed);
        assert_eq!(case.decides(), "rest until 481:00: delivering", "{expected} failed: nothing later begins");
        case.candidate().delivery.hooks.insert(expected.parse().unwrap(), Progress::Done { at: at(480) });
    }
    assert_eq!(case.decides(), "note activated");
}
