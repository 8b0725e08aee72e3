//! What happened to a token, in past tense: the journal's records.
//!
//! One table has everything that is said of an event: its stable name, the line that is logged of it, its remedy, the
//! step of a rotation that it ends, and whether it changes the credential that is in use. Log, history, metrics, the
//! status page and `docs/events.md` read it.
//!
//! Stored state: events are added, never renamed or reused; old ones stay readable. The file is long because the table is:
//! each event stands in it once.

#![warn(missing_docs)]

#[macro_use]
mod define;
mod told;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use told::{Level, Told};

use super::state::{Candidate, Claim, Generation, Intent, Orphan};
use super::step::Ended;
use super::step::StepName::{Adopt, Examine, HandOver, Hook, Inspect, Mint, Prove, Reap, Renew, Revoke};
use super::step::StepName::{Search, Undo, Verify, Write};
use super::step::StepResult::{Drifted, Failed, Ok as Went, Unknown};
use crate::clock::Time;
use crate::event::EventRow;
use crate::few::Few;
use crate::names::{GenerationNo, HookKey, RemoteId, RotationId, StoreKey};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Expiry, Remote};
use crate::secret::Fingerprint;
use crate::store::Receipt;

/// Whether an event changes the secret that accounts which authenticate with the token present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credential {
    Kept,
    Changed,
}

// `{ fields }`: a case of the event that is told of in words of its own. The first that fits counts.
events! {
    /// It is generation 0.
    Adopted { generation: Generation } = "adopted", Changed,
        "The token that the inventory names was taken over", "",
        [{ .. } => Info "adopted the token that the inventory names" Ended::Step(Adopt, Went)];
    /// `found`: what shows that there was another journal.
    HeldBack { found: String } = "held-back", Kept,
        "The journal is new, and something of the token exists already: it is not minted before an operator says so",
        "stop the daemon and restore the journal from a backup; or take over what exists with `patrold adopt`; or have a \
         new token minted with `patrold rotate`, and revoke the old one at the provider",
        [{ .. } => Error "the journal is new, and something of this token exists already: nothing is minted before an \
                          operator says so" Ended::Nothing];
    /// `reason`: the stable code of the rule that says so.
    ReplacementDue { reason: String } = "replacement-due", Kept,
        "It is time for another token, and its provider cannot mint",
        "make one at the provider, and put its secret to the place that `initial` names",
        [{ .. } => Error
            "it is time for a new token, and its provider cannot mint: make one and put it where `initial` says"
            Ended::Nothing];
    Replaced { generation: Box<Generation>, rotation: RotationId, revoke_at: Time } = "replaced", Changed,
        "An operator brought another token in place of the current one, which retires", "",
        [{ .. } => Info "an operator brought a new token: it goes to the consumers, and the old one retires"
            Ended::Step(Adopt, Went)];
    ReplacementRefused { failure: Failure } = "replacement-refused", Kept,
        "The provider does not accept the secret that an operator brought; the one before stays",
        "put a valid secret to the place that `initial` names",
        [{ .. } => Error "the provider does not accept the new secret; the one before stays"
            Ended::Step(Verify, Failed)];
    InitialRefused { failure: Failure } = "initial-refused", Kept,
        "The provider does not accept the secret to adopt: a token is minted in its place",
        "remove `initial` from the token; if the secret should work, find out why the provider refuses it",
        [{ .. } => Warn "the provider does not accept the initial secret: a token is minted in its place"
            Ended::Step(Adopt, Failed)];
    BackoffEnded {} = "backoff-ended", Kept,
        "A credential changed: what failed for want of a good one is tried again", "",
        [{ .. } => Info "a credential changed: what was refused before is tried again" Ended::Nothing];
    Requested {} = "requested", Kept,
        "An operator asked for a rotation", "",
        [{ .. } => Info "an operator asked for a rotation" Ended::Nothing];
    RequestWithdrawn {} = "request-withdrawn", Kept,
        "An operator withdrew a request for a rotation that had not begun", "",
        [{ .. } => Info "an operator withdrew the request for a rotation" Ended::Nothing];
    /// `revoke_at`: not before this.
    RetirementAsked { revoke_at: Time } = "retirement-asked", Kept,
        "An operator retired the token: once it has left the inventory, it is revoked",
        "`patrold cancel`, or its entry back in the inventory, keeps it alive",
        [{ .. } => Info "an operator retired the token; it is revoked once it has left the inventory" Ended::Nothing];
    /// `revoke_at`: not before this.
    RetirementPutOff { revoke_at: Time } = "retirement-put-off", Kept,
        "The provider sees a retired token in use; its revocation is put off",
        "find out who uses it; `patrold cancel` keeps it alive, `patrold retire --revoke --now` ends it all the same",
        [{ .. } => Warn "the provider sees the retired token in use; its revocation is put off" Ended::Nothing];
    RetirementWithdrawn {} = "retirement-withdrawn", Kept,
        "The token stays: an operator withdrew its retirement, or its entry is back in the inventory", "",
        [{ .. } => Info "the token stays: its retirement is withdrawn" Ended::Nothing];
    /// `orphan`: what is alive of it.
    Dismissed { orphan: Orphan } = "dismissed", Kept,
        "A retired token is in use no more; what is alive of it is revoked next",
        "where the line says so, revoke it at the provider by hand: its name there is `marker`",
        [
            { orphan: Orphan::Unrevocable { .. } } => Warn
                "the retired token is in use no more; it cannot be revoked and is left to expire" Ended::Nothing,
            { .. } => Info "the retired token is in use no more; revoking it" Ended::Nothing,
        ];
    Compromised {} = "compromised", Kept,
        "An operator says that others have the secret: every generation is replaced, and revoked without grace",
        "see that the lines `retired` follow; `patrold rotate --compromised` tells what is left to do",
        [{ .. } => Warn "an operator says that others have its secret; replacing it without grace" Ended::Nothing];
    /// It is in the journal.
    Offered { candidate: Box<Candidate> } = "offered", Kept,
        "An operator brought a secret to take over; it is proven next", "",
        [{ .. } => Info "an operator brought a secret to take over; proving it" Ended::Step(Adopt, Went)];
    /// `orphan`: it was waiting for a revocation that had been left for later.
    Recalled { candidate: Box<Candidate>, #[serde(rename = "remnant")] orphan: Option<Orphan> } = "recalled", Kept,
        "An operator asked for the previous token; it is proven next", "",
        [{ .. } => Info "an operator asked for the previous token; proving it" Ended::Nothing];
    /// Nothing happened at the provider.
    Postponed { failure: Failure, next: Time } = "postponed", Kept,
        "The next step failed and is tried again; nothing is lost", "",
        [{ .. } => Warn "the next step failed and is tried again; nothing is lost" Ended::Next];
    Intended { intent: Intent } = "intended", Kept,
        "A new generation is about to be minted", "",
        [{ .. } => Info "minting a new generation" Ended::Nothing];
    /// The mint certainly did not happen; the intent is dropped.
    MintRefused { failure: Failure, next: Time } = "mint-refused", Kept,
        "No new token was minted; the old one stays in use", "",
        [{ .. } => Warn "no new token was minted and it is tried again; the old one stays in use"
            Ended::Step(Mint, Failed)];
    MintUnknown { failure: Failure } = "mint-doubted", Kept,
        "The outcome of a mint is unknown; its marker is searched for before another mint", "",
        [{ .. } => Warn "the outcome of the mint is unknown: searching for its marker before another mint"
            Ended::Step(Mint, Unknown)];
    OrphanFound { remote: Remote } = "orphan-found", Kept,
        "A mint of unknown outcome did happen; the orphan is revoked", "nothing: patrold revokes it",
        [{ .. } => Warn "the mint of unknown outcome did happen; revoking the orphan" Ended::Step(Search, Went)];
    /// Or was gone already.
    OrphanRevoked { next: Time } = "orphan-revoked", Kept,
        "The orphan is revoked", "",
        [{ .. } => Info "the orphan is revoked" Ended::Step(Revoke, Went)];
    /// What may still be alive is remembered.
    SearchEnded { #[serde(rename = "remnant")] orphan: Orphan, next: Time } = "search-ended", Kept,
        "The search for an orphan ended without a revocation",
        "where the line says so, revoke the orphan by hand: its name at the provider is `marker`",
        [
            { orphan: Orphan::UnknownMint { .. }, .. } => Warn
                "no orphan was found; one that appears in a listing later will be revoked"
                Ended::Step(Search, Went),
            { orphan: Orphan::Deferred { .. }, .. } => Warn "the orphan is revoked later" Ended::Step(Search, Went),
            { orphan: Orphan::Unrevocable { .. }, .. } => Error
                "an orphan is alive and the definition cannot revoke: revoke it by hand, or supply the operation"
                Ended::Step(Search, Went),
        ];
    Minted { candidate: Box<Candidate> } = "minted", Kept,
        "A new generation is in the journal", "",
        [
            { candidate } if candidate.rejection.is_some() => Error
                "minted, but not what was asked for: it will be revoked" Ended::Step(Mint, Went),
            { .. } => Info "minted; the new secret is in the journal" Ended::Step(Mint, Went),
        ];
    /// The answer to a mint has the id of the current generation and another secret.
    MintedInPlace { failure: Failure } = "minted-in-place", Kept,
        "The provider made a new secret for the current token instead of a new token; the old one may have ended",
        "use a definition that renews: this request does not make another token",
        [{ .. } => Warn
            "the provider made a new secret for the current token: the old one may have ended at once"
            Ended::Nothing];
    /// `proven` is false where the definition has no way to ask.
    Verified { proven: bool, id: Option<RemoteId>, expires: Option<Expiry> } = "verified", Kept,
        "The provider accepts the new secret, or the definition cannot ask", "",
        [
            { proven: true, .. } => Info "the provider accepts the new secret" Ended::Step(Verify, Went),
            { .. } => Info "the new secret goes unproven: the definition cannot verify" Ended::Step(Verify, Went),
        ];
    /// Of a store that hides what it holds: should nobody learn how the write ends, its value is recognised as patrold's.
    StoreIntended { store: StoreKey } = "store-intended", Kept,
        "A store that hides what it holds is about to be written", "",
        [{ .. } => Debug "writing a store that hides what it holds" Ended::Nothing];
    /// `receipt`: what the next look at the store depends on, where it does.
    StoreWritten { store: StoreKey, #[serde(default, skip_serializing_if = "Option::is_none")] receipt: Option<Receipt> } = "store-written", Kept,
        "A store was written", "",
        [{ .. } => Info "store written" Ended::Step(Write, Went)];
    /// `unwritten`: it is certain that it still holds what it held before `store-intended`.
    StoreFailed {
        store: StoreKey,
        failure: Failure,
        next: Time,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unwritten: bool,
    } = "store-failed", Kept,
        "A store could not be written; the old secret stays in use", "",
        [{ .. } => Error "store not written and tried again; the old secret stays in use"
            Ended::Step(Write, Failed)];
    /// `claim`: where the store is, and what it was given.
    StoreClaimed { store: StoreKey, claim: Box<Claim> } = "store-claimed", Kept,
        "A store was written of which `on-leave` says that it loses its value once it leaves the inventory", "",
        [{ .. } => Debug "the store loses its value once it leaves the inventory" Ended::Nothing];
    StoreDisclaimed { store: StoreKey } = "store-disclaimed", Kept,
        "A store keeps its value when it leaves the inventory, other than before", "",
        [{ .. } => Debug "the store keeps its value when it leaves the inventory" Ended::Nothing];
    /// `stays`: in words that complete "the store …", why nothing was taken out.
    StoreErased { store: StoreKey, stays: Option<String> } = "store-erased", Kept,
        "A store that left the inventory lost its value, or holds another one, which stays",
        "where the line says that the store keeps something, see whose it is",
        [
            { stays: None, .. } => Info "the store left the inventory, and its value was taken out" Ended::Nothing,
            { stays: Some(_), .. } => Warn "the store left the inventory, and keeps what it holds" Ended::Nothing,
        ];
    EraseFailed { store: StoreKey, failure: Failure, next: Time } = "erase-failed", Kept,
        "The value of a store that left the inventory was not taken out; it is tried again", "",
        [{ .. } => Warn "the value of a store that left the inventory was not taken out; it is tried again"
            Ended::Nothing];
    Delivered {} = "delivered", Kept,
        "Every store acknowledged", "",
        [{ .. } => Debug "every store acknowledged" Ended::Nothing];
    HookSucceeded { hook: HookKey } = "hook-succeeded", Kept,
        "A hook succeeded", "",
        [{ .. } => Info "hook succeeded" Ended::Step(Hook, Went)];
    HookFailed { hook: HookKey, failure: Failure, next: Time } = "hook-failed", Kept,
        "A hook failed; the old secret is not revoked", "",
        [{ .. } => Error "hook failed and is tried again; the old secret is not revoked" Ended::Step(Hook, Failed)];
    HookWaived { hook: HookKey, failure: Failure } = "hook-waived", Kept,
        "A hook failed, and the inventory says to go on", "",
        [{ .. } => Warn "hook failed; going on, as the inventory says" Ended::Step(Hook, Failed)];
    /// `vain`: it does not live longer than the one before, so that the rotation helped nobody.
    Activated { revoke_at: Time, #[serde(default, skip_serializing_if = "Option::is_none")] vain: Option<Failure> } = "activated", Changed,
        "The new generation is current", "",
        [{ vain: Some(_), .. } => Warn "handed over in vain: the new secret does not live longer; the next rotation waits"
            Ended::Step(HandOver, Went),
         { .. } => Info "handed over: the new generation is current" Ended::Step(HandOver, Went)];
    /// It is due for a rotation itself.
    ActivatedEarly { revoke_at: Time, #[serde(default, skip_serializing_if = "Option::is_none")] vain: Option<Failure> } = "activated-early", Changed,
        "The new generation is current before every store is written and every hook has run",
        "help the stores or hooks that the lines before name: consumers may still hold the old secret",
        [{ .. } => Warn "the new generation is current before every store and hook is done: its own time runs out"
            Ended::Step(HandOver, Went)];
    StillUsed { revoke_at: Time } = "still-used", Kept,
        "The provider sees the old generation in use; its revocation is put off", "",
        [{ .. } => Info "the provider sees the old generation in use; its revocation is put off" Ended::Nothing];
    RevocationDeferred { #[serde(rename = "remnant")] orphan: Orphan } = "revocation-deferred", Kept,
        "The old generation is revoked later, because the next rotation cannot wait",
        "nothing: it is revoked as soon as the provider takes it back",
        [{ .. } => Warn "the old generation is revoked later; the next rotation cannot wait"
            Ended::Step(Revoke, Failed)];
    /// `already`: the provider did not know it any more.
    Revoked { already: bool } = "revoked", Kept,
        "The old generation is revoked", "",
        [
            { already: false } => Info "the old generation is revoked" Ended::Step(Revoke, Went),
            { already: true } => Info "the provider did not know the old generation any more"
                Ended::Step(Revoke, Went),
        ];
    FoundAlive { failure: Failure, next: Time } = "found-alive", Kept,
        "The old generation outlived its revocation; it is revoked again", "",
        [{ .. } => Error "the old generation outlived its revocation; revoking it again" Ended::Step(Prove, Failed)];
    /// Its secret is erased. `proven`: one request with it was refused.
    Retired { proven: bool } = "retired", Kept,
        "The rotation is done", "",
        [
            { proven: true } => Info "rotation done: the old generation is proven dead" Ended::Step(Prove, Went),
            { proven: false } => Info "rotation done: the old generation is over" Ended::Nothing,
        ];
    /// It stays known until then. Its secret is erased.
    LeftToExpire { #[serde(rename = "remnant")] orphan: Orphan } = "left-to-expire", Kept,
        "The old generation cannot be revoked and is left to expire",
        "revoke it at the provider by hand, if that is too long",
        [{ .. } => Warn "the old generation cannot be revoked and is left to expire" Ended::Step(Revoke, Failed)];
    UndoBegun { why: Failure, restore: bool } = "undo-begun", Kept,
        "The new generation is being taken back; the old one stays in use", "",
        [{ .. } => Error "taking the new generation back; the old one stays in use"
            Ended::Step(HandOver, Failed)];
    /// `orphan`: it could not be revoked. `revoke_at`: one that was recalled goes on retiring, and is not revoked before
    /// this. Accounts may have been lent what was taken back.
    Undone { #[serde(rename = "remnant")] orphan: Option<Orphan>, next: Time, revoke_at: Option<Time> } = "undone", Changed,
        "The new generation was taken back",
        "where the line says so, revoke the new generation by hand: its name at the provider is `marker`",
        [
            { orphan: None, .. } => Info "the new generation was taken back" Ended::Step(Undo, Went),
            { orphan: Some(Orphan::Deferred { .. }), .. } => Warn
                "the new generation is taken out of use and revoked later" Ended::Step(Undo, Failed),
            { orphan: Some(Orphan::Unrevocable { .. } | Orphan::UnknownMint { .. }), .. } => Error
                "the new generation cannot be revoked: revoke it by hand, or it lives until it expires"
                Ended::Step(Undo, Failed),
        ];
    RenewalIntended { intent: Intent } = "renewal-intended", Kept,
        "A renewal in place begins", "",
        [{ .. } => Info "renewing in place" Ended::Nothing];
    RenewalPostponed { failure: Failure, next: Time } = "renewal-postponed", Kept,
        "The renewal was not begun and is tried again", "",
        [{ .. } => Warn "the renewal was not begun and is tried again" Ended::Step(Renew, Failed)];
    /// The renewal certainly did not happen; `spent`: the provider says that it never will.
    RenewalRefused { failure: Failure, next: Time, spent: bool } = "renewal-refused", Kept,
        "The provider did not renew; it is tried again, or the token is replaced", "",
        [
            { spent: false, .. } => Warn "not renewed; it is tried again" Ended::Step(Renew, Failed),
            { spent: true, .. } => Error "it cannot be renewed any more; it needs a replacement"
                Ended::Step(Renew, Failed),
        ];
    RenewalUnknown { failure: Failure } = "renewal-doubted", Kept,
        "The outcome of a renewal is unknown; it is not repeated", "",
        [{ .. } => Error "the outcome of the renewal is unknown: the secret at hand is tried before anything else"
            Ended::Step(Renew, Unknown)];
    RenewalExamined { dead: Option<Failure> } = "renewal-examined", Kept,
        "After a renewal of unknown outcome it is known whether the secret at hand still works",
        "nothing: the token is replaced. Where its provider cannot mint, `replacement-due` asks for a new one",
        [
            { dead: None } => Warn
                "after a renewal of unknown outcome the secret at hand still works; it is replaced, not renewed again"
                Ended::Step(Examine, Went),
            { dead: Some(_) } => Error
                "after a renewal of unknown outcome the secret at hand is dead; it needs a replacement at once"
                Ended::Step(Examine, Failed),
        ];
    Renewed { generation: Box<Generation> } = "renewed", Changed,
        "The renewed secret is in the journal", "",
        [{ .. } => Info "renewed; the new secret is in the journal" Ended::Step(Renew, Went)];
    /// `proven` is false where the definition has no way to ask.
    /// `again`: it does not live longer than the one before, and is not renewed again before this.
    RenewalVerified { proven: bool, #[serde(default, skip_serializing_if = "Option::is_none")] again: Option<Time> } = "renewal-verified", Changed,
        "The renewed secret goes to its consumers", "",
        [{ .. } => Info "the renewed secret goes to its consumers" Ended::Step(Verify, Went)];
    /// `next`: where nothing but a renewal can help, it is renewed again then.
    RenewalRejected { failure: Failure, next: Option<Time> } = "renewal-rejected", Kept,
        "The renewed secret is not accepted; the token is replaced, or renewed once more where its provider cannot mint",
        "",
        [{ .. } => Error "the renewed secret is not accepted; the token needs another one"
            Ended::Step(Verify, Failed)];
    FoundDead { failure: Failure } = "found-dead", Kept,
        "The provider does not accept the current secret any more; it is rotated at once",
        "find out who revoked it, unless you did",
        [{ .. } => Error "the provider does not accept the current secret any more; it needs a new one at once"
            Ended::Step(Examine, Failed)];
    /// `over`: the expiry of a token that nobody can ask about lies in the past.
    Observed {
        id: Option<RemoteId>,
        expires: Option<Expiry>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        over: bool,
    } = "observed", Kept,
        "The provider told more of the token", "",
        [
            { over: true, .. } => Warn "the provider says that the token in use has expired; it is replaced" Ended::Nothing,
            { over: false, .. } => Info "the provider told more of the token" Ended::Nothing,
        ];
    /// It is owed again, hooks too. `added`: the inventory named it after the delivery, which is no drift.
    StoreOwed {
        store: StoreKey,
        found: String,
        revoke_at: Option<Time>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        added: bool,
        /// Consumers read the right value, or were told of a repair a moment ago: hooks are not owed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        quiet: bool,
        /// When hooks are owed after all: consumers may have read the wrong value meanwhile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tell_at: Option<Time>,
    } = "store-owed", Kept,
        "A store does not hold what was delivered; it is written again",
        "find out what else writes to that place, where it happens again",
        [
            { added: true, .. } => Info "a store was added to the inventory; it is written next" Ended::Nothing,
            { added: false, .. } => Warn "the store is written again" Ended::Step(Inspect, Drifted),
        ];
    ConsumersOwed {} = "consumers-owed", Kept,
        "Consumers are told of a value that was changed and written again meanwhile",
        "find out what else writes to that place",
        [{ .. } => Info "consumers are told of a value that was changed and written again meanwhile" Ended::Nothing];
    Redelivered {} = "redelivered", Kept,
        "Every store and hook is done again", "",
        [{ .. } => Info "every store and hook is done" Ended::Nothing];
    /// `revoked`: it was found and revoked after all.
    OrphanEnded { #[serde(rename = "remnant")] orphan: Orphan, revoked: bool } = "remnant-ended", Kept,
        "An orphan is over", "",
        [
            { revoked: true, .. } => Info "an orphan was revoked" Ended::Step(Reap, Went),
            { revoked: false, .. } => Info "an orphan is over" Ended::Nothing,
        ];
    ReapFailed { #[serde(rename = "remnant")] orphan: Orphan, failure: Failure, next: Time } = "reap-failed", Kept,
        "An orphan was not revoked; it is tried again", "",
        [{ .. } => Warn "an orphan was not revoked; it is tried again" Ended::Step(Reap, Failed)];
    /// It is remembered like the orphan of an unknown mint that turned up.
    ReapRequested { #[serde(rename = "remnant")] orphan: Orphan } = "reap-requested", Kept,
        "An operator wants an orphan revoked; it is revoked as soon as it is listed again", "",
        [{ .. } => Info "an operator wants an orphan revoked" Ended::Nothing];
    /// The fingerprints of the secrets that the journal holds, by generation and part.
    /// That counts as having happened now. `revoke_at`: no old generation is kept longer than this for what was noted then.
    ClockSetBack { revoke_at: Time } = "clock-set-back", Kept,
        "Our clock was ahead when some of this happened: it counts as having happened now",
        "see that the clock is synchronised before the daemon starts",
        [{ .. } => Warn "the clock was ahead when some of this happened: it counts as having happened now" Ended::Nothing];
    Resealed { fingerprints: BTreeMap<GenerationNo, Few<String, Fingerprint>> } = "resealed", Kept,
        "The journal's secrets are sealed with a new key", "",
        [{ .. } => Info "the secrets are sealed with a new key" Ended::Nothing];
    SecretLost { number: GenerationNo, failure: Failure } = "secret-lost", Kept,
        "The secret cannot be read from the journal; the token will be rotated", "",
        [{ .. } => Error "the secret cannot be read from the journal; the token will be rotated" Ended::Nothing];
}

impl Event {
    /// A store that the inventory names since the delivery.
    pub fn store_added(store: StoreKey) -> Self {
        Self::StoreOwed {
            store,
            found: "added to the inventory".to_owned(),
            revoke_at: None,
            added: true,
            quiet: false,
            tell_at: None,
        }
    }

    /// Whether a stop, or an edit of the inventory, withdrew a request before it was sent.
    pub fn is_withdrawn(&self) -> bool {
        let (Self::MintRefused { failure, .. } | Self::RenewalRefused { failure, .. }) = self else { return false };
        failure.code == FailureCode::Withdrawn
    }

    /// Why something did not go well, where the event tells.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::ReplacementRefused { failure }
            | Self::InitialRefused { failure }
            | Self::Postponed { failure, .. }
            | Self::MintRefused { failure, .. }
            | Self::MintUnknown { failure }
            | Self::MintedInPlace { failure }
            | Self::StoreFailed { failure, .. }
            | Self::EraseFailed { failure, .. }
            | Self::HookFailed { failure, .. }
            | Self::HookWaived { failure, .. }
            | Self::FoundAlive { failure, .. }
            | Self::UndoBegun { why: failure, .. }
            | Self::RenewalPostponed { failure, .. }
            | Self::RenewalRefused { failure, .. }
            | Self::RenewalUnknown { failure }
            | Self::RenewalRejected { failure, .. }
            | Self::FoundDead { failure }
            | Self::ReapFailed { failure, .. }
            | Self::SecretLost { failure, .. } => Some(failure),
            Self::RenewalExamined { dead } => dead.as_ref(),
            Self::Minted { candidate } => candidate.rejection.as_ref(),
            Self::Activated { vain, .. } | Self::ActivatedEarly { vain, .. } => vain.as_ref(),
            _ => None,
        }
    }
}
