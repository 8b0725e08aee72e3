//! Stores that are services: a secret reaches the document of a Vault, and nothing else in it changes.

use std::fs;

use patrold::daemon::rotate::Answer;
use patrold::demo::Service;
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{Mint, Revoke, Verify};
use serde_json::json;

use super::world::{Daemon, World, bare};
use crate::lookalike::{Api as _, Fault, Lookalike, Vault};

const STORES: &str =
    "rotate-every = \"30d\"\nstores = [{ account = \"bao\", path = \"apps/ingest\", key = \"token\" }]";

/// The account of a Vault that accepts one token.
fn account(world: &World, vault: &Lookalike<Vault>) -> String {
    vault.api(|api| api.token = Some("vault-writer".to_owned()));
    fs::write(world.path("vault-token"), "vault-writer").unwrap();
    format!(
        "[account.bao]\nstore = \"vault-kv2\"\nurl = \"{}\"\ncredential = {{ file = \"$DIR/vault-token\" }}",
        vault.url
    )
}

/// A daemon that has delivered its first secret into a Vault.
async fn served(world: &World) -> (Lookalike<Vault>, Daemon) {
    let vault = Lookalike::start(Vault::new(2, "apps/ingest", "token")).await;
    let parts = [world.account(Service::Awx, ""), account(world, &vault), bare("ci", Service::Awx, STORES)];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    (vault, daemon)
}

#[tokio::test]
async fn a_secret_reaches_a_vault_and_its_neighbours_stay() {
    let world = World::new().await;
    let (vault, daemon) = served(&world).await;
    let first = vault.api(|api| api.value()).unwrap();
    assert!(world.is_live(&first));

    // Somebody writes between the look and the write: nobody's key is lost.
    vault.next(Fault::Race);
    let from = world.count();
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    daemon.steady("ci", 2).await;
    let second = vault.api(|api| api.value()).unwrap();
    assert!(world.is_live(&second) && !world.is_live(&first));
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Revoke, Verify]);
    let document = vault.api(|api| api.document("apps/ingest").cloned()).unwrap();
    let expected = json!({ "other": "kept", "number": 7, "theirs": "written at the last moment", "token": second });
    assert_eq!(json!(document), expected);
    // Two of the first write and of the stranger, the refused one is none.
    assert_eq!(vault.api(|api| api.versions("apps/ingest")), 4);
}

#[tokio::test]
async fn the_old_token_lives_until_the_vault_has_the_new_one() {
    let world = World::new().await;
    let (vault, daemon) = served(&world).await;
    let first = vault.api(|api| api.value()).unwrap();
    let from = world.count();
    // It cannot be written, and then the acknowledgement is lost.
    vault.next(Fault::Status(503));
    vault.next(Fault::LostAnswer);
    let writes = vault.writes();
    daemon.request("ci").await;
    daemon.until("ci", "the store failed", |view| view.state.last_failure.is_some()).await;
    assert!(world.is_live(&first), "consumers have nothing else");
    daemon.steady("ci", 2).await;
    assert_eq!(vault.writes(), writes + 1, "what was written is not written again");
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Revoke, Verify], "and nothing was minted twice");
    assert!(!world.is_live(&first));
}

#[tokio::test]
async fn nothing_is_minted_for_a_vault_that_is_not_where_it_should_be() {
    let world = World::new().await;
    let vault = Lookalike::start(Vault::new(2, "apps/ingest", "token")).await;
    let account = account(&world, &vault).replace("[account.bao]", "[account.bao]\nparams = { mount = \"elsewhere\" }");
    let daemon = world.start(&[world.account(Service::Awx, ""), account, bare("ci", Service::Awx, STORES)]).await;
    let failure = daemon.failure("ci").await;
    assert!(matches!(failure.code, FailureCode::StoreWrongPlace | FailureCode::Forbidden), "{failure}");
    assert_eq!((world.minted(Service::Awx), vault.writes()), (0, 0));
}

#[tokio::test]
async fn a_value_that_was_there_before_stays_until_somebody_decides() {
    let world = World::new().await;
    let vault = Lookalike::start(Vault::new(2, "apps/ingest", "token")).await;
    vault.api(|api| api.intrude("somebody's"));
    let source = world.account(Service::Awx, "");
    let bao = account(&world, &vault);
    // Under a new journal the token would be held back before it gets so far.
    let parts = [source.clone(), bao.clone(), bare("ci", Service::Awx, STORES)];
    let daemon = world.start_with("new-journal = \"mint\"", &parts).await;
    let failure = daemon.failure("ci").await;
    assert_eq!(failure.code, FailureCode::StoreForeign, "{failure}");
    assert_eq!(world.minted(Service::Awx), 0);
    let stores = STORES.replace("key =", "existing = \"replace\", key =");
    world.write_with("new-journal = \"mint\"", &[source, bao, bare("ci", Service::Awx, &stores)]);
    daemon.steady("ci", 1).await;
    assert!(world.is_live(&vault.api(|api| api.value()).unwrap()));
}
