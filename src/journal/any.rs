//! The journal of a daemon: its own, or that of the fleet that it is a replica of.

use super::archive::{OpenJournal, Pruned};
use super::fleet::FleetJournal;
use super::{Commit, CommitError, Fence, Head, Journal, SecretSlot, Settled, Stored};
use crate::clock::Time;
use crate::names::{AccountName, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::secret::SecretParts;

/// Either kind. An enum, so that whatever drives tokens knows one type.
#[derive(Debug)]
pub enum AnyJournal {
    /// In the state directory of this process, which alone commits to it.
    Local(Box<OpenJournal>),
    /// In an engine.
    Fleet(Box<FleetJournal>),
}

impl AnyJournal {
    /// The fleet's, where this process is a replica of one.
    pub fn fleet(&self) -> Option<&FleetJournal> {
        match self {
            Self::Local(_) => None,
            Self::Fleet(journal) => Some(journal),
        }
    }

    /// Removes records that are older than `before`. A fleet keeps a number of records of each token, whatever their age.
    pub async fn prune(&self, before: Time) -> Result<Pruned, Failure> {
        match self {
            Self::Local(journal) => journal.prune(before).await,
            Self::Fleet(_) => Err(Failure::new(
                FailureCode::Journal,
                "a fleet's journal keeps the last records of each token by itself: there is nothing to prune",
            )),
        }
    }
}

/// Awaits the same method of whichever it is. What asks an engine is boxed: it is ten times as large, and whoever waits for a
/// journal on this host need not hold it.
macro_rules! either {
    ($self:ident, $journal:ident => $call:expr) => {
        match $self {
            AnyJournal::Local($journal) => $call.await,
            AnyJournal::Fleet($journal) => Box::pin($call).await,
        }
    };
}

impl Journal for AnyJournal {
    async fn claim(&self, account: &AccountName) -> Result<Fence, Failure> {
        either!(self, journal => journal.claim(account))
    }

    async fn commit(&self, commit: Commit) -> Result<Head, CommitError> {
        either!(self, journal => journal.commit(commit))
    }

    async fn settle(&self, token: &TokenName, after: Head) -> Result<Settled, Failure> {
        either!(self, journal => journal.settle(token, after))
    }

    fn reachable(&self) -> Result<(), Failure> {
        match self {
            Self::Local(journal) => journal.reachable(),
            Self::Fleet(journal) => journal.reachable(),
        }
    }

    async fn stored(&self, token: &TokenName) -> Result<Option<Stored>, Failure> {
        either!(self, journal => journal.stored(token))
    }

    async fn load(&self, account: &AccountName) -> Result<Option<Vec<(TokenName, Stored)>>, Failure> {
        either!(self, journal => journal.load(account))
    }

    async fn shared_tokens(&self) -> Result<Vec<(TokenName, AccountName)>, Failure> {
        either!(self, journal => journal.shared_tokens())
    }

    async fn secret(&self, slot: &SecretSlot) -> Result<Option<SecretParts>, Failure> {
        either!(self, journal => journal.secret(slot))
    }

    fn of_fleet(&self) -> Option<&FleetJournal> {
        self.fleet()
    }
}
