//! How far the journals of a fleet had come, as one replica saw it: by that, an engine whose data ran back is noticed.
//!
//! Neither the engine's revision nor its cluster id tells: a restored backup keeps the one, and goes on counting the other.
//! The number and the hash of the last record of each token do. They are written down every few seconds, beside the lock of
//! the state directory: a mark may be behind the journal, never ahead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::beside;
use crate::files;
use crate::names::{AccountName, TokenName};
use crate::outcome::{Failure, FailureCode};

/// In the state directory.
const FILE: &str = "fleet-heads.json";

/// Far more than the heads of a million tokens take.
const LARGEST: usize = 256 << 20;

/// The last record of a token that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    account: AccountName,
    seq: i64,
    /// In hex digits.
    hash: String,
}

/// Stored state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    /// Marks of another incarnation of the fleet mean nothing.
    incarnation: String,
    heads: BTreeMap<TokenName, Mark>,
}

/// Every mark of a replica.
#[derive(Debug)]
pub(super) struct Marks {
    noted: Mutex<(Noted, bool)>,
    /// None: nothing is written down.
    path: Option<PathBuf>,
}

impl Marks {
    /// Of a process that keeps them as long as it lives.
    pub fn new(incarnation: String) -> Self {
        Self { noted: Mutex::new((Noted { incarnation, ..Noted::default() }, false)), path: None }
    }

    /// With what was written down in `state_dir`. What cannot be read says nothing.
    pub async fn open(incarnation: String, state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let read = files::read_off_runtime(&path, LARGEST).await;
        let noted: Option<Noted> = read.ok().and_then(|text| serde_json::from_slice(&text).ok());
        let noted = noted.filter(|noted| noted.incarnation == incarnation);
        let noted = noted.unwrap_or_else(|| Noted { incarnation, ..Noted::default() });
        Self { noted: Mutex::new((noted, false)), path: Some(path) }
    }

    fn noted(&self) -> MutexGuard<'_, (Noted, bool)> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the fleet whose marks these are.
    pub fn incarnation(&self) -> String {
        self.noted().0.incarnation.clone()
    }

    /// Compares the end of a token's journal with what was seen of it, and notes it.
    pub fn see(&self, account: &AccountName, token: &TokenName, seq: i64, hash: &str) -> Result<(), Failure> {
        let mut noted = self.noted();
        let (noted, changed) = &mut *noted;
        if let Some(known) = noted.heads.get(token) {
            if seq < known.seq || seq == known.seq && hash != known.hash {
                return Err(ran_back(token));
            }
            if seq == known.seq && known.account == *account {
                return Ok(());
            }
        }
        noted.heads.insert(token.clone(), Mark { account: account.clone(), seq, hash: hash.to_owned() });
        *changed = true;
        Ok(())
    }

    /// Whether nothing is missing among the tokens of `account` that the engine has.
    pub fn see_all<'t>(
        &self,
        account: &AccountName,
        tokens: impl Iterator<Item = &'t TokenName>,
    ) -> Result<(), Failure> {
        let there: std::collections::BTreeSet<_> = tokens.collect();
        let noted = self.noted();
        let mut of_account = noted.0.heads.iter().filter(|(_, mark)| mark.account == *account);
        match of_account.find(|(token, _)| !there.contains(token)) {
            Some((token, _)) => Err(ran_back(token)),
            None => Ok(()),
        }
    }

    /// The fleet was recovered where `incarnation` is another one: what was seen before means nothing. True: it was.
    pub fn begin_anew(&self, incarnation: &str) -> bool {
        let mut noted = self.noted();
        let anew = noted.0.incarnation != incarnation;
        if anew {
            *noted = (Noted { incarnation: incarnation.to_owned(), ..Noted::default() }, true);
        }
        anew
    }

    /// Writes down what is new. Where that fails, it is tried again with the next one.
    pub async fn write(&self) {
        let Some(path) = &self.path else { return };
        let text = {
            let mut noted = self.noted();
            if !std::mem::take(&mut noted.1) {
                return;
            }
            // Names and numbers are always JSON.
            serde_json::to_vec(&noted.0).unwrap_or_default()
        };
        if beside::write(path, text).await.is_err() {
            self.noted().1 = true;
        }
    }
}

/// The engine tells less of a token than it told before.
fn ran_back(token: &TokenName) -> Failure {
    let what = format!(
        "the journal of {token} is older than what this replica has seen: the data of the engine ran back, as after a restored \
         backup; nothing is done with its account. Restore a newer backup; if there is none, `patrold fleet recover`"
    );
    Failure::new(FailureCode::Journal, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountName {
        "a".parse().unwrap()
    }

    fn token() -> TokenName {
        "gps".parse().unwrap()
    }

    #[test]
    fn what_goes_on_is_noted_and_what_runs_back_is_refused() {
        for (sentence, seq, hash, fine) in [
            ("the same", 5, "aa", true),
            ("it goes on", 6, "bb", true),
            ("an earlier record", 4, "99", false),
            ("another record in its place", 5, "ab", false),
        ] {
            let marks = Marks::new("one".into());
            marks.see(&account(), &token(), 5, "aa").unwrap();
            assert_eq!(marks.see(&account(), &token(), seq, hash).is_ok(), fine, "{sentence}");
        }
        let marks = Marks::new("one".into());
        marks.see(&account(), &token(), 5, "aa").unwrap();
        marks.see_all(&account(), [&token()].into_iter()).unwrap();
        assert!(marks.see_all(&account(), std::iter::empty()).is_err(), "a token is gone");
        marks.see_all(&"b".parse().unwrap(), std::iter::empty()).unwrap();
    }

    #[tokio::test]
    async fn marks_outlive_the_process_and_not_a_recovery() {
        let directory = tempfile::tempdir().unwrap();
        let marks = Marks::open("one".into(), directory.path()).await;
        marks.see(&account(), &token(), 5, "aa").unwrap();
        marks.write().await;
        let marks = Marks::open("one".into(), directory.path()).await;
        assert!(marks.see(&account(), &token(), 4, "99").is_err());
        assert!(!marks.begin_anew("one") && marks.begin_anew("two"));
        marks.see(&account(), &token(), 4, "99").unwrap();
        marks.write().await;
        let marks = Marks::open("one".into(), directory.path()).await;
        marks.see(&account(), &token(), 1, "11").unwrap();
    }
}
