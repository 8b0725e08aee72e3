//! Commands on a replica that does not look after the token: the owner does them, or is named and nothing is changed.

use std::fs;
use std::time::Duration;

use patrold::inventory::EngineKind;
use patrold::journal::fleet::presence::Presence;
use rustix::process::Signal;

use super::stage::{ACCOUNTS, Stage, patrold};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_on_another_host_reaches_the_owner_or_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), EngineKind::Etcd).await else { return };
    let _replicas = [stage.start("r1", ""), stage.start("r2", "")];
    stage
        .until("both own something", PATIENCE, |presence| {
            let owned = |name: &str| presence.claims.values().any(|claim| claim.replica.as_str() == name);
            presence.claims.len() == ACCOUNTS && owned("r1") && owned("r2")
        })
        .await;
    let presence = stage.presence().await;
    let (account, _) = presence.claims.iter().find(|(_, claim)| claim.replica.as_str() == "r2").unwrap();
    let token = account.as_str().replace("controller", "ci");
    let inventory = stage.root.join("r1.toml");
    let before = fs::read_to_string(&inventory).unwrap();

    let told = says(&stage, "r1", &["explain", &token]).await;
    assert!(told.contains("owner   replica r2 (claim "), "{told}");
    assert!(told.contains("RULE") && !told.contains("the journal tells"), "the owner itself has told: {told}");
    let shown = patrold(&stage.root, "r1", &["status", &token]).await;
    let told = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && told.contains("r2"), "{told}");
    for command in ["rotate", "cancel", "rollback"] {
        let asked = patrold(&stage.root, "r1", &[command, &token]).await;
        let told = String::from_utf8_lossy(&[asked.stdout, asked.stderr].concat()).into_owned();
        assert!(!told.contains("`patrold fleet status` shows whose it is"), "the owner answers {command}: {told}");
        assert!(command != "rotate" || asked.status.success(), "{told}");
    }
    assert_eq!(fs::read_to_string(&inventory).unwrap(), before, "the entry is still there");
    let audited = patrold(&stage.root, "r1", &["audit", "--json"]).await;
    let audit: serde_json::Value = serde_json::from_slice(&audited.stdout).unwrap();
    let accounts = audit["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), ACCOUNTS, "{audit:#}");
    for audit in accounts {
        assert!(audit["failure"].is_null() && audit["listed"].as_u64().is_some_and(|listed| listed > 0), "{audit:#}");
    }
    // What was read a second ago is shown again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let shown = patrold(&stage.root, "r1", &["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let theirs = status["tokens"].as_array().unwrap().iter().find(|it| it["name"] == *token).unwrap();
    assert!(theirs["current"]["number"].as_u64().is_some(), "the journal tells of it: {theirs:#}");
    let whose = patrold(&stage.root, "r1", &["fleet", "status"]).await;
    let told = String::from_utf8_lossy(&whose.stdout).into_owned();
    assert!(told.lines().any(|line| line.starts_with(account.as_str()) && line.contains("r2")), "{told}");

    let (before, told) =
        (fs::read_to_string(&inventory).unwrap(), asked(&stage, "r1", &["retire", &token, "--revoke"]).await);
    assert_eq!(told.0, Some(1), "the owner needs it still: {}", told.1);
    assert!(told.1.contains("still in the inventory of replica r2"), "{}", told.1);
    assert!(told.1.contains("out of the inventory of every other host of fleet test"), "{}", told.1);
    assert_ne!(fs::read_to_string(&inventory).unwrap(), before, "its entry has left this one");
    let told = says(&stage, "r2", &["retire", &token, "--keep"]).await;
    assert!(told.contains("it stays alive"), "{told}");
    let told = says(&stage, "r1", &["retire", &token, "--revoke", "--after", "1h"]).await;
    assert!(told.contains(": it is revoked in "), "{told}");
    let told = says(&stage, "r1", &["cancel", &token]).await;
    assert!(told.contains("withdrawn"), "{told}");
    let told = says(&stage, "r1", &["explain", &token]).await;
    assert!(told.contains("owner   replica r2"), "{told}");
    let told = says(&stage, "r1", &["retire", &token, "--revoke", "--now"]).await;
    // What was asked for above may be under way still.
    assert!([": revoked", ": it is revoked now"].iter().any(|answer| told.contains(answer)), "{told}");
}

/// What a command says on the host `name`, and how it ends.
async fn asked(stage: &Stage, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = patrold(&stage.root, name, arguments).await;
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The same of one that has to end well.
async fn says(stage: &Stage, name: &str, arguments: &[&str]) -> String {
    let (code, told) = asked(stage, name, arguments).await;
    assert_eq!(code, Some(0), "{arguments:?}: {told}");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_owner_did_not_begin_is_asked_of_the_next_one_and_done_once() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), EngineKind::Etcd).await else { return };
    let (_r1, r2) = (stage.start("r1", ""), stage.start("r2", ""));
    let owned = |presence: &Presence, name: &str| presence.claims.values().any(|claim| claim.replica.as_str() == name);
    let share =
        |presence: &Presence| presence.claims.len() == ACCOUNTS && owned(presence, "r1") && owned(presence, "r2");
    stage.until("both own something", PATIENCE, share).await;
    let presence = stage.presence().await;
    let (account, _) = presence.claims.iter().find(|(_, claim)| claim.replica.as_str() == "r2").unwrap();
    let token = account.as_str().replace("controller", "ci");
    tokio::time::sleep(Duration::from_secs(4)).await;

    r2.signal(Signal::STOP);
    let told = says(&stage, "r1", &["rotate", &token]).await;
    assert!(told.contains("rotated"), "{told}");
    r2.signal(Signal::CONT);
    let both = |presence: &Presence| presence.members.len() == 2;
    stage.until("the one that was stopped is back", PATIENCE, both).await;
    let told = says(&stage, "r1", &["history", &token, "--json"]).await;
    let history: serde_json::Value = serde_json::from_str(&told).unwrap();
    let records = history.as_object().unwrap().values().find_map(|it| it.as_array()).unwrap();
    assert_eq!(records.iter().filter(|record| record["event"] == "requested").count(), 1, "{told}");
}
