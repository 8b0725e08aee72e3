//! Holds tokens back under a new journal where another one existed: nothing is minted a second time.

use crate::clock::Clock;
use crate::inventory::NewJournal;
use crate::journal::Journal;
use crate::names::AccountName;
use crate::rotation::{Event, Phase};
use crate::secret::Secret;
use crate::store::{self, Found};

use super::core::Core;

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// For a journal that knows of no token: what exists already was made by another one, which may be found again. It is
    /// not minted a second time before an operator, or the inventory, says so. `bereft`: the key of that other journal is
    /// there. What providers list is looked at before each first mint.
    /// `account`: only its tokens, where one is given.
    pub async fn hold_back(&self, account: Option<&AccountName>, bereft: bool) {
        if self.inventory().daemon.new_journal == NewJournal::Mint {
            return;
        }
        let nothing = self.machine.effects.fingerprinter.of(&Secret::new(""));
        for (_, token) in self.tokens.all() {
            let policy = token.policy();
            if account.is_some_and(|account| policy.account.name != *account) {
                continue;
            }
            let mut found = bereft.then(|| "the key of a journal that is not there".to_owned());
            for store in &policy.stores {
                // A store that cannot be read now is not written either.
                let Ok(look) = store::look(store, &self.accounts).await else { continue };
                let empty = match look.found {
                    Found::Value(secret) => self.machine.effects.fingerprinter.of(&secret) == nothing,
                    Found::Absent | Found::Blind => true,
                    Found::Other | Found::Hidden(_) => false,
                };
                if !empty {
                    found = Some(format!("{} holds a secret", store.key));
                    break;
                }
            }
            let mut held = self.hold(&token).await;
            held.memo.newborn = true;
            if let Some(found) = found.filter(|_| held.state().phase == Phase::Vacant) {
                held.note(&policy, self.clock.now(), Event::HeldBack { found });
            }
        }
    }
}
