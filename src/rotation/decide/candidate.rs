//! From a new secret to its handover, or to its end.
//!
//! Law: a secret that verify accepts is delivered, whatever arithmetic says of its expiry. What is taken back is revoked,
//! whatever arithmetic says.

use crate::clock::Time;
use crate::inventory::{OnFailure, StorePolicy};
use crate::outcome::{Failure, FailureCode};
use crate::rotation::event::Event;
use crate::rotation::kinship::Kinship;
use crate::rotation::reason::Reason;
use crate::rotation::state::{Candidate, Current, Delivery, Generation, Origin, Orphan, Phase, Progress, Undo};

use super::delivery;
use super::step::Delivering;
use super::{Action, Situation, Step, act_or_wait, earliest, later, rest};

/// While so many generations wait for a revocation, an undo is not left for later: a provider that mints what cannot be
/// used and revokes nothing must not fill an account with live tokens.
const MANY_DEFERRED: usize = 3;

pub(super) fn minted(s: &Situation<'_>, candidate: &Candidate) -> Step {
    if let Some(why) = withdrawn(s, candidate) {
        return Step::Note(Event::UndoBegun { why, restore: false });
    }
    // A provider that renewed the current generation instead has ended its secret: consumers need the new one.
    let replaced = s.state.phase.current().is_some_and(|current| s.candidate_is_kin(current));
    if !s.wanted && !replaced {
        let why = Failure::new(FailureCode::Withdrawn, "the token left the inventory");
        return Step::Note(Event::UndoBegun { why, restore: false });
    }
    if !s.abilities.can.verifies {
        return Step::Note(Event::Verified { proven: false, id: None, expires: None });
    }
    act_or_wait(s, Action::Verify, Reason::Verifying)
}

/// Why a candidate must not be handed over.
fn withdrawn(s: &Situation<'_>, candidate: &Candidate) -> Option<Failure> {
    candidate.rejection.clone().or_else(|| same_secret(s, candidate))
}

/// A candidate with the secret of the current generation is not a new one. See [`Generation::kinship`].
fn same_secret(s: &Situation<'_>, candidate: &Candidate) -> Option<Failure> {
    let current = &s.state.phase.current()?.generation;
    let same = candidate.origin == Origin::Minted && candidate.generation.kinship(current) == Kinship::Secret;
    same.then(|| {
        let id = |generation: &Generation| generation.remote.id.as_ref().map_or("none".into(), ToString::to_string);
        let detail = match (id(&candidate.generation), id(current)) {
            (new, old) if new == old => {
                format!("the answer to the mint has the secret of generation {}", current.number)
            }
            (new, old) => format!(
                "the answer to the mint has the secret of generation {} under another id ({new} instead of {old})",
                current.number
            ),
        };
        Failure::new(FailureCode::SameToken, detail)
    })
}

/// What is left of a candidate that is not taken back because it is the same token as the current generation: an id of its
/// own, which nobody may revoke.
fn namesake(s: &Situation<'_>, generation: &Generation) -> Option<Orphan> {
    let id = generation.remote.id.as_ref();
    let known = |orphan: &Orphan| matches!(orphan, Orphan::Unrevocable { id: known, .. } if known.as_ref() == id);
    let current = s.state.phase.current().is_some_and(|current| current.generation.remote.id.as_ref() == id);
    let accounted = id.is_some() && (current || s.state.orphans.iter().any(known));
    (!accounted).then(|| Orphan::unrevocable(generation))
}

pub(super) fn verified(s: &Situation<'_>, current: Option<&Current>, candidate: &Candidate) -> Step {
    if s.forgotten() {
        return forgotten(s, candidate);
    }
    if let Some(why) = withdrawn(s, candidate) {
        // A store may hold it although none has a row: patrold may have been stopped before it noted one.
        return Step::Note(Event::UndoBegun { why, restore: true });
    }
    if let Some(why) = refused_by_store(s, current, &candidate.delivery) {
        return Step::Note(Event::UndoBegun { why, restore: true });
    }
    let owed = match delivery::stores(s, &candidate.delivery) {
        Delivering::Done => return Step::Note(Event::Delivered {}),
        Delivering::At(time) if current.is_none_or(|current| s.pressing(current)) => {
            delivery::partly(s, &candidate.delivery, time)
        }
        owed => owed,
    };
    match owed {
        Delivering::Now(step) => step,
        Delivering::At(time) => wait_for_delivery(s, current, candidate, time),
        Delivering::Done => rest(Reason::Delivering, None),
    }
}

pub(super) fn delivered(s: &Situation<'_>, current: Option<&Current>, candidate: &Candidate) -> Step {
    if s.forgotten() {
        return forgotten(s, candidate);
    }
    if let Some(why) = withdrawn(s, candidate) {
        return Step::Note(Event::UndoBegun { why, restore: true });
    }
    if let Some(added) = s.policy.stores.iter().find(|store| !candidate.delivery.has_store(&store.key)) {
        return Step::Note(Event::store_added(added.key.clone()));
    }
    if let Some(why) = refused_by_hook(s, current, &candidate.delivery) {
        return Step::Note(Event::UndoBegun { why, restore: true });
    }
    match delivery::hooks(s, &candidate.delivery) {
        Delivering::Now(step) => step,
        Delivering::At(time) => wait_for_delivery(s, current, candidate, time),
        Delivering::Done => {
            Step::Note(Event::Activated { revoke_at: s.end_of_grace(current), vain: s.vain(current, candidate) })
        }
    }
}

/// The failure of a hook that wants the rotation rolled back, where there is time and something to roll back to.
fn refused_by_hook(s: &Situation<'_>, current: Option<&Current>, delivery: &Delivery) -> Option<Failure> {
    if !s.restorable(current) || current.is_some_and(|current| s.pressing(current)) {
        return None;
    }
    let hooks = s.policy.hooks.iter().filter(|hook| hook.on_failure == OnFailure::Rollback);
    hooks.into_iter().find_map(|hook| match delivery.hooks.get(&hook.key) {
        Some(Progress::Failed(retry)) => Some(retry.failure.clone()),
        _ => None,
    })
}

/// The failure of a store that can never hold the candidate, where there is time and something to go back to. Where there
/// is not, the other stores keep it: consumers without a secret are worse off than those of one store.
fn refused_by_store(s: &Situation<'_>, current: Option<&Current>, delivery: &Delivery) -> Option<Failure> {
    if !s.restorable(current) || current.is_some_and(|current| s.pressing(current)) {
        return None;
    }
    s.policy.stores.iter().find_map(|store| refusal(delivery.stores.get(&store.key)?).cloned())
}

/// Why a store can never hold what it was to be given.
fn refusal(row: &Progress) -> Option<&Failure> {
    match row {
        Progress::Failed(retry) if retry.failure.code == FailureCode::StoreRefused => Some(&retry.failure),
        Progress::Failed(_) | Progress::Done { .. } => None,
    }
}

/// Nothing can be delivered before `next`. A candidate must not grow old over that: it becomes current, so that it can be
/// rotated or renewed itself, while what is owed stays owed and keeps the old generation alive.
fn wait_for_delivery(s: &Situation<'_>, current: Option<&Current>, candidate: &Candidate, next: Time) -> Step {
    if s.near_end(&candidate.generation) {
        let (revoke_at, vain) = (s.end_of_grace(current), s.vain(current, candidate));
        return Step::Note(Event::ActivatedEarly { revoke_at, vain });
    }
    let ends = [&candidate.generation].into_iter().chain(current.map(|current| &current.generation));
    let ends = ends.map(|generation| s.reckoning().near_end(generation));
    rest(Reason::Delivering, earliest(s.now, ends.chain([Some(next)])))
}

/// Stores may hold the candidate or the old secret, and nobody knows which stores these are: both stay.
fn forgotten(s: &Situation<'_>, candidate: &Candidate) -> Step {
    rest(Reason::LeftInventory, earliest(s.now, [s.reckoning().end(&candidate.generation)]))
}

pub(super) fn undoing(s: &Situation<'_>, current: Option<&Current>, candidate: &Candidate, undo: &Undo) -> Step {
    let generation = &candidate.generation;
    let revoke_at = match candidate.origin {
        // Where consumers had it again, its grace begins anew.
        Origin::Recalled { revoke_at, .. } if undo.restore => Some(revoke_at.max(later(s.now, s.policy.grace))),
        Origin::Recalled { revoke_at, .. } => Some(revoke_at),
        Origin::Minted | Origin::Adopted => None,
    };
    let undone = |orphan| Step::Note(Event::Undone { orphan, next: s.next_rotation(), revoke_at });
    if undo.restore {
        if !s.restorable(current) {
            // It is all that some consumers have.
            return if s.forgotten() { forgotten(s, candidate) } else { undone(Some(set_aside(s, generation, None))) };
        }
        if s.forgotten() {
            return forgotten(s, candidate);
        }
        match restoring(s, &candidate.delivery, &undo.restored) {
            Delivering::Now(step) => return step,
            Delivering::At(time) => return wait_for_undo(s, generation, None, time, undone),
            Delivering::Done => {}
        }
    }
    // What was not minted for this rotation is not taken back: it goes on retiring, or stays whose it was.
    if candidate.origin != Origin::Minted || s.has_ended(generation) {
        return undone(None);
    }
    if current.is_some_and(|current| s.candidate_is_kin(current)) {
        return undone(namesake(s, generation));
    }
    if !s.can_revoke(generation) {
        return undone(Some(Orphan::unrevocable(generation)));
    }
    match s.waiting(s.state.retry.as_ref()) {
        Some(next) => wait_for_undo(s, generation, Some(s.now), next, undone),
        None => Step::Act(Action::RevokeCandidate),
    }
}

/// The old secret back into the stores, then the hooks. A store that could hold neither the candidate nor the old secret
/// has nothing to get rid of: the candidate's revocation does not wait for it.
fn restoring(s: &Situation<'_>, delivered: &Delivery, restored: &Delivery) -> Delivering {
    let refused = |rows: &Delivery, store: &StorePolicy| rows.stores.get(&store.key).and_then(refusal).is_some();
    let refuses = |store: &StorePolicy| refused(delivered, store) && refused(restored, store);
    let stores = match delivery::stores(s, restored) {
        Delivering::At(_) if s.policy.stores.iter().all(|it| restored.has_store(&it.key) || refuses(it)) => {
            Delivering::Done
        }
        owed => owed,
    };
    match stores {
        Delivering::Now(Step::Act(Action::Write(stores))) => Delivering::Now(Step::Act(Action::Restore(stores))),
        // What proves the new secret has nothing to say of the old one's way back; it runs afterwards.
        Delivering::Done => match delivery::told(s, restored) {
            Delivering::Now(Step::Act(Action::Notify(hooks))) => Delivering::Now(Step::Act(Action::Renotify(hooks))),
            owed => owed,
        },
        owed => owed,
    }
}

/// An undo that cannot go on before `next` is left for later once the current generation needs a rotation.
fn wait_for_undo(
    s: &Situation<'_>,
    generation: &Generation,
    revoke_at: Option<Time>,
    next: Time,
    undone: impl FnOnce(Option<Orphan>) -> Step,
) -> Step {
    let current = s.state.phase.current();
    let deferred = s.state.orphans.iter().filter(|orphan| matches!(orphan, Orphan::Deferred { .. })).count();
    let pressing = current.is_some_and(|current| s.pressing(current));
    if pressing && s.wanted && deferred < MANY_DEFERRED {
        return undone(Some(set_aside(s, generation, revoke_at)));
    }
    let near = current.and_then(|current| s.reckoning().near_end(&current.generation));
    let end = s.reckoning().end(generation);
    rest(Reason::Undoing, earliest(s.now, [Some(next), near, end]))
}

/// A generation that outlives its rotation.
pub(in crate::rotation) fn set_aside(s: &Situation<'_>, generation: &Generation, revoke_at: Option<Time>) -> Orphan {
    if s.can_revoke(generation) { Orphan::deferred(generation, revoke_at) } else { Orphan::unrevocable(generation) }
}

/// Whether consumers may hold the candidate: stores are written as soon as it is proven.
pub(in crate::rotation) fn reached_consumers(phase: &Phase) -> bool {
    matches!(phase, Phase::Verified { .. } | Phase::Delivered { .. })
}
