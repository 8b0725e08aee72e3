//! `[fleet]`.

use std::time::Duration;

use crate::document::{Located, Reader, Spot};
use crate::inventory::values;
use crate::secret::SecretSource;

use super::reach::TlsSpec;
use super::source;

/// `[fleet]`.
#[derive(Debug)]
pub struct FleetSpec {
    pub spot: Spot,
    pub name: Option<Located<String>>,
    pub host: Option<Located<String>>,
    pub lease: Option<Located<Duration>>,
    pub shared_paths: Vec<Located<String>>,
    pub engine: Option<EngineSpec>,
    pub next_seal_key: Option<SecretSource>,
}

/// What keeps the journal.
#[derive(Debug)]
pub enum PlaceSpec {
    /// The members of a cluster.
    Etcd(Located<Vec<Located<String>>>),
    /// The URL of a database.
    Postgres(Located<String>),
}

/// `engine` of `[fleet]`.
#[derive(Debug)]
pub struct EngineSpec {
    pub place: PlaceSpec,
    pub allow_plaintext: bool,
    /// User and password.
    pub login: Option<(String, SecretSource)>,
    pub tls: TlsSpec,
    /// Whether `tls` is written at all.
    pub has_tls: bool,
}

impl FleetSpec {
    /// Takes the table of `file`, where it has one.
    pub fn decode(file: &Reader<'_>) -> Option<Self> {
        let reader = file.table("fleet", "[fleet]")?;
        let spec = Self {
            spot: reader.spot(),
            name: reader.required_string("name"),
            host: reader.string("host"),
            lease: reader.parsed("lease", values::timer),
            shared_paths: reader.strings("shared-paths").map(|found| found.value).unwrap_or_default(),
            next_seal_key: source::secret(&reader, "next-seal-key", &["file", "env", "systemd-credential"])
                .map(|found| found.value),
            engine: reader.required("engine").then(|| EngineSpec::decode(&reader)).flatten(),
        };
        reader.finish();
        Some(spec)
    }
}

impl EngineSpec {
    pub(super) fn decode(fleet: &Reader<'_>) -> Option<Self> {
        let reader = fleet.table("engine", format_args!("`engine` of {}", fleet.what()))?;
        let place = PlaceSpec::decode(&reader);
        let allow_plaintext = reader.bool("allow-plaintext").is_some_and(|allow| allow.value);
        let login = source::login(&reader);
        let (has_tls, tls) = (reader.has("tls"), TlsSpec::decode(&reader));
        reader.finish();
        Some(Self { place: place?, allow_plaintext, login, tls, has_tls })
    }
}

impl PlaceSpec {
    fn decode(reader: &Reader<'_>) -> Option<Self> {
        let (etcd, postgres) = (reader.strings("etcd"), reader.string("postgres"));
        match (reader.has("etcd"), reader.has("postgres")) {
            (true, false) => etcd.map(Self::Etcd),
            (false, true) => postgres.map(Self::Postgres),
            (false, false) => {
                let help = "write etcd = [\"https://etcd-1.example.com:2379\", …], or postgres = \
                            \"postgresql://db-1.example.com,db-2.example.com/patrold\"";
                reader.report().error_with_help(reader.spot(), format!("{} names no engine", reader.what()), help);
                None
            }
            (true, true) => {
                let message = format!("{} has both `etcd` and `postgres`", reader.what());
                reader.report().error_with_help(reader.key_spot("postgres"), message, "give exactly one of them");
                None
            }
        }
    }
}
