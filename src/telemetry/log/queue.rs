//! The queue of log lines on their way to standard error.
//!
//! Law: logging never blocks. A line goes into a bounded queue, and one thread writes to standard error, which may be a
//! pipe that nobody reads. Where the queue is full, lines are dropped; how many, one line and a metric tell.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::event;

/// Lines that wait for their turn have at most so many bytes.
const ROOM: usize = 1 << 20;

/// A quarter is kept for warnings and errors.
const ROOM_FOR_DETAILS: usize = ROOM / 4 * 3;

/// Lines that this process dropped. A process has one standard error, and therefore one count.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many log lines were dropped since the start.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Takes lines without waiting. Clones share everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The state changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// A line has left the queue and is not written yet.
    writing: bool,
}

impl Queue {
    /// A queue that a thread of its own empties into `out`, for as long as the process lives.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Self::default();
        let emptied = queue.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || emptied.empty(out))?;
        Ok(queue)
    }

    /// Waits until everything is written, for at most `patience`. True where it is.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut state = self.state();
        while state.writing || !state.lines.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn empty(&self, mut out: impl Write) {
        let mut told = dropped();
        loop {
            let line = self.next();
            // Where standard error is closed, or its disk is full, nobody can be told.
            let _ = out.write_all(&line);
            let last = {
                let mut state = self.state();
                state.writing = false;
                self.0.changed.notify_all();
                state.lines.is_empty()
            };
            let now = dropped();
            if last && now != told {
                tracing::warn!(
                    event = event::LOG_LINES_DROPPED,
                    count = now - told,
                    "log lines were dropped: standard error did not take them in time"
                );
                told = now;
            }
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut state = self.state();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.writing = true;
                return line;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, line: &[u8], room: usize) {
        let mut state = self.state();
        if state.bytes + line.len() > room {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the subscriber writes one line, whole.
#[derive(Debug)]
pub(super) struct QueuedLine<'a> {
    queue: &'a Queue,
    room: usize,
}

impl Write for QueuedLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.put(line, self.room);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = QueuedLine<'a>;

    fn make_writer(&'a self) -> QueuedLine<'a> {
        QueuedLine { queue: self, room: ROOM_FOR_DETAILS }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> QueuedLine<'a> {
        let room = if *metadata.level() <= Level::WARN { ROOM } else { ROOM_FOR_DETAILS };
        QueuedLine { queue: self, room }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A pipe that takes a line whenever it is told to.
    struct Pipe {
        may: Receiver<()>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Nobody lets it go on any more: the test is over.
            self.may.recv().map_err(io::Error::other)?;
            self.taken.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_up_nobody_and_what_is_dropped_is_counted() {
        let (go, may) = channel();
        let (taken, lines) = channel();
        let queue = Queue::start(Pipe { may, taken }).unwrap();
        let before = dropped();
        let line = vec![b'x'; 1000];
        for _ in 0..2000 {
            queue.put(&line, ROOM_FOR_DETAILS);
        }
        let dropped = dropped() - before;
        assert!((1000..2000).contains(&dropped), "{dropped} of 2000 lines were dropped");
        assert!(queue.state().bytes <= ROOM_FOR_DETAILS);
        assert!(!queue.flush(Duration::from_millis(10)), "nobody reads");
        queue.put(b"an error", ROOM);
        (0..=2000).for_each(|_| go.send(()).unwrap());
        assert!(queue.flush(Duration::from_secs(60)));
        let lines: Vec<_> = lines.try_iter().collect();
        assert_eq!(lines.last().unwrap(), b"an error", "what is wrong has room of its own");
        assert_eq!(lines.len() as u64, 2001 - dropped);
    }
}
