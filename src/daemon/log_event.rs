//! One log line for each event: what happened, to which token, and what to do where an operator has to.

use tracing::{Level, debug, error, info, warn};

use crate::names::{GenerationNo, HookKey, Marker, RemoteId, StoreKey, TokenName};
use crate::outcome::Failure;
use crate::rotation::state::Orphan;
use crate::rotation::{Event, TokenState};

/// A line before it is logged: a sentence that reads alone, and fields. `None` is left out.
#[derive(Debug)]
struct Line<'a> {
    level: Level,
    sentence: &'static str,
    generation: Option<GenerationNo>,
    marker: Option<&'a Marker>,
    id: Option<&'a RemoteId>,
    store: Option<&'a StoreKey>,
    hook: Option<&'a HookKey>,
    failure: Option<&'a Failure>,
    /// When it is tried again, or what else the sentence calls a time.
    at: Option<crate::clock::Time>,
    /// Whatever else there is to say.
    detail: Option<String>,
}

/// Logs that `event` happened to `token` and led to `state`.
pub fn log_event(token: &TokenName, event: &Event, state: &TokenState) {
    let Line { level, sentence, generation, marker, id, store, hook, failure, at, detail } = line(event, state);
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
                "{sentence}"
            )
        };
    }
    match level {
        Level::ERROR => log!(error),
        Level::WARN => log!(warn),
        Level::INFO => log!(info),
        _ => log!(debug),
    }
}

impl<'a> Line<'a> {
    fn new(level: Level, sentence: &'static str) -> Self {
        Self {
            level,
            sentence,
            generation: None,
            marker: None,
            id: None,
            store: None,
            hook: None,
            failure: None,
            at: None,
            detail: None,
        }
    }

    fn info(sentence: &'static str) -> Self {
        Self::new(Level::INFO, sentence)
    }

    /// Something went wrong, and patrold helps itself.
    fn warn(sentence: &'static str, failure: &'a Failure) -> Self {
        Self { failure: Some(failure), ..Self::new(Level::WARN, sentence) }
    }

    /// Something went wrong that an operator should look at.
    fn error(sentence: &'static str, failure: &'a Failure) -> Self {
        Self { failure: Some(failure), ..Self::new(Level::ERROR, sentence) }
    }

    fn of(self, orphan: &'a Orphan) -> Self {
        Self { marker: orphan.marker(), at: orphan.until(), ..self }
    }

    fn again(self, next: crate::clock::Time) -> Self {
        Self { at: Some(next), ..self }
    }
}

/// The line of an event. One arm for each: long, but a table.
#[expect(clippy::too_many_lines, reason = "one arm for each event")]
fn line<'a>(event: &'a Event, state: &'a TokenState) -> Line<'a> {
    match event {
        Event::Adopted { generation } => Line {
            generation: Some(generation.number),
            id: generation.remote.id.as_ref(),
            at: generation.remote.expires.time(),
            ..Line::info("adopted the token that the inventory names")
        },
        Event::ReplacementDue { reason } => Line {
            at: state.phase.current().and_then(|current| current.generation.remote.expires.time()),
            detail: Some(reason.clone()),
            ..current(
                state,
                Line::new(
                    Level::ERROR,
                    "it is time for a new token, and its provider cannot mint: make one and put it where `initial` says",
                ),
            )
        },
        Event::Replaced { generation, revoke_at, .. } => Line {
            generation: Some(generation.number),
            id: generation.remote.id.as_ref(),
            ..Line::info("an operator brought a new token: it goes to the consumers, and the old one retires")
                .again(*revoke_at)
        },
        Event::ReplacementRefused { failure } => {
            Line::error("the provider does not accept the new secret; the one before stays", failure)
        }
        Event::InitialRefused { failure } => {
            Line::warn("the provider does not accept the initial secret: a token is minted in its place", failure)
        }
        Event::BackoffEnded {} => Line::info("a credential changed: what was refused before is tried again"),
        Event::Requested {} => Line::info("an operator asked for a rotation"),
        Event::Compromised {} => {
            Line::new(Level::WARN, "an operator says that others have its secret; replacing it without grace")
        }
        Event::Offered { candidate } => Line {
            generation: Some(candidate.generation.number),
            ..Line::info("an operator brought a secret to take over; proving it")
        },
        Event::Recalled { candidate, .. } => Line {
            generation: Some(candidate.generation.number),
            ..Line::info("an operator asked for the generation before; proving it")
        },
        Event::Postponed { failure, next } => Line {
            detail: Some(state.phase.name().to_owned()),
            ..Line::warn("the next step failed and is tried again; nothing is lost", failure).again(*next)
        },
        Event::Intended { intent } => Line {
            generation: Some(intent.number),
            marker: Some(&intent.marker),
            detail: Some(intent.reason.clone()),
            ..Line::info("minting a new generation")
        },
        Event::MintRefused { failure, next } => {
            Line::warn("no new token was minted and it is tried again; the old one stays in force", failure)
                .again(*next)
        }
        Event::MintUnknown { failure } => {
            Line::warn("nobody knows whether a token was minted; looking for its marker before another mint", failure)
        }
        Event::OrphanFound { remote } => {
            Line { id: remote.id.as_ref(), ..Line::new(Level::WARN, "the lost mint did happen; revoking the orphan") }
        }
        Event::OrphanRevoked { .. } => Line::info("the orphan is revoked"),
        Event::SearchEnded { orphan, .. } => search_ended(orphan).of(orphan),
        Event::Minted { candidate } => Line {
            generation: Some(candidate.generation.number),
            id: candidate.generation.remote.id.as_ref(),
            at: candidate.generation.remote.expires.time(),
            ..match &candidate.rejection {
                None => Line::info("minted; the new secret is in the journal"),
                Some(rejection) => Line::error("minted, but not what was asked for: it will be revoked", rejection),
            }
        },
        Event::Verified { proven: true, .. } => Line::info("the provider accepts the new secret"),
        Event::Verified { proven: false, .. } => {
            Line::info("the new secret goes unproven: the definition cannot verify")
        }
        Event::StoreWritten { store } => Line { store: Some(store), ..Line::info("store written") },
        Event::StoreFailed { store, failure, next } => Line {
            store: Some(store),
            ..Line::error("store not written and tried again; the old secret stays in force", failure).again(*next)
        },
        Event::Delivered {} => Line::new(Level::DEBUG, "every store acknowledged"),
        Event::HookSucceeded { hook } => Line { hook: Some(hook), ..Line::info("hook succeeded") },
        Event::HookFailed { hook, failure, next } => Line {
            hook: Some(hook),
            ..Line::error("hook failed and is tried again; the old secret is not revoked", failure).again(*next)
        },
        Event::HookWaived { hook, failure } => {
            Line { hook: Some(hook), ..Line::warn("hook failed; going on, as the inventory says", failure) }
        }
        Event::Activated { revoke_at } => {
            current(state, Line::info("handed over: the new generation is current")).again(*revoke_at)
        }
        Event::ActivatedEarly { revoke_at } => {
            let sentence = "the new generation is current although stores or hooks are owed: its own time runs out";
            current(state, Line::new(Level::WARN, sentence)).again(*revoke_at)
        }
        Event::StillUsed { revoke_at } => {
            Line::info("the provider sees the old generation in use; its revocation is put off").again(*revoke_at)
        }
        Event::RevocationDeferred { orphan } => {
            Line::new(Level::WARN, "the old generation is revoked later; the next rotation cannot wait").of(orphan)
        }
        Event::Revoked { already: false } => Line::info("the old generation is revoked"),
        Event::Revoked { already: true } => Line::info("the provider did not know the old generation any more"),
        Event::FoundAlive { failure, next } => {
            Line::error("the old generation outlived its revocation; revoking it again", failure).again(*next)
        }
        Event::Retired { proven: true } => Line::info("rotation done: the old generation is proven dead"),
        Event::Retired { proven: false } => Line::info("rotation done: the old generation is over"),
        Event::LeftToExpire { orphan } => {
            Line::new(Level::WARN, "the old generation cannot be revoked and is left to expire").of(orphan)
        }
        Event::UndoBegun { why, .. } => Line::error("taking the new generation back; the old one stays in force", why),
        Event::Undone { orphan: None, .. } => Line::info("the new generation was taken back"),
        Event::Undone { orphan: Some(orphan), .. } => undone(orphan).of(orphan),
        Event::RenewalIntended { intent } => {
            Line { generation: Some(intent.number), ..Line::info("renewing in place") }
        }
        Event::RenewalPostponed { failure, next } => {
            Line::warn("the renewal was not begun and is tried again", failure).again(*next)
        }
        Event::RenewalRefused { failure, spent: false, next } => {
            Line::warn("not renewed; it is tried again", failure).again(*next)
        }
        Event::RenewalRefused { failure, .. } => {
            Line::error("it cannot be renewed any more; it needs a replacement", failure)
        }
        Event::RenewalUnknown { failure } => Line::error(
            "nobody knows whether it was renewed; the secret at hand is tried before anything else",
            failure,
        ),
        Event::RenewalExamined { dead: None } => Line::new(
            Level::WARN,
            "after a renewal of unknown outcome the secret at hand still works; it is replaced, not renewed again",
        ),
        Event::RenewalExamined { dead: Some(failure) } => Line::error(
            "after a renewal of unknown outcome the secret at hand is dead; it needs a replacement at once",
            failure,
        ),
        Event::Renewed { generation } => Line {
            generation: Some(generation.number),
            at: generation.remote.expires.time(),
            ..Line::info("renewed; the new secret is in the journal")
        },
        Event::RenewalVerified { .. } => current(state, Line::info("the renewed secret goes to its consumers")),
        Event::RenewalRejected { failure, .. } => {
            Line::error("the renewed secret is not accepted; the token needs another one", failure)
        }
        Event::FoundDead { failure } => {
            Line::error("the provider does not accept the current secret any more; it needs a new one at once", failure)
        }
        Event::Observed { id, expires } => Line {
            id: id.as_ref(),
            at: expires.and_then(crate::provider::Expiry::time),
            ..Line::info("the provider told more of the token")
        },
        Event::StoreOwed { store, found, .. } => Line {
            store: Some(store),
            detail: Some(found.clone()),
            ..Line::new(Level::WARN, "the store is written again")
        },
        Event::Redelivered {} => Line::info("every store and hook is done"),
        Event::OrphanEnded { orphan, revoked: true } => Line::info("a leftover credential was revoked").of(orphan),
        Event::OrphanEnded { orphan, .. } => Line::info("a leftover credential is over").of(orphan),
        Event::ReapFailed { orphan, failure, next } => {
            Line::warn("a leftover credential was not revoked; it is tried again", failure).of(orphan).again(*next)
        }
        Event::ReapRequested { orphan } => Line::info("an operator wants an orphan revoked").of(orphan),
        Event::Resealed { .. } => Line::info("the secrets are sealed with a new key"),
        Event::SecretLost { number, failure } => Line {
            generation: Some(*number),
            ..Line::error("the secret cannot be read from the journal; the token will be rotated", failure)
        },
    }
}

fn current<'a>(state: &TokenState, line: Line<'a>) -> Line<'a> {
    Line { generation: state.phase.current().map(|current| current.generation.number), ..line }
}

fn search_ended(orphan: &Orphan) -> Line<'_> {
    match orphan {
        Orphan::UnknownMint { .. } => {
            Line::new(Level::WARN, "the lost mint was not found; if it turns up in a listing, it will be revoked")
        }
        Orphan::Deferred { .. } => Line::new(Level::WARN, "the orphan is revoked later"),
        Orphan::Unrevocable { .. } => Line::new(
            Level::ERROR,
            "an orphan is alive and the definition cannot revoke: revoke it by hand, or supply the operation",
        ),
    }
}

fn undone(orphan: &Orphan) -> Line<'_> {
    match orphan {
        Orphan::Deferred { .. } => Line::new(Level::WARN, "the new generation is taken out of use and revoked later"),
        Orphan::Unrevocable { .. } | Orphan::UnknownMint { .. } => Line::new(
            Level::ERROR,
            "the new generation cannot be revoked: revoke it by hand, or it lives until it expires",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureCode;

    #[test]
    fn what_fails_says_when_it_is_tried_again() {
        let failure = Failure::new(FailureCode::Connect, "refused");
        let next = crate::clock::Time::UNIX_EPOCH;
        let event = Event::MintRefused { failure: failure.clone(), next };
        let state = TokenState::default();
        let line = line(&event, &state);
        assert_eq!((line.level, line.failure, line.at), (Level::WARN, Some(&failure), Some(next)));
    }
}
