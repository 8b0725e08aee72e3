//! How far a generation is on its way to consumers. Stored state.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::few::Few;
use crate::names::{HookKey, StoreKey};
use crate::secret::Fingerprint;
use crate::store::Place;

use super::generation::Retry;

/// Stores and hooks, one durable row each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Stores that were tried.
    pub stores: Few<StoreKey, Progress>,
    /// Hooks that were tried.
    pub hooks: Few<HookKey, Progress>,
    /// When every store and hook was done. Until then, one without a row is owed; afterwards, a hook that the
    /// inventory adds is not run for an old delivery.
    pub settled: Option<Time>,
    /// Owed stores whose consumers need not be told once they are written.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub quiet: BTreeSet<StoreKey>,
    /// When consumers are told of a repair that was kept quiet: they may have read what it took away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<Time>,
}

impl Delivery {
    /// Whether the store has acknowledged.
    pub fn has_store(&self, key: &StoreKey) -> bool {
        matches!(self.stores.get(key), Some(Progress::Done { .. }))
    }

    /// Whether the hook has succeeded, or was waived.
    pub fn has_hook(&self, key: &HookKey) -> bool {
        matches!(self.hooks.get(key), Some(Progress::Done { .. }))
    }
}

/// What a store was given that loses it again once it leaves the inventory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Where it is.
    pub place: Place,
    /// What was delivered.
    pub fingerprint: Fingerprint,
    /// It was tried to take it out, and is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// How far a store or a hook got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "progress", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Progress {
    /// Acknowledged.
    Done {
        /// When.
        at: Time,
    },
    /// Tried in vain; owed.
    Failed(Retry),
}
