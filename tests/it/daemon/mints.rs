//! Mints whose answer is lost, late or no answer at all.

use futures_util::future::join_all;
use patrold::clock::Span;
use patrold::demo::{Fault, Service};
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{self, List, Mint, Revoke, Verify};
use patrold::rotation::Phase;
use patrold::rotation::state::Orphan;

use super::world::{Daemon, World, now, token};

/// A daemon with one steady token of `service`, whose next rotation was asked for while its mint goes wrong so; returns
/// once generation `number`, or a later one, is all there is, with the story since.
async fn rotate_under(service: Service, fault: Fault, number: u32) -> (World, Daemon, Vec<Operation>) {
    let world = World::new().await;
    let parts = [
        // Shorter than a stalled answer, longer than any other.
        world.account(service, "timeouts = { connect = \"500ms\", headers = \"1s\", body = \"2s\" }"),
        token("ci", service, "rotate-every = \"30d\""),
    ];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    // The listing of the first poll is over, so that those that follow belong to the story.
    world.until_requests("the first poll", |requests| requests.iter().any(|it| it.operation == Some(List))).await;
    world.loopback.faults().next(service, Mint, fault.clone());
    let from = world.count();
    daemon.request("ci").await;
    let what = format!("rotated under {fault:?}");
    daemon
        .until("ci", &what, |view| {
            let number = GenerationNo(number);
            let current = view.state.phase.current();
            let rotated = current.is_some_and(|current| current.generation.number >= number);
            view.rest.is_some() && matches!(view.state.phase, Phase::Steady { .. }) && rotated
        })
        .await;
    assert_eq!(world.loopback.faults().pending(), 0, "the fault was not met");
    // A poll may come at any time, also before it all.
    let story = world.story(service, from).into_iter().skip_while(|operation| *operation == List).collect();
    (world, daemon, story)
}

fn only_the_stored_one_lives(world: &World, service: Service) {
    let secret = world.stored("ci");
    assert_eq!(world.live(service), [world.id_of(&secret)]);
}

#[tokio::test]
async fn a_mint_whose_answer_is_lost_is_found_by_its_marker_and_revoked_before_the_next() {
    let services = [Service::Awx, Service::Commvault, Service::PointOne];
    let faults = [
        Fault::LoseAnswer,
        Fault::ServerErrorAfterActing(500),
        Fault::HtmlOkAfterActing,
        Fault::Truncated,
        Fault::Empty,
        Fault::WrongTypes,
        Fault::Huge,
    ];
    let cases = services.iter().flat_map(|service| faults.iter().map(|fault| (*service, fault.clone())));
    join_all(cases.map(|(service, fault)| async move {
        let (world, _daemon, story) = rotate_under(service, fault.clone(), 3).await;
        let what = format!("{service} under {fault:?}: {story:?}");
        let at = |operation, nth: usize| {
            let mut places = story.iter().enumerate().filter(|(_, it)| **it == operation);
            places.nth(nth).unwrap_or_else(|| panic!("no {operation:?} in {what}")).0
        };
        let (lost, found, orphan, second) = (at(Mint, 0), at(List, 0), at(Revoke, 0), at(Mint, 1));
        assert!(lost < found && found < orphan && orphan < second, "{what}");
        assert_eq!(story.iter().filter(|it| **it == Mint).count(), 2, "{what}");
        assert_eq!(world.minted(service), 3, "{what}");
        only_the_stored_one_lives(&world, service);
    }))
    .await;
}

#[tokio::test]
async fn a_first_token_does_not_wait_for_a_lost_mint_which_is_revoked_when_it_turns_up() {
    let world = World::new().await;
    world.loopback.faults().next(Service::Awx, Mint, Fault::GatewayTimeout { after: Span::milliseconds(800) });
    let parts = [world.account(Service::Awx, "settle = \"3s\""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 2).await;
    daemon.until("ci", "the lost one is revoked", |view| view.rest.is_some() && view.state.orphans.is_empty()).await;
    assert_eq!(world.changes(Service::Awx, 0), [Mint, Mint, Verify, Revoke], "its consumer has nothing meanwhile");
    only_the_stored_one_lives(&world, Service::Awx);
}

#[tokio::test]
async fn a_mint_that_may_have_happened_and_did_not_is_looked_for_and_then_repeated() {
    let faults = [Fault::LoseRequest, Fault::ServerError(502), Fault::HtmlOk, Fault::Stall];
    join_all(faults.map(|fault| async move {
        let (world, daemon, story) = rotate_under(Service::Awx, fault.clone(), 3).await;
        assert_eq!(story[..2], [Mint, List], "{fault:?}: {story:?}");
        let changes: Vec<_> = story.iter().copied().filter(|it| *it != List).collect();
        assert_eq!(changes, [Mint, Mint, Verify, Revoke, Verify], "{fault:?}: {story:?}");
        let orphans = &daemon.view("ci").state.orphans;
        assert!(matches!(orphans[..], [Orphan::UnknownMint { .. }]), "the lost mint is remembered: {orphans:#?}");
        only_the_stored_one_lives(&world, Service::Awx);
    }))
    .await;
}

#[tokio::test]
async fn a_mint_that_was_refused_for_certain_is_repeated_without_a_search() {
    let faults = [
        Fault::RateLimited { retry_after: Span::seconds(1), as_date: false },
        Fault::RateLimited { retry_after: Span::seconds(2), as_date: true },
        Fault::Unauthorized,
    ];
    join_all(faults.map(|fault| async move {
        let (world, daemon, story) = rotate_under(Service::Awx, fault.clone(), 3).await;
        let changes: Vec<_> = story.iter().copied().filter(|it| *it != List).collect();
        assert_eq!(changes, [Mint, Mint, Verify, Revoke, Verify], "{fault:?}");
        assert_eq!(world.minted(Service::Awx), 2, "{fault:?}");
        let orphans = &daemon.view("ci").state.orphans;
        assert!(orphans.is_empty(), "{fault:?}: nothing was in doubt: {orphans:#?}");
        assert!(daemon.view("ci").state.last_failure.is_none(), "{fault:?}: a handover ends it");
    }))
    .await;
}

#[tokio::test]
async fn a_lost_mint_that_acts_late_is_revoked_when_a_listing_shows_it() {
    let late = Span::milliseconds(1200);
    let faults = [Fault::LoseAnswerLate { after: late }, Fault::GatewayTimeout { after: late }];
    join_all(faults.map(|fault| async move {
        let world = World::new().await;
        let parts =
            [world.account(Service::Awx, "poll-every = \"1s\""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
        world.loopback.faults().next(Service::Awx, Mint, fault.clone());
        let daemon = world.start(&parts).await;
        daemon.steady("ci", 2).await;
        world
            .until_requests("the late one is revoked", |requests| {
                requests.iter().any(|request| request.operation == Some(Revoke) && request.status == Some(204))
            })
            .await;
        daemon.until("ci", "nothing is left of it", |view| view.state.orphans.is_empty()).await;
        only_the_stored_one_lives(&world, Service::Awx);
        assert_eq!(world.minted(Service::Awx), 2, "{fault:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_mint_with_times_in_another_form_is_accepted_and_its_expiry_learned() {
    let (world, daemon, story) = rotate_under(Service::Awx, Fault::OtherTimeFormat, 2).await;
    assert_eq!(story.iter().filter(|it| **it == Mint).count(), 1);
    let expires = daemon.view("ci").state.phase.current().unwrap().generation.remote.expires;
    assert!(expires.as_told().is_none_or(|expires| expires > now()), "{expires:?}");
    only_the_stored_one_lives(&world, Service::Awx);
}

#[tokio::test]
async fn a_redirected_mint_carries_no_credential_to_another_host() {
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("http://{}/api/v2/tokens/", trap.local_addr().unwrap());
    let (world, _daemon, story) = tokio::select! {
        done = rotate_under(Service::Awx, Fault::Redirect { to }, 3) => done,
        _ = trap.accept() => panic!("somebody followed the redirect"),
    };
    assert_eq!(story.iter().filter(|it| **it == Mint).count(), 2);
    only_the_stored_one_lives(&world, Service::Awx);
}

#[tokio::test]
async fn a_candidate_whose_proof_fails_for_reasons_of_the_way_is_not_given_up() {
    let faults = [Fault::LoseAnswer, Fault::ServerError(500), Fault::HtmlOk, Fault::Truncated, Fault::Empty];
    join_all(faults.map(|fault| async move {
        let world = World::new().await;
        let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
        world.loopback.faults().next(Service::Awx, Verify, fault.clone());
        let daemon = world.start(&parts).await;
        daemon.steady("ci", 1).await;
        assert_eq!(world.changes(Service::Awx, 0), [Mint, Verify, Verify], "{fault:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_candidate_that_the_provider_never_accepts_is_taken_back_and_the_old_one_stays() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let old = world.stored("ci");
    for _ in 0..40 {
        world.loopback.faults().next(Service::Awx, Verify, Fault::Unauthorized);
    }
    let _ = daemon.rotate("ci").await;
    let view = daemon.until("ci", "it was taken back", |view| view.state.failed_rotations == 1).await;
    assert_eq!(view.state.last_failure.as_ref().unwrap().failure.code, FailureCode::SecretRefused);
    assert_eq!(world.stored("ci"), old);
    only_the_stored_one_lives(&world, Service::Awx);
    world.loopback.faults().stop();
    daemon.steady("ci", 3).await;
    only_the_stored_one_lives(&world, Service::Awx);
}
