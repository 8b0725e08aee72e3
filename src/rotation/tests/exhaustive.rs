//! Every combination of faults at every step, to a stated depth, over the real `decide` and `apply`.
//!
//! A story is a token's life in which some effects meet a fate other than success. All stories with up to
//! `PATROLD_FAULTS` faults (2 by default) among the first `PATROLD_EFFECTS` effects (16 by default) are lived to their
//! end: each kind of effect meets each fate that it can have. After every commit the guarantees must hold, in the end
//! everything must be in order, and every change of phase must stand in the diagram of [`crate::rotation`].
//!
//! `PATROLD_FAULTS=3 PATROLD_EFFECTS=40 cargo test --release --lib exhaustive -- --nocapture` is the form for a night.

use std::collections::{BTreeSet, HashSet};
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use crate::clock::Span;
use crate::inventory::{OnFailure, TokenPolicy};
use crate::provider::Abilities;
use crate::rotation::event::Event;

use super::diagram::{Arrow, drawn};
use super::driver::Sim;
use super::policy::{abilities, hook, renewing, store, token};
use super::world::{Fate, Kind};

/// A fault: the number of the effect that meets it, counted from 0, and its fate.
type Fault = (usize, Fate);

/// What every fate but success is for an effect of this kind. A read that happened and one that did not are the same to
/// everybody else.
fn fates(kind: Kind) -> Vec<Fate> {
    use Fate::{DoneLate, DoneUnknown, Fenced, Later, NotDoneUnknown, Refused, StopAfter, StopBefore};
    match kind {
        Kind::Mint => {
            vec![Later, Refused, DoneUnknown, NotDoneUnknown, DoneLate(Span::seconds(20)), StopBefore, StopAfter]
        }
        Kind::Renew | Kind::Revoke | Kind::Write | Kind::Hook => {
            vec![Later, Refused, DoneUnknown, NotDoneUnknown, StopBefore, StopAfter]
        }
        Kind::Adopt | Kind::Preflight | Kind::List | Kind::Verify | Kind::Inspect => {
            vec![Later, Refused, NotDoneUnknown, StopBefore]
        }
        Kind::Commit => {
            vec![Later, DoneUnknown, NotDoneUnknown, DoneLate(Span::zero()), Fenced, StopBefore, StopAfter]
        }
        Kind::Settle => vec![Later, StopBefore],
    }
}

/// Where stories begin.
struct Beginning {
    sentence: &'static str,
    change: fn(&mut TokenPolicy, &mut Abilities),
    /// How long everything is well before.
    calm: Span,
    /// An operator asks for a rotation then.
    asked: bool,
    /// How long faults may occur, and how long everything takes to be in order afterwards.
    eventful: Span,
    recovery: Span,
}

/// What was seen in all stories of a beginning.
#[derive(Default)]
struct Seen {
    stories: usize,
    states: HashSet<u64>,
    arrows: BTreeSet<Arrow>,
    broken: Vec<String>,
}

impl Beginning {
    fn sim(&self) -> Sim {
        let (mut policy, mut abilities) = (token(), abilities());
        policy.stores = vec![store("a")];
        policy.hooks = vec![hook("reload", OnFailure::Retry)];
        (self.change)(&mut policy, &mut abilities);
        let renews = abilities.can.renews;
        let mut sim = Sim::new(policy, abilities);
        sim.world.ledger(|ledger| {
            ledger.grace = Some(Span::hours(1));
            if renews {
                ledger.lifetime = Some(Span::minutes(30));
            }
        });
        if self.calm > Span::zero() {
            sim.run_for(self.calm);
        }
        if self.asked {
            let (policy, now) = (Arc::clone(&sim.context.policy), sim.now());
            sim.held.note(&policy, now, Event::Requested {});
        }
        sim
    }

    /// Lives one story. Gives the kinds of the effects that may meet a further fault.
    fn live(&self, faults: &[Fault], effects: usize, seen: &mut Seen) -> Vec<Kind> {
        let mut sim = self.sim();
        let met: Arc<Mutex<Vec<Kind>>> = Arc::default();
        let (record, planned) = (Arc::clone(&met), faults.to_vec());
        sim.world.script(move |kind, _| {
            let mut met = record.lock().unwrap();
            met.push(kind);
            let number = met.len() - 1;
            planned.iter().find(|(at, _)| *at == number).map_or(Fate::Fine, |(_, fate)| *fate)
        });
        sim.run_for(self.eventful);
        sim.world.script(|_, _| Fate::Fine);
        sim.run_for(self.recovery);
        seen.stories += 1;
        sim.seen(|states, arrows| {
            seen.states.extend(states);
            seen.arrows.extend(arrows.iter().cloned());
        });
        let complaints = sim.complaints();
        let mut met = std::mem::take(&mut *met.lock().unwrap());
        if !complaints.is_empty() {
            let story: Vec<_> = faults.iter().map(|(at, fate)| format!("{fate:?} at {:?} {at}", met[*at])).collect();
            seen.broken.push(format!("{}: {}: {complaints:?}", self.sentence, story.join(", ")));
        }
        met.truncate(effects);
        met
    }

    fn explore(&self, faults: &mut Vec<Fault>, most: usize, effects: usize, seen: &mut Seen) {
        let met = self.live(faults, effects, seen);
        if faults.len() == most {
            return;
        }
        let from = faults.last().map_or(0, |(at, _)| at + 1);
        for (at, kind) in met.into_iter().enumerate().skip(from) {
            for fate in fates(kind) {
                faults.push((at, fate));
                self.explore(faults, most, effects, seen);
                faults.pop();
            }
        }
    }
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn search(beginning: &Beginning) -> Seen {
    let (most, effects) = (setting("PATROLD_FAULTS", 2), setting("PATROLD_EFFECTS", 16));
    let mut seen = Seen::default();
    beginning.explore(&mut Vec::new(), most, effects, &mut seen);
    // Not by a macro: what those print is swallowed unless the test fails.
    let _ = writeln!(
        std::io::stderr(),
        "{}: {} stories with up to {most} faults among {effects} effects, {} states, {} changes of phase, {} broken",
        beginning.sentence,
        seen.stories,
        seen.states.len(),
        seen.arrows.len(),
        seen.broken.len()
    );
    seen
}

#[track_caller]
fn holds(beginning: &Beginning) {
    let seen = search(beginning);
    assert!(seen.stories > 100, "{}: {} stories", beginning.sentence, seen.stories);
    let first: Vec<_> = seen.broken.iter().take(3).collect();
    assert!(first.is_empty(), "{} broken: {first:#?}", seen.broken.len());
    let drawn = drawn();
    let undrawn: Vec<_> = seen.arrows.iter().filter(|arrow| !drawn.contains(*arrow)).collect();
    assert!(undrawn.is_empty(), "not in the diagram: {undrawn:?}");
}

const FIRST: Beginning = Beginning {
    sentence: "a first issue",
    change: |_, _| {},
    calm: Span::zero(),
    asked: false,
    eventful: Span::minutes(30),
    recovery: Span::hours(4),
};

const ROTATION: Beginning = Beginning {
    sentence: "a rotation",
    change: |_, _| {},
    calm: Span::minutes(5),
    asked: true,
    eventful: Span::minutes(90),
    recovery: Span::hours(4),
};

#[test]
fn a_first_issue_survives_every_combination_of_faults() {
    holds(&FIRST);
}

#[test]
fn a_rotation_survives_every_combination_of_faults() {
    holds(&ROTATION);
}

#[test]
fn a_rotation_with_a_way_back_survives_every_combination_of_faults() {
    holds(&Beginning {
        sentence: "a rotation with a hook that rolls back",
        change: |policy, _| policy.hooks = vec![hook("reload", OnFailure::Rollback)],
        ..ROTATION
    });
}

#[test]
fn a_renewal_survives_every_combination_of_faults() {
    holds(&Beginning {
        sentence: "renewals in place",
        change: |_, abilities| *abilities = renewing(),
        asked: false,
        eventful: Span::minutes(50),
        ..ROTATION
    });
}

/// A control: where the journal acknowledges what it drops, the search finds tokens that nobody knows of.
#[test]
fn the_search_finds_what_a_forgetful_journal_does() {
    let mut broken = Vec::new();
    for (at, fate) in (0..8).flat_map(|at| [(at, Fate::StopBefore), (at, Fate::StopAfter)]) {
        let mut sim = FIRST.sim();
        sim.forgets(true);
        let mut number = 0;
        sim.world.script(move |_, _| {
            number += 1;
            if number - 1 == at { fate } else { Fate::Fine }
        });
        sim.run_for(FIRST.eventful);
        broken.extend(sim.complaints());
    }
    assert!(broken.iter().any(|text| text.contains("nobody knows of")), "{} complaints", broken.len());
}
