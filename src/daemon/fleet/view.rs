//! What a replica knows of its fleet, for those who look; and the same as the engine alone tells it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::journal::fleet::presence::Presence;
use crate::journal::fleet::{Health, Member};
use crate::names::{AccountName, FleetName, ReplicaName};
use crate::report::status::{EngineStatus, FleetStatus, ReplicaStatus};

use super::claims::is_behind;

/// What a replica knows of its fleet, for those who look.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub presence: Presence,
    /// Why this replica takes no part, where it does not.
    pub trouble: Option<String>,
    /// Another replica has a newer inventory.
    pub behind: bool,
    /// Since when nobody owns an account of the inventory, on the clock of [`boot`](crate::journal::fleet::boot).
    pub free_since: BTreeMap<AccountName, Duration>,
    pub health: Option<Health>,
    /// The key that was announced last, while keys are exchanged.
    pub seal_key: Option<String>,
    /// How often the lease was lost, and accounts were taken, since the start.
    pub leases_lost: u64,
    pub taken: u64,
}

/// What presence tells of a fleet, for those who look. What only a replica knows is left out.
pub fn status(name: &FleetName, presence: &Presence, health: Option<&Health>) -> FleetStatus {
    let replica = |(name, member): (&ReplicaName, &Member)| ReplicaStatus {
        name: name.clone(),
        version: member.version.clone(),
        started: member.started,
        accounts: presence.claims.values().filter(|claim| claim.replica == *name).count(),
        behind: is_behind(presence, name),
        drained: presence.drained.contains(name),
    };
    FleetStatus {
        replicas: presence.members.iter().map(replica).collect(),
        engine: health.map(|health| EngineStatus {
            kind: health.kind,
            version: health.version.clone(),
            size_bytes: health.size_bytes,
            has_leader: health.has_leader,
            alarms: health.alarms.clone(),
            risks: health.risks.clone(),
        }),
        ..FleetStatus::named(name.clone())
    }
}
