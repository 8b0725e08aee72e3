//! Reads a file that somebody names by a path: the inventory, definitions, trust roots, credentials, keys.
//!
//! Law: what is read from a path is a regular file of a bounded size, and read within a bounded time. A path can lead
//! anywhere: a named pipe has no end, `/dev/zero` has too much of one, and a file system whose server is gone answers
//! nobody. The
//! read runs on a thread of its own, because the kernel offers no way to give up a read that hangs; a path that hangs
//! is not tried a second time before the first attempt has ended, so that hanging threads cannot pile up.
//!
//! Stores are not read here: [`durable`](crate::durable) walks to them with rules of its own.

use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// How long a file system may take to answer.
use crate::crash;

pub const PATIENCE: Duration = Duration::from_secs(5);

/// Most bytes of a secret: more than any API takes in a header.
pub const LARGEST_SECRET: usize = 64 << 10;

/// Most bytes of certificates in one file. The bundles of operating systems have a quarter of a MiB.
pub const LARGEST_CERTIFICATES: usize = 8 << 20;

/// Most bytes of one file of an inventory: two hundred thousand tokens fit.
pub const LARGEST_DOCUMENT: usize = 128 << 20;

/// Paths of which a read was given up and has not ended yet.
static HANGING: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);

/// Why a file was not read. Reads on after the file's name: "FILE is a directory".
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("does not exist")]
    Missing,
    /// Something else than a regular file.
    #[error("is {0}, not a regular file")]
    Kind(&'static str),
    #[error("is larger than {}", size(*most))]
    TooLarge { most: usize },
    #[error("was not read within {} s: its file system does not answer", PATIENCE.as_secs())]
    Hangs,
    #[error("cannot be read: {0}")]
    Io(io::Error),
}

impl ReadError {
    /// What an operator does about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Missing => "check the path",
            Self::Kind(_) => "name a regular file, or a link to one",
            Self::TooLarge { .. } => "check that the path names the right file",
            Self::Hangs => "look at the file system that holds it: the server behind a mount may be gone",
            Self::Io(_) => "let the user that patrold runs as read it and enter its directories",
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(error),
        }
    }
}

/// The content of the regular file that `path` leads to, at most `most` bytes. Blocks, for [`PATIENCE`] at most.
pub fn read(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    within(path, move |path| regular(path, most))
}

/// [`read`], for async code.
pub async fn read_off_runtime(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    off_runtime(path, move |path| regular(path, most)).await
}

/// Runs `look` at `path` on a thread of its own and waits for [`PATIENCE`] at most.
pub fn within<T: Send + 'static>(
    path: &Path,
    look: impl FnOnce(&Path) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    wait(path, PATIENCE, look)
}

/// [`within`], for async code.
pub async fn off_runtime<T: Send + 'static>(
    path: &Path,
    look: impl FnOnce(&Path) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let path = path.to_owned();
    let looked = tokio::task::spawn_blocking(move || within(&path, look)).await;
    looked.unwrap_or_else(|error| Err(ReadError::Io(crash::as_io(&error))))
}

fn wait<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    look: impl FnOnce(&Path) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    if hanging(|paths| paths.contains(path)) {
        return Err(ReadError::Hangs);
    }
    let (answer, answered) = sync_channel(1);
    let looked_at = path.to_owned();
    thread::Builder::new().name("read".to_owned()).spawn(move || {
        // Nobody waits any more: what was read is wiped with the channel.
        let _ = answer.send(look(&looked_at));
        hanging(|paths| paths.remove(&looked_at));
    })?;
    answered.recv_timeout(patience).unwrap_or_else(|_| {
        // Under the lock: an answer that came in this moment takes its path out only afterwards.
        hanging(|paths| {
            answered.try_recv().unwrap_or_else(|_| {
                paths.insert(path.to_owned());
                Err(ReadError::Hangs)
            })
        })
    })
}

fn hanging<T>(then: impl FnOnce(&mut HashSet<PathBuf>) -> T) -> T {
    then(HANGING.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// The same without the bounded time: for what runs inside of [`within`].
pub fn regular(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    // Looked at before it is opened: opening a device can have effects. Looked at again afterwards: it may have become
    // something else in between. `NONBLOCK`: opening a pipe must not wait for its writer.
    must_be_regular(&std::fs::metadata(path)?)?;
    let flags = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    must_be_regular(&found)?;
    if found.len() > most as u64 {
        return Err(ReadError::TooLarge { most });
    }
    capped(file, &found, most)
}

/// The file may be longer than it says, as in `/proc`, or grow while it is read.
fn capped(file: File, found: &Metadata, most: usize) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    // Room for all that there can be of a secret, so that growing leaves no copies behind.
    let told = usize::try_from(found.len()).unwrap_or(most);
    let room = told.max(LARGEST_SECRET).min(most) + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    file.take(most as u64 + 1).read_to_end(&mut content)?;
    if content.len() > most { Err(ReadError::TooLarge { most }) } else { Ok(content) }
}

fn must_be_regular(found: &Metadata) -> Result<(), ReadError> {
    let kind = found.file_type();
    match () {
        () if kind.is_file() => Ok(()),
        () if kind.is_dir() => Err(ReadError::Kind("a directory")),
        () if kind.is_fifo() => Err(ReadError::Kind("a named pipe")),
        () if kind.is_socket() => Err(ReadError::Kind("a socket")),
        () => Err(ReadError::Kind("a device")),
    }
}

fn size(bytes: usize) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mib => format!("{mib} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_path_that_leads_to_no_regular_file_of_bounded_size_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::write(at("large"), [b'x'; 11]).unwrap();
        std::fs::write(at("fits"), [b'x'; 10]).unwrap();
        for (name, told) in [
            ("missing", "does not exist"),
            ("pipe", "is a named pipe, not a regular file"),
            ("endless", "is a device, not a regular file"),
            ("loop", "cannot be read"),
            ("socket", "is a socket, not a regular file"),
            ("", "is a directory, not a regular file"),
            ("large", "is larger than"),
        ] {
            let error = read(&at(name), 10).unwrap_err();
            assert!(error.to_string().starts_with(told) && !error.remedy().is_empty(), "{name}: {error}");
        }
        assert_eq!(read(&at("fits"), 10).unwrap().len(), 10);
    }

    #[test]
    fn a_file_that_is_longer_than_it_says_is_read_whole_up_to_the_limit() {
        assert!(!read(Path::new("/proc/self/status"), LARGEST_SECRET).unwrap().is_empty());
        assert!(matches!(read(Path::new("/proc/self/status"), 10), Err(ReadError::TooLarge { most: 10 })));
    }

    #[test]
    fn a_file_system_that_hangs_holds_nobody_up_and_takes_one_thread_for_each_path() {
        let path = Path::new("/hangs/in/this/test");
        let (release, released) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel::<()>();
        let stuck = move |_: &Path| {
            // Dropped with the thread that is let go.
            let _ended = ended;
            let _ = released.recv();
            Ok(())
        };
        assert!(matches!(wait(path, Duration::from_millis(1), stuck), Err(ReadError::Hangs)));
        let again = |_: &Path| -> Result<(), ReadError> { panic!("looked at twice") };
        assert!(matches!(wait(path, PATIENCE, again), Err(ReadError::Hangs)), "the first one still hangs");
        assert!(wait(Path::new("/another"), PATIENCE, |_| Ok(())).is_ok(), "others do not wait for it");
        drop(release);
        assert!(end.recv().is_err());
        // The thread takes its path out a moment after its answer.
        while hanging(|paths| paths.contains(path)) {
            thread::yield_now();
        }
        assert!(wait(path, PATIENCE, |_| Ok(())).is_ok(), "it answers again");
    }
}
