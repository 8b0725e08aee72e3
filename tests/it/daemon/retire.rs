//! Tokens that nobody needs any more: they leave the inventory, and their last generation the provider.

use std::fs;

use patrold::clock::Span;
use patrold::demo::{Fault, Service};
use patrold::provider::Operation::Revoke;
use patrold::report::retirement::RetireOutcome;
use patrold::report::status::Condition;
use patrold::rotation::Phase;
use serde_json::Value;

use super::operator::run;
use super::world::{Daemon, PATIENCE, World, bare, name_of, now, token};

const MORE: &str = "rotate-every = \"30d\"\ngrace = \"1h\"";

async fn left(world: &World) -> Daemon {
    let account = world.account(Service::Awx, "");
    let daemon = world.start(&[account.clone(), token("ci", Service::Awx, MORE)]).await;
    daemon.steady("ci", 1).await;
    world.write(&[account]);
    assert_eq!(daemon.reload().await.changes, ["token ci: removed"]);
    daemon
}

async fn retire(daemon: &Daemon, grace: Option<Span>) -> (RetireOutcome, String) {
    let running = &daemon.running;
    let answer = running.core.retire(Some(&running.waker), &name_of("ci"), grace, PATIENCE).await;
    (answer.outcome, answer.detail)
}

fn of_token(daemon: &Daemon) -> Option<Condition> {
    let status = daemon.running.status();
    status.tokens.iter().find(|token| token.name == name_of("ci")).map(|token| token.condition)
}

#[tokio::test]
async fn a_token_that_left_is_revoked_at_once_and_forgotten() {
    let world = World::new().await;
    let daemon = left(&world).await;
    let secret = world.stored("ci");
    assert_eq!(of_token(&daemon), Some(Condition::Left));
    assert_eq!(retire(&daemon, Some(Span::zero())).await, (RetireOutcome::Revoked, String::new()));
    assert!(!world.is_live(&secret) && world.live(Service::Awx).is_empty());
    assert_eq!(of_token(&daemon), None, "there is nothing left to tell");
    assert_eq!(retire(&daemon, None).await.0, RetireOutcome::Nothing);
}

#[tokio::test]
async fn a_retirement_waits_for_its_grace_and_can_be_withdrawn() {
    let world = World::new().await;
    let daemon = left(&world).await;
    let secret = world.stored("ci");
    assert_eq!(retire(&daemon, None).await.0, RetireOutcome::Planned);
    let status = daemon.running.status();
    let told = &status.tokens[0];
    assert!(told.retirement.is_some_and(|at| at > now()) && told.cause().is_none(), "{told:?}");
    assert_eq!(told.next.action, patrold::report::outlook::NextAction::Revoke);
    assert_eq!(daemon.running.core.cancel(&name_of("ci")).await, Ok(()));
    daemon.wake("ci");
    daemon.until("ci", "it rests", |view| view.rest.is_some() && view.state.retirement.is_none()).await;
    assert!(world.is_live(&secret));
    // Its entry is back: nothing was asked for.
    assert_eq!(retire(&daemon, None).await.0, RetireOutcome::Planned);
    world.write(&[world.account(Service::Awx, ""), token("ci", Service::Awx, MORE)]);
    daemon.reload().await;
    daemon.until("ci", "it goes on", |view| view.rest.is_some() && view.state.retirement.is_none()).await;
    assert_eq!(of_token(&daemon), Some(Condition::Fine));
    assert_eq!((world.stored("ci"), world.is_live(&secret)), (secret, true));
    let (outcome, detail) = retire(&daemon, None).await;
    assert!(outcome == RetireOutcome::Refused && detail.contains("take it out first"), "{detail}");
}

#[tokio::test]
async fn a_revocation_that_fails_is_told_and_tried_again_also_by_the_next_daemon() {
    let world = World::new().await;
    let daemon = left(&world).await;
    let secret = world.stored("ci");
    world.loopback.faults().next(Service::Awx, Revoke, Fault::ServerError(503));
    let (outcome, detail) = retire(&daemon, Some(Span::zero())).await;
    assert!(outcome == RetireOutcome::Failed && detail.contains("503"), "{outcome:?} {detail}");
    assert!(world.is_live(&secret));
    daemon.stop().await;
    let daemon = world.resume().await;
    // The provider's first answer may have ended the wait before.
    let (outcome, detail) = retire(&daemon, None).await;
    assert!(matches!(outcome, RetireOutcome::Revoked | RetireOutcome::Nothing), "{outcome:?} {detail}");
    assert!(!world.is_live(&secret));
}

#[tokio::test]
async fn the_command_edits_the_file_that_has_the_token_and_nothing_else() {
    let world = World::new().await;
    fs::create_dir(world.path("tokens.d")).unwrap();
    let entry = |name| {
        let text = format!("# of {name}\n{}", bare(name, Service::Awx, "$STORES\nrotate-every = \"30d\""));
        let stores = format!("stores = [{{ kind = \"file\", path = \"$DIR/stores/{name}\" }}]");
        text.replace("$STORES", &stores).replace("$DIR", world.directory.path().to_str().unwrap())
    };
    let others = format!("# the team's\n\n{}", entry("other"));
    fs::write(world.path("tokens.d/team.toml"), format!("{others}\n{}", entry("ci"))).unwrap();
    let main = world.account(Service::Awx, "");
    world.write(&[main]);
    let text = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), format!("include = [\"tokens.d/*.toml\"]\n{text}")).unwrap();
    let daemon = world.resume().await;
    daemon.steady("ci", 1).await;
    daemon.steady("other", 1).await;
    let secret = world.stored("ci");

    // Nobody is asked where there is no terminal.
    let asked = run(&world, &["retire", "ci"], "").await;
    let told = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(asked.status.code() == Some(2) && told.contains("--revoke or --keep"), "{told}");
    let dry = run(&world, &["retire", "ci", "--dry-run"], "").await;
    let told = String::from_utf8_lossy(&dry.stdout).into_owned();
    for part in ["its entry leaves", "tokens.d/team.toml", "generation 1 at account awx", "stores/ci keeps the secret"]
    {
        assert!(told.contains(part), "{told}");
    }
    assert!(world.read("tokens.d/team.toml").contains("# of ci"), "nothing was changed yet");

    let done = run(&world, &["retire", "ci", "--revoke", "--now"], "").await;
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && told.ends_with("ci: revoked at the provider\n"), "{done:?}");
    assert_eq!(world.read("tokens.d/team.toml"), others);
    assert!(!world.is_live(&secret) && world.is_live(&world.stored("other")));

    // Without a daemon, and kept alive.
    let other = world.stored("other");
    daemon.stop().await;
    let kept = run(&world, &["retire", "other", "--keep", "--json"], "").await;
    let answer: Value = serde_json::from_slice(&kept.stdout).unwrap();
    assert_eq!((kept.status.code(), &answer["outcome"]), (Some(0), &"kept".into()));
    assert!(world.is_live(&other));
    let status = run(&world, &["status"], "").await;
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        told.contains("it left the inventory, and its token is alive") && told.contains("patrold retire"),
        "{told}"
    );
    // It left before, and is revoked all the same.
    let revoked = run(&world, &["retire", "other", "--revoke", "--now"], "").await;
    assert!(revoked.status.success() && !world.is_live(&other), "{revoked:?}");
    let unknown = run(&world, &["retire", "othr", "--revoke"], "").await;
    assert_eq!(unknown.status.code(), Some(2));
}

#[tokio::test]
async fn a_token_that_an_account_needs_does_not_leave() {
    let world = World::new().await;
    let first = world.loopback.issue(Service::PointOne, "admin", Span::days(90));
    fs::write(world.path("first"), first.token().expose()).unwrap();
    let parts = [
        world.account(Service::PointOne, "credential = { token = \"admin\" }"),
        bare("admin", Service::PointOne, "lifetime = \"90d\"\ninitial = { file = \"$DIR/first\" }"),
    ];
    let daemon = world.start(&parts).await;
    daemon.until("admin", "it is adopted", |view| !matches!(view.state.phase, Phase::Vacant)).await;
    let before = fs::read_to_string(world.config()).unwrap();
    let refused = run(&world, &["retire", "admin", "--revoke", "--now"], "").await;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && told.contains("account pointone"), "{told}");
    assert_eq!(fs::read_to_string(world.config()).unwrap(), before);
}
