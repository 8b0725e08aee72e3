//! The kernel's side of a watch: which directories it reports on, kept in step with the file system.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::Watched;
use super::reach::Reach;

/// Times that watches are set up anew because the tree changed meanwhile. Where that is not enough, the events of the
/// last change start the next burst.
const ROUNDS: usize = 8;

/// Types of file systems whose changes may be made by another machine, of which this kernel knows nothing. From the
/// kernel's `include/uapi/linux/magic.h`.
const REMOTE: [(u32, &str); 8] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x6573_5546, "FUSE"),
];

/// What the kernel was asked to report on.
pub(super) struct Kernel {
    watcher: notify::Result<RecommendedWatcher>,
    /// What the events are judged by, in the watcher's own thread. Never held while the watcher is called: it answers
    /// from that thread.
    reach: Arc<Mutex<Reach>>,
    /// Directories reported on, with the device and inode they had: another one under the same name is another one.
    directories: BTreeMap<PathBuf, Identity>,
}

type Identity = (u64, u64);

impl Kernel {
    /// Sends to `wake` whenever something happened that may matter.
    pub(super) fn new(wake: SyncSender<()>) -> Self {
        let reach = Arc::new(Mutex::new(Reach::default()));
        let judge = reach.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may have swallowed a change.
            let matters =
                event.map_or(true, |event| judge.lock().unwrap_or_else(PoisonError::into_inner).concerns(&event));
            if matters {
                // Full: the thread is about to look anyway.
                let _ = wake.try_send(());
            }
        });
        Self { watcher, reach, directories: BTreeMap::new() }
    }

    /// A kernel that reports nothing.
    #[cfg(test)]
    pub(super) fn broken() -> Self {
        let watcher = Err(notify::Error::generic("no instance left"));
        Self { watcher, reach: Arc::default(), directories: BTreeMap::new() }
    }

    /// Watches whatever decides about `target`. The error says why a change may go unreported.
    pub(super) fn settle(&mut self, target: &Watched) -> Result<(), String> {
        let watcher = match &mut self.watcher {
            Ok(watcher) => watcher,
            Err(error) => return Err(error.to_string()),
        };
        let mut reach = Reach::of(target);
        let mut outcome = Ok(());
        for _ in 0..ROUNDS {
            // Before the watches: an event must never be judged by what was watched earlier.
            *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = reach.clone();
            outcome = apply(watcher, &mut self.directories, &reach);
            let now = Reach::of(target);
            if now == reach {
                break;
            }
            reach = now;
        }
        outcome
    }
}

fn apply(
    watcher: &mut RecommendedWatcher,
    directories: &mut BTreeMap<PathBuf, Identity>,
    reach: &Reach,
) -> Result<(), String> {
    directories.retain(|directory, identity| {
        let same = reach.contains(directory) && identify(directory) == Some(*identity);
        if !same {
            // Gone already where the directory was removed.
            let _ = watcher.unwatch(directory);
        }
        same
    });
    let mut outcome = Ok(());
    for (directory, interest) in reach.iter() {
        let Some(identity) = identify(directory) else { continue };
        // Repeated also for those watched already: that changes nothing where the watch still stands, and a directory
        // that was removed and made anew can have got the same inode.
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => drop(directories.insert(directory.to_owned(), identity)),
            // The next round sees what became of it.
            Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => continue,
            Err(error) if interest.required => outcome = Err(error.to_string()),
            Err(_) => {}
        }
        if let Some(kind) = remote(directory).filter(|_| interest.required) {
            outcome = Err(format!("{} is on {kind}, which other machines may change", directory.display()));
        }
    }
    outcome
}

fn identify(directory: &Path) -> Option<Identity> {
    fs::metadata(directory).ok().map(|found| (found.dev(), found.ino()))
}

/// The name of the file system of `directory`, where that is one that other machines may write to.
fn remote(directory: &Path) -> Option<&'static str> {
    let found = u32::try_from(rustix::fs::statfs(directory).ok()?.f_type).ok()?;
    REMOTE.iter().find(|(magic, _)| *magic == found).map(|(_, name)| *name)
}
