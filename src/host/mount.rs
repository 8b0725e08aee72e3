//! Mounts that exist for this process alone.
//!
//! Law: what only the daemon sees is no delivery. A store that a sandbox hides from everybody else takes writes, reads
//! them back, and never drifts; its consumers meanwhile hold what they held before.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How a directory is hidden from other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// systemd gave the service a /tmp and a /var/tmp of its own.
    PrivateTmp,
    /// systemd put an empty directory over it.
    Inaccessible,
}

impl Hidden {
    /// What it is, and how to change it.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::PrivateTmp => "only patrold sees this directory: PrivateTmp= of its unit",
            Self::Inaccessible => "only patrold sees this directory: InaccessiblePaths= or ProtectHome= of its unit",
        }
    }
}

/// `/proc/self/mountinfo`, empty where it cannot be read: then nothing is known to be hidden. It is read again only where it
/// has changed since: stores ask before each write, and the table may be long.
pub fn table() -> Arc<str> {
    static LATEST: Mutex<Option<Watched>> = Mutex::new(None);
    let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(watched) = latest.as_mut()
        && watched.refresh().is_some()
    {
        return Arc::clone(&watched.text);
    }
    *latest = Watched::open();
    latest.as_ref().map_or_else(Arc::default, |watched| Arc::clone(&watched.text))
}

/// The table of mounts with its open file, on which the kernel tells of every change (`proc_pid_mountinfo(5)`).
struct Watched {
    file: File,
    text: Arc<str>,
}

impl Watched {
    fn open() -> Option<Self> {
        let mut watched = Self { file: File::open("/proc/self/mountinfo").ok()?, text: Arc::default() };
        watched.read()?;
        Some(watched)
    }

    /// `None`: nobody can tell whether it has changed.
    fn refresh(&mut self) -> Option<()> {
        let changed = PollFlags::PRI | PollFlags::ERR;
        let mut files = [PollFd::new(&self.file, PollFlags::PRI)];
        poll(&mut files, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).ok()?;
        if files[0].revents().intersects(changed) { self.read() } else { Some(()) }
    }

    fn read(&mut self) -> Option<()> {
        let mut text = String::new();
        self.file.rewind().ok()?;
        self.file.read_to_string(&mut text).ok()?;
        self.text = text.into();
        Some(())
    }
}

/// How `path` is hidden, by a table of mounts in the format of `proc_pid_mountinfo(5)`: the mount with the longest way to
/// `path` decides, and of several on one point the last.
pub fn of_path(table: &str, path: &Path) -> Option<Hidden> {
    let mut decides: Option<(usize, &str)> = None;
    for line in table.lines() {
        let mut fields = line.split(' ').skip(3);
        let (Some(root), Some(point)) = (fields.next(), fields.next()) else { continue };
        let point = unescape(point);
        let depth = point.components().count();
        if path.starts_with(&point) && decides.is_none_or(|(deepest, _)| depth >= deepest) {
            decides = Some((depth, root));
        }
    }
    let root = decides?.1;
    if root.split('/').any(|part| part.starts_with("systemd-private-")) {
        Some(Hidden::PrivateTmp)
    } else if root.contains("/systemd/inaccessible") {
        Some(Hidden::Inaccessible)
    } else {
        None
    }
}

/// Blanks, tabs, line breaks and backslashes are written as three octal digits.
fn unescape(point: &str) -> PathBuf {
    let mut out = String::with_capacity(point.len());
    let mut rest = point;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 4);
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            out.push(char::from(byte));
            rest = &rest[at + 4..];
        } else {
            out.push('\\');
            rest = &rest[at + 1..];
        }
    }
    out.push_str(rest);
    PathBuf::from(out)
}
