//! A journal in memory, for tests: it records every commit, and fails when it is told to. Several machines may share it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record;
use super::{Commit, CommitError, Fence, Head, Journal, SecretChange, SecretSlot, Settled, Stored, settled};
use crate::names::{AccountName, TokenName};
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
    /// The epoch of each claim in force, and of the last one of all.
    claims: BTreeMap<AccountName, u64>,
    epoch: u64,
    /// Sent, without an answer, and not there yet.
    late: Option<Commit>,
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
    /// Nothing of it is written, and that is told.
    Before,
    /// All of it is written, and nobody learns of it: what a kill right after the commit looks like to a restart.
    After,
    /// Nothing of it is written, and nobody learns of that.
    NoAnswer,
    /// It is written when the next one comes, before that one, and nobody learns of it.
    Late,
    /// Another process takes the claim just before.
    Fenced,
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

    /// Lets the commit number `nth` from now fail; 1 is the next one.
    pub fn fail(&self, nth: usize, fault: Fault) {
        let mut inner = self.inner();
        let nth = inner.calls + nth;
        inner.faults.insert(nth, fault);
    }

    /// What a restart would find now.
    pub fn snapshot(&self) -> Snapshot {
        self.inner().durable.clone()
    }

    /// Every commit that took effect, in order, but for the first `seen`.
    pub fn commits(&self, seen: usize) -> Vec<Commit> {
        self.inner().commits[seen..].to_vec()
    }

    /// The kinds of all records that were written for `token`, in order.
    pub fn kinds(&self, token: &TokenName) -> Vec<&'static str> {
        let inner = self.inner();
        let of_token = inner.commits.iter().map(|commit| &commit.change).filter(|change| change.token == *token);
        of_token.flat_map(|change| change.records.iter().map(|draft| draft.kind)).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere in a test must not hide its own message behind this one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn claim(&mut self, account: &AccountName) -> Fence {
        self.epoch += 1;
        self.claims.insert(account.clone(), self.epoch);
        Fence { account: account.clone(), epoch: self.epoch }
    }

    fn commit(&mut self, commit: Commit) -> Result<Head, CommitError> {
        self.calls += 1;
        if let Some(late) = self.late.take() {
            // Nobody waits for its answer any more.
            let _ = self.write(late);
        }
        let failure = || Failure::new(FailureCode::Journal, "the test asked for it");
        match self.faults.remove(&self.calls) {
            None => return self.write(commit),
            Some(Fault::Before) => return Err(CommitError::Refused(failure())),
            Some(Fault::Fenced) => {
                self.claim(&commit.fence.account);
                return self.write(commit);
            }
            Some(Fault::After) => drop(self.write(commit)),
            Some(Fault::NoAnswer) => {}
            Some(Fault::Late) => self.late = Some(commit),
        }
        Err(CommitError::Unknown(failure()))
    }

    fn write(&mut self, commit: Commit) -> Result<Head, CommitError> {
        let Commit { fence, change } = &commit;
        if self.claims.get(&fence.account) != Some(&fence.epoch) {
            return Err(CommitError::Fenced);
        }
        let stored = self.durable.states.get(&change.token).cloned().unwrap_or_default();
        if stored.head != change.follows {
            return Err(CommitError::Overtaken(Box::new(stored)));
        }
        let stored = self.durable.remember(stored, &commit);
        for change in &commit.change.secrets {
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
        Ok(stored)
    }
}

impl Snapshot {
    fn remember(&mut self, mut stored: Stored, commit: &Commit) -> Head {
        let change = &commit.change;
        let head = Head(stored.head.0 + 1);
        if let Some(state) = &change.state {
            stored = Stored { state: state.clone(), since: Vec::new(), newest: 0, head };
        } else {
            assert!(stored.head != Head::default(), "the first commit of a token has its state");
            stored.newest = record::VERSION;
            stored.since.extend(change.records.iter().map(|draft| draft.body.clone()));
            stored.head = head;
        }
        self.states.insert(change.token.clone(), stored);
        head
    }
}

impl Journal for MemoryJournal {
    async fn claim(&self, account: &AccountName) -> Result<Fence, Failure> {
        Ok(self.inner().claim(account))
    }

    async fn commit(&self, commit: Commit) -> Result<Head, CommitError> {
        self.inner().commit(commit)
    }

    async fn settle(&self, token: &TokenName, after: Head) -> Result<Settled, Failure> {
        Ok(settled(self.stored(token).await?, after))
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

    use super::super::{Change, Draft};
    use super::*;
    use crate::names::GenerationNo;
    use crate::secret::Secret;

    fn slot() -> SecretSlot {
        SecretSlot { token: "gps".parse().unwrap(), generation: GenerationNo(1), revision: 0 }
    }

    fn keep() -> SecretChange {
        SecretChange::Keep { slot: slot(), parts: SecretParts::new(Secret::new("hunter2")) }
    }

    fn commit(fence: &Fence, follows: Head, kind: &'static str, secrets: Vec<SecretChange>) -> Commit {
        let change = Change {
            token: slot().token,
            follows,
            at: DateTime::UNIX_EPOCH,
            records: vec![Draft { kind, body: "{}".into() }],
            state: (kind != "verified").then(|| format!("\"{kind}\"")),
            secrets,
        };
        Commit { fence: fence.clone(), change }
    }

    #[tokio::test]
    async fn a_failing_commit_leaves_what_was_asked_for() {
        let journal = MemoryJournal::new();
        journal.fail(2, Fault::Before);
        journal.fail(3, Fault::After);
        let fence = journal.claim(&"a".parse().unwrap()).await.unwrap();
        let first = journal.commit(commit(&fence, Head::default(), "intended", vec![])).await.unwrap();
        let refused = journal.commit(commit(&fence, first, "minted", vec![keep()])).await.unwrap_err();
        assert!(matches!(refused, CommitError::Refused(_)), "{refused}");
        assert!(journal.snapshot().secrets.is_empty());
        let unknown = journal.commit(commit(&fence, first, "minted", vec![keep()])).await.unwrap_err();
        assert!(matches!(unknown, CommitError::Unknown(_)), "{unknown}");
        assert_eq!(journal.kinds(&slot().token), ["intended", "minted"]);

        let restarted = MemoryJournal::restored(journal.snapshot());
        let fence = restarted.claim(&"a".parse().unwrap()).await.unwrap();
        let head = restarted.snapshot().states[&slot().token].head;
        let head = restarted.commit(commit(&fence, head, "verified", vec![])).await.unwrap();
        let stored = Stored { state: "\"minted\"".into(), since: vec!["{}".into()], newest: record::VERSION, head };
        assert_eq!(restarted.snapshot().states[&slot().token], stored);
        assert_eq!(restarted.secret(&slot()).await.unwrap().unwrap().token().expose(), "hunter2");
        let erase = vec![SecretChange::Erase { slot: slot() }];
        restarted.commit(commit(&fence, head, "retired", erase)).await.unwrap();
        assert!(restarted.secret(&slot()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn reading_tells_what_became_of_a_commit_without_an_answer() {
        for (fault, written) in [(Fault::After, true), (Fault::NoAnswer, false), (Fault::Late, false)] {
            let journal = MemoryJournal::new();
            let fence = journal.claim(&"a".parse().unwrap()).await.unwrap();
            journal.fail(1, fault);
            let sent = commit(&fence, Head::default(), "intended", vec![]);
            assert!(matches!(journal.commit(sent.clone()).await, Err(CommitError::Unknown(_))), "{fault:?}");
            let settled = journal.settle(&slot().token, Head::default()).await.unwrap();
            assert_eq!(settled != Settled::Unwritten, written, "{fault:?}");
            let again = journal.commit(sent).await;
            assert_eq!(again.is_ok(), fault == Fault::NoAnswer, "{fault:?}: {again:?}");
            assert_eq!(journal.kinds(&slot().token), ["intended"], "{fault:?}: written once");
        }
    }

    #[tokio::test]
    async fn a_claim_that_was_taken_again_refuses_the_one_before() {
        let journal = MemoryJournal::new();
        let account = "a".parse().unwrap();
        let first = journal.claim(&account).await.unwrap();
        let head = journal.commit(commit(&first, Head::default(), "intended", vec![])).await.unwrap();
        let second = journal.claim(&account).await.unwrap();
        assert_eq!(journal.commit(commit(&first, head, "minted", vec![keep()])).await, Err(CommitError::Fenced));
        assert!(journal.snapshot().secrets.is_empty(), "nothing of it is written");
        journal.commit(commit(&second, head, "minted", vec![keep()])).await.unwrap();
    }
}
