//! Which accounts this process owns: nobody else commits anything of their tokens. An account is owned as a whole, since
//! its limits, its listing and its orphans are one.
//!
//! With the journal in a state directory, a process owns every account of its inventory until it ends: the lease of the
//! directory is the claim of them all. A replica of a fleet owns what [`super::fleet`] takes for it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::journal::fleet::FleetJournal;
use crate::journal::{Fence, Journal};
use crate::names::AccountName;
use crate::outcome::Failure;

/// Which accounts a process owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Every one of its inventory.
    All,
    /// Those that the fleet leaves to it.
    Share,
}

/// The claims of this process.
#[derive(Debug)]
pub struct Ownership<J> {
    journal: J,
    manner: Manner,
    fences: RwLock<BTreeMap<AccountName, Fence>>,
}

impl<J: Journal> Ownership<J> {
    /// Owns nothing so far.
    pub fn new(journal: J, manner: Manner) -> Self {
        Self { journal, manner, fences: RwLock::default() }
    }

    /// Which accounts are taken.
    pub fn manner(&self) -> Manner {
        self.manner
    }

    /// Whether something may be begun at this very moment: a replica whose lease has ended is another's by now, for all it
    /// knows. Asked last of all before an effect; what makes a late effect harmless is the journal.
    pub fn may_begin(&self) -> Result<(), Failure> {
        match self.manner {
            Manner::All => Ok(()),
            Manner::Share => self.journal.reachable(),
        }
    }

    /// The journal of the fleet, where this process is a replica of one.
    pub fn fleet(&self) -> Option<&FleetJournal> {
        self.journal.of_fleet()
    }

    /// Takes the claim of an account. It is owned once what the journal tells of its tokens is known: see
    /// [`Ownership::own`].
    pub async fn claim(&self, account: &AccountName) -> Result<Fence, Failure> {
        self.journal.claim(account).await
    }

    /// From now on commits of the account's tokens are made under `fence`.
    pub fn own(&self, fence: Fence) {
        self.fences.write().unwrap_or_else(PoisonError::into_inner).insert(fence.account.clone(), fence);
    }

    /// Every account that is owned.
    pub fn owned(&self) -> Vec<AccountName> {
        self.fences.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Gives an account up. What is under way for its tokens is brought to its next record.
    pub fn give_up(&self, account: &AccountName) {
        self.fences.write().unwrap_or_else(PoisonError::into_inner).remove(account);
    }

    /// Another process has taken what was claimed with `fence`. A later claim of this process stands.
    pub fn lose(&self, fence: &Fence) {
        let mut fences = self.fences.write().unwrap_or_else(PoisonError::into_inner);
        fences.retain(|_, held| held != fence);
    }

    /// Whether the account is owned.
    pub fn owns(&self, account: &AccountName) -> bool {
        self.fences.read().unwrap_or_else(PoisonError::into_inner).contains_key(account)
    }

    /// What commits of the account's tokens are made under. `None`: it is not owned.
    pub fn fence(&self, account: &AccountName) -> Option<Fence> {
        self.fences.read().unwrap_or_else(PoisonError::into_inner).get(account).cloned()
    }
}
