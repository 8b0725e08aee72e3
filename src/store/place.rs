//! Where a store is that may leave the inventory: enough to find what patrold wrote there, and to take it out again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::inventory::{Dialect, FilePolicy, Format, HostedPolicy, Pointer, StoreKind, StorePolicy, Syntax};
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
    /// One of the files of a directory that change at once; the others stay.
    Entry {
        /// Of the directory. Absolute.
        path: PathBuf,
        /// Of the file.
        name: String,
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
    /// A file of a host of consumers, which the agent there takes the value out of.
    Hosted { hosted: Box<HostedPolicy> },
}

/// What serves a place.
pub(super) enum Reach<'a> {
    /// The file, and what of it is the slot.
    File(FilePolicy),
    /// A directory, and the name of a file in it.
    Entry(&'a PathBuf, &'a str),
    /// The account that reaches a service, and the parameters of the slot.
    Service(&'a AccountName, &'a Params),
    /// A host of consumers, whose agent has to be asked.
    Host,
}

impl Place {
    pub(super) fn reach(&self) -> Reach<'_> {
        let (path, format) = match self {
            Self::File { path } => (path, Format::Whole { newline: false }),
            Self::Variable { path, key, dialect } => (path, Format::Env { key: key.clone(), dialect: *dialect }),
            Self::Value { path, syntax, pointer } => {
                (path, Format::Document { syntax: *syntax, pointer: pointer.clone() })
            }
            Self::Entry { path, name } => return Reach::Entry(path, name),
            Self::Service { account, params } => return Reach::Service(account, params),
            Self::Hosted { .. } => return Reach::Host,
        };
        Reach::File(FilePolicy { path: path.clone(), mode: None, owner: None, group: None, format })
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
                    | Format::Template(_)
                    | Format::Wrapped { .. } => None,
                }
            }
            StoreKind::Directory(directory) => {
                let name = directory.file(&policy.key)?.name.clone();
                Some(Self::Entry { path: directory.path.clone(), name })
            }
            StoreKind::Command(_) => None,
            StoreKind::Hosted(hosted) => Some(Self::Hosted { hosted: hosted.clone() }),
            StoreKind::Remote(remote) => {
                Some(Self::Service { account: remote.account.clone(), params: remote.params.clone() })
            }
        }
    }
}
