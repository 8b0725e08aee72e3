//! Programs of a patrold that was killed: nobody bounds their time any more.
//!
//! Law: a program that hangs outlives the patrold that started it, where that was killed, only until the next one starts.
//! Each carries in its environment who started it. One whose starter is gone, and that still leads its process group, is
//! ended together with its group, before another one is started. What a program left behind when it ended may live on.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, getpid, kill_process_group};
use tokio::time::{Instant, sleep};

use super::PATIENCE;
use super::table::{Process, pids};
use crate::files;

/// The variable that says who started a program: namespace of process numbers, number, and when that one was started.
pub const STARTED_BY: &str = "PATROLD_STARTED_BY";

/// What a program carries that this process starts. None where the kernel does not tell.
pub fn starter() -> Option<String> {
    let own = getpid().as_raw_nonzero().get();
    Some(named(&namespace()?, own, Process::read(own)?.started))
}

/// A program that was abandoned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    pub pid: i32,
    pub program: String,
    /// With the number, which one it is.
    started: u64,
}

/// Ends every program of this user that was abandoned, together with its group: politely, and after two seconds by force.
/// Tells which they were.
pub async fn end() -> Vec<Abandoned> {
    // The kernel may make a look at a stuck process wait.
    let Ok(found) = files::off_runtime(Path::new("/proc"), |_| Ok(find())).await else { return Vec::new() };
    for abandoned in &found {
        abandoned.signal(Signal::TERM);
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && found.iter().any(Abandoned::lives) {
        sleep(Duration::from_millis(20)).await;
    }
    for abandoned in &found {
        abandoned.signal(Signal::KILL);
    }
    found
}

impl Abandoned {
    /// Whether it is there still, and has not ended.
    fn lives(&self) -> bool {
        Process::read(self.pid).is_some_and(|process| process.started == self.started && !process.is_zombie)
    }

    /// Signals its group, unless its number has passed to another process.
    fn signal(&self, signal: Signal) {
        let same = Process::read(self.pid).is_some_and(|process| process.started == self.started);
        if let Some(group) = Pid::from_raw(self.pid).filter(|_| same) {
            // Fails only where no process of the group is left.
            let _ = kill_process_group(group, signal);
        }
    }
}

fn find() -> Vec<Abandoned> {
    let Some(namespace) = namespace() else { return Vec::new() };
    pids().into_iter().filter_map(|pid| abandoned(pid, &namespace)).collect()
}

/// The process `pid`, where it is a program that was abandoned.
fn abandoned(pid: i32, namespace: &str) -> Option<Abandoned> {
    let process = Process::read(pid)?;
    // What leads a session of its own has left the program that started it on purpose.
    if process.is_zombie || process.group != pid || process.session == pid {
        return None;
    }
    let owner = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let starter = started_by(pid).filter(|_| owner == geteuid().as_raw())?;
    is_gone(&starter, namespace).then_some(Abandoned { pid, program: process.name, started: process.started })
}

/// Who started the process `pid`, where a patrold did.
fn started_by(pid: i32) -> Option<String> {
    const MOST: u64 = 1 << 20;
    let mut environment = Vec::new();
    File::open(format!("/proc/{pid}/environ")).ok()?.take(MOST).read_to_end(&mut environment).ok()?;
    let mut variables = environment.split(|byte| *byte == 0).filter_map(|it| std::str::from_utf8(it).ok());
    variables.find_map(|it| it.strip_prefix(STARTED_BY)?.strip_prefix('=').map(str::to_owned))
}

/// Whether `starter` was a process of this namespace and is not any more. Of another namespace nobody here can tell.
fn is_gone(starter: &str, namespace: &str) -> bool {
    let mut words = starter.split('-');
    let (Some(its), Some(pid), Some(_), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return false;
    };
    let Ok(pid) = pid.parse() else { return false };
    let now = Process::read(pid).filter(|process| !process.is_zombie);
    its == namespace && now.is_none_or(|process| named(namespace, pid, process.started) != starter)
}

fn named(namespace: &str, pid: i32, started: u64) -> String {
    format!("{namespace}-{pid}-{started}")
}

/// The namespace of process numbers that this process is in.
fn namespace() -> Option<String> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(link.to_str()?.chars().filter(char::is_ascii_digit).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::{Child, Command};

    use super::*;

    /// A program that hangs, and that `starter` started.
    fn hangs(starter: Option<String>) -> Child {
        let mut command = Command::new("sleep");
        command.arg("1000").process_group(0);
        if let Some(starter) = starter {
            command.env(STARTED_BY, starter);
        }
        command.spawn().unwrap()
    }

    fn found(child: &Child) -> bool {
        find().iter().any(|it| u32::try_from(it.pid).unwrap() == child.id() && it.program == "sleep")
    }

    #[tokio::test]
    async fn what_a_patrold_that_is_gone_has_started_is_ended_and_nothing_else() {
        let own = starter().unwrap();
        let namespace = namespace().unwrap();
        // Nothing has been started at the beginning of time but the kernel.
        let before = named(&namespace, getpid().as_raw_nonzero().get(), 0);
        let elsewhere = format!("0-{}", before.split_once('-').unwrap().1);
        let others: Vec<_> = [
            ("this process started it", Some(own)),
            ("it was started in another namespace", Some(elsewhere)),
            ("no patrold started it", None),
            ("nobody can read who did", Some("nonsense".to_owned())),
        ]
        .into_iter()
        .map(|(sentence, starter)| (sentence, hangs(starter)))
        .collect();
        let mut abandoned = hangs(Some(before));
        let ended = end().await;
        assert!(ended.iter().any(|it| it.pid.unsigned_abs() == abandoned.id()), "{ended:?}");
        assert_eq!(abandoned.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        for (sentence, mut child) in others {
            assert!(!found(&child) && child.try_wait().unwrap().is_none(), "{sentence}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
