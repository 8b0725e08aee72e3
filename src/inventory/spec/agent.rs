//! `[agent]`, in the file of an agent.

use std::time::Duration;

use crate::document::{Found, Located, Reader, Spot};
use crate::inventory::values;
use crate::secret::SecretSource;

use super::fleet::EngineSpec;
use super::source::{SOURCES, secret};

/// `[agent]`.
#[derive(Debug)]
pub struct AgentSpec {
    pub spot: Spot,
    pub fleet: Option<Located<String>>,
    pub host: Option<Located<String>>,
    pub labels: Vec<Located<String>>,
    pub key: Option<Located<SecretSource>>,
    pub state_dir: Option<Located<String>>,
    pub lease: Option<Located<Duration>>,
    pub paths: Vec<Located<String>>,
    /// Each a program and its arguments.
    pub hooks: Vec<Vec<String>>,
    pub engine: Option<EngineSpec>,
}

impl AgentSpec {
    /// Takes all of `file`.
    pub fn decode(file: Reader<'_>) -> Option<Self> {
        file.required("agent");
        let spec = file.table("agent", "[agent]").map(|reader| {
            reader.required("key");
            let spec = Self {
                spot: reader.spot(),
                fleet: reader.required_string("fleet"),
                host: reader.string("host"),
                labels: reader.strings("labels").map(|found| found.value).unwrap_or_default(),
                key: secret(&reader, "key", &SOURCES),
                state_dir: reader.string("state-dir"),
                lease: reader.parsed("lease", values::timer),
                paths: reader.strings("paths").map(|found| found.value).unwrap_or_default(),
                hooks: hooks(&reader),
                engine: reader.required("engine").then(|| EngineSpec::decode(&reader)).flatten(),
            };
            reader.finish();
            spec
        });
        file.finish();
        spec
    }
}

/// Commands, each a list of words.
fn hooks(reader: &Reader<'_>) -> Vec<Vec<String>> {
    let command = |found: Found<'_>| {
        let words = found.to_json();
        let words = words
            .as_array()
            .and_then(|words| words.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
        let words = words.filter(|words| words.first().is_some_and(|program| !program.trim().is_empty()));
        if words.is_none() {
            let message = format!("`hooks` of {} holds what is no command", reader.what());
            let help = "write for example hooks = [[\"systemctl\", \"try-restart\", \"gps.service\"]]";
            reader.report().error_with_help(found.spot(), message, help);
        }
        words
    };
    reader.array("hooks").unwrap_or_default().into_iter().filter_map(command).collect()
}
