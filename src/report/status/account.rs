//! How an account fares.

use serde::{Deserialize, Serialize};

use super::error::ErrorStatus;
use crate::clock::Time;
use crate::names::{AccountName, ProviderName};

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountCondition {
    /// Nothing was tried so far, or no daemon runs.
    Unknown,
    /// Its last operation succeeded.
    Fine,
    /// Its credential is dead or missing, or the provider cannot be reached.
    Degraded,
}

impl AccountCondition {
    /// Every condition.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Fine, Self::Degraded];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Fine => "fine",
            Self::Degraded => "degraded",
        }
    }
}

/// One account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountStatus {
    /// Its name in the inventory.
    pub name: AccountName,
    /// Its provider definition.
    pub provider: ProviderName,
    /// Where the provider is.
    pub url: String,
    /// The proxy that its requests go through, with who names it; none where they go directly, or where no daemon runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Whether it can be used.
    pub condition: AccountCondition,
    /// Since when it is degraded.
    pub since: Option<Time>,
    /// The provider's clock minus ours.
    pub skew_ms: Option<i64>,
    /// The clocks differ so much that somebody should set one of them.
    pub skew_is_worrying: bool,
    /// The provider asked for patience until then.
    pub blocked_until: Option<Time>,
    /// When an operation last succeeded.
    pub last_success: Option<Time>,
    /// Why an operation last failed.
    pub last_error: Option<ErrorStatus>,
    /// When its tokens were last listed.
    pub last_listing: Option<Time>,
    /// Markers of live tokens at the provider that no generation accounts for.
    pub orphans: Vec<String>,
    /// Requests sent since the account was loaded.
    pub requests: u64,
    /// Requests that the inventory's `rate-limit` would let leave now.
    #[serde(default)]
    pub quota_left: Option<u64>,
    /// Requests that the provider still takes, by its last answer that told.
    #[serde(default)]
    pub allowance: Option<u64>,
    /// How many tokens of the inventory it has.
    pub tokens: usize,
}
