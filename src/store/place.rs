//! Where a store is that may leave the inventory: enough to find what patrold wrote there, and to take it out again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::inventory::{StoreKind, StorePolicy};
use crate::names::AccountName;
use crate::outcome::Told;
use crate::provider::Params;

/// What became of a value that was to be taken out of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erased {
    /// It is there no more.
    Gone,
    /// The store keeps what it holds; why, in words that complete "the store …".
    Stays(String),
}

impl Told for Erased {}

/// In words that complete "the store …": its value is not the one that patrold delivered.
pub(super) const ELSE: &str = "holds something else than was delivered";

/// What of a store's policy survives its entry. Stored state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Place {
    /// A file that holds the secret and nothing else.
    File {
        /// Absolute.
        path: PathBuf,
    },
    /// A slot of a service.
    Service {
        /// The account that reaches it.
        account: AccountName,
        /// Those of the account overlaid with those of the store.
        params: Params,
    },
}

impl Place {
    /// That of a store whose value can be taken out.
    pub fn of(policy: &StorePolicy) -> Option<Self> {
        policy.erasable().ok()?;
        match &policy.kind {
            StoreKind::File(file) => Some(Self::File { path: file.path.clone() }),
            StoreKind::Command(_) => None,
            StoreKind::Remote(remote) => {
                Some(Self::Service { account: remote.account.clone(), params: remote.params.clone() })
            }
        }
    }
}
