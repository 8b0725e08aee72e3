//! One run of a hook's command: bounded in time and output, and in what it learns.
//!
//! The command gets a process group of its own, so that a timeout ends it with everything that it started. Its
//! environment is built from nothing; it never holds a secret. A hook that succeeds may leave processes behind (a
//! service that it restarted), so neither their lives nor an inherited output holds up the daemon.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::outcome::{Failure, FailureCode};

/// How much of the end of the output is kept for a message.
const TAIL: usize = 4096;

/// How long a group that was asked to end may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long output may still arrive after the command has ended.
const DRAIN: Duration = Duration::from_millis(100);

/// Where programs are looked for when the daemon itself has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command with everything that it may know.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Program and arguments.
    pub run: Vec<String>,
    pub timeout: Duration,
    /// Variables of its environment, besides `PATH` and `HOME`.
    pub variables: Vec<(OsString, OsString)>,
}

/// Why a run did not succeed, and the end of what the command said, uncleaned.
#[derive(Debug)]
pub struct Unsuccessful {
    pub failure: Failure,
    pub said: String,
}

/// Runs the command to its end, or until its time is over or `stop` turns true; then its group is killed.
pub async fn run(invocation: &Invocation, mut stop: watch::Receiver<bool>) -> Result<(), Unsuccessful> {
    let name = invocation.run.first().map_or("", String::as_str);
    let fail = |code, detail: String, said| Err(Unsuccessful { failure: Failure::new(code, detail), said });
    let mut child = match spawn(invocation) {
        Ok(child) => child,
        Err(error) => return fail(FailureCode::HookFailed, format!("cannot start {name}: {error}"), String::new()),
    };
    // Its pid is the group's id, and stays taken until the child is reaped below.
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let tail = Arc::new(Mutex::new(Tail::default()));
    let mut readers = JoinSet::new();
    if let Some(output) = child.stdout.take() {
        readers.spawn(collect(output, tail.clone()));
    }
    if let Some(output) = child.stderr.take() {
        readers.spawn(collect(output, tail.clone()));
    }
    let ended = tokio::select! {
        status = child.wait() => Some(status),
        () = tokio::time::sleep(invocation.timeout) => None,
        () = stopped(&mut stop) => None,
    };
    if ended.is_none() {
        kill(&mut child, group).await;
    }
    // Whoever inherited the output may keep it open for ever.
    let _ = timeout(DRAIN, async { while readers.join_next().await.is_some() {} }).await;
    readers.shutdown().await;
    let said = tail.lock().unwrap_or_else(PoisonError::into_inner).text();
    match ended {
        Some(Ok(status)) if status.success() => Ok(()),
        Some(Ok(status)) => fail(FailureCode::HookFailed, format!("{name} {}", describe(status)), said),
        Some(Err(error)) => fail(FailureCode::HookFailed, format!("{name}: {error}"), said),
        None if *stop.borrow() => {
            fail(FailureCode::HookFailed, format!("{name} was stopped because the daemon stops"), said)
        }
        None => fail(FailureCode::HookTimeout, format!("{name} ran for {:?}", invocation.timeout), said),
    }
}

fn spawn(invocation: &Invocation) -> io::Result<Child> {
    let (program, arguments) =
        invocation.run.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()));
    if let Some(home) = std::env::var_os("HOME") {
        command.env("HOME", home);
    }
    command.envs(invocation.variables.iter().map(|(name, value)| (name, value)));
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true).spawn()
}

/// Ends the whole group, politely at first, and reaps the command itself.
async fn kill(child: &mut Child, group: Option<Pid>) {
    let signal = |signal| {
        // A group that is gone has what was wanted.
        let _ = group.map(|group| kill_process_group(group, signal));
    };
    signal(Signal::TERM);
    // The leader is not reaped before the second signal: its pid must not pass to another group in between. So its
    // end is seen by looking, not by waiting.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline && !group.is_none_or(has_ended) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signal(Signal::KILL);
    let _ = child.wait().await;
}

/// Whether the command has ended, and only waits to be reaped.
fn has_ended(leader: Pid) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(leader), look), Ok(None))
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could stop it.
        std::future::pending::<()>().await;
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "did not succeed".to_owned(),
    }
}

async fn collect(mut output: impl AsyncRead + Unpin, tail: Arc<Mutex<Tail>>) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        tail.lock().unwrap_or_else(PoisonError::into_inner).add(&buffer[..length]);
    }
}

/// The last bytes of an output.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    cut: bool,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let surplus = self.bytes.len().saturating_sub(TAIL);
        self.cut |= surplus > 0;
        self.bytes.drain(..surplus);
    }

    /// As text, from the first whole word on: half a secret would not be recognised as one.
    fn text(&mut self) -> String {
        let bytes = self.bytes.make_contiguous();
        let whole = if self.cut {
            let start = bytes.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len());
            &bytes[start..]
        } else {
            bytes
        };
        String::from_utf8_lossy(whole).trim().to_owned()
    }
}
