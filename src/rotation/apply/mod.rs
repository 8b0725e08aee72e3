//! Applies an event to a state: replaying the journal is folding this function. Has no side effect.
//!
//! The state comes and goes by value: where an event does not fit, or a bug panics half-way, whoever holds the state from
//! before still has it whole.

mod delivery;
mod failures;
mod handover;
mod mint;
mod renewal;

use crate::clock::Time;
use crate::names::RemoteId;
use crate::provider::{Expiry, Remote};

use super::event::Event;
use super::own_time;
use super::state::{Claim, Current, Noted, Orphan, Phase, Retirement, TokenState};

use self::delivery::Telling;

/// An event that cannot happen to a token in this phase: the journal was edited, or `decide` has a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` cannot happen to a token that is {phase}")]
pub struct Misfit {
    /// The name of the event.
    pub event: &'static str,
    /// The name of the phase.
    pub phase: &'static str,
}

/// `state` after `event` happened at `at`.
pub fn apply(mut state: TokenState, at: Time, event: &Event) -> Result<TokenState, Misfit> {
    let (before, renewed) = (state.phase.name(), state.phase.renews());
    failures::note(&mut state, at, event);
    let Some(()) = happen(&mut state, at, event) else {
        return Err(Misfit { event: event.name(), phase: before });
    };
    // Renewals have a backoff of their own: what they come between goes on afterwards as it was.
    let renews = renewed || state.phase.renews();
    if state.phase.name() != before && !renews && !failures::keeps_retry(event) {
        state.retry = None;
    }
    Ok(state)
}

/// One row for each event: what it does, where it fits. `None`: it does not fit.
#[expect(clippy::too_many_lines, reason = "one row for each event")]
fn happen(state: &mut TokenState, at: Time, event: &Event) -> Option<()> {
    match event {
        // Between rotations.
        Event::Adopted { generation } => turn(state, |state, phase| mint::adopted(state, &phase, generation)),
        Event::Replaced { generation, rotation, revoke_at } => {
            turn(state, |state, phase| handover::replaced(state, phase, generation, *rotation, at, *revoke_at))
        }
        Event::ReplacementDue { reason } => {
            state.phase.current_mut()?.replacement = Some(reason.clone());
            Some(())
        }
        Event::FoundDead { failure } => {
            state.phase.current_mut()?.dead = Some(Noted { at, failure: failure.clone() });
            Some(())
        }
        Event::Observed { id, expires, over } => {
            observed(state.phase.current_mut()?, id.as_ref(), *expires, *over);
            Some(())
        }
        Event::SecretLost { number, .. } => {
            let known = state.phase.generations().any(|generation| generation.number == *number);
            if let Some(current) = state.phase.current_mut().filter(|current| current.generation.number == *number) {
                current.secret_lost = true;
            }
            known.then_some(())
        }
        Event::InitialRefused { failure } => {
            state.initial_refused = true;
            state.retry = None;
            state.last_failure = Some(Noted { at, failure: failure.clone() });
            Some(())
        }
        Event::HeldBack { .. } => {
            state.held_back = true;
            Some(())
        }
        Event::Requested {} => {
            requested(state, at);
            Some(())
        }
        Event::RequestWithdrawn {} => {
            state.requested = None;
            // What failed was the answer to the request. An old token's revocation is tried on.
            state.retry.take_if(|_| matches!(state.phase, Phase::Vacant | Phase::Steady { .. }));
            Some(())
        }
        Event::RetirementAsked { revoke_at } => {
            state.requested = None;
            state.retirement = Some(Retirement { asked: at, revoke_at: *revoke_at });
            Some(())
        }
        Event::RetirementPutOff { revoke_at } => {
            let retirement = state.retirement.as_mut()?;
            retirement.revoke_at = retirement.revoke_at.max(*revoke_at);
            Some(())
        }
        Event::RetirementWithdrawn {} => {
            state.retirement = None;
            Some(())
        }
        Event::Dismissed { orphan } => turn(state, |state, phase| handover::dismissed(state, &phase, at, orphan)),
        Event::Compromised {} => {
            requested(state, at);
            compromised(state, at);
            Some(())
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
            Some(())
        }

        // Failures that change nothing but what is known of failures.
        Event::Postponed { .. } | Event::ReplacementRefused { .. } | Event::MintedInPlace { .. } => Some(()),
        Event::ClockSetBack { revoke_at } => {
            own_time::put_right(state, at, *revoke_at);
            Some(())
        }
        Event::BackoffEnded {} => {
            failures::forgive(state, at);
            Some(())
        }

        // A mint, from its intent to its outcome.
        Event::Intended { intent } => turn(state, |state, phase| mint::intended(state, phase, intent)),
        Event::MintRefused { .. } => turn(state, |_, phase| mint::refused(phase)),
        Event::MintUnknown { failure } => turn(state, |_, phase| mint::unknown(phase, at, failure)),
        Event::OrphanFound { remote } => turn(state, |_, phase| mint::orphan_found(phase, at, remote)),
        Event::OrphanRevoked { .. } => turn(state, |_, phase| mint::orphan_revoked(phase)),
        Event::SearchEnded { orphan, .. } => turn(state, |state, phase| mint::search_ended(state, phase, orphan)),
        Event::Minted { candidate } => turn(state, |_, phase| mint::minted(phase, candidate)),
        Event::Offered { candidate } => turn(state, |state, phase| mint::offered(state, phase, candidate)),
        Event::Recalled { candidate, orphan } => {
            turn(state, |state, phase| mint::recalled(state, phase, candidate, orphan.as_ref()))
        }

        // From the proof to the handover.
        Event::Verified { id, expires, .. } => turn(state, |_, phase| handover::verified(phase, id.as_ref(), *expires)),
        Event::Delivered {} => turn(state, |_, phase| handover::delivered(phase)),
        Event::Activated { revoke_at, .. } => {
            turn(state, |state, phase| handover::activated(state, phase, at, *revoke_at))
        }
        Event::ActivatedEarly { revoke_at, .. } => {
            turn(state, |state, phase| handover::activated_early(state, phase, at, *revoke_at))
        }
        Event::UndoBegun { why, restore } => {
            turn(state, |state, phase| handover::undo_begun(state, phase, why, *restore))
        }
        Event::Undone { orphan, revoke_at, .. } => {
            turn(state, |state, phase| handover::undone(state, phase, at, orphan.as_ref(), *revoke_at))
        }

        // Stores and hooks.
        Event::StoreIntended { store } => {
            state.writing.insert(store.clone(), at);
            Some(())
        }
        Event::StoreWritten { store, receipt } => {
            state.writing.remove(store);
            state.receipts.extend(receipt.clone().map(|receipt| (store.clone(), receipt)));
            delivery::store_written(&mut state.phase, at, store)
        }
        Event::StoreFailed { store, failure, next, unwritten } => {
            if *unwritten {
                state.writing.remove(store);
            }
            delivery::store_failed(&mut state.phase, at, store, failure, *next)
        }
        Event::StoreClaimed { store, claim } => {
            state.claims.insert(store.clone(), Claim::clone(claim));
            Some(())
        }
        Event::StoreDisclaimed { store } => state.claims.remove(store).map(drop),
        Event::StoreErased { store, .. } => {
            state.receipts.remove(store);
            state.claims.remove(store).map(drop)
        }
        Event::EraseFailed { store, failure, next } => {
            let mut claim = state.claims.remove(store)?;
            claim.retry = Some(failures::again(claim.retry.take(), at, failure, *next));
            state.claims.insert(store.clone(), claim);
            Some(())
        }
        Event::StoreOwed { store, revoke_at, quiet, added, tell_at, .. } => {
            if !added {
                // It was delivered to: what it holds now was written since.
                state.receipts.get_or_insert(store.clone(), crate::store::Receipt::default());
            }
            let telling = if *quiet { Telling::Quiet(*tell_at) } else { Telling::Hooks };
            delivery::store_owed(&mut state.phase, store, *revoke_at, telling)?;
            turn(state, |_, phase| Some(delivery::write_again(phase)))
        }
        Event::HookSucceeded { hook } | Event::HookWaived { hook, .. } => {
            delivery::hook_done(&mut state.phase, at, hook)
        }
        Event::HookFailed { hook, failure, next } => delivery::hook_failed(&mut state.phase, at, hook, failure, *next),
        Event::ConsumersOwed {} => delivery::consumers_owed(&mut state.phase),
        Event::Redelivered {} => delivery::settled(&mut state.phase, at),

        // The end of the old generation, and of what was left behind.
        Event::StillUsed { revoke_at } => {
            let Phase::Active { retiring, .. } = &mut state.phase else { return None };
            retiring.revoke_at = retiring.revoke_at.max(*revoke_at);
            Some(())
        }
        Event::Revoked { .. } => turn(state, |_, phase| handover::revoked(phase)),
        Event::FoundAlive { .. } => turn(state, |_, phase| handover::found_alive(phase)),
        Event::Retired { .. } => turn(state, |_, phase| handover::retired(phase)),
        Event::LeftToExpire { orphan } if let Some(number) = state.deferred(orphan).map(|it| it.number) => {
            let left = |known: &&mut Orphan| matches!(known, Orphan::Deferred { generation, .. } if generation.number == number);
            state.orphans.iter_mut().filter(left).for_each(|known| *known = orphan.clone());
            Some(())
        }
        Event::RevocationDeferred { orphan } | Event::LeftToExpire { orphan } => {
            turn(state, |state, phase| handover::left(state, phase, orphan))
        }
        Event::OrphanEnded { orphan, .. } => {
            state.orphans.retain(|known| known != orphan);
            Some(())
        }
        Event::ReapFailed { orphan, failure, next } => {
            failures::reap(&mut state.orphans, at, orphan, failure, *next);
            Some(())
        }
        Event::ReapRequested { orphan } => {
            if !state.orphans.iter().any(|known| known.marker() == orphan.marker()) {
                state.orphans.push(orphan.clone());
            }
            Some(())
        }

        // Renewal in place, with or without an old generation that waits for its end.
        Event::RenewalIntended { intent } => turn(state, |_, phase| renewal::intended(phase, intent)),
        Event::RenewalPostponed { failure, next } => {
            renewal::postponed(state.phase.current_mut()?, at, failure, *next);
            Some(())
        }
        Event::RenewalRefused { failure, next, spent } => {
            turn(state, |state, phase| renewal::refused(state, phase, at, failure, *next, *spent))
        }
        Event::RenewalUnknown { .. } => turn(state, |_, phase| renewal::unknown(phase)),
        Event::RenewalExamined { dead } => {
            turn(state, |state, phase| renewal::examined(state, phase, at, dead.as_ref()))
        }
        Event::Renewed { generation } => turn(state, |_, phase| renewal::renewed(phase, generation)),
        Event::RenewalVerified { again, .. } => turn(state, |state, phase| renewal::verified(state, phase, at, *again)),
        Event::RenewalRejected { failure, next } => {
            turn(state, |state, phase| renewal::rejected(state, phase, at, failure, *next))
        }
    }
}

/// Puts what `next` makes of the phase in its place. The state is `apply`'s own: nobody sees it meanwhile, nor where
/// `next` gives none.
fn turn(state: &mut TokenState, next: impl FnOnce(&mut TokenState, Phase) -> Option<Phase>) -> Option<()> {
    let phase = std::mem::take(&mut state.phase);
    state.phase = next(state, phase)?;
    Some(())
}

/// The phase without a candidate: what a rotation that ended without a handover falls back to.
fn settled(current: Option<Current>) -> Phase {
    current.map_or(Phase::Vacant, |current| Phase::Steady { current })
}

fn observed(current: &mut Current, id: Option<&RemoteId>, expires: Option<Expiry>, over: bool) {
    learn(&mut current.generation.remote, id, expires);
    // It may have been given more time.
    if expires.is_some() {
        current.replacement = None;
        current.told_over = over;
    }
}

/// Adds what the provider told to what is known.
fn learn(known: &mut Remote, id: Option<&RemoteId>, expires: Option<Expiry>) {
    known.id = id.cloned().or(known.id.take());
    known.expires = expires.unwrap_or(known.expires);
}

/// A request by hand ends the backoff.
fn requested(state: &mut TokenState, at: Time) {
    state.requested = Some(at);
    state.held_back = false;
    state.retry = None;
    if let Some(retry) = state.phase.current_mut().and_then(|current| current.renewal_retry.as_mut()) {
        retry.next = retry.next.min(at);
    }
}

/// Others have the secret of everything that exists now. What is handed over already has no grace any more.
fn compromised(state: &mut TokenState, at: Time) {
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
