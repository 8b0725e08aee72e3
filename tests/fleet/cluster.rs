//! A cluster of three etcd members while tokens are rotated: a member is lost, the leader changes, the leader is paused,
//! and the network between a replica and the engine is cut.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use patrold::demo::engine::{EngineOptions, LoopbackEngine};
use patrold::inventory::EngineKind;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::engine::{is_there, tool};
use super::rounds::{all_with, gather, judge, print};
use super::stage::{LEASE, Replica, Stage};

/// Much longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A link that can be cut: then nothing goes through, and nobody is told.
struct Link {
    port: u16,
    cut: watch::Sender<bool>,
}

impl Link {
    /// A link to `port` of this machine.
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (cut, is_cut) = watch::channel(false);
        let here = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let is_cut = is_cut.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::join!(carry(near_in, far_out, is_cut.clone()), carry(far_in, near_out, is_cut));
                });
            }
        });
        Self { port: here, cut }
    }
}

/// Carries bytes from one side to the other for as long as the link is whole; holds them back while it is cut.
async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut is_cut: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if is_cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// The member that leads, by its place in `members`.
async fn leader(members: &[LoopbackEngine], alive: &[usize]) -> usize {
    let begun = Instant::now();
    loop {
        for number in alive {
            let mut asked = members[*number].tool("etcdctl");
            let Ok(output) = asked.args(["endpoint", "status", "-w", "json"]).output().await else { continue };
            let Ok(status) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else { continue };
            let status = &status[0]["Status"];
            if status["leader"].as_u64().is_some_and(|leader| leader != 0)
                && status["leader"] == status["header"]["member_id"]
            {
                return *number;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "nobody leads");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a rotation of r1 or r2 ends that ended after now; gives how long that took.
async fn rotates(stage: &Stage) -> Duration {
    let begun = Instant::now();
    let count = || ["r1", "r2"].iter().map(|name| stage.log(name).matches("\"retired\"").count()).sum::<usize>();
    let before = count();
    while count() <= before {
        assert!(begun.elapsed() < PATIENCE, "nothing is rotated any more: {}", stage.log("r1"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_keeps_its_promise_while_members_of_etcd_are_lost_led_anew_and_cut_off() {
    if !is_there(EngineKind::Etcd) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut members = LoopbackEngine::cluster(3, &EngineOptions::default()).await.unwrap();
    leader(&members, &[0, 1, 2]).await;
    let urls = |ports: &[u16]| {
        let urls: Vec<_> = ports.iter().map(|port| format!("\"http://127.0.0.1:{port}\"")).collect();
        format!("etcd = [{}]", urls.join(", "))
    };
    let ports: Vec<u16> = members.iter().map(LoopbackEngine::port).collect();
    // The stage has an engine of its own; that of the fleet is the cluster.
    let spare = LoopbackEngine::start(EngineKind::Etcd, EngineOptions::default()).await.unwrap();
    let stage = Stage::on(root, spare, &urls(&ports)).await;
    let (dismissed, consumers) = gather(stage.consumers());
    let replicas = [stage.start("r1", ""), stage.start("r2", "")];
    stage.until("both have a share", PATIENCE, |it| all_with(it, &["r1", "r2"]) && !all_with(it, &["r1"])).await;
    rotates(&stage).await;

    // The leader is lost, and the other two go on.
    let lost = leader(&members, &[0, 1, 2]).await;
    members[lost].kill().await.unwrap();
    print(&format!("leader killed: rotations go on after {:?}", rotates(&stage).await));
    stage.until("everything has an owner", PATIENCE, |it| all_with(it, &["r1", "r2"])).await;
    members[lost].revive().await.unwrap();
    rotates(&stage).await;

    // Another one leads, without a loss.
    let before = leader(&members, &[0, 1, 2]).await;
    let next = (before + 1) % 3;
    let status = tool(&members[next], "etcdctl", &["endpoint", "status", "-w", "json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let id = format!("{:x}", status[0]["Status"]["header"]["member_id"].as_u64().unwrap());
    tool(&members[before], "etcdctl", &["move-leader", &id]).await;
    print(&format!("another leader: rotations go on after {:?}", rotates(&stage).await));

    // The leader is paused for longer than the lease, and wakes.
    let paused = leader(&members, &[0, 1, 2]).await;
    members[paused].signal(Signal::STOP).unwrap();
    print(&format!("leader paused: rotations go on after {:?}", rotates(&stage).await));
    tokio::time::sleep(LEASE * 2).await;
    members[paused].signal(Signal::CONT).unwrap();
    stage.until("everything has an owner", PATIENCE, |it| all_with(it, &["r1", "r2"])).await;

    // A third replica reaches the engine over links that are cut.
    let mut links = Vec::new();
    for port in &ports {
        links.push(Link::to(*port).await);
    }
    let linked: Vec<u16> = links.iter().map(|link| link.port).collect();
    stage.write("r3", &urls(&linked));
    let r3 = Replica { name: "r3".to_owned(), process: stage.run("r3") };
    stage
        .until("the third has a share", PATIENCE, |it| it.claims.values().any(|claim| claim.replica.as_str() == "r3"))
        .await;
    rotates(&stage).await;
    for link in &links {
        assert!(link.cut.send(true).is_ok());
    }
    let took = stage.until("the others own everything", PATIENCE, |it| all_with(it, &["r1", "r2"])).await;
    print(&format!("links of a replica cut: all taken over after {took:?} (lease {LEASE:?})"));
    assert!(took <= LEASE + Duration::from_secs(4), "{took:?}");
    rotates(&stage).await;
    for link in &links {
        assert!(link.cut.send(false).is_ok());
    }
    let back = |it: &patrold::journal::fleet::presence::Presence| it.members.len() == 3;
    stage.until("the third is back", PATIENCE, back).await;

    let [r1, r2] = replicas;
    for mut replica in [r1, r2, r3] {
        replica.signal(Signal::TERM);
        let ended = tokio::time::timeout(PATIENCE, replica.process.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{} ended with {ended}: {}", replica.name, stage.log(&replica.name));
    }
    dismissed.store(true, Ordering::Release);
    judge(&stage, consumers.join().unwrap()).await;
}
