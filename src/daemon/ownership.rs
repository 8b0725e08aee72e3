//! Which accounts this process owns: nobody else commits anything of their tokens. An account is owned as a whole, since
//! its limits, its listing and its orphans are one.

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
        if self.fence(account).is_none() {
            let fence = self.journal.claim(account).await?;
            self.fences.write().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), fence);
        }
        Ok(())
    }

    /// What commits of the account's tokens are made under. `None`: it is not owned.
    pub fn fence(&self, account: &AccountName) -> Option<Fence> {
        self.fences.read().unwrap_or_else(PoisonError::into_inner).get(account).cloned()
    }
}
