//! Stores on hosts that the inventory does not name: whoever has the label is owed, and nobody else.

use std::fs;
use std::time::Duration;

use patrold::inventory::EngineKind;
use rustix::process::Signal;

use super::agents::{self, PATIENCE, kill, lives, secret, start_agent, tells, until};
use super::stage::{Stage, account, patrold};

/// One path for all hosts, which on this one machine leads each agent to a directory of its own.
const PATH: &str = "/proc/self/cwd/gps";

/// The account and a token with a store, and a hook, on each of `hosts`, as the inventory spells them.
fn token(stage: &Stage, hosts: &str) -> String {
    format!(
        r#"{account}
[[token]]
name         = "gps"
account      = "hosted"
rotate-every = "1h"
stores = [{{ kind = "file", path = "{PATH}", hosts = {hosts}, on-leave = "erase" }}]
hooks  = [{{ kind = "signal", exe = "{root}/nobody", absent = "ok", hosts = {hosts} }}]
"#,
        account = account("hosted", &stage.root, &stage.loopback),
        root = stage.root.display(),
    )
}

/// Writes the file of an agent that says to have `labels`, with a key that was made for `made_for`.
async fn write_agent(stage: &Stage, host: &str, labels: &[&str], made_for: &[&str]) {
    let more = format!(
        "labels = {labels:?}\npaths = [\"/proc/self/cwd/*\"]\nhooks = [[\"kill\", \"-HUP\", \"--exe={}/nobody\"]]",
        stage.root.display()
    );
    agents::write_agent(stage, host, made_for, &more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_the_label_is_owed_until_it_is_forgotten_over_etcd() {
    Box::pin(play(EngineKind::Etcd)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_the_label_is_owed_until_it_is_forgotten_over_postgresql() {
    Box::pin(play(EngineKind::PostgreSql)).await;
}

async fn play(kind: EngineKind) {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), kind).await else { return };
    let (root, ledger) = (stage.root.clone(), stage.loopback.ledger().clone());
    for host in ["web-1", "web-2"] {
        write_agent(&stage, host, &["role=web", "site=fra"], &["site=fra", "role=web"]).await;
    }
    write_agent(&stage, "db-1", &["role=db"], &["role=db"]).await;

    // An agent that says more than its key was made for does not start.
    write_agent(&stage, "liar", &["role=web"], &[]).await;
    let ended = tokio::time::timeout(PATIENCE, start_agent(&stage, "liar").process.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(1), "{}", stage.log("liar"));
    assert!(stage.log("liar").contains("was made for other labels (none)"), "{}", stage.log("liar"));

    // Nobody has the label yet; the first who comes gets the secret, and so does each who comes later.
    let mut r1 = stage.start("r1", &token(&stage, "[\"role=web\"]"));
    tells(&stage, &["fleet", "status"], "no host is known that is role=web: gps").await;
    let _web_1 = start_agent(&stage, "web-1");
    until(&stage, "the first host has it", || secret(&root, "web-1").is_some()).await;
    let mut web_2 = start_agent(&stage, "web-2");
    let _db_1 = start_agent(&stage, "db-1");
    until(&stage, "the second host has it", || secret(&root, "web-2") == secret(&root, "web-1")).await;
    tells(&stage, &["fleet", "status"], "role=web, site=fra").await;
    assert_eq!(secret(&root, "db-1"), None, "it has another label");
    let first = secret(&root, "web-1").unwrap();

    // A host that is away is waited for, also by a replica that was started since.
    kill(&mut web_2).await;
    r1.signal(Signal::TERM);
    assert!(r1.process.wait().await.unwrap().success(), "{}", stage.log("r1"));
    r1 = stage.start("r1", &token(&stage, "[\"role=web\"]"));
    tells(&stage, &["fleet", "status"], "web-2  away").await;
    let asked = patrold(&root, "r1", &["rotate", "gps", "--now", "--timeout", "5s"]).await;
    let told = String::from_utf8_lossy(&[asked.stdout, asked.stderr].concat()).into_owned();
    assert!(
        told.contains("web-2 has not acknowledged"),
        "it was asked of a replica that takes the account now: {told}"
    );
    tells(&stage, &["status", "gps"], "web-2 has not acknowledged").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(lives(&ledger, &first), "what a silent host holds is alive");

    // Nobody waits for one that is forgotten; it gets what it missed when it is back.
    let forgotten = patrold(&root, "r1", &["fleet", "forget", "web-2"]).await;
    assert!(forgotten.status.success(), "{}", String::from_utf8_lossy(&forgotten.stderr));
    until(&stage, "the old token is revoked", || !lives(&ledger, &first)).await;
    assert_eq!(secret(&root, "web-2").as_ref(), Some(&first));
    web_2 = start_agent(&stage, "web-2");
    until(&stage, "it has what it missed", || secret(&root, "web-2") == secret(&root, "web-1")).await;

    // Other hosts are meant from now on: these get it, and it is taken out of those that had it.
    let path = root.join("r1.toml");
    let changed = fs::read_to_string(&path).unwrap().replace("role=web", "role=db");
    fs::write(&path, changed).unwrap();
    let reloaded = patrold(&root, "r1", &["reload"]).await;
    assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&[reloaded.stdout, reloaded.stderr].concat()));
    until(&stage, "the new host has it, and the old ones have it no more", || {
        secret(&root, "db-1").is_some() && ["web-1", "web-2"].iter().all(|host| secret(&root, host).is_none())
    })
    .await;
    assert!(lives(&ledger, &secret(&root, "db-1").unwrap()));
    drop((web_2, r1));
}
