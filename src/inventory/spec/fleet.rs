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
}

/// `engine` of `[fleet]`.
#[derive(Debug)]
pub struct EngineSpec {
    pub etcd: Option<Located<Vec<Located<String>>>>,
    pub allow_plaintext: bool,
    /// User and password.
    pub login: Option<(String, SecretSource)>,
    pub tls: TlsSpec,
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
            engine: reader.required("engine").then(|| EngineSpec::decode(&reader)).flatten(),
        };
        reader.finish();
        Some(spec)
    }
}

impl EngineSpec {
    fn decode(fleet: &Reader<'_>) -> Option<Self> {
        let reader = fleet.table("engine", "`engine` of [fleet]")?;
        reader.required("etcd");
        let spec = Self {
            etcd: reader.strings("etcd"),
            allow_plaintext: reader.bool("allow-plaintext").is_some_and(|allow| allow.value),
            login: source::login(&reader),
            tls: TlsSpec::decode(&reader),
        };
        reader.finish();
        Some(spec)
    }
}
