//! Crash safety, proven with the real program: it is killed again and again, mostly in the middle of something, while
//! the provider misbehaves; afterwards the provider's own ledger tells whether the promise held.
//!
//! `PATROLD_KILL_ROUNDS`, `PATROLD_KILL_SEED` and `PATROLD_KILL_FAULTS` (per cent) change the run. A run that fails keeps
//! its directory and names it.

mod judge;
mod stage;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Write as _, stderr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{EventKind, ModifyKind};
use notify::{RecursiveMode, Watcher as _};
use patrold::clock::{Clock as _, Span, SystemClock};
use patrold::demo::dice::Dice;
use patrold::demo::{Consumer, LedgerEntry, Loopback, RequestRecord, Service, Summary, Verdict};
use patrold::journal::sqlite::ReadOnly;
use patrold::provider::Operation;
use patrold::rotation::TokenState;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::{broadcast, mpsc};

use self::judge::States;
use self::stage::Places;

/// Rounds where the environment does not say.
const ROUNDS: u64 = 200;

/// The share of requests that go wrong, in per cent, where the environment does not say.
const FAULTS: u64 = 10;

/// How long a consumer may hold a secret that a renewal in place replaced. Nothing can bring back a new secret that a
/// kill or a fault lost on its way here: the daemon has to come back, to find out, and to rotate, among more kills.
const LOST_RENEWAL: Span = Span::seconds(15);

/// A round ends after this, whether its moment came or not.
const ROUND: Duration = Duration::from_millis(350);

/// How long the last daemon may take until nothing is owed.
const CALM: Duration = Duration::from_secs(60);

/// How long a daemon that is told to stop may take.
const STOP: Duration = Duration::from_secs(15);

/// When a daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// So long after its start.
    After(Duration),
    /// When the provider has got such a request and has not answered yet.
    Request(Operation),
    /// When the temporary file of a store was just made.
    Writing,
    /// When a store was just replaced.
    Written,
}

impl Moment {
    fn draw(dice: &mut Dice) -> Self {
        match dice.next() % 16 {
            0..5 => Self::After(Duration::from_micros(10_000 + dice.next() % 240_000)),
            5..8 => Self::Request(Operation::Mint),
            8..10 => Self::Request(Operation::Renew),
            10..12 => Self::Request(Operation::Revoke),
            12 => Self::Request(Operation::Verify),
            13..15 => Self::Writing,
            _ => Self::Written,
        }
    }

    fn name(self) -> String {
        match self {
            Self::After(_) => "at random".to_owned(),
            Self::Request(operation) => format!("in a {operation:?}").to_lowercase(),
            Self::Writing => "before a rename".to_owned(),
            Self::Written => "after a rename".to_owned(),
        }
    }
}

/// What happened to the files of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Created,
    Renamed,
}

/// What a run came to.
#[derive(Debug, Default)]
struct Report {
    rounds: u64,
    /// Kills whose moment came, by moment.
    struck: BTreeMap<String, u64>,
    /// What tokens were in the middle of when their daemon was killed, by phase.
    phases: BTreeMap<&'static str, u64>,
    /// From a start to the first request that the provider got.
    first_actions: Vec<Duration>,
    /// From the start of the last daemon until nothing was owed.
    calm: Duration,
    breaches: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_point_it_keeps_its_promise() {
    let seed = number("PATROLD_KILL_SEED").unwrap_or_else(|| SystemClock.now().timestamp_micros().unsigned_abs());
    let rounds = number("PATROLD_KILL_ROUNDS").unwrap_or(ROUNDS);
    let faults = number("PATROLD_KILL_FAULTS").unwrap_or(FAULTS);
    let directory = tempfile::Builder::new().prefix("patrold-kill-").tempdir().unwrap();
    let loopback = Loopback::start(SystemClock, stage::services()).await.unwrap();
    let places = Places::set(directory.path(), &loopback);
    let report = run(&places, &loopback, &mut Dice::new(seed), rounds, faults).await;
    // Not by a macro: what those print is swallowed where a test succeeds.
    let _ = writeln!(stderr(), "{}", report.describe(&places, &loopback));
    if !report.breaches.is_empty() {
        let kept = directory.keep();
        fs::write(kept.join("requests"), lines(loopback.requests())).unwrap();
        fs::write(kept.join("ledger"), lines(loopback.ledger().all())).unwrap();
        let breaches = report.breaches.join("\n");
        panic!("the promise did not hold (seed {seed}, everything is in {}):\n{breaches}", kept.display());
    }
}

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn lines<T: std::fmt::Debug>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("{item:?}\n")).collect()
}

/// Kills the daemon `rounds` times, lets the last one come to rest, stops it, and judges.
async fn run(places: &Places, loopback: &Loopback, dice: &mut Dice, rounds: u64, faults: u64) -> Report {
    #[expect(clippy::cast_precision_loss, reason = "per cent")]
    loopback.faults().random(dice.next(), faults as f64 / 100.0);
    let mut report = Report::default();
    let mut watch = Watched::new(&places.stores);
    let crowd = Crowd::gather(places.consumers(loopback));
    while report.rounds < rounds && report.breaches.is_empty() {
        round(places, loopback, dice, &mut watch, &mut report).await;
    }
    loopback.faults().stop();
    let mut daemon = start(places);
    let states = come_to_rest(places, &mut daemon, &mut report).await;
    stop(daemon, &mut report).await;
    let mut consumers = crowd.dismiss();
    judge(places, loopback, &mut consumers, &states, &mut report);
    report
}

/// One life of a daemon.
async fn round(places: &Places, loopback: &Loopback, dice: &mut Dice, watch: &mut Watched, report: &mut Report) {
    let moment = Moment::draw(dice);
    // Half of the blows fall at once, the others while what comes next is under way.
    let delay = Duration::from_micros((dice.next() % 2) * (dice.next() % 8_000));
    let arrivals = loopback.arrivals();
    watch.forget();
    let begun = Instant::now();
    let mut daemon = start(places);
    let (struck, first) = wait_for(moment, arrivals, watch, begun).await;
    tokio::time::sleep(delay).await;
    let ended = daemon.try_wait().unwrap();
    daemon.start_kill().unwrap();
    daemon.wait().await.unwrap();

    report.rounds += 1;
    report.first_actions.extend(first);
    if struck {
        *report.struck.entry(moment.name()).or_default() += 1;
    }
    if let Some(status) = ended {
        report.breaches.push(format!("in round {} the daemon ended by itself: {status}", report.rounds));
    }
    // Nobody acts for the daemon now: what the journal says is all that anybody knows.
    let states = judge::states(&places.state);
    for state in states.values() {
        *report.phases.entry(state.phase.name()).or_default() += 1;
    }
    let orphans = judge::orphans(loopback.ledger(), &states, SystemClock.now());
    report.breaches.extend(orphans.into_iter().map(|orphan| format!("after round {}: {orphan}", report.rounds)));
}

/// Waits for `moment`; tells whether it came, and when the provider got the first request.
async fn wait_for(
    moment: Moment,
    mut arrivals: broadcast::Receiver<RequestRecord>,
    watch: &mut Watched,
    begun: Instant,
) -> (bool, Option<Duration>) {
    let limit = if let Moment::After(delay) = moment { delay } else { ROUND };
    let mut over = std::pin::pin!(tokio::time::sleep_until((begun + limit).into()));
    let mut first = None;
    loop {
        tokio::select! {
            Ok(request) = arrivals.recv() => {
                first.get_or_insert_with(|| begun.elapsed());
                if request.operation.is_some_and(|operation| moment == Moment::Request(operation)) {
                    return (true, first);
                }
            }
            Some(change) = watch.changes.recv() => {
                let awaited = match change {
                    Change::Created => Moment::Writing,
                    Change::Renamed => Moment::Written,
                };
                if moment == awaited {
                    return (true, first);
                }
            }
            () = &mut over => return (matches!(moment, Moment::After(_)), first),
        }
    }
}

fn start(places: &Places) -> Child {
    let log = File::options().create(true).append(true).open(&places.log).unwrap();
    Command::new(env!("CARGO_BIN_EXE_patrold"))
        .arg("--config")
        .arg(&places.config)
        .arg("run")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Waits until no token owes anything to anybody.
async fn come_to_rest(places: &Places, daemon: &mut Child, report: &mut Report) -> States {
    let begun = Instant::now();
    loop {
        let states = judge::states(&places.state);
        let owed: Vec<_> = states.iter().filter_map(|(name, state)| Some((name, judge::owed(state)?))).collect();
        if owed.is_empty() && !states.is_empty() {
            report.calm = begun.elapsed();
            return states;
        }
        if begun.elapsed() > CALM {
            report.breaches.extend(owed.iter().map(|(name, owed)| format!("{name} did not come to rest: {owed}")));
            return states;
        }
        if let Some(status) = daemon.try_wait().unwrap() {
            report.breaches.push(format!("the last daemon ended by itself: {status}"));
            return states;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// SIGTERM ends it in good order.
async fn stop(mut daemon: Child, report: &mut Report) {
    let pid = daemon.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let Some(pid) = pid else { return };
    kill_process(pid, Signal::TERM).unwrap();
    match tokio::time::timeout(STOP, daemon.wait()).await {
        Ok(status) => {
            let status = status.unwrap();
            if !status.success() {
                report.breaches.push(format!("told to stop, the daemon ended with {status}"));
            }
        }
        Err(_) => report.breaches.push(format!("told to stop, the daemon went on for {STOP:?}")),
    }
}

fn judge(
    places: &Places,
    loopback: &Loopback,
    consumers: &mut [Consumer],
    expected: &States,
    report: &mut Report,
) {
    let ledger = loopback.ledger();
    let states = judge::states(&places.state);
    let markers: Vec<&str> = states.values().flat_map(TokenState::markers).collect();
    let known = |entry: &LedgerEntry| markers.contains(&entry.name.trim());
    let summary = Summary::allowing(LOST_RENEWAL, consumers, ledger, known, SystemClock.now());
    let _ = writeln!(stderr(), "{summary}");
    if !summary.holds() {
        report.breaches.push(summary.to_string());
    }
    let lost = expected.keys().filter(|name| !states.contains_key(*name));
    report.breaches.extend(lost.map(|name| format!("the journal lost {name}")));
    report.breaches.extend(judge::replays(ledger));
    match ReadOnly::open(&places.state).map(|journal| journal.verify_chain()) {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => report.breaches.push(format!("the journal is broken: {error}")),
        Err(error) => report.breaches.push(format!("the journal cannot be opened: {error}")),
    }
    report.breaches.extend(judge::leftovers(&places.root));
    let mut private = judge::files(&places.state);
    private.extend([places.log.clone(), places.hooked.clone()]);
    let mut secrets = judge::secrets(ledger);
    secrets.retain(|secret| !secret.is_empty());
    report.breaches.extend(judge::exposed(&secrets, &private));
    if !places.hooked.exists() {
        report.breaches.push("no hook ever ran".to_owned());
    }
}

impl Report {
    fn describe(&self, places: &Places, loopback: &Loopback) -> String {
        let mut first = self.first_actions.clone();
        first.sort_unstable();
        let median = first.get(first.len() / 2).copied().unwrap_or_default();
        let slowest = first.last().copied().unwrap_or_default();
        let requests = loopback.requests();
        let faults = requests.iter().filter(|request| request.fault.is_some()).count();
        let counters = Service::ALL.map(|service| {
            let counters = loopback.ledger().counters(service);
            format!("{service}: {} minted, {} renewed, {} revoked", counters.minted, counters.renewed, counters.revoked)
        });
        let records = records(&places.state);
        let about = ["orphan-found", "orphan-revoked", "search-ended", "remnant-ended", "renewal-doubted", "undone"]
            .map(|kind| format!("{} {kind}", records.get(kind).copied().unwrap_or_default()));
        format!(
            "{} rounds; kills {:?}; tokens were {:?}\n{} requests, {faults} of them went wrong; {}\n\
             {} records: {}\nfirst request after {median:?}, at most {slowest:?}; at rest after {:?}",
            self.rounds,
            self.struck,
            self.phases,
            requests.len(),
            counters.join("; "),
            records.values().sum::<u64>(),
            about.join(", "),
            self.calm,
        )
    }
}

/// How many records of each kind there are.
fn records(state: &Path) -> BTreeMap<String, u64> {
    let journal = ReadOnly::open(state).unwrap();
    let mut counts = BTreeMap::new();
    for (name, _) in journal.states().unwrap() {
        for record in journal.history(&name).unwrap() {
            *counts.entry(record.kind).or_default() += 1;
        }
    }
    counts
}

/// Consumers that never take their eyes off their files.
struct Crowd {
    dismissed: Arc<AtomicBool>,
    watch: JoinHandle<Vec<Consumer>>,
}

impl Crowd {
    fn gather(mut consumers: Vec<Consumer>) -> Self {
        let dismissed = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&dismissed);
        let watch = std::thread::spawn(move || {
            while !over.load(Ordering::Acquire) {
                for consumer in &mut consumers {
                    // Findings stay with the consumer.
                    let _: Verdict = consumer.check(SystemClock.now());
                }
                // The daemon needs the processor, too.
                std::thread::park_timeout(Duration::from_millis(1));
            }
            consumers
        });
        Self { dismissed, watch }
    }

    fn dismiss(self) -> Vec<Consumer> {
        self.dismissed.store(true, Ordering::Release);
        self.watch.join().unwrap()
    }
}

/// Tells of changes in the directory of the stores.
struct Watched {
    changes: mpsc::UnboundedReceiver<Change>,
    _watcher: notify::RecommendedWatcher,
}

impl Watched {
    fn new(directory: &Path) -> Self {
        let (sender, changes) = mpsc::unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let change = match event.map(|event| event.kind) {
                Ok(EventKind::Create(_)) => Change::Created,
                Ok(EventKind::Modify(ModifyKind::Name(_))) => Change::Renamed,
                _ => return,
            };
            // Nobody waits any more once the run is over.
            let _ = sender.send(change);
        })
        .unwrap();
        watcher.watch(directory, RecursiveMode::NonRecursive).unwrap();
        Self { changes, _watcher: watcher }
    }

    /// What happened before does not count.
    fn forget(&mut self) {
        while self.changes.try_recv().is_ok() {}
    }
}
