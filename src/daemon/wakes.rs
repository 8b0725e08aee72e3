//! Which token goes first, and which tokens are woken by what happened elsewhere.

use std::sync::PoisonError;

use crate::clock::{Clock, Time};
use crate::inventory::{Credential, StorePolicy};
use crate::journal::Journal;
use crate::names::{AccountName, TokenName};
use crate::rotation::Phase;
use crate::rotation::life::{deadline, end};
use crate::store;

use super::core::Core;
use super::deadlines::Key;
use super::registry::Token;

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// When the consumers of a token would hold nothing that works, who is served first.
    pub fn deadline(&self, token: &Token) -> Time {
        let policy = token.policy();
        deadline(&token.state(), &self.machine.effects.reckoning(&policy.account.name))
    }

    /// The same, however far away.
    pub fn end(&self, token: &Token) -> Time {
        let policy = token.policy();
        end(&token.state(), &self.machine.effects.reckoning(&policy.account.name))
    }

    /// What may have waited for the first secret of `name`, or for a better one.
    pub fn dependents(&self, name: &TokenName) -> Vec<Key> {
        if !self.accounts.authenticate_with(name) {
            return Vec::new();
        }
        let inventory = self.inventory();
        let managed = Credential::Token(name.clone());
        let accounts = inventory.accounts.values().filter(|account| account.endpoint.credential == managed);
        let unpolled = accounts.filter(|account| !self.is_polled(&account.name));
        let polls: Vec<_> = unpolled.map(|account| Key::Poll(account.name.clone())).collect();
        let tokens = self.tokens.all().into_iter().filter(|(_, token)| {
            let state = token.state();
            let waits = matches!(state.phase, Phase::Vacant) || state.lacked_credential();
            let policy = token.policy();
            let through = |account: &AccountName| {
                inventory.accounts.get(account).is_some_and(|account| account.endpoint.credential == managed)
            };
            waits
                && (policy.account.endpoint.credential == managed
                    || policy.stores.iter().filter_map(StorePolicy::account).any(through))
        });
        polls.into_iter().chain(tokens.map(|(name, _)| Key::Token(name))).collect()
    }

    /// Tokens with a store that is gone, or owed after a failure; their next run looks at it.
    pub async fn suspect_stores(&self) -> Vec<TokenName> {
        let tokens =
            self.tokens.all().into_iter().filter(|(_, token)| token.wanted() && !token.policy().stores.is_empty());
        let tokens: Vec<_> = tokens.collect();
        let lost = tokio::task::spawn_blocking(move || {
            let lost = |token: &Token| {
                let state = token.state();
                let delivered = state.phase.current().is_some();
                state.owes_store() || delivered && token.policy().stores.iter().any(store::is_missing)
            };
            tokens.into_iter().filter(|(_, token)| lost(token)).collect::<Vec<_>>()
        });
        // Ends early only where the runtime does.
        let lost = lost.await.unwrap_or_default();
        for (_, token) in &lost {
            token.suspect_stores();
        }
        lost.into_iter().map(|(name, _)| name).collect()
    }

    /// What waits for an account that has begun to answer again since this was last asked.
    pub fn relieved(&self, account: &AccountName) -> Vec<Key> {
        let Some(recovered) = self.accounts.get(account).and_then(|member| member.recovered()) else {
            return Vec::new();
        };
        let before = self.relieved.write().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), recovered);
        if before == Some(recovered) {
            return Vec::new();
        }
        let failing = self.polls().get(account).is_some_and(|poll| poll.failure.is_some());
        let poll = failing.then(|| Key::Poll(account.clone()));
        let tokens = self.tokens.of(account).into_iter().filter(|(_, token)| token.state().waits_for_provider());
        poll.into_iter().chain(tokens.map(|(name, _)| Key::Token(name))).collect()
    }
}
