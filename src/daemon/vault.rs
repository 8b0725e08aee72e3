//! The secrets of the journal, opened where text from outside is to be cleaned, and for no longer than such text comes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::journal::{Journal, SecretSlot};
use crate::secret::SecretParts;
use crate::secret::redact::{Redactor, Secrets};

use super::registry::Registry;

/// How long opened secrets stay in memory after they were last needed: a provider that is down has something to say to
/// every request.
const KEPT: Duration = Duration::from_secs(60);

/// Opens the secret of every generation that a token of this process has.
pub struct Vault<J> {
    tokens: Arc<Registry>,
    journal: J,
    opened: Arc<Mutex<Opened>>,
}

#[derive(Default)]
struct Opened {
    secrets: BTreeMap<SecretSlot, SecretParts>,
    redactor: Option<Arc<Redactor>>,
    used: Option<Instant>,
}

impl<J> fmt::Debug for Vault<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl<J: Journal> Vault<J> {
    pub fn new(tokens: Arc<Registry>, journal: J) -> Self {
        Self { tokens, journal, opened: Arc::default() }
    }

    fn slots(&self) -> BTreeSet<SecretSlot> {
        let mut slots = BTreeSet::new();
        for (name, token) in self.tokens.all() {
            let state = token.view().state;
            slots.extend(state.generations().flat_map(|generation| {
                let slot = generation.slot(&name);
                // A renewal keeps the revision before it until the new one is proven.
                let before = slot.revision.checked_sub(1).map(|revision| SecretSlot { revision, ..slot.clone() });
                before.into_iter().chain([slot])
            }));
        }
        slots
    }
}

impl<J: Journal> Secrets for Vault<J> {
    fn redactor(&self) -> BoxFuture<'_, Arc<Redactor>> {
        Box::pin(async {
            let slots = self.slots();
            let mut opened = self.opened.lock().await;
            let before = opened.secrets.len();
            opened.secrets.retain(|slot, _| slots.contains(slot));
            let mut changed = opened.secrets.len() != before;
            for slot in slots {
                if opened.secrets.contains_key(&slot) {
                    continue;
                }
                // A secret that cannot be opened now was not given to anybody either.
                if let Ok(Some(parts)) = self.journal.secret(&slot).await {
                    opened.secrets.insert(slot, parts);
                    changed = true;
                }
            }
            let known = opened.redactor.take().filter(|_| !changed);
            let redactor = known.unwrap_or_else(|| {
                let mut redactor = Redactor::default();
                for parts in opened.secrets.values() {
                    parts.iter().for_each(|(_, secret)| redactor.add(secret));
                }
                Arc::new(redactor)
            });
            opened.redactor = Some(Arc::clone(&redactor));
            if opened.used.replace(Instant::now()).is_none() {
                tokio::spawn(forget(Arc::downgrade(&self.opened)));
            }
            redactor
        })
    }
}

/// Closes what was opened once nobody has needed it for a while.
async fn forget(opened: Weak<Mutex<Opened>>) {
    let mut until = Instant::now() + KEPT;
    loop {
        tokio::time::sleep_until(until).await;
        let Some(opened) = opened.upgrade() else { return };
        let mut opened = opened.lock().await;
        match opened.used {
            Some(used) if used + KEPT > Instant::now() => until = used + KEPT,
            _ => {
                *opened = Opened::default();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::journal::{Commit, CommitError, Fence, Head, Settled, Stored};
    use crate::names::{AccountName, TokenName};
    use crate::outcome::Failure;
    use crate::rotation::state::{Current, Delivery};
    use crate::rotation::stored::Restored;
    use crate::rotation::tests::{policy, samples};
    use crate::rotation::{Phase, TokenState};
    use crate::secret::Secret;

    /// Counts how often a secret was opened.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Journal for Arc<Counted> {
        async fn claim(&self, account: &AccountName) -> Result<Fence, Failure> {
            Ok(Fence { account: account.clone(), epoch: 0 })
        }

        async fn commit(&self, _: Commit) -> Result<Head, CommitError> {
            Ok(Head::default())
        }

        async fn settle(&self, _: &TokenName, _: Head) -> Result<Settled, Failure> {
            Ok(Settled::Unwritten)
        }

        fn reachable(&self) -> Result<(), Failure> {
            Ok(())
        }

        async fn stored(&self, _: &TokenName) -> Result<Option<Stored>, Failure> {
            Ok(None)
        }

        async fn secret(&self, slot: &SecretSlot) -> Result<Option<SecretParts>, Failure> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Some(SecretParts::new(Secret::new(format!("secret-of-{}-{}", slot.token, slot.generation)))))
        }
    }

    fn steady(number: u32) -> TokenState {
        let generation = samples::generation(number);
        TokenState {
            phase: Phase::Steady { current: Current::new(generation, Delivery::default()) },
            ..Default::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_is_opened_once_for_as_long_as_there_are_words_to_clean() {
        const TOKENS: usize = 800;
        let (tokens, journal) = (Arc::new(Registry::default()), Arc::new(Counted::default()));
        let insert = |name: &str, state: TokenState| {
            let token = super::super::registry::Token::new(
                Arc::new(policy::token()),
                true,
                Restored { state, head: Head::default() },
            );
            tokens.insert(&name.parse().unwrap(), Arc::new(token));
        };
        (0..TOKENS).for_each(|n| insert(&format!("t{n}"), steady(1)));
        let vault = Vault::new(Arc::clone(&tokens), Arc::clone(&journal));
        let opened = || journal.0.load(Ordering::Relaxed);
        assert_eq!(opened(), 0, "nothing is opened before it is needed");
        for _ in 0..100 {
            assert_eq!(vault.redactor().await.clean("it is secret-of-t799-1!"), "it is ***!");
        }
        assert_eq!(opened(), TOKENS, "once each, however many answers have words");
        insert("t0", steady(2));
        assert_eq!(vault.redactor().await.clean("secret-of-t0-2"), "***", "a new generation is known at once");
        assert_eq!(opened(), TOKENS + 1);
        tokio::time::sleep(KEPT * 3).await;
        assert!(vault.opened.lock().await.secrets.is_empty(), "they are closed when nobody needs them");
    }
}
