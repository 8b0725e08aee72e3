//! Stores that are services: a secret reaches the document of a Vault, and nothing else in it changes.

use std::fs;

use patrold::clock::Span;
use patrold::daemon::registry::View;
use patrold::daemon::rotate::Answer;
use patrold::demo::Service;
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{Mint, Revoke, Verify};
use patrold::report::retirement::RetireOutcome;
use serde_json::json;

use super::world::{Daemon, PATIENCE, World, bare, name_of};
use crate::lookalike::{Api as _, Fault, Gitlab, Lookalike, Vault};

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

/// How often comparing stores is seen to happen.
const OFTEN: &str = "drift-every = \"200ms\"";

#[tokio::test]
async fn the_stores_of_one_project_are_compared_by_one_request() {
    let world = World::new().await;
    let gitlab = Lookalike::start(Gitlab::new("group/app", "A")).await;
    fs::write(world.path("gitlab-token"), "gitlab-writer").unwrap();
    let account = format!(
        "[account.gitlab]\nstore = \"gitlab-variable\"\nurl = \"{}\"\ncredential = {{ file = \"$DIR/gitlab-token\" }}",
        gitlab.url
    );
    let names = ["a", "b", "c"];
    let token = |name: &str| {
        let stores = format!(
            "stores = [{{ account = \"gitlab\", project = \"group/app\", key = \"{}\" }}]",
            name.to_uppercase()
        );
        bare(name, Service::Awx, &format!("rotate-every = \"30d\"\n{OFTEN}\n{stores}"))
    };
    let mut parts = vec![world.account(Service::Awx, ""), account];
    parts.extend(names.map(token));
    let daemon = world.start(&parts).await;
    for name in names {
        daemon.steady(name, 1).await;
    }
    assert!(gitlab.api(|api| api.values()).values().all(|secret| world.is_live(secret)));
    let (from, writes) = (gitlab.requests().len(), gitlab.writes());
    let listings = || {
        let requests = gitlab.requests();
        let (lists, others): (Vec<_>, Vec<_>) =
            requests.into_iter().skip(from).partition(|asked| asked.path.ends_with("/variables"));
        (lists.len(), others.len())
    };
    until(|| listings().0 >= 3).await;
    assert_eq!(listings().1, 0, "nobody asks for a single variable of which the listing shows what was delivered");
    assert_eq!(gitlab.writes(), writes);

    // What somebody writes is looked at once more before it is believed, and then repaired.
    let right = gitlab.api(|api| api.value()).unwrap();
    gitlab.api(|api| api.intrude("somebody's"));
    until(|| gitlab.api(|api| api.value()).as_deref() == Some(right.as_str())).await;
    assert_eq!(gitlab.writes(), writes + 1);
}

/// A store of values that are shorter than a token.
const TINY: &str = r#"
[store]
name   = "tiny"
title  = "A store of short values"
target = ["name"]
[params.name]
type = "string"
[read]
url    = "{{ base_url }}/v1/{{ params.name }}"
absent = [{ status = 404 }]
[read.capture]
value = "/value"
[write]
method = "PUT"
url    = "{{ base_url }}/v1/{{ params.name }}"
json   = { value = "{{ value }}" }
[value]
max-bytes = 8
"#;

#[tokio::test]
async fn nothing_is_minted_for_a_store_that_cannot_hold_tokens_of_this_size() {
    let world = World::new().await;
    fs::create_dir(world.path("definitions")).unwrap();
    fs::write(world.path("definitions/tiny.toml"), TINY).unwrap();
    let vault = Lookalike::start(Vault::new(2, "apps/ingest", "token")).await;
    let tiny = "[account.tiny]\nstore = \"tiny\"\nurl = \"http://127.0.0.1:1\"";
    let own = "providers = \"$DIR/definitions\"";
    let fixed = [world.account(Service::Awx, ""), account(&world, &vault), tiny.to_owned()];
    let parts = |stores: &str| [fixed.as_slice(), &[bare("ci", Service::Awx, stores)]].concat();
    let daemon = world.start_with(own, &parts(STORES)).await;
    daemon.steady("ci", 1).await;
    world.write_with(own, &parts(&STORES.replace("}]", "}, { account = \"tiny\", name = \"a\" }]")));
    daemon.reload().await;
    daemon.request("ci").await;
    let refused =
        |view: &View| view.state.last_failure.as_ref().is_some_and(|it| it.failure.code == FailureCode::StoreRefused);
    daemon.until("ci", "the rotation is put off", |view| refused(view) && view.state.retry.is_some()).await;
    assert_eq!(world.minted(Service::Awx), 1);
}

#[tokio::test]
async fn a_store_that_leaves_loses_the_secret_where_the_inventory_said_so() {
    let world = World::new().await;
    let gitlab = Lookalike::start(Gitlab::new("group/app", "CI")).await;
    fs::write(world.path("gitlab-token"), "gitlab-writer").unwrap();
    let account = format!(
        "[account.gitlab]\nstore = \"gitlab-variable\"\nurl = \"{}\"\ncredential = {{ file = \"$DIR/gitlab-token\" }}",
        gitlab.url
    );
    let file = "{ kind = \"file\", path = \"$DIR/stores/ci\", on-leave = \"erase\" }";
    let variable = "{ account = \"gitlab\", project = \"group/app\", key = \"CI\", on-leave = \"erase\" }";
    let env =
        "{ kind = \"env-file\", path = \"$DIR/stores/env\", key = \"CI\", mode = \"0600\", on-leave = \"erase\" }";
    let yaml = "{ kind = \"yaml\", path = \"$DIR/stores/app.yaml\", pointer = \"/ci/token\", mode = \"0600\", on-leave = \"erase\" }";
    fs::write(world.path("stores/env"), "OTHER=kept\n").unwrap();
    fs::write(world.path("stores/app.yaml"), "ci:\n  other: kept # by hand\n").unwrap();
    let parts = |stores: &[&str]| {
        let token = format!("rotate-every = \"30d\"\nstores = [{}]", stores.join(", "));
        [world.account(Service::Awx, ""), account.clone(), bare("ci", Service::Awx, &token)]
    };
    let daemon = world.start(&parts(&[file, variable, env, yaml])).await;
    daemon.steady("ci", 1).await;
    let secret = world.stored("ci");
    assert!(world.read("stores/env").contains(&secret) && world.read("stores/app.yaml").contains(&secret));
    assert_eq!(gitlab.api(|api| api.value()).as_deref(), Some(secret.as_str()));
    daemon.until("ci", "all are remembered", |view| view.state.claims.len() == 4).await;

    world.write(&parts(&[file]));
    daemon.reload().await;
    until(|| gitlab.api(|api| api.value()).is_none()).await;
    daemon.until("ci", "three of them are erased", |view| view.state.claims.len() == 1).await;
    assert_eq!(world.read("stores/env"), "OTHER=kept\n");
    assert_eq!(world.read("stores/app.yaml"), "ci:\n  other: kept # by hand\n");
    assert_eq!(world.stored("ci"), secret);

    world.write(&[world.account(Service::Awx, ""), account.clone()]);
    daemon.reload().await;
    let answer =
        daemon.running.core.retire(Some(&daemon.running.waker), &name_of("ci"), Some(Span::zero()), PATIENCE).await;
    assert_eq!(answer.outcome, RetireOutcome::Revoked, "{}", answer.detail);
    assert!(!world.is_live(&secret) && !world.path("stores/ci").exists());
}

async fn until(is: impl Fn() -> bool) {
    let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is() {
        assert!(tokio::time::Instant::now() < patience, "it does not come to that");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
