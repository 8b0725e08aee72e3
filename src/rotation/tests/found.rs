//! What the random histories found, each told alone.

use crate::clock::Span;
use crate::inventory::TokenPolicy;
use crate::outcome::FailureCode;
use crate::provider::Abilities;

use super::driver::{Sim, check};
use super::lies::Lie;
use super::policy::{abilities, initial, renewing, store, token};
use super::world::{Fate, Kind};

fn sim(change: impl FnOnce(&mut TokenPolicy, &mut Abilities)) -> Sim {
    let (mut policy, mut abilities) = (token(), abilities());
    policy.stores = vec![store("a")];
    change(&mut policy, &mut abilities);
    Sim::new(policy, abilities)
}

/// The code of what the token waits for.
fn waits_for(sim: &Sim) -> Option<FailureCode> {
    sim.state().retry.as_ref().map(|retry| retry.failure.code)
}

#[test]
fn a_wait_that_began_before_the_clock_was_set_back_ends() {
    let mut sim = sim(|_, _| {});
    sim.world.script(|kind, count| if kind == Kind::Mint && count == 1 { Fate::Later } else { Fate::Fine });
    sim.run();
    assert_eq!(waits_for(&sim), Some(FailureCode::RateLimited));
    sim.clock.set(sim.now() - Span::hours(4));
    sim.run_for(Span::minutes(2));
    assert!(sim.state().phase.current().is_some(), "{:?}", sim.state());
}

#[test]
fn an_older_journal_presents_no_spent_part_while_a_store_holds_what_works() {
    let mut sim = outdated_pair();
    sim.run_for(Span::hours(1));
    assert_eq!(sim.violations(), Vec::<String>::new());
    let retry = sim.state().phase.current().and_then(|current| current.renewal_retry.as_ref());
    assert_eq!(retry.map(|retry| retry.failure.code), Some(FailureCode::StoreNewer), "{:?}", sim.state());
    let now = sim.provider_now();
    assert_eq!(sim.world.ledger(|ledger| ledger.unserved(now).len()), 0, "consumers have what the store holds");
}

#[test]
fn a_rotation_that_an_operator_asks_for_replaces_what_an_older_journal_does_not_know() {
    let mut sim = sim(|_, _| {});
    sim.run();
    let older = sim.snapshot();
    sim.request(true).unwrap();
    sim.run_for(Span::hours(3));
    sim.restore(older);
    sim.run_for(Span::hours(1));
    assert_eq!(waits_for(&sim), Some(FailureCode::StoreNewer), "{:?}", sim.state());
    sim.hurry().unwrap();
    sim.run_for(Span::hours(3));
    assert!(sim.state().phase.current().is_some_and(|current| current.dead.is_none()), "{:?}", sim.state());
    check(&sim, "it was replaced");
}

#[test]
fn what_is_told_to_have_ended_before_it_was_given_stays_known() {
    let mut sim = sim(|_, abilities| (abilities.can.revokes, abilities.can.verifies) = (false, false));
    let end = sim.provider_now() + Span::days(1);
    sim.world.ledger(|ledger| ledger.lies.tell(Lie::Past, end));
    sim.run();
    sim.request(false).unwrap();
    sim.run_for(Span::hours(3));
    assert_eq!(sim.violations(), Vec::<String>::new());
}

#[test]
fn a_request_that_waits_for_a_grace_does_not_keep_a_dead_token_in_use() {
    let mut sim = sim(|policy, abilities| {
        policy.grace = Span::hours(30);
        abilities.can.lists = false;
    });
    sim.run_for(Span::hours(1));
    sim.request(false).unwrap();
    sim.run();
    assert_eq!(sim.state().phase.name(), "active");
    sim.request(false).unwrap();
    sim.run();
    assert_eq!(sim.state().phase.name(), "active", "it waits for the grace");
    sim.world.ledger(|ledger| ledger.tokens.last_mut().unwrap().revoked = true);
    sim.run_for(Span::hours(4));
    let now = sim.provider_now();
    assert_eq!(sim.world.ledger(|ledger| ledger.unserved(now).len()), 0, "{:?}", sim.state());
}

#[test]
fn an_older_journal_does_not_end_what_it_knows_as_a_lost_mint_while_consumers_use_it() {
    let mut sim = sim(|_, _| {});
    // Stopped after the intent, before the answer to the mint.
    sim.run_until_stopped(4);
    let older = sim.snapshot();
    assert_eq!(sim.state().phase.name(), "intended", "{:?}", sim.state());
    sim.world.script(|_, _| Fate::Fine);
    sim.run();
    sim.restore(older);
    // The store cannot be written, so that no other token can take its place.
    sim.world.script(|kind, _| if kind == Kind::Preflight { Fate::Later } else { Fate::Fine });
    sim.run_for(Span::hours(1));
    assert_eq!(sim.violations(), Vec::<String>::new());
    sim.world.script(|_, _| Fate::Fine);
    sim.run_for(Span::hours(6));
    check(&sim, "another one took its place");
}

#[test]
fn a_commit_whose_repetition_is_refused_may_still_be_written() {
    let mut sim = sim(|_, _| {});
    sim.world.script(|kind, count| match (kind, count) {
        (Kind::Commit, 1) => Fate::DoneLate(Span::zero()),
        (Kind::Commit, 2) => Fate::Refused,
        _ => Fate::Fine,
    });
    sim.run();
    let _ = sim.request(false);
    sim.run_for(Span::hours(3));
    check(&sim, "nobody else writes to this journal");
}

#[test]
fn an_access_token_that_has_expired_is_no_proof_that_its_pair_is_gone() {
    let mut sim = sim(|_, abilities| *abilities = renewing());
    sim.world.ledger(|ledger| ledger.lifetime = Some(Span::hours(8)));
    sim.run_for(Span::hours(4));
    sim.request(false).unwrap();
    // Until the access token of the old pair is over, and not its refresh token.
    let end = sim.provider_now() + Span::hours(6);
    sim.world.ledger(|ledger| ledger.lies.tell(Lie::Hidden, end));
    sim.run_for(Span::hours(12));
    check(&sim, "it is revoked once the provider finds it again");
}

#[test]
fn an_id_that_only_listings_tell_is_looked_for_before_a_revocation() {
    for hides in [false, true] {
        let mut sim = sim(|policy, abilities| {
            policy.grace = Span::zero();
            (abilities.can.has_id, abilities.can.verifies, abilities.revokes_by_id) = (false, false, true);
        });
        sim.run();
        sim.request(false).unwrap();
        let end = sim.provider_now() + Span::hours(1);
        if hides {
            sim.world.ledger(|ledger| ledger.lies.tell(Lie::Forbidden, end));
        }
        // Nobody polls meanwhile.
        sim.run();
        sim.run_for(Span::minutes(5));
        assert_eq!(sim.state().phase.name() == "steady", !hides, "{:?}", sim.state());
        sim.run_for(Span::hours(4));
        check(&sim, "nothing is left");
        assert!(sim.state().orphans.is_empty(), "{:?}", sim.state());
    }
}

/// A pair of eight hours that is only renewed, and was taken over.
fn pair() -> Sim {
    let mut sim = sim(|policy, abilities| {
        policy.initial = Some(initial());
        *abilities = renewing();
        abilities.can.mints = false;
    });
    sim.world.ledger(|ledger| ledger.lifetime = Some(Span::hours(8)));
    sim.log_in();
    sim.run();
    sim
}

/// A pair that was renewed since its journal was copied, which is restored now: its store holds what works.
fn outdated_pair() -> Sim {
    let mut sim = pair();
    let older = sim.snapshot();
    sim.run_for(Span::hours(9));
    sim.restore(older);
    sim
}

#[test]
fn no_doubt_about_a_store_lets_a_spent_part_be_presented() {
    for kind in [Kind::Inspect, Kind::Verify] {
        for failing in 1..8 {
            let mut sim = outdated_pair();
            let mut left = failing;
            sim.world.script(move |it, _| {
                let fails = it == kind && left > 0;
                left -= usize::from(fails);
                if fails { Fate::Later } else { Fate::Fine }
            });
            sim.run_for(Span::hours(1));
            assert_eq!(sim.violations(), Vec::<String>::new(), "{failing} of {kind:?} fail");
            let now = sim.provider_now();
            assert_eq!(sim.world.ledger(|ledger| ledger.unserved(now).len()), 0, "{failing} of {kind:?} fail");
        }
    }
}

#[test]
fn what_others_have_is_no_reason_to_present_a_spent_part() {
    let mut sim = outdated_pair();
    sim.request(true).unwrap();
    sim.run_for(Span::hours(1));
    assert_eq!(sim.violations(), Vec::<String>::new());
    let retry = sim.state().phase.current().and_then(|current| current.renewal_retry.as_ref());
    assert_eq!(retry.map(|retry| retry.failure.code), Some(FailureCode::StoreNewer), "{:?}", sim.state());
}

/// A store that cannot be read for long holds up a renewal for a while, and not for ever.
#[test]
fn a_doubt_about_a_store_starves_nobody() {
    let mut sim = pair();
    sim.restart();
    // Its access token is over when patrold comes back, so that nothing but a renewal proves anything.
    sim.clock.set(sim.now() + Span::hours(9));
    sim.world.script(|kind, _| if kind == Kind::Inspect { Fate::Refused } else { Fate::Fine });
    sim.run_for(Span::minutes(5));
    let now = sim.provider_now();
    assert_eq!(sim.world.ledger(|ledger| ledger.unserved(now).len()), 0, "{:?}", sim.state());
    assert_eq!(sim.violations(), Vec::<String>::new());
}

#[test]
fn a_pair_that_was_taken_over_dead_does_not_stand_in_the_way_of_the_next() {
    let mut sim = sim(|policy, abilities| {
        policy.initial = Some(initial());
        *abilities = renewing();
        abilities.can.mints = false;
    });
    sim.log_in();
    sim.run();
    sim.log_in();
    sim.world.ledger(|ledger| ledger.tokens.iter_mut().for_each(|token| token.revoked = true));
    sim.run_for(Span::hours(3));
    assert_eq!(sim.state().phase.current().map(|current| current.renewal_spent), Some(true), "{:?}", sim.state());
    sim.log_in();
    sim.run_for(Span::hours(6));
    check(&sim, "the third pair works");
}
