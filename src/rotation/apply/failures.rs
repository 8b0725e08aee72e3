//! Failures, common to all phases: when the next attempt is, and what went wrong last.

use crate::clock::Time;
use crate::outcome::{Failure, FailureCode};
use crate::rotation::event::Event;
use crate::rotation::state::{Noted, Origin, Orphan, Phase, Retry, TokenState};
use crate::timing::backoff;

/// Takes note of what `event` says of failures, or of their end.
///
/// Law: what a stop, or an edit of the inventory, withdrew before anything was asked is no failure.
pub(super) fn note(state: &mut TokenState, at: Time, event: &Event) {
    match event {
        event if event.is_withdrawn() => {}
        Event::Postponed { failure, next } | Event::FoundAlive { failure, next } => {
            state.retry = Some(again(state.retry.take(), at, failure, *next));
            failed(state, at, failure);
        }
        Event::MintRefused { failure, next } => rotation_failed(state, at, failure, *next),
        Event::OrphanRevoked { next } | Event::SearchEnded { next, .. } => {
            if let Phase::Searching { search, intent, .. } = &state.phase {
                let failure = search.failure.clone();
                // The mint that somebody asked for meanwhile was not tried yet.
                let asked_since = state.requested.is_some_and(|asked| asked > intent.at);
                rotation_failed(state, at, &failure, *next);
                state.retry.take_if(|_| asked_since);
            }
        }
        Event::Undone { next, .. } => {
            if let Phase::Undoing { undo, candidate, .. } = &state.phase {
                let failure = undo.why.clone();
                if failure.code == FailureCode::Withdrawn || candidate.origin == Origin::Adopted {
                    // What an operator brought in vain is tried no more.
                    state.retry = None;
                } else {
                    rotation_failed(state, at, &failure, *next);
                }
            }
        }
        Event::MintUnknown { failure }
        | Event::RenewalPostponed { failure, .. }
        | Event::RenewalRefused { failure, .. }
        | Event::RenewalUnknown { failure }
        | Event::ReapFailed { failure, .. }
        | Event::StoreFailed { failure, .. }
        | Event::HookFailed { failure, .. }
        | Event::HookWaived { failure, .. }
        | Event::UndoBegun { why: failure, .. }
        | Event::RenewalRejected { failure, .. }
        | Event::FoundDead { failure }
        | Event::MintedInPlace { failure }
        | Event::ReplacementRefused { failure }
        | Event::SecretLost { failure, .. } => failed(state, at, failure),
        Event::Adopted { .. } | Event::Replaced { .. } => {
            state.retry = None;
            state.last_failure = None;
        }
        Event::Activated { vain, .. } | Event::ActivatedEarly { vain, .. } => {
            state.failed_rotations = vain.as_ref().map_or(0, |_| state.failed_rotations.saturating_add(1));
            state.last_failure = vain.clone().map(|failure| Noted { at, failure });
            state.last_success = Some(at);
        }
        Event::RenewalVerified { again, .. } => {
            state.last_success = Some(at);
            if again.is_some() {
                state.last_failure = Some(Noted { at, failure: Failure::new(FailureCode::NotLengthened, "") });
            } else if state.failed_rotations == 0 {
                state.last_failure = None;
            }
        }
        _ => {}
    }
}

/// Whether a change of phase must not forget when the next attempt is: the event says it itself, or (`Revoked`) the step
/// that comes next is the second half of the one that failed, and must not begin at the shortest wait each time.
pub(super) fn keeps_retry(event: &Event) -> bool {
    matches!(
        event,
        Event::Postponed { .. }
            | Event::MintRefused { .. }
            | Event::RenewalRefused { .. }
            | Event::OrphanRevoked { .. }
            | Event::SearchEnded { .. }
            | Event::Undone { .. }
            | Event::Revoked { .. }
            | Event::FoundAlive { .. }
    )
}

/// One more failed attempt after `before`.
pub(super) fn again(before: Option<Retry>, at: Time, failure: &Failure, next: Time) -> Retry {
    let (attempts, since) = before.map_or((0, at), |retry| (retry.attempts, retry.since));
    Retry { attempts: attempts.saturating_add(1), since, failure: failure.clone(), next, at: Some(at) }
}

/// Whatever failed for want of a good credential is due at `at`, and begins with the shortest backoff again.
pub(super) fn forgive(state: &mut TokenState, at: Time) {
    let renewal = state.phase.current_mut().and_then(|current| current.renewal_retry.as_mut());
    let orphans = state.orphans.iter_mut().filter_map(Orphan::retry_mut).filter_map(Option::as_mut);
    for retry in state.retry.iter_mut().chain(renewal).chain(orphans).filter(|retry| retry.lacked_credential()) {
        retry.attempts = 0;
        retry.next = retry.next.min(at);
    }
}

/// `orphan` was not revoked. One that ended meanwhile needs no other try.
pub(super) fn reap(orphans: &mut [Orphan], at: Time, orphan: &Orphan, failure: &Failure, next: Time) {
    let known = orphans.iter_mut().find(|known| *known == orphan);
    if let Some(retry) = known.and_then(Orphan::retry_mut) {
        *retry = Some(again(retry.take(), at, failure, next));
    }
}

fn failed(state: &mut TokenState, at: Time, failure: &Failure) {
    state.last_failure = Some(Noted { at, failure: failure.clone() });
}

fn rotation_failed(state: &mut TokenState, at: Time, failure: &Failure, next: Time) {
    let before = state.failed_rotations;
    let counted = before.saturating_add(1);
    let stopped = failure.code == FailureCode::Stopped;
    state.failed_rotations = if stopped { counted.min(backoff::STOPS).max(before) } else { counted };
    let since = state.retry.as_ref().map_or(at, |retry| retry.since);
    state.retry = Some(Retry { attempts: state.failed_rotations, since, failure: failure.clone(), next, at: Some(at) });
    failed(state, at, failure);
}
