//! What an operator asks for: adoptions, rollbacks and replacements of what has leaked, in the daemon, over its socket,
//! and without one.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use patrold::clock::Span;
use patrold::daemon::rotate::{Answer, Granted, Wish};
use patrold::daemon::server::Socket;
use patrold::demo::Service;
use patrold::names::GenerationNo;
use patrold::provider::Operation::{Revoke, Verify};
use patrold::rotation::act::operator::Offer;
use patrold::secret::SecretParts;
use serde_json::Value;

use super::world::{Daemon, World, bare, name_of, now, token};

const PATIENCE: Duration = Duration::from_secs(30);

async fn grant(daemon: &Daemon, token: &str, wish: Wish) -> Granted {
    let running = &daemon.running;
    running.core.grant(Some(&running.waker), &name_of(token), wish, PATIENCE).await
}

fn adopts(secret: SecretParts) -> Wish {
    Wish::Adopt(Box::new(Offer { secret, id: None, expires: None }))
}

/// The program on the world's inventory. Blocks, so that it runs on another thread than the provider.
async fn run(world: &World, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("patrold"));
    command.env_clear().env("PATROLD_CONFIG", world.config()).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // A program that refuses its arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    output.await.unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn a_rollback_brings_the_old_secret_back_and_revokes_the_newer_one() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ngrace = \"1s\"";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    daemon.steady("ci", 1).await;
    let old = world.stored("ci");
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    let (newer, from) = (world.stored("ci"), world.count());
    assert_eq!(grant(&daemon, "ci", Wish::Recall).await.answer, Answer::Rotated(GenerationNo(1)));
    assert_eq!(world.stored("ci"), old);
    daemon.steady("ci", 1).await;
    assert!(world.is_live(&old) && !world.is_live(&newer));
    assert_eq!(world.changes(Service::Awx, from), [Verify, Revoke, Verify]);
    let refused = grant(&daemon, "ci", Wish::Recall).await;
    assert!(matches!(&refused.answer, Answer::Refused(why) if why.contains("no generation before")), "{refused:?}");
}

#[tokio::test]
async fn a_rollback_stops_a_rotation_whose_hook_does_not_succeed() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\n[[token.hooks]]\nrun = [\"/bin/sh\", \"-c\", \"test ! -e $DIR/broken\"]";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    daemon.steady("ci", 1).await;
    let old = world.stored("ci");
    std::fs::write(world.path("broken"), "").unwrap();
    assert!(matches!(daemon.rotate("ci").await, Answer::Failed(_)));
    assert_ne!(world.stored("ci"), old);
    std::fs::remove_file(world.path("broken")).unwrap();
    grant(&daemon, "ci", Wish::Recall).await;
    daemon.steady("ci", 1).await;
    assert_eq!(world.stored("ci"), old);
    assert_eq!(world.live(Service::Awx).len(), 1, "what was on its way is revoked");
}

#[tokio::test]
async fn an_adopted_secret_takes_the_place_of_a_minted_one() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let minted = world.stored("ci");
    let brought = world.loopback.issue(Service::Awx, "by hand", Span::days(9));
    let granted = grant(&daemon, "ci", adopts(brought.clone())).await;
    assert_eq!(granted.answer, Answer::Rotated(GenerationNo(2)));
    assert_eq!(world.stored("ci"), brought.token().expose());
    daemon.steady("ci", 2).await;
    assert!(!world.is_live(&minted) && world.is_live(brought.token().expose()));
    let again = grant(&daemon, "ci", adopts(brought)).await;
    assert!(matches!(&again.answer, Answer::Refused(why) if why.contains("current one already")), "{again:?}");
}

#[tokio::test]
async fn a_dead_secret_is_not_adopted_and_nothing_changes() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let (minted, from) = (world.stored("ci"), world.count());
    let brought = world.loopback.issue(Service::Awx, "by hand", Span::days(9));
    world.loopback.ledger().revoke(Service::Awx, world.id_of(brought.token().expose()), now());
    let granted = grant(&daemon, "ci", adopts(brought)).await;
    assert!(matches!(granted.answer, Answer::Failed(_)), "{granted:?}");
    daemon.steady("ci", 1).await;
    assert_eq!(world.stored("ci"), minted);
    assert_eq!(world.changes(Service::Awx, from), [Verify], "it is not revoked: it is none of ours");
}

#[tokio::test]
async fn an_account_whose_own_token_died_lives_on_with_an_adopted_one() {
    let world = World::new().await;
    let first = world.loopback.issue(Service::PointOne, "admin", Span::days(90));
    std::fs::write(world.path("first"), first.token().expose()).unwrap();
    let parts = [
        world.account(Service::PointOne, "credential = { token = \"admin\" }\npoll-every = \"200ms\""),
        bare("admin", Service::PointOne, "lifetime = \"90d\"\ninitial = { file = \"$DIR/first\" }"),
        token("gps", Service::PointOne, "lifetime = \"30d\""),
    ];
    let daemon = world.start(&parts).await;
    daemon.steady("gps", 1).await;
    // Nobody can tell when the first one expires: it is replaced at once.
    daemon.current("admin", 1).await;
    let ledger = world.loopback.ledger();
    for entry in ledger.live_tokens(Service::PointOne, now()) {
        if entry.name.contains("admin") {
            ledger.revoke(Service::PointOne, entry.id, now());
        }
    }
    assert!(matches!(daemon.rotate("admin").await, Answer::Failed(_)), "nothing can be minted any more");
    let brought = world.loopback.issue(Service::PointOne, "by hand", Span::days(90));
    let granted = grant(&daemon, "admin", adopts(brought)).await;
    assert!(matches!(granted.answer, Answer::Rotated(_)), "{granted:?}");
    assert_eq!(daemon.rotate("gps").await, Answer::Rotated(GenerationNo(2)), "the account works again");
}

#[tokio::test]
async fn what_leaked_is_revoked_at_once_and_what_is_left_is_told() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ngrace = \"1h\"";
    let parts = [
        world.account(Service::Awx, ""),
        world.account(Service::PointOne, "# without revoke"),
        token("ci", Service::Awx, more),
        token("cd", Service::Awx, more),
        token("gps", Service::PointOne, "lifetime = \"30d\"\ngrace = \"1h\""),
    ];
    let daemon = world.start(&parts).await;
    for name in ["ci", "cd", "gps"] {
        daemon.steady(name, 1).await;
    }
    let old = ["ci", "cd"].map(|name| world.stored(name));
    for name in ["ci", "cd"] {
        let granted = grant(&daemon, name, Wish::Replace).await;
        assert_eq!((granted.answer, granted.left), (Answer::Rotated(GenerationNo(2)), vec![]), "{name}");
    }
    for secret in &old {
        assert!(!world.is_live(secret));
    }
    let granted = grant(&daemon, "gps", Wish::Replace).await;
    assert_eq!(granted.answer, Answer::Rotated(GenerationNo(2)));
    assert!(granted.left.len() == 1 && granted.left[0].contains("by hand"), "{granted:?}");
}

#[tokio::test]
async fn commands_ask_the_daemon_over_its_socket() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ngrace = \"1h\"";
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, more), token("cd", Service::Awx, more)];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.steady("cd", 1).await;
    let socket = Socket::bind(&world.path("control.sock")).await.unwrap();
    let server = tokio::spawn(socket.serve(Arc::clone(&daemon.running)));
    let first = world.stored("ci");

    let rotated = run(&world, &["rotate", "--compromised", "--all", "--json"], "").await;
    assert_eq!(rotated.status.code(), Some(0), "{}", text(&rotated));
    let json: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    assert_eq!(json["results"].as_array().unwrap().len(), 2);
    assert!(!world.is_live(&first));

    let rotated = run(&world, &["rotate", "cd", "nobody"], "").await;
    assert_eq!(rotated.status.code(), Some(3), "{}", text(&rotated));
    assert!(text(&rotated).contains("of 2: cd: generation 3 is current\n"), "{}", text(&rotated));

    let brought = world.loopback.issue(Service::Awx, "by hand", Span::days(9));
    let adopted = run(&world, &["adopt", "ci"], &format!("{}\n", brought.token().expose())).await;
    assert_eq!(adopted.status.code(), Some(0), "{}", text(&adopted));
    assert!(!text(&adopted).contains(brought.token().expose()));
    assert_eq!(world.stored("ci"), brought.token().expose());
    let back = run(&world, &["rollback", "cd"], "").await;
    assert_eq!(back.status.code(), Some(0), "{}", text(&back));
    assert!(text(&back).contains("rotated  2 "), "{}", text(&back));
    let empty = run(&world, &["adopt", "ci"], "\n").await;
    assert_eq!(empty.status.code(), Some(2), "{}", text(&empty));
    assert!(text(&empty).contains("standard input holds no secret: it is empty"), "{}", text(&empty));
    server.abort();
    daemon.stop().await;
}

#[tokio::test]
async fn commands_do_it_themselves_where_no_daemon_runs() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ngrace = \"1h\"";
    world.write(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]);
    let brought = world.loopback.issue(Service::Awx, "by hand", Span::days(9));
    std::fs::write(world.path("secret"), brought.token().expose()).unwrap();
    let file = world.path("secret").display().to_string();
    let adopted = run(&world, &["adopt", "ci", "--file", &file], "").await;
    assert_eq!(adopted.status.code(), Some(0), "{}", text(&adopted));
    assert_eq!(world.stored("ci"), brought.token().expose());
    let rotated = run(&world, &["rotate", "ci"], "").await;
    assert_eq!(rotated.status.code(), Some(0), "{}", text(&rotated));
    let minted = world.stored("ci");
    assert_ne!(minted, brought.token().expose());
    let back = run(&world, &["rollback", "ci", "--json"], "").await;
    let json: Value = serde_json::from_slice(&back.stdout).unwrap();
    assert_eq!((&json["results"][0]["outcome"], &json["results"][0]["generation"]), (&"rotated".into(), &0.into()));
    assert_eq!(world.stored("ci"), brought.token().expose());
    let twice = run(&world, &["adopt", "ci", "--file", &file], "").await;
    assert_eq!(twice.status.code(), Some(1), "{}", text(&twice));
    assert!(text(&twice).contains("current one already"), "{}", text(&twice));
    let history = run(&world, &["history", "ci"], "").await;
    let told = text(&history);
    for event in ["offered", "verified", "recalled"] {
        assert!(told.contains(event), "{event}: {told}");
    }
    assert!(!told.contains(brought.token().expose()) && !told.contains(&minted));
    let whole = run(&world, &["history", "--verify"], "").await;
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole));
}
