//! What other replicas look after, as the journal tells of it: for those who look at this one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use crate::daemon::unreadable_state;
use crate::journal::fleet::{FleetJournal, boot};
use crate::names::{AccountName, TokenName};
use crate::outcome::Failure;
use crate::rotation::TokenState;
use crate::rotation::stored::restore;

/// How long what was read is shown to whoever looks.
const KEPT: Duration = Duration::from_secs(1);

/// Accounts that are read at once.
const AT_ONCE: usize = 16;

/// States of tokens that this replica does not look after.
#[derive(Debug, Default)]
pub struct Theirs {
    pub states: BTreeMap<TokenName, TokenState>,
    /// The account that the journal of each is kept under.
    pub accounts: BTreeMap<TokenName, AccountName>,
    /// Tokens whose state cannot be read, and why.
    pub unreadable: BTreeMap<TokenName, String>,
    /// Why some of it could not be read.
    pub failure: Option<Failure>,
}

/// What was read last, and when.
#[derive(Debug, Default)]
pub struct Reading(tokio::sync::Mutex<Option<(Duration, Arc<Theirs>)>>);

impl Reading {
    /// The states of the tokens of `accounts`. Whoever asks while somebody reads gets the same.
    pub async fn get(&self, journal: &FleetJournal, accounts: BTreeSet<AccountName>) -> Arc<Theirs> {
        let mut last = self.0.lock().await;
        if let Some((at, theirs)) = last.as_ref()
            && boot().saturating_sub(*at) < KEPT
        {
            return Arc::clone(theirs);
        }
        let read = accounts.into_iter().map(|account| async move {
            let tokens = journal.load_account(&account).await;
            (account, tokens)
        });
        let read: Vec<_> = stream::iter(read).buffer_unordered(AT_ONCE).collect().await;
        let mut theirs = Theirs::default();
        for (account, tokens) in read {
            match tokens {
                Ok(tokens) => {
                    for (name, stored) in tokens {
                        theirs.accounts.insert(name.clone(), account.clone());
                        match restore(&stored) {
                            Ok(restored) => drop(theirs.states.insert(name, restored.state)),
                            Err(error) => {
                                let why = unreadable_state(&name, &error);
                                theirs.unreadable.insert(name, why);
                            }
                        }
                    }
                }
                Err(failure) => theirs.failure = Some(failure),
            }
        }
        let theirs = Arc::new(theirs);
        *last = Some((boot(), Arc::clone(&theirs)));
        theirs
    }
}
