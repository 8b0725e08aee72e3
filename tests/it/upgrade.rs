//! Every release starts from what every earlier one left: state directory with its key, inventory, status.
//!
//! `tests/data/upgrade/VERSION` was made by that release's program, with [`leave`]; it is never made anew afterwards. What
//! follows is started from each of them by the program of today.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use patrold::clock::Span;
use patrold::demo::{Fault, Options, Service};
use patrold::provider::Operation::{List, Mint};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::daemon::world::{World, token};

/// Long enough that no test of a later release finds the token due.
const CENTURY: &str = "rotate-every = \"36500d\"\ngrace = \"9000d\"";

/// The tokens: one in its grace, one in the middle of a search, one that was adopted, one with several parts.
const NAMES: [&str; 4] = ["ci", "lost", "gps", "backup"];

fn releases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/upgrade")
}

/// The inventory's parts; the providers' addresses are those of `world`.
fn parts(world: &World) -> Vec<String> {
    vec![
        world.account(Service::Awx, "settle = \"1d\"\n"),
        token("ci", Service::Awx, CENTURY),
        token("lost", Service::Awx, CENTURY),
        world.account(Service::PointOne, ""),
        token("gps", Service::PointOne, "lifetime = \"3650d\"\ninitial = { file = \"$DIR/bootstrap\" }"),
        world.account(Service::Commvault, ""),
        token("backup", Service::Commvault, ""),
    ]
}

async fn patrold(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
    command.env_clear().env("PATROLD_CONFIG", config).args(arguments);
    command.output().await.unwrap()
}

/// What a status says that does not depend on the time at which it is asked for.
async fn status(config: &Path) -> Value {
    let output = patrold(config, &["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let generation = |it: &Value| {
        let part = |name: &str| it.get(name).cloned().unwrap_or_default();
        json!({ "number": part("number"), "revision": part("revision"), "marker": part("marker"), "id": part("id"),
                "minted-at": part("minted-at"), "expires": part("expires") })
    };
    let tokens = status["tokens"].as_array().unwrap().iter().map(|token| {
        json!({
            "name": token["name"], "account": token["account"], "provider": token["provider"], "phase": token["phase"],
            "current": generation(&token["current"]), "candidate": generation(&token["candidate"]),
            "retiring": generation(&token["retiring"]), "last-success": token["last-success"],
            "failures": token["failures"], "last-error": token["last-error"]["code"],
        })
    });
    json!({ "unreadable": status["journal"]["unreadable"], "tokens": tokens.collect::<Vec<_>>() })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        fs::copy(&path, &to).unwrap();
        // A checkout knows nothing of modes, and a key that others can read is refused.
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// What release `left` left, in a world whose providers never heard of its tokens.
async fn arrive(left: &Path) -> World {
    let world = World::with(Options { commvault_access_lifetime: Span::days(1), ..Options::default() }).await;
    copy(&left.join("state"), &world.path("state"));
    fs::write(world.path("bootstrap"), "gone long ago").unwrap();
    world
}

/// The inventory that release `left` ran with, for `world`.
fn inventory(left: &Path, world: &World) -> String {
    let text = fs::read_to_string(left.join("patrold.toml")).unwrap();
    Service::ALL.into_iter().fold(text.replace("$DIR", &world.path("").display().to_string()), |text, service| {
        let url = world.loopback.url(service);
        text.replace(&format!("$URL_{}", service.provider()), url.as_str().trim_end_matches('/'))
    })
}

fn lefts() -> Vec<PathBuf> {
    let mut lefts: Vec<_> = fs::read_dir(releases()).unwrap().map(|entry| entry.unwrap().path()).collect();
    lefts.retain(|left| left.is_dir());
    lefts.sort();
    assert!(!lefts.is_empty(), "there is at least one release");
    lefts
}

#[tokio::test]
async fn every_release_shows_what_the_one_before_left() {
    for left in lefts() {
        let world = arrive(&left).await;
        fs::write(world.config(), inventory(&left, &world)).unwrap();
        let expected: Value = serde_json::from_str(&fs::read_to_string(left.join("status.json")).unwrap()).unwrap();
        assert_eq!(status(&world.config()).await, expected, "{}", left.display());
        let verified = patrold(&world.config(), &["history", "--verify"]).await;
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    }
}

#[tokio::test]
async fn every_release_opens_the_secrets_of_the_one_before() {
    for left in lefts() {
        let world = arrive(&left).await;
        // Nobody answers: whatever gets into the stores comes from the journal.
        let heard = inventory(&left, &world);
        let deaf = heard.lines().map(|line| match line.strip_prefix("url = ") {
            Some(_) => "url = \"http://127.0.0.1:1\"\n".to_owned(),
            None => format!("{line}\n"),
        });
        fs::write(world.config(), deaf.collect::<String>()).unwrap();
        let output = patrold(&world.config(), &["run", "--once", "--timeout", "1s"]).await;
        let log = String::from_utf8_lossy(&output.stderr);
        // Those that do not expire within the life of this test.
        for name in ["ci", "gps"] {
            let expected = fs::read_to_string(left.join("stores").join(name)).unwrap();
            assert_eq!(fs::read_to_string(world.path("stores").join(name)).ok(), Some(expected), "{name}: {log}");
        }
    }
}

#[tokio::test]
async fn every_release_rotates_on_from_where_the_one_before_was() {
    for left in lefts() {
        let world = arrive(&left).await;
        fs::write(world.config(), inventory(&left, &world).replace("settle = \"1d\"", "settle = \"1s\"")).unwrap();
        let before = status(&world.config()).await;
        let daemon = world.resume().await;
        for (index, name) in ["backup", "ci", "gps", "lost"].into_iter().enumerate() {
            assert_eq!(before["tokens"][index]["name"], name);
            let number = before["tokens"][index]["current"]["number"].as_u64().map_or(1, |number| number + 1);
            let now = daemon.current(name, u32::try_from(number).unwrap()).await;
            assert!(now.number.0 >= 1 && !world.stored(name).is_empty(), "{name}");
        }
        daemon.stop().await;
    }
}

/// Leaves what later releases start from: run once, by the program that is released, with
/// `cargo test --test it upgrade::leave -- --ignored`.
#[tokio::test]
#[ignore = "makes the test data of a release"]
async fn leave() {
    let left = releases().join(env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap().0);
    assert!(!left.exists(), "{} exists: it is never made anew", left.display());
    let world = World::with(Options { commvault_access_lifetime: Span::days(1), ..Options::default() }).await;
    let initial = world.loopback.issue(Service::PointOne, "before", Span::days(3650));
    fs::write(world.path("bootstrap"), initial.token().expose()).unwrap();
    let mut parts = parts(&world);
    let lost = parts.remove(2);
    world.write(&parts);
    let told = |output: Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    told(patrold(&world.config(), &["run", "--once"]).await);
    told(patrold(&world.config(), &["rotate", "ci", "backup"]).await);
    parts.insert(2, lost);
    world.write(&parts);
    world.loopback.faults().next(Service::Awx, Mint, Fault::LoseAnswer);
    for _ in 0..50 {
        world.loopback.faults().next(Service::Awx, List, Fault::ServerError(500));
    }
    let output = patrold(&world.config(), &["run", "--once", "--timeout", "1s"]).await;
    assert!(!output.status.success(), "the mint's answer was lost");

    fs::create_dir_all(&left).unwrap();
    let text = fs::read_to_string(world.config()).unwrap();
    let text = text.replace(&world.directory.path().display().to_string(), "$DIR");
    let text = Service::ALL.into_iter().fold(text, |text, service| {
        let url = world.loopback.url(service);
        text.replace(url.as_str().trim_end_matches('/'), &format!("$URL_{}", service.provider()))
    });
    fs::write(left.join("patrold.toml"), text).unwrap();
    let status = status(&world.config()).await;
    for name in NAMES {
        assert!(status["tokens"].as_array().unwrap().iter().any(|token| token["name"] == name));
    }
    fs::write(left.join("status.json"), serde_json::to_string_pretty(&status).unwrap() + "\n").unwrap();
    fs::create_dir(left.join("stores")).unwrap();
    for name in ["ci", "gps"] {
        fs::write(left.join("stores").join(name), world.stored(name)).unwrap();
    }
    copy(&world.path("state"), &left.join("state"));
    // Belong to processes that are gone.
    for name in ["lock", "journal.db-shm"] {
        let _ = fs::remove_file(left.join("state").join(name));
    }
}
