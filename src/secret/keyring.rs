//! The secrets that this process has in memory, and the vault that can open more.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::future::BoxFuture;

use super::redact::{Redactor, Secrets};
use super::{Fingerprint, SecretParts};
use crate::outcome::{Failure, Outcome, Told};

/// How many secrets of one account are remembered: the credential, its session, and the ones before them, which a late
/// answer may still name.
const KEPT: usize = 4;

/// Every secret that was presented somewhere, and whoever can open those of the journal.
#[derive(Default)]
pub struct Keyring {
    presented: Mutex<BTreeMap<String, VecDeque<(Fingerprint, SecretParts)>>>,
    journal: OnceLock<Arc<dyn Secrets>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

impl Keyring {
    /// Asks `secrets` from now on, too.
    pub fn open_with(&self, secrets: Arc<dyn Secrets>) {
        // There is one journal, and it is opened once.
        let _ = self.journal.set(secrets);
    }

    /// Remembers what is presented under the name `account`.
    pub fn note(&self, account: &str, fingerprint: &Fingerprint, secret: &SecretParts) {
        let mut presented = self.presented.lock().unwrap_or_else(PoisonError::into_inner);
        if !presented.contains_key(account) {
            presented.insert(account.to_owned(), VecDeque::new());
        }
        let Some(known) = presented.get_mut(account) else { return };
        if known.iter().all(|(known, _)| known != fingerprint) {
            known.push_front((fingerprint.clone(), secret.clone()));
            known.truncate(KEPT);
        }
    }

    /// `outcome` with clean words, where it has words from outside.
    pub async fn clean<T: Told>(&self, mut outcome: Outcome<T>) -> Outcome<T> {
        if let Some(failure) = outcome.words() {
            *failure = self.clean_failure(failure.clone()).await;
        }
        outcome
    }

    /// `failure` with clean words.
    pub async fn clean_failure(&self, failure: Failure) -> Failure {
        if failure.detail.is_empty() {
            return failure;
        }
        failure.reworded(self.redactor().await.clean(&failure.detail))
    }
}

impl Secrets for Keyring {
    fn redactor(&self) -> BoxFuture<'_, Arc<Redactor>> {
        Box::pin(async {
            let mut redactor = match self.journal.get() {
                Some(journal) => Redactor::clone(&*journal.redactor().await),
                None => Redactor::default(),
            };
            let presented = self.presented.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, parts) in presented.values().flatten() {
                parts.iter().for_each(|(_, secret)| redactor.add(secret));
            }
            Arc::new(redactor)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureCode;
    use crate::secret::{Fingerprinter, Secret};

    #[tokio::test]
    async fn words_from_outside_lose_what_anybody_presented_and_what_the_journal_has() {
        let keyring = Keyring::default();
        let fingerprints = Fingerprinter::new(&[1; 32]);
        let note = |account: &str, secret: &str| {
            let parts = SecretParts::new(Secret::new(secret));
            keyring.note(account, &fingerprints.of(parts.token()), &parts);
        };
        note("a", "password-of-a");
        note("b", "session-of-b");
        let mut journal = Redactor::default();
        journal.add(&Secret::new("token-of-c"));
        keyring.open_with(Arc::new(journal));
        let said = "no: password-of-a, session-of-b, token-of-c, dG9rZW4tb2YtYw==, 746f6b656e2d6f662d63";
        let outcome = keyring.clean(Outcome::<()>::Refused(Failure::new(FailureCode::Rejected, said))).await;
        assert_eq!(outcome.into_result().unwrap_err().detail, "no: ***, ***, ***, ***, ***");
        for newer in 0..KEPT {
            note("a", &format!("password-{newer}"));
        }
        let failure = keyring.clean_failure(Failure::new(FailureCode::Rejected, "password-of-a session-of-b")).await;
        assert_eq!(failure.detail, "password-of-a ***", "as many as are kept, of each account");
    }
}
