//! Sends a signal to a process, and to no other: the process is held by a descriptor before it is looked at, so that its
//! number cannot pass to another one in between.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;

use super::command::{self, Invocation, Unsuccessful};
use super::unit;
use crate::files::{self, ReadError};
use crate::inventory::{SignalPolicy, SignalTarget};
use crate::outcome::{Failure, FailureCode};
use crate::process::signal::word;
use crate::process::table::{Process, pids};

/// More than any number of a process has digits.
const LONGEST: usize = 64;

/// The kernel counts the beginnings of processes in hundredths of a second (`USER_HZ`), whatever its own clock is.
const TICKS: u64 = 100;

/// What the clock of file times, the rounding of ticks and a clock that was set a little may differ by.
const SLACK: Duration = Duration::from_secs(2);

/// Sends the signal to everybody who is meant.
pub async fn send(policy: &SignalPolicy, timeout: Duration, stop: watch::Receiver<bool>) -> Result<(), Unsuccessful> {
    let sent = match &policy.target {
        SignalTarget::Unit { argv, user, .. } => {
            let kill = Invocation { run: argv.clone(), timeout, variables: unit::manager(*user) };
            return command::run(&kill, stop).await;
        }
        SignalTarget::PidFile { pid_file, exe } => {
            let (exe, signal) = (exe.clone(), policy.signal);
            files::off_runtime(pid_file, move |file| Ok(to_one(file, exe.as_deref(), signal))).await
        }
        SignalTarget::Program { exe, of } => {
            let (exe, of, signal) = (exe.clone(), *of, policy.signal);
            files::off_runtime(Path::new("/proc"), move |_| Ok(to_all(&exe, of, signal))).await
        }
    };
    let failed = |said: String| {
        let failure = Failure::new(FailureCode::HookFailed, format!("signal {}: {said}", word(policy.signal)));
        Err(Unsuccessful { failure, said: String::new() })
    };
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(NotSent::Absent(_))) if policy.may_be_absent => Ok(()),
        Ok(Err(NotSent::Absent(why) | NotSent::Other(why))) => failed(why),
        Err(error) => failed(format!("it {error}")),
    }
}

/// Why nobody got the signal.
enum NotSent {
    /// Nobody is there who could get it.
    Absent(String),
    Other(String),
}

/// To the process whose number is in `file`.
fn to_one(file: &Path, exe: Option<&Path>, signal: Signal) -> Result<(), NotSent> {
    let shown = file.display();
    let content = match files::regular(file, LONGEST) {
        Ok(content) => content,
        Err(ReadError::Missing) => return Err(NotSent::Absent(format!("there is no {shown}"))),
        Err(error) => return Err(NotSent::Other(format!("{shown} {error}"))),
    };
    let written = std::fs::metadata(file).and_then(|found| found.modified());
    let written = written.map_err(|error| NotSent::Other(format!("{shown}: {error}")))?;
    let number = std::str::from_utf8(&content).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let pid = number.and_then(Pid::from_raw).filter(|pid| pid.as_raw_nonzero().get() > 1);
    let pid = pid.ok_or_else(|| NotSent::Other(format!("{shown} holds no number of a process")))?;
    let gone = || NotSent::Absent(format!("the process of {shown} has ended"));
    let process = hold(pid).ok_or_else(gone)?;
    // From here on the number is that of this very process, or of none.
    let began =
        Process::read(pid.as_raw_nonzero().get()).and_then(|process| began(process.started)).ok_or_else(gone)?;
    if began > written + SLACK {
        let why = format!("process {pid:?} began after {shown} was written: it is another one");
        return Err(NotSent::Absent(why));
    }
    if let Some(exe) = exe {
        let found = program(pid).ok_or_else(gone)?;
        if found != exe {
            let why = format!("the process of {shown} runs {}, not {}", found.display(), exe.display());
            return Err(NotSent::Other(why));
        }
    }
    tell(&process, signal)
}

/// To every process that runs `exe`.
fn to_all(exe: &Path, of: Option<u32>, signal: Signal) -> Result<(), NotSent> {
    let mut told = 0;
    for pid in pids().into_iter().filter_map(Pid::from_raw) {
        let Some(process) = hold(pid) else { continue };
        let is_of = |user| {
            let about = std::fs::metadata(format!("/proc/{}", pid.as_raw_nonzero()));
            about.is_ok_and(|about| about.uid() == user)
        };
        if program(pid).as_deref() != Some(exe) || !of.is_none_or(is_of) {
            continue;
        }
        tell(&process, signal)?;
        told += 1;
    }
    if told == 0 { Err(NotSent::Absent(format!("no process runs {}", exe.display()))) } else { Ok(()) }
}

fn hold(pid: Pid) -> Option<OwnedFd> {
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn tell(process: &OwnedFd, signal: Signal) -> Result<(), NotSent> {
    pidfd_send_signal(process, signal).map_err(|error| match error {
        rustix::io::Errno::SRCH => NotSent::Absent("the process has ended".to_owned()),
        error => NotSent::Other(format!("{error}: the daemon needs the process's user, or CAP_KILL")),
    })
}

/// The program of a process, also where its file was replaced since.
fn program(pid: Pid) -> Option<PathBuf> {
    let link = std::fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).ok()?;
    let text = link.to_str()?;
    Some(PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(text)))
}

/// When a process began that did so `ticks` after the machine.
fn began(ticks: u64) -> Option<SystemTime> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    let since = Duration::from_secs_f64(uptime).saturating_sub(Duration::from_millis(ticks * 1000 / TICKS));
    crate::clock::system_now().checked_sub(since)
}
