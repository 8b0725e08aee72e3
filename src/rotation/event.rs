//! What happened to a token, in past tense: the journal's records.
//!
//! Stored state: events are added, never renamed or reused; old ones stay readable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::{Candidate, Generation, Intent, Orphan};
use crate::clock::Time;
use crate::names::{GenerationNo, HookKey, RemoteId, RotationId, StoreKey};
use crate::outcome::Failure;
use crate::provider::{Expiry, Remote};
use crate::secret::Fingerprint;

/// What was found of a store that the inventory named after the delivery: not drift.
pub const ADDED: &str = "added to the inventory";

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident $({ $($(#[$attribute:meta])* $field:ident: $type:ty),* $(,)? })? = $name:literal;)*) => {
        /// One thing that happened to one token.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "event")]
        pub enum Event {
            $($(#[$doc])* #[serde(rename = $name)] $variant $({ $($(#[$attribute])* $field: $type),* })?,)*
        }

        impl Event {
            /// The stable name of the event.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name,)* }
            }

            /// The stable name of every event.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];
        }
    };
}

events! {
    /// An existing secret was taken over as generation 0.
    Adopted { generation: Generation } = "adopted";
    /// The current generation is due for a replacement that nobody but an operator can bring: its provider cannot mint.
    /// `reason`: the stable code of the rule that says so.
    ReplacementDue { reason: String } = "replacement-due";
    /// An operator brought another token in place of the current one, which retires.
    Replaced { generation: Box<Generation>, rotation: RotationId, revoke_at: Time } = "replaced";
    /// A secret that an operator brought in place of the current one is not accepted by the provider.
    ReplacementRefused { failure: Failure } = "replacement-refused";
    /// The secret to adopt is not accepted: a token is minted in its place.
    InitialRefused { failure: Failure } = "initial-refused";
    /// A credential changed: what failed for want of a good one is tried again now.
    BackoffEnded {} = "backoff-ended";
    /// An operator asked for a rotation.
    Requested {} = "requested";
    /// An operator said that others have the secret: every generation is replaced, and revoked without grace.
    Compromised {} = "compromised";
    /// An operator brought a secret to take over; it is in the journal, and proven next.
    Offered { candidate: Box<Candidate> } = "offered";
    /// An operator asked for the generation before the current one; it is proven next. `orphan`: it was waiting for a
    /// revocation that had been left for later.
    Recalled { candidate: Box<Candidate>, #[serde(rename = "remnant")] orphan: Option<Orphan> } = "recalled";
    /// The step that comes next failed and will be tried again; nothing happened at the provider.
    Postponed { failure: Failure, next: Time } = "postponed";
    /// A mint is about to be asked for.
    Intended { intent: Intent } = "intended";
    /// The mint certainly did not happen; the intent is dropped.
    MintRefused { failure: Failure, next: Time } = "mint-refused";
    /// Nobody knows whether the mint happened.
    MintUnknown { failure: Failure } = "mint-doubted";
    /// A token with the marker of the lost mint was found.
    OrphanFound { remote: Remote } = "orphan-found";
    /// The orphan was revoked, or was gone already.
    OrphanRevoked { next: Time } = "orphan-revoked";
    /// The search ended without a revocation; what may still be alive is remembered.
    SearchEnded { #[serde(rename = "remnant")] orphan: Orphan, next: Time } = "search-ended";
    /// The provider minted; the secret is in the journal.
    Minted { candidate: Box<Candidate> } = "minted";
    /// The new secret was accepted by the provider; `proven` is false where the definition has no way to ask.
    Verified { proven: bool, id: Option<RemoteId>, expires: Option<Expiry> } = "verified";
    /// A store acknowledged.
    StoreWritten { store: StoreKey } = "store-written";
    /// A store could not be written.
    StoreFailed { store: StoreKey, failure: Failure, next: Time } = "store-failed";
    /// Every store of the inventory acknowledged.
    Delivered {} = "delivered";
    /// A hook succeeded.
    HookSucceeded { hook: HookKey } = "hook-succeeded";
    /// A hook failed.
    HookFailed { hook: HookKey, failure: Failure, next: Time } = "hook-failed";
    /// A hook failed, and the inventory says to go on without it.
    HookWaived { hook: HookKey, failure: Failure } = "hook-waived";
    /// The new generation is current.
    Activated { revoke_at: Time } = "activated";
    /// The new generation is current although stores or hooks are still owed: it is due for a rotation itself.
    ActivatedEarly { revoke_at: Time } = "activated-early";
    /// The provider saw the old generation in use after the handover: its revocation is put off.
    StillUsed { revoke_at: Time } = "still-used";
    /// The old generation could not be revoked before the next rotation has to begin: it is revoked later.
    RevocationDeferred { #[serde(rename = "remnant")] orphan: Orphan } = "revocation-deferred";
    /// The old generation is revoked; `already`: the provider did not know it any more.
    Revoked { already: bool } = "revoked";
    /// The old generation was still accepted after its revocation: it is revoked again.
    FoundAlive { failure: Failure, next: Time } = "found-alive";
    /// The old generation is over, and its secret erased. `proven`: one request with it was refused.
    Retired { proven: bool } = "retired";
    /// The old generation cannot be revoked; it stays known until it expires. Its secret is erased.
    LeftToExpire { #[serde(rename = "remnant")] orphan: Orphan } = "left-to-expire";
    /// The new generation is taken back.
    UndoBegun { why: Failure, restore: bool } = "undo-begun";
    /// The new generation was taken back; `orphan`: it could not be revoked. `revoke_at`: one that was recalled goes on
    /// retiring, and is not revoked before this.
    Undone { #[serde(rename = "remnant")] orphan: Option<Orphan>, next: Time, revoke_at: Option<Time> } = "undone";
    /// A renewal in place is about to be asked for.
    RenewalIntended { intent: Intent } = "renewal-intended";
    /// A renewal in place could not be begun.
    RenewalPostponed { failure: Failure, next: Time } = "renewal-postponed";
    /// The renewal certainly did not happen; `spent`: the provider says that it never will.
    RenewalRefused { failure: Failure, next: Time, spent: bool } = "renewal-refused";
    /// Nobody knows whether the renewal happened.
    RenewalUnknown { failure: Failure } = "renewal-doubted";
    /// After a renewal of unknown outcome: whether the secret at hand still works.
    RenewalExamined { dead: Option<Failure> } = "renewal-examined";
    /// The provider renewed; the new secret is in the journal.
    Renewed { generation: Box<Generation> } = "renewed";
    /// The renewed secret was accepted; `proven` is false where the definition has no way to ask.
    RenewalVerified { proven: bool } = "renewal-verified";
    /// The renewed secret was not accepted. `next`: where nothing but a renewal can help, it is renewed again then.
    RenewalRejected { failure: Failure, next: Option<Time> } = "renewal-rejected";
    /// The provider does not accept the current generation any more.
    FoundDead { failure: Failure } = "found-dead";
    /// The provider told more of the current generation.
    Observed { id: Option<RemoteId>, expires: Option<Expiry> } = "observed";
    /// A store does not hold what was delivered, or was added to the inventory: it is owed again, hooks too.
    StoreOwed { store: StoreKey, found: String, revoke_at: Option<Time> } = "store-owed";
    /// Every store and hook that was owed after the handover is done.
    Redelivered {} = "redelivered";
    /// An orphan is over; `revoked`: it was found and revoked after all.
    OrphanEnded { #[serde(rename = "remnant")] orphan: Orphan, revoked: bool } = "remnant-ended";
    /// An orphan could not be revoked.
    ReapFailed { #[serde(rename = "remnant")] orphan: Orphan, failure: Failure, next: Time } = "reap-failed";
    /// An operator wants an orphan revoked: it is remembered like a lost mint that turned up.
    ReapRequested { #[serde(rename = "remnant")] orphan: Orphan } = "reap-requested";
    /// The journal has a new key: the fingerprints of the secrets that it holds, by generation and part.
    Resealed { fingerprints: BTreeMap<GenerationNo, BTreeMap<String, Fingerprint>> } = "resealed";
    /// The journal's copy of a generation's secret cannot be opened.
    SecretLost { number: GenerationNo, failure: Failure } = "secret-lost";
}
