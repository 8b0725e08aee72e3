//! Hooks that fail, hang, and are shared.

use std::fs;

use patrold::clock::Span;
use patrold::daemon::rotate::Answer;
use patrold::demo::Service;
use patrold::names::GenerationNo;
use patrold::outcome::FailureCode;
use patrold::rotation::Phase;

use super::notify::Receiver;
use super::world::{Daemon, World, now, sit_out, token};

/// A daemon with one token, whose hook fails while the file `broken` exists.
async fn with_hook(world: &World, more: &str) -> Daemon {
    let hook = format!(
        "rotate-every = \"30d\"\nhooks = [{{ run = [\"sh\", \"-c\", \"echo ran >> $DIR/hooks; ! test -e $DIR/broken\"]{more} }}]"
    );
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, &hook)]).await;
    daemon.steady("ci", 1).await;
    daemon
}

#[tokio::test]
async fn while_a_hook_fails_it_is_retried_and_the_old_generation_is_not_revoked() {
    let world = World::new().await;
    let daemon = with_hook(&world, "").await;
    let old = world.stored("ci");
    fs::write(world.path("broken"), "").unwrap();
    daemon.request("ci").await;
    let view = daemon
        .until("ci", "the hook failed twice", |view| {
            let Phase::Delivered { candidate, .. } = &view.state.phase else { return false };
            candidate
                .delivery
                .hooks
                .values()
                .any(|it| matches!(it, patrold::rotation::state::Progress::Failed(retry) if retry.attempts >= 2))
        })
        .await;
    assert_eq!(view.state.last_failure.as_ref().unwrap().failure.code, FailureCode::HookFailed);
    sit_out(now() + Span::milliseconds(300)).await;
    assert!(world.is_live(&old), "its grace has not even begun");
    fs::remove_file(world.path("broken")).unwrap();
    daemon.steady("ci", 2).await;
    assert!(!world.is_live(&old));
}

#[tokio::test]
async fn a_hook_can_have_the_rotation_rolled_back() {
    let world = World::new().await;
    let daemon = with_hook(&world, ", on-failure = \"rollback\"").await;
    let old = world.stored("ci");
    fs::write(world.path("broken"), "").unwrap();
    daemon.request("ci").await;
    daemon.until("ci", "it is being taken back", |view| matches!(view.state.phase, Phase::Undoing { .. })).await;
    fs::remove_file(world.path("broken")).unwrap();
    daemon.until("ci", "it was taken back", |view| view.state.failed_rotations == 1).await;
    assert_eq!(world.stored("ci"), old);
    assert_eq!(world.live(Service::Awx), [world.id_of(&old)]);
    daemon.steady("ci", 3).await;
    assert_eq!(world.live(Service::Awx), [world.id_of(&world.stored("ci"))]);
}

#[tokio::test]
async fn a_hook_can_be_gone_on_without() {
    let world = World::new().await;
    let daemon = with_hook(&world, ", on-failure = \"continue\"").await;
    fs::write(world.path("broken"), "").unwrap();
    assert_eq!(daemon.rotate("ci").await, Answer::Rotated(GenerationNo(2)));
    daemon.steady("ci", 2).await;
    assert_eq!(world.read("hooks").lines().count(), 2);
}

#[tokio::test]
async fn a_hook_that_hangs_is_killed_with_everything_that_it_started() {
    let world = World::new().await;
    let script = "sleep 600 & echo $! > $DIR/child; test -e $DIR/go || wait";
    let more =
        format!("rotate-every = \"30d\"\nhooks = [{{ run = [\"sh\", \"-c\", \"{script}\"], timeout = \"300ms\" }}]");
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, &more)]).await;
    let view = daemon.until("ci", "the hook failed", |view| view.state.last_failure.is_some()).await;
    assert_eq!(view.state.last_failure.as_ref().unwrap().failure.code, FailureCode::HookTimeout);
    let child: u32 = world.read("child").trim().parse().unwrap();
    // The kernel forgets a killed process once its new parent has looked at it.
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
    assert!(status.is_empty() || status.contains("State:\tZ"), "{status}");
}

#[tokio::test]
async fn a_hook_that_several_tokens_share_runs_once_for_all_of_them() {
    let world = World::new().await;
    let more = "rotate-every = \"30d\"\nhooks = [{ run = [\"sh\", \"-c\", \"echo ran >> $DIR/hooks\"] }]";
    let mut parts = vec![world.account(Service::Awx, "max-in-flight = 16")];
    parts.extend((0..8).map(|number| token(&format!("ci-{number}"), Service::Awx, more)));
    let daemon = world.start(&parts).await;
    for number in 0..8 {
        daemon.steady(&format!("ci-{number}"), 1).await;
    }
    let runs = world.read("hooks").lines().count();
    assert!(runs < 8, "it ran {runs} times for 8 tokens");
}

#[tokio::test]
async fn consumers_are_told_by_signal_and_request_in_waves_and_nothing_is_revoked_before_the_last() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let script = "trap 'cat stores/ci >> told' HUP; echo $$ > pid.new; mv pid.new pid; while :; do sleep 0.01; done";
    let consumer = std::process::Command::new("sh").args(["-c", script]).current_dir(world.directory.path()).spawn();
    let mut consumer = Guarded(consumer.unwrap());
    while !world.path("pid").exists() {
        tokio::task::yield_now().await;
    }
    let hooks = format!(
        "rotate-every = \"30d\"\nhooks = [\
         {{ kind = \"http\", url = \"http://{}/reload\", wave = 2, json = {{ reload = true }} }},\
         {{ kind = \"signal\", pid-file = \"$DIR/pid\" }},\
         {{ kind = \"check\", run = [\"sh\", \"-c\", \"test -e $DIR/proven\"], within = \"1ms\", every = \"10ms\" }}]",
        receiver.address
    );
    let daemon = world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, &hooks)]).await;
    daemon.until("ci", "the check failed", |view| view.state.last_failure.is_some()).await;
    while !world.path("told").exists() {
        tokio::task::yield_now().await;
    }
    assert_eq!(receiver.all().len(), 0, "the second wave waits for the check of the first");
    fs::write(world.path("proven"), "").unwrap();
    daemon.steady("ci", 1).await;
    let got = receiver.all();
    assert_eq!((got[0].path.as_str(), &got[0].body), ("/reload", &serde_json::json!({ "reload": true })));
    let old = world.stored("ci");
    daemon.request("ci").await;
    daemon.steady("ci", 2).await;
    assert!(!world.is_live(&old));
    assert_eq!(receiver.all().len(), 2);
    consumer.0.kill().unwrap();
}

/// A process that ends with the test.
struct Guarded(std::process::Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
