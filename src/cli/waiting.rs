//! Tells what a slow command waits for.

use std::io::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// What takes longer is worth a line.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells after a second, on standard error, what is waited for, unless it is over by then.
#[derive(Debug)]
pub(super) struct Waiting {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waiting {
    /// Begins to wait for `what`, until it is dropped.
    pub(super) fn begin(what: &'static str) -> Self {
        Self::telling(PATIENCE, move || {
            // There is nowhere left to report that standard error cannot be written to.
            let _ = writeln!(std::io::stderr(), "waiting for {what}");
        })
    }

    fn telling(patience: Duration, tell: impl FnOnce() + Send + 'static) -> Self {
        let (over, waits) = mpsc::channel();
        let wait = move || {
            if waits.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                tell();
            }
        };
        // Without a thread nothing is told; what is waited for comes all the same.
        let thread = std::thread::Builder::new().name("waiting".to_owned()).spawn(wait).ok();
        Self { over: Some(over), thread }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.over.take());
        // Ends at once; it cannot have panicked.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_its_time_is_told() {
        let (told, tells) = mpsc::channel();
        let tell = {
            let told = told.clone();
            move || told.send(()).unwrap()
        };
        drop(Waiting::telling(Duration::from_secs(600), tell.clone()));
        assert!(tells.try_recv().is_err(), "it was over before");
        let waiting = Waiting::telling(Duration::ZERO, tell);
        tells.recv().unwrap();
        drop(waiting);
    }
}
