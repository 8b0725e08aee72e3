//! Which accounts this process owns: nobody else commits anything of their tokens. An account is owned as a whole, since
//! its limits, its listing and its orphans are one.
//!
//! With the journal in a state directory, a process owns every account of its inventory until it ends: the lease of the
//! directory is the claim of them all.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::journal::{Fence, Journal};
use crate::names::AccountName;
use crate::outcome::Failure;

/// The claims of this process.
#[derive(Debug)]
pub struct Ownership<J> {
    journal: J,
    fences: RwLock<BTreeMap<AccountName, Fence>>,
}

impl<J: Journal> Ownership<J> {
    /// Owns nothing so far.
    pub fn new(journal: J) -> Self {
        Self { journal, fences: RwLock::default() }
    }

    /// Takes an account that is not owned.
    pub async fn take(&self, account: &AccountName) -> Result<(), Failure> {
        if !self.owns(account) {
            let fence = self.journal.claim(account).await?;
            self.fences.write().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), fence);
        }
        Ok(())
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
