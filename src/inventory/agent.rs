//! The file of an agent: which fleet it serves, and what it lets itself be told.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::EngineSettings;
use crate::names::{FleetName, HostName, Label};
use crate::secret::SecretSource;

/// `[agent]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSettings {
    pub fleet: FleetName,
    /// What the inventory of the fleet calls this machine.
    pub host: HostName,
    /// What this machine is, by which the inventory may mean it.
    pub labels: BTreeSet<Label>,
    /// The key of the host, from `patrold fleet host-key`, for these labels.
    pub key: SecretSource,
    /// Where it keeps which errands it has done.
    pub state_dir: PathBuf,
    /// After this long without a sign of life, the fleet takes it to be away.
    pub lease: Duration,
    /// What it may write: nothing else.
    pub paths: Vec<PathPattern>,
    /// What it may run, word for word: nothing else.
    pub hooks: Vec<Vec<String>>,
    pub engine: EngineSettings,
    /// Its own files, which it never writes.
    pub own: Vec<PathBuf>,
}

impl AgentSettings {
    /// Whether the file at `path` may be written; else why not, in words that complete "the agent …".
    pub fn permits(&self, path: &Path) -> Result<(), String> {
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) {
            return Err(format!("takes no path such as {}", path.display()));
        }
        if path.starts_with(&self.state_dir) || self.own.iter().any(|own| own == path) {
            return Err(format!("does not let {} be written, which is a file of its own", path.display()));
        }
        if self.paths.iter().any(|pattern| pattern.takes(path)) {
            return Ok(());
        }
        Err(format!("does not have {} in `paths` of its [agent]", path.display()))
    }
}

impl AgentSettings {
    /// Whether this command may be run; else why not, in words that complete "the agent …".
    pub fn permits_command(&self, command: &[String]) -> Result<(), String> {
        if self.hooks.iter().any(|hook| hook == command) {
            return Ok(());
        }
        Err(format!("does not have {command:?} in `hooks` of its [agent]"))
    }
}

/// Paths: `*` stands for any part of one name, never for a `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(glob::Pattern);

impl PathPattern {
    /// The pattern that `text` spells; fails in words that complete "… is no pattern: ".
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err("it does not begin with \"/\"".to_owned());
        }
        if text.contains("**") {
            return Err("`**` would stand for whole trees: name each directory".to_owned());
        }
        if text.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("it has a part \".\" or \"..\"".to_owned());
        }
        glob::Pattern::new(text).map(Self).map_err(|error| error.to_string())
    }

    fn takes(&self, path: &Path) -> bool {
        const OPTIONS: glob::MatchOptions = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        self.0.matches_path_with(path, OPTIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::EnginePlace;
    use crate::trust::TlsPolicy;

    #[test]
    fn an_agent_obeys_its_own_file_alone() {
        let settings = AgentSettings {
            fleet: "prod".parse().unwrap(),
            host: "web-1".parse().unwrap(),
            labels: BTreeSet::new(),
            key: SecretSource::File("/etc/patrold/host.key".into()),
            state_dir: "/var/lib/patrold".into(),
            lease: Duration::from_secs(15),
            paths: ["/run/gps/*", "/etc/*.env", "/var/lib/*/*"].map(|text| PathPattern::parse(text).unwrap()).to_vec(),
            hooks: vec![["systemctl", "try-restart", "gps.service"].map(str::to_owned).to_vec()],
            engine: EngineSettings { place: EnginePlace::Etcd(Vec::new()), login: None, tls: TlsPolicy::default() },
            own: vec!["/etc/own.env".into()],
        };
        for (command, fine) in [
            (&["systemctl", "try-restart", "gps.service"][..], true),
            (&["systemctl", "try-restart", "other.service"], false),
            (&["systemctl", "try-restart"], false),
            (&["/bin/systemctl", "try-restart", "gps.service"], false),
            (&[], false),
        ] {
            let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(settings.permits_command(&command).is_ok(), fine, "{command:?}");
        }
        for (path, fine) in [
            ("/run/gps/token", true),
            ("/etc/gps.env", true),
            ("/var/lib/gps/token", true),
            ("/run/gps/deep/token", false),
            ("/run/gps", false),
            ("/etc/shadow", false),
            ("/run/gps/../../etc/gps.env", false),
            ("/run/gps/.hidden", false),
            ("run/gps/token", false),
            ("/etc/own.env", false),
            ("/var/lib/patrold/agent.json", false),
        ] {
            assert_eq!(
                settings.permits(Path::new(path)).is_ok(),
                fine,
                "{path}: {:?}",
                settings.permits(Path::new(path))
            );
        }
    }

    #[test]
    fn a_pattern_stays_within_directories_that_it_names() {
        for (text, fine) in [
            ("/run/*", true),
            ("/run/gps/token", true),
            ("run/*", false),
            ("/**", false),
            ("/run/../*", false),
            ("/[", false),
        ] {
            assert_eq!(PathPattern::parse(text).is_ok(), fine, "{text}");
        }
    }
}
