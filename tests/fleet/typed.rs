//! What docs/fleet.md shows, typed as it stands there: roles of etcd that give replicas and agents no more than they need,
//! the inventory of a replica, the file of an agent, and the commands between them.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use patrold::clock::{Clock as _, SystemClock};
use patrold::demo::engine::{EngineOptions, LoopbackEngine};
use patrold::inventory::EngineKind;
use rustix::process::Signal;
use tokio::process::Command;

use super::engine::{start, tool};
use super::secured::certify;
use super::stage::{Replica, Stage, account, patrold};

const PAGE: &str = include_str!("../../docs/fleet.md");

const PATIENCE: Duration = Duration::from_secs(40);

/// The blocks of a language, in the order of the page.
fn blocks(language: &str) -> Vec<&'static str> {
    let parts = PAGE.split("```").skip(1).step_by(2);
    let of = move |block: &'static str| block.strip_prefix(language).and_then(|text| text.strip_prefix('\n'));
    parts.filter_map(of).collect()
}

/// The one block of a language that has `text`.
fn block(language: &str, text: &str) -> &'static str {
    let found: Vec<_> = blocks(language).into_iter().filter(|block| block.contains(text)).collect();
    assert_eq!(found.len(), 1, "blocks with {text}: {found:#?}");
    found[0]
}

/// Types the commands of a block that begin with `program`, for the fleet of the test.
async fn type_at(engine: &LoopbackEngine, ca: &str, block: &str) {
    for line in block.lines().filter(|line| line.starts_with("etcdctl ")) {
        let line = line.replace("/prod/", "/test/");
        let mut words: Vec<_> = line.split_whitespace().skip(1).map(str::to_owned).collect();
        // It asks for the password of a new user.
        if words[..2] == ["user", "add"] {
            words[2] += ":right";
        }
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        tool(engine, "etcdctl", &[&["--cacert", ca], &words[..]].concat()).await;
    }
}

/// `[fleet]` and what belongs to it, with the addresses and files of the test in place of those of the page.
fn ours(text: &str, root: &Path, url: &str) -> String {
    let members = "[\"https://etcd-1.example.com:2379\", \"https://etcd-2.example.com:2379\", \"https://etcd-3.example.com:2379\"]";
    assert!(text.contains(members), "{text}");
    let root = root.display();
    let text = text.replace(members, &format!("[\"{url}\"]")).replace("\"prod\"", "\"test\"");
    let text = text.replace("{ systemd-credential = \"etcd\" }", &format!("{{ file = \"{root}/engine-password\" }}"));
    text.replace("/etc/patrold/etcd-ca.pem", &format!("{root}/ca.pem"))
        .replace("/etc/patrold/etcd\"", &format!("{root}/engine-password\""))
        .replace("/etc/patrold/", &format!("{root}/"))
        .replace("/run/tokens/gps/", &format!("{root}/tokens/"))
        .replace("/mnt/secrets", &format!("{root}/stores"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_page_shows_works_and_gives_no_more_power_than_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    certify(root);
    let (certificate, key) = (root.join("server.pem"), root.join("server.key"));
    let arguments = ["--cert-file", certificate.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
    let options =
        EngineOptions { arguments: arguments.map(str::to_owned).to_vec(), encrypted: true, ..EngineOptions::default() };
    let Some(engine) = start(EngineKind::Etcd, options).await else { return };
    let ca = root.join("ca.pem").display().to_string();
    for arguments in [&["user", "add", "root:rootpassword"][..], &["user", "grant-role", "root", "root"]] {
        tool(&engine, "etcdctl", &[&["--cacert", &ca], arguments].concat()).await;
    }
    type_at(&engine, &ca, block("sh", "etcdctl user add patrold")).await;
    type_at(&engine, &ca, block("sh", "etcdctl user add web-1")).await;
    tool(&engine, "etcdctl", &["--cacert", &ca, "auth", "enable"]).await;
    fs::write(root.join("engine-password"), "right\n").unwrap();
    fs::create_dir(root.join("tokens")).unwrap();

    // A fleet on it, and the inventory of the page.
    let url = engine.url();
    let login = format!(
        "etcd = [\"{url}\"], credential = {{ username = \"patrold\", password = {{ file = \"{}/engine-password\" }} }}, tls = {{ ca-file = \"{ca}\" }}",
        root.display()
    );
    let stage = Stage::on(root, engine, &login).await;
    let place = format!("state-dir = \"{0}/page\"\ncontrol = \"{0}/page.sock\"\n", root.display());
    let shown = ours(block("toml", "shared-paths"), root, &url).replace("[daemon]\n", &format!("[daemon]\n{place}"));
    let shown = shown.replace("[fleet]\n", "[fleet]\nhost = \"page\"\nlease = \"3s\"\n");
    let store = block("toml", "[[token.stores]]");
    let token = "[[token]]\nname = \"gps\"\naccount = \"hosted\"\nrotate-every = \"1h\"\n";
    let store = ours_store(store, root);
    let text = format!("{shown}\n{}{token}{store}", account("hosted", root, &stage.loopback));
    fs::write(root.join("page.toml"), &text).unwrap();
    let checked = patrold(root, "page", &["check"]).await;
    assert!(
        checked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr)
    );

    // The agent of the page.
    let made = patrold(root, "page", &["fleet", "host-key", "web-1"]).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::write(root.join("host.key"), made.stdout).unwrap();
    let file = ours(block("toml", "[agent]"), root, &url);
    fs::write(
        root.join("agent.toml"),
        file.replace("[agent]\n", &format!("[agent]\nstate-dir = \"{}/web-1.state\"\n", root.display())),
    )
    .unwrap();
    let log = File::create(root.join("web-1.log")).unwrap();
    let agent = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
        command.arg("agent").args(more).arg(root.join("agent.toml")).stdin(Stdio::null()).kill_on_drop(true);
        command
    };
    let checked = agent(&["--check"]).output().await.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let _agent = agent(&[]).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();

    let mut replica = Replica { name: "page".to_owned(), process: stage.run("page") };
    let begun = Instant::now();
    let secret = || fs::read_to_string(root.join("tokens/token")).ok().filter(|text| !text.is_empty());
    while secret().is_none() {
        assert!(begun.elapsed() < PATIENCE, "{}\n{}", stage.log("page"), stage.log("web-1"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let first = secret().unwrap();
    let rotated = patrold(root, "page", &["rotate", "gps", "--timeout", "20s"]).await;
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&[rotated.stdout, rotated.stderr].concat()));
    assert_ne!(secret().unwrap(), first);
    assert!(stage.loopback.ledger().is_live(&secret().unwrap(), SystemClock.now()));
    let status = patrold(root, "page", &["fleet", "status"]).await;
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("web-1  lives"), "{status}");

    // Neither may do more than it needs.
    for (user, arguments) in [
        ("web-1", &["get", "--prefix", "/patrold/test/s/"][..]),
        ("web-1", &["get", "--prefix", "/patrold/test/w/web-2/"]),
        ("web-1", &["put", "/patrold/test/w/web-1/x", "y"]),
        ("web-1", &["put", "/patrold/test/h/f/web-2", ""]),
        ("web-1", &["put", "/patrold/test/h/k/web-2/x", "y"]),
        ("web-1", &["put", "/patrold/test/on/c/hosted", "y"]),
        ("web-1", &["put", "/patrold/test/meta", "y"]),
        ("patrold", &["get", "--prefix", "/patrold/other/"]),
        ("patrold", &["put", "/else", "y"]),
        ("patrold", &["user", "list"]),
    ] {
        let login = format!("{user}:right");
        let mut command = stage.engine.tool("etcdctl");
        let output = command.args(["--cacert", &ca, "--user", &login]).args(arguments).output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains("permission denied"), "{user} {arguments:?}: {told}");
    }
    replica.signal(Signal::TERM);
    assert!(replica.process.wait().await.unwrap().success(), "{}", stage.log("page"));
}

/// The store of the page, on the one host of the test.
fn ours_store(text: &str, root: &Path) -> String {
    let one = text.replace("[\"web-1\", \"web-2\"]", "[\"web-1\"]");
    assert_ne!(one, text);
    one.replace("/run/tokens/gps/", &format!("{}/tokens/", root.display()))
}
