//! What people are told where nothing, or something else, is the matter: no trouble that never ends, no remedy that leads
//! astray, nothing alive that no command shows.

use std::fs;

use patrold::clock::Span;
use patrold::daemon::rotate::{Answer, OperatorRequest};
use patrold::demo::{Fault, Options, Service};
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Expiry;
use patrold::provider::Operation::{List, Mint};
use patrold::report::outlook::NextAction;
use patrold::report::status::{Condition, TokenStatus};
use patrold::rotation::Phase;
use patrold::rotation::act::operator::Offer;
use patrold::secret::SecretParts;
use serde_json::Value;

use super::night::Seen;
use super::operator::run;
use super::world::{Daemon, PATIENCE, World, name_of, now, token};

const MONTHLY: &str = "rotate-every = \"30d\"";

async fn steady(account: &str, more: &str) -> (World, Daemon) {
    let world = World::new().await;
    let daemon = world.start(&[world.account(Service::Awx, account), token("ci", Service::Awx, more)]).await;
    daemon.steady("ci", 1).await;
    (world, daemon)
}

fn status_of(daemon: &Daemon, name: &str) -> TokenStatus {
    daemon.running.status().tokens.into_iter().find(|token| token.name == name_of(name)).unwrap()
}

async fn adopt(daemon: &Daemon, name: &str, secret: SecretParts, id: Option<u64>) -> Answer {
    let id = id.map(|id| id.to_string().parse().unwrap());
    let asked = OperatorRequest::Adopt(Box::new(Offer { secret, id, expires: None }));
    let (core, waker) = (&daemon.running.core, &daemon.running.waker);
    core.execute(Some(waker), &name_of(name), asked, PATIENCE).await.answer
}

/// Nothing is the matter any more, and nothing is said to be tried again.
async fn all_is_well(daemon: &Daemon, sentence: &str) {
    daemon.until("ci", sentence, |view| view.rest.is_some() && matches!(view.state.phase, Phase::Steady { .. })).await;
    let status = status_of(daemon, "ci");
    assert_eq!(status.condition, Condition::Fine, "{sentence}: {status:#?}");
    assert_eq!((status.failures, status.next_attempt), (0, None), "{sentence}: {status:#?}");
    let seen = Seen::look(daemon, "ci");
    assert!(seen.ready.starts_with("ready\n") && !seen.token.contains("next attempt"), "{sentence}: {}", seen.token);
}

#[tokio::test]
async fn a_secret_that_was_brought_in_vain_is_told_as_what_it_is_and_is_no_lasting_trouble() {
    let (world, daemon) = steady("", MONTHLY).await;
    let stored = world.stored("ci");
    let brought = world.loopback.issue(Service::Awx, "by hand", Span::days(9));
    world.loopback.ledger().revoke(Service::Awx, world.id_of(brought.token().expose()), now());
    let answer = adopt(&daemon, "ci", brought, None).await;
    let told = FailureCode::SecretRefused.sentence();
    assert!(matches!(&answer, Answer::Failed(why) if why.starts_with(told)), "{answer:?}");
    all_is_well(&daemon, "a secret that was brought in vain").await;
    assert_eq!(world.stored("ci"), stored);
    let token = Seen::look(&daemon, "ci").token;
    assert!(token.contains(told) && !token.contains(FailureCode::Unauthorized.remedy()), "{token}");
}

#[tokio::test]
async fn a_request_that_failed_and_was_withdrawn_is_over() {
    let (world, daemon) = steady("", MONTHLY).await;
    for _ in 0..64 {
        world.loopback.faults().next(Service::Awx, Mint, Fault::Refused);
    }
    daemon.request("ci").await;
    daemon.failure("ci").await;
    assert_eq!(status_of(&daemon, "ci").condition, Condition::Failing);
    daemon
        .until("ci", "it waits for its next attempt", |view| {
            view.rest.is_some() && matches!(view.state.phase, Phase::Steady { .. })
        })
        .await;
    assert_eq!(daemon.running.core.cancel(&name_of("ci")).await, Ok(()));
    daemon.wake("ci");
    daemon.until("ci", "it is withdrawn", |view| view.rest.is_some() && view.state.requested.is_none()).await;
    all_is_well(&daemon, "a request that was withdrawn").await;
}

#[tokio::test]
async fn a_token_that_left_has_a_row_in_the_audit_until_a_command_ends_it() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "");
    let daemon = world.start(&[account.clone(), token("ci", Service::Awx, MONTHLY)]).await;
    daemon.steady("ci", 1).await;
    let old = world.stored("ci");
    // It was renamed: another one takes its place and its store.
    world.write(&[account, token("ci", Service::Awx, MONTHLY).replace("name = \"ci\"", "name = \"builds\"")]);
    daemon.until_reload("it was renamed", |reload| reload.changes.len() == 2).await;
    daemon.steady("builds", 1).await;
    assert!(world.is_live(&old) && world.is_live(&world.stored("ci")));
    let audit = async || {
        let output = run(&world, &["audit", "--json"], "").await;
        let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = audit["accounts"][0]["findings"].as_array().unwrap().clone();
        findings.into_iter().filter(|it| it["left"] == true).map(|it| it["token"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(audit().await, ["ci"]);
    let table = String::from_utf8(run(&world, &["audit"], "").await.stdout).unwrap();
    assert!(table.contains("left the inventory: `patrold retire NAME --revoke` ends it"), "{table}");
    let retired = run(&world, &["retire", "ci", "--revoke", "--now"], "").await;
    assert!(retired.status.success() && !world.is_live(&old), "{retired:?}");
    assert_eq!(audit().await, [""; 0]);
    assert!(world.is_live(&world.stored("ci")), "its successor's store is as it was");
}

#[tokio::test]
async fn a_renewal_that_comes_before_the_revocation_is_what_comes_next() {
    let options = Options { commvault_access_lifetime: Span::seconds(300), ..Options::default() };
    let world = World::with(options).await;
    let more = "rotate-every = \"30d\"\ngrace = \"1h\"";
    let parts = [world.account(Service::Commvault, ""), token("ci", Service::Commvault, more)];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    daemon.until("ci", "it rests", |view| view.rest.is_some() && view.state.phase.retiring().is_some()).await;
    let next = status_of(&daemon, "ci").next;
    assert_eq!((next.action, next.hold), (NextAction::Renew, None), "{}", next.why);
    assert!(next.at.is_some_and(|at| at < now() + Span::minutes(5)), "{:?}", next.at);
    daemon.stop().await;
    let plan = run(&world, &["plan", "--json"], "").await;
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["tokens"][0]["action"], "renew", "{plan:#}");
}

#[tokio::test]
async fn the_end_of_what_replaces_a_watched_token_is_known_at_once() {
    let world = World::new().await;
    fs::create_dir(world.path("definitions")).unwrap();
    let watched = "[provider]\nname = \"watched\"\nextends = \"awx\"\nwithout = [\"mint\"]\n";
    fs::write(world.path("definitions/watched.toml"), watched).unwrap();
    let first = world.loopback.issue(Service::Awx, "by hand", Span::days(9));
    fs::write(world.path("first"), first.token().expose()).unwrap();
    let id = world.id_of(first.token().expose());
    // Nobody polls again within this test.
    let account = world.account(Service::Awx, "poll-every = \"1d\"").replace("= \"awx\"", "= \"watched\"");
    let more = format!("initial = {{ file = \"$DIR/first\", id = \"{id}\" }}");
    let parts = [account, token("ci", Service::Awx, &more)];
    let daemon = world.start_with("providers = \"$DIR/definitions\"", &parts).await;
    daemon.steady("ci", 0).await;
    let second = world.loopback.issue(Service::Awx, "by hand", Span::days(90));
    let id = world.id_of(second.token().expose());
    assert_eq!(adopt(&daemon, "ci", second, Some(id)).await, Answer::Rotated(GenerationNo(1)));
    let known = |view: &patrold::daemon::registry::View| {
        let current = view.state.phase.current();
        current.is_some_and(|it| matches!(it.generation.remote.expires, Expiry::At(_)) && it.replacement.is_none())
    };
    daemon.until("ci", "its end is known without a wait", known).await;
    assert_eq!(status_of(&daemon, "ci").condition, Condition::Fine);
}

#[tokio::test]
async fn an_answer_from_the_wrong_place_names_what_was_asked_for_and_where_it_leads() {
    let (world, daemon) = steady("", MONTHLY).await;
    let elsewhere = "https://sso.example.com/login?state=of-somebody".to_owned();
    for (sentence, fault, told, remedy) in [
        (
            "a redirect",
            Fault::Redirect { to: elsewhere },
            "GET /api/v2/tokens/ leads to https://sso.example.com/login",
            FailureCode::Redirect.remedy(),
        ),
        ("a path that is not there", Fault::NotFound, "GET /api/v2/tokens/", FailureCode::NotFound.remedy()),
    ] {
        world.loopback.faults().next(Service::Awx, List, fault);
        let audit = daemon.running.core.audit(None, &[], None).await;
        let why = audit.accounts[0].failure.clone().unwrap_or_default();
        assert!(why.contains(told) && !why.contains("of-somebody"), "{sentence}: {why}");
        assert!(remedy.contains("`url` of the account"), "{sentence}: {remedy}");
    }
    let shown = run(&world, &["provider", "show", "awx"], "").await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("aap-gateway"), "{shown}");
}

/// AWX as if nothing could be listed there.
const BLIND: &str = "[provider]\nname = \"blind\"\nextends = \"awx\"\nwithout = [\"list\"]\n";

#[tokio::test]
async fn of_a_lost_mint_nobody_is_told_an_end_that_is_only_the_end_of_a_memory() {
    let world = World::new().await;
    fs::create_dir(world.path("definitions")).unwrap();
    fs::write(world.path("definitions/blind.toml"), BLIND).unwrap();
    let account = world.account(Service::Awx, "").replace("provider = \"awx\"", "provider = \"blind\"");
    world.loopback.faults().next(Service::Awx, Mint, Fault::LoseAnswer);
    let parts = [account, token("ci", Service::Awx, MONTHLY)];
    let daemon = world.start_with("providers = \"$DIR/definitions\"", &parts).await;
    daemon.current("ci", 1).await;
    daemon.until("ci", "the lost one is remembered", |view| !view.state.orphans.is_empty()).await;
    let (core, waker) = (&daemon.running.core, &daemon.running.waker);
    let result = core.execute(Some(waker), &name_of("ci"), OperatorRequest::Replace, PATIENCE).await;
    let lost: Vec<_> = result.left.iter().filter(|line| line.contains("whose mint was never answered")).collect();
    assert!(lost.len() == 1 && lost[0].ends_with("its expiry is unknown"), "{result:?}");
    let seen = Seen::look(&daemon, "ci");
    assert!(seen.token.contains("the answer to its mint was lost; expiry unknown"), "{}", seen.token);
}

/// On a real AWX: a token that its own account authenticates with died while a mint was in doubt, and nothing helped.
#[tokio::test]
async fn an_account_whose_own_token_died_during_a_lost_mint_has_a_way_out() {
    let world = World::new().await;
    let first = world.loopback.issue(Service::Awx, "admin by hand", Span::days(90));
    fs::write(world.path("first"), first.token().expose()).unwrap();
    let id = world.id_of(first.token().expose());
    let parts = [
        world.account(Service::Awx, "credential = { token = \"admin\" }\npoll-every = \"200ms\""),
        token("admin", Service::Awx, &format!("{MONTHLY}\ninitial = {{ file = \"$DIR/first\", id = \"{id}\" }}")),
        token("ci", Service::Awx, MONTHLY),
    ];
    let daemon = world.start(&parts).await;
    daemon.steady("admin", 0).await;
    daemon.steady("ci", 1).await;
    // The answer to the mint is lost, and the credential dies before anybody can look for what it made.
    for _ in 0..4 {
        world.loopback.faults().next(Service::Awx, List, Fault::LoseRequest);
    }
    world.loopback.faults().next(Service::Awx, Mint, Fault::LoseAnswer);
    daemon.request("admin").await;
    daemon.until("admin", "its mint is in doubt", |view| matches!(view.state.phase, Phase::Searching { .. })).await;
    assert!(world.loopback.ledger().revoke(Service::Awx, id, now()));
    daemon
        .until("admin", "the search is refused", |view| {
            view.state.retry.as_ref().is_some_and(|retry| retry.failure.code == FailureCode::Unauthorized)
        })
        .await;
    let seen = Seen::look(&daemon, "admin");
    assert!(seen.token.contains("docs/runbooks.md#an-accounts-credential-is-dead"), "{}", seen.token);

    let brought = world.loopback.issue(Service::Awx, "admin by hand, again", Span::days(90));
    let brought_id = world.id_of(brought.token().expose());
    let answer = adopt(&daemon, "admin", brought.clone(), Some(brought_id)).await;
    assert!(matches!(answer, Answer::Rotated(_)), "{answer:?}");
    assert_eq!(world.stored("admin"), brought.token().expose());
    daemon.until("admin", "what was lost is found and ended", |view| view.state.orphans.is_empty()).await;
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)), "the account works again");
    daemon.steady("ci", 2).await;
    assert_eq!(world.live(Service::Awx), [world.id_of(&world.stored("ci"))], "and nothing else is left");
}
