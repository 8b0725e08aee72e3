//! Who is told of committed events.
//!
//! Law: an observer is told of what is durable, in the order in which it was committed, and of nothing else. What a kill
//! leaves untold is in the journal: whoever needs more than what happens while the process runs reads it there, as the view,
//! the tally and the credentials do at the start.
//!
//! No observer keeps a cursor in the journal, and none needs one:
//!
//! * The view, the credentials and what is accounted for are functions of the states, which a start reads whole.
//! * The tally counts since the start, as counters of metrics do: whoever scrapes them expects that they begin anew.
//! * Hooks, HTTP calls among them, are rows of a delivery in the state: a row that a kill cut short is owed still, and its
//!   attempt has the same idempotency key.
//! * People are told of conditions, not of events ([`notifier`](super::notifier)). What is the matter follows from the states, and
//!   what each channel was told is in a book of its own: a kill between a message and its note sends that message once more,
//!   under the same key, and one before the message loses nothing, because the condition is open still. What was over before
//!   anybody looked was told to nobody, as `for` asks of everything that is short.
//! * A log line that a kill swallowed is in `patrold history`.
//!
//! An observer that must see each event once (a stream for an archive, say) would be the first to need a cursor: the records
//! of the journal are numbered for it.

mod credentials;
mod log;

use std::sync::{Arc, Mutex, PoisonError};

use crate::account::pool::Accounts;
use crate::clock::{Clock, Time};
use crate::journal::Journal;
use crate::names::TokenName;
use crate::rotation::steps::Tally;
use crate::rotation::{Event, TokenState};

pub use self::credentials::Credentials;
use super::orphans::Accounted;
use super::registry::Registry;

/// An event that is durable.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    pub token: &'a TokenName,
    pub at: Time,
    pub event: &'a Event,
    /// What the commit that it is part of led to.
    pub state: &'a Arc<TokenState>,
}

/// Everybody who is told.
#[derive(Debug)]
pub struct Observers<C, J> {
    /// What others may look at while a token is busy.
    pub tokens: Arc<Registry>,
    /// What happened since the start, for metrics and the page.
    pub tally: Mutex<Tally>,
    /// Which tokens at the providers were managed lately.
    pub accounted: Accounted,
    /// Accounts that authenticate with managed tokens.
    pub credentials: Credentials<C, J>,
}

impl<C: Clock, J: Journal> Observers<C, J> {
    /// Nobody was told anything so far.
    pub fn new(accounts: Arc<Accounts<C>>, tokens: Arc<Registry>, journal: J) -> Self {
        let credentials = Credentials::new(accounts, Arc::clone(&tokens), journal);
        Self { tokens, tally: Mutex::default(), accounted: Accounted::default(), credentials }
    }

    /// Tells everybody. Returns once whoever authenticates with this token uses its new secret.
    pub async fn tell(&self, committed: &Committed<'_>) {
        let Committed { token, at, event, state } = *committed;
        if let Some(known) = self.tokens.get(token) {
            self.tokens.show(token, &known, state);
            let account = &known.policy().account.name;
            self.tally.lock().unwrap_or_else(PoisonError::into_inner).note(account, token, at, event, state);
        }
        self.accounted.note(state, self.credentials.now());
        log::tell(committed);
        self.credentials.tell(committed).await;
    }
}
