//! All that the journal knows of one token. Its phase holds the generations that are alive.
//!
//! Everything in this file and in those that it passes on is stored state: it is written to the journal as JSON. Variants and fields are added, never
//! renamed or reused.

#![warn(missing_docs)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::few::Few;
use crate::inventory::{StorePolicy, TokenPolicy};
use crate::names::{GenerationNo, HookKey, Marker, StoreKey};
use crate::secret::Fingerprint;
use crate::store::{Known, Receipt};

pub use super::delivery::{Claim, Delivery, Progress};
pub use super::generation::{Generation, Noted, Retry};
pub use super::orphan::Orphan;
pub use super::phase::{Candidate, Current, Intent, Origin, Phase, Retiring, Search, Undo};

/// The version of what this file describes. A field or variant that an older version must not overlook raises it; one
/// that it may overlook is kept in [`TokenState::rest`].
pub const VERSION: u32 = 1;

/// The version that a state was written by. States of the first releases do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateVersion(pub u32);

impl Default for StateVersion {
    fn default() -> Self {
        Self(VERSION)
    }
}

/// All that the journal knows of one token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenState {
    /// What it was written by; see [`VERSION`].
    #[serde(default)]
    pub version: StateVersion,
    /// Where the token is in its life.
    pub phase: Phase,
    /// The highest generation number that was ever intended.
    pub last_number: GenerationNo,
    /// The step that comes next failed before, and when it is tried again.
    pub retry: Option<Retry>,
    /// Rotations that ended without a handover since the last one that succeeded.
    pub failed_rotations: u32,
    /// The last thing that went wrong; stays until a handover succeeds.
    pub last_failure: Option<Noted>,
    /// The secret to adopt was refused; a token is minted instead.
    #[serde(default)]
    pub initial_refused: bool,
    /// An operator asked for a rotation that has not begun yet.
    pub requested: Option<Time>,
    /// An operator retired the token: once it has left the inventory, it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retirement: Option<Retirement>,
    /// The journal was new when something of the token existed already: it is not minted before an operator asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held_back: bool,
    /// When a new secret was last handed over.
    pub last_success: Option<Time>,
    /// Keyed hashes of the secret that was adopted last: another one in its place is adopted, too, where the provider
    /// cannot mint.
    #[serde(default, skip_serializing_if = "Few::is_empty")]
    pub adopted: Few<String, Fingerprint>,
    /// Of the last write to each store that gives receipts.
    #[serde(default, skip_serializing_if = "Few::is_empty")]
    pub receipts: Few<StoreKey, Receipt>,
    /// Writes that were begun to stores that hide what they hold, and of which nobody knows whether they were done.
    #[serde(default, skip_serializing_if = "Few::is_empty")]
    pub writing: Few<StoreKey, Time>,
    /// What stores hold that loses it again once they leave the inventory.
    #[serde(default, skip_serializing_if = "Few::is_empty")]
    pub claims: Few<StoreKey, Claim>,
    /// Live credentials that no variant of `phase` holds: they end by themselves, or are revoked when that is possible.
    #[serde(rename = "remnants")]
    pub orphans: Vec<Orphan>,
    /// What a newer release of the same version wrote besides: kept, and written back.
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

/// The end of a token that nobody needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retirement {
    /// When an operator asked for it.
    pub asked: Time,
    /// Not revoked before this.
    pub revoke_at: Time,
}

impl Retirement {
    /// It waits for nobody, also not for those who still use the token.
    pub fn is_immediate(&self) -> bool {
        self.revoke_at <= self.asked
    }
}

impl TokenState {
    /// Whether nothing of the token is alive, or may be, and nothing of it is to be taken out of stores.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Vacant && self.orphans.is_empty() && self.claims.is_empty()
    }

    /// Puts what `policy` has already in the place of copies of it.
    pub fn share(&mut self, policy: &TokenPolicy) {
        for generation in self.phase.generations_mut() {
            if let Some(params) = &mut generation.params {
                params.share(&policy.params);
            }
            if generation.account == policy.account.name {
                generation.account = policy.account.name.clone();
            }
        }
        if let Some(current) = self.phase.current_mut() {
            current.delivery.stores.share(policy.stores.iter().map(|store| &store.key));
            current.delivery.hooks.share(policy.hooks.iter().map(|hook| &hook.key));
        }
        self.receipts.share(policy.stores.iter().map(|store| &store.key));
        self.writing.share(policy.stores.iter().map(|store| &store.key));
        self.claims.share(policy.stores.iter().map(|store| &store.key));
    }

    /// Whether a secret from outside may still become generation 0.
    pub fn may_adopt(&self) -> bool {
        self.last_number == GenerationNo(0) && !self.initial_refused
    }

    /// Whether something waits for another try that failed for want of a good credential.
    pub fn lacked_credential(&self) -> bool {
        self.retries().any(Retry::lacked_credential)
    }

    /// Whether something waits for another try that failed because the provider could not be reached, or did not work.
    pub fn waits_for_provider(&self) -> bool {
        self.retries().any(|retry| retry.failure.code.is_outage())
    }

    /// Whether a store or a hook is owed after a failure.
    pub fn owes(&self) -> bool {
        let failed = |row: &Progress| matches!(row, Progress::Failed(_));
        self.owes_store() || self.delivery().is_some_and(|delivery| delivery.hooks.values().any(failed))
    }

    /// Whether a store is owed after a failure.
    pub fn owes_store(&self) -> bool {
        let failed = |row: &Progress| matches!(row, Progress::Failed(_));
        self.delivery().is_some_and(|delivery| delivery.stores.values().any(failed))
    }

    /// Whether consumers have a secret, or are about to, and the store has not acknowledged it.
    pub fn lacks_store(&self, store: &StoreKey) -> bool {
        self.delivery().is_some_and(|delivery| !delivery.has_store(store))
    }

    /// Whether the hook has not succeeded since the stores were written, and was tried.
    pub fn lacks_hook(&self, hook: &HookKey) -> bool {
        self.delivery().is_some_and(|delivery| matches!(delivery.hooks.get(hook), Some(Progress::Failed(_))))
    }

    /// Whether a store or a hook was tried in vain, of the delivery under way or the last one.
    pub fn owes_anything(&self) -> bool {
        let failed = |row: &Progress| matches!(row, Progress::Failed(_));
        let of = |delivery: &Delivery| delivery.stores.values().any(failed) || delivery.hooks.values().any(failed);
        self.delivery().is_some_and(of)
    }

    /// The delivery under way, or else the last one.
    fn delivery(&self) -> Option<&Delivery> {
        let under_way = match &self.phase {
            Phase::Undoing { undo, .. } => Some(&undo.restored),
            phase => phase.candidate().map(|candidate| &candidate.delivery),
        };
        under_way.or(self.phase.current().map(|current| &current.delivery))
    }

    /// Everything that was asked of a provider and waits for another try.
    fn retries(&self) -> impl Iterator<Item = &Retry> {
        let renewal = self.phase.current().and_then(|current| current.renewal_retry.as_ref());
        self.retry.iter().chain(renewal).chain(self.orphans.iter().filter_map(Orphan::retry))
    }

    /// The markers of everything that this state accounts for.
    pub fn markers(&self) -> impl Iterator<Item = &str> {
        let phase = &self.phase;
        let minted = phase.generations().filter_map(|generation| generation.marker.as_ref());
        let intended = phase.intent().map(|intent| &intent.marker);
        let orphans = self.orphans.iter().filter_map(Orphan::marker);
        minted.chain(intended).chain(orphans).map(Marker::as_str)
    }

    /// The generation that the consumers of a store are to have now, as another token's delivery has to know: the new one
    /// once the store has it, or where there is none before it and it is proven; else the current one.
    pub fn shown_to_consumers(&self, store: &StoreKey) -> Option<&Generation> {
        let proven = match &self.phase {
            Phase::Verified { candidate, .. } | Phase::Delivered { candidate, .. } => Some(candidate),
            _ => None,
        };
        let current = self.phase.current().map(|current| &current.generation);
        let delivered = proven.filter(|candidate| candidate.delivery.has_store(store) || current.is_none());
        delivered.map(|candidate| &candidate.generation).or(current)
    }

    /// What is known of the slot of a store, and of those that are written with it.
    pub fn known_of(&self, store: &StorePolicy) -> Known {
        let beside = store.beside().map(|(key, part)| (key.clone(), self.known_of_slot(key, part)));
        Known { beside: beside.collect(), ..self.known_of_slot(&store.key, &store.part) }
    }

    fn known_of_slot(&self, store: &StoreKey, part: &str) -> Known {
        let generations = self.generations().filter_map(|generation| generation.fingerprints.get(part));
        let written = || {
            let candidate = self.phase.candidate().map(|candidate| &candidate.delivery);
            let current = self.phase.current().map(|current| &current.delivery);
            let delivered = candidate.into_iter().chain(current).any(|delivery| delivery.has_store(store));
            // Stores of older journals have none.
            delivered.then(Receipt::default)
        };
        Known {
            ours: generations.chain(self.adopted.get(part)).cloned().collect(),
            receipt: self.receipts.get(store).cloned().or_else(written),
            beside: Vec::new(),
            begun: self.writing.get(store).copied(),
        }
    }

    /// The generation whose revocation was left for later and that `orphan` takes the place of.
    pub(crate) fn deferred(&self, orphan: &Orphan) -> Option<&Generation> {
        let Orphan::Unrevocable { number, .. } = orphan else { return None };
        self.orphans.iter().find_map(|known| match known {
            Orphan::Deferred { generation, .. } if generation.number == *number => Some(generation.as_ref()),
            _ => None,
        })
    }

    /// Every generation that may have a secret in the journal: those of the phase, and those whose revocation was left for
    /// later.
    pub fn generations(&self) -> impl Iterator<Item = &Generation> {
        let deferred = self.orphans.iter().filter_map(|orphan| match orphan {
            Orphan::Deferred { generation, .. } => Some(generation.as_ref()),
            Orphan::Unrevocable { .. } | Orphan::UnknownMint { .. } => None,
        });
        self.phase.generations().chain(deferred)
    }
}
