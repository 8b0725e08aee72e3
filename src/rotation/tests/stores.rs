//! Stores that are no files: what their receipts and their silence lead to.

use std::collections::BTreeMap;

use crate::clock::Span;
use crate::inventory::{OnLeave, StorePolicy};
use crate::names::StoreKey;

use super::driver::{Sim, check};
use super::policy;
use super::world::{Fate, Kind};
use crate::outcome::FailureCode;
use crate::rotation::state::Phase;

/// A token with a store that tells how often it was written, and nothing else.
fn silent() -> (Sim, StoreKey) {
    let mut policy = policy::token();
    policy.stores.push(policy::store("a"));
    let sim = Sim::new(policy, policy::abilities());
    sim.world.ledger(|ledger| ledger.writes = Some(BTreeMap::new()));
    (sim, "a".parse().unwrap())
}

fn writes(sim: &Sim, store: &StoreKey) -> u32 {
    sim.world.ledger(|ledger| ledger.writes.as_ref().unwrap()[store])
}

#[test]
fn a_store_that_cannot_be_read_is_written_once_for_each_generation() {
    let (mut sim, store) = silent();
    sim.run_for(Span::days(1));
    check(&sim, "delivered");
    assert_eq!(writes(&sim, &store), 1, "its receipt is remembered, and nothing says that somebody else wrote");
    sim.restart();
    sim.run_for(Span::days(1));
    assert_eq!(writes(&sim, &store), 1, "a restart is no reason to write it");
    sim.run_for(Span::days(20));
    check(&sim, "rotated");
    assert_eq!(writes(&sim, &store), 2);
}

#[test]
fn a_store_that_cannot_be_read_is_written_again_once_its_evidence_changed() {
    let (mut sim, store) = silent();
    sim.run_for(Span::days(1));
    let now = sim.provider_now();
    sim.world.ledger(|ledger| ledger.overwrite(&store, "stranger", now));
    sim.run_for(Span::hours(5));
    check(&sim, "repaired");
    assert_eq!(writes(&sim, &store), 3);
}

#[test]
fn a_strangers_value_in_a_store_that_hides_it_stays_whatever_was_tried() {
    let mut policy = policy::token();
    policy.stores.push(policy::hidden("a"));
    let mut sim = Sim::new(policy, policy::abilities());
    let (store, now): (StoreKey, _) = ("a".parse().unwrap(), sim.provider_now());
    sim.world.ledger(|ledger| ledger.writes = Some(BTreeMap::new()));
    // Nothing is there before the mint; it cannot be written, and then somebody else is first.
    sim.world.script(|kind, _| if kind == Kind::Write { Fate::Later } else { Fate::Fine });
    sim.run_for(Span::minutes(10));
    sim.world.ledger(|ledger| ledger.overwrite(&store, "stranger", now));
    sim.world.script(|_, _| Fate::Fine);
    sim.run_for(Span::hours(2));
    assert_eq!(writes(&sim, &store), 1, "what patrold intended and did not do is no claim");
    let failure = sim.held.state().last_failure.clone().unwrap().failure;
    assert_eq!(failure.code, FailureCode::StoreForeign, "{failure}");
}

/// A store called `name` that loses its value once it leaves.
fn lent(name: &str) -> StorePolicy {
    StorePolicy { on_leave: OnLeave::Erase, ..policy::store(name) }
}

fn held(sim: &Sim) -> Vec<String> {
    sim.world.ledger(|ledger| ledger.stores.keys().map(ToString::to_string).collect())
}

#[test]
fn a_store_that_leaves_loses_what_it_was_given_wherever_the_process_stops() {
    for nth in 0..8 {
        let mut policy = policy::token();
        policy.stores = vec![lent("a"), lent("b"), policy::store("c"), lent("d")];
        let mut sim = Sim::new(policy, policy::abilities());
        sim.run_for(Span::days(1));
        assert_eq!(sim.state().claims.len(), 3, "{:?}", sim.state().claims);
        let now = sim.provider_now();
        sim.world.ledger(|ledger| ledger.overwrite(&"b".parse().unwrap(), "stranger", now));
        sim.policy().stores.retain(|store| store.key.as_str() == "d");
        sim.world.stop_at(sim.world.points() + nth);
        sim.run_for(Span::hours(1));
        assert_eq!(held(&sim), ["b", "c", "d"], "stop {nth}: a stranger's value stays, and what was only lent goes");
        assert_eq!(sim.state().claims.keys().map(StoreKey::as_str).collect::<Vec<_>>(), ["d"], "stop {nth}");
    }
}

#[test]
fn a_retired_token_leaves_nothing_in_stores_that_were_lent_to_it() {
    let mut policy = policy::token();
    policy.stores = vec![lent("a"), policy::store("b")];
    let mut sim = Sim::new(policy, policy::abilities());
    sim.run_for(Span::days(1));
    sim.context.wanted = false;
    sim.run_for(Span::hours(1));
    assert_eq!(held(&sim), ["a", "b"], "it left the inventory alive, and may come back");
    sim.retire(Span::zero()).unwrap();
    // It cannot be taken out at first.
    sim.world.script(|kind, _| if kind == Kind::Write { Fate::Later } else { Fate::Fine });
    sim.run_for(Span::minutes(10));
    assert!(!sim.state().is_over(), "{:?}", sim.state());
    sim.world.script(|_, _| Fate::Fine);
    sim.restart();
    sim.run_for(Span::hours(1));
    assert_eq!(held(&sim), ["b"]);
    assert!(sim.state().is_over(), "{:?}", sim.state());
}

#[test]
fn a_store_that_can_never_hold_the_new_value_ends_the_rotation() {
    let mut policy = policy::token();
    policy.stores.extend([policy::store("a"), policy::store("b")]);
    let mut sim = Sim::new(policy, policy::abilities());
    sim.run_for(Span::days(1));
    let full: StoreKey = "b".parse().unwrap();
    let first = sim.world.ledger(|ledger| {
        ledger.full = Some(full.clone());
        ledger.stores.clone()
    });
    sim.run_for(Span::days(20));
    check(&sim, "the new one is taken back, and the old one stays");
    let now = sim.provider_now();
    let (stores, live) = sim
        .world
        .ledger(|ledger| (ledger.stores.clone(), ledger.tokens.iter().filter(|token| token.lives(now)).count()));
    assert_eq!((stores, live), (first, 1), "stores that had the new one have the old one again");
    let Phase::Steady { current } = &sim.state().phase else { panic!("{:?}", sim.state()) };
    assert_eq!(current.generation.number.0, 1);
    assert_eq!(sim.state().last_failure.as_ref().map(|noted| noted.failure.code), Some(FailureCode::StoreRefused));

    sim.world.ledger(|ledger| ledger.full = None);
    sim.run_for(Span::days(2));
    check(&sim, "rotated once the store takes it");
    let Phase::Steady { current } = &sim.state().phase else { panic!("{:?}", sim.state()) };
    assert!(current.generation.number.0 > 1);
}

#[test]
fn where_the_old_secret_is_dying_the_other_stores_keep_the_new_one() {
    let mut policy = policy::token();
    policy.stores.extend([policy::store("a"), policy::store("b")]);
    let mut sim = Sim::new(policy, policy::abilities());
    sim.run_for(Span::days(1));
    sim.world.ledger(|ledger| ledger.full = Some("b".parse().unwrap()));
    sim.run_for(Span::days(33));
    let now = sim.provider_now();
    let unserved: Vec<_> =
        sim.world.ledger(|ledger| ledger.unserved(now).into_iter().map(|it| it.store.to_string()).collect());
    assert_eq!(unserved, ["b"], "only the store that takes nothing is without: {:?}", sim.violations());
}
