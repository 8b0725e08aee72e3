//! What happened, durably: intents before their effects, outcomes before the next intent, secrets sealed.
//!
//! The journal knows nothing of rotations: it keeps records (a kind and a JSON body each), the state that they add up
//! to per token, and sealed secrets. In the middle of a rotation the state is left out: the records since the last one
//! tell the rest. Three implementations: SQLite, an engine that several replicas share, and one in memory for tests.
//!
//! Law: a commit names the [`Head`] that it follows and the [`Fence`] that it is made under. Where the token's journal
//! ends elsewhere, or another process has taken the claim, nothing of it is written. A commit without an answer is
//! neither written nor refused: reading ([`Journal::settle`]) tells what became of it, before anything else is done.

pub mod any;
pub mod archive;
pub mod fleet;
pub mod key;
pub mod memory;
pub mod record;
pub mod seal;
pub mod sqlite;

use std::future::Future;
use std::sync::Arc;

use self::fleet::FleetJournal;
use crate::clock::Time;
use crate::names::{AccountName, GenerationNo, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::secret::SecretParts;

/// Where a secret is kept: renewals in place count revisions of one generation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretSlot {
    pub token: TokenName,
    pub generation: GenerationNo,
    pub revision: u32,
}

/// One thing that happened, on its way into the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What kind of record, in past tense: `minted`.
    pub kind: &'static str,
    /// JSON; never holds a secret.
    pub body: String,
}

/// A change to the sealed secrets.
#[derive(Clone, Debug)]
pub enum SecretChange {
    Keep {
        slot: SecretSlot,
        parts: SecretParts,
    },
    /// Overwritten and gone once the commit is durable.
    Erase {
        slot: SecretSlot,
    },
}

/// Where the journal of one token ends, and the next commit goes on. The default: nothing was committed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head(i64);

/// The claim that a commit is made under. A claim that is taken again has a higher epoch, and commits under the old one
/// are refused from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub account: AccountName,
    pub epoch: u64,
}

/// What happens to one token at once: all of it or nothing.
#[derive(Clone, Debug)]
pub struct Change {
    pub token: TokenName,
    pub follows: Head,
    pub at: Time,
    pub records: Vec<Draft>,
    /// The token's state after the records, as JSON: a cache that saves replaying them at start. `None`: a later commit
    /// has it. The first commit of a token must not leave it out.
    pub state: Option<String>,
    pub secrets: Vec<SecretChange>,
}

/// A change, and the claim that allows it.
#[derive(Clone, Debug)]
pub struct Commit {
    pub fence: Fence,
    pub change: Change,
}

/// Why a commit was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Another process has taken the claim. Nothing was written.
    #[error("another process has taken over the journal: let one of the two run")]
    Fenced,
    /// The token's journal goes on after the head that was to be followed: what it tells now. Nothing was written, or this
    /// very commit was, by an earlier try of unknown outcome.
    #[error("the journal of the token has changed since it was read")]
    Overtaken(Box<Stored>),
    /// Written or not, nobody knows: [`Journal::settle`] tells.
    #[error("{0}")]
    Unknown(Failure),
    /// Nothing was written.
    #[error("{0}")]
    Refused(Failure),
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Unknown(failure) | CommitError::Refused(failure) => failure,
            denied => Self::new(FailureCode::Journal, denied.to_string()),
        }
    }
}

/// What became of a commit of unknown outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The token's journal ends where it did. The commit may still arrive; the same one, made again, is written once.
    Unwritten,
    /// The token's journal goes on: what it tells now. Whoever holds the token sees whether that is the commit.
    Moved(Box<Stored>),
}

/// What the journal tells of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The last state that was committed, as JSON.
    pub state: String,
    /// The bodies of the records since then, oldest first.
    pub since: Vec<String>,
    /// The highest version among those records; 0: there are none.
    pub newest: u32,
    /// What the next commit follows.
    pub head: Head,
}

/// The journal as the rotation machine sees it.
pub trait Journal: Send + Sync + 'static {
    /// Takes the claim of `account`: whoever had it, where only this process may commit; else where nobody has it. Commits
    /// under its fence are accepted until the next claim.
    fn claim(&self, account: &AccountName) -> impl Future<Output = Result<Fence, Failure>> + Send;

    /// Makes `commit` durable. When this returns `Ok`, it survives a power cut, and the token's journal ends at the head
    /// that is given.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Head, CommitError>> + Send;

    /// Reads what became of a commit of unknown outcome that was to follow `after`.
    fn settle(&self, token: &TokenName, after: Head) -> impl Future<Output = Result<Settled, Failure>> + Send;

    /// Whether the next start would find what is committed now. Two looks at the file system at most.
    fn reachable(&self) -> Result<(), Failure>;

    /// What the journal tells of `token`. `Ok(None)`: nothing was ever committed for it.
    fn stored(&self, token: &TokenName) -> impl Future<Output = Result<Option<Stored>, Failure>> + Send;

    /// What the journal tells of every token of an account that was just claimed. `None`: all of it was read when the
    /// journal was opened, and nobody else could write since.
    fn load(
        &self,
        _account: &AccountName,
    ) -> impl Future<Output = Result<Option<Vec<(TokenName, Stored)>>, Failure>> + Send {
        async { Ok(None) }
    }

    /// Every token that has a journal, with the account that it is kept under, where other processes commit, too; a minute
    /// old at most. Empty where only this one does.
    fn shared_tokens(&self) -> impl Future<Output = Result<Vec<(TokenName, AccountName)>, Failure>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Opens the sealed secret in `slot`. `Ok(None)`: there is none.
    fn secret(&self, slot: &SecretSlot) -> impl Future<Output = Result<Option<SecretParts>, Failure>> + Send;

    /// The fleet's, where this process is a replica of one.
    fn of_fleet(&self) -> Option<&FleetJournal> {
        None
    }
}

impl<J: Journal> Journal for Arc<J> {
    fn claim(&self, account: &AccountName) -> impl Future<Output = Result<Fence, Failure>> + Send {
        self.as_ref().claim(account)
    }

    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Head, CommitError>> + Send {
        self.as_ref().commit(commit)
    }

    fn settle(&self, token: &TokenName, after: Head) -> impl Future<Output = Result<Settled, Failure>> + Send {
        self.as_ref().settle(token, after)
    }

    fn reachable(&self) -> Result<(), Failure> {
        self.as_ref().reachable()
    }

    fn stored(&self, token: &TokenName) -> impl Future<Output = Result<Option<Stored>, Failure>> + Send {
        self.as_ref().stored(token)
    }

    fn load(
        &self,
        account: &AccountName,
    ) -> impl Future<Output = Result<Option<Vec<(TokenName, Stored)>>, Failure>> + Send {
        self.as_ref().load(account)
    }

    fn shared_tokens(&self) -> impl Future<Output = Result<Vec<(TokenName, AccountName)>, Failure>> + Send {
        self.as_ref().shared_tokens()
    }

    fn secret(&self, slot: &SecretSlot) -> impl Future<Output = Result<Option<SecretParts>, Failure>> + Send {
        self.as_ref().secret(slot)
    }

    fn of_fleet(&self) -> Option<&FleetJournal> {
        self.as_ref().of_fleet()
    }
}

/// What reading tells of a commit that was to follow `after`, where `stored` is what the journal tells now.
fn settled(stored: Option<Stored>, after: Head) -> Settled {
    let stored = stored.unwrap_or_default();
    if stored.head == after { Settled::Unwritten } else { Settled::Moved(Box::new(stored)) }
}
