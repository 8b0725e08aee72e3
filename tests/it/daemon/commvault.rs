//! Renewals in place, of which the provider forgives no repetition.

use futures_util::future::join_all;
use patrold::clock::Span;
use patrold::demo::{Fault, Options, Service};
use patrold::provider::Operation::{List, Mint, Renew, Revoke, Verify};

use super::world::{World, token};

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
