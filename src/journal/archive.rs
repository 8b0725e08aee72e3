//! Where a journal is kept, and what can be done with it besides commits: the only place that knows which kinds of journals
//! there are. Today there is one, a database in a state directory.

use std::path::{Path, PathBuf};

use super::key::{IfLost, KeySource};
use super::sqlite;
use crate::clock::Time;
use crate::durable::{self, Attributes, DurableError, Target};
use crate::names::{FleetName, InstanceId};

pub use super::sqlite::{DirectoryLock, OpenError, Opened, Pruned, VerifyError};

/// In the state directory: the name of the fleet that the journal was moved into.
const IMPORTED: &str = "journal.imported";

/// A note that is larger is none of ours.
const LARGEST_NOTE: usize = 4096;

/// The journal of a process that commits to it. It has the lease until it is dropped.
pub type OpenJournal = sqlite::SqliteJournal;

/// A journal as those see it who only look: states, records, the chain of hashes.
pub type Reader = sqlite::ReadOnly;

/// The place of a journal.
#[derive(Clone, Debug)]
pub struct Archive {
    state_dir: PathBuf,
}

impl Archive {
    /// The journal of the daemon with this state directory.
    pub fn of(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned() }
    }

    /// Opens the journal to commit to it, and makes it where there is none. Blocks; called once, at the start. `now` is
    /// noted for whoever finds the lease taken. A journal whose secrets the key cannot open, not one of them, is refused.
    pub fn open(&self, key: &KeySource, now: Time) -> Result<(OpenJournal, Opened), OpenError> {
        OpenJournal::open(&self.state_dir, key, now)
    }

    /// The same, and `if_lost` says whether the journal opens without the key of its secrets.
    pub fn open_with(&self, key: &KeySource, if_lost: IfLost, now: Time) -> Result<(OpenJournal, Opened), OpenError> {
        OpenJournal::open_with(&self.state_dir, key, if_lost, now)
    }

    /// The same; where there is none, it is made to go on from the journal whose markers carry `instance`.
    pub fn open_as(
        &self,
        key: &KeySource,
        instance: InstanceId,
        now: Time,
    ) -> Result<(OpenJournal, Opened), OpenError> {
        OpenJournal::open_as(&self.state_dir, key, IfLost::Refuse, Some(instance), now)
    }

    /// Whether there is one that was not moved into a fleet.
    pub fn exists(&self) -> bool {
        self.state_dir.join(sqlite::DATABASE).exists() && self.imported().is_none()
    }

    /// The fleet that the journal was moved into.
    pub fn imported(&self) -> Option<String> {
        let noted = Target::open(&self.state_dir.join(IMPORTED)).and_then(|target| target.read(LARGEST_NOTE));
        String::from_utf8(noted.ok()??.bytes.to_vec()).ok()
    }

    /// Notes that the journal was moved into `fleet`: it is not opened again.
    pub fn note_import(&self, fleet: &FleetName) -> Result<(), DurableError> {
        durable::replace(&self.state_dir.join(IMPORTED), fleet.as_str().as_bytes(), Attributes::PRIVATE)
    }

    /// Notes that the journal was moved back.
    pub fn forget_import(&self) -> Result<(), DurableError> {
        Target::open(&self.state_dir.join(IMPORTED))?.remove()
    }

    /// Takes the lock of the state directory, and makes the directory where there is none: for a process that keeps its
    /// journal elsewhere. Blocks.
    pub fn lock(&self, now: Time) -> Result<DirectoryLock, OpenError> {
        DirectoryLock::take(&self.state_dir, now)
    }

    /// Opens the journal to look at it. Takes no lease: it sees what was committed when it reads.
    pub fn read(&self) -> Result<Reader, OpenError> {
        Reader::open(&self.state_dir)
    }
}
