//! System calls that fail, take long, or are the last thing that the program does, one after the other: the program runs
//! under `strace`, which injects them, and lives on without it.
//!
//! `PATROLD_CALL_PASSES` says how often the whole table is gone through.

use std::fs;
use std::io::{Write as _, stderr};
use std::process::{Command as Blocking, Stdio};
use std::time::Duration;

use patrold::clock::{Clock as _, SystemClock};
use patrold::demo::Loopback;
use patrold::demo::dice::Dice;
use tokio::process::{Child, Command};

use super::report::Report;
use super::stage::{self, Places};
use super::witness::Crowd;
use super::{come_to_rest, judge, judge_round, killed, launch, number, start, stop};
use crate::skipped;

/// How the kernel answers, in the words of `strace`.
const ERRORS: &[(&str, &[&str])] = &[
    // The journal.
    ("fdatasync", &["error=EIO", "delay_enter=200000"]),
    ("pwrite64", &["error=ENOSPC", "error=EIO"]),
    // Stores, and whatever else is replaced.
    ("fsync", &["error=EIO", "delay_enter=200000"]),
    ("renameat", &["error=ENOSPC", "error=EACCES"]),
    ("fchmod", &["error=EPERM"]),
    ("openat", &["error=EMFILE", "error=ENOSPC"]),
    // The network.
    ("connect", &["error=ECONNREFUSED", "error=ETIMEDOUT", "error=EMFILE"]),
    ("writev", &["error=ECONNRESET", "error=EPIPE"]),
    ("recvfrom", &["error=ECONNRESET", "error=ETIMEDOUT"]),
];

/// Where the program is killed.
const LAST: &[&str] = &[
    "write",
    "pwrite64",
    "fdatasync",
    "fsync",
    "openat",
    "renameat",
    "unlink",
    "fchmod",
    "connect",
    "writev",
    "recvfrom",
];

/// How long the program runs under injection, and then without. Lives of tokens are ten times as long and more.
const LIFE: Duration = Duration::from_millis(1500);
const CALM_LIFE: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_kernel_answers_it_keeps_its_promise() {
    if let Err(why) = probe() {
        return skipped(&why);
    }
    let seed = number("PATROLD_KILL_SEED").unwrap_or_else(|| SystemClock.now().timestamp_micros().unsigned_abs());
    let passes = number("PATROLD_CALL_PASSES").unwrap_or(1);
    let directory = tempfile::Builder::new().prefix("patrold-calls-").tempdir().unwrap();
    let loopback = Loopback::start(SystemClock, stage::services()).await.unwrap();
    let places = Places::set(directory.path(), &loopback);
    let mut report = Report::default();
    let (mut dice, mut met) = (Dice::new(seed), 0_usize);
    let crowd = Crowd::gather(places.consumers(&loopback));
    let table: Vec<(&str, &str)> = ERRORS
        .iter()
        .flat_map(|(call, answers)| answers.iter().map(move |answer| (*call, *answer)))
        .chain(LAST.iter().map(|call| (*call, "signal=SIGKILL")))
        .collect();
    'passes: for _ in 0..passes {
        for (call, answer) in &table {
            // Each thread counts for itself. The first ones belong to the start.
            let when = format!("{}+{}", 2 + dice.next() % 12, 3 + dice.next() % 8);
            let injection = format!("{call}:{answer}:when={when}");
            met += life(&places, &loopback, Some(&injection), &mut report).await;
            life(&places, &loopback, None, &mut report).await;
            if !report.breaches.is_empty() {
                report.breaches.push(format!("the last injection was {injection}"));
                break 'passes;
            }
        }
    }
    let mut daemon = start(&places);
    let states = come_to_rest(&places, &mut daemon, &mut report).await;
    stop(daemon, &mut report).await;
    judge(&places, &loopback, &mut crowd.dismiss(), &states, &mut report).await;
    // Not by a macro: what those print is swallowed where a test succeeds.
    let _ = writeln!(stderr(), "{met} system calls met their fault; {}", report.describe(&places, &loopback));
    assert!(met > table.len(), "only {met} calls met a fault: nothing was tested");
    if !report.breaches.is_empty() {
        let kept = directory.keep();
        let breaches = report.breaches.join("\n");
        panic!("the promise did not hold (seed {seed}, everything is in {}):\n{breaches}", kept.display());
    }
}

/// Whether programs can be traced here.
fn probe() -> Result<(), String> {
    let traced = Blocking::new("strace")
        .args(["-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match traced {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("programs cannot be traced here (strace ended with {status}): no system call fails")),
        Err(error) => Err(format!("strace cannot be run ({error}): no system call fails")),
    }
}

/// One life of a daemon; gives how many of its calls met the fault.
async fn life(places: &Places, loopback: &Loopback, injection: Option<&str>, report: &mut Report) -> usize {
    let trace = places.root.join("trace");
    // A descriptor that the kernel cannot flush, and that nobody has to.
    let _ = fs::remove_file(&trace);
    let mut daemon = match injection {
        Some(injection) => start_injected(places, injection, &trace),
        None => start(places),
    };
    let life = if injection.is_some() { LIFE } else { CALM_LIFE };
    let ended = tokio::time::timeout(life, daemon.wait()).await;
    if let Ok(Ok(status)) = ended {
        // What cannot start says so and ends; what runs goes on, whatever fails.
        if !killed(status) && status.code().is_none_or(|code| injection.is_none() || code == 101) {
            report.breaches.push(format!("under {injection:?} the daemon ended by itself: {status}"));
        }
    } else {
        daemon.start_kill().unwrap();
        daemon.wait().await.unwrap();
    }
    let log = fs::read_to_string(&places.log).unwrap_or_default();
    if let Some(panic) = log.lines().find(|line| line.contains("panicked at")) {
        report.breaches.push(format!("under {injection:?}: {panic}"));
    }
    judge_round(places, loopback, report);
    let met = fs::read_to_string(&trace).unwrap_or_default();
    met.lines()
        .filter(|line| line.contains("INJECTED") || line.contains("DELAYED") || line.contains("killed by"))
        .count()
}

/// The tracer is a child of the program, so that what is killed is the program.
fn start_injected(places: &Places, injection: &str, trace: &std::path::Path) -> Child {
    let call = injection.split(':').next().unwrap_or_default();
    let mut tracer = Command::new("strace");
    tracer
        .args(["-D", "-f", "--seccomp-bpf", "-qq", "-o"])
        .arg(trace)
        .args(["-e", &format!("trace={call}"), "-e", &format!("inject={injection}")])
        .arg(env!("CARGO_BIN_EXE_patrold"));
    launch(&mut tracer, places)
}
