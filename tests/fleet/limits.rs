//! What a provider asked of one replica, the next owner of the account holds to.

use std::time::Duration;

use patrold::clock::{Clock as _, Span, SystemClock, Time};
use patrold::demo::faults::Fault;
use patrold::inventory::EngineKind;
use rustix::process::Signal;
use serde_json::Value;

use super::rounds::all_with;
use super::stage::{ACCOUNTS, Stage, patrold};

const PATIENCE: Duration = Duration::from_secs(60);

/// Until when the provider wants nothing, of each account, as the status of the replica `name` tells.
async fn blocked(stage: &Stage, name: &str) -> Vec<Option<Time>> {
    let shown = patrold(&stage.root, name, &["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
    let accounts = status["accounts"].as_array().cloned().unwrap_or_default();
    accounts.iter().map(|account| account["blocked-until"].as_str().and_then(|text| text.parse().ok())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_an_account_over_waits_as_its_former_owner_was_told() {
    let directory = tempfile::tempdir().unwrap();
    let Some(stage) = Stage::set(directory.path(), EngineKind::Etcd).await else { return };
    let r1 = stage.start("r1", "");
    stage.until("the first has all", PATIENCE, |it| it.claims.len() == ACCOUNTS && all_with(it, &["r1"])).await;
    // Whoever has no token yet is let through in spite of a call for patience, and lifts it.
    let has = |number: usize| stage.root.join(format!("stores/ci-{number}")).exists();
    stage.until("each consumer has a token", PATIENCE, |_| (0..ACCOUNTS).all(has)).await;
    let patience = Span::seconds(60);
    let fault = Fault::RateLimited { retry_after: patience, as_date: false };
    // One answer that asks for nothing would lift it: a request may have been on its way.
    stage.loopback.faults().random_of(1, 1.0, vec![fault]);
    let begun = SystemClock.now();
    let until = loop {
        assert!(SystemClock.now() - begun < Span::seconds(60), "nobody was told to wait: {}", stage.log("r1"));
        if let [Some(until), ..] = blocked(&stage, "r1").await[..] {
            break until;
        }
    };
    stage
        .until_left("the engine has been told of each account", PATIENCE, |text| text.contains("blocked-until\":\""))
        .await;
    r1.signal(Signal::KILL);
    stage.loopback.faults().stop();
    let _r2 = stage.start("r2", "");
    stage.until("the second has all", PATIENCE, |it| it.claims.len() == ACCOUNTS && all_with(it, &["r2"])).await;
    let told = blocked(&stage, "r2").await;
    assert_eq!(told.len(), ACCOUNTS, "{told:?}");
    // Each request that was let through all the same was told so again.
    let holds = |it: &Option<Time>| it.is_some_and(|it| it >= until && it < until + Span::seconds(20));
    assert!(told.iter().all(holds), "{until}: {told:?}");
}
