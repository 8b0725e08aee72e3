//! The loopback provider's own truth: every token that it ever minted, and when and why each one died.
//!
//! Nothing is ever removed, so a judge may ask about any moment of a run after the fact. Times are those of the
//! machine's clock; a clock skew that the provider was told to have shows in its answers only.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Service;
use super::book::Book;
use crate::clock::Time;
use crate::names::Marker;
use crate::secret::Secret;

/// Somebody whom the services know.
#[derive(Clone, Debug)]
pub struct User {
    pub id: u64,
    pub name: String,
    pub password: Secret,
    /// May list and delete the tokens of others.
    pub superuser: bool,
}

/// A token as the provider knows it.
#[derive(Clone, Debug)]
pub struct LedgerEntry {
    pub service: Service,
    /// The provider's id, unique within the service; tokens minted later have higher ones.
    pub id: u64,
    /// The user whom it belongs to.
    pub owner: u64,
    /// Its name, or its description where tokens have no name: where a marker is.
    pub name: String,
    /// A further text where the API has one besides the name.
    pub remark: Option<String>,
    /// What it may do, in the API's own words: `ROLE_READ_WRITE`, `read write`.
    pub scope: String,
    pub created: Time,
    /// Every secret that it had, oldest first, never empty. Only Commvault's renewals add to it.
    pub issues: Vec<Issue>,
    /// Renewals in place end here.
    pub renewable_until: Option<Time>,
    /// When it was taken back, if it was.
    pub end: Option<End>,
    pub last_used: Option<Time>,
    /// How often it authenticated a request.
    pub uses: u64,
}

/// One secret of a token.
#[derive(Clone, Debug)]
pub struct Issue {
    pub secret: Secret,
    pub refresh: Option<Secret>,
    pub issued: Time,
    pub expires: Time,
    pub refresh_expires: Option<Time>,
    /// When a renewal replaced it.
    pub superseded: Option<Time>,
}

/// The end of a token before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When the provider agreed to end it.
    pub at: Time,
    /// When it stopped accepting it; later than `at` where revocations take time to spread.
    pub effective: Time,
    pub why: Why,
}

/// Why a secret died before it expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A request revoked the token.
    Revoked,
    /// A renewal replaced the secret.
    Superseded,
    /// An older refresh token was presented, which ends the whole chain.
    ChainInvalidated,
}

/// What is true of a secret at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    Expired {
        since: Time,
    },
    Revoked {
        since: Time,
        why: Why,
    },
    /// No token ever had this secret.
    Unknown,
}

/// What happened at one service, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub minted: u64,
    pub renewed: u64,
    pub revoked: u64,
    /// Older refresh tokens that were presented: each ended a chain.
    pub chains_invalidated: u64,
    /// Requests that were authenticated.
    pub authenticated: u64,
    /// Requests with a secret that is dead or that nobody ever had.
    pub turned_away: u64,
}

/// The truth about all tokens. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    book: Arc<Mutex<Book>>,
}

impl LedgerEntry {
    /// The secret that is, or was last, in force.
    pub fn current(&self) -> &Issue {
        // A token is entered with one issue, and issues are only ever added.
        &self.issues[self.issues.len() - 1]
    }

    /// What is true of its current secret at `now`.
    pub fn state(&self, now: Time) -> State {
        self.state_of(self.current(), now)
    }

    /// Whether its name holds a marker of any installation of patrold.
    pub fn is_marked(&self) -> bool {
        self.name.trim().starts_with(Marker::PREFIX)
    }

    /// What ended `issue` first counts; what lies after `now` has not happened.
    pub(super) fn state_of(&self, issue: &Issue, now: Time) -> State {
        let ends = [
            Some((issue.expires, None)),
            issue.superseded.map(|at| (at, Some(Why::Superseded))),
            self.end.map(|end| (end.at, Some(end.why))),
        ];
        let first = ends.into_iter().flatten().filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at);
        match first {
            None => State::Live,
            Some((since, None)) => State::Expired { since },
            Some((since, Some(why))) => State::Revoked { since, why },
        }
    }

    /// Whether the provider still lets `issue` in at `now`: as [`Self::state_of`], but a revocation counts from when
    /// it has spread.
    pub(super) fn admits(&self, issue: &Issue, now: Time) -> bool {
        let dead = |at: Time| at <= now;
        !(dead(issue.expires) || issue.superseded.is_some_and(dead) || self.end.is_some_and(|end| dead(end.effective)))
    }
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
