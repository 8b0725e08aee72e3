//! Taking accounts and giving them up.
//!
//! Law: an account that is taken again goes on from what the journal tells. Where the journal of a token still ends where
//! this process left it, nobody did anything meanwhile: what was noted and not committed yet, a new secret above all, is
//! kept. Where it goes on, that is forgotten with the rest: whoever wrote it knew of the intent.

use std::sync::Arc;

use crate::clock::Clock;
use crate::daemon::ownership::Manner;
use crate::daemon::unreadable_state;
use crate::event;
use crate::journal::{Fence, Journal, Stored};
use crate::names::{AccountName, TokenName};
use crate::outcome::Failure;
use crate::rotation::decide::Rest;
use crate::rotation::reason::Reason;
use crate::rotation::stored::restore;

use super::Core;
use super::recall::leftover_policy;
use crate::daemon::registry::Token;
use crate::inventory::TokenPolicy;

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// Takes accounts that the inventory names for the first time: one that was lost since is somebody else's. In a fleet
    /// all may be.
    pub(super) async fn adopt_accounts(&self, named: impl Iterator<Item = &AccountName>) {
        if self.machine.effects.ownership.manner() == Manner::Share {
            return;
        }
        for account in named {
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
        let fence = ownership.claim(account).await?;
        self.take_up(fence).await
    }

    /// Takes up the tokens of an account that was claimed with `fence`, as the journal tells of them, and owns it then.
    pub async fn take_up(&self, fence: Fence) -> Result<(), Failure> {
        let account = fence.account.clone();
        let Some(stored) = self.machine.journal.load(&account).await? else {
            for (name, token) in self.tokens.of(&account) {
                // Waits for what was under way when the account was given up.
                let mut held = token.held.lock().await;
                self.machine.resume(&mut held, &name).await;
            }
            self.machine.effects.ownership.own(fence);
            return Ok(());
        };
        for (name, stored) in &stored {
            self.recall(&account, name, stored).await;
        }
        self.machine.effects.ownership.own(fence);
        self.machine.effects.observers.credentials.supply().await;
        if stored.is_empty() {
            self.hold_back(Some(&account), false).await;
        }
        Ok(())
    }

    /// Tokens that other replicas look after: what they account for, this process does not know.
    pub(in crate::daemon) async fn elsewhere(&self) -> Result<Vec<TokenName>, Failure> {
        let ownership = &self.machine.effects.ownership;
        if ownership.manner() == Manner::All {
            return Ok(Vec::new());
        }
        let shared = self.machine.journal.shared_tokens().await?;
        let shared = shared.into_iter().filter(|(_, account)| !ownership.owns(account)).map(|(name, _)| name);
        let here = self.tokens.all().into_iter().filter(|(_, token)| !ownership.owns(&token.policy().account.name));
        Ok(shared.chain(here.map(|(name, _)| name)).collect())
    }

    /// Takes up one token of an account that was just claimed.
    async fn recall(&self, account: &AccountName, name: &TokenName, stored: &Stored) {
        let restored = match restore(stored) {
            Ok(restored) => restored,
            Err(error) => {
                let why = unreadable_state(name, &error);
                tracing::error!(event = event::STATE_UNREADABLE, token = %name, "{why}");
                self.tokens.set_aside(name.clone(), why);
                return;
            }
        };
        if let Some(token) = self.tokens.get(name) {
            // One that the inventory gives to another account by now is that one's, which cannot take it: its first commit
            // is refused, and says so.
            if token.policy().account.name != *account {
                return;
            }
            let mut held = token.held.lock().await;
            held.take_up(restored);
            self.tokens.show(name, &token, held.state());
            return;
        }
        let inventory = self.inventory();
        let policy = leftover_policy(&inventory, name, &restored.state).or_else(|| {
            let policy = inventory.accounts.get(account)?;
            Some(TokenPolicy::leftover(name.clone(), Arc::clone(policy), crate::provider::Params::new()))
        });
        if let Some(policy) = policy {
            self.tokens.insert(name, Arc::new(Token::new(Arc::new(policy), false, restored)));
        }
    }

    /// Gives an account up: what is under way for its tokens is brought to its next record, and nothing is begun. Their
    /// keys fall due no more.
    pub fn drop_account(&self, account: &AccountName) {
        self.machine.effects.ownership.give_up(account);
    }

    /// Waits until nothing is under way for the tokens of an account that was given up.
    pub async fn settle_account(&self, account: &AccountName) {
        for (_, token) in self.tokens.of(account) {
            drop(token.held.lock().await);
            self.rest_elsewhere(&token);
        }
    }

    /// Another process has taken what was claimed with `fence`.
    pub(super) fn lose_account(&self, fence: &Fence) {
        match self.machine.effects.ownership.manner() {
            Manner::All => tracing::error!(
                event = event::ACCOUNT_LOST,
                account = %fence.account,
                "another process has taken over the journal; nothing is done with the account's tokens"
            ),
            Manner::Share => tracing::warn!(
                event = event::FLEET_FENCED,
                account = %fence.account,
                "another replica has taken the account; this one lets go of it"
            ),
        }
        self.machine.effects.ownership.lose(fence);
    }

    /// Puts a token to rest whose account the inventory has, and another process. `None`: it is owned, or unknown.
    pub(super) fn rest_elsewhere(&self, token: &Token) -> Option<Rest> {
        let account = &token.policy().account.name;
        if self.machine.effects.ownership.owns(account) || !self.inventory().accounts.contains_key(account) {
            return None;
        }
        let reason = match self.machine.effects.ownership.manner() {
            Manner::All => Reason::NotOwner,
            Manner::Share => Reason::OwnedElsewhere,
        };
        let rest = Rest { until: None, reason, next: None };
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
