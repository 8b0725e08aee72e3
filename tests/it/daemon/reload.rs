//! Inventories that change while the daemon runs.

use std::fs;
use std::os::unix::fs::symlink;

use patrold::clock::Span;
use patrold::daemon::rotate::Answer;
use patrold::daemon::serve::Order;
use patrold::demo::{Fault, Service};
use patrold::names::GenerationNo;
use patrold::provider::Operation::{Mint, Revoke, Verify};
use patrold::rotation::Phase;
use patrold::rotation::reason::Reason;

use super::world::{World, token};

#[tokio::test]
async fn a_changed_token_is_dealt_with_and_no_other_is_touched() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "");
    let other = token("cd", Service::Awx, "rotate-every = \"30d\"");
    let daemon =
        world.start(&[account.clone(), other.clone(), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    daemon.steady("cd", 1).await;
    let (from, before) = (world.count(), daemon.view("cd").state);
    // Other parameters than it was minted with make a token due.
    world.write(&[account, other, token("ci", Service::Awx, "rotate-every = \"30d\"\nparams = { scope = \"read\" }")]);
    let reload = daemon.until_reload("one change", |reload| !reload.changes.is_empty()).await;
    assert_eq!(reload.changes, ["token ci: params changed"]);
    daemon.steady("ci", 2).await;
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Revoke, Verify]);
    assert_eq!(daemon.view("cd").state, before, "something happened to the other token");
    assert_eq!(world.loopback.ledger().entry_of(&world.stored("ci")).unwrap().scope, "read");
}

#[tokio::test]
async fn an_invalid_inventory_changes_nothing_and_is_told_of_with_its_place() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let valid = world.read("patrold.toml");
    let line = valid.lines().position(|line| line.starts_with("rotate-every")).unwrap() + 1;
    fs::write(world.config(), valid.replace("rotate-every", "rotate-evry")).unwrap();
    let reload = daemon.until_reload("it is invalid", |reload| !reload.problems.is_empty()).await;
    let place = format!("{}:{line}:1", world.config().display());
    assert!(reload.problems[0].contains(&place), "{:?} does not name {place}", reload.problems);
    assert!(reload.changes.is_empty());
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)), "the one before stays in use");
    fs::write(world.config(), valid).unwrap();
    daemon.until_reload("it is valid again", |reload| reload.problems.is_empty()).await;
}

#[tokio::test]
async fn a_reload_on_demand_takes_over_what_is_on_disk() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "");
    let daemon = world.start(std::slice::from_ref(&account)).await;
    world.write(&[account, token("ci", Service::Awx, "rotate-every = \"30d\"")]);
    daemon.reload().await;
    daemon.steady("ci", 1).await;
}

#[tokio::test]
async fn an_inventory_behind_a_swapped_link_is_noticed() {
    let world = World::new().await;
    // As Kubernetes mounts a ConfigMap.
    let publish = |name: &str, extra: &str| {
        fs::create_dir(world.path(name)).unwrap();
        let include = token("ci", Service::Awx, "rotate-every = \"30d\"") + extra;
        let include = include.replace("$DIR", &world.directory.path().display().to_string());
        fs::write(world.path(&format!("{name}/tokens.toml")), include).unwrap();
        symlink(name, world.path("..data.new")).unwrap();
        fs::rename(world.path("..data.new"), world.path("..data")).unwrap();
    };
    publish("..1", "");
    symlink("..data/tokens.toml", world.path("tokens.toml")).unwrap();
    let head = "include = [\"tokens.toml\"]\n".to_owned();
    world.write(&[world.account(Service::Awx, "")]);
    let text = head + &world.read("patrold.toml");
    fs::write(world.config(), text).unwrap();
    let daemon = world.resume().await;
    daemon.steady("ci", 1).await;
    publish("..2", &token("cd", Service::Awx, "rotate-every = \"30d\""));
    let reload = daemon.until_reload("the swap", |reload| !reload.changes.is_empty()).await;
    assert_eq!(reload.changes, ["token cd: added"]);
    daemon.steady("cd", 1).await;
}

#[tokio::test]
async fn a_token_that_leaves_before_its_handover_is_taken_back() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "");
    let daemon = world.start(&[account.clone(), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    let old = world.stored("ci");
    world.loopback.faults().next(Service::Awx, Mint, Fault::Slow { by: Span::milliseconds(800) });
    daemon.request("ci").await;
    daemon.until("ci", "the mint is under way", |view| matches!(view.state.phase, Phase::Intended { .. })).await;
    world.write(&[account]);
    daemon.reload().await;
    let view = daemon
        .until("ci", "it rests", |view| {
            view.rest.is_some_and(|rest| rest.reason == Reason::LeftInventory)
                && matches!(view.state.phase, Phase::Steady { .. })
        })
        .await;
    assert_eq!(
        view.state.phase.current().unwrap().generation.number.0,
        view.state.last_number.0 - u32::from(world.stored("ci") == old)
    );
    assert_eq!(
        world.live(Service::Awx),
        [world.id_of(&world.stored("ci"))],
        "what the store holds lives, and nothing else"
    );
}

#[tokio::test]
async fn a_token_that_leaves_after_its_handover_is_finished() {
    let world = World::new().await;
    let account = world.account(Service::Awx, "");
    let daemon =
        world.start(&[account.clone(), token("ci", Service::Awx, "rotate-every = \"30d\"\ngrace = \"1s\"")]).await;
    daemon.steady("ci", 1).await;
    let old = world.stored("ci");
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    world.write(&[account]);
    daemon.reload().await;
    daemon
        .until("ci", "it rests", |view| {
            view.rest.is_some_and(|rest| rest.reason == Reason::LeftInventory)
                && matches!(view.state.phase, Phase::Steady { .. })
        })
        .await;
    assert!(!world.is_live(&old) && world.is_live(&world.stored("ci")));
}

#[tokio::test]
async fn an_account_that_moves_takes_its_tokens_along() {
    let (world, elsewhere) = (World::new().await, World::new().await);
    let poll = "poll-every = \"500ms\"";
    let daemon =
        world.start(&[world.account(Service::Awx, poll), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    fs::write(world.path("awx"), elsewhere.loopback.admin_secret(Service::Awx).expose()).unwrap();
    world.write(&[elsewhere.account(Service::Awx, poll), token("ci", Service::Awx, "rotate-every = \"30d\"")]);
    let reload = daemon.until_reload("it moved", |reload| !reload.changes.is_empty()).await;
    assert_eq!(reload.changes, ["account awx: url changed"]);
    daemon.current("ci", 2).await;
    assert!(elsewhere.is_live(&world.stored("ci")));
}

#[tokio::test]
async fn a_file_that_appears_in_a_directory_of_a_pattern_is_noticed() {
    let world = World::new().await;
    fs::create_dir_all(world.path("teams/one")).unwrap();
    let daemon = world.start(&[world.account(Service::Awx, "")]).await;
    let inventory = world.read("patrold.toml");
    fs::write(world.config(), format!("include = [\"teams/*/tokens.toml\"]\n{inventory}")).unwrap();
    daemon.until_reload("it was read", |reload| reload.at.is_some()).await;
    let write = |team: &str, name: &str| {
        let text = token(name, Service::Awx, "rotate-every = \"30d\"");
        let text = text.replace("$DIR", &world.directory.path().display().to_string());
        fs::write(world.path(&format!("teams/{team}/tokens.toml")), text).unwrap();
    };
    write("one", "first");
    daemon.until_reload("the file in a directory that was there", |it| it.changes == ["token first: added"]).await;
    // The directory alone is a change that changes nothing; its file comes later.
    fs::create_dir(world.path("teams/two")).unwrap();
    write("two", "second");
    daemon.until_reload("the file in a new directory", |it| it.changes == ["token second: added"]).await;
}

#[tokio::test]
async fn a_signal_is_obeyed_while_a_reload_is_under_way() {
    let world = World::new().await;
    let daemon = world.start(&[world.account(Service::Awx, "")]).await;
    let running = std::sync::Arc::clone(&daemon.running);
    daemon.orders.send(Order::Reload).unwrap();
    daemon.stop().await;
    assert_eq!(running.reloader.last().at, None, "the stop waited for the reload");
}
