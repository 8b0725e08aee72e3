//! Limits belong to an address and a credential: neither an edit of the inventory nor a restart forgets them.

use std::fs;

use patrold::clock::Span;
use patrold::demo::{Fault, Service};
use patrold::endpoint::{EndpointHealth, EndpointState};
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Operation::List;
use patrold::rotation::reason::Reason;

use super::world::{Daemon, World, now, token};

fn health(daemon: &Daemon, account: &str) -> EndpointHealth {
    let member = daemon.running.core.accounts.get(&account.parse().unwrap()).unwrap();
    member.client().unwrap().endpoint().health()
}

/// Edits something of the account that has nothing to do with its limits.
async fn edit(world: &World, daemon: &Daemon, parts: &[String]) {
    world.write(parts);
    daemon.until_reload("the edit", |reload| reload.changes.iter().any(|change| change.contains("timeouts"))).await;
}

#[tokio::test]
async fn a_provider_that_wants_patience_gets_it_across_edits_and_restarts() {
    let world = World::new().await;
    let ci = token("ci", Service::Awx, "rotate-every = \"30d\"");
    let parts = [world.account(Service::Awx, "poll-every = \"200ms\""), ci.clone()];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let fault = Fault::RateLimited { retry_after: Span::minutes(30), as_date: false };
    world.loopback.faults().next(Service::Awx, List, fault);
    world.until_requests("the 429", |requests| requests.iter().any(|it| it.status == Some(429))).await;
    daemon.request("ci").await;
    assert_eq!(daemon.failure("ci").await.code, FailureCode::RateLimited);
    let until = health(&daemon, "awx").blocked_until;
    assert!(until.is_some());
    let sent = world.count();

    edit(&world, &daemon, &[world.account(Service::Awx, "timeouts = { body = \"1m\" }"), ci]).await;
    assert_eq!(health(&daemon, "awx").blocked_until, until, "after an edit");
    daemon.stop().await;
    let daemon = world.resume().await;
    assert_eq!(health(&daemon, "awx").blocked_until, until, "after a restart");
    daemon.until("ci", "it waits", |view| view.rest.is_some()).await;
    assert_eq!(world.count(), sent, "something was sent");
}

#[tokio::test]
async fn a_refused_password_is_tried_once_whatever_is_edited_and_restarted() {
    let world = World::new().await;
    let backup = token("backup", Service::Commvault, "rotate-every = \"30d\"");
    let account = world.login_account("");
    fs::write(world.path("password"), "no such password").unwrap();
    let daemon = world.start(&[account, backup.clone()]).await;
    assert_eq!(daemon.failure("backup").await.code, FailureCode::Unauthorized);
    let sent = world.count();
    let account = world.login_account("timeouts = { body = \"1m\" }");
    fs::write(world.path("password"), "no such password").unwrap();
    edit(&world, &daemon, &[account, backup]).await;
    daemon.wake("backup");
    daemon.until("backup", "it waits", |view| view.rest.is_some()).await;
    assert_eq!(world.count(), sent, "tried again after an edit");
    daemon.stop().await;
    for restart in 1..4 {
        let daemon = world.resume().await;
        assert_eq!(daemon.failure("backup").await.code, FailureCode::Unauthorized);
        assert_eq!(world.count(), sent, "tried again after restart {restart}");
        assert!(matches!(health(&daemon, "commvault").state, EndpointState::Degraded { .. }), "and told so");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_rate_limit_counts_what_left_before_an_edit_and_a_restart() {
    let world = World::new().await;
    let limit = "rate-limit = { requests = 100, per = \"1h\" }\n";
    let ci = token("ci", Service::Awx, "rotate-every = \"30d\"");
    let daemon = world.start(&[world.account(Service::Awx, limit), ci.clone()]).await;
    daemon.steady("ci", 1).await;
    let left = health(&daemon, "awx").quota_left.unwrap();
    assert!(left < 98, "{left}");
    let edited = world.account(Service::Awx, &format!("{limit}timeouts = {{ body = \"1m\" }}\n"));
    edit(&world, &daemon, &[edited, ci]).await;
    assert!(health(&daemon, "awx").quota_left.unwrap() <= left, "after an edit");
    daemon.stop().await;
    let daemon = world.resume().await;
    assert!(health(&daemon, "awx").quota_left.unwrap() <= left, "after a restart");
}

#[tokio::test]
async fn a_wait_for_the_own_limit_begins_nothing_and_fails_nothing() {
    let world = World::new().await;
    let ci = token("ci", Service::Awx, "rotate-every = \"30d\"");
    let account = |requests: u32| {
        let limit = format!("poll-every = \"1d\"\nrate-limit = {{ requests = {requests}, per = \"1h\" }}");
        world.account(Service::Awx, &limit)
    };
    let daemon = world.start(&[account(20), ci.clone()]).await;
    daemon.steady("ci", 1).await;
    while health(&daemon, "awx").quota_left != Some(0) {
        daemon.running.core.poll(&"awx".parse().unwrap()).await;
    }
    let sent = world.count();
    daemon.request("ci").await;
    let limited = |view: &patrold::daemon::registry::View| view.rest.is_some_and(|it| it.reason == Reason::Limited);
    let waits = daemon.until("ci", "it waits for the limit", limited).await;
    // The rest may end earlier, for something else.
    let begins = |view: &patrold::daemon::registry::View| view.rest.unwrap().next.unwrap().1.at;
    let at = begins(&waits);
    assert!(at > now() + Span::minutes(30), "{at}");
    for _ in 0..3 {
        daemon.running.core.run_token(&"ci".parse().unwrap()).await;
    }
    let view = daemon.view("ci");
    assert_eq!(begins(&view), at, "it has one time, however often it is woken");
    assert_eq!((view.state.last_number, view.state.failed_rotations), (GenerationNo(1), 0), "something was begun");
    assert_eq!((&view.state.retry, &view.state.last_failure), (&None, &None), "something failed");
    assert_eq!(world.count(), sent);
    let status = serde_json::to_value(daemon.running.status()).unwrap();
    assert_eq!(status["tokens"][0]["next"]["hold"], "rate-limit", "{status:#}");

    world.write(&[account(1000), ci]);
    daemon.steady("ci", 2).await;
}
