//! An engine whose data ran back: what consumers hold is not taken for a leftover.

use std::fs;
use std::time::{Duration, Instant};

use patrold::inventory::EngineKind;
use rustix::process::Signal;

use super::engine::{get, put};
use super::stage::{ACCOUNTS, Stage, patrold};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_journal_in_etcd_is_not_believed_before_an_operator_says_so() {
    Box::pin(play(EngineKind::Etcd)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_journal_in_postgresql_is_not_believed_before_an_operator_says_so() {
    Box::pin(play(EngineKind::PostgreSql)).await;
}

async fn play(kind: EngineKind) {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), kind).await else { return };
    let keys = ["t", "d"].map(|kind| format!("/patrold/test/{kind}/controller-0/ci-0"));
    let mut replica = stage.start("r1", "");
    stage.until("it owns everything", PATIENCE, |it| it.claims.len() == ACCOUNTS).await;
    let begun = Instant::now();
    let settled = || stage.log("r1").matches("\"retired\"").count() > ACCOUNTS;
    while !settled() {
        assert!(begun.elapsed() < PATIENCE, "nothing is rotated");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let old = [get(&stage.engine, &keys[0]).await, get(&stage.engine, &keys[1]).await];
    while get(&stage.engine, &keys[1]).await == old[1] {
        assert!(begun.elapsed() < PATIENCE, "it is not rotated again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    replica.signal(Signal::TERM);
    assert!(replica.process.wait().await.unwrap().success());
    // The revision of the engine goes on, as after a backup that was restored and used for a while.
    put(&stage.engine, &keys[0], &old[0]).await;
    put(&stage.engine, &keys[1], &old[1]).await;
    let held = fs::read_to_string(stage.root.join("stores/ci-0")).unwrap();

    let mut replica = stage.start("r1", "");
    stage.until("all others are owned", PATIENCE, |it| it.claims.len() == ACCOUNTS - 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let log = stage.log("r1");
    assert!(log.contains("ran back") && log.contains("patrold fleet recover"), "{log}");
    let now = patrold::clock::Clock::now(&patrold::clock::SystemClock);
    assert_eq!(fs::read_to_string(stage.root.join("stores/ci-0")).unwrap(), held, "nothing is written");
    assert!(stage.loopback.ledger().is_live(held.trim(), now), "and nothing is revoked");

    let asked = patrold(&stage.root, "r1", &["fleet", "recover"]).await;
    assert!(!asked.status.success());
    let recovered = patrold(&stage.root, "r1", &["fleet", "recover", "--yes"]).await;
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
    stage.until("it is taken up", PATIENCE, |it| it.claims.len() == ACCOUNTS).await;
    replica.signal(Signal::TERM);
    assert!(replica.process.wait().await.unwrap().success());
}
