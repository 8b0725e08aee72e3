//! Stores on hosts of consumers: agents write them, and nothing is revoked before each has.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use patrold::inventory::EngineKind;
use rustix::process::Signal;

use super::agents::{self, PATIENCE, file, kill, lives, secret, start_agent, tells, until};
use super::stage::{Stage, account, patrold};

/// The account and the token with a store on each of `hosts`; `more`: further keys of the token.
pub fn token(stage: &Stage, hosts: &[&str], more: &str) -> String {
    let root = stage.root.display();
    let stores = hosts.iter().fold(String::new(), |mut stores, host| {
        // Writing to a String cannot fail.
        let _ = writeln!(stores, "  {{ kind = \"file\", path = \"{root}/{host}/gps\", hosts = [\"{host}\"] }},");
        stores
    });
    format!(
        r#"{account}
[[token]]
name         = "gps"
account      = "hosted"
rotate-every = "1h"
stores = [
{stores}]
{more}
"#,
        account = account("hosted", &stage.root, &stage.loopback),
    )
}

/// A hook of the host: its consumer reads its file. As the inventory and the file of the agent have it.
fn reading(root: &Path, host: &str) -> String {
    let directory = root.join(host).display().to_string();
    format!("[\"/bin/cp\", \"{directory}/gps\", \"{directory}/read\"]")
}

/// What the consumer of a host has read last.
fn read(root: &Path, host: &str) -> Option<String> {
    fs::read_to_string(root.join(host).join("read")).ok()
}

/// Writes the file of an agent that may write what is in `paths` of its host, and run `hooks`.
pub async fn write_agent(stage: &Stage, host: &str, paths: &str, hooks: &str) {
    let more = format!("paths = [\"{}/{host}/{paths}\"]\nhooks = [{hooks}]", stage.root.display());
    agents::write_agent(stage, host, &[], &more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_revoked_before_every_host_has_the_new_secret_over_etcd() {
    Box::pin(play(EngineKind::Etcd)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_revoked_before_every_host_has_the_new_secret_over_postgresql() {
    Box::pin(play(EngineKind::PostgreSql)).await;
}

async fn play(kind: EngineKind) {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), kind).await else { return };
    let (root, ledger) = (stage.root.clone(), stage.loopback.ledger().clone());
    for host in ["web-1", "web-2"] {
        write_agent(&stage, host, "*", &reading(&root, host)).await;
    }
    let hooks = ["web-1", "web-2"].map(|host| format!("{{ run = {}, hosts = [\"{host}\"] }}", reading(&root, host)));
    let hooks = format!("hooks = [{}]", hooks.join(", "));
    let mut web_1 = start_agent(&stage, "web-1");
    let mut web_2 = start_agent(&stage, "web-2");
    let _r1 = stage.start("r1", &token(&stage, &["web-1", "web-2"], &hooks));
    until(&stage, "both hosts have the first secret", || {
        secret(&root, "web-1").is_some() && secret(&root, "web-1") == secret(&root, "web-2")
    })
    .await;

    // A rotation reaches both before the old token is revoked.
    let first = secret(&root, "web-1").unwrap();
    let rotated = patrold(&root, "r1", &["rotate", "gps"]).await;
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&[rotated.stdout, rotated.stderr].concat()));
    until(&stage, "the first token is revoked", || {
        // Looked at in this order: what is not there after the token has died was not there before.
        let died = !lives(&ledger, &first);
        let there = ["web-1", "web-2"].iter().all(|host| secret(&root, host).is_some_and(|text| text != first));
        assert!(!died || there, "a host still has the secret of a token that is revoked");
        died
    })
    .await;
    let second = secret(&root, "web-2").unwrap();
    assert_eq!(secret(&root, "web-1").as_ref(), Some(&second));
    assert_eq!(
        (read(&root, "web-1"), read(&root, "web-2")),
        (Some(second.clone()), Some(second.clone())),
        "both were told"
    );
    let shown = tells(&stage, &["fleet", "status"], "web-2  lives").await;
    assert!(!shown.contains("away"), "{shown}");

    // A second agent of one host refuses to start: on this machine, and on another.
    let twin = fs::read_to_string(root.join("web-2.toml")).unwrap();
    fs::write(root.join("twin.toml"), twin.replace("web-2.state", "twin.state")).unwrap();
    for name in ["web-2", "twin"] {
        let mut second = start_agent(&stage, name);
        let ended = tokio::time::timeout(PATIENCE, second.process.wait()).await.unwrap().unwrap();
        assert_eq!(ended.code(), Some(1), "{name}: {}", stage.log(name));
    }
    assert!(stage.log("twin").contains("an agent of host web-2 lives already"), "{}", stage.log("twin"));

    // An agent is away: its host is named, and nothing is revoked.
    kill(&mut web_2).await;
    tells(&stage, &["fleet", "status"], "web-2  away").await;
    let asked = patrold(&root, "r1", &["rotate", "gps", "--now", "--timeout", "5s"]).await;
    let answer = String::from_utf8_lossy(&[asked.stdout, asked.stderr].concat()).into_owned();
    assert!(answer.contains("web-2 has not acknowledged (last seen"), "{answer}");
    tells(&stage, &["status", "gps"], "web-2 has not acknowledged").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(lives(&ledger, &second), "what a silent host holds is alive");
    assert_eq!(secret(&root, "web-2").as_ref(), Some(&second));

    // It comes back, and the rotation goes on by itself.
    web_2 = start_agent(&stage, "web-2");
    until(&stage, "both have a new secret, and the old one is revoked", || {
        let died = !lives(&ledger, &second);
        let there = ["web-1", "web-2"].iter().all(|host| secret(&root, host).is_some_and(|text| text != second));
        assert!(!died || there, "a host still has the secret of a token that is revoked");
        died && there
    })
    .await;
    let third = secret(&root, "web-1").unwrap();

    // A file that is lost, as by a restart of its host, is there again when the agent is.
    web_1.signal(Signal::TERM);
    assert!(web_1.process.wait().await.unwrap().success(), "{}", stage.log("web-1"));
    fs::remove_file(file(&root, "web-1")).unwrap();
    web_1 = start_agent(&stage, "web-1");
    until(&stage, "the file is there again", || secret(&root, "web-1").as_ref() == Some(&third)).await;

    // What somebody else writes is noticed and repaired.
    fs::write(file(&root, "web-2"), "something else").unwrap();
    until(&stage, "the file is repaired", || secret(&root, "web-2").as_ref() == Some(&third)).await;
    drop((web_1, web_2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_writes_only_what_its_own_file_allows_and_a_host_can_be_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), EngineKind::Etcd).await else { return };
    let (root, ledger) = (stage.root.clone(), stage.loopback.ledger().clone());
    write_agent(&stage, "web-1", "other-*", "").await;
    write_agent(&stage, "web-2", "*", "").await;
    let mut web_1 = start_agent(&stage, "web-1");
    let mut web_2 = start_agent(&stage, "web-2");
    let hook = format!("hooks = [{{ run = {}, hosts = [\"web-1\"] }}]", reading(&root, "web-1"));
    let _r1 = stage.start("r1", &token(&stage, &["web-1", "web-2"], &hook));
    let told = tells(&stage, &["explain", "gps"], "web-1: the agent does not have").await;
    assert!(told.contains("in `paths` of its [agent]"), "{told}");
    assert!(secret(&root, "web-1").is_none());

    // The file is allowed from now on, and the hook is not yet.
    web_1.signal(Signal::TERM);
    web_1.process.wait().await.unwrap();
    write_agent(&stage, "web-1", "*", "").await;
    web_1 = start_agent(&stage, "web-1");
    let told = tells(&stage, &["explain", "gps"], "in `hooks` of its [agent]").await;
    assert!(told.contains("web-1: the agent does not have"), "{told}");
    assert!(read(&root, "web-1").is_none());
    web_1.signal(Signal::TERM);
    web_1.process.wait().await.unwrap();
    write_agent(&stage, "web-1", "*", &reading(&root, "web-1")).await;
    let _web_1 = start_agent(&stage, "web-1");
    until(&stage, "the hook runs", || read(&root, "web-1").is_some()).await;
    until(&stage, "both hosts have it", || secret(&root, "web-1").is_some() && secret(&root, "web-2").is_some()).await;
    let first = secret(&root, "web-1").unwrap();

    // Nobody waits for a host that an operator has given up, and it gets what it missed when it is back.
    let lives_still = patrold(&root, "r1", &["fleet", "forget", "web-2"]).await;
    assert!(!lives_still.status.success());
    kill(&mut web_2).await;
    tells(&stage, &["fleet", "status"], "web-2  away").await;
    let forgotten = patrold(&root, "r1", &["fleet", "forget", "web-2"]).await;
    assert!(forgotten.status.success(), "{}", String::from_utf8_lossy(&forgotten.stderr));
    tells(&stage, &["fleet", "status"], "web-2  forgotten").await;
    let rotated = patrold(&root, "r1", &["rotate", "gps", "--now"]).await;
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&[rotated.stdout, rotated.stderr].concat()));
    until(&stage, "the old token is revoked", || !lives(&ledger, &first)).await;
    assert_eq!(secret(&root, "web-2").as_ref(), Some(&first));
    web_2 = start_agent(&stage, "web-2");
    until(&stage, "it has what it missed", || secret(&root, "web-2") == secret(&root, "web-1")).await;
    tells(&stage, &["fleet", "status"], "web-2  lives").await;
    drop(web_2);
}
