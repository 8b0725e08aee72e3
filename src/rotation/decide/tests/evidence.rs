//! That no single answer is believed which would end, or leave behind, what consumers use.

use super::*;
use crate::secret::{Fingerprinter, Secret, TOKEN_PART};

/// Gives `generation` the secret `text`.
fn with_secret(generation: &mut Generation, text: &str) {
    let fingerprint = Fingerprinter::new(&[7; 32]).of(&Secret::new(text));
    generation.fingerprints.insert(TOKEN_PART.to_owned(), fingerprint);
}

/// The provider answered the mint with the token that exists: `id` and `secret` tell what of it is the same.
fn same_again(case: &mut Case, id: bool, secret: bool) {
    let (old, new) = ("old", if secret { "old" } else { "new" });
    with_secret(&mut case.current().generation, old);
    let known = case.current().generation.remote.id.clone();
    let generation = &mut case.candidate().generation;
    with_secret(generation, new);
    generation.remote.id = if id { known } else { generation.remote.id.clone() };
}

/// The same after a handover.
fn handed_over(case: &mut Case, id: bool, secret: bool) {
    let Phase::Active { current, retiring } = &mut case.state.phase else { unreachable!() };
    with_secret(&mut current.generation, "new");
    with_secret(&mut retiring.generation, if secret { "new" } else { "old" });
    if id {
        retiring.generation.remote.id = current.generation.remote.id.clone();
    }
}

#[test]
fn the_same_token_again_is_neither_delivered_nor_revoked() {
    let rows: [Row; 15] = [
        ("another token is proven", Case::minted, |c| same_again(c, false, false), "Verify"),
        ("the same token is not handed over", Case::minted, |c| same_again(c, true, true), "note undo-begun"),
        ("nor the same secret under another id", Case::minted, |c| same_again(c, false, true), "note undo-begun"),
        ("a new secret of the same id is proven", Case::minted, |c| same_again(c, true, false), "Verify"),
        (
            "also when its token left meanwhile: the old one is dead",
            Case::minted,
            |c| {
                same_again(c, true, false);
                c.wanted = false;
            },
            "Verify",
        ),
        ("not handed over later either", Case::verified, |c| same_again(c, true, true), "note undo-begun"),
        ("a new secret of the same id is delivered", Case::verified, |c| same_again(c, true, false), "Write"),
        ("what is another token is taken back", undoing, |c| same_again(c, false, false), "RevokeCandidate"),
        ("the same token is not", undoing, |c| same_again(c, true, true), "note undone"),
        ("nor the same secret", undoing, |c| same_again(c, false, true), "note undone"),
        ("nor the same id", undoing, |c| same_again(c, true, false), "note undone"),
        ("another one waits for its grace", Case::active, |c| handed_over(c, false, false), "rest until 481:00: grace"),
        ("the same id needs no revocation", Case::active, |c| handed_over(c, true, false), "note revoked"),
        ("the same token neither", Case::active, |c| handed_over(c, true, true), "note retired"),
        ("the same secret is left alone", Case::active, |c| handed_over(c, false, true), "note left-to-expire"),
    ];
    rows.into_iter().for_each(check);
}

/// Nothing reached a consumer.
fn undoing() -> Case {
    let mut case = Case::undoing();
    let Phase::Undoing { undo, .. } = &mut case.state.phase else { unreachable!() };
    undo.restore = false;
    case
}

#[test]
fn a_failing_hook_does_not_bring_back_what_the_provider_replaced() {
    let rows: [Row; 2] = [
        (
            "another token is rolled back",
            Case::delivered,
            |c| {
                c.hook().on_failure = OnFailure::Rollback;
                c.fail_hook(490);
            },
            "note undo-begun",
        ),
        (
            "the same id is not: its old secret is dead",
            Case::delivered,
            |c| {
                same_again(c, true, false);
                c.hook().on_failure = OnFailure::Rollback;
                c.fail_hook(490);
            },
            "rest until 490:00: delivering",
        ),
    ];
    rows.into_iter().for_each(check);
}

#[test]
fn what_turned_up_under_a_lost_name_is_compared_before_it_is_revoked() {
    let lost = |c: &mut Case| {
        let (marker, account, params) = (marker(2), "gps-account".parse().unwrap(), Params::new());
        c.state.orphans.push(Orphan::UnknownMint {
            marker,
            account,
            params,
            at: at(5),
            until: Some(at(40)),
            retry: None,
        });
    };
    let mut case = Case::steady();
    lost(&mut case);
    let mut found = entry(2);
    case.listing = Some(Listing::new(at(9), vec![entry(1), found.clone()], None, true));
    assert_eq!(case.decides(), "Reap", "another token");
    found.remote = case.current().generation.remote.clone();
    case.listing = Some(Listing::new(at(9), vec![found.clone()], None, true));
    looked(&mut case, 2, 0);
    assert_eq!(case.decides(), "rest until 12:00: not-due", "the current token under the new name");
    case.now = at(41);
    case.memo.inspected = Some(at(41));
    case.listing = Some(Listing::new(at(41), vec![found.clone()], None, true));
    assert_eq!(case.decides(), "note remnant-ended", "which is no orphan");
    let mut case = Case::searching();
    let Phase::Searching { search, current, .. } = &mut case.state.phase else { unreachable!() };
    search.found = current.as_ref().map(|current| current.generation.remote.clone());
    assert_eq!(case.decides(), "note search-ended", "found by a search");
}

/// Nothing but listings can tell of the current token, and one of the hour 9 lacks it.
fn unseen() -> Case {
    let mut case = Case::steady();
    case.abilities.can.verifies = false;
    case.abilities.settle = Span::minutes(5);
    case.listed(9, &[]);
    case
}

fn missed(case: &mut Case, minutes_ago: i64) {
    case.memo.absent.insert(Missing::Generation(GenerationNo(1), 0), case.now - Span::minutes(minutes_ago));
    case.memo.examined = Some(case.now - Span::minutes(minutes_ago));
}

#[test]
fn absence_is_looked_at_twice() {
    let rows: [Row; 8] = [
        ("a first listing that lacks it raises the question", unseen, |_| {}, "Examine"),
        ("which waits for the settling time", unseen, |c| missed(c, 2), "rest until 10:03: not-due"),
        ("and is asked again then", unseen, |c| missed(c, 5), "Examine"),
        (
            "a second look that failed is made again",
            unseen,
            |c| {
                missed(c, 7);
                c.memo.examined = Some(c.now - Span::minutes(1));
            },
            "rest until 10:04: not-due",
        ),
        (
            "one that is there again ends the question",
            unseen,
            |c| {
                missed(c, 5);
                c.listed(9, &[1]);
            },
            "Examine",
        ),
        (
            "a listing that is not whole raises none",
            unseen,
            |c| c.listing = Some(Listing::new(at(9), vec![], None, false)),
            "rest until 12:00: not-due",
        ),
        (
            "nor one that may leave out tokens that live",
            unseen,
            |c| c.listing = Some(Listing::new(at(9), vec![], None, true).leaving_out(true)),
            "rest until 12:00: not-due",
        ),
        (
            "another revision begins anew",
            unseen,
            |c| {
                missed(c, 5);
                c.current().generation.revision = 1;
                c.memo.examined = None;
            },
            "Examine",
        ),
    ];
    rows.into_iter().for_each(check);
}

#[test]
fn absence_is_proven_by_the_second_of_two_listings() {
    let settle = Span::minutes(5);
    for (sentence, listings, proven) in [
        ("one listing", &[0][..], false),
        ("two too close to each other", &[0, 4], false),
        ("two that are far enough apart", &[0, 5], true),
        ("three", &[0, 1, 5], true),
        ("the clock was set back between", &[9, 0, 4], false),
    ] {
        let mut memo = Memo::default();
        let mut last = false;
        for minutes in listings {
            let listed = at(0) + Span::minutes(*minutes);
            last = memo.proven_absent(Missing::Lost(marker(1)), listed, settle) <= listed;
        }
        assert_eq!(last, proven, "{sentence}");
    }
    let mut memo = Memo::default();
    let none = Span::zero();
    assert!(memo.proven_absent(Missing::Lost(marker(1)), at(0), none) > at(0), "one look never is two");
}

/// The first mint of all is in doubt.
fn first_in_doubt() -> Case {
    let mut case = Case::searching();
    let Phase::Searching { current, .. } = &mut case.state.phase else { unreachable!() };
    *current = None;
    case
}

fn lost(case: &mut Case, number: u32) {
    let (marker, account, params) = (marker(number), "gps-account".parse().unwrap(), Params::new());
    let (at, until) = (case.now, Some(at(4000)));
    case.state.orphans.push(Orphan::UnknownMint { marker, account, params, at, until, retry: None });
}

fn looked(case: &mut Case, number: u32, minutes_ago: i64) {
    let last = case.now - Span::minutes(minutes_ago);
    case.memo.looks.insert(marker(number), Looks { count: 1, last, seen: Some(last) });
}

#[test]
fn a_doubt_never_starves() {
    let rows: [Row; 12] = [
        ("while consumers are served, it is looked for first", Case::searching, |_| {}, "Search"),
        ("without a first token, another is minted at once", first_in_doubt, |_| {}, "note search-ended"),
        (
            "likewise where the current one is dead",
            Case::searching,
            |c| c.current().dead = Some(Noted { at: at(480), failure: failure() }),
            "note search-ended",
        ),
        (
            "and where its time is nearly over",
            Case::searching,
            |c| c.current().generation.remote.expires = Expiry::told(at(500)),
            "note search-ended",
        ),
        ("not for a token that left the inventory", first_in_doubt, |c| c.wanted = false, "Search"),
        ("one that was found is revoked first", first_in_doubt, |c| found_at(c), "RevokeOrphan"),
        (
            "unless that has to wait",
            first_in_doubt,
            |c| {
                found_at(c);
                c.state.retry = Some(retry(1, at(481)));
            },
            "note search-ended",
        ),
        (
            "not while too many may still turn up",
            first_in_doubt,
            |c| {
                lost(c, 3);
                lost(c, 4);
            },
            "Search",
        ),
        (
            "those that were looked for do not count",
            first_in_doubt,
            |c| {
                lost(c, 3);
                lost(c, 4);
                c.now += Span::hours(1);
                looked(c, 3, 0);
            },
            "note search-ended",
        ),
        ("what is left is looked for while nothing else is to be done", Case::steady, |c| lost(c, 2), "Seek"),
        (
            "again, and again when it must have turned up",
            Case::steady,
            |c| {
                lost(c, 2);
                looked(c, 2, 0);
            },
            "rest until 10:00: not-due",
        ),
        (
            "and not any more after that",
            Case::steady,
            |c| {
                lost(c, 2);
                c.now += Span::hours(1);
                looked(c, 2, 0);
                c.memo.inspected = Some(c.now);
            },
            "rest until 13:00: not-due",
        ),
    ];
    rows.into_iter().for_each(check);
}

fn found_at(case: &mut Case) {
    let Phase::Searching { search, .. } = &mut case.state.phase else { unreachable!() };
    search.found = Some(generation(2, 480).remote);
}

#[test]
fn a_look_that_rightly_finds_nothing_is_no_failure() {
    let mut case = Case::searching();
    looked(&mut case, 2, 0);
    assert!(case.decides().ends_with(": searching"), "it waits without a retry: {}", case.decides());
    case.now += Span::minutes(10);
    assert_eq!(case.decides(), "Search", "and looks again");
}

#[test]
fn the_accounts_own_credential_and_failing_listings() {
    let rows: [Row; 6] = [
        ("its account is refused", Case::steady, |c| c.refused = Some(at(9)), "Examine"),
        ("before it had this secret", Case::steady, |c| c.refused = Some(at(-1)), "rest until 12:00: not-due"),
        (
            "and it was asked about since",
            Case::steady,
            |c| {
                c.refused = Some(at(9));
                c.memo.examined = Some(c.now);
            },
            "rest until 12:00: not-due",
        ),
        ("listings fail for two polls", Case::steady, |c| c.listed(8, &[1]), "Examine"),
        ("not for one", Case::steady, |c| c.listed(9, &[1]), "rest until 12:00: not-due"),
        ("there was none since the start", Case::steady, |c| c.memo.begun = Some(at(8)), "Examine"),
    ];
    rows.into_iter().for_each(check);
}

#[test]
fn a_grace_that_nobody_wrote_down_fits_into_the_life_that_the_provider_gives() {
    for (sentence, by_default, life, grace) in [
        ("a long life", true, Span::days(30), Span::hours(1)),
        ("a short one", true, Span::minutes(30), Span::minutes(10)),
        ("one that was written down", false, Span::minutes(30), Span::hours(1)),
    ] {
        let mut case = Case::delivered();
        case.policy.grace_by_default = by_default;
        let now = case.now;
        case.candidate().generation.issued_at = now;
        case.candidate().generation.remote.expires = Expiry::told(now + life);
        case.candidate().delivery = delivered(false);
        let end = case.with_situation(|situation| situation.end_of_grace(Some(&first())));
        assert_eq!(end - now, grace, "{sentence}");
    }
}

/// Nobody can ask about the current token, and the listing of the hour 9 says that it expired a minute before.
fn told_over() -> Case {
    let mut case = unseen();
    let mut told = entry(1);
    told.remote.expires = Expiry::told(at(9) - Span::minutes(1));
    case.listing = Some(Listing::new(at(9), vec![told], None, true));
    case
}

#[test]
fn a_provider_that_says_of_every_token_that_it_has_expired_gets_backoff() {
    let mut case = told_over();
    assert_eq!(case.decides(), "note observed");
    let observe = |case: &mut Case| {
        let step = case.with_situation(decide);
        let Step::Note(event) = step else { panic!("{step:?}") };
        assert!(matches!(event, Event::Observed { over: true, .. }), "{event:?}");
        case.state = crate::rotation::apply::apply(case.state.clone(), case.now, &event).unwrap();
    };
    observe(&mut case);
    assert_eq!(case.decides(), "Begin", "it is believed once");

    let told = case.current().clone();
    let mut handover = Case::delivered();
    *handover.current() = told;
    let candidate = candidate(9);
    let vain = handover.with_situation(|s| s.vain(s.state.phase.current(), &candidate));
    assert_eq!(
        vain.map(|failure| failure.code),
        Some(FailureCode::NotLengthened),
        "and the rotation is told as a failure"
    );
    let vain = Case::delivered().with_situation(|s| s.vain(s.state.phase.current(), &candidate));
    assert_eq!(vain, None, "which one that nobody said so of is not");

    // The next one is said to have expired, too.
    let mut case = told_over();
    case.state.failed_rotations = 20;
    case.state.last_success = Some(case.now - Span::minutes(5));
    case.state.last_failure = Some(Noted { at: case.now - Span::minutes(5), failure: vain_failure() });
    observe(&mut case);
    assert!(case.decides().ends_with(": backing-off"), "{}", case.decides());
    case.now += Span::hours(1);
    case.memo.inspected = Some(case.now);
    assert_eq!(case.decides(), "Begin");
}

fn vain_failure() -> Failure {
    Failure::new(FailureCode::NotLengthened, "")
}

/// The listing of an hour ago, of a provider that may leave out what lives, lacks it.
fn left_out(case: &mut Case) {
    case.listing = Some(Listing::new(at(9), vec![entry(2)], None, true).leaving_out(true));
}

#[test]
fn what_a_listing_leaves_out_is_asked_about_where_it_can_be() {
    let waits = "rest until 12:00: not-due";
    let rows: [Row; 6] = [
        ("its secret tells", Case::steady, left_out, "Examine"),
        (
            "nothing in a listing is called like one that was adopted",
            Case::steady,
            |c| {
                c.listed(9, &[1]);
                let generation = &mut c.current().generation;
                (generation.remote.id, generation.marker) = (None, None);
            },
            "Examine",
        ),
        (
            "once for each listing",
            Case::steady,
            |c| {
                left_out(c);
                c.memo.examined = Some(at(9));
            },
            waits,
        ),
        (
            "as with one that has not all pages",
            Case::steady,
            |c| c.listing = Some(Listing::new(at(9), vec![entry(2)], None, false)),
            "Examine",
        ),
        (
            "not where nobody can be asked",
            Case::steady,
            |c| {
                left_out(c);
                c.abilities.can.verifies = false;
            },
            waits,
        ),
        (
            "nor with a secret that nobody can open",
            Case::steady,
            |c| {
                left_out(c);
                c.current().secret_lost = true;
            },
            "Begin",
        ),
    ];
    rows.into_iter().for_each(check);
}
