//! Tells when files really changed: the inventory and what belongs to it, and the files that credentials come from.
//!
//! The kernel reports events, and most of them are no change: a reader opens a file, an editor writes a backup, a tool
//! touches what it does not alter. Events therefore only wake a thread. It waits until the burst is over, and compares
//! digests of what the files hold now with those of the last time. A change is signalled once, however many files and
//! events it consisted of.
//!
//! What to watch besides the files themselves is the business of `reach`.

mod kernel;
mod reach;
mod snapshot;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::clock::Time;
use crate::event;
use crate::files;

use kernel::Kernel;
use reach::Reach;
use snapshot::Snapshot;

/// How long the thread waits for what.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// A burst is over when nothing happened for this long.
    quiet: Duration,
    /// A burst that does not end is looked at anyway after this long.
    longest: Duration,
    /// How often files are compared of which the kernel reports no events.
    unaided: Duration,
}

const TIMING: Timing =
    Timing { quiet: Duration::from_millis(200), longest: Duration::from_secs(2), unaided: Duration::from_secs(60) };

/// What is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Watched {
    files: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
    look: Look,
}

/// What of a file counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Look {
    /// What it holds.
    #[default]
    Content,
    /// That it is there.
    Presence,
}

impl Watched {
    fn new(files: &[PathBuf], directories: &[PathBuf], look: Look) -> Self {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let (files, directories) = (files.iter().map(absolute).collect(), directories.iter().map(absolute).collect());
        Self { files, directories, look }
    }

    fn covers(&self, path: &Path) -> bool {
        self.files.contains(path)
            || self.directories.contains(path)
            || path.parent().is_some_and(|directory| self.directories.contains(directory))
    }
}

/// Watches files and directories until it is dropped.
#[derive(Debug)]
pub struct Watch {
    orders: Arc<Mutex<Orders>>,
    wake: SyncSender<()>,
    look: Look,
}

/// What the owner of a [`Watch`] wants from its thread.
#[derive(Debug, Default)]
struct Orders {
    target: Option<Watched>,
    stop: bool,
}

impl Watch {
    /// Watches `files`, and `directories` with the files directly in them whose names do not begin with a dot. Any of
    /// them may be missing: that they appear is a change.
    ///
    /// The receiver gets one message per change and no second one before the first was taken: take it, then read the
    /// files. It ends when the watch is dropped. Changes count from `since` on, which is a time before the caller began to
    /// read the files.
    ///
    /// Reads all of the files once, and waits for that for at most five seconds: a file system that does not answer holds up
    /// no start. Not to be called where blocking is forbidden. Fails when no thread can be started.
    pub fn new(files: &[PathBuf], directories: &[PathBuf], since: Time) -> io::Result<(Self, mpsc::Receiver<()>)> {
        Self::with(Watched::new(files, directories, Look::Content), since)
    }

    /// The same, of files of which it matters only whether they are there: none is read.
    pub fn of_presence(files: &[PathBuf], since: Time) -> io::Result<(Self, mpsc::Receiver<()>)> {
        Self::with(Watched::new(files, &[], Look::Presence), since)
    }

    fn with(target: Watched, since: Time) -> io::Result<(Self, mpsc::Receiver<()>)> {
        let (wake, wakes) = sync_channel(1);
        let kernel = Kernel::new(wake.clone());
        Self::start(target, since, TIMING, kernel, wake, wakes)
    }

    fn start(
        target: Watched,
        since: Time,
        timing: Timing,
        kernel: Kernel,
        wake: SyncSender<()>,
        wakes: Receiver<()>,
    ) -> io::Result<(Self, mpsc::Receiver<()>)> {
        let look = target.look;
        let orders = Arc::new(Mutex::new(Orders::default()));
        // One place: a second signal says nothing that the first does not.
        let (signal, changes) = mpsc::channel(1);
        let snapshot = Snapshot::default();
        let mut worker =
            Worker { orders: orders.clone(), wakes, signal, timing, kernel, snapshot, target, blind: false };
        let (begun, begins) = sync_channel(1);
        let work = move || {
            worker.begin(since);
            // Nobody waits any more where this took too long.
            let _ = begun.send(());
            worker.run();
        };
        thread::Builder::new().name("watch".to_owned()).spawn(work)?;
        if begins.recv_timeout(files::PATIENCE) == Err(RecvTimeoutError::Timeout) {
            warn!(
                event = event::WATCH_DEGRADED,
                "a file system that holds a watched file does not answer; no change beside it is noticed before it does"
            );
        }
        Ok((Self { orders, wake, look }, changes))
    }

    /// Watches these from now on. What was watched before and is named again is compared with what it held at the last
    /// signal, so that no change is lost between a reading and this call; a path that is new causes a signal of its own,
    /// because nobody can tell whether it changed after it was read.
    ///
    /// Returns at once.
    pub fn retarget(&self, files: &[PathBuf], directories: &[PathBuf]) {
        self.order(|orders| orders.target = Some(Watched::new(files, directories, self.look)));
    }

    fn order(&self, give: impl FnOnce(&mut Orders)) {
        give(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        // Full: the thread is about to look anyway. Closed: it has ended with the receiver.
        let _ = self.wake.try_send(());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.order(|orders| orders.stop = true);
    }
}

/// The thread.
struct Worker {
    orders: Arc<Mutex<Orders>>,
    /// One place: a second wake-up says nothing that the first does not.
    wakes: Receiver<()>,
    signal: mpsc::Sender<()>,
    timing: Timing,
    kernel: Kernel,
    target: Watched,
    /// What the target held when it was last looked at.
    snapshot: Snapshot,
    /// The kernel cannot tell of every change.
    blind: bool,
}

impl Worker {
    /// Looks for the first time. What changed after `since` is signalled.
    fn begin(&mut self, since: Time) {
        self.settle();
        self.snapshot = Snapshot::take(&self.target);
        if Reach::of(&self.target).changed_since(since) {
            let _ = self.signal.try_send(());
        }
    }

    fn run(mut self) {
        while self.wait() {
            let ordered = self.orders().target.take();
            self.target = ordered.unwrap_or(self.target);
            // Watches first: what changes after them wakes the thread again.
            self.settle();
            let now = Snapshot::take(&self.target);
            if now.differs(&self.snapshot, &self.target) {
                // Full: the signal that waits there was not acted on yet and covers this change too.
                let _ = self.signal.try_send(());
            }
            self.snapshot = now;
        }
    }

    /// Waits until it is time to look. False: the end.
    fn wait(&self) -> bool {
        let woken = if self.blind {
            self.wakes.recv_timeout(self.timing.unaided)
        } else {
            self.wakes.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match woken {
            Ok(()) => self.sit_out_burst(),
            Err(RecvTimeoutError::Timeout) => !self.ends(),
            Err(RecvTimeoutError::Disconnected) => false,
        }
    }

    fn sit_out_burst(&self) -> bool {
        let end = Instant::now() + self.timing.longest;
        while !self.ends() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            match self.wakes.recv_timeout(self.timing.quiet.min(left)) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        false
    }

    fn ends(&self) -> bool {
        self.signal.is_closed() || self.orders().stop
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&mut self) {
        match self.kernel.settle(&self.target) {
            Ok(()) if self.blind => {
                info!(event = event::WATCH_RESTORED, "the kernel reports changes of all watched files again");
                self.blind = false;
            }
            Err(problem) if !self.blind => {
                let seconds = self.timing.unaided.as_secs();
                warn!(
                    event = event::WATCH_DEGRADED,
                    "changes of some watched files are noticed after up to {seconds} s only: {problem}"
                );
                self.blind = true;
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
