//! Limits that outlive the process: what a provider asked for, and which credential it refused, in a file of the state
//! directory.
//!
//! Law: what a provider asked for, and what it refused, belongs to address and credential. It outlives edits of the inventory
//! and restarts: a daemon that is started again and again must not try a wrong password each time.
//!
//! The file is beside the journal and not in it: it is a help, and may be lost. Without it a provider says once more what
//! it said before. It is written whole at each refusal and each call for patience, which are rare, and now and then while
//! a rate limit is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::limit::Memory;
use crate::beside;
use crate::clock::{Span, Time};
use crate::secret::Fingerprint;

/// The file's name in the state directory.
pub const FILE: &str = "limits.json";

/// The form that this version writes.
const VERSION: u32 = 1;

/// Most bytes of the file: ten thousand endpoints fit.
const LARGEST: usize = 16 << 20;

/// Limits of an endpoint that nobody used for so long are dropped.
const KEPT: Span = Span::days(2);

/// The limits of every endpoint, by its name.
#[derive(Debug, Default)]
pub struct Limits {
    /// None: nothing is written.
    path: Option<PathBuf>,
    known: Mutex<BTreeMap<String, Noted>>,
    /// Held while the file is written, so that an older text never replaces a newer one.
    writing: tokio::sync::Mutex<()>,
    /// How often they were to be written down.
    saved: watch::Sender<u64>,
    /// Why they could not be written down when that was tried last.
    trouble: watch::Sender<Option<String>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Noted {
    at: Time,
    #[serde(flatten)]
    memory: Memory,
}

/// The file. Stored state.
#[derive(Debug, Serialize, Deserialize)]
struct Form {
    version: u32,
    endpoints: BTreeMap<String, Noted>,
}

impl Limits {
    /// Limits that end with the process.
    pub fn forgetful() -> Arc<Self> {
        Arc::default()
    }

    /// The limits that are in `state_dir`. Where they cannot be read, why; the file is set aside then, and the limits
    /// begin anew.
    pub async fn open(state_dir: &Path) -> (Arc<Self>, Option<String>) {
        let path = state_dir.join(FILE);
        let (known, problem) = beside::read(&path, LARGEST, parse).await;
        (Arc::new(Self { path: Some(path), known: Mutex::new(known), ..Self::default() }), problem)
    }

    /// What is known of an endpoint.
    pub(super) fn recall(&self, endpoint: &Fingerprint) -> Option<Memory> {
        self.known().get(endpoint.as_str()).map(|noted| noted.memory.clone())
    }

    /// Takes note of an endpoint's limits.
    pub(super) fn put(&self, endpoint: &Fingerprint, memory: Memory, now: Time) {
        let mut known = self.known();
        known.retain(|_, noted| now - noted.at < KEPT);
        if memory == Memory::default() {
            known.remove(endpoint.as_str());
        } else {
            known.insert(endpoint.as_str().to_owned(), Noted { at: now, memory });
        }
    }

    /// Why the limits could not be written down when that was tried last. They hold all the same.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Tells whenever there is something to write down.
    pub fn saved(&self) -> watch::Receiver<u64> {
        self.saved.subscribe()
    }

    /// Writes down what was noted.
    pub async fn save(&self) {
        self.saved.send_modify(|times| *times = times.wrapping_add(1));
        let Some(path) = &self.path else { return };
        let _writing = self.writing.lock().await;
        let form = Form { version: VERSION, endpoints: self.known().clone() };
        let saved = match serde_json::to_vec(&form) {
            Ok(text) => beside::write(path, text).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let trouble = saved.err().map(|reason| format!("{}: {reason}", path.display()));
        self.trouble.send_if_modified(|told| {
            let other = *told != trouble;
            *told = trouble;
            other
        });
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Noted>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(text: &[u8]) -> Result<BTreeMap<String, Noted>, String> {
    beside::parse::<Form>(text, VERSION).map(|form| form.endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::limit::{Limiter, Refusal};
    use crate::outcome::{Failure, FailureCode};
    use crate::secret::{Fingerprinter, Secret};

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + Span::seconds(seconds)
    }

    #[tokio::test]
    async fn what_was_noted_is_there_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = {
            let fingerprinter = Fingerprinter::new(&[0; 32]);
            (fingerprinter.of(&Secret::new("one")), fingerprinter.of(&Secret::new("other")))
        };
        let mut limiter = Limiter::recall(None, None, at(0));
        limiter.block(at(0), Some(at(60)));
        let failure = Failure::new(FailureCode::Unauthorized, "no");
        limiter.credential_refused(at(0), Refusal { credential: other.clone(), guarded: true, until: None, failure });
        let (limits, problem) = Limits::open(directory.path()).await;
        assert_eq!(problem, None);
        limits.put(&one, limiter.memory(), at(0));
        limits.save().await;
        let (limits, problem) = Limits::open(directory.path()).await;
        assert_eq!((limits.recall(&one), problem), (Some(limiter.memory()), None));
        limits.put(&other, limiter.memory(), at(3 * 86_400));
        assert!(limits.recall(&one).is_none(), "nobody used it for days");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_understood_is_set_aside_and_told() {
        let directory = tempfile::tempdir().unwrap();
        for (sentence, text, told) in [
            ("a newer version", r#"{"version":2,"endpoints":[]}"#, "version 2"),
            ("nonsense", "{", "EOF"),
            ("another form", r#"{"version":1,"endpoints":[]}"#, "invalid type"),
        ] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            let (limits, problem) = Limits::open(directory.path()).await;
            assert!(problem.unwrap().contains(told), "{sentence}");
            limits.save().await;
            assert_eq!(
                std::fs::read_to_string(directory.path().join("limits.json.unreadable")).unwrap(),
                text,
                "{sentence}"
            );
            assert_eq!(Limits::open(directory.path()).await.1, None, "{sentence}: it is replaced");
        }
    }
}
