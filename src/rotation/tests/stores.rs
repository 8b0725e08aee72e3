//! Stores that are no files: what their receipts and their silence lead to.

use std::collections::BTreeMap;

use crate::clock::Span;
use crate::names::StoreKey;

use super::driver::{Sim, check};
use super::policy;

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
    sim.world.ledger(|ledger| ledger.write(&store, "stranger", now));
    sim.run_for(Span::hours(5));
    check(&sim, "repaired");
    assert_eq!(writes(&sim, &store), 3);
}
