//! A fleet as one of its replicas sees it.

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::inventory::EngineKind;
use crate::names::{AccountName, FleetName, HostName, Label, ReplicaName, TokenName};

/// The fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FleetStatus {
    /// Its name.
    pub name: FleetName,
    /// Who tells this. `None`: somebody who is no replica.
    pub replica: Option<ReplicaName>,
    /// How long this replica may still begin something, in milliseconds. `None`: it may not.
    pub lease_left_ms: Option<u64>,
    /// Why this replica takes no part, where it does not.
    pub trouble: Option<String>,
    /// Every replica that lives, in the order of names.
    pub replicas: Vec<ReplicaStatus>,
    /// `None`: it has not answered so far.
    pub engine: Option<EngineStatus>,
    /// Accounts of the inventory that nobody owns.
    pub unowned: Vec<UnownedStatus>,
    /// Tokens of the inventory that other replicas look after.
    pub elsewhere: Vec<ElsewhereStatus>,
    /// Why the journal does not tell of them now.
    #[serde(default)]
    pub unread: Option<String>,
    /// Hosts of consumers that stores are on, or whose agents live.
    #[serde(default)]
    pub hosts: Vec<HostStatus>,
    /// Labels that no known host has, with the tokens that mean them, a line each.
    #[serde(default)]
    pub idle_selectors: Vec<String>,
    /// How often the lease of this replica was lost since its start.
    pub leases_lost: u64,
    /// How many accounts this replica has taken since its start.
    pub accounts_taken: u64,
}

impl FleetStatus {
    /// A fleet of which only its name is known.
    pub fn named(name: FleetName) -> Self {
        Self {
            name,
            replica: None,
            lease_left_ms: None,
            trouble: None,
            replicas: Vec::new(),
            engine: None,
            unowned: Vec::new(),
            elsewhere: Vec::new(),
            unread: None,
            hosts: Vec::new(),
            idle_selectors: Vec::new(),
            leases_lost: 0,
            accounts_taken: 0,
        }
    }
}

/// A replica that lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReplicaStatus {
    /// Its name.
    pub name: ReplicaName,
    /// patrold's version.
    pub version: String,
    /// When it was started, by its own clock.
    pub started: Time,
    /// How many accounts it owns.
    pub accounts: usize,
    /// Another replica has a newer inventory.
    pub behind: bool,
    /// It is to own nothing.
    pub drained: bool,
}

/// The engine, as one of its members tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EngineStatus {
    /// What it is.
    pub kind: EngineKind,
    /// Its version.
    pub version: String,
    /// How large its database is.
    pub size_bytes: u64,
    /// It has a leader, and takes writes.
    pub has_leader: bool,
    /// Alarms that are raised, such as NOSPACE.
    pub alarms: Vec<String>,
    /// What this version does not guarantee, a line each.
    pub risks: Vec<String>,
}

/// A host of consumers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostStatus {
    /// Its name.
    pub name: HostName,
    /// The version of its agent. `None`: it is away.
    pub version: Option<String>,
    /// What it is, by which the inventory may mean it.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// Its agent says labels that its key was not made for.
    #[serde(default)]
    pub unproven: bool,
    /// Its agent has a key that came of a seal key which is not in force any more.
    #[serde(default)]
    pub outdated: bool,
    /// When its agent was last seen, a minute old at most. `None`: never.
    pub seen: Option<Time>,
    /// Nobody waits for it until its agent is back.
    pub forgotten: bool,
    /// Tokens of which it has not acknowledged a store or a hook, as far as who tells this knows.
    pub owes: Vec<TokenName>,
}

/// An account that nobody owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnownedStatus {
    /// The account.
    pub account: AccountName,
    /// For how long.
    pub for_seconds: u64,
}

/// A token that another replica looks after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ElsewhereStatus {
    /// The token.
    pub token: TokenName,
    /// Its account.
    pub account: AccountName,
    /// `None`: nobody.
    pub owner: Option<ReplicaName>,
}
