//! The process is stopped before and after every single effect and every single commit.

use std::collections::BTreeMap;

use crate::clock::Span;
use crate::inventory::{OnDrift, OnFailure, StorePolicy, TokenPolicy};
use crate::provider::Abilities;
use crate::rotation::event::Event;

use super::driver::{Sim, check};
use super::ledger::Ledger;
use super::policy::{abilities, hidden, hook, renewing, store, token};
use super::world::{Fate, Kind};

/// The fate of the nth effect of a kind.
type Faults = fn(Kind, usize) -> Fate;

/// Something that an operator does.
type Act = fn(&mut Sim);

/// What happens before the process is stopped, and what goes wrong besides.
struct Scenario {
    sentence: &'static str,
    change: fn(&mut TokenPolicy, &mut Abilities),
    provider: fn(&mut Ledger),
    /// How long everything is well at first.
    calm: Span,
    /// An operator asks for a rotation then.
    asked: bool,
    /// What else happens then.
    act: Act,
    /// Faults from then on; effects are counted from the beginning.
    script: Faults,
    /// How long the process may be stopped.
    eventful: Span,
    /// How long everything takes to be in order afterwards.
    recovery: Span,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            sentence: "",
            change: |_, _| {},
            provider: |_| {},
            calm: Span::minutes(5),
            asked: true,
            act: |_| {},
            script: |_, _| Fate::Fine,
            eventful: Span::minutes(90),
            recovery: Span::hours(4),
        }
    }
}

impl Scenario {
    fn begin(&self) -> Sim {
        let (mut policy, mut abilities) = (token(), abilities());
        policy.stores = vec![store("a"), store("b")];
        policy.hooks = vec![hook("reload", OnFailure::Retry)];
        (self.change)(&mut policy, &mut abilities);
        let mut sim = Sim::new(policy, abilities);
        sim.world.ledger(|ledger| {
            ledger.grace = Some(Span::hours(1));
            (self.provider)(ledger);
        });
        if self.calm > Span::zero() {
            sim.run_for(self.calm);
        }
        if self.asked {
            let (policy, now) = (std::sync::Arc::clone(&sim.context.policy), sim.now());
            sim.held.note(&policy, now, Event::Requested {});
        }
        (self.act)(&mut sim);
        sim.world.script(self.script);
        sim
    }

    /// Stops at each point in turn; returns how many there were.
    fn run(&self) -> usize {
        let mut whole = self.begin();
        let first = whole.world.points();
        whole.run_for(self.eventful);
        let last = whole.world.points();
        whole.world.script(|_, _| Fate::Fine);
        whole.run_for(self.recovery);
        check(&whole, self.sentence);
        for point in first..last {
            let sentence = format!("{}, stopped at the point {} of {}", self.sentence, point - first, last - first);
            let mut sim = self.begin();
            sim.world.stop_at(point);
            sim.run_for(self.eventful);
            assert_eq!(sim.restarts, 1, "{sentence}");
            assert_eq!(sim.violations(), Vec::<String>::new(), "{sentence}");
            sim.world.script(|_, _| Fate::Fine);
            sim.run_for(self.recovery);
            check(&sim, &sentence);
        }
        last - first
    }
}

#[test]
fn a_first_issue_survives_every_stop() {
    let points = Scenario { sentence: "first issue", calm: Span::zero(), asked: false, ..Scenario::default() }.run();
    assert!(points > 20, "{points}");
}

#[test]
fn a_rotation_survives_every_stop() {
    let points = Scenario { sentence: "second generation", ..Scenario::default() }.run();
    assert!(points > 30, "{points}");
}

#[test]
fn a_write_to_a_store_that_hides_what_it_holds_survives_every_stop() {
    let scripts: [(&str, Faults); 2] = [
        ("every write is acknowledged", |_, _| Fate::Fine),
        ("its acknowledgement is lost", |kind, count| match kind {
            Kind::Write if count == 1 => Fate::DoneUnknown,
            _ => Fate::Fine,
        }),
    ];
    for (sentence, script) in scripts {
        let scenario = Scenario {
            sentence,
            change: |policy, _| {
                policy.stores = vec![hidden("a"), StorePolicy { on_drift: OnDrift::Report, ..hidden("b") }];
            },
            provider: |ledger| ledger.writes = Some(BTreeMap::new()),
            calm: Span::zero(),
            asked: false,
            script,
            ..Scenario::default()
        };
        assert!(scenario.run() > 20);
    }
}

#[test]
fn a_rotation_survives_every_stop_whatever_the_provider_lacks() {
    type Change = fn(&mut TokenPolicy, &mut Abilities);
    let lacks: [(&str, Change); 5] = [
        ("no revocation", |_, abilities| abilities.can.revokes = false),
        ("no listing", |_, abilities| abilities.can.lists = false),
        ("no proof", |_, abilities| abilities.can.verifies = false),
        ("no id in the answer to a mint", |_, abilities| abilities.can.has_id = false),
        ("revocation with the token itself", |_, abilities| abilities.revokes_self = true),
    ];
    for (sentence, change) in lacks {
        Scenario { sentence, change, ..Scenario::default() }.run();
    }
}

#[test]
fn a_renewal_survives_every_stop() {
    let scenario = Scenario {
        sentence: "renewals",
        change: |_, abilities| *abilities = renewing(),
        provider: |ledger| ledger.lifetime = Some(Span::minutes(30)),
        asked: false,
        eventful: Span::minutes(50),
        ..Scenario::default()
    };
    assert!(scenario.run() > 30);
}

#[test]
fn a_renewal_of_unknown_outcome_survives_every_stop() {
    let scripts: [(&str, Faults); 2] = [
        ("a renewal that happened", |kind, _| if kind == Kind::Renew { Fate::DoneUnknown } else { Fate::Fine }),
        ("a renewal that did not", |kind, _| if kind == Kind::Renew { Fate::NotDoneUnknown } else { Fate::Fine }),
    ];
    for (sentence, script) in scripts {
        let scenario = Scenario {
            sentence,
            change: |_, abilities| *abilities = renewing(),
            provider: |ledger| ledger.lifetime = Some(Span::minutes(30)),
            asked: false,
            script,
            eventful: Span::minutes(25),
            ..Scenario::default()
        };
        assert!(scenario.run() > 20);
    }
}

#[test]
fn an_undo_survives_every_stop() {
    let scenario = Scenario {
        sentence: "a secret that is never accepted",
        calm: Span::hours(3),
        script: |kind, _| if kind == Kind::Verify { Fate::Refused } else { Fate::Fine },
        eventful: Span::minutes(4),
        ..Scenario::default()
    };
    assert!(scenario.run() > 20);
}

#[test]
fn a_rollback_survives_every_stop() {
    let scenario = Scenario {
        sentence: "a hook that fails once",
        change: |policy, _| policy.hooks = vec![hook("reload", OnFailure::Rollback)],
        // It does its work and then fails: consumers hold the new secret when it is taken back.
        script: |kind, count| if kind == Kind::Hook && count == 2 { Fate::DoneUnknown } else { Fate::Fine },
        eventful: Span::minutes(10),
        ..Scenario::default()
    };
    assert!(scenario.run() > 40);
}

#[test]
fn a_lost_mint_survives_every_stop() {
    let scripts: [(&str, Faults); 5] = [
        ("a mint that happened", |kind, count| match (kind, count) {
            (Kind::Mint, 2) => Fate::DoneUnknown,
            _ => Fate::Fine,
        }),
        ("a mint that did not happen", |kind, count| match (kind, count) {
            (Kind::Mint, 2) => Fate::NotDoneUnknown,
            _ => Fate::Fine,
        }),
        ("a mint that happens late", |kind, count| match (kind, count) {
            (Kind::Mint, 2) => Fate::DoneLate(Span::seconds(20)),
            _ => Fate::Fine,
        }),
        ("a mint that happens after the search", |kind, count| match (kind, count) {
            (Kind::Mint, 2) => Fate::DoneLate(Span::minutes(20)),
            _ => Fate::Fine,
        }),
        ("and a revocation in doubt", |kind, count| match (kind, count) {
            (Kind::Mint, 2) | (Kind::Revoke, 1) => Fate::DoneUnknown,
            (Kind::List, 1) => Fate::Later,
            _ => Fate::Fine,
        }),
    ];
    for (sentence, script) in scripts {
        let scenario = Scenario { sentence, script, eventful: Span::minutes(30), ..Scenario::default() };
        assert!(scenario.run() > 30);
    }
}

/// The second generation is current, and the first waits for its end.
fn rotate(sim: &mut Sim) {
    sim.note(Event::Requested {});
    sim.run();
    assert_eq!(sim.state().phase.name(), "active");
}

#[test]
fn an_adoption_survives_every_stop() {
    let begins: [(&str, Span, Act); 3] = [
        ("a secret that an operator brings", Span::minutes(5), |sim| assert!(sim.adopt())),
        ("the first one", Span::zero(), |sim| assert!(sim.adopt())),
        ("one that does not work", Span::minutes(5), |sim| {
            assert!(sim.adopt());
            sim.world.ledger(|ledger| ledger.tokens.iter_mut().next_back().unwrap().revoked = true);
        }),
    ];
    for (sentence, calm, act) in begins {
        let scenario = Scenario { sentence, calm, asked: false, act, ..Scenario::default() };
        assert!(scenario.run() > 4, "{sentence}");
    }
    let scenario = Scenario {
        sentence: "a hook that refuses what an operator brought",
        change: |policy, _| policy.hooks = vec![hook("reload", OnFailure::Rollback)],
        asked: false,
        act: |sim| assert!(sim.adopt()),
        script: |kind, count| if kind == Kind::Hook && count == 2 { Fate::DoneUnknown } else { Fate::Fine },
        ..Scenario::default()
    };
    assert!(scenario.run() > 20);
}

#[test]
fn a_recall_survives_every_stop() {
    let begins: [(&str, Act); 3] = [
        ("the generation before", |sim| {
            rotate(sim);
            sim.recall().unwrap();
        }),
        ("one that is dead meanwhile", |sim| {
            rotate(sim);
            sim.world.ledger(|ledger| ledger.tokens[0].revoked = true);
            sim.recall().unwrap();
        }),
        ("while the new one is on its way", |sim| {
            sim.world.script(|kind, _| if kind == Kind::Hook { Fate::Later } else { Fate::Fine });
            sim.note(Event::Requested {});
            sim.run();
            assert_eq!(sim.state().phase.name(), "delivered");
            sim.recall().unwrap();
        }),
    ];
    for (sentence, act) in begins {
        let scenario = Scenario { sentence, asked: false, act, ..Scenario::default() };
        assert!(scenario.run() > 5, "{sentence}");
    }
    let scenario = Scenario {
        sentence: "a hook that refuses the generation before",
        change: |policy, _| policy.hooks = vec![hook("reload", OnFailure::Rollback)],
        asked: false,
        act: |sim| {
            rotate(sim);
            sim.recall().unwrap();
        },
        script: |kind, count| if kind == Kind::Hook && count == 3 { Fate::DoneUnknown } else { Fate::Fine },
        ..Scenario::default()
    };
    assert!(scenario.run() > 20);
}

#[test]
fn a_replacement_of_compromised_secrets_survives_every_stop() {
    let begins: [(&str, Act); 3] = [
        ("at rest", |sim| sim.note(Event::Compromised {})),
        ("in the grace of the one before", |sim| {
            rotate(sim);
            sim.note(Event::Compromised {});
        }),
        ("while a new one is on its way", |sim| {
            sim.world.script(|kind, _| if kind == Kind::Hook { Fate::Later } else { Fate::Fine });
            sim.note(Event::Requested {});
            sim.run();
            sim.note(Event::Compromised {});
        }),
    ];
    for (sentence, act) in begins {
        // Nothing has a grace here.
        let provider: fn(&mut Ledger) = |ledger| ledger.grace = None;
        let scenario = Scenario { sentence, asked: false, act, provider, ..Scenario::default() };
        assert!(scenario.run() > 20, "{sentence}");
    }
}

#[test]
fn everything_once_in_vain_survives_every_stop() {
    for (sentence, fate) in [
        ("later", Fate::Later),
        ("refused", Fate::Refused),
        ("done in doubt", Fate::DoneUnknown),
        ("not done in doubt", Fate::NotDoneUnknown),
    ] {
        let mut sim = Scenario::default().begin();
        sim.world.script(move |_, count| if count % 2 == 0 { fate } else { Fate::Fine });
        sim.run_for(Span::hours(3));
        sim.world.script(|_, _| Fate::Fine);
        sim.run_for(Span::hours(8));
        check(&sim, sentence);
    }
    for kind in
        [Kind::Preflight, Kind::Mint, Kind::List, Kind::Verify, Kind::Revoke, Kind::Write, Kind::Inspect, Kind::Hook]
    {
        let mut sim = Scenario::default().begin();
        sim.world.script(
            move |effect, count| if effect == kind && (2..20).contains(&count) { Fate::StopAfter } else { Fate::Fine },
        );
        sim.run_for(Span::hours(3));
        sim.world.script(|_, _| Fate::Fine);
        sim.run_for(Span::hours(8));
        check(&sim, &format!("stopped after most of {kind:?}"));
    }
}
