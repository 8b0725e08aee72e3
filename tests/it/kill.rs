//! Crash safety, proven with the real program: it is killed again and again, mostly in the middle of something, while
//! the provider misbehaves; afterwards the provider's own ledger tells whether the promise held.
//!
//! `PATROLD_KILL_ROUNDS`, `PATROLD_KILL_SEED` and `PATROLD_KILL_FAULTS` (per cent) change the run. A run that fails keeps
//! its directory and names it.

mod calls;
mod judge;
mod report;
mod stage;
mod witness;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Write as _, stderr};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use patrold::clock::{Clock as _, Span, SystemClock};
use patrold::demo::dice::Dice;
use patrold::demo::{Consumer, Fault, LedgerEntry, Loopback, RequestRecord, Service, Summary, Verdict};
use patrold::journal::key::KeySource;
use patrold::journal::sqlite::{ReadOnly, SqliteJournal};
use patrold::provider::Operation;
use patrold::rotation::TokenState;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::broadcast;

use self::judge::States;
use self::report::Report;
use self::stage::Places;
use self::witness::{Change, Crowd, Watched};

/// Rounds where the environment does not say.
const ROUNDS: u64 = 200;

/// The share of requests that go wrong, in per cent, where the environment does not say.
const FAULTS: u64 = 10;

/// How long a consumer may hold a secret that a renewal in place replaced. Nothing can bring back a new secret that a
/// kill or a fault lost on its way here: the daemon has to come back, to find out, and to rotate, among more kills.
const LOST_RENEWAL: Span = Span::seconds(30);

/// A round ends so long after its daemon's first request, whether its moment came or not: a slow machine gives no daemon
/// less time to act.
const ROUND: Duration = Duration::from_millis(300);

/// A round ends after this where its daemon asks for nothing.
const IDLE_ROUND: Duration = Duration::from_secs(2);

/// No daemon is said to need less time for its first request.
const QUICK: Duration = Duration::from_millis(50);

/// How long the last daemon may take until nothing is owed.
const CALM: Duration = Duration::from_secs(60);

/// How long a daemon that is told to stop may take.
const STOP: Duration = Duration::from_secs(15);

/// When a daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// So many per cent of the time after its start that it needs for its first request.
    After(u32),
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
            0..4 => Self::After(u32::try_from(10 + dice.next() % 390).unwrap()),
            4..7 => Self::Request(Operation::Mint),
            7..10 => Self::Request(Operation::Renew),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_during_a_renewal_it_delivers_the_new_secret_first() {
    let directory = tempfile::tempdir().unwrap();
    let loopback = Loopback::start(SystemClock, stage::services()).await.unwrap();
    let places = Places::set(directory.path(), &loopback);
    let mut report = Report::default();
    let mut arrivals = loopback.arrivals();
    let daemon = start(&places);
    // Long enough for the signal to come first.
    loopback.faults().next(Service::Commvault, Operation::Renew, Fault::Slow { by: Span::milliseconds(200) });
    let renewal = async { while arrivals.recv().await.unwrap().operation != Some(Operation::Renew) {} };
    tokio::time::timeout(STOP, renewal).await.expect("a renewal is asked for");
    stop(daemon, &mut report).await;
    assert_eq!(loopback.faults().pending(), 0);
    assert_eq!(report.breaches, Vec::<String>::new());
    assert!(loopback.ledger().counters(Service::Commvault).renewed > 0, "the renewal took effect");
    for mut consumer in places.consumers(&loopback) {
        let verdict = consumer.check(SystemClock.now());
        assert!(matches!(verdict, Verdict::Live | Verdict::NotYet), "{}: {verdict:?}", consumer.name());
    }
}

/// A kill at every moment of the first start: of the state directory, the key, the database, the control socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_starts_for_the_first_time_it_starts_again() {
    const STARTS: u32 = 30;
    for start_number in 0..STARTS {
        let directory = tempfile::tempdir().unwrap();
        let loopback = Loopback::start(SystemClock, stage::services()).await.unwrap();
        let places = Places::set(directory.path(), &loopback);
        let mut arrivals = loopback.arrivals();
        let mut daemon = start(&places);
        tokio::time::sleep(Duration::from_millis(1) * start_number).await;
        daemon.start_kill().unwrap();
        daemon.wait().await.unwrap();
        while arrivals.try_recv().is_ok() {}
        let daemon = start(&places);
        let acts = tokio::time::timeout(STOP, arrivals.recv()).await;
        let log = || fs::read_to_string(&places.log).unwrap();
        assert!(acts.is_ok(), "killed after {start_number} ms, it does nothing:\n{}", log());
        assert!(
            !log().contains("held-back"),
            "killed after {start_number} ms, it takes the journal for lost:\n{}",
            log()
        );
        let mut report = Report::default();
        stop(daemon, &mut report).await;
        assert_eq!(report.breaches, Vec::<String>::new(), "killed after {start_number} ms:\n{}", log());
    }
}

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn lines<T: std::fmt::Debug>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().fold(String::new(), |mut text, item| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{item:?}");
        text
    })
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
    let mut arrivals = loopback.arrivals();
    let mut daemon = start(places);
    // What the journal says until then is the word of the one before.
    if tokio::time::timeout(CALM, arrivals.recv()).await.is_err() {
        report.breaches.push("the last daemon does nothing".to_owned());
    }
    let states = come_to_rest(places, &mut daemon, &mut report).await;
    stop(daemon, &mut report).await;
    let mut consumers = crowd.dismiss();
    judge(places, loopback, &mut consumers, &states, &mut report).await;
    report
}

/// One life of a daemon.
async fn round(places: &Places, loopback: &Loopback, dice: &mut Dice, watch: &mut Watched, report: &mut Report) {
    let moment = Moment::draw(dice);
    // Half of the blows fall at once, the others while what comes next is under way.
    let delay = Duration::from_micros((dice.next() % 2) * (dice.next() % 8_000));
    let arrivals = loopback.arrivals();
    watch.forget();
    let mut daemon = start(places);
    let limit = match moment {
        Moment::After(per_cent) => report.readiness().max(QUICK) * per_cent / 100,
        _ => IDLE_ROUND,
    };
    let (struck, first) = wait_for(moment, limit, arrivals, watch).await;
    tokio::time::sleep(delay).await;
    let ended = daemon.try_wait().unwrap();
    daemon.start_kill().unwrap();
    daemon.wait().await.unwrap();

    report.rounds += 1;
    report.first_actions.extend(first);
    if struck {
        *report.struck.entry(moment.name()).or_default() += 1;
    }
    if let Some(status) = ended.filter(|status| !killed(*status)) {
        report.breaches.push(format!("in round {} the daemon ended by itself: {status}", report.rounds));
    }
    judge_round(places, loopback, report);
}

/// Nobody acts for the daemon now: what the journal says is all that anybody knows.
fn judge_round(places: &Places, loopback: &Loopback, report: &mut Report) {
    let states = judge::states(&places.state);
    for state in states.values() {
        *report.phases.entry(state.phase.name()).or_default() += 1;
    }
    let now = SystemClock.now();
    let mut breaches = judge::orphans(loopback.ledger(), &states, now);
    breaches.extend(judge::crowds(loopback.ledger(), &states, now));
    breaches.extend(judge::twins(loopback.ledger(), now));
    report.breaches.extend(breaches.into_iter().map(|breach| format!("after round {}: {breach}", report.rounds)));
}

/// Whether somebody else was quicker: `strace --inject`, say.
fn killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

/// Waits for `moment`, for `limit` or so; tells whether it came, and when the provider got the first request.
async fn wait_for(
    moment: Moment,
    limit: Duration,
    mut arrivals: broadcast::Receiver<RequestRecord>,
    watch: &mut Watched,
) -> (bool, Option<Duration>) {
    let begun = Instant::now();
    let mut over = std::pin::pin!(tokio::time::sleep_until((begun + limit).into()));
    let mut first = None;
    loop {
        tokio::select! {
            Ok(request) = arrivals.recv() => {
                if first.is_none() {
                    first = Some(begun.elapsed());
                    if !matches!(moment, Moment::After(_)) {
                        over.as_mut().reset((Instant::now() + ROUND).into());
                    }
                }
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
    launch(&mut Command::new(env!("CARGO_BIN_EXE_patrold")), places)
}

/// Runs the daemon by `program`, which is patrold or ends with its name.
fn launch(program: &mut Command, places: &Places) -> Child {
    let log = File::options().create(true).append(true).open(&places.log).unwrap();
    program
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

/// Waits until each token was seen to owe nothing to anybody. Not all at once: tokens that are rotated every few seconds
/// seldom rest together.
async fn come_to_rest(places: &Places, daemon: &mut Child, report: &mut Report) -> States {
    let (begun, mut rested) = (Instant::now(), BTreeSet::new());
    loop {
        // What lies there before it answers was left by the daemons before it.
        let answers = UnixStream::connect(places.root.join("control.sock")).is_ok();
        let states = if answers { judge::states(&places.state) } else { States::default() };
        rested.extend(states.iter().filter(|(_, state)| judge::owed(state).is_none()).map(|(name, _)| name.clone()));
        let owed: Vec<_> = states.iter().filter(|(name, _)| !rested.contains(*name)).collect();
        let owed: Vec<_> = owed.into_iter().filter_map(|(name, state)| Some((name, judge::owed(state)?))).collect();
        if owed.is_empty() && !states.is_empty() {
            report.calm = begun.elapsed();
            return states;
        }
        if begun.elapsed() > CALM {
            report.breaches.extend(owed.iter().map(|(name, owed)| format!("{name} did not come to rest: {owed}")));
            if states.is_empty() {
                report.breaches.push(format!("the last daemon did not answer for {CALM:?}"));
            }
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

async fn judge(
    places: &Places,
    loopback: &Loopback,
    consumers: &mut [Consumer],
    expected: &States,
    report: &mut Report,
) {
    let (ledger, breaches) = (loopback.ledger(), &mut report.breaches);
    let states = judge::states(&places.state);
    let markers: Vec<&str> = states.values().flat_map(TokenState::markers).collect();
    let known = |entry: &LedgerEntry| markers.contains(&entry.name.trim());
    let summary = Summary::allowing(LOST_RENEWAL, consumers, ledger, known, SystemClock.now());
    if !summary.holds() {
        breaches.push(summary.to_string());
    }
    report.summary = summary.to_string();
    let missing = expected.keys().filter(|name| !states.contains_key(*name));
    breaches.extend(missing.map(|name| format!("the journal lost {name}")));
    breaches.extend(judge::replays(ledger));
    match ReadOnly::open(&places.state).map(|journal| journal.verify_chain()) {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => breaches.push(format!("the journal is broken: {error}")),
        Err(error) => breaches.push(format!("the journal cannot be opened: {error}")),
    }
    match SqliteJournal::open(&places.state, &KeySource::StateDirectory, SystemClock.now()) {
        Ok((journal, opened)) => {
            let unreadable = opened.unreadable.iter().map(|slot| format!("the secret {slot:?} cannot be opened"));
            breaches.extend(unreadable);
            breaches.extend(judge::lost(&journal, &states, ledger, SystemClock.now()).await);
        }
        Err(error) => breaches.push(format!("the journal cannot be opened: {error}")),
    }
    breaches.extend(judge::leftovers(&places.root));
    // Nothing can leak into files that nobody writes.
    for file in [&places.log, &places.hooked] {
        if fs::metadata(file).map_or(0, |about| about.len()) == 0 {
            breaches.push(format!("nobody wrote to {}", file.display()));
        }
    }
    let mut private = judge::files(&places.state);
    private.extend([places.log.clone(), places.hooked.clone()]);
    breaches.extend(judge::exposed(&judge::secrets(ledger), &private));
}
