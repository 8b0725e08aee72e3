//! Which errands of the stores of this host were done, durably: an engine whose data ran back must not put an old secret
//! over a newer one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::beside;
use crate::files::ReadError;
use crate::journal::fleet::errand::ErrandId;

/// In the state directory of the agent.
const FILE: &str = "agent.json";

/// Far more than the errands of a host take.
const LARGEST: usize = 64 << 20;

const VERSION: u32 = 1;

/// Stored state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    version: u32,
    /// What another incarnation of the fleet has asked means nothing.
    incarnation: String,
    /// The revision of the last errand of each store that was done.
    done: BTreeMap<ErrandId, i64>,
}

/// How an errand compares with the last one of its store that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Newer,
    /// It was done before.
    Same,
    /// The data of the engine ran back.
    Older,
}

/// What this agent has done.
#[derive(Debug)]
pub struct Log {
    noted: Noted,
    path: PathBuf,
}

impl Log {
    /// As it was written down in `state_dir`, and why it cannot be read, where it cannot.
    pub async fn open(state_dir: &Path, incarnation: &str) -> (Self, Option<String>) {
        let path = state_dir.join(FILE);
        let (noted, problem) = beside::read(&path, LARGEST, |text| beside::parse::<Noted>(text, VERSION)).await;
        let noted = if noted.incarnation == incarnation { noted } else { Noted::default() };
        let noted = Noted { version: VERSION, incarnation: incarnation.to_owned(), ..noted };
        (Self { noted, path }, problem)
    }

    /// How an errand compares with the last one of its store.
    pub fn age(&self, id: &ErrandId, revision: i64) -> Age {
        match self.noted.done.get(id) {
            Some(done) if *done > revision => Age::Older,
            Some(done) if *done == revision => Age::Same,
            _ => Age::Newer,
        }
    }

    /// Notes that an errand was done, on the disk.
    pub async fn note(&mut self, id: &ErrandId, revision: i64) -> Result<(), ReadError> {
        if self.age(id, revision) == Age::Newer {
            self.noted.done.insert(id.clone(), revision);
        }
        // Names and numbers are always JSON.
        let text = serde_json::to_vec(&self.noted).unwrap_or_default();
        beside::write(&self.path, text).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_done_is_known_after_a_restart_and_of_another_incarnation_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let id = ErrandId::of_store(&"gps".parse().unwrap(), &"file:/run/gps@web-1".parse().unwrap());
        let (mut log, problem) = Log::open(dir.path(), "one").await;
        assert_eq!((log.age(&id, 7), problem), (Age::Newer, None));
        log.note(&id, 7).await.unwrap();
        let (log, _) = Log::open(dir.path(), "one").await;
        assert_eq!((log.age(&id, 6), log.age(&id, 7), log.age(&id, 8)), (Age::Older, Age::Same, Age::Newer));
        let (log, _) = Log::open(dir.path(), "two").await;
        assert_eq!(log.age(&id, 6), Age::Newer);
    }
}
