//! One log line for each event: what happened, to which token, and what to do where an operator has to.

use tracing::{debug, error, info, warn};

use crate::clock::Time;
use crate::names::{GenerationNo, HookKey, Marker, RemoteId, StoreKey};
use crate::provider::{Expiry, ProviderTime};
use crate::rotation::event::Level;
use crate::rotation::state::{Generation, Intent, Orphan};
use crate::rotation::{Event, TokenState};

use super::Committed;

/// What a line says besides its sentence. `None` is left out.
#[derive(Debug, Default, PartialEq)]
struct Fields<'a> {
    generation: Option<GenerationNo>,
    marker: Option<&'a Marker>,
    id: Option<&'a RemoteId>,
    store: Option<&'a StoreKey>,
    hook: Option<&'a HookKey>,
    /// When it is tried again, or what else the sentence calls a time.
    at: Option<Time>,
    /// Whatever else there is to say.
    detail: Option<&'a str>,
}

/// Logs a committed event.
pub(super) fn tell(committed: &Committed<'_>) {
    let Committed { token, event, state, .. } = *committed;
    let Fields { generation, marker, id, store, hook, at, detail } = fields(event, state);
    let (told, failure) = (event.told(), event.failure());
    let sentence = told.sentence;
    macro_rules! log {
        ($log:ident) => {
            $log!(
                %token,
                event = event.name(),
                generation = generation.map(|number| number.0),
                marker = marker.map(Marker::as_str),
                id = id.map(RemoteId::as_str),
                store = store.map(StoreKey::as_str),
                hook = hook.map(HookKey::as_str),
                at = at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
                detail,
                code = failure.map(|failure| failure.code.code()),
                error = failure.map(ToString::to_string),
                "request-id" = failure.and_then(|failure| failure.request_id.as_deref()),
                "{sentence}"
            )
        };
    }
    match told.level {
        Level::Error => log!(error),
        Level::Warn => log!(warn),
        Level::Info => log!(info),
        Level::Debug => log!(debug),
    }
}

/// The fields of an event's line.
fn fields<'a>(event: &'a Event, state: &'a TokenState) -> Fields<'a> {
    match event {
        Event::Adopted { generation } => whole(generation),
        Event::Renewed { generation } => Fields { id: None, ..whole(generation) },
        Event::Minted { candidate } => whole(&candidate.generation),
        Event::Offered { candidate } | Event::Recalled { candidate, .. } => {
            Fields { generation: Some(candidate.generation.number), ..Fields::default() }
        }
        Event::Replaced { generation, revoke_at, .. } => Fields { at: Some(*revoke_at), ..whole(generation) },
        Event::HeldBack { found } => Fields { detail: Some(found), ..Fields::default() },
        Event::ReplacementDue { reason } => Fields {
            at: state.phase.current().and_then(|current| current.generation.remote.expires.here()),
            detail: Some(reason),
            ..current(state)
        },
        Event::Intended { intent } => {
            let Intent { number, marker, reason, .. } = intent;
            Fields { generation: Some(*number), marker: Some(marker), detail: Some(reason), ..Fields::default() }
        }
        Event::RenewalIntended { intent } => Fields { generation: Some(intent.number), ..Fields::default() },
        Event::Postponed { next, .. } => Fields { detail: Some(state.phase.name()), ..at(*next) },
        Event::MintRefused { next, .. }
        | Event::FoundAlive { next, .. }
        | Event::RenewalPostponed { next, .. }
        | Event::RenewalRefused { next, spent: false, .. } => at(*next),
        Event::StillUsed { revoke_at }
        | Event::ClockSetBack { revoke_at }
        | Event::RetirementAsked { revoke_at }
        | Event::RetirementPutOff { revoke_at } => at(*revoke_at),
        Event::Activated { revoke_at, .. } | Event::ActivatedEarly { revoke_at, .. } => {
            Fields { at: Some(*revoke_at), ..current(state) }
        }
        Event::RenewalVerified { .. } => current(state),
        Event::OrphanFound { remote } => Fields { id: remote.id.as_ref(), ..Fields::default() },
        Event::Observed { id, expires, .. } => {
            Fields { id: id.as_ref(), at: expires.and_then(Expiry::here), ..Fields::default() }
        }
        Event::StoreErased { store, stays } => {
            Fields { store: Some(store), detail: stays.as_deref(), ..Fields::default() }
        }
        Event::StoreClaimed { store, .. }
        | Event::StoreDisclaimed { store }
        | Event::StoreIntended { store }
        | Event::StoreWritten { store, .. } => Fields { store: Some(store), ..Fields::default() },
        Event::StoreFailed { store, next, .. } | Event::EraseFailed { store, next, .. } => {
            Fields { store: Some(store), ..at(*next) }
        }
        Event::StoreOwed { store, found, .. } => {
            Fields { store: Some(store), detail: Some(found), ..Fields::default() }
        }
        Event::HookSucceeded { hook } | Event::HookWaived { hook, .. } => {
            Fields { hook: Some(hook), ..Fields::default() }
        }
        Event::HookFailed { hook, next, .. } => Fields { hook: Some(hook), ..at(*next) },
        Event::SearchEnded { orphan, .. }
        | Event::RevocationDeferred { orphan }
        | Event::LeftToExpire { orphan }
        | Event::Dismissed { orphan }
        | Event::Undone { orphan: Some(orphan), .. }
        | Event::OrphanEnded { orphan, .. }
        | Event::ReapRequested { orphan } => of(orphan),
        Event::ReapFailed { orphan, next, .. } => Fields { at: Some(*next), ..of(orphan) },
        Event::SecretLost { number, .. } => Fields { generation: Some(*number), ..Fields::default() },
        Event::ReplacementRefused { .. }
        | Event::InitialRefused { .. }
        | Event::BackoffEnded {}
        | Event::Requested {}
        | Event::RequestWithdrawn {}
        | Event::RetirementWithdrawn {}
        | Event::Compromised {}
        | Event::MintUnknown { .. }
        | Event::MintedInPlace { .. }
        | Event::OrphanRevoked { .. }
        | Event::Verified { .. }
        | Event::Delivered {}
        | Event::Revoked { .. }
        | Event::Retired { .. }
        | Event::UndoBegun { .. }
        | Event::Undone { orphan: None, .. }
        | Event::RenewalRefused { spent: true, .. }
        | Event::RenewalUnknown { .. }
        | Event::RenewalExamined { .. }
        | Event::RenewalRejected { .. }
        | Event::FoundDead { .. }
        | Event::ConsumersOwed {}
        | Event::Redelivered {}
        | Event::Resealed { .. } => Fields::default(),
    }
}

fn at<'a>(at: Time) -> Fields<'a> {
    Fields { at: Some(at), ..Fields::default() }
}

fn current<'a>(state: &TokenState) -> Fields<'a> {
    Fields { generation: state.phase.current().map(|current| current.generation.number), ..Fields::default() }
}

fn whole(generation: &Generation) -> Fields<'_> {
    Fields {
        generation: Some(generation.number),
        id: generation.remote.id.as_ref(),
        at: generation.remote.expires.here(),
        ..Fields::default()
    }
}

fn of(orphan: &Orphan) -> Fields<'_> {
    Fields { marker: orphan.marker(), at: orphan.until().map(ProviderTime::here), ..Fields::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Failure, FailureCode};

    #[test]
    fn what_fails_says_when_it_is_tried_again() {
        let next = Time::UNIX_EPOCH;
        let event = Event::MintRefused { failure: Failure::new(FailureCode::Connect, "refused"), next };
        assert_eq!(fields(&event, &TokenState::default()), at(next));
    }
}
