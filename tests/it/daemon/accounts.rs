//! Accounts in trouble, accounts that authenticate with managed tokens, and tokens that somebody else deletes.

use std::fs;

use patrold::clock::Span;
use patrold::daemon::rotate::Answer;
use patrold::demo::{Fault, Options, RequestRecord, Service};
use patrold::endpoint::EndpointState;
use patrold::journal::key::KeySource;
use patrold::journal::sqlite::SqliteJournal;
use patrold::journal::{Change, Draft};
use patrold::names::{AccountName, GenerationNo};
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{List, Mint, Revoke, Verify};
use patrold::rotation::Phase;
use patrold::rotation::generation::Retry;
use patrold::rotation::reason::Reason;
use patrold::rotation::state::Orphan;
use patrold::rotation::stored::restore;

use super::world::{Daemon, World, bare, name_of, now, token};

fn account_state(daemon: &Daemon, account: &str) -> EndpointState {
    let name: AccountName = account.parse().unwrap();
    let member = daemon.running.core.accounts.get(&name).unwrap();
    member.client().unwrap().endpoint().health().state
}

#[tokio::test]
async fn a_dead_credential_degrades_its_account_until_its_file_changes() {
    let world = World::new().await;
    fs::write(world.path("awx"), "no such secret").unwrap();
    let parts = [
        world.account(Service::Awx, ""),
        world.account(Service::Commvault, ""),
        token("ci", Service::Awx, "rotate-every = \"30d\""),
        token("backup", Service::Commvault, "rotate-every = \"30d\""),
    ];
    let daemon = world.start(&parts).await;
    assert_eq!(daemon.failure("ci").await.code, FailureCode::Unauthorized);
    assert!(matches!(account_state(&daemon, "awx"), EndpointState::Degraded { .. }));
    daemon.steady("backup", 1).await;
    assert_eq!(account_state(&daemon, "commvault"), EndpointState::Fine, "no other account suffers");
    fs::write(world.path("awx"), world.loopback.admin_secret(Service::Awx).expose()).unwrap();
    daemon.until("ci", "it is issued", |view| matches!(view.state.phase, Phase::Steady { .. })).await;
    assert_eq!(account_state(&daemon, "awx"), EndpointState::Fine);
}

#[tokio::test]
async fn a_401_for_a_valid_credential_is_got_over() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    world.loopback.faults().next(Service::Awx, Revoke, Fault::Unauthorized);
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    assert_eq!(daemon.failure("ci").await.code, FailureCode::Unauthorized);
    assert!(matches!(account_state(&daemon, "awx"), EndpointState::Degraded { .. }));
    daemon.steady("ci", 2).await;
    assert_eq!(world.live(Service::Awx).len(), 1);
}

#[tokio::test]
async fn nothing_is_asked_of_a_provider_that_wants_patience() {
    for as_date in [false, true] {
        let world = World::new().await;
        let parts = [
            world.account(Service::Awx, "poll-every = \"200ms\""),
            token("ci", Service::Awx, "rotate-every = \"30d\""),
            token("cd", Service::Awx, "rotate-every = \"30d\""),
        ];
        let daemon = world.start(&parts).await;
        daemon.steady("ci", 1).await;
        daemon.steady("cd", 1).await;
        // The date of a header has whole seconds.
        let wait = if as_date { Span::seconds(3) } else { Span::seconds(2) };
        let fault = Fault::RateLimited { retry_after: wait, as_date };
        world.loopback.faults().next(Service::Awx, List, fault);
        world.until_requests("the 429", |requests| requests.iter().any(|it| it.status == Some(429))).await;
        let blocked = world.loopback.requests().iter().position(|it| it.status == Some(429)).unwrap();
        daemon.request("ci").await;
        daemon.request("cd").await;
        daemon.current("ci", 2).await;
        daemon.current("cd", 2).await;
        let requests = world.loopback.requests();
        let free = requests[blocked].at + wait - if as_date { Span::seconds(1) } else { Span::zero() };
        let early: Vec<_> = requests[blocked + 1..].iter().filter(|it| it.at < free).collect();
        // Requests that were under way when the answer came are nobody's fault.
        assert!(early.len() <= 1, "{early:#?}");
    }
}

#[tokio::test]
async fn tokens_wait_for_the_token_that_their_account_authenticates_with() {
    let world = World::new().await;
    let secret = world.loopback.issue(Service::PointOne, "admin", Span::days(9));
    let parts = [
        world.account(Service::PointOne, "credential = { token = \"admin\" }"),
        bare("admin", Service::PointOne, "lifetime = \"90d\"\ninitial = { file = \"$DIR/first\" }"),
        token("gps", Service::PointOne, "lifetime = \"30d\""),
    ];
    // The initial secret is not there yet: nothing can authenticate.
    let daemon = world.start(&parts).await;
    daemon
        .until("gps", "it waits", |view| view.rest.is_some_and(|rest| rest.reason == Reason::CredentialMissing))
        .await;
    assert_eq!(daemon.failure("admin").await.code, FailureCode::NoCredential);
    assert_eq!(world.count(), 0, "nobody asks for what cannot be had");
    fs::write(world.path("first"), secret.token().expose()).unwrap();
    daemon.steady("gps", 1).await;
    let failed = world.loopback.ledger().counters(Service::PointOne).turned_away;
    assert_eq!(failed, 0);
}

#[tokio::test]
async fn the_rotation_of_a_credential_fails_no_request_of_its_account() {
    let options = Options { point_one_day: Span::milliseconds(100), ..Options::default() };
    let world = World::with(options).await;
    let secret = world.loopback.issue(Service::PointOne, "admin", Span::seconds(20));
    fs::write(world.path("first"), secret.token().expose()).unwrap();
    let mut parts = vec![
        world.account(
            Service::PointOne,
            "credential = { token = \"admin\" }\npoll-every = \"100ms\"\nmax-in-flight = 8",
        ),
        bare(
            "admin",
            Service::PointOne,
            "lifetime = \"20d\"\nrotate-every = \"1s\"\ninitial = { file = \"$DIR/first\" }",
        ),
    ];
    for number in 0..4 {
        parts.push(token(
            &format!("gps-{number}"),
            Service::PointOne,
            "lifetime = \"15d\"\nrotate-every = \"700ms\"\ngrace = \"100ms\"",
        ));
    }
    let daemon = world.start(&parts).await;
    daemon.current("admin", 4).await;
    daemon.current("gps-3", 4).await;
    daemon.stop().await;
    // The proof of an end presents a dead secret on purpose.
    let refused = world.requests(Service::PointOne, 0).into_iter().filter(|it| it.operation != Some(Verify));
    let refused: Vec<_> = refused.filter(|it| it.status.is_none_or(|status| status != 200)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let counters = world.loopback.ledger().counters(Service::PointOne);
    let proofs = counters.turned_away;
    assert!(proofs <= counters.revoked, "{proofs} requests were turned away, {} tokens revoked", counters.revoked);
}

#[tokio::test]
async fn an_account_that_begins_to_use_a_managed_token_gets_its_secret_at_once() {
    let world = World::new().await;
    let managed = token("admin", Service::PointOne, "lifetime = \"90d\"");
    let daemon = world.start(&[world.account(Service::PointOne, ""), managed.clone()]).await;
    daemon.steady("admin", 1).await;
    let second = world
        .account(Service::PointOne, "credential = { token = \"admin\" }")
        .replace("account.pointone", "account.second");
    let other =
        token("gps", Service::PointOne, "lifetime = \"30d\"").replace("account = \"pointone\"", "account = \"second\"");
    world.write(&[world.account(Service::PointOne, ""), second, managed, other]);
    daemon.until_reload("both are added", |reload| reload.changes.len() == 2).await;
    daemon.steady("gps", 1).await;
}

#[tokio::test]
async fn a_token_that_somebody_deletes_is_replaced_at_once_whatever_its_window_says() {
    let world = World::new().await;
    let more = "rotate-every = \"300d\"\nwindow = { cron = \"0 0 0 1 1 *\", duration = \"1h\", timezone = \"UTC\" }";
    let more = more.replace("300d", "400d");
    let parts = [world.account(Service::Awx, "poll-every = \"300ms\""), token("ci", Service::Awx, &more)];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let old = world.stored("ci");
    assert!(world.loopback.ledger().revoke(Service::Awx, world.id_of(&old), now()));
    let from = world.count();
    daemon.steady("ci", 2).await;
    assert!(world.is_live(&world.stored("ci")));
    let story = world.story(Service::Awx, from);
    assert_eq!(story[..4], [List, Verify, Mint, Verify], "listed, confirmed, replaced, proven");
}

#[tokio::test]
async fn without_a_revoke_operation_the_old_token_is_left_to_expire_and_stays_known() {
    let options = Options { point_one_day: Span::milliseconds(100), ..Options::default() };
    let world = World::with(options).await;
    let parts = [
        world.account(Service::PointOne, "poll-every = \"300ms\"\n# without revoke"),
        token("gps", Service::PointOne, "lifetime = \"40d\"\nrenew-before = \"5d\""),
    ];
    let daemon = world.start(&parts).await;
    let first = daemon.current("gps", 1).await;
    daemon
        .until("gps", "its real expiry is known", |view| {
            let current = view.state.phase.current().unwrap();
            current
                .generation
                .remote
                .expires
                .as_told()
                .is_some_and(|expires| expires < first.minted_at + Span::seconds(5))
        })
        .await;
    assert_eq!(daemon.rotate("gps").await, Answer::Rotated(GenerationNo(2)));
    let view = daemon.until("gps", "the first is left to expire", |view| !view.state.orphans.is_empty()).await;
    let [Orphan::Unrevocable { number, marker, until, .. }] = &view.state.orphans[..] else { panic!("{view:#?}") };
    assert_eq!((*number, marker), (GenerationNo(1), &first.marker));
    assert!(until.is_some_and(|until| until.as_told() < first.minted_at + Span::seconds(5)), "{until:?}");
    assert_eq!(world.live(Service::PointOne).len(), 2);
    daemon.until("gps", "the remnant is over", |view| view.state.orphans.is_empty()).await;
    assert!(!world.changes(Service::PointOne, 0).contains(&Revoke));
}

#[tokio::test]
async fn a_provider_that_does_not_answer_holds_up_nobody_else() {
    let world = World::new().await;
    let parts = [
        world.account(Service::Awx, "timeouts = { headers = \"20s\" }"),
        world.account(Service::PointOne, ""),
        token("ci", Service::Awx, "rotate-every = \"30d\""),
        token("gps", Service::PointOne, "lifetime = \"30d\""),
    ];
    world.loopback.faults().next(Service::Awx, Mint, Fault::Stall);
    let daemon = world.start(&parts).await;
    daemon.steady("gps", 1).await;
    assert_eq!(daemon.rotate("gps").await, Answer::Rotated(GenerationNo(2)));
    assert!(matches!(daemon.view("ci").state.phase, Phase::Intended { .. }));
}

#[tokio::test]
async fn one_listing_serves_all_tokens_of_an_account() {
    let world = World::new().await;
    let mut parts = vec![world.account(Service::Awx, "max-in-flight = 16")];
    parts.extend((0..50).map(|number| token(&format!("ci-{number}"), Service::Awx, "rotate-every = \"30d\"")));
    let daemon = world.start(&parts).await;
    for number in 0..50 {
        daemon.steady(&format!("ci-{number}"), 1).await;
    }
    let lists = world.requests(Service::Awx, 0).iter().filter(|it| it.operation == Some(List)).count();
    // A second one where the credential's file is so young that it may have changed since it was read.
    assert!((1..=2).contains(&lists), "{lists} listings for 50 tokens");
    daemon.running.waker.wake(vec![patrold::daemon::deadlines::Key::Poll("awx".parse().unwrap())]);
    world
        .until_requests("the second listing", |requests| {
            requests.iter().filter(|it| it.operation == Some(List) && it.status.is_some()).count() == lists + 1
        })
        .await;
}

#[tokio::test]
async fn a_changed_credential_ends_the_wait_of_a_token_that_was_refused() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"1h\"")];
    let good = fs::read(world.path("awx")).unwrap();
    fs::write(world.path("awx"), "not a credential").unwrap();
    let daemon = world.start(&parts).await;
    let refused = daemon.until("ci", "it was refused", |view| view.state.retry.is_some()).await.state.retry.clone();
    assert_eq!(refused.as_ref().unwrap().failure.code, FailureCode::Unauthorized);
    daemon.stop().await;
    // As after many attempts.
    postpone(&world, "ci", Retry { next: now() + Span::hours(1), ..refused.unwrap() }).await;
    let daemon = world.resume().await;
    let rests =
        daemon.until("ci", "it waits", |view| view.rest.as_ref().is_some_and(|rest| rest.until.is_some())).await;
    assert!(rests.rest.as_ref().unwrap().until.unwrap() > now() + Span::seconds(30), "{rests:?}");
    fs::write(world.path("awx"), good).unwrap();
    daemon.current("ci", 1).await;
}

/// Lets this be the next attempt of a token, in the journal of a daemon that is stopped. The credential's file is so young
/// that the daemon may have been about to try again.
async fn postpone(world: &World, name: &str, retry: Retry) {
    let (journal, opened) = SqliteJournal::open(&world.path("state"), &KeySource::StateDirectory, now()).unwrap();
    let token = name_of(name);
    let (_, stored) = opened.states.into_iter().find(|(known, _)| *known == token).unwrap();
    let mut state = restore(&stored).unwrap().state;
    state.retry = Some(retry);
    let state = Some(serde_json::to_string(&state).unwrap());
    let records = vec![Draft { kind: "postponed", body: "{}".to_owned() }];
    let change = Change { token, follows: stored.head, at: now(), records, state, secrets: Vec::new() };
    journal.revise(vec![change]).await.unwrap();
}

/// The parameter decides which listing a token is in.
const SIZED: &str = r#"
[provider]
name    = "sized"
extends = "awx"

[params.user_id]
default = 2

[params.size]
type    = "integer"
default = 100

[list]
query = { user = "{{ params.user_id }}", application__isnull = "true", page_size = "{{ params.size }}" }
"#;

#[tokio::test]
async fn a_listing_that_hangs_holds_up_no_other_listing_of_its_account() {
    let world = World::new().await;
    fs::create_dir(world.path("definitions")).unwrap();
    fs::write(world.path("definitions/sized.toml"), SIZED).unwrap();
    let account = world.account(Service::Awx, "timeouts = { headers = \"10m\" }");
    let parts = [
        account.replace("provider = \"awx\"", "provider = \"sized\""),
        token("ci", Service::Awx, "rotate-every = \"30d\""),
        token("cd", Service::Awx, "rotate-every = \"30d\"\nparams = { size = 50 }"),
    ];
    let daemon = world.start_with("providers = \"$DIR/definitions\"", &parts).await;
    daemon.steady("ci", 1).await;
    daemon.steady("cd", 1).await;
    daemon.stop().await;
    world.loopback.faults().next(Service::Awx, List, Fault::Stall);
    let from = world.count() as u64;
    let daemon = world.resume().await;
    let answered = |it: &RequestRecord| it.number >= from && it.operation == Some(List) && it.status == Some(200);
    world.until_requests("the other listing", |requests| requests.iter().any(answered)).await;
    assert_eq!(world.loopback.faults().pending(), 0, "one of them hangs");
    drop(daemon);
}
