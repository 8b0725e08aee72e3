//! What went wrong with the database, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::lease::LockError;
use crate::journal::key::KeyError;
use crate::outcome::{Failure, FailureCode};

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the state directory {} cannot be used: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("there is no journal at {}: the daemon has not run with this state directory", .0.display())]
    Missing(PathBuf),
    /// Nothing that this process can read opens what is sealed. See [`crate::journal::key`].
    #[error(
        "the key does not open the journal {}: {secrets} {} sealed under another key",
        path.display(), if *secrets == 1 { "secret is" } else { "secrets are" }
    )]
    KeyLost { path: PathBuf, secrets: usize },
    #[error("{} is a database of another program", .0.display())]
    Foreign(PathBuf),
    #[error("{} was written by a newer patrold (version {found}, this one knows {known}): run that one, or restore a backup", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("{} holds {what}, which patrold did not write: keep a copy, and restore a backup", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{}", describe(path, source))]
    Database { path: PathBuf, source: rusqlite::Error },
}

impl OpenError {
    /// How to go on, where the message itself does not say so.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::KeyLost { .. } => Some(KEY_LOST),
            _ => None,
        }
    }
}

const KEY_LOST: &str = "give patrold the key that sealed them: LoadCredentialEncrypted= or LoadCredential= of the unit, or \
     `seal-key` in [daemon]; a command typed by hand has no credential of the unit, so start the daemon and let it do the \
     work; if the key is lost for good, `patrold journal rekey --key-lost` gives these secrets up, and their tokens are \
     rotated once";

/// Why the chain of records could not be followed to its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Broken(#[from] crate::journal::record::Broken),
    #[error(transparent)]
    Read(#[from] OpenError),
}

/// The failure of a step whose commit or read failed.
pub(super) fn failure(path: &Path, error: &rusqlite::Error) -> Failure {
    Failure::new(FailureCode::Journal, describe(path, error))
}

/// `error` in one line, with its remedy.
pub(super) fn describe(path: &Path, error: &rusqlite::Error) -> String {
    let path = path.display();
    let Some(code) = error.sqlite_error_code() else {
        return format!("{path}: {error}");
    };
    match code {
        ErrorCode::DiskFull => {
            format!("no space is left for {path}: free some; the journal goes on by itself")
        }
        ErrorCode::ReadOnly => {
            format!("{path} cannot be written: make it and its directory writable, or mount the file system writable")
        }
        ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::AuthorizationForStatementDenied => {
            format!(
                "{path} cannot be opened: see that this user owns it and its directory, and that the directory is there"
            )
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            format!("{path} is locked by another process: close what has it open, a database shell or a backup")
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            format!("{path} is damaged ({error}): stop the daemon, keep a copy, and restore a backup")
        }
        ErrorCode::SystemIoFailure => {
            format!(
                "the disk failed under {path} ({error}): see the kernel's log; the journal goes on when the disk does"
            )
        }
        _ => format!("{path}: {error}"),
    }
}
