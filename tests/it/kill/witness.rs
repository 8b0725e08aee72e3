//! Who watches the stores while daemons come and go.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{RecursiveMode, Watcher as _};
use patrold::clock::{Clock as _, SystemClock};
use patrold::demo::{Consumer, Verdict};
use tokio::sync::mpsc;

/// What happened to the files of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Created,
    Renamed,
}

/// Consumers that never take their eyes off their files.
pub struct Crowd {
    dismissed: Arc<AtomicBool>,
    watch: JoinHandle<Vec<Consumer>>,
}

impl Crowd {
    /// They look until they are dismissed.
    pub fn gather(mut consumers: Vec<Consumer>) -> Self {
        let dismissed = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&dismissed);
        let watch = std::thread::spawn(move || {
            while !over.load(Ordering::Acquire) {
                for consumer in &mut consumers {
                    // Findings stay with the consumer.
                    let _: Verdict = consumer.check(SystemClock.now());
                }
                // The daemon needs the processor, too.
                std::thread::park_timeout(Duration::from_millis(1));
            }
            consumers
        });
        Self { dismissed, watch }
    }

    /// Ends the watch; gives what they found.
    pub fn dismiss(self) -> Vec<Consumer> {
        self.dismissed.store(true, Ordering::Release);
        self.watch.join().unwrap()
    }
}

/// Tells of changes in the directory of the stores.
pub struct Watched {
    pub changes: mpsc::UnboundedReceiver<Change>,
    _watcher: notify::RecommendedWatcher,
}

impl Watched {
    /// Begins to watch.
    pub fn new(directory: &Path) -> Self {
        let (sender, changes) = mpsc::unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let change = match event.map(|event| event.kind) {
                Ok(EventKind::Create(_)) => Change::Created,
                Ok(EventKind::Modify(ModifyKind::Name(_))) => Change::Renamed,
                _ => return,
            };
            // Nobody waits any more once the run is over.
            let _ = sender.send(change);
        })
        .unwrap();
        watcher.watch(directory, RecursiveMode::NonRecursive).unwrap();
        Self { changes, _watcher: watcher }
    }

    /// What happened before does not count.
    pub fn forget(&mut self) {
        while self.changes.try_recv().is_ok() {}
    }
}
