//! What can go wrong with a file, in words for people, and whether the new content may be visible all the same.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The steps of a replacement, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The way to the parent directory.
    Resolve,
    /// Looking at what is there.
    Inspect,
    /// Making the temporary file.
    Create,
    /// Giving it its owner and mode.
    Own,
    /// Writing the content.
    Write,
    /// Bringing the content to the disk.
    Sync,
    /// Putting the new content in the target's place.
    Rename,
    /// Bringing the directory to the disk. The new content is visible already.
    SyncDirectory,
}

/// Why a file could not be replaced or read.
#[derive(Debug)]
pub struct DurableError {
    path: PathBuf,
    phase: Phase,
    cause: Cause,
}

/// What was in the way.
#[derive(Debug)]
pub enum Cause {
    /// The system refused.
    Io(io::Error),
    /// The rules of this module, or of the caller's check, refused; says why and what helps.
    Refused(String),
    /// The caller's check found that the target is not what it was.
    Changed,
}

impl DurableError {
    pub(super) fn new(path: &Path, phase: Phase, cause: Cause) -> Self {
        Self { path: path.to_owned(), phase, cause }
    }

    /// The step that failed.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a reader may see the new content already, though it may still be lost in a power failure.
    pub fn may_be_visible(&self) -> bool {
        self.phase == Phase::SyncDirectory
    }

    /// Whether the target changed between being read and being replaced.
    pub fn is_changed(&self) -> bool {
        matches!(self.cause, Cause::Changed)
    }

    /// Whether the file may be there and may not be looked into, although the way to it is open.
    pub fn is_denied(&self) -> bool {
        self.phase == Phase::Inspect && self.io().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    /// The system's error, where it was the system that refused.
    pub fn io(&self) -> Option<&io::Error> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            Cause::Refused(_) | Cause::Changed => None,
        }
    }
}

impl fmt::Display for DurableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.phase {
            Phase::Resolve => write!(f, "cannot reach the directory of {path}"),
            Phase::Inspect => write!(f, "cannot use {path}"),
            Phase::Create => write!(f, "cannot create a temporary file beside {path}"),
            Phase::Own => write!(f, "cannot give {path} its owner and mode"),
            Phase::Write => write!(f, "cannot write the new content of {path}"),
            Phase::Sync => write!(f, "cannot sync the new content of {path}"),
            Phase::Rename => write!(f, "cannot replace {path}"),
            Phase::SyncDirectory => write!(f, "{path} was replaced, but its directory cannot be synced"),
        }?;
        match &self.cause {
            Cause::Io(error) => write!(f, ": {error}{}", remedy(self.phase, error)),
            Cause::Refused(why) => write!(f, ": {why}"),
            Cause::Changed => write!(f, ": it was changed meanwhile"),
        }
    }
}

impl std::error::Error for DurableError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io().map(|error| error as _)
    }
}

impl From<Errno> for Cause {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn remedy(phase: Phase, error: &io::Error) -> &'static str {
    match (phase, error.raw_os_error().map(Errno::from_raw_os_error)) {
        (Phase::Rename, Some(Errno::BUSY)) => "; it is mounted as a single file: mount its directory instead",
        (Phase::Resolve, Some(Errno::NOENT)) => "; directories are not created: make it, owned by the consumer",
        (Phase::Own, Some(Errno::PERM)) => {
            "; only root may give files away: run patrold as root or drop owner and group"
        }
        (Phase::Create | Phase::Rename, Some(Errno::ROFS)) => {
            "; the file system is read-only: a systemd unit needs ReadWritePaths= for it"
        }
        _ => "",
    }
}
