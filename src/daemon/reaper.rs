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
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    about(&stat).map_or((0, 0), |(_, _, group, session)| (group, session))
}

fn reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Reaped by somebody else meanwhile: all the better.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Children of this process that have ended.
fn children() -> Vec<Ended> {
    let own = getpid().as_raw_nonzero().get();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| ended(pid, own, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// The process, by what `/proc/PID/stat` says, where it is a child of `parent` that has ended.
fn ended(pid: i32, parent: i32, stat: &str) -> Option<Ended> {
    let (state, of, group, session) = about(stat)?;
    (state == "Z" && of == parent).then_some(Ended { pid, group, session })
}

/// State, parent, group and session of a process.
fn about(stat: &str) -> Option<(&str, i32, i32, i32)> {
    // Its name may contain anything, also blanks and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let mut numbers = fields.map_while(|field| field.parse().ok());
    Some((state, numbers.next()?, numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        for (sentence, stat, expected) in [
            ("an orphan", "7 (sleep) Z 1 5 3 0 -1", Some(Ended { pid: 7, group: 5, session: 3 })),
            ("a name like a status", "7 (a) Z 9 (b) Z 1 7 3 0", Some(Ended { pid: 7, group: 7, session: 3 })),
            ("it runs", "7 (sleep) S 1 5 3 0 -1", None),
            ("a child of another one", "7 (sleep) Z 2 5 3 0 -1", None),
            ("nonsense", "7", None),
        ] {
            assert_eq!(ended(7, 1, stat), expected, "{sentence}");
        }
    }

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
