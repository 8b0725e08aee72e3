//! The seal key of a fleet is exchanged while tokens are rotated.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use patrold::inventory::EngineKind;
use patrold::journal::fleet::presence::{Claim, Presence};
use rustix::process::Signal;

use super::agents::{file, lives, secret, start_agent, until};
use super::engine::get;
use super::hosts::{token, write_agent};
use super::rounds::{all_with, gather, judge};
use super::stage::{ACCOUNTS, Replica, Stage, patrold};

const PATIENCE: Duration = Duration::from_secs(60);

/// Changes the inventory of a replica, and starts it again with that.
async fn again(stage: &Stage, mut replica: Replica, change: impl Fn(&str) -> String) -> Replica {
    replica.signal(Signal::TERM);
    assert!(replica.process.wait().await.unwrap().success(), "{}", stage.log(&replica.name));
    rewrite(&stage.root, &replica.name, change);
    let name = replica.name.parse().unwrap();
    let process = stage.run(&replica.name);
    let owned = |it: &Presence| {
        let lives = |claim: &Claim| it.members.contains_key(&claim.replica);
        it.members.contains_key(&name) && it.claims.len() >= ACCOUNTS && it.claims.values().all(lives)
    };
    stage.until("it lives again, and everything is owned", PATIENCE, owned).await;
    Replica { name: replica.name, process }
}

fn rewrite(root: &Path, name: &str, change: impl Fn(&str) -> String) {
    let path = root.join(format!("{name}.toml"));
    let before = fs::read_to_string(&path).unwrap();
    let after = change(&before);
    assert_ne!(before, after);
    fs::write(path, after).unwrap();
}

async fn told(stage: &Stage, arguments: &[&str]) -> (Option<i32>, String) {
    let output = patrold(&stage.root, "r1", arguments).await;
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

async fn rotates(stage: &Stage) {
    let begun = Instant::now();
    let count = || ["r1", "r2"].iter().map(|name| stage.log(name).matches("\"retired\"").count()).sum::<usize>();
    let before = count();
    while count() <= before + 3 {
        assert!(begun.elapsed() < PATIENCE, "nothing is rotated any more: {}", stage.log("r1"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seal_key_is_exchanged_while_the_fleet_runs_over_etcd() {
    Box::pin(exchange(EngineKind::Etcd)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seal_key_is_exchanged_while_the_fleet_runs_over_postgresql() {
    Box::pin(exchange(EngineKind::PostgreSql)).await;
}

async fn exchange(kind: EngineKind) {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), kind).await else { return };
    let root = stage.root.display().to_string();
    fs::write(stage.root.join("seal-2.key"), "fedcba9876543210fedcba9876543210\n").unwrap();
    let (dismissed, consumers) = gather(stage.consumers());
    let (mut r1, mut r2) = (stage.start("r1", ""), stage.start("r2", ""));
    stage.until("both have a share", PATIENCE, |it| all_with(it, &["r1", "r2"]) && !all_with(it, &["r1"])).await;
    rotates(&stage).await;
    let (code, text) = told(&stage, &["fleet", "rekey"]).await;
    assert!(code == Some(2) && text.contains("no other key"), "{text}");

    // Every replica has the new key before it is brought into force.
    let next = format!("next-seal-key = {{ file = \"{root}/seal-2.key\" }}\n");
    let with_next = |text: &str| text.replace("[fleet]\n", &format!("[fleet]\n{next}"));
    r1 = again(&stage, r1, with_next).await;
    let (code, text) = told(&stage, &["fleet", "rekey"]).await;
    assert!(code == Some(1) && text.contains("do not have the key") && text.contains("r2"), "{text}");
    r2 = again(&stage, r2, with_next).await;
    let before = get(&stage.engine, "/patrold/test/meta").await;
    let (code, text) = told(&stage, &["fleet", "rekey"]).await;
    assert!(code == Some(0) && text.contains("seals from now on"), "{text}");
    assert_ne!(get(&stage.engine, "/patrold/test/meta").await, before);
    let begun = Instant::now();
    loop {
        let (code, text) = told(&stage, &["fleet", "rekey", "--finish"]).await;
        if code == Some(0) {
            assert!(text.contains("nothing needs the old key"), "{text}");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{text}{}", stage.log("r1"));
    }
    rotates(&stage).await;

    // The old one goes, from one replica after the other. Whoever has nothing else does not start.
    let with_new = |text: &str| text.replace(&next, "").replace("/seal.key\"", "/seal-2.key\"");
    r1 = again(&stage, r1, with_new).await;
    r2 = again(&stage, r2, with_new).await;
    rotates(&stage).await;
    let refused = patrold(&stage.root, "watcher", &["fleet", "status"]).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("seals its secrets with the key"), "{text}");
    let (code, text) = told(&stage, &["rotate", "ci-2", "--timeout", "20s"]).await;
    assert_eq!(code, Some(0), "{text}");

    for mut replica in [r1, r2] {
        replica.signal(Signal::TERM);
        let ended = tokio::time::timeout(PATIENCE, replica.process.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{} ended with {ended}: {}", replica.name, stage.log(&replica.name));
        // A store that was found changed, a secret that could not be opened: nothing of that kind.
        let log = stage.log(&replica.name);
        assert!(!log.contains("secret-unreadable") && !log.contains("drifted"), "{log}");
    }
    dismissed.store(true, Ordering::Release);
    judge(&stage, consumers.join().unwrap()).await;
}

/// Has the token on the host rotated; its agent has written the new secret then.
async fn rotates_there(stage: &Stage) {
    let before = secret(&stage.root, "web-1");
    let (code, text) = told(stage, &["rotate", "gps", "--timeout", "20s"]).await;
    assert_eq!(code, Some(0), "{text}");
    let after = secret(&stage.root, "web-1");
    assert!(after != before && after.is_some_and(|it| lives(stage.loopback.ledger(), &it)), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_goes_on_with_its_key_until_it_is_given_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), EngineKind::Etcd).await else { return };
    let root = stage.root.display().to_string();
    fs::write(stage.root.join("seal-2.key"), "fedcba9876543210fedcba9876543210\n").unwrap();
    write_agent(&stage, "web-1", "*", "").await;
    let mut web_1 = start_agent(&stage, "web-1");
    let mut r1 = stage.start("r1", &token(&stage, &["web-1"], ""));
    until(&stage, "the host has the first secret", || file(&stage.root, "web-1").exists()).await;
    let next = format!("next-seal-key = {{ file = \"{root}/seal-2.key\" }}\n");
    r1 = again(&stage, r1, |text| text.replace("[fleet]\n", &format!("[fleet]\n{next}"))).await;
    let (code, text) = told(&stage, &["fleet", "rekey"]).await;
    assert!(code == Some(0) && text.contains("seals from now on"), "{text}");
    rotates_there(&stage).await;
    let begun = Instant::now();
    loop {
        let (code, text) = told(&stage, &["fleet", "rekey", "--finish"]).await;
        assert_eq!(code, Some(3), "the host has the old key: {text}");
        if !text.contains("secrets of these accounts") {
            assert!(text.contains("came of another one") && text.contains("web-1"), "{text}");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{text}{}", stage.log("r1"));
    }

    let key = patrold(&stage.root, "r1", &["fleet", "host-key", "web-1"]).await;
    assert_ne!(fs::read(stage.root.join("web-1.key")).unwrap(), key.stdout);
    web_1.signal(Signal::TERM);
    assert!(web_1.process.wait().await.unwrap().success(), "{}", stage.log("web-1"));
    fs::write(stage.root.join("web-1.key"), key.stdout).unwrap();
    let _web_1 = start_agent(&stage, "web-1");
    let begun = Instant::now();
    while told(&stage, &["fleet", "rekey", "--finish"]).await.0 != Some(0) {
        assert!(begun.elapsed() < PATIENCE, "{}{}", stage.log("web-1"), stage.log("r1"));
    }
    r1 = again(&stage, r1, |text| text.replace(&next, "").replace("/seal.key\"", "/seal-2.key\"")).await;
    rotates_there(&stage).await;
    assert!(!stage.log(&r1.name).contains("secret-unreadable"), "{}", stage.log("r1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_lost_costs_one_rotation_of_each_token() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), EngineKind::Etcd).await else { return };
    let mut r1 = stage.start("r1", "");
    stage.until("it has all", PATIENCE, |it| it.claims.len() == ACCOUNTS && all_with(it, &["r1"])).await;
    let stored = |number: usize| fs::read_to_string(stage.root.join("stores").join(format!("ci-{number}"))).ok();
    let all = || (0..ACCOUNTS).map(stored).collect::<Vec<_>>();
    until(&stage, "each has a secret", || all().iter().all(Option::is_some)).await;
    let (code, text) = told(&stage, &["fleet", "recover", "--lost-key", "--yes"]).await;
    assert!(code == Some(1) && text.contains("it is not lost"), "{text}");
    fs::write(stage.root.join("seal-2.key"), "fedcba9876543210fedcba9876543210\n").unwrap();
    let with_new = |text: &str| {
        text.replace("/seal.key\"", "/seal-2.key\"").replace("rotate-every = \"3s\"", "rotate-every = \"30d\"")
    };
    rewrite(&stage.root, "r1", with_new);
    let (code, text) = told(&stage, &["fleet", "recover", "--lost-key", "--yes"]).await;
    assert!(code == Some(1) && text.contains("replicas live, and have the key: r1"), "{text}");
    r1.signal(Signal::TERM);
    assert!(r1.process.wait().await.unwrap().success(), "{}", stage.log("r1"));
    let refused = patrold(&stage.root, "r1", &["fleet", "status"]).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("--lost-key"), "{text}");

    let (code, text) = told(&stage, &["fleet", "recover", "--lost-key"]).await;
    assert!(code == Some(1) && text.contains("8 tokens would be given up; nothing was changed"), "{text}");
    let before = all();
    let (code, text) = told(&stage, &["fleet", "recover", "--lost-key", "--yes"]).await;
    assert!(code == Some(0) && text.contains("8 tokens are given up"), "{text}");
    let mut r1 = Replica { name: "r1".to_owned(), process: stage.run("r1") };
    let changed = || all().iter().zip(&before).all(|(now, before)| now.is_some() && now != before);
    until(&stage, "each has another secret", changed).await;
    let (code, text) = told(&stage, &["rotate", "ci-2", "--timeout", "20s"]).await;
    assert_eq!(code, Some(0), "{text}");
    let ledger = stage.loopback.ledger();
    assert!(all().iter().all(|it| it.as_ref().is_some_and(|it| lives(ledger, it))), "{}", stage.log("r1"));
    r1.signal(Signal::TERM);
    assert!(r1.process.wait().await.unwrap().success(), "{}", stage.log("r1"));
}
