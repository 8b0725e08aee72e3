//! Replicas, each with a configuration and a state directory of its own, and the stores that all of them see.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use patrold::clock::{Clock as _, Span, SystemClock};
use patrold::demo::engine::{EngineOptions, LoopbackEngine};
use patrold::demo::{Consumer, Loopback, Options, Reading, Service};
use patrold::inventory::{self, EngineKind, Environment, FleetSettings};
use patrold::journal::fleet::FleetJournal;
use patrold::journal::fleet::presence::Presence;
use patrold::journal::key::KeySource;
use patrold::names::TokenName;
use patrold::rotation::TokenState;
use patrold::rotation::stored::restore;
use patrold::secret::Fingerprinter;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::engine;

/// The lease of every replica.
pub const LEASE: Duration = Duration::from_secs(3);

/// Accounts, each with one token.
pub const ACCOUNTS: usize = 8;

/// One fleet.
pub struct Stage {
    pub root: PathBuf,
    pub loopback: Loopback,
    pub engine: LoopbackEngine,
    /// `engine` of every inventory.
    place: String,
    /// Reads what the engine tells, and takes no part.
    watcher: FleetJournal,
}

/// One replica that runs.
pub struct Replica {
    pub name: String,
    pub process: Child,
}

impl Replica {
    pub fn signal(&self, signal: Signal) {
        let pid = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Stage {
    /// An engine, a provider, and a fleet that was made. None where there is no such engine.
    pub async fn set(root: &Path, kind: EngineKind) -> Option<Self> {
        let engine = engine::start(kind, EngineOptions::default()).await?;
        let place = engine.place();
        Some(Self::on(root, engine, &place).await)
    }

    /// The same on an engine that runs. `place`: what the inventories say of it.
    pub async fn on(root: &Path, engine: LoopbackEngine, place: &str) -> Self {
        let options = Options { awx_lifetime: Span::seconds(120), awx_page_size: 50, ..Options::default() };
        let loopback = Loopback::start(SystemClock, options).await.unwrap();
        fs::create_dir(root.join("stores")).unwrap();
        fs::write(root.join("seal.key"), "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::write(root.join("password"), loopback.operator().unwrap().password.expose()).unwrap();
        write_inventory(root, "watcher", place, &loopback, "");
        let made = patrold(root, "watcher", &["fleet", "init"]).await;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let watcher = FleetJournal::open(&settings(root, "watcher"), &key(root)).await.unwrap();
        Self { root: root.to_owned(), loopback, engine, place: place.to_owned(), watcher }
    }

    /// Writes the inventory of a replica whose engine is reached in another way.
    pub fn write(&self, name: &str, place: &str) {
        write_inventory(&self.root, name, place, &self.loopback, "");
    }

    /// Starts the replica `name`. `more` goes into its inventory.
    pub fn start(&self, name: &str, more: &str) -> Replica {
        write_inventory(&self.root, name, &self.place, &self.loopback, more);
        Replica { name: name.to_owned(), process: self.run(name) }
    }

    /// Runs the daemon of the inventory `name` as it is.
    pub fn run(&self, name: &str) -> Child {
        let log = File::options().create(true).append(true).open(self.root.join(format!("{name}.log"))).unwrap();
        Command::new(env!("CARGO_BIN_EXE_patrold"))
            .arg("--config")
            .arg(self.root.join(format!("{name}.toml")))
            .arg("run")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// What the replica `name` has logged so far.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.root.join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Who lives, and who owns what.
    pub async fn presence(&self) -> Presence {
        let begun = Instant::now();
        loop {
            match self.watcher.presence().await {
                Ok((presence, _)) => return presence,
                // It may just be started again.
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many accounts the replica `name` owns, as the engine tells.
    pub async fn owned(&self, name: &str) -> usize {
        let presence = self.presence().await;
        presence.claims.values().filter(|claim| claim.replica.as_str() == name).count()
    }

    /// Waits until what the owners have left of the limits of each account is `fine`.
    pub async fn until_left(&self, sentence: &str, patience: Duration, fine: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        for number in 0..ACCOUNTS {
            let account = format!("controller-{number}").parse().unwrap();
            while !self.watcher.limits(&account).await.unwrap().is_some_and(|text| fine(&text)) {
                assert!(begun.elapsed() < patience, "not in time: {sentence}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Waits until `fine` is so of who owns what; gives how long it took.
    pub async fn until(&self, sentence: &str, patience: Duration, fine: impl Fn(&Presence) -> bool) -> Duration {
        let begun = Instant::now();
        loop {
            let presence = self.presence().await;
            if fine(&presence) {
                return begun.elapsed();
            }
            if begun.elapsed() > patience {
                let logs: String = ["r1", "r2", "r3"].iter().fold(String::new(), |mut logs, name| {
                    // Writing to a String cannot fail.
                    let _ = write!(logs, "--- {name}\n{}", tail(&self.log(name)));
                    logs
                });
                panic!("not within {patience:?}: {sentence}: {presence:#?}\n{logs}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the journal tells of every token.
    pub async fn states(&self) -> BTreeMap<TokenName, TokenState> {
        let mut states = BTreeMap::new();
        for number in 0..ACCOUNTS {
            let account = format!("controller-{number}").parse().unwrap();
            for (name, stored) in self.watcher.load_account(&account).await.unwrap() {
                states.insert(name, restore(&stored).unwrap().state);
            }
        }
        states
    }

    /// One consumer for each token.
    pub fn consumers(&self) -> Vec<Consumer> {
        let fingerprints = Fingerprinter::new(&[7; 32]);
        let consumer = |number| {
            let name = format!("ci-{number}");
            let path = self.root.join("stores").join(&name);
            Consumer::new(name, path, Reading::Whole, self.loopback.ledger().clone(), fingerprints.clone())
        };
        (0..ACCOUNTS).map(consumer).collect()
    }
}

/// The end of a log.
pub fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n") + "\n"
}

/// Runs a command with the inventory of the replica `name`.
pub async fn patrold(root: &Path, name: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_patrold"))
        .arg("--config")
        .arg(root.join(format!("{name}.toml")))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

/// The settings of the fleet, as the inventory of the replica `name` has them.
pub fn settings(root: &Path, name: &str) -> FleetSettings {
    let path = root.join(format!("{name}.toml"));
    let loaded = inventory::load(&path, &Environment::of_process(&path), SystemClock.now());
    let Some(inventory) = loaded.inventory else { panic!("{}", loaded.report.render()) };
    inventory.fleet.unwrap()
}

pub fn key(root: &Path) -> KeySource {
    KeySource::File(root.join("seal.key"))
}

/// An account of the loopback provider that is called `name`.
pub fn account(name: &str, root: &Path, loopback: &Loopback) -> String {
    let (root, operator) = (root.display(), loopback.operator().unwrap());
    format!(
        r#"
[account.{name}]
provider   = "awx"
url        = "{url}"
credential = {{ username = "{user}", password = {{ file = "{root}/password" }} }}
params     = {{ user_id = {id} }}
poll-every = "2s"
settle     = "300ms"
"#,
        url = loopback.url(Service::Awx).as_str().trim_end_matches('/'),
        user = operator.name,
        id = operator.id,
    )
}

fn write_inventory(root: &Path, name: &str, place: &str, loopback: &Loopback, more: &str) {
    let root_text = root.display();
    let mut text = format!(
        r#"
[daemon]
state-dir = "{root_text}/{name}"
control   = "{root_text}/{name}.sock"
log-level = "debug"
seal-key  = {{ file = "{root_text}/seal.key" }}

[fleet]
name   = "test"
host   = "{name}"
lease  = "{lease}s"
engine = {{ {place} }}
shared-paths = ["{root_text}/stores"]

[defaults]
grace          = "1s"
jitter         = "0s"
verify-timeout = "5s"
drift-every    = "5s"
{more}
"#,
        lease = LEASE.as_secs(),
    );
    for number in 0..ACCOUNTS {
        text += &account(&format!("controller-{number}"), root, loopback);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#"
[[token]]
name         = "ci-{number}"
account      = "controller-{number}"
rotate-every = "3s"
stores       = [{{ kind = "file", path = "{root_text}/stores/ci-{number}" }}]
"#,
        );
    }
    fs::write(root.join(format!("{name}.toml")), text).unwrap();
}
