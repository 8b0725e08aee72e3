//! Whole lives of tokens, without faults or with one that lasts.

use crate::clock::Span;
use crate::inventory::{OnFailure, RenewBefore, TokenPolicy};
use crate::names::GenerationNo;
use crate::provider::Abilities;
use crate::provider::{Expiry, Subject};
use crate::rotation::act::operator::Rejection;
use crate::rotation::event::Event;
use crate::rotation::reason::Reason;
use crate::rotation::state::{Orphan, Phase};

use super::driver::{Sim, check};
use super::ledger::Revoked;
use super::policy::{abilities, hook, initial, renewing, store, token};
use super::world::{Fate, Kind};

fn served() -> TokenPolicy {
    let mut policy = token();
    policy.stores = vec![store("a"), store("b")];
    policy.hooks = vec![hook("reload", OnFailure::Retry)];
    policy
}

/// Consumers are served in every hour of `days`, and everything is in order at the end.
fn live(sim: &mut Sim, days: i64, sentence: &str) {
    for hour in 0..days * 24 {
        sim.run_for(Span::hours(1));
        let now = sim.provider_now();
        let unserved = sim.world.ledger(|ledger| format!("{:?}", ledger.unserved(now)));
        assert_eq!(unserved, "[]", "{sentence}, after {hour} hours: {:?}", sim.state());
    }
    sim.run_for(Span::hours(2));
    check(sim, sentence);
}

#[test]
fn consumers_are_always_served() {
    type Change = fn(&mut TokenPolicy, &mut Abilities);
    let cases: [(&str, Change, std::ops::RangeInclusive<u32>); 9] = [
        ("a provider that can do everything", |_, _| {}, 4..=4),
        ("no revocation", |_, abilities| abilities.can.revokes = false, 4..=4),
        ("no listing", |_, abilities| abilities.can.lists = false, 4..=4),
        ("no way to prove", |_, abilities| abilities.can.verifies = false, 4..=4),
        ("no id in the answer to a mint", |_, abilities| abilities.can.has_id = false, 4..=4),
        ("revocation with the token itself", |_, abilities| abilities.revokes_self = true, 4..=4),
        ("a rhythm of a week", |policy, _| policy.rotate_every = Some(Span::days(7)), 10..=11),
        ("a grace that is longer than a life", |policy, _| policy.grace = Span::days(60), 4..=4),
        ("a share", |policy, _| policy.renew_before = RenewBefore::Share(0.5), 5..=5),
    ];
    for (sentence, change, generations) in cases {
        let (mut policy, mut abilities) = (served(), abilities());
        change(&mut policy, &mut abilities);
        let mut sim = Sim::new(policy, abilities);
        live_loosely(&mut sim, 70, sentence);
        let number = sim.state().last_number.0;
        assert!(generations.contains(&number), "{sentence}: {number} generations");
    }
}

/// Like [`live`], for tokens that may be in their grace at the end.
fn live_loosely(sim: &mut Sim, days: i64, sentence: &str) {
    for hour in 0..days * 3 {
        sim.run_for(Span::hours(8));
        let now = sim.provider_now();
        let unserved = sim.world.ledger(|ledger| format!("{:?}", ledger.unserved(now)));
        assert_eq!(unserved, "[]", "{sentence}, after {} hours: {:?}", hour * 8, sim.state());
    }
    assert_eq!(sim.violations(), Vec::<String>::new(), "{sentence}");
}

#[test]
fn a_provider_that_takes_two_live_tokens_is_never_asked_for_a_third() {
    type Change = fn(&mut TokenPolicy, &mut Abilities);
    let cases: [(&str, Change); 5] = [
        ("as usual", |_, _| {}),
        ("a grace that is longer than a life", |policy, _| policy.grace = Span::days(60)),
        ("no listing", |policy, abilities| {
            policy.grace = Span::days(60);
            abilities.can.lists = false;
        }),
        ("no marker in listings", |policy, abilities| {
            policy.grace = Span::days(60);
            abilities.can.marks = false;
        }),
        ("a rhythm of a week", |policy, _| policy.rotate_every = Some(Span::days(7))),
    ];
    for (sentence, change) in cases {
        let (mut policy, mut abilities) = (served(), abilities());
        abilities.can.max_live = Some(2);
        change(&mut policy, &mut abilities);
        let mut sim = Sim::new(policy, abilities);
        for _ in 0..7 {
            live_loosely(&mut sim, 10, sentence);
            sim.note(Event::Requested {});
        }
        assert!(sim.state().last_number.0 >= 4, "{sentence}: {:?}", sim.state());
        assert_eq!(sim.world.ledger(|ledger| ledger.crowded), 0, "{sentence}");
    }
}

#[test]
fn a_place_full_of_others_tokens_holds_a_rotation_until_one_of_them_is_gone() {
    let (mut policy, mut abilities) = (served(), abilities());
    abilities.can.max_live = Some(2);
    policy.lifetime = None;
    let mut sim = Sim::new(policy, abilities);
    sim.world.ledger(|ledger| ledger.lifetime = None);
    sim.run_for(Span::hours(3));
    let (now, account) = (sim.provider_now(), sim.context.policy.account.name.clone());
    let id = sim.world.ledger(|ledger| ledger.issue(&account, None, now, now)).remote.id;
    sim.world.ledger(|ledger| ledger.tokens.iter_mut().next_back().unwrap().operators = true);
    sim.run_for(Span::hours(3));
    sim.note(Event::Requested {});
    let rest = sim.run();
    assert_eq!((rest.reason, sim.state().last_number.0), (Reason::NoRoom, 1));
    sim.run_for(Span::days(3));
    assert_eq!((sim.state().last_number.0, sim.world.ledger(|ledger| ledger.crowded)), (1, 0));
    let subject = Subject { id, ..Subject::default() };
    let now = sim.provider_now();
    assert_eq!(sim.world.ledger(|ledger| ledger.revoke(&account, &subject, now)), Revoked::Now);
    sim.run_for(Span::hours(6));
    assert_eq!(sim.state().last_number.0, 2);
    check(&sim, "there is room again");
}

#[test]
fn access_tokens_of_minutes_are_renewed_in_place() {
    let mut sim = Sim::new(served(), renewing());
    sim.world.ledger(|ledger| ledger.lifetime = Some(Span::minutes(30)));
    live(&mut sim, 2, "renewals");
    assert_eq!(sim.state().last_number.0, 1, "one generation is renewed, none is minted");
    assert!(sim.state().phase.current().unwrap().generation.revision > 90);
}

#[test]
fn an_adopted_secret_is_replaced_when_its_time_comes() {
    let mut policy = served();
    policy.initial = Some(initial());
    let mut sim = Sim::new(policy, abilities());
    let (now, account) = (sim.now(), sim.context.policy.account.name.clone());
    sim.world.ledger(|ledger| ledger.issue(&account, None, now, now));
    sim.run();
    assert_eq!(sim.state().phase.current().unwrap().generation.number.0, 0);
    live(&mut sim, 40, "adoption");
    assert_eq!(sim.state().last_number.0, 2);
}

#[test]
fn a_token_that_never_ends_is_minted_once() {
    let mut policy = served();
    policy.lifetime = None;
    let mut sim = Sim::new(policy, abilities());
    sim.world.ledger(|ledger| ledger.lifetime = None);
    live(&mut sim, 30, "never");
    assert_eq!(sim.state().phase.current().unwrap().generation.remote.expires, Expiry::Never);
    assert_eq!(sim.state().last_number.0, 1);
}

#[test]
fn a_lasting_fault_does_not_cost_consumers_their_token() {
    type Change = fn(&mut TokenPolicy);
    let cases: [(&str, Kind, Change); 5] = [
        ("revocations are refused", Kind::Revoke, |_| {}),
        ("listings are refused", Kind::List, |_| {}),
        ("stores cannot be tested", Kind::Preflight, |_| {}),
        ("hooks fail", Kind::Hook, |policy| policy.hooks = vec![hook("reload", OnFailure::Retry)]),
        ("hooks want a rollback", Kind::Hook, |policy| policy.hooks = vec![hook("reload", OnFailure::Rollback)]),
    ];
    for (sentence, kind, change) in cases {
        let mut policy = token();
        policy.stores = vec![store("a"), store("b")];
        change(&mut policy);
        let mut sim = Sim::new(policy, abilities());
        // Those that read when a hook runs have nothing to hope for where hooks fail.
        sim.world.ledger(|ledger| ledger.consumers.retain(|consumer| consumer.hook.is_none()));
        sim.run_for(Span::hours(2));
        sim.world.script(move |effect, _| if effect == kind { Fate::Refused } else { Fate::Fine });
        let spared = if kind == Kind::Preflight { 25 } else { 80 };
        live_loosely(&mut sim, spared, sentence);
        sim.world.script(|_, _| Fate::Fine);
        sim.run_for(Span::days(2));
        check(&sim, sentence);
    }
}

#[test]
fn one_store_that_fails_does_not_hold_up_the_other() {
    let mut sim = Sim::new(served(), abilities());
    sim.run_for(Span::hours(3));
    // The first of every two writes is that to the store `a`.
    sim.world.script(|kind, _| if kind == Kind::Write { Fate::Later } else { Fate::Fine });
    sim.run_for(Span::days(20));
    assert_eq!(sim.state().phase.name(), "verified");
    let only_b = {
        let mut turn = 0;
        move |kind, _| {
            turn += usize::from(kind == Kind::Write);
            if kind == Kind::Write && turn % 2 == 1 { Fate::Later } else { Fate::Fine }
        }
    };
    sim.world.script(only_b);
    sim.run_for(Span::days(15));
    sim.world.script(|_, _| Fate::Fine);
    sim.run_for(Span::days(1));
    check(&sim, "stores that fail in turn");
}

#[test]
fn requests_are_neither_lost_nor_doubled() {
    let mut sim = Sim::new(served(), abilities());
    sim.run_for(Span::hours(3));
    let request = |sim: &mut Sim| {
        let (policy, now) = (std::sync::Arc::clone(&sim.context.policy), sim.now());
        sim.held.note(&policy, now, Event::Requested {});
    };
    // The first mint is refused: the request outlives it.
    sim.world.script(|kind, count| if kind == Kind::Mint && count == 2 { Fate::Refused } else { Fate::Fine });
    request(&mut sim);
    sim.run();
    assert!(sim.state().requested.is_some());
    sim.run_for(Span::minutes(10));
    assert_eq!(sim.state().phase.name(), "active");
    assert_eq!(sim.state().phase.current().unwrap().generation.number.0, 3);
    // In the grace of the old one: a second rotation follows.
    request(&mut sim);
    sim.run_for(Span::hours(4));
    assert_eq!(sim.state().last_number.0, 4);
    // While the rotation is under way: that one is the answer.
    sim.world.script(|kind, _| if kind == Kind::Hook { Fate::Later } else { Fate::Fine });
    request(&mut sim);
    sim.run_for(Span::minutes(1));
    assert_eq!(sim.state().phase.name(), "delivered");
    request(&mut sim);
    sim.world.script(|_, _| Fate::Fine);
    sim.run_for(Span::hours(4));
    assert_eq!(sim.state().last_number.0, 5);
    check(&sim, "requests");
}

#[test]
fn what_left_the_inventory_stays_known() {
    let mut sim = Sim::new(served(), abilities());
    sim.run_for(Span::hours(3));
    sim.world.script(|kind, _| if kind == Kind::Write { Fate::Later } else { Fate::Fine });
    sim.run_for(Span::days(20));
    assert_eq!(sim.state().phase.name(), "verified");
    // After a restart nobody knows its stores.
    sim.context.wanted = false;
    sim.policy().stores.clear();
    sim.policy().hooks.clear();
    sim.restart();
    sim.world.script(|_, _| Fate::Fine);
    let before = sim.state().clone();
    sim.run_for(Span::days(5));
    assert_eq!(sim.state(), &before);
    assert_eq!(sim.violations(), Vec::<String>::new());
    // It comes back, and the rotation is finished.
    *sim.policy() = served();
    sim.context.wanted = true;
    sim.run_for(Span::hours(3));
    check(&sim, "it came back");
}

#[test]
fn the_grace_begins_anew_while_the_old_one_is_used() {
    let mut abilities = abilities();
    abilities.can.last_used = true;
    let mut sim = Sim::new(served(), abilities);
    sim.run_for(Span::hours(3));
    assert_eq!(sim.state().phase.name(), "steady");
    sim.run_for(Span::days(30));
    check(&sim, "nobody uses the old one");
}

#[test]
fn a_retired_token_is_revoked_after_its_grace_wherever_the_process_stops() {
    let grace = Span::hours(1);
    for nth in 0..16 {
        let mut sim = Sim::new(served(), abilities());
        sim.run_for(Span::hours(3));
        // Its grace is over only after the retirement is asked for.
        sim.request(false).unwrap();
        sim.run_for(Span::minutes(1));
        sim.retire(grace).unwrap();
        sim.world.stop_at(sim.world.points() + nth);
        sim.run_for(Span::minutes(50));
        let now = sim.provider_now();
        let live = |sim: &Sim, now| sim.world.ledger(|ledger| ledger.tokens.iter().filter(|it| it.lives(now)).count());
        assert!(live(&sim, now) > 0, "stop {nth}: its grace is not over");
        if sim.state().retirement.is_none() {
            // The process stopped before the request was in the journal, so that nobody was told that it is.
            sim.retire(grace).unwrap();
        }
        sim.run_for(Span::hours(4));
        let now = sim.provider_now();
        assert!(sim.state().is_over(), "stop {nth}: {:?}", sim.state());
        assert_eq!((live(&sim, now), sim.violations()), (0, Vec::new()), "stop {nth}");
        assert_eq!(sim.retire(grace), Err(Rejection::NothingAlive));
        // Its entry comes back: it begins anew.
        let (number, policy) = (sim.state().last_number.0, served());
        *sim.policy() = policy;
        sim.context.wanted = true;
        sim.run_for(Span::hours(3));
        assert_eq!(sim.state().last_number.0, number + 1);
        check(&sim, "it came back");
    }
}

#[test]
fn a_retired_token_stays_alive_where_it_comes_back_or_somebody_says_so() {
    type Change = fn(&mut Sim);
    let cases: [(&str, Change); 2] = [
        ("its entry is back", |sim| sim.context.wanted = true),
        ("an operator withdrew it", |sim| sim.withdraw().unwrap()),
    ];
    for (sentence, change) in cases {
        let mut sim = Sim::new(served(), abilities());
        sim.run_for(Span::hours(3));
        sim.retire(Span::hours(1)).unwrap();
        sim.run_for(Span::minutes(50));
        assert_eq!(sim.run().reason, Reason::Retirement);
        change(&mut sim);
        sim.run_for(Span::hours(3));
        assert_eq!((sim.state().phase.name(), sim.state().retirement), ("steady", None), "{sentence}");
        assert_eq!(sim.violations(), Vec::<String>::new(), "{sentence}");
    }
}

#[test]
fn what_can_not_be_revoked_is_known_until_it_expires() {
    let mut abilities = abilities();
    abilities.can.revokes = false;
    let mut sim = Sim::new(served(), abilities);
    sim.run_for(Span::hours(3));
    sim.retire(Span::zero()).unwrap();
    sim.run_for(Span::minutes(1));
    assert!(matches!(sim.state().orphans[..], [Orphan::Unrevocable { .. }]));
    sim.run_for(Span::days(31));
    assert!(sim.state().is_over(), "{:?}", sim.state());
}

#[test]
fn a_lost_mint_that_turns_up_late_is_revoked() {
    let mut sim = Sim::new(served(), abilities());
    sim.world.script(|kind, count| match (kind, count) {
        (Kind::Mint, 1) => Fate::DoneLate(Span::hours(2)),
        _ => Fate::Fine,
    });
    sim.run_for(Span::hours(1));
    assert!(matches!(sim.state().orphans[..], [Orphan::UnknownMint { .. }]));
    assert!(matches!(sim.state().phase, Phase::Steady { .. }));
    sim.run_for(Span::days(2));
    check(&sim, "reaped");
    assert_eq!(sim.state().orphans, []);
    assert_eq!(sim.state().last_number.0, 2);
}

#[test]
fn a_lost_mint_that_turns_up_in_time_is_revoked_before_the_next() {
    let mut sim = Sim::new(served(), abilities());
    sim.run_for(Span::hours(3));
    sim.world.script(|kind, count| match (kind, count) {
        (Kind::Mint, 2) => Fate::DoneLate(Span::seconds(20)),
        _ => Fate::Fine,
    });
    sim.request(false).unwrap();
    while sim.state().last_number.0 < 3 {
        sim.run_for(Span::seconds(1));
    }
    assert_eq!(sim.state().orphans, [], "nothing of it is left to look for");
    sim.run_for(Span::hours(3));
    check(&sim, "found in time");
}

#[test]
fn a_store_that_was_set_back_gets_the_new_secret_before_the_old_one_dies() {
    let mut sim = Sim::new(served(), abilities());
    sim.run_for(Span::days(20));
    let old = sim.world.ledger(|ledger| ledger.tokens[0].secret.clone());
    while sim.state().phase.name() != "active" {
        sim.run_for(Span::minutes(1));
    }
    let provider_now = sim.provider_now();
    sim.world.ledger(|ledger| ledger.write(&store("a").key, &old, provider_now));
    sim.world.script(|kind, _| if kind == Kind::Write { Fate::Later } else { Fate::Fine });
    sim.run_for(Span::days(2));
    assert_eq!(sim.state().phase.name(), "active", "the old one is all that consumers of this store have");
    sim.world.script(|_, _| Fate::Fine);
    sim.run_for(Span::days(1));
    check(&sim, "somebody restored a backup");
}

#[test]
fn an_old_secret_outlives_hooks_that_do_not_succeed() {
    let mut sim = Sim::new(served(), abilities());
    // The first generation never ends; the second lives for thirty days.
    sim.world.ledger(|ledger| ledger.lifetime = None);
    sim.run_for(Span::hours(2));
    sim.world.ledger(|ledger| {
        ledger.lifetime = Some(Span::days(30));
        ledger.grace = Some(Span::hours(1));
    });
    sim.world.script(|kind, _| if kind == Kind::Hook { Fate::Later } else { Fate::Fine });
    let (policy, now) = (std::sync::Arc::clone(&sim.context.policy), sim.now());
    sim.held.note(&policy, now, Event::Requested {});
    // The second becomes current although hooks are owed, and is rotated in its turn.
    for day in 0..60 {
        sim.run_for(Span::days(1));
        assert_eq!(sim.violations(), Vec::<String>::new(), "after {day} days: {:?}", sim.state());
    }
    assert!(sim.state().last_number.0 > 2, "{:?}", sim.state());
    assert!(sim.state().orphans.iter().any(|orphan| matches!(orphan, Orphan::Deferred { revoke_at: None, .. })));
    sim.world.script(|_, _| Fate::Fine);
    sim.run_for(Span::days(2));
    check(&sim, "hooks succeed at last");
}

#[test]
fn what_an_operator_brings_is_current_once_it_is_proven() {
    let mut sim = Sim::new(served(), abilities());
    sim.run_for(Span::hours(3));
    assert!(sim.adopt());
    sim.run();
    let current = sim.state().phase.current().unwrap().clone();
    assert_eq!((current.generation.number.0, current.generation.params), (2, None));
    assert!(current.generation.remote.id.is_some(), "its verification tells its id");
    assert_eq!(sim.recall().map(|number| number.0), Ok(1), "it can be taken back");
    sim.run();
    sim.run_for(Span::hours(3));
    check(&sim, "taken back");
    // The next one has a number of its own, and is rotated when its time comes.
    assert!(sim.adopt());
    sim.run_for(Span::hours(3));
    assert_eq!(sim.state().phase.current().unwrap().generation.number.0, 3);
    live(&mut sim, 40, "adopted");
    assert!(sim.state().last_number.0 > 3);
}

#[test]
fn a_secret_that_is_not_proven_does_not_become_current() {
    let mut sim = Sim::new(served(), abilities());
    sim.run_for(Span::hours(3));
    sim.world.script(|kind, _| if kind == Kind::Verify { Fate::Later } else { Fate::Fine });
    assert!(sim.adopt());
    sim.run_for(Span::hours(3));
    assert_eq!(sim.state().phase.name(), "minted", "nobody can tell yet");
    assert!(!sim.adopt(), "one at a time");
    sim.world.script(|kind, _| if kind == Kind::Verify { Fate::Refused } else { Fate::Fine });
    sim.run_for(Span::hours(2));
    sim.world.script(|_, _| Fate::Fine);
    assert_eq!(sim.state().phase.current().unwrap().generation.number.0, 1);
    sim.run_for(Span::hours(3));
    check(&sim, "refused");
}

#[test]
fn a_dead_token_is_replaced_by_what_an_operator_brings_although_nothing_can_be_minted() {
    let mut sim = Sim::new(served(), abilities());
    sim.run_for(Span::hours(3));
    sim.world.ledger(|ledger| ledger.tokens[0].revoked = true);
    sim.world.script(|kind, _| if kind == Kind::Mint { Fate::Refused } else { Fate::Fine });
    sim.run_for(Span::hours(5));
    assert!(sim.state().phase.current().unwrap().dead.is_some());
    assert!(sim.adopt());
    sim.run_for(Span::hours(2));
    assert_eq!(sim.state().phase.name(), "steady");
    assert!(sim.state().phase.current().unwrap().dead.is_none());
    sim.world.script(|_, _| Fate::Fine);
    check(&sim, "adopted");
}

#[test]
fn what_was_rolled_back_is_not_rotated_again_at_once() {
    let mut sim = Sim::new(served(), abilities());
    sim.run_for(Span::days(20));
    while sim.state().phase.name() != "active" {
        sim.run_for(Span::minutes(1));
    }
    assert_eq!(sim.recall().map(|number| number.0), Ok(1));
    sim.run_for(Span::hours(20));
    let state = sim.state();
    assert_eq!((state.phase.name(), state.phase.current().unwrap().generation.number.0), ("steady", 1));
    check(&sim, "rolled back");
    sim.run_for(Span::hours(10));
    assert_eq!(sim.state().phase.current().unwrap().generation.number.0, 3, "its expiry is still near");
    sim.run_for(Span::hours(10));
    check(&sim, "rotated again");
}

#[test]
fn compromised_secrets_have_no_grace() {
    let mut policy = served();
    policy.grace = Span::days(3);
    policy.paused = true;
    let mut sim = Sim::new(policy, abilities());
    sim.policy().paused = false;
    sim.run_for(Span::hours(3));
    sim.policy().paused = true;
    let began = sim.now();
    sim.note(Event::Compromised {});
    sim.run();
    assert_eq!(sim.now(), began);
    assert!(sim.world.ledger(|ledger| ledger.tokens[0].revoked), "revoked as soon as the new one is delivered");
    check(&sim, "replaced");
    // A hook that does not succeed keeps the old one alive: a consumer may still use it.
    sim.world.script(|kind, _| if kind == Kind::Hook { Fate::Later } else { Fate::Fine });
    sim.note(Event::Compromised {});
    sim.run_for(Span::hours(1));
    assert!(!sim.world.ledger(|ledger| ledger.tokens[1].revoked));
    sim.world.script(|_, _| Fate::Fine);
    sim.run_for(Span::hours(2));
    assert!(sim.world.ledger(|ledger| ledger.tokens[1].revoked));
    check(&sim, "replaced in the end");
}

#[test]
fn what_cannot_be_rolled_back_says_why() {
    let mut sim = Sim::new(served(), abilities());
    assert_eq!(sim.recall(), Err(Rejection::NoneBefore), "nothing exists");
    sim.run_for(Span::hours(3));
    assert_eq!(sim.recall(), Err(Rejection::NoneBefore), "there is only one");
    sim.note(Event::Compromised {});
    sim.world.script(|kind, _| if kind == Kind::Revoke { Fate::Later } else { Fate::Fine });
    sim.run();
    assert_eq!(sim.state().phase.name(), "active");
    assert_eq!(sim.recall(), Err(Rejection::Compromised(GenerationNo(1))));
    sim.world.script(|_, _| Fate::Fine);
    sim.run_for(Span::hours(3));
    sim.note(Event::Requested {});
    sim.run();
    std::sync::Arc::make_mut(&mut sim.context.abilities).can.overlap = false;
    assert_eq!(sim.recall(), Err(Rejection::Ended(GenerationNo(2))));
}

/// A pair that somebody brought, at a provider that renews and cannot mint; access tokens live for eight hours.
fn pair() -> Sim {
    let mut abilities = renewing();
    abilities.can.mints = false;
    let mut policy = served();
    policy.initial = Some(initial());
    let mut sim = Sim::new(policy, abilities);
    sim.world.ledger(|ledger| ledger.lifetime = Some(Span::hours(8)));
    sim.log_in();
    sim
}

#[test]
fn a_pair_is_adopted_although_its_access_token_is_dead() {
    let mut sim = pair();
    let provider_now = sim.provider_now();
    sim.world.ledger(|ledger| ledger.tokens[0].expires = Expiry::told(provider_now - Span::hours(1)));
    sim.run();
    let current = sim.state().phase.current().unwrap();
    assert_eq!((current.generation.number.0, current.generation.revision), (0, 1), "it was renewed first");
    check(&sim, "adopted");
}

#[test]
fn a_pair_that_is_dead_altogether_is_asked_for_and_replaced_by_hand() {
    let mut sim = pair();
    sim.world.ledger(|ledger| ledger.tokens[0].revoked = true);
    sim.run();
    let current = sim.state().phase.current().unwrap();
    assert!(current.renewal_spent && current.dead.is_some() && current.replacement.is_some(), "{current:?}");
    assert!(matches!(sim.request(false), Err(Rejection::NotRenewable { .. })));
    sim.log_in();
    sim.run_for(Span::hours(2));
    check(&sim, "somebody logged in again");
}

#[test]
fn a_request_is_answered_by_one_renewal() {
    let mut sim = pair();
    sim.run();
    let revision = |sim: &Sim| sim.state().phase.current().unwrap().generation.revision;
    let before = revision(&sim);
    assert_eq!(sim.request(false), Ok(()));
    sim.run_for(Span::minutes(10));
    assert_eq!((revision(&sim), sim.state().requested), (before + 1, None));
    // Its answer is lost: it is not asked for again, and the request is answered with that.
    sim.world.script(|kind, _| if kind == Kind::Renew { Fate::DoneUnknown } else { Fate::Fine });
    assert_eq!(sim.request(true), Ok(()));
    sim.run_for(Span::minutes(10));
    let current = sim.state().phase.current().unwrap();
    assert!(current.renewal_spent && current.replacement.is_some(), "{current:?}");
    assert_eq!(sim.violations(), Vec::<String>::new());
}

#[test]
fn what_others_had_is_over_with_a_renewal_that_ends_it() {
    let mut sim = pair();
    sim.run();
    assert_eq!(sim.request(true), Ok(()));
    sim.run();
    let current = sim.state().phase.current().unwrap();
    assert_eq!((current.generation.compromised, sim.state().requested), (None, None));
    let abilities = std::sync::Arc::make_mut(&mut sim.context.abilities);
    abilities.can.renewal_overlaps = true;
    assert!(matches!(sim.request(true), Err(Rejection::WorksOn(_))));
    assert_eq!(sim.request(false), Ok(()));
}

#[test]
fn a_renewed_secret_that_is_not_accepted_is_renewed_again_and_not_all_the_time() {
    let mut sim = pair();
    sim.world.ledger(|ledger| ledger.verify_lag = Span::days(1));
    sim.run_for(Span::hours(23));
    let current = sim.state().phase.current().unwrap();
    // Nothing works meanwhile: one each `verify-timeout` and up to a minute.
    assert!((2..1000).contains(&current.generation.revision), "{current:?}");
    sim.run_for(Span::hours(3));
    check(&sim, "it is accepted in the end");
}
