//! What an event makes of a state. Cannot fail, has no side effect: replaying the journal is folding this function.
//!
//! An event that does not fit the phase leaves it as it is: only a journal that somebody edited could hold one.

use crate::clock::Time;
use crate::names::{RemoteId, StoreKey};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Expiry, Remote};
use crate::rotation::reason::Reason;

use super::event::Event;
use super::state::{
    Candidate, Current, Delivery, Intent, Noted, Origin, Orphan, Phase, Progress, Retiring, Retry, Search, TokenState,
    Undo,
};

/// `state` after `event` happened at `at`.
pub fn apply(state: &mut TokenState, at: Time, event: &Event) {
    let (before, renewed) = (state.phase.name(), state.phase.renews());
    note_failure(state, at, event);
    match event {
        Event::Requested {} => {
            requested(state, at);
        }
        Event::Compromised {} => {
            requested(state, at);
            compromise(state, at);
        }
        Event::ReapRequested { orphan } => {
            if !state.orphans.iter().any(|known| known.marker() == orphan.marker()) {
                state.orphans.push(orphan.clone());
            }
        }
        Event::Resealed { fingerprints } => {
            let deferred = state.orphans.iter_mut().filter_map(|orphan| match orphan {
                Orphan::Deferred { generation, .. } => Some(generation.as_mut()),
                Orphan::Unrevocable { .. } | Orphan::UnknownMint { .. } => None,
            });
            for generation in state.phase.generations_mut().chain(deferred) {
                // A secret that the journal does not hold has none under the new key.
                generation.fingerprints = fingerprints.get(&generation.number).cloned().unwrap_or_default();
            }
        }
        Event::InitialRefused { failure } => {
            state.initial_refused = true;
            state.retry = None;
            state.last_failure = Some(Noted { at, failure: failure.clone() });
        }
        Event::BackoffEnded {} => forgive(state, at),
        Event::OrphanEnded { orphan, .. } => state.orphans.retain(|known| known != orphan),
        Event::ReapFailed { orphan, failure, next } => {
            let known = state.orphans.iter_mut().find(|known| *known == orphan);
            if let Some(retry) = known.and_then(Orphan::retry_mut) {
                *retry = Some(again(retry.take(), at, failure, *next));
            }
        }
        _ => {
            in_place(&mut state.phase, at, event);
            let phase = std::mem::take(&mut state.phase);
            state.phase = step(state, phase, at, event);
        }
    }
    // Renewals have a backoff of their own: what they come between goes on afterwards as it was.
    let renews = renewed || state.phase.renews();
    if state.phase.name() != before && !renews && !keeps_retry(event) {
        state.retry = None;
    }
}

/// Whoever asks by hand does not want to wait for a backoff.
fn requested(state: &mut TokenState, at: Time) {
    state.requested = Some(at);
    state.retry = None;
    if let Some(retry) = state.phase.current_mut().and_then(|current| current.renewal_retry.as_mut()) {
        retry.next = retry.next.min(at);
    }
}

/// Whatever failed for want of a good credential is due at `at`, and begins with the shortest backoff again.
fn forgive(state: &mut TokenState, at: Time) {
    let renewal = state.phase.current_mut().and_then(|current| current.renewal_retry.as_mut());
    let orphans = state.orphans.iter_mut().filter_map(Orphan::retry_mut).filter_map(Option::as_mut);
    for retry in state.retry.iter_mut().chain(renewal).chain(orphans).filter(|retry| retry.lacked_credential()) {
        retry.attempts = 0;
        retry.next = retry.next.min(at);
    }
}

/// Bookkeeping of failures, common to all phases.
fn note_failure(state: &mut TokenState, at: Time, event: &Event) {
    match event {
        Event::Postponed { failure, next } | Event::FoundAlive { failure, next } => {
            state.retry = Some(again(state.retry.take(), at, failure, *next));
        }
        Event::MintRefused { failure, next } => rotation_failed(state, at, failure, *next),
        Event::OrphanRevoked { next } | Event::SearchEnded { next, .. } => {
            if let Phase::Searching { search, .. } = &state.phase {
                let failure = search.failure.clone();
                rotation_failed(state, at, &failure, *next);
            }
        }
        Event::Undone { next, .. } => {
            if let Phase::Undoing { undo, .. } = &state.phase {
                let failure = undo.why.clone();
                rotation_failed(state, at, &failure, *next);
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
        | Event::ReplacementRefused { failure }
        | Event::SecretLost { failure, .. } => {
            state.last_failure = Some(Noted { at, failure: failure.clone() });
        }
        Event::Adopted { .. } | Event::Replaced { .. } => {
            state.retry = None;
            state.last_failure = None;
        }
        Event::Activated { .. } | Event::ActivatedEarly { .. } => {
            state.failed_rotations = 0;
            state.last_failure = None;
            state.last_success = Some(at);
        }
        Event::RenewalVerified { .. } => {
            state.last_success = Some(at);
            if state.failed_rotations == 0 {
                state.last_failure = None;
            }
        }
        _ => {}
    }
    if let Event::Postponed { failure, .. } | Event::FoundAlive { failure, .. } = event {
        state.last_failure = Some(Noted { at, failure: failure.clone() });
    }
}

/// Whether a change of phase must not forget when the next attempt is: the event says it itself, or (`Revoked`) the step
/// that comes next is the second half of the one that failed, and must not begin at the shortest wait each time.
fn keeps_retry(event: &Event) -> bool {
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

fn rotation_failed(state: &mut TokenState, at: Time, failure: &Failure, next: Time) {
    state.failed_rotations = state.failed_rotations.saturating_add(1);
    let since = state.retry.as_ref().map_or(at, |retry| retry.since);
    state.retry = Some(Retry { attempts: state.failed_rotations, since, failure: failure.clone(), next });
    state.last_failure = Some(Noted { at, failure: failure.clone() });
}

/// One more failed attempt after `before`.
fn again(before: Option<Retry>, at: Time, failure: &Failure, next: Time) -> Retry {
    let (attempts, since) = before.map_or((0, at), |retry| (retry.attempts, retry.since));
    Retry { attempts: attempts.saturating_add(1), since, failure: failure.clone(), next }
}

/// The phase without a candidate: what a rotation that ended without a handover falls back to.
fn settled(current: Option<Current>) -> Phase {
    current.map_or(Phase::Vacant, |current| Phase::Steady { current })
}

/// One transition. Long because it is the whole table; each arm is one row of the diagram.
#[allow(clippy::too_many_lines)]
fn step(state: &mut TokenState, phase: Phase, at: Time, event: &Event) -> Phase {
    match (phase, event) {
        (Phase::Vacant, Event::Adopted { generation }) => {
            state.last_number = state.last_number.max(generation.number);
            state.adopted.clone_from(&generation.fingerprints);
            Phase::Steady { current: Current::new(generation.clone(), Delivery::default()) }
        }
        (Phase::Steady { current: old }, Event::Replaced { generation, rotation, revoke_at }) => {
            // Whoever asked for something new has brought it.
            state.requested = None;
            state.last_number = state.last_number.max(generation.number);
            state.adopted.clone_from(&generation.fingerprints);
            let current = Current::new(generation.as_ref().clone(), Delivery::default());
            let (generation, rotation, revoke_at) = (old.generation, *rotation, *revoke_at);
            Phase::Active { current, retiring: Retiring { generation, rotation, handed_over: at, revoke_at } }
        }

        // A mint, from its intent to its outcome.
        (Phase::Vacant, Event::Intended { intent }) => intended(state, None, intent),
        (Phase::Steady { current }, Event::Intended { intent }) => intended(state, Some(current), intent),
        (Phase::Intended { current, .. }, Event::MintRefused { .. })
        | (Phase::Searching { current, .. }, Event::OrphanRevoked { .. }) => settled(current),
        (Phase::Intended { current, intent }, Event::MintUnknown { failure }) => {
            Phase::Searching { current, intent, search: Search { since: at, failure: failure.clone(), found: None } }
        }
        (Phase::Searching { current, intent, search }, Event::OrphanFound { remote }) => {
            Phase::Searching { current, intent, search: Search { found: Some(remote.clone()), ..search } }
        }
        (Phase::Searching { current, .. }, Event::SearchEnded { orphan, .. }) => {
            state.orphans.push(orphan.clone());
            settled(current)
        }
        (Phase::Intended { current, .. }, Event::Minted { candidate }) => {
            Phase::Minted { current, candidate: candidate.as_ref().clone() }
        }

        // A secret that an operator brought, or asked for again.
        (Phase::Vacant, Event::Offered { candidate }) => offered(state, None, candidate),
        (Phase::Steady { current }, Event::Offered { candidate }) => offered(state, Some(current), candidate),
        (Phase::Active { current, .. } | Phase::Steady { current }, Event::Recalled { candidate, orphan }) => {
            state.orphans.retain(|known| Some(known) != orphan.as_ref());
            Phase::Minted { current: Some(current), candidate: candidate.as_ref().clone() }
        }

        // From the proof to the handover.
        (Phase::Minted { current, mut candidate }, Event::Verified { id, expires, .. }) => {
            learn(&mut candidate.generation.remote, id.as_ref(), *expires);
            Phase::Verified { current, candidate }
        }
        (Phase::Verified { current, candidate }, Event::Delivered {}) => Phase::Delivered { current, candidate },
        // A store was added to the inventory while the hooks ran: it is written before they run again.
        (Phase::Delivered { current, candidate }, Event::StoreOwed { .. }) => Phase::Verified { current, candidate },
        (Phase::Delivered { current, mut candidate }, Event::Activated { revoke_at }) => {
            candidate.delivery.settled = Some(at);
            release(&mut state.orphans, *revoke_at);
            activate(state, current, candidate, at, *revoke_at)
        }
        (
            Phase::Verified { current, candidate } | Phase::Delivered { current, candidate },
            Event::ActivatedEarly { revoke_at },
        ) => activate(state, current, candidate, at, *revoke_at),
        (
            Phase::Minted { current, candidate }
            | Phase::Verified { current, candidate }
            | Phase::Delivered { current, candidate },
            Event::UndoBegun { why, restore },
        ) => {
            if why.code == FailureCode::Recalled {
                // Who asked for a rotation before has changed their mind.
                state.requested = None;
            }
            let undo = Undo { why: why.clone(), restore: *restore, restored: Delivery::default() };
            Phase::Undoing { current, candidate, undo }
        }
        (Phase::Undoing { mut current, undo, candidate }, Event::Undone { orphan, revoke_at, .. }) => {
            state.orphans.extend(orphan.clone());
            if let Some(current) = current.as_mut() {
                if undo.restore {
                    // What was not restored holds the new secret, or nobody knows what.
                    current.delivery = undo.restored;
                }
                if undo.why.code == FailureCode::Recalled {
                    current.preferred = Some(at);
                }
            }
            match (candidate, current, orphan) {
                (
                    Candidate {
                        generation, rotation, origin: Origin::Recalled { handed_over, revoke_at: before }, ..
                    },
                    Some(current),
                    None,
                ) => {
                    let revoke_at = revoke_at.unwrap_or(before);
                    Phase::Active { current, retiring: Retiring { generation, rotation, handed_over, revoke_at } }
                }
                (_, current, _) => settled(current),
            }
        }

        // The end of the old generation.
        (Phase::Active { current, retiring }, Event::Revoked { .. }) => Phase::Revoked { current, retiring },
        (Phase::Revoked { current, retiring }, Event::FoundAlive { .. }) => Phase::Active { current, retiring },
        (Phase::Active { current, .. } | Phase::Revoked { current, .. }, Event::Retired { .. }) => {
            Phase::Steady { current }
        }
        (Phase::Active { current, .. }, Event::LeftToExpire { orphan } | Event::RevocationDeferred { orphan }) => {
            state.orphans.push(orphan.clone());
            Phase::Steady { current }
        }

        // Renewal in place, with or without an old generation that waits for its end.
        (Phase::Steady { current }, Event::RenewalIntended { intent }) => {
            Phase::Renewing { current, retiring: None, intent: intent.clone() }
        }
        (Phase::Active { current, retiring }, Event::RenewalIntended { intent }) => {
            Phase::Renewing { current, retiring: Some(retiring), intent: intent.clone() }
        }
        (
            Phase::Renewing { mut current, retiring, intent } | Phase::RenewalUnknown { mut current, retiring, intent },
            Event::RenewalRefused { failure, next, spent },
        ) => {
            if *spent {
                answered(state, &intent, &current);
            }
            current.renewal_spent |= *spent;
            current.renewal_retry = Some(again(current.renewal_retry.take(), at, failure, *next));
            renewed(current, retiring)
        }
        (Phase::Renewing { mut current, retiring, intent }, Event::RenewalUnknown { .. }) => {
            current.renewal_retry = None;
            Phase::RenewalUnknown { current, retiring, intent }
        }
        (Phase::RenewalUnknown { mut current, retiring, intent }, Event::RenewalExamined { dead }) => {
            answered(state, &intent, &current);
            current.renewal_spent = true;
            current.dead = dead.clone().map(|failure| Noted { at, failure });
            renewed(current, retiring)
        }
        (Phase::Renewing { mut current, retiring, intent }, Event::Renewed { generation }) => {
            current.generation = generation.as_ref().clone();
            current.dead = None;
            current.renewal_retry = None;
            current.replacement = None;
            Phase::Renewed { current, retiring, intent }
        }
        (Phase::Renewed { mut current, retiring, intent }, Event::RenewalVerified { .. }) => {
            answered(state, &intent, &current);
            // The secret before it is dead at the provider: every store and hook is owed the new one.
            current.delivery = Delivery::default();
            current.renewal_retry = None;
            renewed(current, retiring)
        }
        (Phase::Renewed { mut current, retiring, intent }, Event::RenewalRejected { failure, next }) => {
            answered(state, &intent, &current);
            current.delivery = Delivery::default();
            current.renewal_retry = next.map(|next| again(current.renewal_retry.take(), at, failure, next));
            current.dead = Some(Noted { at, failure: failure.clone() });
            renewed(current, retiring)
        }
        (phase, _) => phase,
    }
}

/// A renewal that was asked for by hand answers that wish with its end, good or bad. One that left a secret behind which
/// others have does not.
fn answered(state: &mut TokenState, intent: &Intent, current: &Current) {
    if intent.reason == Reason::Requested.code() && current.generation.compromised.is_none() {
        state.requested = None;
    }
}

/// Where a renewal ends.
fn renewed(current: Current, retiring: Option<Retiring>) -> Phase {
    match retiring {
        Some(retiring) => Phase::Active { current, retiring },
        None => Phase::Steady { current },
    }
}

/// Events that change what a phase holds, but not the phase.
fn in_place(phase: &mut Phase, at: Time, event: &Event) {
    if let Event::StoreWritten { store } = event {
        if let Some(delivery) = delivery(phase) {
            delivery.stores.insert(store.clone(), Progress::Done { at });
            // Hooks that ran before did not tell the consumers of this store.
            delivery.hooks.retain(|_, hook| matches!(hook, Progress::Failed(_)));
        }
    } else if let Event::StoreFailed { store, failure, next } = event {
        if let Some(delivery) = delivery(phase) {
            let before = delivery.stores.remove(store);
            delivery.stores.insert(store.clone(), failed(before, at, failure, *next));
        }
    } else if let Event::HookSucceeded { hook } | Event::HookWaived { hook, .. } = event {
        if let Some(delivery) = delivery(phase) {
            delivery.hooks.insert(hook.clone(), Progress::Done { at });
        }
    } else if let Event::HookFailed { hook, failure, next } = event {
        if let Some(delivery) = delivery(phase) {
            let before = delivery.hooks.remove(hook);
            delivery.hooks.insert(hook.clone(), failed(before, at, failure, *next));
        }
    } else if let Event::StoreOwed { store, revoke_at, .. } = event {
        if let (Phase::Active { retiring, .. }, Some(revoke_at)) = (&mut *phase, revoke_at) {
            retiring.revoke_at = retiring.revoke_at.max(*revoke_at);
        }
        if let Some(delivery) = delivery(phase) {
            owe(delivery, store);
        }
    } else if let (Event::StillUsed { revoke_at }, Phase::Active { retiring, .. }) = (event, &mut *phase) {
        retiring.revoke_at = retiring.revoke_at.max(*revoke_at);
    } else if let (Event::RenewalPostponed { failure, next }, Some(current)) = (event, phase.current_mut()) {
        current.renewal_retry = Some(again(current.renewal_retry.take(), at, failure, *next));
    } else if let Event::Redelivered {} = event {
        if let Some(delivery) = delivery(phase) {
            delivery.settled = Some(at);
        }
    } else if let (Event::FoundDead { failure }, Some(current)) = (event, phase.current_mut()) {
        current.dead = Some(Noted { at, failure: failure.clone() });
    } else if let (Event::ReplacementDue { reason }, Some(current)) = (event, phase.current_mut()) {
        current.replacement = Some(reason.clone());
    } else if let (Event::Observed { id, expires }, Some(current)) = (event, phase.current_mut()) {
        learn(&mut current.generation.remote, id.as_ref(), *expires);
        // It may have been given more time.
        if expires.is_some() {
            current.replacement = None;
        }
    } else if let (Event::SecretLost { number, .. }, Some(current)) = (event, phase.current_mut())
        && current.generation.number == *number
    {
        current.secret_lost = true;
    }
}

/// Adds what the provider told to what is known.
fn learn(known: &mut Remote, id: Option<&RemoteId>, expires: Option<Expiry>) {
    known.id = id.cloned().or(known.id.take());
    known.expires = expires.unwrap_or(known.expires);
}

/// The rows that deliveries of this phase are noted in.
fn delivery(phase: &mut Phase) -> Option<&mut Delivery> {
    match phase {
        Phase::Verified { candidate, .. } | Phase::Delivered { candidate, .. } => Some(&mut candidate.delivery),
        Phase::Undoing { undo, .. } => Some(&mut undo.restored),
        other => other.current_mut().map(|current| &mut current.delivery),
    }
}

/// The store is owed again, and so is every hook: consumers must be told once it is written.
fn owe(delivery: &mut Delivery, store: &StoreKey) {
    delivery.stores.remove(store);
    delivery.hooks.clear();
    delivery.settled = None;
}

fn failed(before: Option<Progress>, at: Time, failure: &Failure, next: Time) -> Progress {
    let before = match before {
        Some(Progress::Failed(retry)) => Some(retry),
        Some(Progress::Done { .. }) | None => None,
    };
    Progress::Failed(again(before, at, failure, next))
}

fn intended(state: &mut TokenState, current: Option<Current>, intent: &Intent) -> Phase {
    state.last_number = state.last_number.max(intent.number);
    Phase::Intended { current, intent: intent.clone() }
}

fn offered(state: &mut TokenState, current: Option<Current>, candidate: &Candidate) -> Phase {
    state.last_number = state.last_number.max(candidate.generation.number);
    Phase::Minted { current, candidate: candidate.clone() }
}

/// Others have the secret of everything that exists now. What is handed over already has no grace any more.
fn compromise(state: &mut TokenState, at: Time) {
    for generation in state.phase.generations_mut() {
        generation.compromised.get_or_insert(at);
    }
    if let Some(retiring) = state.phase.retiring_mut() {
        retiring.revoke_at = retiring.revoke_at.min(at);
    }
    for orphan in &mut state.orphans {
        if let Orphan::Deferred { generation, revoke_at, .. } = orphan {
            generation.compromised.get_or_insert(at);
            *revoke_at = revoke_at.map(|revoke_at| revoke_at.min(at));
        }
    }
}

/// The candidate becomes current, and what was current begins to retire.
fn activate(
    state: &mut TokenState,
    current: Option<Current>,
    candidate: Candidate,
    at: Time,
    revoke_at: Time,
) -> Phase {
    // Whoever asked while the rotation was under way has what they asked for; a mint that failed did not answer them.
    // What was compromised on its way is no answer either.
    let answers = candidate.generation.compromised.is_none();
    state.requested = state.requested.filter(|_| !answers);
    let Candidate { generation, rotation, delivery, origin, .. } = candidate;
    let preferred = matches!(origin, Origin::Recalled { .. }).then_some(at);
    let new = Current { preferred, ..Current::new(generation, delivery) };
    match current {
        Some(old) => {
            let retiring = Retiring { generation: old.generation, rotation, handed_over: at, revoke_at };
            Phase::Active { current: new, retiring }
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
