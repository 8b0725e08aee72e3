//! Stores on hosts that the inventory does not name: whoever has the label is owed, and nobody else.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use patrold::clock::{Clock as _, SystemClock};
use patrold::demo::Ledger;
use patrold::inventory::EngineKind;
use rustix::process::Signal;
use tokio::process::Command;

use super::stage::{Replica, Stage, account, patrold};

/// Much longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(40);

/// One path for all hosts, which on this one machine leads each agent to a directory of its own.
const PATH: &str = "/proc/self/cwd/gps";

fn secret(root: &Path, host: &str) -> Option<String> {
    fs::read_to_string(root.join(host).join("gps")).ok().filter(|text| !text.is_empty())
}

fn lives(ledger: &Ledger, secret: &str) -> bool {
    ledger.is_live(secret, SystemClock.now())
}

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
    let root = stage.root.display();
    let with: Vec<&str> = made_for.iter().flat_map(|label| ["--label", label]).collect();
    let key = patrold(&stage.root, "watcher", &[&["fleet", "host-key", host], &with[..]].concat()).await;
    assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
    fs::create_dir_all(stage.root.join(host)).unwrap();
    fs::write(stage.root.join(format!("{host}.key")), key.stdout).unwrap();
    let text = format!(
        "[agent]\nfleet = \"test\"\nhost = \"{host}\"\nlabels = {labels:?}\nkey = {{ file = \"{root}/{host}.key\" }}\n\
         state-dir = \"{root}/{host}.state\"\nlease = \"2s\"\npaths = [\"/proc/self/cwd/*\"]\n\
         hooks = [[\"kill\", \"-HUP\", \"--exe={root}/nobody\"]]\nengine = {{ {} }}\n",
        stage.engine.place()
    );
    fs::write(stage.root.join(format!("{host}.toml")), text).unwrap();
}

fn start_agent(stage: &Stage, name: &str) -> Replica {
    let log = File::options().create(true).append(true).open(stage.root.join(format!("{name}.log"))).unwrap();
    let process = Command::new(env!("CARGO_BIN_EXE_patrold"))
        .args(["agent", "--log-level", "debug"])
        .arg(stage.root.join(format!("{name}.toml")))
        .current_dir(stage.root.join(name))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    Replica { name: name.to_owned(), process }
}

fn logs(stage: &Stage) -> String {
    let tail =
        |log: String| log.lines().rev().take(25).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
    ["r1", "web-1", "web-2", "db-1"].map(|name| format!("--- {name}\n{}", tail(stage.log(name)))).join("\n")
}

async fn until(stage: &Stage, sentence: &str, mut fine: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !fine() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {sentence}\n{}", logs(stage));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn tells(stage: &Stage, arguments: &[&str], text: &str) -> String {
    let begun = Instant::now();
    loop {
        let output = patrold(&stage.root, "r1", arguments).await;
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if told.contains(text) {
            return told;
        }
        assert!(begun.elapsed() < PATIENCE, "{arguments:?} does not tell {text:?}: {told}\n{}", logs(stage));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn kill(replica: &mut Replica) {
    replica.process.start_kill().unwrap();
    replica.process.wait().await.unwrap();
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
    stage.until("it owns the account", PATIENCE, |it| it.claims.contains_key(&"hosted".parse().unwrap())).await;
    patrold(&root, "r1", &["rotate", "gps", "--now", "--timeout", "5s"]).await;
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
