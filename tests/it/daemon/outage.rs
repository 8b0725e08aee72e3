//! Accounts that nothing can be asked of for longer than a token lives, and what becomes of their tokens.

use patrold::clock::Span;
use patrold::demo::{Fault, Options, Service};
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::report::status::{AccountCondition, Condition};

use super::night::Seen;
use super::world::{World, now, sit_out, token};

#[tokio::test]
async fn after_an_outage_that_outlasts_its_token_consumers_are_served_at_once() {
    let world = World::with(Options { awx_lifetime: Span::seconds(4), ..Options::default() }).await;
    let more = "renew-before = \"1s\"\ngrace = \"0s\"";
    let parts = [world.account(Service::Awx, "poll-every = \"300ms\""), token("ci", Service::Awx, more)];
    let daemon = world.start(&parts).await;
    let first = daemon.steady("ci", 1).await.generation;
    let secret = world.stored("ci");
    world.loopback.faults().random_of(7, 1.0, vec![Fault::ServerError(503), Fault::LoseRequest]);
    // Long enough for many attempts, each of which makes the next wait longer.
    sit_out(first.remote.expires.as_told().unwrap() + Span::seconds(8)).await;
    assert!(!world.is_live(&secret));
    assert_eq!(daemon.running.status().tokens[0].condition, Condition::Down);
    world.loopback.faults().stop();
    let ended = now();
    let replaced = daemon.current("ci", 2).await;
    let waited = now() - ended;
    assert!(waited < Span::seconds(10), "the first answer that helps ends every wait, and not only after {waited}");
    daemon
        .until("ci", "delivered", |view| view.state.phase.current().is_some_and(|it| it.delivery.settled.is_some()))
        .await;
    assert!(replaced.number >= GenerationNo(2) && world.stored("ci") != secret);
}

/// On a real AWX: the user was deleted, every listing answered 401, and all was said to be fine.
#[tokio::test]
async fn tokens_of_a_user_who_is_gone_are_not_fine() {
    let world = World::new().await;
    let parts =
        [world.account(Service::Awx, "poll-every = \"200ms\""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    assert!(world.loopback.ledger().revoke(Service::Awx, world.id_of(&world.stored("ci")), now()));
    world.loopback.faults().random_of(7, 1.0, vec![Fault::Unauthorized]);
    daemon.until("ci", "found dead", |view| view.state.phase.current().is_some_and(|it| it.dead.is_some())).await;
    daemon.failure("ci").await;
    let status = daemon.running.status();
    assert_eq!(status.accounts[0].condition, AccountCondition::Degraded);
    let seen = Seen::look(&daemon, "ci");
    let (cause, remedy) = ("the provider does not accept it any more", FailureCode::Unauthorized.remedy());
    seen.tells(Condition::Down, false, cause, remedy);
}
