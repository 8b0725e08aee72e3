//! One log line for each event: what happened, to which token, and what to do where an operator has to.

use tracing::{debug, error, info, warn};

use crate::names::TokenName;
use crate::rotation::state::Remnant;
use crate::rotation::{Event, TokenState};

/// Logs that `event` happened to `token` and led to `state`.
#[allow(clippy::too_many_lines)]
pub fn tell(token: &TokenName, event: &Event, state: &TokenState) {
    let name = event.name();
    let attempts = state.retry.as_ref().map_or(0, |retry| retry.attempts);
    match event {
        Event::Adopted { .. } => info!(%token, event = name, "adopted the initial secret as generation 0"),
        Event::Requested {} => info!(%token, event = name, "an operator asked for a rotation"),
        Event::Postponed { failure, next } => {
            warn!(%token, event = name, phase = state.phase.name(), attempts, next = %next, code = failure.code.code(), error = %failure, "the next step failed, nothing is lost; will try again");
        }
        Event::Intended { intent } => {
            info!(%token, event = name, generation = %intent.number, marker = %intent.marker, reason = intent.reason, "minting a new generation");
        }
        Event::MintRefused { failure, next } => {
            warn!(%token, event = name, attempts, next = %next, code = failure.code.code(), error = %failure, "no new token was minted; the old one stays in force");
        }
        Event::MintDoubted { failure } => {
            warn!(%token, event = name, code = failure.code.code(), error = %failure, "nobody knows whether a token was minted; looking for its marker before another mint");
        }
        Event::OrphanFound { remote } => {
            warn!(%token, event = name, id = remote.id.as_ref().map(|id| id.as_str()), "the lost mint did happen; revoking the orphan");
        }
        Event::OrphanRevoked { .. } => info!(%token, event = name, "the orphan is revoked"),
        Event::SearchEnded { remnant, .. } => match remnant {
            Remnant::LostMint { marker, .. } => {
                warn!(%token, event = name, %marker, "the lost mint was not found; if it turns up in a listing, it will be revoked");
            }
            Remnant::Deferred { .. } => {
                warn!(%token, event = name, marker = remnant.marker().map(|m| m.as_str()), "the orphan is revoked later");
            }
            Remnant::Unrevocable { marker, until, .. } => {
                error!(%token, event = name, marker = marker.as_ref().map(|m| m.as_str()), until = until.map(|t| t.to_string()), "an orphan is alive and this provider definition cannot revoke it: revoke it by hand, or supply the operation in the inventory");
            }
        },
        Event::Minted { candidate } => {
            let generation = &candidate.generation;
            info!(%token, event = name, generation = %generation.number, id = generation.remote.id.as_ref().map(|id| id.as_str()), expires = ?generation.remote.expires, "minted; the new secret is in the journal");
            if let Some(objection) = &candidate.objection {
                error!(%token, event = name, error = %objection, "the new token is not what was asked for and will be revoked");
            }
        }
        Event::Verified { proven: true, .. } => info!(%token, event = name, "the provider accepts the new secret"),
        Event::Verified { proven: false, .. } => {
            info!(%token, event = name, "the provider definition has no way to prove the new secret");
        }
        Event::StoreWritten { store } => info!(%token, event = name, %store, "store written"),
        Event::StoreFailed { store, failure, next } => {
            error!(%token, event = name, %store, next = %next, code = failure.code.code(), error = %failure, "store not written; the old secret stays in force, will try again");
        }
        Event::Delivered {} => debug!(%token, event = name, "every store acknowledged"),
        Event::HookSucceeded { hook } => info!(%token, event = name, %hook, "hook succeeded"),
        Event::HookFailed { hook, failure, next } => {
            error!(%token, event = name, %hook, next = %next, code = failure.code.code(), error = %failure, "hook failed; the old secret is not revoked, will try again");
        }
        Event::HookWaived { hook, failure } => {
            warn!(%token, event = name, %hook, code = failure.code.code(), error = %failure, "hook failed; going on, as the inventory says");
        }
        Event::Activated { revoke_at } => {
            let number = state.phase.current().map_or(0, |current| current.generation.number.0);
            info!(%token, event = name, generation = number, revoke_old_at = %revoke_at, "handed over: the new generation is current");
        }
        Event::ActivatedEarly { .. } => {
            warn!(%token, event = name, "the new generation is current although stores or hooks are still owed: it is due for a rotation itself");
        }
        Event::StillUsed { revoke_at } => {
            info!(%token, event = name, revoke_old_at = %revoke_at, "the provider sees the old generation in use; its revocation is put off");
        }
        Event::RevocationDeferred { remnant } => {
            warn!(%token, event = name, marker = remnant.marker().map(|m| m.as_str()), "the old generation is not revoked yet; its token has to be rotated first");
        }
        Event::Revoked { already } => info!(%token, event = name, already, "the old generation is revoked"),
        Event::FoundAlive { failure, next } => {
            error!(%token, event = name, next = %next, error = %failure, "the old generation outlived its revocation; revoking it again");
        }
        Event::Retired { proven } => info!(%token, event = name, proven, "rotation done: the old generation is over"),
        Event::LeftToExpire { remnant } => {
            warn!(%token, event = name, until = remnant.until().map(|t| t.to_string()), "the old generation cannot be revoked and is left to expire");
        }
        Event::UndoBegun { why, restore } => {
            error!(%token, event = name, restore, code = why.code.code(), error = %why, "taking the new generation back; the old one stays in force");
        }
        Event::Undone { remnant: None, .. } => info!(%token, event = name, "the new generation was taken back"),
        Event::Undone { remnant: Some(remnant), .. } => {
            error!(%token, event = name, until = remnant.until().map(|t| t.to_string()), "the new generation could not be revoked: revoke it by hand, or it lives until it expires");
        }
        Event::RenewalIntended { intent } => {
            info!(%token, event = name, generation = %intent.number, "renewing in place")
        }
        Event::RenewalPostponed { failure, next } => {
            warn!(%token, event = name, next = %next, code = failure.code.code(), error = %failure, "the renewal was not begun; will try again");
        }
        Event::RenewalRefused { failure, next, spent } => {
            warn!(%token, event = name, spent, next = %next, code = failure.code.code(), error = %failure, "not renewed");
        }
        Event::RenewalDoubted { failure } => {
            error!(%token, event = name, code = failure.code.code(), error = %failure, "nobody knows whether the token was renewed; it is not renewed again but replaced");
        }
        Event::RenewalExamined { dead: None } => {
            warn!(%token, event = name, "the secret at hand still works; replacing it")
        }
        Event::RenewalExamined { dead: Some(failure) } => {
            error!(%token, event = name, error = %failure, "the secret at hand is dead; replacing it at once");
        }
        Event::Renewed { generation } => {
            info!(%token, event = name, generation = %generation.number, expires = ?generation.remote.expires, "renewed; the new secret is in the journal");
        }
        Event::RenewalVerified { proven } => info!(%token, event = name, proven, "the renewed secret is handed over"),
        Event::RenewalRejected { failure } => {
            error!(%token, event = name, error = %failure, "the renewed secret is not accepted; replacing the token");
        }
        Event::FoundDead { failure } => {
            error!(%token, event = name, code = failure.code.code(), error = %failure, "the provider does not accept the current secret any more; rotating at once");
        }
        Event::Observed { id, expires } => {
            info!(%token, event = name, id = id.as_ref().map(|id| id.as_str()), expires = ?expires, "the provider told more of the token");
        }
        Event::StoreOwed { store, found, .. } => {
            warn!(%token, event = name, %store, found, "the store is written again");
        }
        Event::Redelivered {} => info!(%token, event = name, "every store and hook is done"),
        Event::RemnantEnded { remnant, revoked } => {
            info!(%token, event = name, revoked, marker = remnant.marker().map(|m| m.as_str()), "a leftover credential is over");
        }
        Event::ReapFailed { remnant, failure, next } => {
            warn!(%token, event = name, marker = remnant.marker().map(|m| m.as_str()), next = %next, code = failure.code.code(), error = %failure, "a leftover credential was not revoked; will try again");
        }
        Event::SecretLost { number, failure } => {
            error!(%token, event = name, generation = %number, error = %failure, "the secret cannot be read from the journal; the token will be rotated");
        }
    }
}
