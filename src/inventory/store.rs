//! Where the secrets of a token go.
//!
//! A **target** is what is read and written as one thing: a file, whatever it holds. A **slot** is the place of one secret
//! in it: the whole file, or a key of it. A [`StoreKey`] names a slot, a [`TargetKey`](crate::names::TargetKey) a target.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::names::{AccountName, StoreKey, TargetKey};

/// One store of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePolicy {
    /// Names the slot; unique among all stores of the inventory.
    pub key: StoreKey,
    /// Which part of the secret it gets.
    pub part: String,
    /// What becomes of a value that was there before.
    pub existing: Existing,
    /// What becomes of a value that somebody wrote over one of patrold's.
    pub on_drift: OnDrift,
    pub kind: StoreKind,
}

impl StorePolicy {
    /// The file of this machine that is replaced by a write: its directory is watched, swept of temporary files, and must
    /// be one that consumers see. `None` where the store is no file here.
    pub fn replaces(&self) -> Option<&Path> {
        match &self.kind {
            StoreKind::File(file) => Some(&file.path),
            StoreKind::Command(_) => None,
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

    /// The programs that it runs.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let commands = match &self.kind {
            StoreKind::Command(command) => Some(std::iter::once(&command.write).chain(&command.read)),
            StoreKind::File(_) => None,
        };
        commands.into_iter().flatten().filter_map(|argv| argv.first()).map(String::as_str)
    }
}

/// What becomes of a value that was in a slot before patrold first wrote to it, and that is no secret of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and no rotation is begun.
    Refuse,
    /// It is replaced.
    Replace,
}

/// What becomes of a value that somebody wrote over one of patrold's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDrift {
    /// What was delivered is written again.
    Repair,
    /// It stays, and the store is owed until somebody decides.
    Report,
}

/// The kinds of stores, each with all that it needs to reach its target. Closed, so that an unhandled kind does not
/// compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A file of this machine.
    File(FilePolicy),
    /// Whatever a program of the operator's reads and writes.
    Command(CommandPolicy),
}

/// Programs that read and write a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandPolicy {
    /// What the inventory calls the slot; unique among all stores of programs.
    pub name: String,
    /// Writes of one target take turns.
    pub target: TargetKey,
    /// Whose share of the programs at once it takes.
    pub account: AccountName,
    /// Program and arguments, never through a shell. It gets the secret on its standard input.
    pub write: Vec<String>,
    /// The same; it prints the secret. `None`: nobody can look.
    pub read: Option<Vec<String>>,
    pub timeout: Duration,
    /// Names of the daemon's environment variables that they may see.
    pub pass_env: Vec<String>,
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
