//! Taking accounts and giving them up.
//!
//! Law: an account that is taken again goes on from what the journal tells. Where the journal of a token still ends where
//! this process left it, nobody did anything meanwhile: what was noted and not committed yet, a new secret above all, is
//! kept. Where it goes on, that is forgotten with the rest: whoever wrote it knew of the intent.

use crate::clock::Clock;
use crate::event;
use crate::journal::{Fence, Journal};
use crate::names::AccountName;
use crate::outcome::Failure;
use crate::rotation::decide::Rest;
use crate::rotation::reason::Reason;

use super::Core;
use crate::daemon::registry::Token;

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// Takes the accounts of the inventory that are not owned.
    pub(super) async fn adopt_accounts(&self) {
        for account in self.inventory().accounts.keys() {
            if let Err(failure) = self.adopt_account(account).await {
                tracing::error!(
                    event = event::ACCOUNT_LOST,
                    %account,
                    code = failure.code.code(),
                    error = %failure,
                    "the account cannot be taken; nothing is done with its tokens"
                );
            }
        }
    }

    /// Takes an account that is not owned, and its tokens as the journal tells of them. Whoever calls this wakes its keys.
    pub async fn adopt_account(&self, account: &AccountName) -> Result<(), Failure> {
        let ownership = &self.machine.effects.ownership;
        if ownership.owns(account) {
            return Ok(());
        }
        ownership.take(account).await?;
        for (name, token) in self.tokens.all() {
            if token.policy().account.name != *account {
                continue;
            }
            // Waits for what was under way when the account was given up.
            let mut held = token.held.lock().await;
            self.machine.resume(&mut held, &name).await;
        }
        Ok(())
    }

    /// Gives an account up: what is under way for its tokens is brought to its next record, and nothing is begun. Their
    /// keys fall due no more.
    pub fn drop_account(&self, account: &AccountName) {
        self.machine.effects.ownership.give_up(account);
    }

    /// Another process has taken what was claimed with `fence`.
    pub(super) fn lose_account(&self, fence: &Fence) {
        tracing::error!(
            event = event::ACCOUNT_LOST,
            account = %fence.account,
            "another process has taken over the journal; nothing is done with the account's tokens"
        );
        self.machine.effects.ownership.lose(fence);
    }

    /// Puts a token to rest whose account the inventory has, and another process. `None`: it is owned, or unknown.
    pub(super) fn rest_elsewhere(&self, token: &Token) -> Option<Rest> {
        let account = &token.policy().account.name;
        if self.machine.effects.ownership.owns(account) || !self.inventory().accounts.contains_key(account) {
            return None;
        }
        let rest = Rest { until: None, reason: Reason::NotOwner, next: None };
        token.show_rest(rest, None, None);
        Some(rest)
    }

    /// Why nothing can be asked of a token that has no context, in words.
    pub(in crate::daemon) fn absence(&self, token: &Token) -> String {
        match self.rest_elsewhere(token) {
            Some(rest) => rest.reason.sentence().to_owned(),
            None => "its account is not in the inventory".to_owned(),
        }
    }
}
