//! What PostgreSQL guarantees only where it is set up so: refused, told, or made sure of.

use std::path::Path;
use std::time::{Duration, Instant};

use patrold::demo::engine::{EngineOptions, LoopbackEngine};
use patrold::inventory::EngineKind;
use patrold::journal::fleet::{EngineError, FleetJournal};
use rustix::process::Signal;

use super::engine::{sql, start, tool};
use super::rounds::{all_with, gather, judge, print};
use super::stage::{Stage, key, patrold, settings};

const PATIENCE: Duration = Duration::from_secs(40);

fn options(arguments: &str) -> EngineOptions {
    let arguments = arguments.split(' ').filter(|argument| !argument.is_empty()).map(str::to_owned).collect();
    EngineOptions { arguments, ..EngineOptions::default() }
}

async fn status(root: &Path) -> String {
    let shown = patrold(root, "watcher", &["fleet", "status"]).await;
    String::from_utf8_lossy(&[shown.stdout, shown.stderr].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_cannot_guarantee_is_refused_or_told() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let Some(mut stage) = Stage::set(root, EngineKind::PostgreSql).await else { return };
    assert!(status(root).await.contains("has no standby"), "{}", status(root).await);

    // Whatever a session or a role says: a commit is durable when it is acknowledged.
    for statement in [
        "alter role patrold set synchronous_commit = off",
        "create table public.seen (setting text)",
        "create function public.note() returns trigger language plpgsql as \
         $$ begin insert into public.seen values (current_setting('synchronous_commit')); return null; end $$",
        "create constraint trigger note after insert or update on patrold.keys deferrable initially deferred \
         for each row execute function public.note()",
    ] {
        sql(&stage.engine, statement).await;
    }
    let journal = FleetJournal::open(&settings(root, "watcher"), &key(root)).await.unwrap();
    journal.recover().await.unwrap();
    assert_eq!(sql(&stage.engine, "select distinct setting from public.seen").await, "on");

    for (settings, told) in [
        ("fsync = off", "does not write to the disk what it acknowledges"),
        ("default_transaction_read_only = on", "none of these servers takes writes"),
        ("full_page_writes = off", "writes no full pages"),
    ] {
        let (name, value) = settings.split_once(" = ").unwrap();
        sql(&stage.engine, &format!("alter system set {name} = {value}")).await;
        stage.engine.crash().await.unwrap();
        let shown = status(root).await;
        assert!(shown.contains(told), "{settings}: {shown}");
        std::fs::remove_file(stage.engine.directory().join("data/postgresql.auto.conf")).unwrap();
        stage.engine.crash().await.unwrap();
    }
    assert!(status(root).await.contains("engine: PostgreSQL"), "{}", status(root).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_standby_that_was_cancelled_is_no_success() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let Some(stage) = Stage::set(root, EngineKind::PostgreSql).await else { return };
    sql(&stage.engine, "alter system set synchronous_standby_names = 'nobody'").await;
    sql(&stage.engine, "select pg_reload_conf()").await;
    let journal = FleetJournal::open(&settings(root, "watcher"), &key(root)).await.unwrap();
    let begun = Instant::now();
    while !status(root).await.contains("waits for a standby and none is connected") {
        assert!(begun.elapsed() < PATIENCE, "{}", status(root).await);
    }
    let commit = tokio::spawn(async move { journal.recover().await });
    let cancel = "select count(pg_cancel_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep'";
    while sql(&stage.engine, cancel).await == "0" {
        assert!(begun.elapsed() < PATIENCE && !commit.is_finished(), "nothing waits for the standby");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = commit.await.unwrap();
    assert!(matches!(told, Err(EngineError::Unknown(_))), "{told:?}");
}

/// Copies the server of `stage` into a standby of it, which answers for every commit.
async fn add_standby(primary: &LoopbackEngine) -> LoopbackEngine {
    let standby = primary.standby().await.unwrap();
    sql(primary, "alter system set synchronous_standby_names = '*'").await;
    sql(primary, "select pg_reload_conf()").await;
    let begun = Instant::now();
    while sql(primary, "select count(*) from pg_stat_replication where sync_state = 'sync'").await != "1" {
        assert!(begun.elapsed() < PATIENCE, "the standby does not follow");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    standby
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_goes_on_when_the_standby_becomes_the_primary() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let Some(primary) = start(EngineKind::PostgreSql, options("")).await else { return };
    let standby = add_standby(&primary).await;
    let (one, other) = (primary.directory().display().to_string(), standby.directory().display().to_string());
    let place = format!("postgres = \"postgresql://patrold@/patrold?host={one},{other}&port={}\"", primary.port());
    let mut stage = Stage::on(root, primary, &place).await;
    let shown = status(root).await;
    assert!(!shown.contains("standby"), "nothing is missing: {shown}");
    let (dismissed, watch) = gather(stage.consumers());
    let replicas = [stage.start("r1", ""), stage.start("r2", "")];
    stage.until("both have a share", PATIENCE, |it| all_with(it, &["r1", "r2"]) && !all_with(it, &["r1"])).await;
    tokio::time::sleep(Duration::from_secs(5)).await;

    let begun = Instant::now();
    // The first one is gone for good.
    let first = std::mem::replace(&mut stage.engine, standby);
    drop(first);
    tool(&stage.engine, "psql", &["-d", "patrold", "-c", "select pg_promote()"]).await;
    let before = stage.log("r1").lines().count();
    stage.until("everything has an owner", PATIENCE, |it| all_with(it, &["r1", "r2"])).await;
    while !stage.log("r1").lines().skip(before).any(|line| line.contains("\"retired\"")) {
        assert!(begun.elapsed() < PATIENCE, "nothing is rotated any more: {}", stage.log("r1"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    print(&format!("PostgreSQL failed over: rotations go on after {:?}", begun.elapsed()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    for mut replica in replicas {
        replica.signal(Signal::TERM);
        let ended = tokio::time::timeout(PATIENCE, replica.process.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{} ended with {ended}: {}", replica.name, stage.log(&replica.name));
    }
    dismissed.store(true, std::sync::atomic::Ordering::Release);
    judge(&stage, watch.join().unwrap()).await;
}
