//! What a bug leaves half done is given up: the journal knows the token's state.

use crate::clock::Span;
use crate::inventory::OnFailure;
use crate::rotation::event::Event;

use super::driver::{Sim, check};
use super::policy::{abilities, hook, store, token};

/// A token that was minted once, and that is to be rotated.
fn due() -> Sim {
    let mut policy = token();
    policy.stores = vec![store("a"), store("b")];
    policy.hooks = vec![hook("reload", OnFailure::Retry)];
    let mut sim = Sim::new(policy, abilities());
    sim.world.ledger(|ledger| ledger.grace = Some(Span::hours(1)));
    sim.run_for(Span::minutes(5));
    let (policy, now) = (std::sync::Arc::clone(&sim.context.policy), sim.now());
    sim.held.note(&policy, now, Event::Requested {});
    sim
}

#[test]
fn a_run_that_panics_anywhere_is_taken_up_from_the_journal() {
    let mut whole = due();
    let first = whole.world.points();
    whole.run_for(Span::hours(2));
    let last = whole.world.points();
    assert!(last > first + 20, "{first} to {last}");
    for point in first..last {
        let sentence = format!("the run ended abnormally at the point {}", point - first);
        let mut sim = due();
        sim.panics = true;
        sim.world.stop_at(point);
        sim.run_for(Span::hours(2));
        assert_eq!(sim.restarts, 1, "{sentence}");
        sim.run_for(Span::hours(4));
        check(&sim, &sentence);
    }
}

#[test]
fn an_event_that_does_not_fit_ends_the_run_and_changes_nothing() {
    let mut sim = due();
    let (policy, now) = (std::sync::Arc::clone(&sim.context.policy), sim.now());
    sim.held.note(&policy, now, Event::Delivered {});
    sim.held.note(&policy, now, Event::BackoffEnded {});
    assert!(sim.held.misfit().is_some());
    let before = sim.world.points();
    sim.run();
    assert!(sim.held.torn(), "the error is told, and the run is over");
    assert_eq!(sim.world.points() - before, 2, "before and after one commit: of what was noted before");
    sim.run_for(Span::hours(4));
    assert!(!sim.held.torn());
    assert!(sim.held.state().phase.current().is_some_and(|current| current.generation.number.0 == 2));
    check(&sim, "the request from before the bug is answered");
}
