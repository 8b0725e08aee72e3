//! `[fleet]`: several daemons that share one journal.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::names::{FleetName, ReplicaName};
use crate::secret::SecretSource;
use crate::trust::TlsPolicy;

/// `[fleet]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetSettings {
    pub name: FleetName,
    /// What this replica is called. No two of a fleet have the same name.
    pub host: ReplicaName,
    /// After this long without a sign of life, others take what this replica owns.
    pub lease: Duration,
    /// Directories that every replica sees alike: only there may a store be a file.
    pub shared_paths: Vec<PathBuf>,
    pub engine: EtcdSettings,
}

impl FleetSettings {
    /// Whether every replica sees the file at `path` alike.
    pub fn shares(&self, path: &Path) -> bool {
        self.shared_paths.iter().any(|shared| path.starts_with(shared))
    }
}

/// The members of an etcd cluster, and how to reach them.
#[derive(Clone, Debug, PartialEq)]
pub struct EtcdSettings {
    pub members: Vec<Url>,
    /// User and password, where the engine asks for them.
    pub login: Option<(String, SecretSource)>,
    pub tls: TlsPolicy,
}
