//! Hosts of consumers with an agent each, on this one machine: a directory stands for a host.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use patrold::clock::{Clock as _, SystemClock};
use patrold::demo::Ledger;
use tokio::process::Command;

use super::stage::{Replica, Stage, patrold, tail};

/// Much longer than anything should take.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Where the consumer on a host reads its token.
pub fn file(root: &Path, host: &str) -> PathBuf {
    root.join(host).join("gps")
}

pub fn secret(root: &Path, host: &str) -> Option<String> {
    fs::read_to_string(file(root, host)).ok().filter(|text| !text.is_empty())
}

pub fn lives(ledger: &Ledger, secret: &str) -> bool {
    ledger.is_live(secret, SystemClock.now())
}

/// Makes the directory of a host, and the file of its agent: with a key that was made for the host and `labels`, and with
/// the keys `more`.
pub async fn write_agent(stage: &Stage, host: &str, labels: &[&str], more: &str) {
    let root = stage.root.display();
    let with: Vec<&str> = labels.iter().flat_map(|label| ["--label", label]).collect();
    let key = patrold(&stage.root, "watcher", &[&["fleet", "host-key", host], &with[..]].concat()).await;
    assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
    fs::create_dir_all(stage.root.join(host)).unwrap();
    fs::write(stage.root.join(format!("{host}.key")), key.stdout).unwrap();
    let text = format!(
        "[agent]\nfleet = \"test\"\nhost = \"{host}\"\nkey = {{ file = \"{root}/{host}.key\" }}\n\
         state-dir = \"{root}/{host}.state\"\nlease = \"2s\"\nengine = {{ {} }}\n{more}\n",
        stage.engine.place()
    );
    fs::write(stage.root.join(format!("{host}.toml")), text).unwrap();
}

/// Starts the agent of the file `name`, in the directory of its host where it has one.
pub fn start_agent(stage: &Stage, name: &str) -> Replica {
    let log = File::options().create(true).append(true).open(stage.root.join(format!("{name}.log"))).unwrap();
    let host = stage.root.join(name);
    let process = Command::new(env!("CARGO_BIN_EXE_patrold"))
        .args(["agent", "--log-level", "debug"])
        .arg(stage.root.join(format!("{name}.toml")))
        .current_dir(if host.is_dir() { &host } else { &stage.root })
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    Replica { name: name.to_owned(), process }
}

/// As a power cut does it.
pub async fn kill(agent: &mut Replica) {
    agent.process.start_kill().unwrap();
    agent.process.wait().await.unwrap();
}

/// Waits until `fine`, and tells the logs where that takes too long.
pub async fn until(stage: &Stage, sentence: &str, mut fine: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !fine() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {sentence}\n{}", logs(stage));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a command tells `text`.
pub async fn tells(stage: &Stage, arguments: &[&str], text: &str) -> String {
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

fn logs(stage: &Stage) -> String {
    // The replica has a great deal to say of the other tokens.
    let told = |line: &&str| line.contains("gps") || line.contains("\"warn\"") || line.contains("\"error\"");
    let of = |name: &str| stage.log(name).lines().filter(told).collect::<Vec<_>>().join("\n");
    ["r1", "web-1", "web-2", "db-1"].map(|name| format!("--- {name}\n{}", tail(&of(name)))).join("\n")
}
