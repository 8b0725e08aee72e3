//! The secrets of the journal, opened where text from outside is to be cleaned, and for no longer than such text comes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::journal::{Journal, SecretSlot};
use crate::names::TokenName;
use crate::secret::SecretParts;
use crate::secret::redact::{Known, Redactor, Secrets};

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
    /// The secrets of each token that has any.
    secrets: BTreeMap<TokenName, BTreeMap<SecretSlot, SecretParts>>,
    known: Arc<Known>,
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

    /// The slots of the generations that a token has now.
    fn slots(&self, name: &TokenName) -> BTreeSet<SecretSlot> {
        let Some(token) = self.tokens.get(name) else { return BTreeSet::new() };
        let state = token.state();
        let slots = state.generations().flat_map(|generation| {
            let slot = generation.slot(name);
            // A renewal keeps the revision before it until the new one is proven.
            let before = slot.revision.checked_sub(1).map(|revision| SecretSlot { revision, ..slot.clone() });
            before.into_iter().chain([slot]).collect::<Vec<_>>()
        });
        slots.collect()
    }

    /// Opens what a token has new, and forgets what it has no longer.
    async fn look(&self, opened: &mut Opened, name: &TokenName) {
        let slots = self.slots(name);
        let before = opened.secrets.remove(name).unwrap_or_default();
        let mut after = BTreeMap::new();
        for slot in slots {
            if let Some(parts) = before.get(&slot) {
                after.insert(slot, parts.clone());
                continue;
            }
            match self.journal.secret(&slot).await {
                Ok(Some(parts)) => {
                    parts.iter().for_each(|(_, secret)| Arc::make_mut(&mut opened.known).add(secret));
                    after.insert(slot, parts);
                }
                Ok(None) => {}
                // One that cannot be opened now was not given to anybody either; it is tried again.
                Err(_) => self.tokens.note_change(name),
            }
        }
        for (slot, parts) in before {
            if !after.contains_key(&slot) {
                parts.iter().for_each(|(_, secret)| Arc::make_mut(&mut opened.known).remove(secret));
            }
        }
        if !after.is_empty() {
            opened.secrets.insert(name.clone(), after);
        }
    }
}

impl<J: Journal> Secrets for Vault<J> {
    fn redactor(&self) -> BoxFuture<'_, Arc<Redactor>> {
        Box::pin(async {
            let mut opened = self.opened.lock().await;
            // Opened as a whole once, and from then on as far as tokens have changed: answers with words come with every
            // rotation, and an installation may have a hundred thousand tokens.
            let changed = if opened.used.is_some() {
                self.tokens.take_changed()
            } else {
                self.tokens.watch_changes();
                self.tokens.all().into_iter().map(|(name, _)| name).collect()
            };
            for name in changed {
                self.look(&mut opened, &name).await;
            }
            if opened.used.replace(Instant::now()).is_none() {
                tokio::spawn(forget(Arc::clone(&self.tokens), Arc::downgrade(&self.opened)));
            }
            Arc::new(Redactor::of(Arc::clone(&opened.known)))
        })
    }
}

/// Closes what was opened once nobody has needed it for a while.
async fn forget(tokens: Arc<Registry>, opened: Weak<Mutex<Opened>>) {
    let mut until = Instant::now() + KEPT;
    loop {
        tokio::time::sleep_until(until).await;
        let Some(opened) = opened.upgrade() else { return };
        let mut opened = opened.lock().await;
        match opened.used {
            Some(used) if used + KEPT > Instant::now() => until = used + KEPT,
            _ => {
                *opened = Opened::default();
                tokens.ignore_changes();
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
