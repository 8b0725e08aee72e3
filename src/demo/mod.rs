//! The loopback provider: a real HTTP server that speaks three token APIs, tells the truth about its tokens, and
//! misbehaves on order.
//!
//! The `demo` command and the tests run the daemon against it. What it knows about its own tokens is in the
//! [`ledger`]; a [`consumer`] compares that with what a store's file holds, so that "no consumer ever holds a dead
//! token" is checked and not claimed.
//!
//! It speaks what the vendors document. Where the documentation is silent, a choice had to be made: each such choice
//! is marked "Demo's choice" in the code, and no provider definition may rely on it.

mod awx;
mod book;
mod commvault;
pub mod consumer;
pub mod dice;
pub mod engine;
mod entry;
pub mod faults;
pub mod fleet;
mod graphql;
pub mod judge;
pub mod ledger;
mod line;
pub mod operations;
mod pointone;
pub mod provider;
pub mod requests;
pub mod show;
pub mod site;
pub mod stage;
pub mod vault;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;

pub use consumer::{Consumer, Finding, Reading, Verdict};
pub use entry::{LedgerEntry, State, Why};
pub use faults::{Fault, Faults};
pub use judge::{Summary, unaccounted};
pub use ledger::Ledger;
pub use operations::operations;
pub use provider::Loopback;
pub use requests::RequestRecord;
pub use site::{Options, User};
pub use vault::Vault;

/// One of the services that the loopback provider stands in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Point One Navigation: GraphQL; the caller chooses the lifetime in days.
    PointOne,
    /// AWX 24.6.1: REST; the server chooses the lifetime.
    Awx,
    /// Commvault: REST; access tokens are renewed in place with a refresh token.
    Commvault,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 3] = [Self::PointOne, Self::Awx, Self::Commvault];

    /// The name of the built-in provider definition for this service.
    pub fn provider(self) -> &'static str {
        match self {
            Self::PointOne => "pointone",
            Self::Awx => "awx",
            Self::Commvault => "commvault",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.provider())
    }
}
