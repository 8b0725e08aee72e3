//! What is wrong with a replica is told in one line with the remedy, and harms nobody.

use std::time::Duration;

use patrold::inventory::EngineKind;
use rustix::process::Signal;

use super::stage::{Stage, patrold};

const PATIENCE: Duration = Duration::from_secs(30);

/// The last lines that a replica which does not start has logged.
async fn refused(stage: &Stage, name: &str, change: impl FnOnce(String) -> String) -> String {
    let mut replica = stage.start(name, "");
    replica.process.start_kill().unwrap();
    replica.process.wait().await.unwrap();
    let path = stage.root.join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, change(text)).unwrap();
    let output = patrold(&stage.root, name, &["run"]).await;
    assert!(!output.status.success(), "it starts");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_does_not_fit_is_told_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), EngineKind::Etcd).await else { return };
    let again = patrold(&stage.root, "watcher", &["fleet", "init"]).await;
    let again = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.contains("exists already"), "{again}");

    let again = patrold(&stage.root, "watcher", &["fleet", "init", "--if-missing"]).await;
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));

    let told = refused(&stage, "r1", |text| text.replace("name   = \"test\"", "name   = \"other\"")).await;
    assert!(told.contains("does not exist") && told.contains("patrold fleet init"), "{told}");

    std::fs::write(stage.root.join("other.key"), "ffffffffffffffffffffffffffffffff\n").unwrap();
    let told = refused(&stage, "r2", |text| text.replace("/seal.key", "/other.key")).await;
    assert!(told.contains("with the key") && told.contains("seal-key"), "{told}");

    let told = refused(&stage, "r3", |text| {
        text.lines().filter(|line| !line.starts_with("seal-key")).fold(String::new(), |text, line| text + line + "\n")
    })
    .await;
    assert!(told.contains("one seal key that every replica is given"), "{told}");

    // A second replica of the same name owns nothing while the first one lives.
    let first = stage.start("same", "");
    stage.until("the first one lives", PATIENCE, |it| it.members.len() == 1 && !it.claims.is_empty()).await;
    let second = stage.start("twin", "");
    drop(second);
    let path = stage.root.join("twin.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace("host   = \"twin\"", "host   = \"same\"");
    std::fs::write(&path, text).unwrap();
    let mut process = stage.run("twin");
    let begun = std::time::Instant::now();
    while !stage.log("twin").contains("lives already") {
        assert!(begun.elapsed() < PATIENCE, "it is not told: {}", stage.log("twin"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It ends by itself when the cause does.
    let owned = |name: &'static str| {
        move |it: &patrold::journal::fleet::presence::Presence| {
            it.claims.values().any(|claim| claim.replica.as_str() == name)
        }
    };
    first.signal(Signal::TERM);
    let mut first = first;
    first.process.wait().await.unwrap();
    stage.until("the other one takes over", PATIENCE, owned("same")).await;
    process.start_kill().unwrap();
    process.wait().await.unwrap();
}
