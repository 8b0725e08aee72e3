//! What happened, durably: intents before their effects, outcomes before the next intent, secrets sealed.
//!
//! The journal knows nothing of rotations: it keeps records (a kind and a JSON body each), the state that they add up
//! to per token, and sealed secrets. In the middle of a rotation the state is left out: the records since the last one
//! tell the rest. Three implementations: SQLite, one in memory for tests, and later a replicated one.

pub mod key;
pub mod lock;
pub mod memory;
pub mod record;
pub mod seal;
pub mod sqlite;

use std::future::Future;
use std::sync::Arc;

use crate::clock::Time;
use crate::names::{GenerationNo, TokenName};
use crate::outcome::Failure;
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

/// What is committed at once: all of it or nothing.
#[derive(Clone, Debug)]
pub struct Commit {
    pub token: TokenName,
    pub at: Time,
    pub records: Vec<Draft>,
    /// The token's state after the records, as JSON: a cache that saves replaying them at start. `None`: a later commit
    /// has it. The first commit of a token must not leave it out.
    pub state: Option<String>,
    pub secrets: Vec<SecretChange>,
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
}

/// The journal as the rotation machine sees it.
pub trait Journal: Send + Sync + 'static {
    /// Makes `commit` durable. When this returns `Ok`, it survives a power cut; when it returns `Err`, nothing of it
    /// was written.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Whether the next start would find what is committed now. Two looks at the file system at most.
    fn reachable(&self) -> Result<(), Failure>;

    /// What the journal tells of `token`. `Ok(None)`: nothing was ever committed for it.
    fn stored(&self, token: &TokenName) -> impl Future<Output = Result<Option<Stored>, Failure>> + Send;

    /// Opens the sealed secret in `slot`. `Ok(None)`: there is none.
    fn secret(&self, slot: &SecretSlot) -> impl Future<Output = Result<Option<SecretParts>, Failure>> + Send;
}

impl<J: Journal> Journal for Arc<J> {
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<(), Failure>> + Send {
        self.as_ref().commit(commit)
    }

    fn reachable(&self) -> Result<(), Failure> {
        self.as_ref().reachable()
    }

    fn stored(&self, token: &TokenName) -> impl Future<Output = Result<Option<Stored>, Failure>> + Send {
        self.as_ref().stored(token)
    }

    fn secret(&self, slot: &SecretSlot) -> impl Future<Output = Result<Option<SecretParts>, Failure>> + Send {
        self.as_ref().secret(slot)
    }
}
