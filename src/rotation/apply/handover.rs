//! From the proof of a candidate to the end of the old generation, or of the candidate. `None`: the phase does not fit.

use crate::clock::Time;
use crate::names::{RemoteId, RotationId};
use crate::outcome::{Failure, FailureCode};
use crate::provider::Expiry;
use crate::rotation::state::{
    Candidate, Current, Delivery, Generation, Origin, Orphan, Phase, Retiring, TokenState, Undo,
};

use super::{learn, settled};

pub(super) fn replaced(
    state: &mut TokenState,
    phase: Phase,
    generation: &Generation,
    rotation: RotationId,
    at: Time,
    revoke_at: Time,
) -> Option<Phase> {
    let Phase::Steady { current: old } = phase else { return None };
    // The operator who asked for a new secret has brought it.
    state.requested = None;
    state.last_number = state.last_number.max(generation.number);
    state.adopted.clone_from(&generation.fingerprints);
    let current = Current::new(generation.clone(), Delivery::default());
    let retiring = Retiring { generation: old.generation, rotation, handed_over: at, revoke_at };
    Some(Phase::Active { current, retiring: Box::new(retiring) })
}

pub(super) fn verified(phase: Phase, id: Option<&RemoteId>, expires: Option<Expiry>) -> Option<Phase> {
    let Phase::Minted { current, mut candidate } = phase else { return None };
    learn(&mut candidate.generation.remote, id, expires);
    Some(Phase::Verified { current, candidate })
}

pub(super) fn delivered(phase: Phase) -> Option<Phase> {
    let Phase::Verified { current, candidate } = phase else { return None };
    Some(Phase::Delivered { current, candidate })
}

pub(super) fn activated(state: &mut TokenState, phase: Phase, at: Time, revoke_at: Time) -> Option<Phase> {
    let Phase::Delivered { current, mut candidate } = phase else { return None };
    candidate.delivery.settled = Some(at);
    // What was not delivered to is no store of the token any more.
    state.receipts.retain(|store, _| candidate.delivery.stores.contains_key(store));
    release(&mut state.orphans, revoke_at);
    Some(activate(state, current, *candidate, at, revoke_at))
}

pub(super) fn activated_early(state: &mut TokenState, phase: Phase, at: Time, revoke_at: Time) -> Option<Phase> {
    let (Phase::Verified { current, candidate } | Phase::Delivered { current, candidate }) = phase else {
        return None;
    };
    Some(activate(state, current, *candidate, at, revoke_at))
}

pub(super) fn undo_begun(state: &mut TokenState, phase: Phase, why: &Failure, restore: bool) -> Option<Phase> {
    let (Phase::Minted { current, candidate }
    | Phase::Verified { current, candidate }
    | Phase::Delivered { current, candidate }) = phase
    else {
        return None;
    };
    if why.code == FailureCode::Recalled {
        // The operator who asked for a rotation before has changed their mind.
        state.requested = None;
    }
    let undo = Box::new(Undo { why: why.clone(), restore, restored: Delivery::default() });
    Some(Phase::Undoing { current, candidate, undo })
}

pub(super) fn undone(
    state: &mut TokenState,
    phase: Phase,
    at: Time,
    orphan: Option<&Orphan>,
    revoke_at: Option<Time>,
) -> Option<Phase> {
    let Phase::Undoing { mut current, undo, candidate } = phase else { return None };
    state.orphans.extend(orphan.cloned());
    if let Some(current) = current.as_mut() {
        if undo.restore {
            // What was not restored holds the new secret, or nobody knows what.
            current.delivery = undo.restored;
        }
        if undo.why.code == FailureCode::Recalled {
            current.preferred = Some(at);
        }
    }
    Some(match (*candidate, current, orphan) {
        (
            Candidate { generation, rotation, origin: Origin::Recalled { handed_over, revoke_at: before }, .. },
            Some(current),
            None,
        ) => {
            let revoke_at = revoke_at.unwrap_or(before);
            let retiring = Retiring { generation, rotation, handed_over, revoke_at };
            Phase::Active { current, retiring: Box::new(retiring) }
        }
        (_, current, _) => settled(current),
    })
}

pub(super) fn revoked(phase: Phase) -> Option<Phase> {
    let Phase::Active { current, retiring } = phase else { return None };
    Some(Phase::Revoked { current, retiring })
}

pub(super) fn found_alive(phase: Phase) -> Option<Phase> {
    let Phase::Revoked { current, retiring } = phase else { return None };
    Some(Phase::Active { current, retiring })
}

pub(super) fn retired(phase: Phase) -> Option<Phase> {
    let (Phase::Active { current, .. } | Phase::Revoked { current, .. }) = phase else { return None };
    Some(Phase::Steady { current })
}

pub(super) fn left(state: &mut TokenState, phase: Phase, orphan: &Orphan) -> Option<Phase> {
    let Phase::Active { current, .. } = phase else { return None };
    state.orphans.push(orphan.clone());
    Some(Phase::Steady { current })
}

/// The current generation of a retired token, whose place nothing takes.
pub(super) fn dismissed(state: &mut TokenState, phase: &Phase, at: Time, orphan: &Orphan) -> Option<Phase> {
    let Phase::Steady { .. } = phase else { return None };
    state.orphans.push(orphan.clone());
    state.retirement = None;
    state.receipts.clear();
    (state.failed_rotations, state.last_failure) = (0, None);
    // Nobody is served any more: what was left for later need not wait for a handover.
    release(&mut state.orphans, at);
    Some(Phase::Vacant)
}

/// The candidate becomes current, and what was current begins to retire.
fn activate(
    state: &mut TokenState,
    current: Option<Current>,
    candidate: Candidate,
    at: Time,
    revoke_at: Time,
) -> Phase {
    // A request during the rotation is answered by it. A mint that failed is no answer, nor is a secret that was
    // compromised on its way.
    let answers = candidate.generation.compromised.is_none();
    state.requested = state.requested.filter(|_| !answers);
    let Candidate { generation, rotation, delivery, origin, .. } = candidate;
    let preferred = matches!(origin, Origin::Recalled { .. }).then_some(at);
    let new = Current { preferred, ..Current::new(generation, delivery) };
    match current {
        Some(old) => {
            let retiring = Retiring { generation: old.generation, rotation, handed_over: at, revoke_at };
            Phase::Active { current: new, retiring: Box::new(retiring) }
        }
        None => Phase::Steady { current: new },
    }
}

/// Consumers certainly do without the deferred generations after `revoke_at`: a handover is complete.
fn release(orphans: &mut [Orphan], at: Time) {
    for orphan in orphans {
        if let Orphan::Deferred { revoke_at: revoke_at @ None, .. } = orphan {
            *revoke_at = Some(at);
        }
    }
}
