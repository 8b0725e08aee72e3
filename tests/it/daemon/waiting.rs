//! Who waits for whom, for how long, and what ends it.

use std::fs;
use std::time::Duration;

use patrold::clock::Span;
use patrold::daemon::rotate::{Answer, OperatorRequest};
use patrold::demo::{Fault, Options, Service};
use patrold::names::GenerationNo;
use patrold::provider::Operation;
use patrold::rotation::Phase;

use super::world::{Daemon, PATIENCE, World, name_of, now, sit_out, token};

/// Nothing that hangs ends within the patience of a test.
const HANGS: &str = "rotate-every = \"30d\"\nhooks = [{ run = [\"sleep\", \"600\", \"$N\"], timeout = \"10m\" }]";

fn hanging(service: Service, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| token(&format!("a-{number:02}"), service, &HANGS.replace("$N", &number.to_string())))
}

async fn grant(daemon: &Daemon, token: &str, asked: OperatorRequest, patience: Duration) -> Answer {
    let core = &daemon.running.core;
    core.execute(Some(&daemon.running.waker), &name_of(token), asked, patience).await.answer
}

#[tokio::test]
async fn hooks_that_hang_at_one_account_hold_up_no_other_account() {
    let world = World::new().await;
    let mut parts = vec![world.account(Service::Awx, "max-in-flight = 16"), world.account(Service::PointOne, "")];
    parts.extend(hanging(Service::Awx, 60));
    let daemon = world.start(&parts).await;
    for number in 0..60 {
        let hangs = |view: &patrold::daemon::registry::View| matches!(view.state.phase, Phase::Delivered { .. });
        daemon.until(&format!("a-{number:02}"), "its hook hangs", hangs).await;
    }
    let hook = "lifetime = \"30d\"\nhooks = [{ run = [\"touch\", \"$DIR/told\"] }]";
    parts.push(token("gps", Service::PointOne, hook));
    world.write(&parts);
    daemon.until_reload("the token was added", |reload| !reload.changes.is_empty()).await;
    daemon.steady("gps", 1).await;
    assert_eq!(world.read("told"), "");
}

#[tokio::test]
async fn tokens_that_wait_for_their_hooks_leave_their_places_to_others() {
    let world = World::new().await;
    let mut parts = vec![world.account(Service::Awx, "max-in-flight = 16")];
    // More than an account has places.
    parts.extend(hanging(Service::Awx, 80));
    parts.push(token("zz", Service::Awx, "rotate-every = \"30d\""));
    let daemon = world.start(&parts).await;
    daemon.steady("zz", 1).await;
    assert!(world.is_live(&world.stored("zz")));
}

#[tokio::test]
async fn no_more_than_64_tokens_of_an_account_are_dealt_with_at_once() {
    const PLACES: usize = 64;
    const MINT: Span = Span::seconds(2);
    let world = World::new().await;
    let mut parts = vec![world.account(Service::Awx, "max-in-flight = 100")];
    parts.extend((0..=PLACES).map(|number| token(&format!("a-{number:02}"), Service::Awx, "rotate-every = \"30d\"")));
    for _ in 0..=PLACES {
        world.loopback.faults().next(Service::Awx, Operation::Mint, Fault::Slow { by: MINT });
    }
    let daemon = world.start(&parts).await;
    let mut begun = Vec::new();
    world
        .until_requests("every token is minted", |all| {
            let mints = all.iter().filter(|request| request.operation == Some(Operation::Mint));
            begun = mints.map(|mint| mint.at).collect();
            begun.len() > PLACES
        })
        .await;
    assert!(begun[PLACES] - begun[0] >= MINT, "the last one began before any other was minted");
    daemon.stop().await;
}

#[tokio::test]
async fn a_call_for_a_day_of_patience_does_not_outlast_a_token() {
    let world = World::with(Options { awx_lifetime: Span::seconds(10), ..Options::default() }).await;
    let parts = [world.account(Service::Awx, ""), token("gps", Service::Awx, "")];
    let daemon = world.start(&parts).await;
    let old = daemon.steady("gps", 1).await.generation;
    let day = Fault::RateLimited { retry_after: Span::days(1), as_date: false };
    world.loopback.faults().next(Service::Awx, Operation::Mint, day);
    daemon.request("gps").await;
    let new = daemon.current("gps", 2).await;
    let expires = old.remote.expires.as_told().unwrap();
    assert!(new.minted_at < expires, "it was minted {} after the end", new.minted_at - expires);
    assert!(new.minted_at > old.minted_at + Span::seconds(5), "the provider was given time");
}

#[tokio::test]
async fn one_answer_ends_the_wait_of_every_token_of_the_account() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"";
    let parts = [world.account(Service::Awx, ""), token("a", Service::Awx, more), token("b", Service::Awx, more)];
    let daemon = world.start(&parts).await;
    daemon.steady("a", 1).await;
    daemon.steady("b", 1).await;
    let day = Fault::RateLimited { retry_after: Span::days(1), as_date: false };
    world.loopback.faults().next(Service::Awx, Operation::Mint, day);
    daemon.request("a").await;
    daemon.failure("a").await;
    daemon.request("b").await;
    daemon.failure("b").await;
    // The mint that was refused had the number 2.
    assert_eq!(grant(&daemon, "a", OperatorRequest::RotateNow, PATIENCE).await, Answer::Rotated(GenerationNo(3)));
    daemon.current("b", 3).await;
}

#[tokio::test]
async fn a_request_within_the_grace_waits_visibly_until_it_is_withdrawn_or_hurried() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"\ngrace = \"1h\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    let answer = grant(&daemon, "ci", OperatorRequest::Rotate, Duration::ZERO).await;
    assert!(matches!(answer, Answer::Waiting(_)), "{answer:?}");
    daemon.until("ci", "the request is told", |view| view.state.requested.is_some() && view.rest.is_some()).await;
    let waits = daemon.running.core.waits_for(&name_of("ci")).unwrap();
    assert!(waits.interim && waits.detail.contains("until 20"), "{waits:?}");
    let withdraw = async || {
        let withdrawn = daemon.running.core.cancel(&name_of("ci")).await;
        daemon.wake("ci");
        withdrawn
    };
    assert_eq!(withdraw().await, Ok(()));
    daemon.until("ci", "the request is gone", |view| view.state.requested.is_none() && view.rest.is_some()).await;
    assert!(withdraw().await.unwrap_err().contains("no requested rotation"));
    assert_eq!(grant(&daemon, "ci", OperatorRequest::RotateNow, PATIENCE).await, Answer::Rotated(GenerationNo(3)));
    assert_eq!(world.live(Service::Awx).len(), 3, "the older ones end after their grace");
}

#[tokio::test]
async fn who_asks_while_a_lost_mint_is_looked_for_is_told_what_comes_of_the_request() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "settle = \"2s\"\n");
    let daemon = world.start(&[account, token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    world.loopback.faults().next(Service::Awx, Operation::Mint, Fault::LoseRequest);
    daemon.request("ci").await;
    daemon.until("ci", "it is looked for", |view| matches!(view.state.phase, Phase::Searching { .. })).await;
    let answer = daemon.rotate("ci").await;
    assert!(matches!(answer, Answer::Rotated(GenerationNo(3))), "{answer:?}");
}

#[tokio::test]
async fn a_consumer_that_touches_its_file_is_not_told_of_that_for_ever() {
    let world = World::new().await;
    let touches = "echo ran >> $DIR/hooks; echo >> $DIR/stores/ci";
    let changes = "echo ran >> $DIR/others; echo other > $DIR/stores/other";
    let more = |script: &str| {
        format!("rotate-every = \"30d\"\ndrift-every = \"200ms\"\nhooks = [{{ run = [\"sh\", \"-c\", \"{script}\"] }}]")
    };
    let parts = [
        world.account(Service::Awx, ""),
        token("ci", Service::Awx, &more(touches)),
        token("other", Service::Awx, &more(changes)),
    ];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.steady("other", 1).await;
    // Fifteen inspections.
    sit_out(now() + Span::seconds(3)).await;
    assert_eq!(world.read("hooks").lines().count(), 1, "a line end is no other value");
    let told = world.read("others").lines().count();
    assert!((2..=6).contains(&told), "it was told {told} times in fifteen inspections");
}

#[tokio::test]
async fn a_directory_that_is_made_anew_gets_its_store_back_at_once() {
    let world = World::new().await;
    let hook = "rotate-every = \"30d\"\nhooks = [{ run = [\"sh\", \"-c\", \"echo ran >> $DIR/hooks\"] }]";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, hook)]).await;
    daemon.steady("ci", 1).await;
    let stored = world.stored("ci");
    for turn in ["in one go", "after a while"] {
        fs::remove_dir_all(world.path("stores")).unwrap();
        if turn == "after a while" {
            daemon.until("ci", "it is told as owed", |view| view.state.owes_store()).await;
        }
        fs::create_dir(world.path("stores")).unwrap();
        let is_back = |_: &_| fs::read_to_string(world.path("stores/ci")).is_ok_and(|found| found == stored);
        daemon.until("ci", turn, is_back).await;
        daemon.steady("ci", 1).await;
    }
    assert!(world.read("hooks").lines().count() >= 2, "consumers may have seen it gone");
}
