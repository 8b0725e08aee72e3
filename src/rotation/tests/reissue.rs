//! Reissues of unknown outcome: the secret in the journal is dead, and its token lives with another one; or a token was given
//! twice, and nobody can tell by ids that it is one.

use crate::clock::Span;
use crate::inventory::{OnFailure, RenewBefore};
use crate::provider::Abilities;
use crate::rotation::state::Orphan;

use super::driver::{Sim, check};
use super::lies::Lie;
use super::policy::{abilities, hook, renewing, store, token};
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

type Change = fn(&mut Abilities);

/// What a provider without ids can do besides.
const WITHOUT_IDS: [(&str, Change); 4] = [
    ("by name", |_| {}),
    ("by itself", |abilities| abilities.revokes_self = true),
    ("nobody can be asked", |abilities| abilities.can.verifies = false),
    ("two places", |abilities| abilities.can.max_live = Some(2)),
];

/// A token at a provider whose answers and listings have no ids.
fn without_ids(change: Change, on_failure: OnFailure) -> Sim {
    let mut policy = token();
    policy.stores = vec![store("a")];
    policy.hooks = vec![hook("reload", on_failure)];
    let mut abilities = abilities();
    abilities.can.has_id = false;
    change(&mut abilities);
    let sim = Sim::new(policy, abilities);
    sim.world.ledger(|ledger| ledger.anonymous = true);
    sim
}

fn lie(sim: &Sim, lie: Lie, span: Span) {
    let end = sim.provider_now() + span;
    sim.world.ledger(|ledger| ledger.lies.tell(lie, end));
}

/// A rotation later nothing is left.
fn ends_well(mut sim: Sim, story: &str) {
    assert_eq!(sim.violations(), Vec::<String>::new(), "{story}: {:?}", sim.state());
    sim.world.script(|_, _| Fate::Fine);
    sim.world.ledger(|ledger| ledger.lies.end());
    let _ = sim.request(false);
    sim.run_for(Span::days(2));
    if sim.state().phase.retiring().is_some() {
        // It has the name of a mint that made nothing: `status` says that it lives, and an operator ends it.
        assert!(sim.state().last_failure.is_some(), "{story}: {:?}", sim.state());
        sim.world.ledger(|ledger| ledger.tokens[0].revoked = true);
        sim.run_for(Span::days(2));
    }
    let sought = |orphan: &Orphan| matches!(orphan, Orphan::UnknownMint { .. });
    assert!(!sim.state().orphans.iter().any(sought), "{story}: {:?}", sim.state());
    check(&sim, story);
}

/// Two mints, one of which is lost, are one token, that the provider calls by the name of the lost one.
#[test]
fn an_orphan_that_was_given_again_is_not_ended_while_it_serves() {
    for (story, change) in WITHOUT_IDS {
        // The first token of all.
        let mut sim = without_ids(change, OnFailure::Retry);
        lie(&sim, Lie::Again { renamed: false }, Span::minutes(10));
        sim.world.script(|kind, count| if (kind, count) == (Kind::Mint, 1) { Fate::DoneUnknown } else { Fate::Fine });
        sim.run_for(Span::days(1));
        let tokens = sim.world.ledger(|ledger| ledger.tokens.len());
        assert_eq!(tokens == 1, sim.context.abilities.can.verifies, "{story}: it is given twice: {:?}", sim.state());
        ends_well(sim, story);
        // The next one, whose hook fails the first time.
        for on_failure in [OnFailure::Retry, OnFailure::Rollback] {
            let mut sim = without_ids(change, on_failure);
            sim.run_for(Span::hours(1));
            sim.request(false).unwrap();
            lie(&sim, Lie::Filtered, Span::minutes(2));
            sim.world.script(|kind, count| match (kind, count) {
                (Kind::Mint, 2) => Fate::DoneUnknown,
                (Kind::Hook, 2) => Fate::Refused,
                _ => Fate::Fine,
            });
            sim.run_for(Span::minutes(1));
            lie(&sim, Lie::Again { renamed: false }, Span::hours(2));
            sim.run_for(Span::days(1));
            ends_well(sim, story);
        }
    }
}

/// A mint without an answer gave what consumers use its own name.
#[test]
fn a_lost_mint_that_renamed_what_serves_is_not_ended() {
    for (story, change) in WITHOUT_IDS {
        let mut sim = without_ids(change, OnFailure::Retry);
        sim.run_for(Span::hours(1));
        sim.request(false).unwrap();
        lie(&sim, Lie::Again { renamed: true }, Span::minutes(1));
        sim.world.script(|kind, count| if (kind, count) == (Kind::Mint, 2) { Fate::DoneUnknown } else { Fate::Fine });
        sim.run_for(Span::days(1));
        ends_well(sim, story);
    }
}

/// An operator brought a secret, and the next mint gave the token that it had replaced.
#[test]
fn what_waits_for_its_revocation_and_is_given_again_is_not_revoked() {
    for given in [Lie::Alias, Lie::Regenerated, Lie::Again { renamed: true }] {
        let mut policy = token();
        policy.stores = vec![store("a")];
        policy.renew_before = RenewBefore::Span(Span::days(2));
        let mut sim = Sim::new(policy, renewing());
        sim.world.ledger(|ledger| ledger.lifetime = Some(Span::hours(8)));
        sim.run();
        lie(&sim, given, Span::hours(6));
        assert!(sim.adopt());
        sim.run_for(Span::days(2));
        assert_eq!(sim.violations(), Vec::<String>::new(), "{given:?}: {:?}", sim.state());
        ends_well(sim, &format!("{given:?}"));
    }
}
