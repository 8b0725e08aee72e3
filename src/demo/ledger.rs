//! The loopback provider's own truth: every token that it ever minted, and when and why each one died.
//!
//! Nothing is ever removed, so a judge may ask about any moment of a run after the fact. Times are those of the
//! machine's clock; a clock skew that the provider was told to have shows in its answers only.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Service;
use super::book::Book;
use super::entry::{Counters, LedgerEntry, State, Why};
use crate::clock::Time;

/// The truth about all tokens. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    book: Arc<Mutex<Book>>,
}

impl Ledger {
    /// An empty ledger whose secrets are drawn from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { book: Arc::new(Mutex::new(Book::new(seed))) }
    }

    /// Whether `secret` is neither revoked nor expired at `now`.
    pub fn is_live(&self, secret: &str, now: Time) -> bool {
        self.state_of(secret, now) == State::Live
    }

    /// What is true of `secret` at `now`. A revoked token is revoked from the provider's answer on, also while the
    /// revocation is still spreading.
    pub fn state_of(&self, secret: &str, now: Time) -> State {
        let book = self.lock();
        book.find(secret).map_or(State::Unknown, |(entry, issue)| entry.state_of(issue, now))
    }

    /// Whether the provider lets `secret` in at `now`; differs from [`Self::is_live`] while a revocation spreads.
    pub fn accepts(&self, secret: &str, now: Time) -> bool {
        self.lock().find(secret).is_some_and(|(entry, issue)| entry.admits(issue, now))
    }

    /// The token that has, or had, `secret`.
    pub fn entry_of(&self, secret: &str) -> Option<LedgerEntry> {
        self.lock().find(secret).map(|(entry, _)| entry.clone())
    }

    /// The token of `service` with this id.
    pub fn entry(&self, service: Service, id: u64) -> Option<LedgerEntry> {
        self.lock().entry(service, id).cloned()
    }

    /// The tokens of `service` that are live at `now`, by id.
    pub fn live_tokens(&self, service: Service, now: Time) -> Vec<LedgerEntry> {
        let book = self.lock();
        book.entries(service).iter().filter(|entry| entry.state(now) == State::Live).cloned().collect()
    }

    /// Every token that was ever minted, by service and id.
    pub fn all(&self) -> Vec<LedgerEntry> {
        let book = self.lock();
        Service::ALL.into_iter().flat_map(|service| book.entries(service).iter()).cloned().collect()
    }

    /// What happened at `service` so far.
    pub fn counters(&self, service: Service) -> Counters {
        self.lock().counters(service)
    }

    /// Takes a token back as if somebody had done so in the provider's own console; false where there is no such live
    /// token.
    pub fn revoke(&self, service: Service, id: u64, now: Time) -> bool {
        self.lock().revoke(service, id, now, now, Why::Revoked)
    }

    /// The book itself, for one request from authentication to answer.
    pub(super) fn lock(&self) -> MutexGuard<'_, Book> {
        // Every change of the book is complete before anything that could panic.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let book = self.lock();
        let counts = Service::ALL.map(|service| (service.provider(), book.entries(service).len()));
        f.debug_map().entries(counts).finish()
    }
}
