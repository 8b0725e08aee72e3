//! Tokens that are renewed in place, and that their provider cannot mint: what is asked of them is asked of renewals.

use std::fs;

use patrold::clock::Span;
use patrold::daemon::rotate::{Answer, OperatorRequest};
use patrold::demo::{Fault, Options, RequestRecord, Service};
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{Mint, Renew, Verify};
use patrold::report::status::Condition;
use patrold::rotation::state::Current;

use super::world::{Daemon, PATIENCE, World, name_of, now, sit_out, token};

/// Commvault as if it had no way to mint.
const RENEWING: &str = "[provider]\nname = \"renewing\"\nextends = \"commvault\"\nwithout = [\"mint\"]\n";

/// The same, as if the old secret worked on.
const OVERLAPPING: &str = "[provider]\nname = \"overlapping\"\nextends = \"renewing\"\n[renew]\noverlap = true\n";

async fn world(access: Span) -> World {
    let options = Options {
        commvault_access_lifetime: access,
        commvault_refresh_lifetime: Span::seconds(300),
        ..Options::default()
    };
    let world = World::with(options).await;
    fs::create_dir(world.path("definitions")).unwrap();
    fs::write(world.path("definitions/renewing.toml"), RENEWING).unwrap();
    fs::write(world.path("definitions/overlapping.toml"), OVERLAPPING).unwrap();
    world
}

/// An account called `login` of a definition that only renews, and its token `pair`, of which is known when it ends.
fn known(world: &World, provider: &str, more: &str) -> [String; 2] {
    let expires = (now() + Span::seconds(300)).to_rfc3339();
    pair(world, provider, more)
        .map(|text| text.replace("initial = { ", &format!("initial = {{ expires = \"{expires}\", ")))
}

/// The same, of which nobody knows it.
fn pair(world: &World, provider: &str, more: &str) -> [String; 2] {
    let url = world.loopback.url(Service::Commvault).as_str().trim_end_matches('/').to_owned();
    let account = format!(
        "[account.login]\nprovider = \"{provider}\"\nurl = \"{url}\"\ncredential = {{ file = \"$DIR/commvault\" }}\n\
         params = {{ user_id = 2 }}\npoll-every = \"10m\"\nsettle = \"100ms\""
    );
    let token = format!(
        "[[token]]\nname = \"pair\"\naccount = \"login\"\n\
         initial = {{ file = \"$DIR/access\", parts = {{ refresh_token = {{ file = \"$DIR/refresh\" }} }} }}\n\
         stores = [{{ kind = \"file\", path = \"$DIR/stores/pair\" }}]\n{more}"
    );
    [account, token]
}

/// Somebody logs in: a pair that lives so long lies where the inventory says. Gives the access token.
fn log_in(world: &World, lifetime: Span) -> String {
    let parts = world.loopback.issue(Service::Commvault, "by hand", lifetime);
    let refresh = parts.part("refresh_token").expect("pairs can be renewed");
    fs::write(world.path("refresh"), refresh.expose()).unwrap();
    fs::write(world.path("access"), parts.token().expose()).unwrap();
    parts.token().expose().to_owned()
}

async fn renewed(daemon: &Daemon, token: &str, revision: u32) -> Current {
    let what = format!("renewal {revision} is with the consumers");
    let view = daemon.until(token, &what, |view| {
        view.state.phase.current().is_some_and(|current| {
            let served = current.delivery.settled.is_some() && !view.state.phase.renews();
            served && view.rest.is_some() && current.generation.revision >= revision
        })
    });
    view.await.state.phase.current().unwrap().clone()
}

async fn replace(daemon: &Daemon, token: &str) -> (Answer, Vec<String>) {
    let core = &daemon.running.core;
    let result = core.execute(Some(&daemon.running.waker), &name_of(token), OperatorRequest::Replace, PATIENCE).await;
    (result.answer, result.left)
}

#[tokio::test]
async fn a_token_that_only_renews_is_renewed_when_somebody_asks() {
    let world = world(Span::seconds(300)).await;
    let first = log_in(&world, Span::seconds(300));
    let daemon = world.start_with("providers = \"$DIR/definitions\"", &known(&world, "renewing", "")).await;
    daemon.steady("pair", 0).await;
    assert_eq!(world.stored("pair"), first, "nothing is due");

    assert_eq!(daemon.rotate("pair").await, Answer::Renewed(GenerationNo(0)));
    let second = world.stored("pair");
    assert!(world.is_live(&second) && !world.is_live(&first));
    assert_eq!(daemon.view("pair").state.requested, None);

    // The provider ends the old secret with the renewal, so that nobody else has a good one afterwards.
    assert_eq!(replace(&daemon, "pair").await, (Answer::Renewed(GenerationNo(0)), vec![]));
    assert!(world.is_live(&world.stored("pair")) && !world.is_live(&second));
    daemon.stop().await;

    // What was adopted is not taken for something new: presenting it again would end them all.
    let daemon = world.resume().await;
    let current = renewed(&daemon, "pair", 2).await;
    assert_eq!((current.generation.number, current.generation.revision), (GenerationNo(0), 2));
    assert_eq!(world.loopback.ledger().counters(Service::Commvault).chains_invalidated, 0);
    let changes = world.changes(Service::Commvault, 0);
    assert_eq!(changes.iter().filter(|it| **it == Renew).count(), 2, "{changes:?}");
    assert!(!changes.contains(&Mint), "{changes:?}");
}

#[tokio::test]
async fn a_leaked_token_is_not_renewed_where_its_old_secret_would_work_on() {
    let world = world(Span::seconds(300)).await;
    log_in(&world, Span::seconds(300));
    let daemon = world.start_with("providers = \"$DIR/definitions\"", &known(&world, "overlapping", "")).await;
    daemon.steady("pair", 0).await;
    let (answer, _) = replace(&daemon, "pair").await;
    assert!(matches!(&answer, Answer::Refused(why) if why.contains("works on after that")), "{answer:?}");
    assert!(!world.changes(Service::Commvault, 0).contains(&Renew));
    assert_eq!(daemon.rotate("pair").await, Answer::Renewed(GenerationNo(0)));
}

#[tokio::test]
async fn a_renewal_whose_answer_is_lost_fails_whoever_asked_and_is_not_asked_for_again() {
    let world = world(Span::seconds(300)).await;
    log_in(&world, Span::seconds(300));
    let daemon = world.start_with("providers = \"$DIR/definitions\"", &known(&world, "renewing", "")).await;
    daemon.steady("pair", 0).await;
    world.loopback.faults().next(Service::Commvault, Renew, Fault::LoseAnswer);
    assert!(matches!(daemon.rotate("pair").await, Answer::Failed(_)));
    let refused = daemon.rotate("pair").await;
    assert!(matches!(&refused, Answer::Refused(why) if why.contains("cannot be renewed any more")), "{refused:?}");
    let current = daemon.view("pair").state.phase.current().unwrap().clone();
    assert!(current.replacement.is_some() && current.renewal_spent, "{current:?}");
    assert_eq!(world.loopback.ledger().counters(Service::Commvault).chains_invalidated, 0);

    // Half of a new pair is no pair: what was renewed is over.
    log_in(&world, Span::seconds(300));
    daemon.steady("pair", 1).await;
    assert!(world.is_live(&world.stored("pair")));
    assert_eq!(daemon.running.status().tokens[0].condition, Condition::Fine, "what failed before is over");
    assert_eq!(daemon.rotate("pair").await, Answer::Renewed(GenerationNo(1)));
    let renewed = world.stored("pair");
    let third = world.loopback.issue(Service::Commvault, "by hand", Span::seconds(300));
    fs::write(world.path("access"), third.token().expose()).unwrap();
    let told = daemon.until("pair", "the old refresh token is not taken", |view| {
        view.state.last_failure.as_ref().is_some_and(|noted| noted.failure.code == FailureCode::WrongSubject)
    });
    told.await;
    assert_eq!(world.stored("pair"), renewed);
}

#[tokio::test]
async fn a_renewal_that_failed_once_is_no_lasting_trouble() {
    let world = world(Span::seconds(300)).await;
    log_in(&world, Span::seconds(300));
    let daemon = world.start_with("providers = \"$DIR/definitions\"", &known(&world, "renewing", "")).await;
    daemon.steady("pair", 0).await;
    let later = Fault::RateLimited { retry_after: Span::seconds(1), as_date: false };
    world.loopback.faults().next(Service::Commvault, Renew, later);
    assert!(matches!(daemon.rotate("pair").await, Answer::Failed(_)));
    renewed(&daemon, "pair", 1).await;
    let status = daemon.running.status().tokens.remove(0);
    assert_eq!((status.condition, status.failures, status.last_error), (Condition::Fine, 0, None));
}

#[tokio::test]
async fn a_token_that_only_renews_is_renewed_by_age() {
    let world = world(Span::seconds(300)).await;
    log_in(&world, Span::seconds(300));
    let parts = known(&world, "renewing", "rotate-every = \"1s\"\njitter = \"0s\"");
    let daemon = world.start_with("providers = \"$DIR/definitions\"", &parts).await;
    let current = renewed(&daemon, "pair", 2).await;
    assert_eq!(current.generation.number, GenerationNo(0));
    assert!(current.generation.issued_at - current.generation.minted_at >= Span::seconds(2), "{current:?}");
}

#[tokio::test]
async fn an_account_lives_on_a_pair_whose_access_token_was_dead_before_the_start() {
    let world = world(Span::seconds(4)).await;
    let dead = log_in(&world, Span::seconds(1));
    sit_out(now() + Span::milliseconds(1100)).await;
    assert!(!world.is_live(&dead));
    let [login, root] = pair(&world, "renewing", "");
    let own = world.account(Service::Commvault, "credential = { token = \"pair\" }\npoll-every = \"200ms\"");
    let backup = token("backup", Service::Commvault, "rotate-every = \"1h\"");
    let parts = [login, root, own, backup];
    let daemon = world.start_with("providers = \"$DIR/definitions\"", &parts).await;

    daemon.current("backup", 1).await;
    renewed(&daemon, "pair", 3).await;
    assert_eq!(daemon.rotate("backup").await, Answer::Rotated(GenerationNo(2)));
    daemon.stop().await;

    // Long enough for the access token to die in its sleep; what renews it does not.
    let asleep = world.stored("pair");
    sit_out(now() + Span::milliseconds(4100)).await;
    assert!(!world.is_live(&asleep));
    let daemon = world.resume().await;
    daemon.until("backup", "it rests", |view| view.rest.is_some()).await;
    assert_eq!(daemon.rotate("backup").await, Answer::Rotated(GenerationNo(3)));
    assert!(world.is_live(&world.stored("backup")) && world.is_live(&world.stored("pair")));
    daemon.stop().await;

    assert_eq!(world.loopback.ledger().counters(Service::Commvault).chains_invalidated, 0);
    // To prove that something is dead is to be refused.
    let refused = |it: &RequestRecord| it.status == Some(401) && it.operation != Some(Verify);
    let requests = world.requests(Service::Commvault, 0);
    assert!(!requests.iter().any(refused), "nobody uses the dead one: {requests:#?}");
}
