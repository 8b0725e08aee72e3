//! Rounds in which replicas are killed, paused and stopped, and the judgement on all of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use patrold::clock::{Clock as _, Span, SystemClock};
use patrold::demo::{Consumer, LedgerEntry, Service, Summary};
use patrold::inventory::EngineKind;
use patrold::journal::fleet::presence::Presence;
use patrold::names::TokenName;
use patrold::rotation::TokenState;
use rustix::process::Signal;

use super::stage::{ACCOUNTS, LEASE, Stage, patrold};

/// What a takeover may take besides the lease.
const SLACK: Duration = Duration::from_secs(2);

/// Much longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(40);

pub fn print(line: &str) {
    // Not by a macro: what those print is swallowed where a test succeeds.
    let _ = writeln!(stderr(), "{line}");
}

/// Consumers that never take their eyes off their files, until they are dismissed.
pub fn gather(mut consumers: Vec<Consumer>) -> (Arc<AtomicBool>, std::thread::JoinHandle<Vec<Consumer>>) {
    let dismissed = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&dismissed);
    let watch = std::thread::spawn(move || {
        while !over.load(Ordering::Acquire) {
            for consumer in &mut consumers {
                // Findings stay with the consumer.
                let _ = consumer.check(SystemClock.now());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        consumers
    });
    (dismissed, watch)
}

/// Whether every account has an owner among these.
pub fn all_with(presence: &Presence, names: &[&str]) -> bool {
    presence.claims.len() == ACCOUNTS && presence.claims.values().all(|claim| names.contains(&claim.replica.as_str()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_over_etcd_keeps_its_promise_through_kills_pauses_and_stops() {
    Box::pin(play(EngineKind::Etcd)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_over_postgresql_keeps_its_promise_through_kills_pauses_and_stops() {
    Box::pin(play(EngineKind::PostgreSql)).await;
}

#[expect(clippy::too_many_lines, reason = "one story, in the order in which it happens")]
async fn play(kind: EngineKind) {
    let directory = tempfile::Builder::new().prefix("patrold-fleet-").tempdir().unwrap();
    // For whoever wants to read the logs of a run.
    let kept = std::env::var_os("PATROLD_FLEET_KEEP").is_some();
    let (root, _directory) =
        if kept { (directory.keep(), None) } else { (directory.path().to_owned(), Some(directory)) };
    let Some(mut stage) = Stage::set(&root, kind).await else { return };
    print(&format!("--- {kind}"));
    if kept {
        print(&root.display().to_string());
    }
    let (dismissed, watch) = gather(stage.consumers());

    let r1 = stage.start("r1", "");
    let took = stage.until("one replica owns everything", PATIENCE, |it| all_with(it, &["r1"])).await;
    print(&format!("full ownership of {ACCOUNTS} accounts by one replica after its start: {took:?}"));
    let r2 = stage.start("r2", "");
    let mut r3 = stage.start("r3", "");
    stage
        .until("all three have a share", PATIENCE, |it| {
            ["r1", "r2", "r3"].iter().all(|name| it.claims.values().any(|claim| claim.replica.as_str() == *name))
                && it.claims.len() == ACCOUNTS
        })
        .await;
    tokio::time::sleep(Duration::from_secs(6)).await;

    r3.process.start_kill().unwrap();
    r3.process.wait().await.unwrap();
    let took = stage.until("the survivors own everything", PATIENCE, |it| all_with(it, &["r1", "r2"])).await;
    print(&format!("kill -9: all taken over after {took:?} (lease {LEASE:?})"));
    assert!(took <= LEASE + SLACK, "{took:?}");

    // Paused for longer than its lease, it wakes with what it believed.
    let before = stage.owned("r2").await;
    assert!(before > 0, "r2 owns nothing");
    r2.signal(Signal::STOP);
    let took = stage.until("the other one owns everything", PATIENCE, |it| all_with(it, &["r1"])).await;
    print(&format!("SIGSTOP: all {before} taken over after {took:?}"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    r2.signal(Signal::CONT);
    stage.until("the paused one comes back", PATIENCE, |it| it.members.len() == 2).await;
    stage.until("and gets its share", PATIENCE, |it| all_with(it, &["r1", "r2"]) && !all_with(it, &["r1"])).await;

    let r3 = stage.start("r3", "");
    stage
        .until("the new one has a share", PATIENCE, |it| {
            it.claims.len() == ACCOUNTS && it.claims.values().any(|claim| claim.replica.as_str() == "r3")
        })
        .await;
    let begun = std::time::Instant::now();
    r3.signal(Signal::TERM);
    let mut r3 = r3;
    r3.process.wait().await.unwrap();
    print(&format!("SIGTERM: the process has ended after {:?}", begun.elapsed()));
    stage.until("what it had is taken", PATIENCE, |it| all_with(it, &["r1", "r2"])).await;
    print(&format!("SIGTERM: all taken over {:?} after the signal", begun.elapsed()));

    // The engine ends without a word and comes back: nothing is lost, and nobody need do anything.
    let begun = std::time::Instant::now();
    stage.engine.crash().await.unwrap();
    let before = stage.log("r1").lines().count();
    stage.until("everything has an owner again", PATIENCE, |it| all_with(it, &["r1", "r2"])).await;
    while !stage.log("r1").lines().skip(before).any(|line| line.contains("\"retired\"")) {
        assert!(begun.elapsed() < PATIENCE, "nothing is rotated any more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    print(&format!("engine killed and started again: rotations go on after {:?}", begun.elapsed()));

    // Drained, it owns nothing; undone, it takes its share again.
    let drained = patrold(&stage.root, "r1", &["fleet", "drain", "r2"]).await;
    assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
    stage.until("the drained one owns nothing", PATIENCE, |it| all_with(it, &["r1"])).await;
    let shown = patrold(&stage.root, "r1", &["fleet", "status"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("drained"), "{shown}");
    let asked = patrold(&stage.root, "r2", &["status"]).await;
    let asked = String::from_utf8_lossy(&asked.stdout).into_owned();
    let row = asked.lines().find(|line| line.starts_with("ci-0")).unwrap_or_default().to_owned();
    assert!(row.contains("r1") && !row.contains(" - "), "the journal tells of what others own: {asked}");
    // Asked at one replica, done by the owner, told by the first.
    let before = stage.states().await;
    let asked_of_another = patrold(&stage.root, "r2", &["rotate", "ci-1", "--timeout", "20s"]).await;
    let told = String::from_utf8_lossy(&[asked_of_another.stdout, asked_of_another.stderr].concat()).into_owned();
    assert!(asked_of_another.status.success() && told.contains("ci-1"), "{told}");
    let name: TokenName = "ci-1".parse().unwrap();
    let number =
        |states: &BTreeMap<TokenName, TokenState>| states[&name].phase.current().map(|it| it.generation.number);
    assert!(number(&stage.states().await) > number(&before), "it is rotated: {told}");
    assert!(stage.log("r1").contains("fleet-wish"));
    fs::write(stage.root.join("bogus"), "no-such-token\n").unwrap();
    let bogus = stage.root.join("bogus").display().to_string();
    let adopted = patrold(&stage.root, "r2", &["adopt", "ci-1", "--file", &bogus, "--timeout", "20s"]).await;
    let told = String::from_utf8_lossy(&[adopted.stdout, adopted.stderr].concat()).into_owned();
    assert!(!adopted.status.success() && !told.contains("r1 was asked"), "the owner says why not: {told}");
    let cancelled = patrold(&stage.root, "r2", &["cancel", "ci-1"]).await;
    let told = String::from_utf8_lossy(&[cancelled.stdout, cancelled.stderr].concat()).into_owned();
    assert!(told.contains("ci-1"), "{told}");
    let rotated = patrold(&stage.root, "r1", &["rotate", "ci-0", "--timeout", "20s"]).await;
    assert!(
        rotated.status.success(),
        "{}{}",
        String::from_utf8_lossy(&rotated.stdout),
        String::from_utf8_lossy(&rotated.stderr)
    );
    let history = patrold(&stage.root, "r2", &["history", "ci-0", "--last", "5"]).await;
    assert!(String::from_utf8_lossy(&history.stdout).contains("ctivated") || history.status.success());

    // The end: both are told to stop, and nobody acts any more.
    for mut replica in [r1, r2] {
        replica.signal(Signal::TERM);
        let ended = tokio::time::timeout(PATIENCE, replica.process.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{} ended with {ended}: {}", replica.name, stage.log(&replica.name));
    }
    dismissed.store(true, Ordering::Release);
    let consumers = watch.join().unwrap();
    judge(&stage, consumers).await;
}

pub async fn judge(stage: &Stage, mut consumers: Vec<Consumer>) {
    let states = stage.states().await;
    assert_eq!(states.len(), ACCOUNTS, "every token has a journal");
    let markers: Vec<&str> = states.values().flat_map(TokenState::markers).collect();
    let known = |entry: &LedgerEntry| markers.contains(&entry.name.trim());
    let ledger = stage.loopback.ledger();
    let summary = Summary::allowing(Span::zero(), &mut consumers, ledger, known, SystemClock.now());
    let all = ledger.all();
    let mut minted: BTreeMap<&str, usize> = BTreeMap::new();
    all.iter().filter(|entry| entry.is_marked()).for_each(|entry| *minted.entry(entry.name.trim()).or_default() += 1);
    let twice: Vec<_> = minted.iter().filter(|(_, count)| **count > 1).collect();
    let generations: u32 = states.values().filter_map(|it| it.phase.current()).map(|it| it.generation.number.0).sum();
    let live = ledger.live_tokens(Service::Awx, SystemClock.now()).len();
    print(&format!("{} mints, {generations} generations delivered, {live} live in the end; {summary}", minted.len()));
    let fenced: usize = ["r1", "r2", "r3"].iter().map(|name| stage.log(name).matches("fleet-fenced").count()).sum();
    print(&format!("{fenced} accounts were lost to a fence"));
    assert!(summary.holds(), "{summary}");
    assert!(twice.is_empty(), "minted twice under one marker: {twice:?}");
    assert!(generations as usize >= 3 * ACCOUNTS, "only {generations} generations: the rounds are too short");
}
