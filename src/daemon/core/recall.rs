//! Joins the tokens of the inventory with those of the journal when the process starts.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use crate::clock::Clock;
use crate::daemon::registry::Token;
use crate::inventory::{Inventory, TokenPolicy};
use crate::journal::{Journal, SecretSlot};
use crate::names::TokenName;
use crate::outcome::{Failure, FailureCode};
use crate::rotation::state::Orphan;
use crate::rotation::stored::Restored;
use crate::rotation::{Event, Phase, TokenState};

use super::Core;

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// Gives the states of tokens that nothing can be done for.
    pub(super) async fn adopt_states(
        &self,
        mut states: BTreeMap<TokenName, Restored>,
        unreadable: &[SecretSlot],
    ) -> Vec<(TokenName, Arc<TokenState>)> {
        let inventory = self.inventory();
        for (name, policy) in &inventory.tokens {
            let mut restored = states.remove(name).unwrap_or_default();
            restored.state.share(policy);
            self.tokens.insert(&policy.name, Arc::new(Token::new(Arc::clone(policy), true, restored)));
        }
        let mut strays = Vec::new();
        for (name, restored) in states {
            match leftover_policy(&inventory, &name, &restored.state) {
                Some(policy) => self.tokens.insert(&name, Arc::new(Token::new(Arc::new(policy), false, restored))),
                None => strays.push((name, Arc::new(restored.state))),
            }
        }
        for slot in unreadable {
            let Some(token) = self.tokens.get(&slot.token) else { continue };
            let mut held = token.held.lock().await;
            let current = held.state().phase.current().map(|current| current.generation.slot(&slot.token));
            if current.as_ref() == Some(slot) {
                let failure = Failure::new(FailureCode::SecretUnreadable, "it was sealed with another key");
                let number = slot.generation;
                held.note(&token.policy(), self.clock.now(), Event::SecretLost { number, failure });
            }
        }
        self.machine.effects.observers.credentials.supply().await;
        let views: Vec<_> = self.tokens.all().into_iter().map(|(name, token)| (name, token.state())).collect();
        let mut tally = self.machine.effects.observers.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.recall(views.iter().map(|(name, state)| (name, &**state)));
        drop(tally);
        strays
    }
}

/// A policy for a token that is in the journal and no longer in the inventory: enough to take back or retire what its
/// last rotation left, where nothing of its stores needs to be known.
pub(super) fn leftover_policy(inventory: &Inventory, name: &TokenName, state: &TokenState) -> Option<TokenPolicy> {
    let (account, params) = match (&state.phase, state.phase.intent()) {
        (_, Some(intent)) => (&intent.account, Some(&intent.params)),
        (Phase::Active { retiring, .. } | Phase::Revoked { retiring, .. }, _) => {
            (&retiring.generation.account, retiring.generation.params.as_ref())
        }
        (phase, _) => {
            let candidate = phase.candidate().map(|candidate| &candidate.generation);
            let generation = candidate.or(phase.current().map(|current| &current.generation));
            let orphans = state.orphans.iter().filter_map(|orphan| match orphan {
                Orphan::UnknownMint { account, params, .. } => Some((account, Some(params))),
                Orphan::Deferred { generation, .. } => Some((&generation.account, generation.params.as_ref())),
                Orphan::Unrevocable { .. } => None,
            });
            let generation = generation.map(|generation| (&generation.account, generation.params.as_ref()));
            generation.into_iter().chain(orphans).next()?
        }
    };
    let account = inventory.accounts.get(account)?;
    Some(TokenPolicy::leftover(name.clone(), Arc::clone(account), params.cloned().unwrap_or_default()))
}
