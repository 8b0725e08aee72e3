//! Controls: a story that a law keeps harmless does harm once that law is switched off. A test that would hold without its
//! law proves nothing of it.

use std::sync::Arc;

use crate::clock::Span;

use super::driver::{Sim, check};
use super::lies::Lie;
use super::policy::{abilities, store, token};
use super::world::{Fate, Kind, Off};

/// A token whose consumers are served.
fn served() -> Sim {
    let mut policy = token();
    policy.stores = vec![store("a")];
    let mut sim = Sim::new(policy, abilities());
    sim.run_for(Span::hours(3));
    sim
}

/// `live` holds under the law, and breaks something without it.
fn control(law: &str, off: fn(&mut Sim), live: fn(&mut Sim)) {
    let mut lawful = served();
    live(&mut lawful);
    assert_eq!(lawful.violations(), Vec::<String>::new(), "{law}: {:?}", lawful.state());
    check(&lawful, law);
    let mut lawless = served();
    off(&mut lawless);
    live(&mut lawless);
    assert_ne!(lawless.violations(), Vec::<String>::new(), "without \"{law}\" nothing happens: {:?}", lawless.state());
}

#[test]
fn absence_proves_death_only_after_two_looks_so_far_apart() {
    let off = |sim: &mut Sim| Arc::make_mut(&mut sim.context.abilities).settle = Span::zero();
    control("two looks", off, |sim| {
        Arc::make_mut(&mut sim.context.abilities).can.verifies = false;
        sim.world.ledger(|ledger| ledger.abilities.can.verifies = false);
        sim.world.script(|kind, count| if kind == Kind::Revoke && count <= 4 { Fate::Refused } else { Fate::Fine });
        sim.request(false).unwrap();
        sim.run_for(Span::minutes(59));
        assert_eq!(sim.state().phase.name(), "active");
        // When the grace of the old one is over, a page is stale for a moment.
        let end = sim.provider_now() + Span::seconds(70);
        sim.world.ledger(|ledger| ledger.lies.tell(Lie::Filtered, end));
        sim.run_for(Span::hours(3));
    });
}

#[test]
fn each_failure_makes_the_next_wait_longer() {
    control(
        "back-off",
        |sim| sim.world.switch_off(Off::Backoff),
        |sim| {
            sim.world.script(|kind, _| if kind == Kind::Mint { Fate::DoneUnknown } else { Fate::Fine });
            sim.request(false).unwrap();
            sim.run_for(Span::minutes(10));
            sim.world.script(|_, _| Fate::Fine);
            sim.run_for(Span::hours(6));
        },
    );
}
