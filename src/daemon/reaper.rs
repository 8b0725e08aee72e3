//! Reaps processes that nobody waits for: what a hook left behind and the kernel gave to process 1.
//!
//! Law: no zombie stays, and no child is reaped that somebody waits for. Every child that this program starts leads a
//! process group of its own or stays in that of the program, so that what is in another's group is somebody's orphan. An
//! orphan that leads one is told from a child by its session, or else by time: those who wait for a child do it at once.

use std::collections::HashMap;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use crate::process::table::{Process, pids};

/// A command that was killed is left unreaped for a while, so that its number stays taken.
const WAITED_FOR: Duration = Duration::from_secs(30);

/// Ends of children come in bursts.
const PAUSE: Duration = Duration::from_millis(100);

/// A child of this process that has ended, and is not reaped yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    pid: i32,
    group: i32,
    session: i32,
}

/// Reaps orphans for as long as it is polled. Returns at once where the kernel gives this process none.
pub async fn run() -> std::io::Result<()> {
    let adopts = getpid() == Pid::INIT || matches!(rustix::process::child_subreaper(), Ok(Some(_)));
    if !adopts {
        return Ok(());
    }
    let mut ended = signal(SignalKind::child())?;
    let mut seen = HashMap::new();
    let own = own();
    loop {
        let now = Instant::now();
        for pid in orphans(&children(), own, &mut seen, now) {
            reap(pid);
        }
        // What is not certain is looked at again, without a signal.
        let wait = if seen.is_empty() { Duration::MAX } else { WAITED_FOR };
        if let Ok(None) = timeout(wait, ended.recv()).await {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

/// Those of `ended` whom nobody waits for. `seen`: the others, and since when they have ended.
fn orphans(ended: &[Ended], (group, session): (i32, i32), seen: &mut HashMap<i32, Instant>, now: Instant) -> Vec<i32> {
    seen.retain(|pid, _| ended.iter().any(|ended| ended.pid == *pid));
    let is_orphan = |child: &&Ended| {
        let is_anothers = child.group != child.pid && child.group != group;
        let told = is_anothers || child.session != session;
        told || now - *seen.entry(child.pid).or_insert(now) >= WAITED_FOR
    };
    ended.iter().filter(is_orphan).map(|child| child.pid).collect()
}

/// Group and session of this process; 0 where they began outside of the container.
fn own() -> (i32, i32) {
    Process::read(own_pid()).map_or((0, 0), |process| (process.group, process.session))
}

fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}

fn reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Reaped by somebody else meanwhile: all the better.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Children of this process that have ended.
fn children() -> Vec<Ended> {
    let own = own_pid();
    let ended = |pid: i32| {
        let Process { group, session, .. } = Process::read(pid).filter(|it| it.is_zombie && it.parent == own)?;
        Some(Ended { pid, group, session })
    };
    pids().into_iter().filter_map(ended).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orphans_are_reaped_and_children_that_somebody_waits_for_are_not() {
        let child = |pid, group, session| Ended { pid, group, session };
        let (mut seen, now) = (HashMap::new(), Instant::now());
        let ended = [child(7, 5, 3), child(8, 8, 8), child(9, 9, 3), child(10, 4, 3)];
        assert_eq!(orphans(&ended, (4, 3), &mut seen, now), [7, 8], "of another's group, of another session, children");
        assert_eq!(orphans(&[], (4, 3), &mut seen, now), [] as [i32; 0]);
        assert!(seen.is_empty(), "it was waited for");
        let _ = orphans(&[child(9, 9, 3)], (4, 3), &mut seen, now);
        assert_eq!(orphans(&[child(9, 9, 3)], (4, 3), &mut seen, now + WAITED_FOR), [9], "nobody waits for it");
    }
}
