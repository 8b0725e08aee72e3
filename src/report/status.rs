//! What `status` shows: daemon, accounts and tokens as plain data. The daemon answers it over the control socket; where
//! none runs, the command line builds it from inventory and journal.
//!
//! Part of `status --json` and of the control protocol: fields are added, never renamed.

mod build;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::names::{AccountName, GenerationNo, Marker, ProviderName, RemoteId, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::provider::Expiry;

use super::outlook::Outlook;
use super::reload::ReloadAnswer;

pub use build::{AccountFacts, Progress, Subject, account, build, token};

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// When it was so.
    pub at: Time,
    /// `None`: no daemon runs, and the rest is what the journal says.
    pub daemon: Option<DaemonStatus>,
    pub journal: JournalStatus,
    /// In the order of names.
    pub accounts: Vec<AccountStatus>,
    /// In the order of names.
    pub tokens: Vec<TokenStatus>,
}

/// The process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DaemonStatus {
    pub pid: u32,
    pub version: String,
    pub started: Time,
    /// The files of the inventory in force.
    pub inventory: Vec<String>,
    /// The last attempt to take a changed inventory into force.
    pub reload: Option<ReloadStatus>,
}

/// What the last reload led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReloadStatus {
    pub at: Time,
    #[serde(flatten)]
    pub answer: ReloadAnswer,
}

/// The journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JournalStatus {
    pub state_dir: String,
    /// Why it cannot be written, where it cannot.
    pub failure: Option<Failure>,
    /// What stands in it and cannot be read, a line each.
    #[serde(default)]
    pub unreadable: Vec<String>,
}

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountCondition {
    /// Nothing was tried so far, or no daemon runs.
    Unknown,
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
    pub name: AccountName,
    pub provider: ProviderName,
    pub url: String,
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

/// How a token fares, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Consumers have a secret that works, and nothing is the matter.
    Fine,
    /// A rotation is under way.
    Busy,
    /// Something failed and is tried again; consumers have a secret that works.
    Failing,
    /// Somebody has to replace it by hand before it ends: its provider cannot mint.
    Due,
    /// It is in the inventory, and no secret was ever handed over.
    Missing,
    /// What consumers have does not work.
    Down,
    /// It is not in the inventory any more.
    Left,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 7] =
        [Self::Fine, Self::Busy, Self::Failing, Self::Due, Self::Missing, Self::Down, Self::Left];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Busy => "busy",
            Self::Failing => "failing",
            Self::Due => "due",
            Self::Missing => "missing",
            Self::Down => "down",
            Self::Left => "left",
        }
    }
}

/// One token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TokenStatus {
    pub name: TokenName,
    /// `None`: it is not in the inventory, and the journal does not tell either.
    pub account: Option<AccountName>,
    pub provider: Option<ProviderName>,
    pub condition: Condition,
    /// Where it is in its life.
    pub phase: String,
    pub paused: bool,
    /// The generation that consumers use.
    pub current: Option<GenerationStatus>,
    /// Why the provider certainly does not accept it any more.
    pub dead: Option<ErrorStatus>,
    /// A new generation on its way to the consumers.
    pub candidate: Option<GenerationStatus>,
    /// An old generation on its way out.
    pub retiring: Option<RetiringStatus>,
    /// What comes next.
    pub next: Outlook,
    /// Consecutive failures.
    pub failures: u32,
    pub next_attempt: Option<Time>,
    pub last_error: Option<ErrorStatus>,
    /// When a secret was last handed over.
    pub last_success: Option<Time>,
    /// Stores and hooks that were tried in vain and are owed.
    pub owed: Vec<OwedStatus>,
    /// Credentials that may be alive besides the generations.
    #[serde(rename = "remnants")]
    pub orphans: Vec<OrphanStatus>,
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GenerationStatus {
    pub number: GenerationNo,
    /// Renewals in place.
    pub revision: u32,
    pub marker: Option<Marker>,
    /// The provider's own id.
    pub id: Option<RemoteId>,
    pub minted_at: Time,
    pub expires: Expiry,
    /// Less than nothing once it has expired; `None` where there is no expiry.
    pub expires_in_seconds: Option<i64>,
    /// Renewals in place end here.
    pub renewable_until: Option<Time>,
}

/// A generation on its way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RetiringStatus {
    #[serde(flatten)]
    pub generation: GenerationStatus,
    /// When the new one became current.
    pub handed_over: Time,
    /// It is not revoked before this.
    pub revoke_at: Time,
}

/// A failure and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ErrorStatus {
    pub at: Time,
    pub code: FailureCode,
    /// One line.
    pub message: String,
}

impl ErrorStatus {
    /// `failure`, which happened at `at`.
    pub fn new(at: Time, failure: &Failure) -> Self {
        Self { at, code: failure.code, message: failure.to_string() }
    }
}

/// What is owed to consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwedKind {
    Store,
    Hook,
}

/// A store or a hook that was tried in vain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OwedStatus {
    pub kind: OwedKind,
    /// The store's key or the hook's command.
    pub key: String,
    pub attempts: u32,
    pub since: Time,
    pub next: Time,
    pub error: String,
}

/// A credential that may be alive besides the generations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OrphanStatus {
    pub kind: OrphanKind,
    pub number: Option<GenerationNo>,
    pub marker: Option<Marker>,
    pub id: Option<RemoteId>,
    /// When it ends for sure.
    pub until: Option<Time>,
    /// Its revocation failed and is tried again then.
    pub next_attempt: Option<Time>,
    pub error: Option<String>,
}

/// Why it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrphanKind {
    /// The provider offers no way to revoke it.
    Unrevocable,
    /// The answer to its mint was lost, and its marker was not found.
    #[serde(rename = "lost-mint")]
    UnknownMint,
    /// Its revocation had to be left for later.
    Deferred,
}
