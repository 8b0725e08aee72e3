//! What an operator asks for: adoptions, rollbacks and replacements of what has leaked, in the daemon, over its socket,
//! and without one.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use patrold::clock::Span;
use patrold::daemon::rotate::{Answer, OperatorRequest, RequestResult};
use patrold::demo::Service;
use patrold::names::GenerationNo;
use patrold::provider::Operation::{Revoke, Verify};
use patrold::report::audit::{Reaped, Standing};
use patrold::rotation::act::operator::Offer;
use patrold::secret::SecretParts;
use serde_json::Value;

use super::world::{Daemon, World, bare, name_of, now, token};

const PATIENCE: Duration = Duration::from_secs(30);

async fn execute(daemon: &Daemon, token: &str, asked: OperatorRequest) -> RequestResult {
    let running = &daemon.running;
    running.core.execute(Some(&running.waker), &name_of(token), asked, PATIENCE).await
}

fn adopts(secret: SecretParts) -> OperatorRequest {
    OperatorRequest::Adopt(Box::new(Offer { secret, id: None, expires: None }))
}

/// The program on the world's inventory. Blocks, so that it runs on another thread than the provider.
pub(super) async fn run(world: &World, args: &[&str], input: &str) -> Output {
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
    assert_eq!(execute(&daemon, "ci", OperatorRequest::Recall).await.answer, Answer::Rotated(GenerationNo(1)));
    assert_eq!(world.stored("ci"), old);
    daemon.steady("ci", 1).await;
    assert!(world.is_live(&old) && !world.is_live(&newer));
    assert_eq!(world.changes(Service::Awx, from), [Verify, Revoke, Verify]);
    let refused = execute(&daemon, "ci", OperatorRequest::Recall).await;
    assert!(matches!(&refused.answer, Answer::Refused(why) if why.contains("no previous token")), "{refused:?}");
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
    execute(&daemon, "ci", OperatorRequest::Recall).await;
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
    let result = execute(&daemon, "ci", adopts(brought.clone())).await;
    assert_eq!(result.answer, Answer::Rotated(GenerationNo(2)));
    assert_eq!(world.stored("ci"), brought.token().expose());
    daemon.steady("ci", 2).await;
    assert!(!world.is_live(&minted) && world.is_live(brought.token().expose()));
    let again = execute(&daemon, "ci", adopts(brought)).await;
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
    let result = execute(&daemon, "ci", adopts(brought)).await;
    assert!(matches!(result.answer, Answer::Failed(_)), "{result:?}");
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
    let result = execute(&daemon, "admin", adopts(brought)).await;
    assert!(matches!(result.answer, Answer::Rotated(_)), "{result:?}");
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
        let result = execute(&daemon, name, OperatorRequest::Replace).await;
        assert_eq!((result.answer, result.left), (Answer::Rotated(GenerationNo(2)), vec![]), "{name}");
    }
    for secret in &old {
        assert!(!world.is_live(secret));
    }
    let result = execute(&daemon, "gps", OperatorRequest::Replace).await;
    assert_eq!(result.answer, Answer::Rotated(GenerationNo(2)));
    assert!(result.left.len() == 1 && result.left[0].contains("by hand"), "{result:?}");
}

#[tokio::test]
async fn commands_ask_the_daemon_over_its_socket() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ngrace = \"1h\"";
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, more), token("cd", Service::Awx, more)];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.steady("cd", 1).await;
    let first = world.stored("ci");

    let rotated = run(&world, &["rotate", "--compromised", "--all", "--json"], "").await;
    assert_eq!(rotated.status.code(), Some(0), "{}", text(&rotated));
    let json: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    assert_eq!(json["results"].as_array().unwrap().len(), 2);
    assert!(!world.is_live(&first));

    let misnamed = run(&world, &["rotate", "cd", "nobody"], "").await;
    assert_eq!(misnamed.status.code(), Some(2), "{}", text(&misnamed));
    assert!(text(&misnamed).contains("there is no token \"nobody\""), "{}", text(&misnamed));
    let rotated = run(&world, &["rotate", "cd"], "").await;
    assert_eq!(rotated.status.code(), Some(0), "{}", text(&rotated));
    assert!(text(&rotated).contains("cd     rotated  3 "), "nothing was begun before: {}", text(&rotated));

    let brought = world.loopback.issue(Service::Awx, "by hand", Span::days(9));
    let adopted = run(&world, &["adopt", "ci"], &format!("{}\n", brought.token().expose())).await;
    assert_eq!(adopted.status.code(), Some(0), "{}", text(&adopted));
    assert!(!text(&adopted).contains(brought.token().expose()));
    assert_eq!(world.stored("ci"), brought.token().expose());
    let back = run(&world, &["rollback", "cd"], "").await;
    assert_eq!(back.status.code(), Some(0), "{}", text(&back));
    assert!(text(&back).contains("rolled back  2 "), "{}", text(&back));
    let empty = run(&world, &["adopt", "ci"], "\n").await;
    assert_eq!(empty.status.code(), Some(2), "{}", text(&empty));
    assert!(text(&empty).contains("standard input holds no secret: it is empty"), "{}", text(&empty));
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

/// A live token that carries a marker of the world's journal and that nobody knows of.
fn orphan(world: &World, daemon: &Daemon, token: &str) -> (String, String) {
    let marker = format!("patrold-{}-{token}-g9-070707070707", daemon.running.core.machine.instance);
    let secret = world.loopback.issue(Service::Awx, &marker, Span::days(9));
    (marker, secret.token().expose().to_owned())
}

#[tokio::test]
async fn an_audit_finds_orphans_and_revokes_them_only_when_it_is_told_to() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\nparams = { scope = \"write\" }";
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, more), token("cd", Service::Awx, more)];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.steady("cd", 1).await;
    let (marker, lost) = orphan(&world, &daemon, "cd");
    let (_, forgotten) = orphan(&world, &daemon, "left-long-ago");
    let by_hand = world.loopback.issue(Service::Awx, "by hand", Span::days(9));
    let core = &daemon.running.core;

    let audit = core.audit(None, &[], Some(&daemon.running.waker)).await;
    let found = |standing| audit.accounts[0].findings.iter().filter(move |it| it.standing == standing).count();
    assert_eq!((found(Standing::Orphan), audit.accounts[0].managed), (2, 2), "{audit:#?}");
    assert!(found(Standing::Unmanaged) >= 1, "{audit:#?}");
    assert!(world.is_live(&lost) && world.is_live(&forgotten), "looking changes nothing");

    let audit = core.audit(None, std::slice::from_ref(&marker), Some(&daemon.running.waker)).await;
    let reaped: Vec<_> = audit.accounts[0].findings.iter().filter_map(|it| it.reaped.clone()).collect();
    assert_eq!(reaped, [Reaped::Revoked], "{audit:#?}");
    assert!(!world.is_live(&lost) && world.is_live(&forgotten), "only what was named");

    let asked = run(&world, &["audit", "--reap"], "").await;
    assert_eq!(asked.status.code(), Some(2), "nobody is there to be asked: {}", text(&asked));
    let done = run(&world, &["audit", "--reap", "--yes"], "").await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(text(&done).contains("revoked"), "{}", text(&done));
    assert!(!world.is_live(&forgotten) && world.is_live(by_hand.token().expose()));
    assert!(world.is_live(&world.stored("ci")) && world.is_live(&world.stored("cd")));

    let pruned = run(&world, &["journal", "prune", "--older-than", "0s"], "").await;
    assert_eq!(pruned.status.code(), Some(0), "{}", text(&pruned));
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)), "the journal goes on");
    let whole = run(&world, &["history", "--verify"], "").await;
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole));
    daemon.stop().await;
}

#[tokio::test]
async fn an_orphan_is_revoked_without_a_daemon_too() {
    let world = World::new().await;
    let daemon =
        world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    let (_, lost) = orphan(&world, &daemon, "ci");
    daemon.stop().await;
    let looked = run(&world, &["audit", "--json"], "").await;
    let json: Value = serde_json::from_slice(&looked.stdout).unwrap();
    assert_eq!(json["accounts"][0]["findings"][0]["standing"], "orphan", "{json:#}");
    let done = run(&world, &["audit", "--reap", "--yes"], "").await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(!world.is_live(&lost) && world.is_live(&world.stored("ci")));
    assert!(text(&run(&world, &["history", "ci"], "").await).contains("reap-requested"));
}

#[tokio::test]
async fn a_new_key_opens_every_secret_and_no_store_seems_to_have_drifted() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ngrace = \"1h\"";
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, more)];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    let running = run(&world, &["journal", "rekey"], "").await;
    assert_eq!(running.status.code(), Some(1), "a daemon runs: {}", text(&running));
    assert!(text(&running).contains("stop the daemon first"), "{}", text(&running));
    daemon.stop().await;

    let key = world.path("state/seal.key");
    let (old, old_journal) = (std::fs::read(&key).unwrap(), std::fs::read(world.path("state/journal.db")).unwrap());
    let done = run(&world, &["journal", "rekey"], "").await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(text(&done).contains("2 secrets sealed with the new key"), "{}", text(&done));
    let new = std::fs::read(&key).unwrap();
    assert_ne!(old, new);
    assert!(!world.path("state/seal.key.new").exists());

    // Killed after the journal was sealed anew, and before the key was in its place.
    std::fs::write(&key, &old).unwrap();
    std::fs::write(world.path("state/seal.key.new"), &new).unwrap();
    let daemon = world.resume().await;
    assert_eq!(std::fs::read(&key).unwrap(), new);
    assert!(!world.path("state/seal.key.new").exists());
    let back = execute(&daemon, "ci", OperatorRequest::Recall).await;
    assert_eq!(back.answer, Answer::Rotated(GenerationNo(1)), "the secret of the old generation can be read");
    daemon.stop().await;
    let told = text(&run(&world, &["history", "ci"], "").await);
    assert!(told.contains("resealed") && !told.contains("store-owed") && !told.contains("secret-lost"), "{told}");
    assert_eq!(run(&world, &["history", "--verify"], "").await.status.code(), Some(0));

    // Killed before the journal was sealed anew.
    for left in ["journal.db-wal", "journal.db-shm"] {
        let _ = std::fs::remove_file(world.path("state").join(left));
    }
    std::fs::write(world.path("state/journal.db"), &old_journal).unwrap();
    std::fs::write(&key, &old).unwrap();
    std::fs::write(world.path("state/seal.key.new"), &new).unwrap();
    let daemon = world.resume().await;
    assert!(!daemon.view("ci").state.phase.current().unwrap().secret_lost);
    assert_eq!(std::fs::read(&key).unwrap(), old);
    assert!(!world.path("state/seal.key.new").exists());
    daemon.stop().await;

    // A key that the operator keeps elsewhere.
    std::fs::write(world.path("key"), "a key that nobody can guess, of enough bytes").unwrap();
    let file = world.path("key").display().to_string();
    let done = run(&world, &["journal", "rekey", "--to", &file], "").await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    let again = run(&world, &["journal", "rekey", "--to", &file, "--from", &file], "").await;
    assert!(text(&again).contains("the one that the journal has"), "{}", text(&again));
    let config = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(
        world.config(),
        config.replace("[daemon]", &format!("[daemon]\nseal-key = {{ file = \"{file}\" }}")),
    )
    .unwrap();
    let daemon = world.resume().await;
    assert!(!daemon.view("ci").state.phase.current().unwrap().secret_lost);
    daemon.stop().await;
}

/// Law: a changed or lost key never rotates a fleet.
#[tokio::test]
async fn a_key_that_is_given_taken_away_and_found_again_costs_no_rotation() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.stop().await;
    let plain = std::fs::read_to_string(world.config()).unwrap();
    let file = world.path("key");
    std::fs::write(&file, "a key that nobody can guess, of enough bytes").unwrap();
    let named = plain.replace("[daemon]", &format!("[daemon]\nseal-key = {{ file = \"{}\" }}", file.display()));

    // Given to a daemon that made one before: everything is sealed anew, and the made one is gone.
    std::fs::write(world.config(), &named).unwrap();
    let daemon = world.resume().await;
    assert!(!daemon.view("ci").state.phase.current().unwrap().secret_lost);
    assert!(!world.path("state/seal.key").exists());
    daemon.stop().await;

    // Taken away: nothing starts, and no key is made that would hide the loss.
    std::fs::write(world.config(), &plain).unwrap();
    for command in [&["run", "--once"][..], &["rotate", "ci"], &["journal", "rekey"]] {
        let refused = run(&world, command, "").await;
        assert_eq!(refused.status.code(), Some(1), "{command:?}: {}", text(&refused));
        let told = text(&refused);
        assert!(told.contains("1 secret is sealed under another key") && told.contains("--key-lost"), "{told}");
        assert!(!world.path("state/seal.key").exists(), "{command:?}");
    }

    // Found again.
    std::fs::write(world.config(), &named).unwrap();
    let daemon = world.resume().await;
    let current = daemon.view("ci").state.phase.current().cloned().unwrap();
    assert_eq!((current.generation.number, current.secret_lost), (GenerationNo(1), false));
    daemon.stop().await;

    // Lost for good: an operator says so, and the token is rotated once.
    std::fs::write(world.config(), &plain).unwrap();
    let given_up = run(&world, &["journal", "rekey", "--key-lost"], "").await;
    assert_eq!(given_up.status.code(), Some(0), "{}", text(&given_up));
    assert!(text(&given_up).contains("the secrets of 1 token are given up"), "{}", text(&given_up));
    let daemon = world.resume().await;
    daemon.steady("ci", 2).await;
    daemon.stop().await;
}
