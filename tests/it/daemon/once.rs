//! `patrold run --once`, as a timer calls it: the real program against the loopback provider.

use std::fs;
use std::process::{Output, Stdio};

use patrold::clock::Span;
use patrold::demo::{Fault, RequestRecord, Service};
use patrold::provider::Operation::{List, Mint, Verify};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::notify::{Receiver, channel, hooked};
use super::world::{World, token};

const DAILY: &str = "rotate-every = \"30d\"";

fn spawn(world: &World, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
    command
        .env_clear()
        .env("PATROLD_CONFIG", world.config())
        .args(["run", "--once", "--log-format", "json"])
        .args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

async fn once(world: &World, more: &[&str]) -> Output {
    spawn(world, more).wait_with_output().await.unwrap()
}

/// Exit status, and what the last line counts: done, failed, idle.
fn told(output: &Output) -> (Option<i32>, [u64; 3]) {
    let log = String::from_utf8(output.stderr.clone()).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap_or_else(|_| panic!("{log}"));
    assert_eq!(last["event"], "once-done", "{log}");
    (output.status.code(), ["done", "failed", "idle"].map(|name| last[name].as_u64().unwrap()))
}

#[tokio::test]
async fn what_is_due_is_done_and_nothing_else() {
    let world = World::new().await;
    world.write(&[
        world.account(Service::Awx, ""),
        token("ci", Service::Awx, DAILY),
        token("sync", Service::Awx, DAILY),
    ]);
    assert_eq!(told(&once(&world, &[]).await), (Some(0), [2, 0, 0]));
    assert!(!world.stored("ci").is_empty() && !world.stored("sync").is_empty());

    let from = world.count();
    assert_eq!(told(&once(&world, &[]).await), (Some(0), [0, 0, 2]));
    assert_eq!(world.story(Service::Awx, from), [List], "a second run only looks");
}

#[tokio::test]
async fn the_exit_status_says_how_much_was_done() {
    let world = World::new().await;
    world.write(&[
        world.account(Service::Awx, ""),
        token("ci", Service::Awx, DAILY),
        world.account(Service::PointOne, ""),
        token("gps", Service::PointOne, "lifetime = \"30d\""),
    ]);
    let faults = world.loopback.faults();
    for _ in 0..4 {
        faults.next(Service::Awx, Mint, Fault::LoseRequest);
    }
    assert_eq!(told(&once(&world, &[]).await), (Some(3), [1, 1, 0]));
    let again = once(&world, &[]).await;
    assert_eq!(told(&again), (Some(1), [0, 1, 1]));
    let log = String::from_utf8(again.stderr).unwrap();
    assert!(log.contains("\"help\":\""), "a failure says what to do: {log}");
}

#[tokio::test]
async fn a_rotation_that_has_begun_is_finished_before_it_ends() {
    let world = World::new().await;
    world.write(&[world.account(Service::Awx, ""), token("ci", Service::Awx, DAILY)]);
    // The first look at the new token fails: the run has to come back to it.
    world.loopback.faults().next(Service::Awx, Verify, Fault::LoseRequest);
    assert_eq!(told(&once(&world, &[]).await), (Some(0), [1, 0, 0]));
    assert_eq!(world.changes(Service::Awx, 0), [Mint, Verify, Verify]);
}

#[tokio::test]
async fn nothing_under_way_is_waited_for_beyond_the_timeout() {
    let world = World::new().await;
    world.write(&[world.account(Service::Awx, ""), token("ci", Service::Awx, DAILY)]);
    let stores = world.path("stores");
    fs::remove_dir(&stores).unwrap();
    fs::write(&stores, "no directory").unwrap();
    assert_eq!(told(&once(&world, &["--timeout", "1s"]).await), (Some(1), [0, 1, 0]));
}

#[tokio::test]
async fn a_signal_ends_it_with_every_step_in_the_journal() {
    let world = World::new().await;
    world.write(&[world.account(Service::Awx, ""), token("ci", Service::Awx, DAILY)]);
    world.loopback.faults().next(Service::Awx, Mint, Fault::Slow { by: Span::milliseconds(700) });
    let child = spawn(&world, &[]);
    let minting = |requests: &[RequestRecord]| requests.iter().any(|request| request.operation == Some(Mint));
    world.until_requests("the mint is under way", minting).await;
    kill_process(Pid::from_raw(child.id().unwrap().cast_signed()).unwrap(), Signal::TERM).unwrap();
    let (exit, counts) = told(&child.wait_with_output().await.unwrap());
    assert_eq!((exit, counts), (Some(1), [0, 1, 0]));
    assert_eq!(world.changes(Service::Awx, 0), [Mint], "nothing new is begun");
    assert_eq!(told(&once(&world, &[]).await), (Some(0), [1, 0, 0]));
    assert_eq!(world.changes(Service::Awx, 0), [Mint, Verify], "the next run goes on where this one was");
}

#[tokio::test]
async fn people_are_told_at_the_end_of_a_run_and_nothing_twice() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let web = format!("{{ definition = \"json\", url = \"http://{}\" }}", receiver.address);
    let mut parts = hooked(&world);
    parts.push(channel("ops", &web));
    // It would tell of what has been open for an hour.
    parts.push(channel("patient", &web).replace("for = \"0s\"", "for = \"1h\""));
    world.write(&parts);
    fs::write(world.path("broken"), "").unwrap();
    for _ in 0..2 {
        assert_eq!(told(&once(&world, &["--timeout", "1s"]).await), (Some(1), [0, 1, 0]));
        assert_eq!(receiver.turns(), ["opened hook-owed"], "the second run knows what was told");
    }
    let said = receiver.all()[0].body["conditions"][0]["why"].as_str().unwrap().to_owned();
    assert!(said.contains("***") && !said.contains(&world.stored("ci")), "a secret was told: {said}");
    fs::remove_file(world.path("broken")).unwrap();
    assert_eq!(told(&once(&world, &[]).await).0, Some(0));
    assert_eq!(receiver.turns(), ["opened hook-owed", "closed hook-owed"]);
    assert_eq!(told(&once(&world, &[]).await), (Some(0), [0, 0, 1]));
    assert_eq!(receiver.turns().len(), 2, "all is well, and nobody is told");
}

#[tokio::test]
async fn what_a_channel_does_not_take_the_next_run_tells() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.refuse(true);
    let web = format!("{{ definition = \"json\", url = \"http://{}\" }}", receiver.address);
    let mut parts = hooked(&world);
    parts.push(channel("ops", &web));
    world.write(&parts);
    fs::write(world.path("broken"), "").unwrap();
    let output = once(&world, &["--timeout", "1s"]).await;
    assert!(String::from_utf8(output.stderr).unwrap().contains("channel-failed"));
    assert!(receiver.all().is_empty());
    receiver.refuse(false);
    once(&world, &["--timeout", "1s"]).await;
    assert_eq!(receiver.turns(), ["opened hook-owed"]);
}

#[tokio::test]
async fn it_does_not_run_beside_a_daemon() {
    let world = World::new().await;
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, DAILY)]).await;
    let output = once(&world, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&std::process::id().to_string()));
    daemon.steady("ci", 1).await;
}
