//! Reads the file of an agent from disk.

use std::path::Path;

use toml::de::DeTable;

use crate::clock::Time;
use crate::definition::Definitions;
use crate::document::{Reader, Report, Spot};
use crate::files::{self, LARGEST_DOCUMENT};
use crate::trust::{TlsPolicy, TrustError, TrustRoots};

use super::agent::AgentSettings;
use super::environment::Environment;
use super::resolve::{Surroundings, resolve_agent};
use super::spec::AgentSpec;

/// Loads the file of an agent. `None` where the report holds an error.
pub fn load_agent(path: &Path, environment: &Environment, now: Time) -> (Option<AgentSettings>, Report) {
    let mut report = Report::new();
    report.set_home(environment.home.clone());
    let name = path.display().to_string();
    let read = files::read(path, LARGEST_DOCUMENT).map_err(|error| (error.to_string(), error.remedy()));
    let text = read.and_then(|bytes| {
        let text = std::str::from_utf8(&bytes).map(str::to_owned);
        text.map_err(|_| ("is not UTF-8 text".to_owned(), "save it as UTF-8"))
    });
    let text = match text {
        Ok(text) => text,
        Err((problem, help)) => {
            let source = report.add_source(&name, "");
            report.error_with_help(Spot::top(source), format!("{name} {problem}"), help);
            return (None, report);
        }
    };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let settings =
        interpret(&mut report, &name, text, &path, environment, now, &|policy| TrustRoots::read(policy).map(drop));
    (settings, report)
}

/// What `text` means as the file of an agent at `path`.
fn interpret(
    report: &mut Report,
    name: &str,
    text: String,
    path: &Path,
    environment: &Environment,
    now: Time,
    roots: &dyn Fn(&TlsPolicy) -> Result<(), TrustError>,
) -> Option<AgentSettings> {
    let source = report.add_file(name, text, path.parent().unwrap_or(Path::new("/")));
    let report = &*report;
    let definitions = Definitions::default();
    let around = Surroundings {
        main: Spot::top(source),
        now,
        state_dir: environment.state_dir.as_deref(),
        state_dir_named: environment.state_dir_named,
        first_process: environment.first_process,
        runtime_dir: environment.runtime_dir.as_deref(),
        providers: None,
        definitions: &definitions,
        user: &|_| None,
        group: &|_| None,
        roots,
        is_file: &|_| false,
        user_services: environment.user_services,
        host: environment.host.as_deref(),
        files: &[],
    };
    let (table, errors) = DeTable::parse_recoverable(report.text(source));
    for error in &errors {
        let spot = error.span().map_or(Spot::top(source), |span| Spot::new(source, span));
        report.error(spot, format!("not TOML: {}", error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    let spec = AgentSpec::decode(Reader::new(report, source, &table, "the agent's file"))?;
    resolve_agent(&spec, path, &around, report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<AgentSettings>, String) {
        let mut report = Report::new();
        let environment = Environment {
            state_dir: Some("/var/lib/patrold".into()),
            host: Some("web-1".to_owned()),
            ..Environment::default()
        };
        let path = Path::new("/etc/patrold/agent.toml");
        let settings =
            interpret(&mut report, "agent.toml", text.to_owned(), path, &environment, Time::UNIX_EPOCH, &|_| Ok(()));
        (settings, report.render())
    }

    const FINE: &str = "[agent]\nfleet = \"prod\"\nkey = { file = \"/etc/patrold/host.key\" }\npaths = [\"/run/gps/*\"]\n\
                        [agent.engine]\netcd = [\"https://etcd-1.example.com:2379\"]\n";

    #[test]
    fn an_agent_is_read_with_its_defaults() {
        let (settings, told) = read(FINE);
        let settings = settings.unwrap_or_else(|| panic!("{told}"));
        assert_eq!((settings.fleet.as_str(), settings.host.as_str()), ("prod", "web-1"));
        assert_eq!(settings.state_dir, Path::new("/var/lib/patrold"));
        assert!(settings.permits(Path::new("/etc/patrold/host.key")).is_err());
        assert!(settings.permits(Path::new("/run/gps/token")).is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, told) in [
            ("", "lacks `agent`"),
            ("[agent]\n", "lacks `fleet`"),
            (&FINE.replace("fleet = \"prod\"\n", "fleet = \"prod\"\npath = []\n"), "agent.toml:3:1"),
            (&FINE.replace("/run/gps/*", "gps/*"), "is no pattern"),
            (&FINE.replace("paths = ", "hooks = [\"systemctl restart gps\"]\npaths = "), "is no command"),
            (&FINE.replace("paths = ", "hooks = [[\"./tell\"]]\npaths = "), "can never be started"),
            (&FINE.replace("[agent.engine]", "lease = \"1s\"\n[agent.engine]"), "from 2s to 60s"),
            (&FINE.replace("fleet = ", "host = \"web 1\"\nfleet = "), "cannot be the name of a host"),
            (&FINE.replace("fleet = ", "labels = [\"web\"]\nfleet = "), "is no label"),
            (&FINE.replace("https://", "http://"), "is plain http"),
            (&format!("{FINE}\n[[token]]\nname = \"gps\"\n"), "token"),
        ] {
            let (settings, report) = read(text);
            assert!(settings.is_none() && report.contains(told), "{told}: {report}");
        }
    }
}
