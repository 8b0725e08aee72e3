//! The journal of a daemon that was alone moves into a fleet, and nothing is minted for it.

use std::fs;
use std::time::{Duration, Instant};

use patrold::clock::{Clock as _, SystemClock};
use patrold::demo::Service;
use patrold::inventory::EngineKind;
use rustix::process::Signal;

use super::stage::{ACCOUNTS, Stage, patrold};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_was_alone_moves_into_a_fleet_and_back_over_etcd() {
    Box::pin(there_and_back(EngineKind::Etcd)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_was_alone_moves_into_a_fleet_and_back_over_postgresql() {
    Box::pin(there_and_back(EngineKind::PostgreSql)).await;
}

async fn there_and_back(kind: EngineKind) {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), kind).await else { return };
    let root = directory.path();
    stage.write("alone", &stage.engine.place());
    let path = root.join("alone.toml");
    let fleet = fs::read_to_string(&path).unwrap().replace("name   = \"test\"", "name   = \"moved\"");
    // They are rotated once a month here: whatever is minted later is minted in vain.
    let fleet = fleet.replace("rotate-every = \"3s\"", "rotate-every = \"30d\"");
    let alone =
        fleet.split("[fleet]").next().unwrap().to_owned() + "[defaults]" + fleet.split("[defaults]").nth(1).unwrap();
    fs::write(&path, alone).unwrap();
    let mut daemon = stage.run("alone");
    let begun = Instant::now();
    let stored = |number: usize| fs::read_to_string(root.join("stores").join(format!("ci-{number}"))).ok();
    while !(0..ACCOUNTS).all(|number| stored(number).is_some()) {
        assert!(begun.elapsed() < PATIENCE, "{}", stage.log("alone"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let pid = rustix::process::Pid::from_raw(daemon.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(daemon.wait().await.unwrap().success());
    let before: Vec<_> = (0..ACCOUNTS).map(stored).collect();

    fs::write(&path, &fleet).unwrap();
    let refused = patrold(root, "alone", &["run"]).await;
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("patrold fleet import"), "{refused}");
    let moved = patrold(root, "alone", &["fleet", "import"]).await;
    let told = format!("{}{}", String::from_utf8_lossy(&moved.stdout), String::from_utf8_lossy(&moved.stderr));
    assert!(moved.status.success() && told.contains("moved into fleet moved: 8 tokens, 8 secrets"), "{told}");

    let mut daemon = stage.run("alone");
    let begun = Instant::now();
    loop {
        let shown = patrold(root, "alone", &["fleet", "status"]).await;
        if shown.status.code() == Some(0) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{}{}", String::from_utf8_lossy(&shown.stdout), stage.log("alone"));
    }
    let rotated = patrold(root, "alone", &["rotate", "ci-3", "--timeout", "20s"]).await;
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stdout));
    let changed: Vec<_> = (0..ACCOUNTS).filter(|number| stored(*number) != before[*number]).collect();
    assert_eq!(changed, [3], "only what was asked for");
    assert_eq!(stage.loopback.ledger().all().iter().filter(|entry| entry.is_marked()).count(), ACCOUNTS + 1);
    assert!(!stage.loopback.ledger().live_tokens(Service::Awx, SystemClock.now()).is_empty());
    let pid = rustix::process::Pid::from_raw(daemon.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(daemon.wait().await.unwrap().success());

    // Alone again, it would go on from what was before.
    let with_fleet = fs::read_to_string(&path).unwrap();
    let alone =
        fleet.split("[fleet]").next().unwrap().to_owned() + "[defaults]" + fleet.split("[defaults]").nth(1).unwrap();
    fs::write(&path, alone).unwrap();
    let refused = patrold(root, "alone", &["run"]).await;
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("was moved into fleet moved"), "{refused}");

    // The fleet is given up: while a replica lives, nothing is moved.
    fs::write(&path, &with_fleet).unwrap();
    let mut daemon = stage.run("alone");
    let begun = Instant::now();
    while patrold(root, "alone", &["fleet", "status"]).await.status.code() != Some(0) {
        assert!(begun.elapsed() < PATIENCE, "{}", stage.log("alone"));
    }
    let refused = patrold(root, "alone", &["fleet", "leave"]).await;
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("replicas live: alone"), "{refused}");
    let pid = rustix::process::Pid::from_raw(daemon.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(daemon.wait().await.unwrap().success());
    let before: Vec<_> = (0..ACCOUNTS).map(stored).collect();
    let marked = || stage.loopback.ledger().all().iter().filter(|entry| entry.is_marked()).count();
    let minted = marked();
    let left = patrold(root, "alone", &["fleet", "leave"]).await;
    let told = format!("{}{}", String::from_utf8_lossy(&left.stdout), String::from_utf8_lossy(&left.stderr));
    assert!(left.status.success() && told.contains("moved back from fleet moved: 8 tokens"), "{told}");
    // A replica elsewhere is told where it went.
    let other = with_fleet.replace("/alone", "/other").replace("\"alone\"", "\"other\"");
    fs::write(root.join("other.toml"), other).unwrap();
    let refused = patrold(root, "other", &["run"]).await;
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("was moved back into the state directory of alone"), "{refused}");

    // It goes on alone: with the same secrets, and nothing minted for it.
    let alone =
        fleet.split("[fleet]").next().unwrap().to_owned() + "[defaults]" + fleet.split("[defaults]").nth(1).unwrap();
    fs::write(&path, alone).unwrap();
    let mut daemon = stage.run("alone");
    let begun = Instant::now();
    while !patrold(root, "alone", &["status", "--ready"]).await.status.success() {
        assert!(begun.elapsed() < PATIENCE, "{}", stage.log("alone"));
    }
    let rotated = patrold(root, "alone", &["rotate", "ci-5", "--timeout", "20s"]).await;
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stdout));
    let changed: Vec<_> = (0..ACCOUNTS).filter(|number| stored(*number) != before[*number]).collect();
    assert_eq!((changed, marked()), (vec![5], minted + 1), "only what was asked for");
    let pid = rustix::process::Pid::from_raw(daemon.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(daemon.wait().await.unwrap().success());
}
