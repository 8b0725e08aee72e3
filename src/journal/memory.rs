//! A journal in memory, for tests: it records every commit, and fails when it is told to.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record;
use super::{Commit, Journal, SecretChange, SecretSlot, Stored};
use crate::names::TokenName;
use crate::outcome::{Failure, FailureCode};
use crate::secret::SecretParts;

/// A journal that lives as long as the test.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    durable: Snapshot,
    commits: Vec<Commit>,
    /// How many times `commit` was called.
    calls: usize,
    faults: BTreeMap<usize, Fault>,
}

/// What a restart finds.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What is known of each token.
    pub states: BTreeMap<TokenName, Stored>,
    /// The secrets that were not erased.
    pub secrets: BTreeMap<SecretSlot, SecretParts>,
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of it is written, as the contract promises.
    Before,
    /// All of it is written, and nobody learns of it: what a kill right after the commit looks like to a restart.
    After,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// The journal that a restart opens.
    pub fn restored(snapshot: Snapshot) -> Self {
        Self { inner: Mutex::new(Inner { durable: snapshot, ..Inner::default() }) }
    }

    /// Lets the commit number `nth` fail, counted from 1 over the life of this journal.
    pub fn fail(&self, nth: usize, fault: Fault) {
        self.inner().faults.insert(nth, fault);
    }

    /// What a restart would find now.
    pub fn snapshot(&self) -> Snapshot {
        self.inner().durable.clone()
    }

    /// Every commit that took effect, in order.
    pub fn commits(&self) -> Vec<Commit> {
        self.inner().commits.clone()
    }

    /// The kinds of all records that were written for `token`, in order.
    pub fn kinds(&self, token: &TokenName) -> Vec<&'static str> {
        let inner = self.inner();
        let of_token = inner.commits.iter().filter(|commit| commit.token == *token);
        of_token.flat_map(|commit| commit.records.iter().map(|draft| draft.kind)).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere in a test must not hide its own message behind this one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn commit(&mut self, commit: Commit) -> Result<(), Failure> {
        self.calls += 1;
        let fault = self.faults.remove(&self.calls);
        if fault != Some(Fault::Before) {
            self.durable.remember(&commit);
            for change in &commit.secrets {
                match change {
                    SecretChange::Keep { slot, parts } => {
                        self.durable.secrets.insert(slot.clone(), parts.clone());
                    }
                    SecretChange::Erase { slot } => {
                        self.durable.secrets.remove(slot);
                    }
                }
            }
            self.commits.push(commit);
        }
        match fault {
            None => Ok(()),
            Some(_) => Err(Failure::new(FailureCode::Journal, "the test asked for it")),
        }
    }
}

impl Snapshot {
    fn remember(&mut self, commit: &Commit) {
        if let Some(state) = &commit.state {
            let stored = Stored { state: state.clone(), since: Vec::new(), newest: 0 };
            self.states.insert(commit.token.clone(), stored);
        } else {
            let stored = self.states.get_mut(&commit.token).expect("the first commit of a token has its state");
            stored.newest = record::VERSION;
            stored.since.extend(commit.records.iter().map(|draft| draft.body.clone()));
        }
    }
}

impl Journal for MemoryJournal {
    async fn commit(&self, commit: Commit) -> Result<(), Failure> {
        self.inner().commit(commit)
    }

    fn reachable(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn stored(&self, token: &TokenName) -> Result<Option<Stored>, Failure> {
        Ok(self.inner().durable.states.get(token).cloned())
    }

    async fn secret(&self, slot: &SecretSlot) -> Result<Option<SecretParts>, Failure> {
        Ok(self.inner().durable.secrets.get(slot).cloned())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::Draft;
    use super::*;
    use crate::names::GenerationNo;
    use crate::secret::Secret;

    fn slot() -> SecretSlot {
        SecretSlot { token: "gps".parse().unwrap(), generation: GenerationNo(1), revision: 0 }
    }

    fn commit(kind: &'static str, secrets: Vec<SecretChange>) -> Commit {
        Commit {
            token: slot().token,
            at: DateTime::UNIX_EPOCH,
            records: vec![Draft { kind, body: "{}".into() }],
            state: (kind != "verified").then(|| format!("\"{kind}\"")),
            secrets,
        }
    }

    #[tokio::test]
    async fn a_failing_commit_leaves_what_was_asked_for() {
        let journal = MemoryJournal::new();
        journal.fail(2, Fault::Before);
        journal.fail(3, Fault::After);
        let keep = SecretChange::Keep { slot: slot(), parts: SecretParts::new(Secret::new("hunter2")) };
        assert!(journal.commit(commit("intended", vec![])).await.is_ok());
        assert!(journal.commit(commit("minted", vec![keep.clone()])).await.is_err());
        assert!(journal.snapshot().secrets.is_empty());
        assert!(journal.commit(commit("minted", vec![keep])).await.is_err());
        assert_eq!(journal.kinds(&slot().token), ["intended", "minted"]);

        let restarted = MemoryJournal::restored(journal.snapshot());
        restarted.commit(commit("verified", vec![])).await.unwrap();
        let stored = Stored { state: "\"minted\"".into(), since: vec!["{}".into()], newest: record::VERSION };
        assert_eq!(restarted.snapshot().states[&slot().token], stored);
        assert_eq!(restarted.secret(&slot()).await.unwrap().unwrap().token().expose(), "hunter2");
        restarted.commit(commit("retired", vec![SecretChange::Erase { slot: slot() }])).await.unwrap();
        assert!(restarted.secret(&slot()).await.unwrap().is_none());
    }
}
