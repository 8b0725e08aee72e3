//! What the watched paths hold at one moment, as digests: whether an event was a change is decided by comparing two.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::digest::{Context, SHA256};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::reach::children;
use super::{Look, Watched};

/// Files with more bytes are compared by length and time. No inventory and no credential is that large; what lies
/// beside them in a watched directory may be.
const MAX_HASHED: u64 = 64 << 20;

/// Every watched path and what it held. The paths in a watched directory count as watched.
#[derive(Debug, Default)]
pub(super) struct Snapshot(BTreeMap<PathBuf, State>);

/// What one path held.
#[derive(Clone, PartialEq, Eq)]
enum State {
    Absent,
    Unreadable(ErrorKind),
    Directory,
    /// A file of which nothing else matters.
    Present,
    /// A directory of which it matters whether it was made anew: what appeared and vanished in it within one burst shows
    /// nowhere else.
    Made {
        device: u64,
        inode: u64,
        at: Option<SystemTime>,
    },
    /// SHA-256 of the content.
    File([u8; 32]),
    Large {
        bytes: u64,
        modified: Option<SystemTime>,
    },
    /// A device, a pipe, a socket: never opened.
    Other,
}

/// Without the digest: it may be one of a secret that is guessable.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Unreadable(_) => "Unreadable",
            Self::Directory => "Directory",
            Self::Present => "Present",
            Self::Made { .. } => "Made",
            Self::File(_) => "File",
            Self::Large { .. } => "Large",
            Self::Other => "Other",
        })
    }
}

impl Snapshot {
    /// Reads everything that `target` names.
    pub(super) fn take(target: &Watched) -> Self {
        let mut states = BTreeMap::new();
        for path in target.files.iter().chain(&target.directories) {
            states.entry(path.clone()).or_insert_with(|| State::of(path, target.look));
        }
        for directory in &target.directories {
            match children(directory) {
                Ok(paths) => {
                    for path in paths {
                        let state = State::of(&path, target.look);
                        states.entry(path).or_insert(state);
                    }
                }
                Err(error) => drop(states.insert(directory.clone(), State::failed(&error))),
            }
        }
        Self(states)
    }

    /// Whether a reader of `target` may find something else than at the time of `earlier`. A path that `earlier` did not
    /// look at counts as changed: nobody can tell what it held when it was read.
    pub(super) fn differs(&self, earlier: &Self, target: &Watched) -> bool {
        let changed = |(path, state)| earlier.0.get(path) != Some(state);
        let gone = |path: &PathBuf| target.covers(path) && !self.0.contains_key(path);
        self.0.iter().any(changed) || earlier.0.keys().any(gone)
    }
}

impl State {
    fn of(path: &Path, look: Look) -> Self {
        Self::read(path, look).unwrap_or_else(|error| Self::failed(&error))
    }

    fn failed(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::Absent,
            kind => Self::Unreadable(kind),
        }
    }

    fn read(path: &Path, look: Look) -> io::Result<Self> {
        // Opening a pipe or a device can block or have effects.
        let found = fs::metadata(path)?;
        if found.is_dir() && look == Look::Presence {
            return Ok(Self::Made { device: found.dev(), inode: found.ino(), at: found.created().ok() });
        }
        if found.is_dir() {
            return Ok(Self::Directory);
        }
        if !found.is_file() {
            return Ok(Self::Other);
        }
        if look == Look::Presence {
            return Ok(Self::Present);
        }
        if found.len() > MAX_HASHED {
            return Ok(Self::Large { bytes: found.len(), modified: found.modified().ok() });
        }
        // It may have become a pipe since.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        digest(OpenOptions::new().read(true).custom_flags(flags).open(path)?).map(Self::File)
    }
}

fn digest(file: File) -> io::Result<[u8; 32]> {
    let mut hash = Context::new(&SHA256);
    let mut buffer = Zeroizing::new(vec![0; 32 << 10]);
    // The file may grow while it is read.
    let mut file = file.take(MAX_HASHED);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.finish().as_ref());
    Ok(digest)
}
