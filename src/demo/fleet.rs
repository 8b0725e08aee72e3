//! `patrold demo --fleet`: replicas of the real program over a real engine, all on loopback. One of them is killed every few
//! seconds; the provider's own ledger tells in the end whether the promise held.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock::{Clock as _, Span, SystemClock, Time};
use crate::inventory::{self, EngineKind, Environment};
use crate::journal::fleet::presence::Presence;
use crate::journal::fleet::{FleetError, FleetJournal};
use crate::journal::key::KeySource;
use crate::rotation::TokenState;
use crate::rotation::stored::restore;
use crate::secret::Fingerprinter;

use super::engine::{EngineOptions, EngineStartError, LoopbackEngine, installed};
use super::entry::LedgerEntry;
use super::judge::Summary;
use super::{Consumer, Loopback, Options, Reading, Service, Verdict};

/// Accounts, with one token each.
const ACCOUNTS: usize = 9;

/// Short, so that one sees something.
const LEASE: Duration = Duration::from_secs(3);

/// How often consumers look at their files.
const WATCH_EVERY: Duration = Duration::from_millis(5);

/// How often a replica is killed.
const KILL_EVERY: Duration = Duration::from_secs(9);

/// How long a killed replica stays away.
const AWAY: Duration = Duration::from_secs(5);

/// How long a replica may take to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the demo of a fleet could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum FleetShowError {
    #[error(transparent)]
    Engine(#[from] EngineStartError),
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// Directories, ports, processes.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A replica, and its process while it runs.
struct Replica {
    name: String,
    process: Option<Child>,
    /// When it is started again.
    back: Option<Time>,
}

/// Everybody who takes part.
struct Cast {
    directory: PathBuf,
    replicas: Vec<Replica>,
    journal: FleetJournal,
    consumers: Vec<Consumer>,
    loopback: Loopback,
    began: Time,
    kills: usize,
    slowest: Span,
}

/// Shows `replicas` replicas until `duration` is over, or until Ctrl-C; true where every guarantee held.
/// `kind`: the engine; any that the machine has, etcd first.
pub async fn show(
    replicas: usize,
    kind: Option<EngineKind>,
    duration: Option<Duration>,
    out: &mut impl Write,
) -> Result<bool, FleetShowError> {
    let kind = kind.or_else(|| installed().into_iter().next()).ok_or(EngineStartError::Missing)?;
    let directory = tempfile::Builder::new().prefix("patrold-demo-").tempdir()?;
    let root = directory.path();
    let engine = LoopbackEngine::start(kind, EngineOptions::default()).await?;
    let options = Options { awx_lifetime: Span::seconds(120), awx_page_size: 50, ..Options::default() };
    let loopback = Loopback::start(SystemClock, options).await?;
    let cast = Cast::gather(root, &engine.place(), replicas, loopback).await?;
    writeln!(
        out,
        "patrold demo: {replicas} replicas over one {kind} on loopback, {ACCOUNTS} accounts with a token each, rotated every \
         three seconds.\nEvery {} seconds one replica is killed (kill -9). Meanwhile, from another terminal:\n  patrold \
         --config {}/r1.toml fleet status\n",
        KILL_EVERY.as_secs(),
        root.display()
    )?;
    let held = Box::pin(cast.play(duration, out)).await?;
    engine.stop().await?;
    Ok(held)
}

impl Cast {
    async fn gather(root: &Path, place: &str, count: usize, loopback: Loopback) -> Result<Self, FleetShowError> {
        fs::create_dir(root.join("stores"))?;
        let key = root.join("seal.key");
        fs::write(&key, format!("{}\n", crate::names::hex(&crate::secret::random::bytes::<32>())))?;
        let password = loopback.operator().map(|user| user.password.expose().to_owned()).unwrap_or_default();
        fs::write(root.join("password"), password)?;
        let mut replicas = Vec::with_capacity(count);
        for number in 1..=count {
            let name = format!("r{number}");
            fs::write(root.join(format!("{name}.toml")), inventory_of(root, &name, place, &loopback))?;
            replicas.push(Replica { name, process: None, back: Some(Time::MIN_UTC) });
        }
        let audience = root.join("audience.toml");
        fs::write(&audience, inventory_of(root, "audience", place, &loopback))?;
        let loaded = inventory::load(&audience, &Environment::of_process(&audience), SystemClock.now());
        let settings = loaded.inventory.and_then(|inventory| inventory.fleet);
        let settings = settings.ok_or_else(|| io::Error::other(loaded.report.render()))?;
        let key = KeySource::File(key);
        FleetJournal::found(&settings, &key, None).await?;
        let journal = FleetJournal::open(&settings, &key).await?;
        let fingerprints = Fingerprinter::new(&[7; 32]);
        let consumer = |number: usize| {
            let name = format!("ci-{number}");
            let path = root.join("stores").join(&name);
            Consumer::new(name, path, Reading::Whole, loopback.ledger().clone(), fingerprints.clone())
        };
        let consumers = (0..ACCOUNTS).map(consumer).collect();
        Ok(Self {
            directory: root.to_owned(),
            replicas,
            journal,
            consumers,
            loopback,
            began: SystemClock.now(),
            kills: 0,
            slowest: Span::zero(),
        })
    }

    fn start(&self, name: &str) -> io::Result<Child> {
        let log = File::options().create(true).append(true).open(self.directory.join(format!("{name}.log")))?;
        Command::new(std::env::current_exe()?)
            .arg("--config")
            .arg(self.directory.join(format!("{name}.toml")))
            .arg("run")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
    }

    fn say(&self, out: &mut impl Write, line: &str) -> io::Result<()> {
        writeln!(out, "{:>7.1}s  {line}", (SystemClock.now() - self.began).as_seconds_f64())?;
        out.flush()
    }

    async fn play(mut self, duration: Option<Duration>, out: &mut impl Write) -> Result<bool, FleetShowError> {
        let end = duration.and_then(|duration| Span::from_std(duration).ok()).map(|span| SystemClock.now() + span);
        let mut look = interval(WATCH_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ask = interval(Duration::from_millis(100));
        ask.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut kill = tokio::time::interval_at(tokio::time::Instant::now() + KILL_EVERY, KILL_EVERY);
        let mut shares = String::new();
        // When a replica was killed whose accounts are not all taken over yet.
        let mut struck: Option<Time> = None;
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let now = SystemClock.now();
                    for consumer in &mut self.consumers {
                        // Findings stay with the consumer.
                        let _: Verdict = consumer.check(now);
                    }
                    if end.is_some_and(|end| now >= end) {
                        break;
                    }
                }
                _ = ask.tick() => {
                    self.bring_back(out)?;
                    let Ok((presence, _)) = self.journal.presence().await else { continue };
                    let now = shares_of(&presence);
                    if now != shares {
                        self.say(out, &now)?;
                        shares = now;
                    }
                    let whole = presence.claims.len() == ACCOUNTS
                        && presence.claims.values().all(|claim| self.lives(claim.replica.as_str()));
                    if let Some(at) = struck.filter(|_| whole) {
                        let took = SystemClock.now() - at;
                        self.slowest = self.slowest.max(took);
                        struck = None;
                        self.say(out, &format!("every account has an owner again, after {:.1} s", took.as_seconds_f64()))?;
                    }
                }
                _ = kill.tick() => {
                    if self.strike(out).await? {
                        struck = Some(SystemClock.now());
                    }
                }
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    break;
                }
            }
        }
        self.end(out).await
    }

    fn lives(&self, name: &str) -> bool {
        self.replicas.iter().any(|replica| replica.name == name && replica.process.is_some())
    }

    /// Starts what is to run and does not.
    fn bring_back(&mut self, out: &mut impl Write) -> io::Result<()> {
        let now = SystemClock.now();
        for number in 0..self.replicas.len() {
            let replica = &self.replicas[number];
            if replica.back.is_none_or(|back| back > now) {
                continue;
            }
            let (name, first) = (replica.name.clone(), replica.back == Some(Time::MIN_UTC));
            let process = self.start(&name)?;
            let replica = &mut self.replicas[number];
            (replica.process, replica.back) = (Some(process), None);
            if !first {
                self.say(out, &format!("{name} is started again"))?;
            }
        }
        Ok(())
    }

    /// Kills the next replica, where it is not the only one that runs.
    async fn strike(&mut self, out: &mut impl Write) -> io::Result<bool> {
        let running = self.replicas.iter().filter(|replica| replica.process.is_some()).count();
        let count = self.replicas.len();
        let victim = &mut self.replicas[self.kills % count];
        if running < 2 {
            return Ok(false);
        }
        let Some(mut process) = victim.process.take() else { return Ok(false) };
        process.start_kill()?;
        process.wait().await?;
        victim.back = SystemClock.now().checked_add_signed(Span::from_std(AWAY).unwrap_or_default());
        let name = victim.name.clone();
        self.kills += 1;
        self.say(out, &format!("{name} is killed"))?;
        Ok(true)
    }

    /// Stops everybody in good order, and judges.
    async fn end(mut self, out: &mut impl Write) -> Result<bool, FleetShowError> {
        let mut drained = true;
        for replica in &mut self.replicas {
            let Some(process) = &mut replica.process else { continue };
            if let Some(pid) = process.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
                kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
            }
        }
        for replica in &mut self.replicas {
            let Some(process) = &mut replica.process else { continue };
            drained &= matches!(timeout(PATIENCE, process.wait()).await, Ok(Ok(status)) if status.success());
        }
        let mut states: BTreeMap<_, TokenState> = BTreeMap::new();
        for number in 0..ACCOUNTS {
            let Ok(account) = format!("controller-{number}").parse() else { continue };
            let loaded = self.journal.load_account(&account).await;
            let loaded = loaded.map_err(|failure| io::Error::other(failure.to_string()))?;
            let read = |(name, stored)| Some((name, restore(&stored).ok()?.state));
            states.extend(loaded.into_iter().filter_map(read));
        }
        let markers: Vec<&str> = states.values().flat_map(TokenState::markers).collect();
        let known = |entry: &LedgerEntry| markers.contains(&entry.name.trim());
        let (ledger, now) = (self.loopback.ledger(), SystemClock.now());
        let summary = Summary::allowing(Span::zero(), &mut self.consumers, ledger, known, now);
        let counters = ledger.counters(Service::Awx);
        writeln!(out, "\n{} minted, {} revoked; {} kills", counters.minted, counters.revoked, self.kills)?;
        if self.kills > 0 {
            let (slowest, lease) = (self.slowest.as_seconds_f64(), LEASE.as_secs());
            writeln!(out, "the slowest takeover took {slowest:.1} s, with a lease of {lease} s")?;
        }
        writeln!(out, "{summary}")?;
        let mark = |held: bool| if held { "held  " } else { "BROKEN" };
        writeln!(out, "{} no consumer held a dead token", mark(summary.dead.is_empty()))?;
        writeln!(out, "{} every consumer holds a live token", mark(summary.without.is_empty()))?;
        writeln!(out, "{} every live token is known to the journal", mark(summary.unaccounted.is_empty()))?;
        writeln!(out, "{} the replicas stopped in good order", mark(drained))?;
        out.flush()?;
        Ok(summary.holds() && drained && states.len() == ACCOUNTS)
    }
}

/// Who owns how much: `r1 3, r2 3, r3 3`.
fn shares_of(presence: &Presence) -> String {
    let owned = |name: &str| presence.claims.values().filter(|claim| claim.replica.as_str() == name).count();
    let shares = presence.members.keys().map(|name| format!("{name} owns {}", owned(name.as_str())));
    let shares: Vec<_> = shares.collect();
    if shares.is_empty() { "no replica lives".to_owned() } else { shares.join(", ") }
}

fn inventory_of(root: &Path, name: &str, place: &str, loopback: &Loopback) -> String {
    let url = loopback.url(Service::Awx).as_str().trim_end_matches('/').to_owned();
    let (user, id) = loopback.operator().map_or(("patrold", 0), |user| (user.name.as_str(), user.id));
    let (root, lease) = (root.display(), LEASE.as_secs());
    let mut text = format!(
        r#"# The inventory of a replica of `patrold demo --fleet`.

[daemon]
state-dir = "{root}/{name}"
control   = "{root}/{name}.sock"
seal-key  = {{ file = "{root}/seal.key" }}

[fleet]
name   = "demo"
host   = "{name}"
lease  = "{lease}s"
engine = {{ {place} }}
shared-paths = ["{root}/stores"]

[defaults]
grace          = "1s"
jitter         = "0s"
verify-timeout = "5s"
drift-every    = "5s"
"#
    );
    for number in 0..ACCOUNTS {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#"
[account.controller-{number}]
provider   = "awx"
url        = "{url}"
credential = {{ username = "{user}", password = {{ file = "{root}/password" }} }}
params     = {{ user_id = {id} }}
poll-every = "2s"
settle     = "300ms"

[[token]]
name         = "ci-{number}"
account      = "controller-{number}"
rotate-every = "3s"
stores       = [{{ kind = "file", path = "{root}/stores/ci-{number}" }}]
"#
        );
    }
    text
}
