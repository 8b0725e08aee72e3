//! An engine whose data ran back: what consumers hold is not taken for a leftover.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::process::Command;

use super::stage::{ACCOUNTS, Stage, patrold};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a key of the engine holds.
async fn get(stage: &Stage, key: &str) -> String {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &stage.engine.url, "get", "--print-value-only", key])
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

async fn put(stage: &Stage, key: &str, value: &str) {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &stage.engine.url, "put", key, value])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_journal_is_not_believed_before_an_operator_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path()).await else { return };
    if !super::engine::is_there("etcdctl") {
        assert!(std::env::var_os("PATROLD_FLEET_REQUIRED").is_none(), "install the package etcd-client");
        return;
    }
    let keys = ["t", "d"].map(|kind| format!("/patrold/test/{kind}/controller-0/ci-0"));
    let mut replica = stage.start("r1", "");
    stage.until("it owns everything", PATIENCE, |it| it.claims.len() == ACCOUNTS).await;
    let begun = Instant::now();
    let settled = || stage.log("r1").matches("\"retired\"").count() > ACCOUNTS;
    while !settled() {
        assert!(begun.elapsed() < PATIENCE, "nothing is rotated");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let old = [get(&stage, &keys[0]).await, get(&stage, &keys[1]).await];
    while get(&stage, &keys[1]).await == old[1] {
        assert!(begun.elapsed() < PATIENCE, "it is not rotated again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    replica.signal(Signal::TERM);
    assert!(replica.process.wait().await.unwrap().success());
    // The revision of the engine goes on, as after a backup that was restored and used for a while.
    put(&stage, &keys[0], &old[0]).await;
    put(&stage, &keys[1], &old[1]).await;
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
