//! The answers of a journal that others share: no answer at all, written late, and that another process has taken over.

use crate::clock::Span;
use crate::inventory::OnFailure;
use crate::rotation::event::Event;

use super::driver::{Sim, TakenFor, check};
use super::policy::{abilities, hook, renewing, store, token};
use super::world::{Fate, Kind};

/// What can become of a commit besides its answer.
const FATES: [Fate; 5] =
    [Fate::Refused, Fate::DoneUnknown, Fate::NotDoneUnknown, Fate::DoneLate(Span::zero()), Fate::Fenced];

/// A token that is to be rotated, or renewed.
fn due(renews: bool) -> Sim {
    let mut policy = token();
    policy.stores = vec![store("a"), store("b")];
    policy.hooks = vec![hook("reload", OnFailure::Retry)];
    let mut sim = Sim::new(policy, if renews { renewing() } else { abilities() });
    sim.world.ledger(|ledger| {
        ledger.grace = Some(Span::hours(1));
        if renews {
            ledger.lifetime = Some(Span::minutes(30));
        }
    });
    sim.run_for(Span::minutes(5));
    if !renews {
        sim.note(Event::Requested {});
    }
    sim
}

/// The commit number `nth` from now meets `fate`, and so do those after it, `more` of them; then, while nobody knows, an
/// operator asks once more.
fn meet(mut sim: Sim, nth: usize, more: usize, fate: Fate) -> Sim {
    let mut seen = 0;
    sim.world.script(move |kind, _| {
        if kind != Kind::Commit {
            return Fate::Fine;
        }
        seen += 1;
        if (nth..=nth + more).contains(&seen) { fate } else { Fate::Fine }
    });
    sim.run();
    let _ = sim.request(false);
    sim.run_for(Span::hours(2));
    sim.world.script(|_, _| Fate::Fine);
    sim.run_for(Span::hours(6));
    sim
}

#[test]
fn a_rotation_survives_every_answer_to_every_commit() {
    for renews in [false, true] {
        for fate in FATES {
            for (nth, more) in (1..12).flat_map(|nth| [(nth, 0), (nth, 2)]) {
                let sentence = format!("{fate:?} at {more} more than the commit {nth}, renewing: {renews}");
                check(&meet(due(renews), nth, more, fate), &sentence);
            }
        }
    }
}

#[test]
fn an_outcome_that_cannot_be_read_either_is_read_before_anything_else_is_done() {
    for fate in [Fate::DoneUnknown, Fate::NotDoneUnknown, Fate::DoneLate(Span::zero())] {
        let mut sim = due(false);
        let mut answers = 0;
        sim.world.script(move |kind, _| match kind {
            Kind::Commit if answers == 0 => {
                answers += 1;
                fate
            }
            Kind::Settle if answers < 4 => {
                answers += 1;
                Fate::Later
            }
            _ => Fate::Fine,
        });
        let before = sim.world.counts();
        for reads in 1..4 {
            sim.run();
            let did: Vec<_> = sim.world.counts().into_iter().filter(|it| before.get(&it.0) != Some(&it.1)).collect();
            let kinds: Vec<_> = did.iter().map(|(kind, _)| *kind).filter(|kind| *kind != Kind::Preflight).collect();
            assert_eq!(kinds, [Kind::Commit, Kind::Settle], "{fate:?} after {reads} reads");
            assert!(sim.held.stuck().is_some(), "{fate:?}");
            let until = sim.now() + Span::minutes(5);
            sim.clock.set(until);
        }
        sim.world.script(|_, _| Fate::Fine);
        sim.run_for(Span::hours(6));
        check(&sim, &format!("{fate:?}, and it could be read at last"));
    }
}

/// What a process noted and could not commit is still true when it takes the account again and nobody else wrote meanwhile.
#[test]
fn an_account_that_is_taken_again_goes_on_with_what_was_minted() {
    for (renews, nth, more) in [false, true].iter().flat_map(|renews| (1..12).map(move |nth| (*renews, nth, nth % 3))) {
        let mut sim = due(renews);
        sim.comes_back = true;
        let minted = sim.world.ledger(|ledger| ledger.tokens.len());
        let sim = meet(sim, nth, more, Fate::Fenced);
        let sentence = format!("fenced at {more} more than the commit {nth}, renewing: {renews}");
        check(&sim, &sentence);
        if !renews {
            let minted = sim.world.ledger(|ledger| ledger.tokens.len()) - minted;
            let asked = sim.state().phase.current().unwrap().generation.number.0 - 1;
            assert_eq!(minted, asked as usize, "{sentence}: no mint was in vain");
        }
    }
}

/// Controls: whoever guesses instead of reading breaks what must hold.
#[test]
fn an_unknown_outcome_that_is_taken_for_another_breaks_the_guarantees() {
    let broken = |taken_for, fate, stop: bool| {
        let stories = (1..12).map(|nth| {
            let sim = due(false);
            sim.takes_unknown_for(taken_for);
            if stop {
                // The process ends with whatever it does next.
                let mut commits = 0;
                sim.world.script(move |kind, _| {
                    commits += usize::from(kind == Kind::Commit);
                    match kind {
                        Kind::Commit if commits == nth => fate,
                        Kind::Mint if commits >= nth => Fate::StopAfter,
                        _ => Fate::Fine,
                    }
                });
                let mut sim = sim;
                sim.run();
                sim.world.script(|_, _| Fate::Fine);
                sim.run_for(Span::hours(6));
                return sim.complaints();
            }
            meet(sim, nth, 0, fate).complaints()
        });
        stories.flatten().collect::<Vec<_>>()
    };
    let refused = broken(TakenFor::Refused, Fate::DoneUnknown, false);
    assert!(refused.iter().any(|it| it.contains("went on without us")), "taken for refused: {refused:?}");
    let written = broken(TakenFor::Written, Fate::NotDoneUnknown, true);
    assert!(written.iter().any(|it| it.contains("nobody knows of")), "taken for written: {written:?}");
}
