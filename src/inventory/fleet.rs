//! `[fleet]`: several daemons that share one journal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
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
    pub engine: EngineSettings,
    /// A further key that opens secrets, until it is the one that seals them: while the seal key is exchanged.
    pub next_seal_key: Option<SecretSource>,
}

impl FleetSettings {
    /// Whether every replica sees the file at `path` alike.
    pub fn shares(&self, path: &Path) -> bool {
        self.shared_paths.iter().any(|shared| path.starts_with(shared))
    }
}

/// Where the journal of a fleet is, and how it is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    pub place: EnginePlace,
    /// User and password, where the engine asks for them.
    pub login: Option<(String, SecretSource)>,
    pub tls: TlsPolicy,
}

/// What keeps the journal of a fleet.
#[derive(Clone, Debug, PartialEq)]
pub enum EnginePlace {
    /// The members of an etcd cluster.
    Etcd(Vec<Url>),
    Postgres(Database),
}

/// Kinds of engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    Etcd,
    PostgreSql,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Etcd => "etcd",
            Self::PostgreSql => "PostgreSQL",
        })
    }
}

/// A database of PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The primary, and those that may become it; never empty.
    pub servers: Vec<Server>,
    pub name: String,
    /// Who asks, where the server knows that without a password. `None`: whoever runs this process.
    pub user: Option<String>,
    /// Connections use TLS.
    pub encrypted: bool,
}

/// Where a server of PostgreSQL listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: ServerHost,
    pub port: u16,
}

/// The machine that a server runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerHost {
    /// A name or an address.
    Named(String),
    /// This machine: the directory of its socket.
    Socket(PathBuf),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            ServerHost::Named(host) => write!(f, "{host}:{}", self.port),
            ServerHost::Socket(directory) => write!(f, "{}", directory.display()),
        }
    }
}
