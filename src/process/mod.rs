//! Programs that patrold starts: bounded in time and in output, and ended together with everything that they started.
//!
//! A program gets a process group of its own, so that one signal reaches its children too. A program that ends by itself
//! may leave processes behind (a service that it restarted, a helper that caches a login): neither their lives nor an
//! output that they inherited holds anybody up. A future of [`run`] that is dropped kills the group. What outlives a
//! patrold that was killed is ended by the next one: [`abandoned`].

pub mod abandoned;
pub mod signal;
pub mod table;

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How long a group that was asked to end may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long output may still arrive after the program has ended, from those who inherited it.
const DRAIN: Duration = Duration::from_millis(100);

/// Where programs are looked for when the daemon itself has no `PATH`.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Exited(ExitStatus),
    /// Its time was over; the group was killed.
    TimedOut,
    /// The caller stopped it; the group was killed.
    Stopped,
    /// It printed more than may be; the group was killed.
    TooMuch,
}

/// Which part of an output is kept where it is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// All of it counts: more than that ends the run.
    All,
    /// The last bytes, for a message.
    End,
}

/// What a program prints. Clones share it, so that both outputs of a program can go into one. Wiped when it is dropped:
/// it may be a secret.
#[derive(Clone, Debug)]
pub struct Output(Arc<Mutex<Kept>>);

struct Kept {
    keep: Keep,
    limit: usize,
    bytes: Zeroizing<Vec<u8>>,
    cut: bool,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes of output", self.bytes.len())
    }
}

impl Output {
    /// An output that counts as a whole: a program that prints more than `limit` bytes is ended.
    pub fn whole(limit: usize) -> Self {
        Self::new(Keep::All, limit, limit + 1)
    }

    /// The last `limit` bytes of an output, however long it is.
    pub fn end(limit: usize) -> Self {
        Self::new(Keep::End, limit, 2 * limit)
    }

    /// `room`: the most there can be, so that growing leaves no copies behind.
    fn new(keep: Keep, limit: usize, room: usize) -> Self {
        let bytes = Zeroizing::new(Vec::with_capacity(room));
        Self(Arc::new(Mutex::new(Kept { keep, limit, bytes, cut: false })))
    }

    /// The bytes that were kept.
    pub fn bytes(&self) -> Zeroizing<Vec<u8>> {
        self.with(|kept| kept.bytes.clone())
    }

    /// What was kept as text. Where the beginning was cut off, it starts after the first blank: half a secret would not
    /// be recognised as one.
    pub fn text(&self) -> String {
        self.with(|kept| {
            let bytes = &kept.bytes;
            let start =
                if kept.cut { bytes.iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len()) } else { 0 };
            String::from_utf8_lossy(&bytes[start..]).trim().to_owned()
        })
    }

    /// Adds what was read; whether the program may go on.
    fn add(&self, read: &[u8]) -> bool {
        self.with(|kept| {
            match kept.keep {
                Keep::All => {
                    let room = kept.limit.saturating_sub(kept.bytes.len());
                    kept.bytes.extend_from_slice(&read[..read.len().min(room)]);
                    kept.cut |= read.len() > room;
                }
                Keep::End => {
                    let read = &read[read.len().saturating_sub(kept.limit)..];
                    let surplus = (kept.bytes.len() + read.len()).saturating_sub(kept.limit);
                    kept.cut |= surplus > 0;
                    kept.bytes.drain(..surplus);
                    kept.bytes.extend_from_slice(read);
                }
            }
            kept.keep == Keep::End || !kept.cut
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Kills the process group of a program, unless it was waited for: also when the caller goes away.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Fails only where no process of the group is left.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A program with its arguments that learns nothing of this process but where programs and its home are: the environment
/// is otherwise empty, and the working directory is `/`. `None`: there is no program.
pub fn command(argv: &[String]) -> Option<Command> {
    let (program, arguments) = argv.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()));
    if let Some(home) = std::env::var_os("HOME") {
        command.env("HOME", home);
    }
    Some(command)
}

/// How a program ended, in words that follow its name.
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "did not succeed".to_owned(),
    }
}

/// Runs the program to its end, or until its time is over, `stop` is ready, or it printed too much. The error is that
/// it cannot be started or waited for.
pub async fn run(
    command: &mut Command,
    time: Duration,
    stop: impl Future<Output = ()>,
    outputs: (&Output, &Output),
) -> io::Result<End> {
    run_with(command, None, time, stop, outputs).await
}

/// As [`run`], with `input` on its standard input. One that does not read it is not held up.
pub async fn run_with(
    command: &mut Command,
    input: Option<Zeroizing<Vec<u8>>>,
    time: Duration,
    stop: impl Future<Output = ()>,
    (out, err): (&Output, &Output),
) -> io::Result<End> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(starter) = abandoned::starter() {
        command.env(abandoned::STARTED_BY, starter);
    }
    let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
    let input = child.stdin.take().zip(input);
    // Its pid is the group's id, and stays taken until the child is reaped.
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let ended = tokio::select! {
        status = child.wait() => Ok(End::Exited(status?)),
        () = tokio::time::sleep(time) => Err(End::TimedOut),
        () = stop => Err(End::Stopped),
        () = too_much(stdout.as_mut(), out, stderr.as_mut(), err) => Err(End::TooMuch),
        never = feed(input) => match never {},
    };
    match ended {
        // What it leaves behind may live on.
        Ok(_) => group.0 = None,
        Err(_) => kill(&mut child, &mut group).await,
    }
    // A process that inherited the output may keep it open for ever.
    let rest = async { tokio::join!(read(stdout.as_mut(), out), read(stderr.as_mut(), err)) };
    let within = match timeout(DRAIN, rest).await {
        Ok((out, err)) => out && err,
        // All that the program itself has written is in the pipes, even where nobody found the time to read it.
        Err(_) => take(stdout.as_ref(), out) & take(stderr.as_ref(), err),
    };
    Ok(ended.map_or_else(|cause| cause, |exited| if within { exited } else { End::TooMuch }))
}

/// Writes the input and closes it. Never ready: the program's end counts, whether it read everything or not.
async fn feed(input: Option<(ChildStdin, Zeroizing<Vec<u8>>)>) -> Infallible {
    if let Some((mut stdin, bytes)) = input {
        // Fails where the program has closed it, which is its own affair.
        let _ = stdin.write_all(&bytes).await;
    }
    std::future::pending().await
}

/// Reads both outputs; ready only where one of them has more than may be.
async fn too_much(
    stdout: Option<&mut (impl AsyncRead + Unpin)>,
    out: &Output,
    stderr: Option<&mut (impl AsyncRead + Unpin)>,
    err: &Output,
) {
    tokio::select! {
        false = read(stdout, out) => {}
        false = read(stderr, err) => {}
        else => std::future::pending().await,
    }
}

/// Reads to the end of the output; false as soon as there is more than may be.
async fn read(source: Option<&mut (impl AsyncRead + Unpin)>, output: &Output) -> bool {
    let Some(source) = source else { return true };
    // Not within the future, which is part of whatever may have to start a program.
    let mut buffer = Zeroizing::new(vec![0; 4096]);
    while let Ok(length @ 1..) = source.read(&mut buffer[..]).await {
        if !output.add(&buffer[..length]) {
            return false;
        }
    }
    true
}

/// Takes what the pipe holds, without waiting for more; false where that is more than may be.
fn take(source: Option<&impl AsFd>, output: &Output) -> bool {
    /// More than any pipe holds, so that somebody who goes on writing holds up nobody.
    const MOST: usize = 1 << 20;
    let Some(source) = source else { return true };
    let mut buffer = Zeroizing::new([0; 4096]);
    let mut taken = 0;
    while taken < MOST {
        // The runtime made the pipe one that never blocks.
        let Ok(length @ 1..) = rustix::io::read(source, &mut buffer[..]) else { break };
        if !output.add(&buffer[..length]) {
            return false;
        }
        taken += length;
    }
    true
}

/// Ends the whole group, politely at first, and reaps the program itself.
async fn kill(child: &mut Child, group: &mut Group) {
    group.signal(Signal::TERM);
    // The leader is not reaped before the second signal: its pid must not pass to another group in between. So its
    // end is seen by looking, not by waiting.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline && !group.0.is_none_or(has_ended) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    group.signal(Signal::KILL);
    group.0 = None;
    let _ = child.wait().await;
}

/// Whether the program has ended, and only waits to be reaped.
fn has_ended(leader: Pid) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(leader), look), Ok(None))
}
