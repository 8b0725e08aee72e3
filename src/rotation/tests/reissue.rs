//! Reissues of unknown outcome: the secret in the journal is dead, and its token lives with another one.

use crate::clock::Span;
use crate::inventory::OnFailure;
use crate::provider::Abilities;
use crate::rotation::state::Orphan;

use super::driver::{Sim, check};
use super::policy::{hook, renewing, store, token};
use super::world::{Fate, Kind};

/// The answer to the first renewal is lost, and the first `refusals` revocations are refused.
fn doubtful(change: fn(&mut Abilities), refusals: usize) -> Sim {
    let mut policy = token();
    policy.stores = vec![store("a")];
    policy.hooks = vec![hook("reload", OnFailure::Retry)];
    let mut abilities = renewing();
    change(&mut abilities);
    let mut sim = Sim::new(policy, abilities);
    sim.world.ledger(|ledger| ledger.lifetime = Some(Span::hours(8)));
    sim.world.script(move |kind, count| match kind {
        Kind::Renew if count == 1 => Fate::DoneUnknown,
        Kind::Revoke if count <= refusals => Fate::Refused,
        _ => Fate::Fine,
    });
    sim.run_for(Span::hours(12));
    assert_eq!(sim.violations(), Vec::<String>::new(), "{:?}", sim.state());
    assert!(sim.state().last_number.0 > 1, "what cannot be renewed is replaced: {:?}", sim.state());
    sim
}

#[test]
fn the_death_of_its_old_secret_is_no_proof_that_a_renewed_token_is_gone() {
    let mut sim = doubtful(|_| {}, 1);
    assert!(sim.world.ledger(|ledger| ledger.tokens[0].revoked), "it is revoked in the end: {:?}", sim.state());
    sim.run_for(Span::days(1));
    check(&sim, "revoked");
}

#[test]
fn a_renewed_token_that_nobody_can_find_is_known_for_as_long_as_it_may_live() {
    let mut sim = doubtful(|abilities| abilities.can.lists = false, 30);
    let known = |sim: &Sim| sim.state().orphans.iter().any(|orphan| matches!(orphan, Orphan::Unrevocable { .. }));
    assert!(known(&sim), "{:?}", sim.state());
    sim.run_for(Span::days(3));
    assert!(!known(&sim), "its longest life is over: {:?}", sim.state());
    assert_eq!(sim.violations(), Vec::<String>::new());
}

#[test]
fn the_acknowledged_revocation_of_its_old_secret_does_not_end_a_renewed_token() {
    let mut sim = doubtful(|abilities| abilities.revokes_self = true, 0);
    let known = |sim: &Sim| sim.state().orphans.iter().any(|orphan| matches!(orphan, Orphan::Unrevocable { .. }));
    assert!(known(&sim), "{:?}", sim.state());
    sim.run_for(Span::days(3));
    assert_eq!(sim.violations(), Vec::<String>::new());
}
