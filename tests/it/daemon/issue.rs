//! A token's way from nothing to its second generation, when all is well.

use patrold::clock::Span;
use patrold::daemon::registry::View;
use patrold::daemon::rotate::Answer;
use patrold::demo::{Options, Service, State};
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{Mint, Revoke, Verify};
use patrold::rotation::Phase;
use patrold::rotation::reason::Reason;

use super::world::{World, now, sit_out, token};

#[tokio::test]
async fn a_token_that_does_not_exist_is_minted_proven_and_delivered() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"1h\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    assert!(world.is_live(&world.stored("ci")));
    assert_eq!(world.changes(Service::Awx, 0), [Mint, Verify]);
    assert_eq!(world.live(Service::Awx).len(), 1);
}

#[tokio::test]
async fn an_initial_secret_is_adopted_and_delivered_without_a_mint() {
    let world = World::new().await;
    let secret = world.loopback.issue(Service::Awx, "by hand", Span::days(9));
    std::fs::write(world.path("first"), secret.token().expose()).unwrap();
    let more = "rotate-every = \"1h\"\ninitial = { file = \"$DIR/first\" }";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    daemon.steady("ci", 0).await;
    assert_eq!(world.stored("ci"), secret.token().expose());
    assert_eq!(world.changes(Service::Awx, 0), [Verify]);
}

#[tokio::test]
async fn an_adopted_token_whose_id_is_known_is_revoked_when_it_is_replaced() {
    let world = World::new().await;
    let secret = world.loopback.issue(Service::Awx, "by hand", Span::days(9)).token().expose().to_owned();
    std::fs::write(world.path("first"), &secret).unwrap();
    let id = world.id_of(&secret);
    let more = format!("rotate-every = \"1h\"\ninitial = {{ file = \"$DIR/first\", id = \"{id}\" }}");
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, &more)]).await;
    daemon.steady("ci", 0).await;
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(1)));
    daemon.steady("ci", 1).await;
    assert!(!world.is_live(&secret));
}

#[tokio::test]
async fn a_dead_initial_secret_is_not_adopted_and_a_token_is_minted_in_its_place() {
    let world = World::new().await;
    let secret = world.loopback.issue(Service::Awx, "by hand", Span::days(9)).token().expose().to_owned();
    world.loopback.ledger().revoke(Service::Awx, world.id_of(&secret), now());
    std::fs::write(world.path("first"), &secret).unwrap();
    let more = "rotate-every = \"1h\"\ninitial = { file = \"$DIR/first\" }";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    let failure = daemon.failure("ci").await;
    assert_eq!(failure.code, FailureCode::SecretRefused);
    assert!(failure.detail.contains("the initial secret (file "), "{failure}");
    let view = daemon.until("ci", "it gives the initial secret up", |view| view.state.initial_refused).await;
    assert!(!view.state.may_adopt());
    daemon.steady("ci", 1).await;
    assert!(world.is_live(&world.stored("ci")));
    let changes = world.changes(Service::Awx, 0);
    // The file is so young that its watch may give it a try more.
    let asked = changes.iter().take_while(|operation| **operation == Verify).count();
    assert!(asked >= 3, "{changes:?}");
    assert_eq!(changes[asked..], [Mint, Verify]);
}

#[tokio::test]
async fn a_dead_initial_secret_that_its_own_account_needs_is_waited_for() {
    let world = World::new().await;
    let secret = world.loopback.issue(Service::Awx, "by hand", Span::days(9)).token().expose().to_owned();
    world.loopback.ledger().revoke(Service::Awx, world.id_of(&secret), now());
    std::fs::write(world.path("first"), &secret).unwrap();
    let more = "rotate-every = \"1h\"\ninitial = { file = \"$DIR/first\" }";
    let account = world.account(Service::Awx, "credential = { token = \"ci\" }");
    let daemon = world.start(&[account, token("ci", Service::Awx, more)]).await;
    let tried = |view: &View| view.state.retry.as_ref().map_or(0, |retry| retry.attempts);
    let view = daemon.until("ci", "it was tried four times", |view| tried(view) >= 4).await;
    let failure = &view.state.retry.as_ref().unwrap().failure;
    assert!(failure.detail.contains("put one there that works"), "{failure}");
    assert_eq!(view.state.phase, Phase::Vacant);
    let live = world.loopback.issue(Service::Awx, "by hand too", Span::days(9));
    std::fs::write(world.path("first"), live.token().expose()).unwrap();
    daemon.steady("ci", 0).await;
}

#[tokio::test]
async fn a_missing_initial_secret_is_adopted_once_it_is_there() {
    let world = World::new().await;
    let secret = world.loopback.issue(Service::Awx, "by hand", Span::days(9)).token().expose().to_owned();
    let more = "rotate-every = \"1h\"\ninitial = { file = \"$DIR/first\" }";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    let failure = daemon.failure("ci").await;
    assert_eq!(failure.code, FailureCode::NoCredential);
    assert!(failure.detail.contains("first"), "{failure}");
    std::fs::write(world.path("first"), &secret).unwrap();
    daemon.steady("ci", 0).await;
}

#[tokio::test]
async fn a_token_is_rotated_before_its_lifetime_ends() {
    let options = Options { point_one_day: Span::milliseconds(100), ..Options::default() };
    let world = World::with(options).await;
    // The provider's days are shorter than it says: only its listing tells the real expiry.
    let more = "lifetime = \"30d\"\nrenew-before = \"50%\"";
    let account = world.account(Service::PointOne, "poll-every = \"500ms\"");
    let daemon = world.start(&[account, token("gps", Service::PointOne, more)]).await;
    let first = daemon.current("gps", 1).await;
    let second = daemon.current("gps", 2).await;
    let expires = first.minted_at + Span::seconds(3);
    assert!(second.minted_at < expires, "{second:?} after {expires}");
    assert!(second.minted_at >= first.minted_at + Span::seconds(1), "{second:?} too soon after {first:?}");
    assert!(world.is_live(&world.stored("gps")));
}

#[tokio::test]
async fn a_token_is_rotated_when_it_reaches_its_age() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"1s\"")];
    let daemon = world.start(&parts).await;
    let began = daemon.current("ci", 1).await.minted_at;
    let age = daemon.current("ci", 2).await.minted_at - began;
    assert!(age >= Span::milliseconds(900), "rotated at the age of {age}");
}

#[tokio::test]
async fn a_token_is_rotated_when_its_schedule_fires() {
    let world = World::new().await;
    let more = "schedule = { cron = \"* * * * * *\" }\njitter = \"1ms\"";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    let minted = daemon.current("ci", 2).await.minted_at;
    assert!(minted.timestamp_subsec_millis() < 900, "it began at a full second: {minted}");
}

#[tokio::test]
async fn an_operator_gets_a_rotation_at_once() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let old = world.stored("ci");
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    daemon.steady("ci", 2).await;
    assert_ne!(world.stored("ci"), old);
    assert!(world.is_live(&world.stored("ci")) && !world.is_live(&old));
}

#[tokio::test]
async fn the_old_generation_lives_for_its_grace_and_is_then_revoked_and_proven_dead() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ngrace = \"1s\"";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    daemon.steady("ci", 1).await;
    let (old, from) = (world.stored("ci"), world.count());
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    let view = daemon.view("ci");
    let Phase::Active { retiring, .. } = &view.state.phase else { panic!("{view:#?}") };
    assert_eq!(retiring.revoke_at - retiring.handed_over, Span::seconds(1));
    assert_eq!(view.rest.unwrap().reason, Reason::Grace);
    sit_out(retiring.revoke_at - Span::milliseconds(100)).await;
    assert!(world.is_live(&old), "it was revoked before its grace was over");
    daemon.steady("ci", 2).await;
    let State::Revoked { since, .. } = world.loopback.ledger().state_of(&old, now()) else { panic!("it is not dead") };
    assert!(since >= retiring.revoke_at && since < retiring.revoke_at + Span::seconds(2), "{since} {retiring:?}");
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Revoke, Verify]);
}
