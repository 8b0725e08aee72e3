//! Providers that answer wrongly: what consumers use is neither ended nor left behind because of one answer.

use patrold::demo::{Fault, Service};
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{List, Mint, Revoke, Verify};
use patrold::rotation::Phase;

use super::world::{Daemon, World, token};

/// A daemon with one steady token of AWX.
async fn steady(more: &str) -> (World, Daemon) {
    let world = World::new().await;
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    daemon.steady("ci", 1).await;
    (world, daemon)
}

#[tokio::test]
async fn the_same_token_again_is_not_revoked_and_counts_as_a_failure() {
    let (world, daemon) = steady("rotate-every = \"30d\"").await;
    let secret = world.stored("ci");
    world.loopback.faults().next(Service::Awx, Mint, Fault::SameToken);
    daemon.request("ci").await;
    let failed = |code| {
        move |view: &patrold::daemon::registry::View| {
            view.state.last_failure.as_ref().is_some_and(|noted| noted.failure.code == code)
        }
    };
    daemon.until("ci", "the rotation failed", failed(FailureCode::SameToken)).await;
    assert!(world.is_live(&secret), "consumers have what they had");
    assert_eq!(world.stored("ci"), secret);
    // The next mint is honest.
    daemon
        .until("ci", "rotated", |view| {
            let number = view.state.phase.current().map(|current| current.generation.number);
            number == Some(GenerationNo(3)) && matches!(view.state.phase, Phase::Steady { .. })
        })
        .await;
    assert_eq!(world.live(Service::Awx), [world.id_of(&world.stored("ci"))]);
}

#[tokio::test]
async fn a_new_secret_of_the_same_token_is_delivered_and_its_id_never_revoked() {
    let (world, daemon) = steady("rotate-every = \"30d\"").await;
    let (secret, from) = (world.stored("ci"), world.count());
    world.loopback.faults().next(Service::Awx, Mint, Fault::SameId);
    daemon.request("ci").await;
    daemon.steady("ci", 2).await;
    let new = world.stored("ci");
    assert_ne!(new, secret);
    assert!(world.is_live(&new));
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Verify], "proven, and the old one proven dead");
    assert!(daemon.view("ci").state.orphans.is_empty());
}

#[tokio::test]
async fn a_listing_without_entries_ends_nothing() {
    let world = World::new().await;
    let parts =
        [world.account(Service::Awx, "poll-every = \"200ms\""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let secret = world.stored("ci");
    for _ in 0..5 {
        world.loopback.faults().next(Service::Awx, List, Fault::EmptyListing);
    }
    world.until_requests("listings without entries", |_| world.loopback.faults().pending() == 0).await;
    assert!(world.is_live(&secret));
    assert_eq!(daemon.view("ci").state.phase.current().unwrap().generation.number, GenerationNo(1));
}

#[tokio::test]
async fn a_revocation_that_finds_nothing_is_repeated_while_the_token_lives() {
    let (world, daemon) = steady("rotate-every = \"30d\"").await;
    let secret = world.stored("ci");
    for fault in [Fault::NotFound, Fault::Refused] {
        world.loopback.faults().next(Service::Awx, Revoke, fault);
    }
    daemon.request("ci").await;
    daemon.steady("ci", 2).await;
    assert!(!world.is_live(&secret), "it was revoked in the end");
    assert_eq!(world.loopback.faults().pending(), 0);
}

#[tokio::test]
async fn a_repeated_revocation_that_is_refused_is_settled_by_a_look() {
    let (world, daemon) = steady("rotate-every = \"30d\"").await;
    let from = world.count();
    for fault in [Fault::LoseAnswer, Fault::Refused] {
        world.loopback.faults().next(Service::Awx, Revoke, fault);
    }
    daemon.request("ci").await;
    daemon.steady("ci", 2).await;
    assert_eq!(world.loopback.faults().pending(), 0);
    let revocations = world.changes(Service::Awx, from).into_iter().filter(|it| *it == Revoke).count();
    assert_eq!(revocations, 2, "one look with the old secret ends it");
}
