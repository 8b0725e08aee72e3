//! Where a store is that may leave the inventory: enough to find what patrold wrote there, and to take it out again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::inventory::{Dialect, FilePolicy, Format, Pointer, StoreKind, StorePolicy, Syntax};
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
    /// One variable of an env file, whose other lines stay.
    Variable {
        /// Absolute.
        path: PathBuf,
        key: String,
        dialect: Dialect,
    },
    /// One value of a structured document, whose other values stay.
    Value {
        /// Absolute.
        path: PathBuf,
        syntax: Syntax,
        pointer: Pointer,
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
    /// The file, and what of it is the slot; or the account that reaches a service, and the parameters of the slot.
    pub(super) fn file(&self) -> Result<FilePolicy, (&AccountName, &Params)> {
        let (path, format) = match self {
            Self::File { path } => (path, Format::Whole { newline: false }),
            Self::Variable { path, key, dialect } => (path, Format::Env { key: key.clone(), dialect: *dialect }),
            Self::Value { path, syntax, pointer } => {
                (path, Format::Document { syntax: *syntax, pointer: pointer.clone() })
            }
            Self::Service { account, params } => return Err((account, params)),
        };
        Ok(FilePolicy { path: path.clone(), mode: None, owner: None, group: None, format })
    }

    /// That of a store whose value can be taken out.
    pub fn of(policy: &StorePolicy) -> Option<Self> {
        policy.erasable().ok()?;
        match &policy.kind {
            StoreKind::File(file) => {
                let path = file.path.clone();
                match &file.format {
                    Format::Whole { .. } => Some(Self::File { path }),
                    Format::Env { key, dialect } => Some(Self::Variable { path, key: key.clone(), dialect: *dialect }),
                    Format::Document { syntax, pointer } => {
                        Some(Self::Value { path, syntax: *syntax, pointer: pointer.clone() })
                    }
                    Format::Properties { .. }
                    | Format::Ini { .. }
                    | Format::Netrc { .. }
                    | Format::GitCredentials { .. }
                    | Format::Xml { .. }
                    | Format::Wrapped { .. } => None,
                }
            }
            StoreKind::Command(_) | StoreKind::Hosted(_) => None,
            StoreKind::Remote(remote) => {
                Some(Self::Service { account: remote.account.clone(), params: remote.params.clone() })
            }
        }
    }
}
