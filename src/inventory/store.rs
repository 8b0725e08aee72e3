//! Where the secrets of a token go.
//!
//! A **target** is what is read and written as one thing: a file, whatever it holds. A **slot** is the place of one secret
//! in it: the whole file, or a key of it. A [`StoreKey`] names a slot, a [`TargetKey`](crate::names::TargetKey) a target.

use std::path::{Path, PathBuf};

use crate::names::StoreKey;

/// One store of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePolicy {
    /// Names the slot; unique among all stores of the inventory.
    pub key: StoreKey,
    /// Which part of the secret it gets.
    pub part: String,
    pub kind: StoreKind,
}

impl StorePolicy {
    /// The file of this machine that is replaced by a write: its directory is watched, swept of temporary files, and must
    /// be one that consumers see. `None` where the store is no file here.
    pub fn replaces(&self) -> Option<&Path> {
        match &self.kind {
            StoreKind::File(file) => Some(&file.path),
        }
    }

    /// The numbers of the user and the group that the file is given to.
    pub fn given_to(&self) -> (Option<u32>, Option<u32>) {
        match &self.kind {
            StoreKind::File(file) => (file.owner, file.group),
        }
    }

    /// The directory of that file.
    pub fn directory(&self) -> Option<&Path> {
        self.replaces().map(|path| path.parent().unwrap_or(Path::new("/")))
    }
}

/// The kinds of stores, each with all that it needs to reach its target. Closed, so that an unhandled kind does not
/// compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A file of this machine.
    File(FilePolicy),
}

/// A file, and the slot in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePolicy {
    /// Absolute.
    pub path: PathBuf,
    /// Permission bits. A file with other content that exists already keeps its own where the inventory gives none.
    pub mode: Option<u32>,
    /// Resolved when the inventory was loaded.
    pub owner: Option<u32>,
    pub group: Option<u32>,
    pub format: Format,
}

/// What a file holds, and where in it the secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// The secret and nothing else. `newline`: one follows it.
    Whole { newline: bool },
    /// One variable of an env file.
    Env { key: String, dialect: Dialect },
}

impl Format {
    /// Whether the file holds more than the secret, which stays as it is.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Whole { .. } => false,
            Self::Env { .. } => true,
        }
    }

    /// Whether one file can have a slot of this format and one of `other`.
    pub fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Env { dialect, .. }, Self::Env { dialect: other, .. }) => dialect == other,
            (Self::Whole { .. }, _) | (_, Self::Whole { .. }) => false,
        }
    }
}

/// Who reads an env file. There is no guessing from the file's name: readers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// systemd's `EnvironmentFile=`.
    Systemd,
    /// `docker --env-file`.
    Docker,
    /// compose, godotenv, Node, Python and Ruby at once.
    Dotenv,
    /// `set -a; . FILE` in a POSIX shell.
    PosixSh,
}
