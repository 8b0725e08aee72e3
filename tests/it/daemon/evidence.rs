//! Providers that answer wrongly: what consumers use is neither ended nor left behind because of one answer.

use patrold::daemon::rotate::Answer;
use patrold::demo::{Fault, RequestRecord, Service};
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{List, Mint, Revoke, Verify};
use patrold::report::status::Condition;
use patrold::rotation::Phase;

use super::night::Seen;
use super::operator;
use super::world::{Daemon, World, files, now, token};

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

/// What counts as an orphan, at any account.
fn orphans(daemon: &Daemon) -> Vec<String> {
    daemon.running.status().accounts.into_iter().flat_map(|account| account.orphans).collect()
}

/// Waits until AWX has answered `count` more listings.
async fn listed(world: &World, count: usize) {
    let from = world.count() as u64;
    let answered = |it: &&RequestRecord| it.operation == Some(List) && it.number >= from && it.status.is_some();
    world.until_requests("listings", |requests| requests.iter().filter(answered).count() >= count).await;
}

#[tokio::test]
async fn what_another_account_of_the_same_user_minted_is_no_orphan() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "poll-every = \"100ms\"");
    let parts = [
        account.replace("[account.awx", "[account.second"),
        account,
        token("ci", Service::Awx, "rotate-every = \"30d\""),
        token("cd", Service::Awx, "rotate-every = \"30d\"").replace("account = \"awx\"", "account = \"second\""),
    ];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.steady("cd", 1).await;
    listed(&world, 6).await;
    assert_eq!(orphans(&daemon), [""; 0]);
    // A control: what nobody minted is one, at each account that lists it.
    let marker = format!("patrold-{}-ci-g9-070707070707", daemon.running.core.machine.instance);
    world.loopback.issue(Service::Awx, &marker, patrold::clock::Span::days(9));
    listed(&world, 6).await;
    assert_eq!(orphans(&daemon), [marker.clone(), marker]);
}

#[tokio::test]
async fn a_failing_listing_makes_no_orphan_of_what_was_just_revoked() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ngrace = \"0s\"";
    let parts = [world.account(Service::Awx, "poll-every = \"100ms\""), token("ci", Service::Awx, more)];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    listed(&world, 2).await;
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    daemon.steady("ci", 2).await;
    for fault in [Fault::ServerError(500), Fault::LoseAnswer, Fault::HtmlOk] {
        world.loopback.faults().next(Service::Awx, List, fault);
    }
    world.until_requests("listings that fail", |_| world.loopback.faults().pending() == 0).await;
    assert_eq!(orphans(&daemon), [""; 0]);
    listed(&world, 2).await;
    assert_eq!(orphans(&daemon), [""; 0]);
}

#[tokio::test]
async fn an_older_journal_overwrites_nothing_that_works() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ngrace = \"0s\"\ndrift-every = \"1s\"";
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, more)];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.stop().await;
    let kept: Vec<_> = files(&world.path("state")).into_iter().map(|it| (std::fs::read(&it).unwrap(), it)).collect();
    let daemon = world.resume().await;
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    daemon.steady("ci", 2).await;
    daemon.stop().await;
    let newer = world.stored("ci");
    std::fs::remove_dir_all(world.path("state")).unwrap();
    std::fs::create_dir(world.path("state")).unwrap();
    for (content, path) in kept {
        std::fs::write(path, content).unwrap();
    }
    // Nobody can tell at first.
    for fault in [Fault::ServerError(500), Fault::LoseAnswer] {
        world.loopback.faults().next(Service::Awx, Verify, fault);
    }
    let from = world.count();
    let daemon = world.resume().await;
    assert_eq!(
        daemon
            .until("ci", "the store is newer", |view| {
                view.state.retry.as_ref().is_some_and(|retry| retry.failure.code == FailureCode::StoreNewer)
            })
            .await
            .state
            .phase
            .current()
            .unwrap()
            .generation
            .number,
        GenerationNo(1)
    );
    assert_eq!(world.loopback.faults().pending(), 0);
    assert!(world.stored("ci") == newer && world.is_live(&newer), "what works stays");
    assert!(!world.changes(Service::Awx, from).contains(&Mint), "and nothing is minted");
    let newer_code = FailureCode::StoreNewer;
    // Its consumers are served.
    Seen::look(&daemon, "ci").tells(Condition::Failing, true, newer_code.sentence(), newer_code.remedy());
    let adopted = operator::run(&world, &["adopt", "ci"], &newer).await;
    assert_eq!(adopted.status.code(), Some(0), "{}", String::from_utf8_lossy(&adopted.stderr));
    assert!(world.stored("ci") == newer && world.is_live(&newer));
    daemon.stop().await;
}

/// A service that puts words of its own around the names that it is given.
const DECORATES: &str = r#"
[provider]
name    = "decorates"
extends = "awx"

[params.user_id]
default = 2

[mint]
method = "POST"
url    = "{{ base_url }}/api/v2/tokens/"
json   = { description = "robot$library+{{ want.name }} (managed)", scope = "write" }
[mint.capture]
secret  = "/token"
id      = "/id"
expires = { at = "/expires", format = "rfc3339" }
"#;

#[tokio::test]
async fn a_lost_mint_is_found_under_the_name_that_a_service_makes_of_its_marker() {
    let world = World::new().await;
    std::fs::create_dir(world.path("definitions")).unwrap();
    std::fs::write(world.path("definitions/decorates.toml"), DECORATES).unwrap();
    let account = world.account(Service::Awx, "").replace("provider = \"awx\"", "provider = \"decorates\"");
    let parts = [account, token("ci", Service::Awx, "rotate-every = \"30d\"\ngrace = \"0s\"")];
    let daemon = world.start_with("providers = \"$DIR/definitions\"", &parts).await;
    daemon.steady("ci", 1).await;
    world.loopback.faults().next(Service::Awx, Mint, Fault::LoseAnswer);
    daemon.request("ci").await;
    daemon.steady("ci", 3).await;
    let live = world.loopback.ledger().live_tokens(Service::Awx, now());
    let live: Vec<_> = live.into_iter().filter(|entry| entry.name.contains("+patrold-")).collect();
    assert_eq!(live.iter().map(|entry| entry.id).collect::<Vec<_>>(), [world.id_of(&world.stored("ci"))], "{live:#?}");
    assert!(daemon.view("ci").state.orphans.is_empty());
}
