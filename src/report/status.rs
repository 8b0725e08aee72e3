//! The status: daemon, accounts and tokens as plain data. The daemon answers it over the control socket; where
//! none runs, the command line builds it from inventory and journal.
//!
//! Part of `status --json` and of the control protocol: fields are added, never renamed.

mod account;
mod build;
mod cause;
mod error;
mod fleet;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::names::{AccountName, ChannelName, GenerationNo, Marker, ProviderName, RemoteId, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::provider::Expiry;

use super::outlook::Outlook;
use super::reload::ReloadAnswer;

pub use account::{AccountCondition, AccountStatus};
pub use build::{AccountFacts, Activity, Subject, account, build, token};
pub use cause::Cause;
pub use error::ErrorStatus;
pub use fleet::{ElsewhereStatus, EngineStatus, FleetStatus, HostStatus, ReplicaStatus, UnownedStatus};

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// When it was so.
    pub at: Time,
    /// `None`: no daemon runs, and the rest is what the journal says.
    pub daemon: Option<DaemonStatus>,
    /// The journal that it was read from.
    pub journal: JournalStatus,
    /// The fleet that the daemon is a replica of. `None`: it is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetStatus>,
    /// In the order of names.
    pub accounts: Vec<AccountStatus>,
    /// In the order of names; of a fleet, those that this replica owns.
    pub tokens: Vec<TokenStatus>,
    /// Ways to tell people, in the order of names; empty where no daemon runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelStatus>,
}

/// The process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DaemonStatus {
    /// Its process id.
    pub pid: u32,
    /// patrold's version.
    pub version: String,
    /// When it was started.
    pub started: Time,
    /// The files of the inventory in effect.
    pub inventory: Vec<String>,
    /// The last attempt to apply a changed inventory.
    pub reload: Option<ReloadStatus>,
}

/// What the last reload led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReloadStatus {
    /// When it was tried.
    pub at: Time,
    /// What came of it.
    #[serde(flatten)]
    pub answer: ReloadAnswer,
}

/// The journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JournalStatus {
    /// The directory that it is in.
    pub state_dir: String,
    /// Why it cannot be written, where it cannot.
    pub failure: Option<Failure>,
    /// What stands in it and cannot be read, a line each.
    #[serde(default)]
    pub unreadable: Vec<String>,
}

/// How a token fares, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Consumers have a valid secret, and nothing is the matter.
    Fine,
    /// A rotation is under way.
    Busy,
    /// Something failed and is tried again; consumers have a valid secret.
    Failing,
    /// Somebody has to replace it by hand before it ends: its provider cannot mint.
    Due,
    /// It is in the inventory, and no consumer ever got a secret.
    Missing,
    /// What consumers have does not work, or a store does not hold the secret and cannot be written.
    Down,
    /// It is not in the inventory any more.
    Left,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 7] =
        [Self::Fine, Self::Busy, Self::Failing, Self::Due, Self::Missing, Self::Down, Self::Left];

    /// A sign for it, so that colour is not all that tells states apart.
    pub fn glyph(self) -> char {
        match self {
            Self::Fine => '✓',
            Self::Busy => '…',
            Self::Failing | Self::Due => '!',
            Self::Missing | Self::Down => '✗',
            Self::Left => '·',
        }
    }

    /// How soon somebody should look: the highest first.
    pub fn urgency(self) -> u8 {
        match self {
            Self::Down => 5,
            Self::Missing => 4,
            Self::Due => 3,
            Self::Failing => 2,
            Self::Busy | Self::Left => 1,
            Self::Fine => 0,
        }
    }

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
    /// Its name in the inventory.
    pub name: TokenName,
    /// `None`: it is not in the inventory, and the journal does not tell either.
    pub account: Option<AccountName>,
    /// Its account's provider definition.
    pub provider: Option<ProviderName>,
    /// How it fares.
    pub condition: Condition,
    /// Where it is in its life.
    pub phase: String,
    /// The inventory says so.
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
    /// When what failed is tried again.
    pub next_attempt: Option<Time>,
    /// What failed last.
    pub last_error: Option<ErrorStatus>,
    /// When a secret was last handed over.
    pub last_success: Option<Time>,
    /// When an operator asked for a rotation that has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<Time>,
    /// When it is revoked, where an operator retired it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retirement: Option<Time>,
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
    /// Its number; the first is 1, one that was adopted 0.
    pub number: GenerationNo,
    /// Renewals in place.
    pub revision: u32,
    /// Its name at the provider, where patrold gave it one.
    pub marker: Option<Marker>,
    /// The provider's own id.
    pub id: Option<RemoteId>,
    /// When it was asked for.
    pub minted_at: Time,
    /// When its secret expires, on the provider's clock.
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
    /// The generation.
    #[serde(flatten)]
    pub generation: GenerationStatus,
    /// When the new one became current.
    pub handed_over: Time,
    /// It is not revoked before this.
    pub revoke_at: Time,
}

/// What is owed to consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwedKind {
    /// A store is not written.
    Store,
    /// A hook has not succeeded.
    Hook,
}

/// A store or a hook that was tried in vain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OwedStatus {
    /// Which of both.
    pub kind: OwedKind,
    /// The store's key or the hook's command.
    pub key: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it first failed.
    pub since: Time,
    /// When it is tried again.
    pub next: Time,
    /// Why it failed last, in one line.
    pub error: String,
    /// The stable code of that failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<FailureCode>,
    /// What to do about it.
    #[serde(default)]
    pub help: String,
    /// The runbook that goes further: an anchor of `docs/runbooks.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
}

/// A way to tell people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChannelStatus {
    /// Its name in the inventory.
    pub name: ChannelName,
    /// How its messages leave.
    pub way: String,
    /// Open conditions that it was told of.
    pub told: usize,
    /// When its last message left.
    pub last_message: Option<Time>,
    /// Why it takes no messages.
    pub failing: Option<ErrorStatus>,
    /// Since when it takes none.
    pub since: Option<Time>,
    /// When it is tried again.
    pub next_attempt: Option<Time>,
}

/// A credential that may be alive besides the generations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OrphanStatus {
    /// Why it is still there.
    pub kind: OrphanKind,
    /// Its generation, where it is one.
    pub number: Option<GenerationNo>,
    /// Its name at the provider.
    pub marker: Option<Marker>,
    /// The provider's id.
    pub id: Option<RemoteId>,
    /// When it ends for sure.
    pub until: Option<Time>,
    /// Its revocation failed and is tried again then.
    pub next_attempt: Option<Time>,
    /// Why its revocation failed last, in one line.
    pub error: Option<String>,
}

/// Why it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrphanKind {
    /// The provider offers no way to revoke it.
    Unrevocable,
    /// Its mint has an unknown outcome, and its marker was not found.
    #[serde(rename = "lost-mint")]
    UnknownMint,
    /// Its revocation had to be left for later.
    Deferred,
}
