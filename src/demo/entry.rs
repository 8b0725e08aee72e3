//! What the ledger holds of each token, and what is true of it at a moment.

use super::Service;
use crate::clock::Time;
use crate::names::Marker;
use crate::secret::Secret;

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

impl LedgerEntry {
    /// The secret that is, or was last, in effect.
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
        Marker::within(&self.name).is_some()
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
