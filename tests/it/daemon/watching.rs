//! Tokens whose provider cannot mint: they are watched, and somebody brings the next one.

use std::fs;

use patrold::clock::Span;
use patrold::daemon::rotate::Answer;
use patrold::demo::Service;
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Expiry;
use patrold::provider::Operation::{Mint, Revoke};
use patrold::rotation::reason::Reason;

use super::world::{Daemon, World, now};

/// AWX as if it had no way to mint.
const WATCHED: &str = "[provider]\nname = \"watched\"\nextends = \"awx\"\nwithout = [\"mint\"]\n";

async fn start(world: &World, token: &str) -> Daemon {
    fs::create_dir(world.path("definitions")).unwrap();
    fs::write(world.path("definitions/watched.toml"), WATCHED).unwrap();
    let url = world.loopback.url(Service::Awx).as_str().trim_end_matches('/').to_owned();
    let account = format!(
        "[account.own]\nprovider = \"watched\"\nurl = \"{url}\"\ncredential = {{ file = \"$DIR/awx\" }}\n\
         params = {{ user_id = 2 }}\npoll-every = \"300ms\"\nsettle = \"100ms\""
    );
    let token = format!("[[token]]\nname = \"ci\"\naccount = \"own\"\n{token}\n");
    world.start_with("providers = \"$DIR/definitions\"", &[account, token]).await
}

/// A token as somebody makes it in the provider's console, in the file that the inventory names.
fn bring(world: &World, lifetime: Span) -> String {
    let secret = world.loopback.issue(Service::Awx, "by hand", lifetime).token().expose().to_owned();
    let hidden = world.path(".first.new");
    fs::write(&hidden, &secret).unwrap();
    fs::rename(hidden, world.path("first")).unwrap();
    secret
}

#[tokio::test]
async fn a_token_is_delivered_watched_asked_for_and_replaced_by_hand() {
    let world = World::new().await;
    let first = bring(&world, Span::seconds(200));
    let id = world.id_of(&first);
    let token = "renew-before = \"99.5%\"\njitter = \"0s\"\ninitial = { file = \"$DIR/first\" }\n\
                 stores = [{ kind = \"file\", path = \"$DIR/stores/ci\" }]";
    let daemon = start(&world, &token.replace("first\" }", &format!("first\", id = \"{id}\" }}"))).await;

    daemon.steady("ci", 0).await;
    assert_eq!(world.stored("ci"), first);
    let view = daemon.until("ci", "it is due", |view| {
        view.state.phase.current().is_some_and(|current| current.replacement.is_some()) && view.rest.is_some()
    });
    let view = view.await;
    assert_eq!(view.rest.unwrap().reason, Reason::WatchOnly);
    assert_eq!(view.state.phase.current().unwrap().replacement.as_deref(), Some("renew-before"));
    match daemon.rotate("ci").await {
        Answer::Refused(why) => assert!(why.contains("\"watched\" cannot mint"), "{why}"),
        other => panic!("{other:?}"),
    }

    // What the provider does not accept changes nothing.
    fs::write(world.path("first"), "mistyped").unwrap();
    let view = daemon.until("ci", "the new secret is refused", |view| view.state.last_failure.is_some()).await;
    assert_eq!(view.state.last_failure.as_ref().unwrap().failure.code, FailureCode::SecretRefused);
    assert_eq!(world.stored("ci"), first);

    let second = bring(&world, Span::days(9));
    daemon.steady("ci", 1).await;
    assert_eq!(world.stored("ci"), second);
    assert!(world.is_live(&second) && !world.is_live(&first), "the old one is revoked after its grace");
    let changes = world.changes(Service::Awx, 0);
    assert!(changes.contains(&Revoke) && !changes.contains(&Mint), "{changes:?}");
    let current = daemon.view("ci").state.phase.current().unwrap().clone();
    assert_eq!((current.generation.number, current.replacement), (GenerationNo(1), None));
    daemon.stop().await;

    // After a start the same secret is no other one.
    let daemon = world.resume().await;
    daemon.steady("ci", 1).await;
    assert_eq!(world.stored("ci"), second);
}

#[tokio::test]
async fn a_token_is_watched_by_its_id_without_its_secret() {
    let world = World::new().await;
    let secret = bring(&world, Span::days(9));
    let id = world.id_of(&secret);
    let daemon = start(&world, &format!("initial = {{ id = \"{id}\" }}")).await;
    let current = daemon.steady("ci", 0).await;
    assert!(matches!(current.generation.remote.expires, Expiry::At(_)), "the listing tells: {current:?}");
    assert!(current.generation.fingerprints.is_empty());
    world.loopback.ledger().revoke(Service::Awx, id, now());
    let view = daemon.until("ci", "it was missed", |view| {
        view.state.phase.current().is_some_and(|current| current.dead.is_some() && current.replacement.is_some())
    });
    assert_eq!(view.await.state.phase.current().unwrap().replacement.as_deref(), Some("dead"));
}

#[tokio::test]
async fn a_token_is_watched_by_the_name_that_the_provider_lists() {
    let world = World::new().await;
    world.loopback.issue(Service::Awx, "nightly job", Span::days(9));
    let daemon = start(&world, "initial = { name = \"nightly job\" }").await;
    let current = daemon.steady("ci", 0).await;
    assert!(current.generation.remote.id.is_some(), "{current:?}");
    daemon.stop().await;

    let world = World::new().await;
    let daemon = start(&world, "initial = { name = \"nobody\" }").await;
    assert_eq!(daemon.failure("ci").await.code, FailureCode::NotFound);
}
