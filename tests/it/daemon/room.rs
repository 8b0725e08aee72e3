//! A provider that takes so many live tokens in one place and no more.

use patrold::clock::Span;
use patrold::daemon::rotate::Answer;
use patrold::demo::Service;
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::report::status::Condition;
use patrold::rotation::reason::Reason;

use super::night::Seen;
use super::world::{Daemon, World, now, token};

/// The account's own token, the present one, and room for one more.
const NARROW: &str = "[provider]\nname = \"narrow\"\nextends = \"awx\"\nmax-live = 3\n";

async fn start(world: &World, grace: &str) -> Daemon {
    std::fs::create_dir(world.path("definitions")).unwrap();
    std::fs::write(world.path("definitions/narrow.toml"), NARROW).unwrap();
    let account = world.account(Service::Awx, "").replace("provider = \"awx\"", "provider = \"narrow\"");
    let token = token("ci", Service::Awx, &format!("rotate-every = \"30d\"\ngrace = \"{grace}\""));
    world.start_with("providers = \"$DIR/definitions\"", &[account, token]).await
}

#[tokio::test]
async fn a_rotation_waits_while_others_take_its_place_and_begins_when_one_is_gone() {
    let world = World::new().await;
    let daemon = start(&world, "200ms").await;
    daemon.steady("ci", 1).await;
    let theirs = world.loopback.issue(Service::Awx, "laptop", Span::days(9)).token().expose().to_owned();
    daemon.running.core.poll(&"awx".parse().unwrap()).await;
    daemon.request("ci").await;
    let view =
        daemon.until("ci", "there is no room", |view| view.rest.is_some_and(|it| it.reason == Reason::NoRoom)).await;
    assert_eq!(view.state.last_number, GenerationNo(1), "no mint was begun");
    let status = serde_json::to_value(daemon.running.status()).unwrap();
    assert_eq!(status["tokens"][0]["next"]["hold"], "no-room", "{status:#}");
    let full = FailureCode::NoRoom;
    Seen::look(&daemon, "ci").tells(Condition::Failing, true, full.sentence(), full.remedy());

    // Who asks by hand gets a new look at the provider, without a wait for the next listing.
    assert!(world.loopback.ledger().revoke(Service::Awx, world.id_of(&theirs), now()));
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    daemon.steady("ci", 2).await;
}

#[tokio::test]
async fn as_many_live_as_may_and_never_more() {
    let world = World::new().await;
    let daemon = start(&world, "1s").await;
    daemon.steady("ci", 1).await;
    for number in 2..5 {
        assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(number)));
        assert!(world.live(Service::Awx).len() <= 2);
    }
    daemon.steady("ci", 4).await;
    assert_eq!((world.minted(Service::Awx), world.live(Service::Awx).len()), (4, 1));
}
