//! Troubles as an operator meets them: `status`, `status NAME` and `/readyz` name the cause and the remedy, and agree.

use std::fs;
use std::iter::empty;

use patrold::demo::{Fault, Service};
use patrold::outcome::FailureCode;
use patrold::provider::Operation;
use patrold::report::status::{AccountCondition, Condition};
use patrold::rotation::Phase;
use patrold::rotation::steps::Happening;
use patrold::text::Paint;
use patrold::view::html::escape;
use patrold::view::page::{self, Place};
use patrold::view::readiness::Readiness;

use super::world::{Daemon, World, bare, name_of, token};

/// What an operator sees.
pub(super) struct Seen {
    pub condition: Condition,
    pub overview: String,
    pub token: String,
    pub ready: String,
    pub explained: String,
    /// The page of the token.
    pub page: String,
}

impl Seen {
    pub fn look(daemon: &Daemon, name: &str) -> Self {
        let status = daemon.running.status();
        let token = status.tokens.iter().find(|token| token.name == name_of(name)).unwrap();
        let mut overview = Vec::new();
        status.write(Paint::Plain, &mut overview).unwrap();
        let mut alone = Vec::new();
        status.write_token(token, Paint::Plain, None, &mut alone).unwrap();
        let mut explained = Vec::new();
        let explanation = daemon.running.explain(&name_of(name), None).unwrap();
        explanation.write(Paint::Plain, &mut explained).unwrap();
        let inventory = daemon.running.core.inventory();
        let page = page::render_token(&status, &inventory, &explanation, Place { host: "here" }, empty::<&Happening>());
        Self {
            page,
            condition: token.condition,
            overview: String::from_utf8(overview).unwrap(),
            token: String::from_utf8(alone).unwrap(),
            ready: Readiness::judge(&status, true).text(false, false),
            explained: String::from_utf8(explained).unwrap(),
        }
    }

    /// All of them agree about the state and whether it is ready, and tell of `cause` and `remedy`.
    pub fn tells(&self, condition: Condition, ready: bool, cause: &str, remedy: &str) {
        assert_eq!(self.condition, condition, "{}", self.token);
        assert_eq!(self.ready.starts_with("ready\n"), ready, "{}", self.ready);
        assert!(self.overview.contains(&format!("{} {}", condition.glyph(), condition.word())), "{}", self.overview);
        for (view, text) in [("status NAME", &self.token), ("readyz", &self.ready), ("explain", &self.explained)] {
            assert!(text.contains(cause) && text.contains(remedy), "{view}:\n{text}");
        }
        let (cause, remedy) = (escape(cause), escape(remedy));
        assert!(self.page.contains(&cause) && self.page.contains(&remedy), "page:\n{}", self.page);
    }
}

#[tokio::test]
async fn a_hook_that_fails_at_the_first_issue_leaves_consumers_with_a_proven_secret() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\nhooks = [{ run = [\"sh\", \"-c\", \"echo no such unit >&2; exit 5\"] }]";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    daemon.until("ci", "the hook failed", |view| view.state.owes() && view.rest.is_some()).await;
    assert!(world.is_live(&world.stored("ci")));
    let seen = Seen::look(&daemon, "ci");
    seen.tells(Condition::Failing, true, "no such unit", FailureCode::HookFailed.remedy());
}

#[tokio::test]
async fn a_store_that_is_gone_and_cannot_be_written_is_critical() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\ndrift-every = \"200ms\"";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    daemon.steady("ci", 1).await;
    fs::rename(world.path("stores"), world.path("away")).unwrap();
    fs::write(world.path("stores"), "in the way").unwrap();
    daemon.until("ci", "the store is owed", |view| view.state.owes_store() && view.rest.is_some()).await;
    let seen = Seen::look(&daemon, "ci");
    seen.tells(Condition::Down, false, "stores/ci", "docs/runbooks.md#a-store-or-a-hook-fails");
    let first = seen.overview.lines().find(|line| line.starts_with("! ")).unwrap();
    assert!(first.contains("token ci is down: store file:"), "the worst thing leads: {}", seen.overview);
    fs::remove_file(world.path("stores")).unwrap();
    fs::rename(world.path("away"), world.path("stores")).unwrap();
    daemon.until("ci", "nothing is owed", |view| !view.state.owes() && view.rest.is_some()).await;
    assert_eq!(Seen::look(&daemon, "ci").condition, Condition::Fine);
}

#[tokio::test]
async fn a_store_that_is_new_and_cannot_be_written_is_told_while_the_others_work() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "");
    let daemon = world.start(&[account.clone(), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    fs::write(world.path("blocked"), "").unwrap();
    let stores = "rotate-every = \"30d\"\nstores = [{ kind = \"file\", path = \"$DIR/stores/ci\" }, \
                  { kind = \"file\", path = \"$DIR/blocked/ci\" }]";
    world.write(&[account, bare("ci", Service::Awx, stores)]);
    daemon.until("ci", "the store is owed", |view| view.state.owes_store() && view.rest.is_some()).await;
    Seen::look(&daemon, "ci").tells(Condition::Down, false, "blocked/ci", FailureCode::StoreUnwritable.remedy());
}

#[tokio::test]
async fn a_hook_that_left_the_inventory_is_owed_no_more() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "");
    let more = "rotate-every = \"30d\"\nhooks = [{ run = [\"sh\", \"-c\", \"! test -e $DIR/broken\"] }]";
    let daemon = world.start(&[account.clone(), token("ci", Service::Awx, more)]).await;
    daemon.steady("ci", 1).await;
    fs::write(world.path("broken"), "").unwrap();
    daemon.request("ci").await;
    daemon.until("ci", "the hook failed", |view| view.state.owes() && view.rest.is_some()).await;
    assert_eq!(Seen::look(&daemon, "ci").condition, Condition::Failing);
    world.write(&[account, token("ci", Service::Awx, "rotate-every = \"30d\"")]);
    daemon
        .until("ci", "it is handed over", |view| {
            matches!(view.state.phase, Phase::Steady { .. } | Phase::Active { .. })
                && view.rest.is_some()
                && view.state.phase.current().is_some_and(|current| current.generation.number.0 == 2)
        })
        .await;
    let seen = Seen::look(&daemon, "ci");
    assert_eq!(seen.condition, Condition::Fine, "{}", seen.token);
    assert!(!seen.token.contains("next attempt"), "{}", seen.token);
}

#[tokio::test]
async fn a_provider_that_answers_errors_only_is_not_fine() {
    let world = World::new().await;
    let daemon =
        world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    for (fault, remedy) in [
        (Fault::ServerError(503), FailureCode::ServerError.remedy()),
        (Fault::HtmlOk, FailureCode::NotUnderstood.remedy()),
    ] {
        world.loopback.faults().next(Service::Awx, Operation::List, fault.clone());
        let audit = daemon.running.core.audit(None, &[], None).await;
        assert!(audit.accounts[0].failure.is_some(), "{fault:?}");
        let status = daemon.running.status();
        let account = &status.accounts[0];
        assert_eq!(account.condition, AccountCondition::Degraded, "{fault:?}: {account:?}");
        let ready = Readiness::judge(&status, true).text(false, false);
        assert!(ready.starts_with("ready\nwarning: account awx is degraded") && ready.contains(remedy), "{ready}");
        let mut overview = Vec::new();
        status.write(Paint::Plain, &mut overview).unwrap();
        let overview = String::from_utf8(overview).unwrap();
        assert!(overview.contains("docs/runbooks.md#the-provider-is-down"), "{overview}");
        // The next answer that helps ends it.
        daemon.running.core.audit(None, &[], None).await;
        assert_eq!(daemon.running.status().accounts[0].condition, AccountCondition::Fine, "{fault:?}");
    }
}

#[tokio::test]
async fn a_wrong_credential_is_told_with_the_runbook() {
    let world = World::new().await;
    fs::write(world.path("awx"), "not a credential").unwrap();
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.failure("ci").await;
    let seen = Seen::look(&daemon, "ci");
    let (cause, remedy) = (FailureCode::Unauthorized.sentence(), FailureCode::Unauthorized.remedy());
    seen.tells(Condition::Missing, false, cause, remedy);
    assert!(seen.overview.contains("docs/runbooks.md#an-accounts-credential-is-dead"), "{}", seen.overview);
}

#[tokio::test]
async fn a_hook_that_hangs_is_told_while_consumers_have_their_secret() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\nhooks = [{ run = [\"sleep\", \"600\"], timeout = \"200ms\" }]";
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, more)]).await;
    daemon.until("ci", "the hook was killed", |view| view.state.owes() && view.rest.is_some()).await;
    let (cause, remedy) = (FailureCode::HookTimeout.sentence(), FailureCode::HookTimeout.remedy());
    Seen::look(&daemon, "ci").tells(Condition::Failing, true, cause, remedy);
}

#[tokio::test]
async fn a_store_that_cannot_be_made_keeps_the_first_token_from_being_minted() {
    let world = World::new().await;
    fs::write(world.path("blocked"), "").unwrap();
    let stores = "rotate-every = \"30d\"\nstores = [{ kind = \"file\", path = \"$DIR/blocked/ci\" }]";
    let daemon = world.start(&[world.account(Service::Awx, ""), bare("ci", Service::Awx, stores)]).await;
    daemon.failure("ci").await;
    Seen::look(&daemon, "ci").tells(Condition::Missing, false, "blocked/ci", FailureCode::StoreUnwritable.remedy());
}

#[tokio::test]
async fn a_token_that_left_the_inventory_is_told_as_long_as_it_is_alive() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "");
    let daemon = world.start(&[account.clone(), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    world.write(&[account]);
    daemon.until_reload("the token left", |reload| !reload.changes.is_empty()).await;
    let seen = Seen::look(&daemon, "ci");
    let left = "token ci is left: it left the inventory, and its token is alive at the provider";
    assert!(seen.overview.contains(left) && seen.ready.starts_with("ready\n"), "{}{}", seen.overview, seen.ready);
    seen.tells(Condition::Left, true, "its token is alive at the provider", "`patrold retire NAME --revoke`");
    assert!(seen.token.contains("docs/runbooks.md#a-token-is-not-needed-any-more"), "{}", seen.token);
}

#[tokio::test]
async fn a_broken_inventory_is_told_with_its_place() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    world.write(&[parts[0].clone(), parts[1].replace("rotate-every", "rotate-evry")]);
    daemon.until_reload("it was refused", |reload| !reload.problems.is_empty()).await;
    let seen = Seen::look(&daemon, "ci");
    assert_eq!(seen.condition, Condition::Fine, "the last valid inventory is in effect");
    for text in [&seen.overview, &seen.ready] {
        assert!(text.contains("the inventory on disk is invalid") && text.contains("did you mean"), "{text}");
    }
}
