//! One daemon per state directory: whoever holds the lease commits, and nobody else.
//!
//! The kernel holds the lock (`flock` on `STATE/lock`) and lets go of it however the process ends. The file's content
//! is for people: it says who holds the lock, and means nothing when nobody does.
//!
//! Not every file system keeps locks. Each lease therefore has an epoch, which is counted in the database: a commit
//! under an old one is refused, whatever became of the lock.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::fs::{FlockOperation, flock};

use crate::clock::Time;
use crate::outcome::one_line;

/// How long a lock that is held is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile: the kernel has no lock with a time limit.
const ROUND: Duration = Duration::from_millis(20);

/// The only writer of a journal, as long as it lives and no later one has begun.
#[derive(Debug)]
pub struct Lease {
    pub(super) epoch: u64,
    _lock: Lock,
}

/// The lock of a state directory, held as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    /// Keep the lock: closing them releases it.
    _file: File,
    /// Nobody can take the directory away from under its lock, as they can the file.
    _directory: File,
}

impl Lock {
    /// Takes the lock on `state_dir`. One that is held is waited for a little: commands hold it for moments, and a daemon
    /// that ends. `now` is noted for whoever comes second. Blocks.
    pub(super) fn acquire(state_dir: &Path, now: Time) -> Result<Self, LockError> {
        Self::acquire_within(state_dir, now, PATIENCE)
    }

    fn acquire_within(state_dir: &Path, now: Time, patience: Duration) -> Result<Self, LockError> {
        let path = state_dir.join("lock");
        let failed = |source| LockError::Io { path: path.clone(), source };
        let directory = File::open(state_dir).map_err(failed)?;
        let held = || {
            let holder = File::open(&path).and_then(|mut file| read_holder(&mut file)).unwrap_or_default();
            LockError::Held { state_dir: state_dir.to_owned(), holder }
        };
        let end = Instant::now() + patience;
        // Where a file system knows no locks of directories, the file alone has to do.
        if let Err(rustix::io::Errno::WOULDBLOCK) = take(&directory, end) {
            return Err(held());
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            // The text in it belongs to the holder until the lock is ours.
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match take(&file, end) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(held()),
            Err(errno) => return Err(failed(errno.into())),
        }
        // Whose lock it is serves messages only: a full disk must not keep the daemon from starting.
        let _ = write_holder(&mut file, now);
        Ok(Self { _file: file, _directory: directory })
    }

    /// Begins a lease of the database in this directory: from now on, commits under earlier ones are refused.
    pub(super) fn begin(self, connection: &Connection) -> rusqlite::Result<Lease> {
        let epoch =
            connection.query_row("UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value", (), |row| {
                row.get(0)
            });
        Ok(Lease { epoch: epoch.map(i64::cast_unsigned)?, _lock: self })
    }
}

/// The epoch of the lease in force.
pub(super) fn epoch(connection: &Connection) -> rusqlite::Result<u64> {
    let epoch =
        connection.prepare_cached("SELECT value FROM meta WHERE key = 'epoch'")?.query_row((), |row| row.get(0));
    epoch.map(i64::cast_unsigned)
}

/// Locks `file`, and waits for it until `end`.
fn take(file: &File, end: Instant) -> rustix::io::Result<()> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => std::thread::sleep(ROUND),
            taken => return taken,
        }
    }
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// `holder`: what the lock file says, in one line; may be empty.
    #[error("the state directory {} is in use{}", state_dir.display(), named(holder))]
    Held { state_dir: PathBuf, holder: String },
    #[error("cannot open {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

fn named(holder: &str) -> String {
    if holder.is_empty() { ", by a process that has not named itself".to_owned() } else { format!(" by {holder}") }
}

fn read_holder(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text)?;
    Ok(one_line(&text, 300))
}

fn write_holder(file: &mut File, now: Time) -> io::Result<()> {
    let mut text = format!("process {}", std::process::id());
    if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        let _ = write!(text, " on {}", host.trim());
    }
    let _ = write!(text, ", started {}", now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    // The program and its subcommand are enough to recognise it.
    let command: Vec<_> = std::env::args_os().take(2).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let _ = write!(text, " as `{}`", one_line(&command.join(" "), 200));
    file.rewind()?;
    file.set_len(0)?;
    writeln!(file, "{text}")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::acquire(dir.path(), DateTime::UNIX_EPOCH).unwrap();
        let now = DateTime::UNIX_EPOCH;
        let refused = Lock::acquire_within(dir.path(), now, Duration::ZERO).unwrap_err().to_string();
        assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
        assert!(refused.contains("started 1970-01-01T00:00:00Z"), "{refused}");
        drop(first);
        Lock::acquire(dir.path(), DateTime::UNIX_EPOCH).unwrap();
    }

    #[test]
    fn a_lock_that_is_given_up_in_time_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::acquire(dir.path(), DateTime::UNIX_EPOCH).unwrap();
        let path = dir.path().to_owned();
        let second = std::thread::spawn(move || {
            Lock::acquire_within(&path, DateTime::UNIX_EPOCH, Duration::from_secs(60)).map(drop)
        });
        drop(first);
        second.join().unwrap().unwrap();
    }

    #[test]
    fn what_a_dead_holder_wrote_does_not_hold_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lock"), "process 1 on elsewhere, which is long gone, with a long line")
            .unwrap();
        let lock = Lock::acquire(dir.path(), DateTime::UNIX_EPOCH).unwrap();
        let text = std::fs::read_to_string(dir.path().join("lock")).unwrap();
        assert!(text.starts_with(&format!("process {}", std::process::id())) && !text.contains("gone"), "{text}");
        drop(lock);
    }

    #[test]
    fn a_removed_lock_file_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::acquire(dir.path(), DateTime::UNIX_EPOCH).unwrap();
        std::fs::remove_file(dir.path().join("lock")).unwrap();
        let refused = Lock::acquire(dir.path(), DateTime::UNIX_EPOCH).unwrap_err();
        assert!(matches!(refused, LockError::Held { .. }), "{refused}");
        drop(first);
        Lock::acquire(dir.path(), DateTime::UNIX_EPOCH).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let refused = Lock::acquire(Path::new("/nonexistent/state"), DateTime::UNIX_EPOCH).unwrap_err().to_string();
        assert!(refused.contains("/nonexistent/state/lock"), "{refused}");
    }
}
