//! Commands on a replica that does not look after the token: the owner does them, or is named and nothing is changed.

use std::fs;
use std::time::Duration;

use patrold::inventory::EngineKind;

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

    for command in [&["explain"][..], &["retire", "--revoke"], &["retire", "--keep"]] {
        let asked = patrold(&stage.root, "r1", &[command, &[&token]].concat()).await;
        let told = String::from_utf8_lossy(&asked.stderr).into_owned();
        assert_eq!(asked.status.code(), Some(1), "{command:?}: {told}");
        assert!(told.contains(&format!("{token} is looked after by replica r2")), "{command:?}: {told}");
        assert!(told.contains(&format!("type `patrold {} {token}` on that host", command[0])), "{command:?}: {told}");
    }
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

    let retired = patrold(&stage.root, "r2", &["retire", &token, "--revoke", "--now"]).await;
    let told = String::from_utf8_lossy(&retired.stdout).into_owned();
    // What was asked for above may be under way still.
    let taken = [": revoked", ": it is revoked now"].iter().any(|answer| told.contains(answer));
    assert!(retired.status.success() && taken, "{told}");
    assert!(told.contains("out of the inventory of every other host of fleet test"), "{told}");
}
