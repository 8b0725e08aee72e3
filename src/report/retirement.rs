//! What became of a token that an operator retired.

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::names::TokenName;

/// What became of it at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetireOutcome {
    /// It is revoked.
    Revoked,
    /// It is revoked later, by the daemon or by the next command.
    Planned,
    /// It is about to be revoked.
    Waiting,
    /// The provider has no way to revoke it: it lives until it expires.
    LeftToExpire,
    /// It stays alive, as the operator wants.
    Kept,
    /// Nothing of it was alive.
    Nothing,
    /// Its revocation failed, and is tried again.
    Failed,
    /// It cannot be done, and nothing was begun.
    Refused,
}

/// The answer to the retirement of one token. Part of `retire --json` and of the control protocol: names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RetireAnswer {
    /// The token.
    pub token: TokenName,
    /// What became of it.
    pub outcome: RetireOutcome,
    /// When it is revoked, where that is planned.
    pub at: Option<Time>,
    /// Why it failed, or what it waits for, in one line; may be empty.
    pub detail: String,
}

impl RetireAnswer {
    /// Of a token of which nothing is known to be alive.
    pub fn of(token: &TokenName) -> Self {
        Self { token: token.clone(), outcome: RetireOutcome::Nothing, at: None, detail: String::new() }
    }
}
