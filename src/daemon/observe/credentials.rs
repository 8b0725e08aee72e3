//! Accounts that authenticate with a managed token get each of its secrets.

use std::sync::Arc;

use crate::account::pool::{Accounts, Precedence};
use crate::clock::{Clock, Time};
use crate::daemon::registry::Registry;
use crate::event;
use crate::inventory::TokenPolicy;
use crate::journal::{Journal, SecretSlot};
use crate::names::AccountName;
use crate::outcome::Failure;
use crate::rotation::reckoning::Reckoning;
use crate::rotation::state::Current;
use crate::secret::SecretParts;

use super::Committed;

/// Brings secrets from the journal to the accounts.
#[derive(Debug)]
pub struct Credentials<C, J> {
    accounts: Arc<Accounts<C>>,
    tokens: Arc<Registry>,
    journal: J,
}

impl<C: Clock, J: Journal> Credentials<C, J> {
    pub(super) fn new(accounts: Arc<Accounts<C>>, tokens: Arc<Registry>, journal: J) -> Self {
        Self { accounts, tokens, journal }
    }

    pub(super) fn now(&self) -> Time {
        self.accounts.now()
    }

    /// What the ends of an account's generations are reckoned from, where nothing is known of a proof.
    pub fn reckoning<'a>(&self, account: &'a AccountName) -> Reckoning<'a> {
        let clock = self.accounts.get(account).map(|member| member.provider_clock()).unwrap_or_default();
        Reckoning { now: self.accounts.now(), account, clock, proof: None }
    }

    /// Whether accounts that authenticate with this token had better wait for its renewal: what it is now is dead.
    fn awaits_renewal(&self, token: &TokenPolicy, current: &Current) -> bool {
        let account = &token.account.name;
        let Some(member) = self.accounts.get(account) else { return false };
        member.abilities.awaits_renewal(current, &self.reckoning(account))
    }

    /// The secret that the journal has there.
    pub async fn secret(&self, slot: &SecretSlot) -> Result<Option<SecretParts>, Failure> {
        self.journal.secret(slot).await
    }

    /// Gives accounts the current secrets that the journal has, where they have none yet: when the process starts, and when
    /// an inventory takes effect in which they begin to authenticate with a managed token.
    pub async fn supply(&self) {
        for (name, token) in self.tokens.all() {
            if !self.accounts.authenticate_with(&name) {
                continue;
            }
            let state = token.state();
            let Some(current) = state.phase.current() else { continue };
            if self.awaits_renewal(&token.policy(), current) {
                continue;
            }
            match self.journal.secret(&current.generation.slot(&name)).await {
                Ok(Some(secret)) => self.accounts.set_credential(&name, secret, Precedence::Older),
                Ok(None) => {}
                Err(failure) => {
                    tracing::error!(
                        event = event::MANAGED_SECRET_LACKING,
                        token = %name,
                        code = failure.code.code(),
                        error = %failure,
                        "accounts that authenticate with this token have no secret of it"
                    );
                }
            }
        }
    }

    /// A new secret is durable: it is read from the journal, and in use when this returns.
    pub(super) async fn tell(&self, committed: &Committed<'_>) {
        let Committed { token, event, state, .. } = *committed;
        if !event.changes_credential() || !self.accounts.authenticate_with(token) {
            return;
        }
        let Some(current) = state.phase.current() else { return };
        if self.tokens.get(token).is_some_and(|token| self.awaits_renewal(&token.policy(), current)) {
            return;
        }
        match self.journal.secret(&current.generation.slot(token)).await {
            Ok(Some(secret)) => self.accounts.set_credential(token, secret, Precedence::Newest),
            Ok(None) => {}
            Err(failure) => {
                tracing::error!(
                    event = event::MANAGED_SECRET_STALE,
                    %token,
                    code = failure.code.code(),
                    error = %failure,
                    "accounts that authenticate with this token keep its old secret"
                );
            }
        }
    }
}
