//! More troubles of the night, read as an operator reads them: `status`, then `status NAME` or `/readyz`.

use std::fs;

use patrold::clock::Span;
use patrold::daemon::rotate::OperatorRequest;
use patrold::demo::{Fault, Options, RequestRecord, Service};
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{List, Mint, Revoke};
use patrold::report::status::Condition;
use patrold::rotation::Phase;
use patrold::view::readiness::Readiness;

use super::night::Seen;
use super::world::{Daemon, PATIENCE, World, name_of, now, token};

const MONTHLY: &str = "rotate-every = \"30d\"";

async fn steady(more: &str) -> (World, Daemon) {
    let world = World::new().await;
    let daemon = world.start(&[world.account(Service::Awx, more), token("ci", Service::Awx, MONTHLY)]).await;
    daemon.steady("ci", 1).await;
    (world, daemon)
}

/// Overview and readiness tell all of `parts`.
fn told(seen: &Seen, ready: bool, parts: &[&str]) {
    assert_eq!(seen.ready.starts_with("ready\n"), ready, "{}", seen.ready);
    for part in parts {
        assert!(seen.overview.contains(part), "status does not tell {part:?}:\n{}", seen.overview);
    }
    for part in parts {
        assert!(seen.ready.contains(part), "readyz does not tell {part:?}:\n{}", seen.ready);
    }
}

#[tokio::test]
async fn a_token_that_somebody_deleted_and_that_cannot_be_minted_anew() {
    let (world, daemon) = steady("poll-every = \"100ms\"").await;
    let id = world.id_of(&world.stored("ci"));
    for _ in 0..64 {
        world.loopback.faults().next(Service::Awx, Mint, Fault::Refused);
    }
    world.loopback.ledger().revoke(Service::Awx, id, now());
    daemon
        .until("ci", "it is dead, and its mint failed", |view| {
            view.state.phase.current().is_some_and(|current| current.dead.is_some()) && view.state.retry.is_some()
        })
        .await;
    let seen = Seen::look(&daemon, "ci");
    seen.tells(Condition::Down, false, "Bad request", FailureCode::Rejected.remedy());
    assert!(seen.ready.contains("does not accept it any more, and its replacement fails"), "{}", seen.ready);
    assert!(seen.overview.contains("! token ci is down: "), "{}", seen.overview);
}

#[tokio::test]
async fn a_user_that_was_deleted_at_the_provider() {
    let (world, daemon) = steady("poll-every = \"100ms\"").await;
    fs::write(world.path("awx"), "of a user that is no more").unwrap();
    let refused = |it: &RequestRecord| it.operation == Some(List) && it.status == Some(401);
    world.until_requests("a refused listing", |requests| requests.iter().any(refused)).await;
    daemon.running.core.audit(None, &[], None).await;
    let status = daemon.running.status();
    let ready = Readiness::judge(&status, true).text(false, false);
    let remedy = FailureCode::Unauthorized.remedy();
    assert!(ready.contains("account awx is degraded") && ready.contains(remedy), "{ready}");
    let overview = Seen::look(&daemon, "ci").overview;
    assert!(overview.contains("docs/runbooks.md#an-accounts-credential-is-dead"), "{overview}");
}

#[tokio::test]
async fn a_limit_that_the_provider_sets_for_a_long_time() {
    let (world, daemon) = steady("").await;
    let fault = Fault::RateLimited { retry_after: Span::hours(5), as_date: false };
    world.loopback.faults().next(Service::Awx, List, fault);
    daemon.running.core.audit(None, &[], None).await;
    let seen = Seen::look(&daemon, "ci");
    assert_eq!(seen.condition, Condition::Fine, "consumers are served");
    told(&seen, true, &["`patrold rotate --now NAME`", "docs/runbooks.md#the-provider-is-down"]);
    told(&seen, true, &["is rate limited by the provider for another"]);
}

#[tokio::test]
async fn a_request_within_the_grace_waits_visibly() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ngrace = \"1h\"";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    daemon.steady("ci", 1).await;
    daemon.rotate("ci").await;
    daemon.request("ci").await;
    daemon.until("ci", "it waits", |view| view.rest.is_some() && view.state.requested.is_some()).await;
    let seen = Seen::look(&daemon, "ci");
    assert!(seen.ready.starts_with("ready\n") && seen.token.contains("patrold cancel ci"), "{}", seen.token);
}

#[tokio::test]
async fn a_leaked_secret_that_the_provider_cannot_revoke() {
    let world = World::new().await;
    let gps = token("gps", Service::PointOne, "lifetime = \"30d\"\ngrace = \"1h\"");
    let daemon = world.start(&[world.account(Service::PointOne, "# without revoke"), gps]).await;
    daemon.steady("gps", 1).await;
    let (core, waker) = (&daemon.running.core, &daemon.running.waker);
    let result = core.execute(Some(waker), &name_of("gps"), OperatorRequest::Replace, PATIENCE).await;
    assert!(result.left.iter().any(|line| line.contains("by hand")), "{result:?}");
    let seen = Seen::look(&daemon, "gps");
    assert!(seen.token.contains("cannot be revoked") && seen.token.contains("patrold-"), "{}", seen.token);
}

#[tokio::test]
async fn an_old_token_that_cannot_be_revoked_now() {
    let (world, daemon) = steady("").await;
    for _ in 0..8 {
        world.loopback.faults().next(Service::Awx, Revoke, Fault::ServerError(503));
    }
    daemon.rotate("ci").await;
    daemon
        .until("ci", "its revocation failed", |view| {
            matches!(view.state.phase, Phase::Active { .. }) && view.state.retry.is_some()
        })
        .await;
    let seen = Seen::look(&daemon, "ci");
    seen.tells(Condition::Failing, true, "503", FailureCode::ServerError.remedy());
}

#[tokio::test]
async fn a_lost_mint_where_nothing_can_be_listed() {
    let world = World::new().await;
    fs::create_dir(world.path("definitions")).unwrap();
    let blind = "[provider]\nname = \"blind\"\nextends = \"awx\"\nwithout = [\"list\"]\n";
    fs::write(world.path("definitions/blind.toml"), blind).unwrap();
    let account = world.account(Service::Awx, "").replace("provider = \"awx\"", "provider = \"blind\"");
    world.loopback.faults().next(Service::Awx, Mint, Fault::LoseAnswer);
    let daemon =
        world.start_with("providers = \"$DIR/definitions\"", &[account, token("ci", Service::Awx, MONTHLY)]).await;
    daemon.current("ci", 1).await;
    daemon.until("ci", "the lost one is remembered", |view| !view.state.orphans.is_empty()).await;
    let seen = Seen::look(&daemon, "ci");
    let line = "token ci: a live token may exist at the provider";
    assert!(seen.overview.contains(line) && seen.overview.contains("docs/runbooks.md#orphans"), "{}", seen.overview);
    told(&seen, true, &["a live token may exist at the provider", "docs/runbooks.md#orphans-were-found"]);
    assert!(
        seen.token.contains("patrold-") && seen.token.contains("the answer to its mint was lost"),
        "{}",
        seen.token
    );
}

#[tokio::test]
async fn a_clock_that_is_wrong() {
    let world = World::with(Options { skew: Span::hours(2), ..Options::default() }).await;
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, MONTHLY)]).await;
    daemon.current("ci", 1).await;
    daemon.running.core.audit(None, &[], None).await;
    let seen = Seen::look(&daemon, "ci");
    assert_eq!(seen.condition, Condition::Fine, "{}", seen.token);
    told(&seen, true, &["set the clock that is wrong", "docs/runbooks.md#a-clock-is-wrong"]);
    told(&seen, true, &["ahead of ours"]);
}

#[tokio::test]
async fn a_journal_that_is_gone() {
    let (world, daemon) = steady("").await;
    daemon.stop().await;
    fs::rename(world.path("state"), world.path("away")).unwrap();
    let daemon = world.resume().await;
    daemon.until("ci", "it rests", |view| view.rest.is_some()).await;
    let seen = Seen::look(&daemon, "ci");
    seen.tells(Condition::Missing, false, "the journal is new", "docs/runbooks.md#the-state-directory-is-lost");
    told(&seen, false, &["the journal is new", "patrold adopt"]);
}

#[tokio::test]
async fn a_state_directory_that_vanishes_under_the_daemon() {
    let (world, daemon) = steady("").await;
    fs::rename(world.path("state"), world.path("away")).unwrap();
    daemon.request("ci").await;
    daemon.until("ci", "it cannot be written", |view| view.stuck.is_some()).await;
    let seen = Seen::look(&daemon, "ci");
    told(&seen, false, &[FailureCode::Journal.remedy(), "docs/runbooks.md#the-disk-is-full"]);
    assert!(seen.token.contains("docs/runbooks.md#the-disk-is-full"), "{}", seen.token);
    fs::rename(world.path("away"), world.path("state")).unwrap();
}

#[tokio::test]
async fn a_key_that_is_gone_and_a_second_daemon_are_told_at_the_start() {
    let (world, daemon) = steady("").await;
    let second = world.try_start().await.err().unwrap();
    assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
    daemon.stop().await;
    let key = world.path("state/seal.key");
    fs::rename(&key, world.path("away")).unwrap();
    fs::write(&key, "0".repeat(64)).unwrap();
    let refused = world.try_start().await.err().unwrap();
    let help = format!("{refused} {}", refused.help().unwrap_or_default());
    assert!(help.contains("--key-lost"), "{help}");
}

#[tokio::test]
async fn a_token_that_only_people_can_replace() {
    let world = World::new().await;
    fs::create_dir(world.path("definitions")).unwrap();
    let watched = "[provider]\nname = \"watched\"\nextends = \"awx\"\nwithout = [\"mint\"]\n";
    fs::write(world.path("definitions/watched.toml"), watched).unwrap();
    let first = world.loopback.issue(Service::Awx, "by hand", Span::seconds(200));
    fs::write(world.path("first"), first.token().expose()).unwrap();
    let account = world.account(Service::Awx, "poll-every = \"100ms\"").replace("= \"awx\"", "= \"watched\"");
    let id = world.id_of(first.token().expose());
    let more =
        format!("renew-before = \"99.5%\"\njitter = \"0s\"\ninitial = {{ file = \"$DIR/first\", id = \"{id}\" }}");
    let daemon =
        world.start_with("providers = \"$DIR/definitions\"", &[account, token("ci", Service::Awx, &more)]).await;
    daemon
        .until("ci", "it is due", |view| {
            view.state.phase.current().is_some_and(|current| current.replacement.is_some()) && view.rest.is_some()
        })
        .await;
    let seen = Seen::look(&daemon, "ci");
    seen.tells(Condition::Due, true, "replaced by hand", "docs/runbooks.md#a-token-has-to-be-replaced-by-hand");
}

#[tokio::test]
async fn a_provider_that_nobody_answers_for() {
    let world = World::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let account = world.account(Service::Awx, "");
    let url = world.loopback.url(Service::Awx).as_str().trim_end_matches('/').to_owned();
    let account = account.replace(&url, &format!("http://127.0.0.1:{port}"));
    let daemon = world.start(&[account, token("ci", Service::Awx, MONTHLY)]).await;
    daemon.failure("ci").await;
    let seen = Seen::look(&daemon, "ci");
    seen.tells(Condition::Missing, false, FailureCode::Connect.sentence(), FailureCode::Connect.remedy());
    told(&seen, false, &["account awx", FailureCode::Connect.remedy()]);
}

#[tokio::test]
async fn a_live_token_that_nobody_knows_of() {
    let (world, daemon) = steady("").await;
    let marker = format!("patrold-{}-ci-g9-070707070707", daemon.running.core.machine.instance);
    world.loopback.issue(Service::Awx, &marker, Span::days(9));
    daemon.running.core.poll(&"awx".parse().unwrap()).await;
    let seen = Seen::look(&daemon, "ci");
    told(&seen, true, &["has 1 orphan", &marker, "`patrold audit --account awx --reap`", "#orphans-were-found"]);
}
