//! The beginning of a candidate: minted, brought by an operator, or recalled. `None`: the phase does not fit.

use crate::clock::Time;
use crate::outcome::Failure;
use crate::provider::Remote;
use crate::rotation::state::{Candidate, Current, Delivery, Generation, Intent, Orphan, Phase, Search, TokenState};

use super::settled;

pub(super) fn adopted(state: &mut TokenState, phase: &Phase, generation: &Generation) -> Option<Phase> {
    let Phase::Vacant = phase else { return None };
    state.last_number = state.last_number.max(generation.number);
    state.adopted.clone_from(&generation.fingerprints);
    Some(Phase::Steady { current: Current::new(generation.clone(), Delivery::default()) })
}

pub(super) fn intended(state: &mut TokenState, phase: Phase, intent: &Intent) -> Option<Phase> {
    let current = at_rest(phase)?;
    state.last_number = state.last_number.max(intent.number);
    Some(Phase::Intended { current, intent: Box::new(intent.clone()) })
}

pub(super) fn refused(phase: Phase) -> Option<Phase> {
    let Phase::Intended { current, .. } = phase else { return None };
    Some(settled(current))
}

pub(super) fn unknown(phase: Phase, at: Time, failure: &Failure) -> Option<Phase> {
    let Phase::Intended { current, intent } = phase else { return None };
    let search = Box::new(Search { since: at, failure: failure.clone(), found: None });
    Some(Phase::Searching { current, intent, search })
}

pub(super) fn orphan_found(phase: Phase, at: Time, remote: &Remote) -> Option<Phase> {
    let Phase::Searching { mut current, intent, mut search } = phase else { return None };
    let given_again = |it: &&mut Generation| it.is_known_as(&intent.account, remote.id.as_ref());
    if let Some(generation) = current.as_mut().map(|current| &mut current.generation).filter(given_again) {
        generation.reissue_unknown = Some(at);
    }
    search.found = Some(remote.clone());
    Some(Phase::Searching { current, intent, search })
}

pub(super) fn orphan_revoked(phase: Phase) -> Option<Phase> {
    let Phase::Searching { current, .. } = phase else { return None };
    Some(settled(current))
}

pub(super) fn search_ended(state: &mut TokenState, phase: Phase, orphan: &Orphan) -> Option<Phase> {
    let Phase::Searching { current, .. } = phase else { return None };
    state.orphans.push(orphan.clone());
    Some(settled(current))
}

pub(super) fn minted(phase: Phase, candidate: &Candidate) -> Option<Phase> {
    let Phase::Intended { current, .. } = phase else { return None };
    Some(Phase::Minted { current, candidate: Box::new(candidate.clone()) })
}

pub(super) fn offered(state: &mut TokenState, phase: Phase, candidate: &Candidate) -> Option<Phase> {
    let current = at_rest(phase)?;
    state.last_number = state.last_number.max(candidate.generation.number);
    Some(Phase::Minted { current, candidate: Box::new(candidate.clone()) })
}

pub(super) fn recalled(
    state: &mut TokenState,
    phase: Phase,
    candidate: &Candidate,
    orphan: Option<&Orphan>,
) -> Option<Phase> {
    let (Phase::Active { current, .. } | Phase::Steady { current }) = phase else { return None };
    state.orphans.retain(|known| Some(known) != orphan);
    Some(Phase::Minted { current: Some(current), candidate: Box::new(candidate.clone()) })
}

/// What is current of a token between rotations.
#[expect(clippy::option_option, reason = "a token at rest may have no generation")]
fn at_rest(phase: Phase) -> Option<Option<Current>> {
    match phase {
        Phase::Vacant => Some(None),
        Phase::Steady { current } => Some(Some(current)),
        _ => None,
    }
}
