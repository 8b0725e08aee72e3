//! Renewals in place, of which the provider forgives no repetition.

use futures_util::future::join_all;
use patrold::clock::Span;
use patrold::daemon::rotate::Answer;
use patrold::demo::{Fault, Options, Service};
use patrold::endpoint::EndpointState;
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{List, Mint, Renew, Revoke, Verify};
use patrold::rotation::Phase;

use super::world::{Daemon, World, token};

fn short_lived() -> Options {
    Options {
        commvault_access_lifetime: Span::seconds(3),
        commvault_refresh_lifetime: Span::seconds(60),
        ..Options::default()
    }
}

#[tokio::test]
async fn an_access_token_is_renewed_in_place_again_and_again() {
    let world = World::with(short_lived()).await;
    let parts = [world.account(Service::Commvault, ""), token("backup", Service::Commvault, "rotate-every = \"1h\"")];
    let daemon = world.start(&parts).await;
    daemon
        .until("backup", "it was renewed twice", |view| {
            view.state.phase.current().is_some_and(|current| {
                current.generation.revision >= 2 && current.delivery.settled.is_some() && !view.state.phase.renews()
            })
        })
        .await;
    assert!(world.is_live(&world.stored("backup")));
    let changes = world.changes(Service::Commvault, 0);
    assert_eq!(changes.iter().filter(|it| **it == Mint).count(), 1, "{changes:?}");
    assert!(!changes.contains(&Revoke), "{changes:?}");
    assert_eq!(world.loopback.ledger().counters(Service::Commvault).chains_invalidated, 0);
}

#[tokio::test]
async fn a_renewal_whose_answer_is_lost_is_examined_never_repeated_and_made_up_for_by_a_mint() {
    let faults = [
        Fault::LoseAnswer,
        Fault::LoseRequest,
        Fault::ServerErrorAfterActing(500),
        Fault::ServerError(502),
        Fault::HtmlOk,
        Fault::Truncated,
        Fault::Empty,
        Fault::WrongTypes,
        Fault::LoseAnswerLate { after: Span::milliseconds(300) },
    ];
    join_all(faults.map(|fault| async move {
        let world = World::with(short_lived()).await;
        let parts =
            [world.account(Service::Commvault, ""), token("backup", Service::Commvault, "rotate-every = \"1h\"")];
        world.loopback.faults().next(Service::Commvault, Renew, fault.clone());
        let daemon = world.start(&parts).await;
        daemon.current("backup", 2).await;
        let story = world.changes(Service::Commvault, 0);
        assert_eq!(story[..2], [Mint, Verify], "{fault:?}");
        assert_eq!(story[2..6], [Renew, Verify, Mint, Verify], "{fault:?}: {story:?}");
        assert!(world.is_live(&world.stored("backup")), "{fault:?}");
        daemon.until("backup", "the first is over", |view| view.state.phase.retiring().is_none()).await;
        assert_eq!(world.loopback.ledger().counters(Service::Commvault).chains_invalidated, 0, "{fault:?}");
        assert_eq!(world.live(Service::Commvault).len(), 1, "{fault:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_pair_is_replaced_before_it_can_be_renewed_no_longer() {
    let options = Options {
        commvault_access_lifetime: Span::seconds(2),
        commvault_refresh_lifetime: Span::seconds(2),
        ..Options::default()
    };
    let world = World::with(options).await;
    let parts = [world.account(Service::Commvault, ""), token("backup", Service::Commvault, "rotate-every = \"2s\"")];
    let daemon = world.start(&parts).await;
    daemon.current("backup", 2).await;
    assert!(world.is_live(&world.stored("backup")));
    assert_eq!(world.loopback.ledger().counters(Service::Commvault).chains_invalidated, 0);
    assert!(world.story(Service::Commvault, 0).contains(&List));
}

/// Commvault as if its definition trusted the old secret to tell whether a lost renewal took place.
const LOOKS_FIRST: &str = "[provider]\nname = \"own\"\nextends = \"commvault\"\n[renew]\non-timeout = \"list-first\"\n";

#[tokio::test]
async fn a_lost_renewal_is_repeated_only_where_the_old_secret_proves_that_it_did_not_happen() {
    for (fault, story) in [
        (Fault::LoseRequest, [Renew, Verify, Verify, Renew, Verify]),
        (Fault::LoseAnswer, [Renew, Verify, Mint, Verify, Revoke]),
    ] {
        let world = World::with(short_lived()).await;
        std::fs::create_dir(world.path("definitions")).unwrap();
        std::fs::write(world.path("definitions/own.toml"), LOOKS_FIRST).unwrap();
        let account = world.account(Service::Commvault, "").replace("provider = \"commvault\"", "provider = \"own\"");
        let token = token("backup", Service::Commvault, "rotate-every = \"1h\"");
        world.loopback.faults().next(Service::Commvault, Renew, fault.clone());
        let daemon = world.start_with("providers = \"$DIR/definitions\"", &[account, token]).await;
        daemon
            .until("backup", "it was renewed, or minted anew and the first one is over", |view| {
                let Some(current) = view.state.phase.current() else { return false };
                let phase = &view.state.phase;
                let served = current.delivery.settled.is_some() && phase.retiring().is_none() && !phase.renews();
                served && current.generation.number.0 + current.generation.revision > 1
            })
            .await;
        let changes = world.changes(Service::Commvault, 0);
        let first = changes.iter().position(|change| *change == Renew).unwrap();
        assert!(changes[first..].starts_with(&story), "{fault:?}: {changes:?}");
        assert!(world.is_live(&world.stored("backup")), "{fault:?}");
        assert_eq!(world.loopback.ledger().counters(Service::Commvault).chains_invalidated, 0, "{fault:?}");
        daemon.stop().await;
    }
}

/// A release that mints by a login alone.
fn by_login() -> Options {
    Options { commvault_mint_by_token: false, commvault_login_attempts: 3, ..Options::default() }
}

fn logins(world: &World) -> usize {
    world.requests(Service::Commvault, 0).iter().filter(|request| request.path.ends_with("/Login")).count()
}

fn account_state(daemon: &Daemon) -> EndpointState {
    let member = daemon.running.core.accounts.get(&"commvault".parse().unwrap()).unwrap();
    member.client().unwrap().endpoint().health().state
}

#[tokio::test]
async fn a_password_mints_lists_and_revokes_through_sessions_that_come_and_go() {
    let world = World::with(by_login()).await;
    let parts = [world.login_account(""), token("backup", Service::Commvault, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("backup", 1).await;
    assert_eq!(daemon.rotate("backup").await, Answer::Rotated(GenerationNo(2)));
    daemon.steady("backup", 2).await;
    assert_eq!(logins(&world), 1, "one session does it all");

    world.loopback.end_sessions();
    daemon.request("backup").await;
    daemon.current("backup", 3).await;
    daemon.until("backup", "the old one is over", |view| matches!(view.state.phase, Phase::Steady { .. })).await;
    assert_eq!(logins(&world), 2, "a session that is refused is opened anew once");
    assert!(world.is_live(&world.stored("backup")));
    assert_eq!(world.live(Service::Commvault).len(), 1, "the others were revoked");
    assert!(world.story(Service::Commvault, 0).contains(&List));
    assert_eq!(account_state(&daemon), EndpointState::Fine);
}

#[tokio::test]
async fn an_access_token_does_not_mint_where_a_release_wants_a_login() {
    let world = World::with(by_login()).await;
    let parts = [world.account(Service::Commvault, ""), token("backup", Service::Commvault, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    let failure = daemon.failure("backup").await;
    assert_eq!(failure.code, FailureCode::Forbidden);
    assert!(failure.detail.contains("An access token cannot be used to create access tokens"), "{failure}");
}

#[tokio::test]
async fn a_wrong_password_neither_locks_its_user_nor_stays_in_use_once_it_is_corrected() {
    let world = World::with(by_login()).await;
    let names = ["backup", "report", "archive", "restore"];
    let tokens = names.map(|name| token(name, Service::Commvault, "rotate-every = \"30d\""));
    let parts: Vec<_> = std::iter::once(world.login_account("")).chain(tokens).collect();
    std::fs::write(world.path("password"), "wrong-password").unwrap();
    let daemon = world.start(&parts).await;
    for name in names {
        assert_eq!(daemon.failure(name).await.code, FailureCode::Unauthorized, "{name}");
    }
    assert_eq!(logins(&world), 1, "four tokens and a listing try it once");
    assert!(matches!(account_state(&daemon), EndpointState::Degraded { .. }));

    let operator = world.loopback.operator().unwrap();
    std::fs::write(world.path("password"), operator.password.expose()).unwrap();
    for name in names {
        daemon.until(name, "it is issued", |view| matches!(view.state.phase, Phase::Steady { .. })).await;
    }
    assert_eq!(logins(&world), 2);
    assert_eq!(account_state(&daemon), EndpointState::Fine);
}

#[tokio::test]
async fn a_locked_user_is_told_in_words_and_left_alone() {
    let options = Options { commvault_login_attempts: 1, ..by_login() };
    let world = World::with(options).await;
    let parts = [world.login_account(""), token("backup", Service::Commvault, "rotate-every = \"30d\"")];
    std::fs::write(world.path("password"), "wrong-password").unwrap();
    let daemon = world.start(&parts).await;
    assert_eq!(daemon.failure("backup").await.code, FailureCode::Unauthorized);
    // Another wrong one is tried at once, and finds the user locked.
    std::fs::write(world.path("password"), "another-wrong-password").unwrap();
    let view = daemon.until("backup", "the lock is told", |view| {
        view.state.retry.as_ref().is_some_and(|retry| retry.failure.code == FailureCode::AccountLocked)
    });
    let view = view.await;
    let retry = view.state.retry.as_ref().unwrap();
    let told = retry.failure.to_string();
    let wanted = "the provider has locked the user of the credential: HTTP 200: /isAccountLocked is not as expected: User account is locked.";
    assert_eq!(told, wanted);
    let EndpointState::Degraded { failure, .. } = account_state(&daemon) else { panic!("the account is fine") };
    assert_eq!(failure, retry.failure);
    assert!(retry.next - patrold::clock::Clock::now(&patrold::clock::SystemClock) > Span::seconds(30), "{retry:?}");
    // The token looks again each minute, since its consumers have nothing; the account lets no login through before the
    // lock ends.
    assert_eq!(logins(&world), 2);
}
