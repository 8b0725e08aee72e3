//! The journal in one SQLite database of the state directory: `journal.db`, with its write-ahead log beside it.
//!
//! One thread writes, and makes all commits that wait for it durable at once (`writer`). Secrets are sealed before
//! they reach that thread and opened by a connection of their own, so that a read never waits for a sync.

mod error;
mod lease;
mod mark;
mod place;
mod prune;
mod read;
mod rows;
mod schema;
mod seals;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use tokio::sync::oneshot;

pub use self::error::{OpenError, VerifyError};
use self::lease::{Lease, Lock};
use self::place::{Place, prepare_directory, prepare_file};
pub use self::prune::Pruned;
pub use self::read::ReadOnly;
use self::read::unreadable;
use self::seals::{count_secrets, key_notes, sealed};
use self::writer::{Job, Writer, seal};
use super::key::{self, IfLost, KeyOrigin, KeySource};
use super::seal::{KeyId, Sealer};
use super::{Change, Commit, CommitError, Fence, Head, Journal, SecretSlot, Settled, Stored, settled};
use crate::clock::Time;
use crate::names::{AccountName, GenerationNo, InstanceId, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::secret::{Fingerprinter, SecretParts};

/// So long the path of the database is taken for what it was; each commit looks itself.
const REACHED: Duration = Duration::from_millis(100);

/// The database, in the state directory.
pub const DATABASE: &str = "journal.db";

/// The journal of a running daemon. It holds the lease of the state directory until it is dropped; dropping it waits
/// for the commits that were begun.
#[derive(Debug)]
pub struct SqliteJournal {
    sealer: Sealer,
    path: PathBuf,
    instance: InstanceId,
    place: Place,
    /// When the path last led to it.
    reached: Mutex<Option<Instant>>,
    reader: Mutex<Connection>,
    /// `None` only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    /// Last, so that the lock is held until the writer is done.
    lease: Lease,
}

/// The lock of a state directory whose process keeps its journal elsewhere.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code, reason = "held as long as it lives")] Lock);

impl DirectoryLock {
    /// Takes the lock, and makes the directory where there is none. Blocks.
    pub fn take(state_dir: &Path, now: Time) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: state_dir.to_owned(), source };
        let state_dir = std::path::absolute(state_dir).map_err(failed)?;
        prepare_directory(&state_dir).map_err(failed)?;
        Ok(Self(Lock::acquire(&state_dir, now)?))
    }
}

/// What a start finds in the journal.
#[derive(Debug)]
pub struct Opened {
    /// What our markers carry.
    pub instance: InstanceId,
    /// What is known of every token, by name.
    pub states: Vec<(TokenName, Stored)>,
    /// Makes fingerprints under the journal's key.
    pub fingerprinter: Fingerprinter,
    /// How the key came about.
    pub key: KeyOrigin,
    /// Secrets that the key cannot open: sealed under another, by a newer version, or damaged in their first bytes.
    /// Their tokens have to be rotated.
    pub unreadable: Vec<SecretSlot>,
    /// The key of a journal was there, and no journal: somebody took it away.
    pub bereft: bool,
    /// What an operator should know, a line each.
    pub notes: Vec<String>,
}

impl SqliteJournal {
    /// Opens the journal in `state_dir`, and makes it where there is none. Blocks; called once, at the start. `now` is
    /// noted in the lock file. A journal whose secrets the key cannot open, not one of them, is refused.
    pub fn open(state_dir: &Path, key: &KeySource, now: Time) -> Result<(Self, Opened), OpenError> {
        Self::open_with(state_dir, key, IfLost::Refuse, now)
    }

    /// The same, and `if_lost` says whether the journal opens without the key of its secrets.
    pub fn open_with(
        state_dir: &Path,
        key: &KeySource,
        if_lost: IfLost,
        now: Time,
    ) -> Result<(Self, Opened), OpenError> {
        Self::open_as(state_dir, key, if_lost, None, now)
    }

    /// The same. `instance`: what the markers of a journal carry that is made here, and goes on from another one.
    pub fn open_as(
        state_dir: &Path,
        key: &KeySource,
        if_lost: IfLost,
        instance: Option<InstanceId>,
        now: Time,
    ) -> Result<(Self, Opened), OpenError> {
        let failed = |source| OpenError::Io { path: state_dir.to_owned(), source };
        let state_dir = std::path::absolute(state_dir).map_err(failed)?;
        let mut notes = prepare_directory(&state_dir).map_err(failed)?;
        let lock = Lock::acquire(&state_dir, now)?;
        // A kill while the key was made may have left a temporary file; that it stays is no reason not to start.
        let _ = crate::durable::sweep(&state_dir);

        let path = state_dir.join(DATABASE);
        prepare_file(&path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let database = |source| OpenError::Database { path: path.clone(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(database)?;
        schema::prepare_reader(&connection).map_err(database)?;
        let version = schema::check(&connection, &path)?;
        let has_journal = version > 0;
        if !has_journal {
            // Before its key: a kill between the two must not leave a key without a journal, which tells of one that is gone.
            schema::prepare_writer(&connection).map_err(database)?;
            schema::migrate(&mut connection, version).map_err(database)?;
            if let Some(instance) = instance {
                schema::go_on_as(&connection, instance).map_err(database)?;
            }
        }
        // Before a key is made that opens none of them.
        let secrets = if has_journal { count_secrets(&connection).map_err(database)? } else { 0 };
        let lost = |secrets| OpenError::KeyLost { path: path.clone(), secrets };
        if secrets > 0 && if_lost == IfLost::Refuse && key.is_missing(&state_dir) {
            return Err(lost(secrets));
        }
        let (sealer, origin) = key.load(&state_dir, has_journal)?;
        if has_journal {
            schema::prepare_writer(&connection).map_err(database)?;
            schema::migrate(&mut connection, version).map_err(database)?;
        }
        let lease = lock.begin(&connection).map_err(database)?;
        let instance = schema::instance(&connection, &path)?;
        let sealer = match interrupted(&connection, &path, &state_dir, key, origin)? {
            Some(new) => new,
            None => sealer,
        };
        let place = Place::of(&state_dir, &path).map_err(failed)?;
        let unreadable = unreadable(&connection, &path, &sealer)?;
        if secrets > 0 && unreadable.len() >= secrets && if_lost == IfLost::Refuse {
            return Err(lost(secrets));
        }
        let states = read::states(&connection, &path)?;
        let last = schema::chain(&connection, instance).map_err(database)?.seq;
        let reader = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(database)?;
        schema::prepare_reader(&reader).map_err(database)?;

        let (jobs, queue) = mpsc::channel();
        let writer = Writer::new(connection, path.clone(), place.clone(), instance);
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|source| OpenError::Io { path: path.clone(), source })?;

        notes.extend(key_notes(origin, &unreadable));
        let bereft = !has_journal && *key == KeySource::StateDirectory && origin == KeyOrigin::Found;
        if bereft {
            notes.push(format!(
                "{} was missing beside the key that sealed it, and a new one was made: nothing is known of earlier \
                 tokens; stop the daemon and restore a backup, if there is one",
                path.display()
            ));
        } else {
            notes.extend(mark::compare(&state_dir, instance, last));
        }
        // Without it an older copy is not noticed, and everything else goes on.
        let _ = mark::note(&state_dir, instance, last);
        let fingerprinter = sealer.fingerprinter().clone();
        let reader = Mutex::new(reader);
        let journal = Self {
            sealer,
            path,
            instance,
            place,
            reached: Mutex::default(),
            reader,
            jobs: Some(jobs),
            writer: Some(writer),
            lease,
        };
        Ok((journal, Opened { instance, states, fingerprinter, key: origin, unreadable, bereft, notes }))
    }

    /// Which key seals the secrets.
    pub fn key_id(&self) -> KeyId {
        self.sealer.key_id()
    }

    /// Where secrets are kept.
    pub fn slots(&self) -> Result<Vec<SecretSlot>, OpenError> {
        let connection = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            connection
                .prepare("SELECT token, generation, revision FROM secrets")?
                .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<Vec<(String, u32, u32)>>>()
        };
        let rows = read().map_err(|source| OpenError::Database { path: self.path.clone(), source })?;
        let slot = |(token, generation, revision): (String, u32, u32)| {
            let token = read::name(&token, &self.path)?;
            Ok(SecretSlot { token, generation: GenerationNo(generation), revision })
        };
        rows.into_iter().map(slot).collect()
    }

    /// Makes all of `changes` or none.
    pub async fn revise(&self, changes: Vec<Change>) -> Result<(), Failure> {
        self.reseal(changes, &self.sealer).await
    }

    /// Makes all of `changes` or none, their secrets sealed with another key. This journal cannot open them afterwards.
    pub async fn reseal(&self, changes: Vec<Change>, sealer: &Sealer) -> Result<(), Failure> {
        let seal = |change| seal(change, self.lease.epoch, sealer);
        let changes = changes.into_iter().map(seal).collect::<Result<_, _>>()?;
        self.ask(|answer| Job::All(changes, answer)).await.unwrap_or_else(|| Err(stopped()))
    }

    /// Removes records that are older than `before`; the chain of the others begins at a checkpoint from then on.
    pub async fn prune(&self, before: Time) -> Result<Pruned, Failure> {
        self.ask(|answer| Job::Prune(before.timestamp_micros(), answer)).await.unwrap_or_else(|| Err(stopped()))
    }

    /// Has the writer do a job, and waits for its answer. `None`: the writer has stopped, before the job or after it.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<T> {
        let (answer, result) = oneshot::channel();
        self.jobs.as_ref()?.send(job(answer)).ok()?;
        result.await.ok()
    }

    /// The sealed bytes in `slot`. Blocks, for less time than it takes to have it done by another thread: one look-up
    /// in pages that the system has in memory, and a reader of a write-ahead log does not wait for syncs.
    fn sealed(&self, slot: &SecretSlot) -> rusqlite::Result<Option<Vec<u8>>> {
        // A read leaves nothing half done that a panic could have spoilt.
        let connection = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        sealed(&connection, slot)
    }

    #[cfg(test)]
    fn send(&self, job: Job) {
        self.jobs.as_ref().unwrap().send(job).unwrap();
    }
}

impl Journal for SqliteJournal {
    async fn claim(&self, account: &AccountName) -> Result<Fence, Failure> {
        // The lease is the claim of every account.
        Ok(Fence { account: account.clone(), epoch: self.lease.epoch })
    }

    async fn commit(&self, commit: Commit) -> Result<Head, CommitError> {
        let sealed = seal(commit.change, commit.fence.epoch, &self.sealer).map_err(CommitError::Refused)?;
        let answer = self.ask(|answer| Job::Commit(sealed, answer)).await;
        answer.unwrap_or_else(|| Err(CommitError::Unknown(stopped())))
    }

    async fn settle(&self, token: &TokenName, after: Head) -> Result<Settled, Failure> {
        Ok(settled(self.stored(token).await?, after))
    }

    fn reachable(&self) -> Result<(), Failure> {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if reached.is_some_and(|at| at.elapsed() < REACHED) {
            return Ok(());
        }
        *reached = None;
        self.place.check()?;
        *reached = Some(Instant::now());
        Ok(())
    }

    async fn stored(&self, token: &TokenName) -> Result<Option<Stored>, Failure> {
        let connection = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || read::stored(&connection.unchecked_transaction()?, token);
        read().map_err(|error| error::failure(&self.path, &error))
    }

    async fn secret(&self, slot: &SecretSlot) -> Result<Option<SecretParts>, Failure> {
        let sealed = self.sealed(slot).map_err(|error| error::failure(&self.path, &error))?;
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        self.sealer.open(slot, &sealed).map(Some).map_err(|error| {
            let what = format!("{} generation {}: {error}", slot.token, slot.generation);
            Failure::new(FailureCode::SecretUnreadable, what)
        })
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        // The writer ends when nobody can ask it any more.
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has been printed, and every commit since then has failed.
            let _ = writer.join();
        }
        let connection = self.reader.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(()), Ok(last)) = (self.place.check(), schema::chain(connection, self.instance)) {
            let state_dir = self.path.parent().unwrap_or(Path::new("/"));
            // As at the start.
            let _ = mark::note(state_dir, self.instance, last.seq);
        }
    }
}

fn stopped() -> Failure {
    Failure::new(FailureCode::Journal, "the journal's writer has stopped: restart the daemon")
}

/// Finishes a change of the key in the state directory that was interrupted: where the secrets are sealed with the new
/// one, it gets into its place; otherwise it is removed.
fn interrupted(
    connection: &Connection,
    path: &Path,
    state_dir: &Path,
    source: &KeySource,
    origin: KeyOrigin,
) -> Result<Option<Sealer>, OpenError> {
    if *source != KeySource::StateDirectory {
        return Ok(None);
    }
    let Some(next) = key::next(state_dir)? else { return Ok(None) };
    let head: Option<Vec<u8>> = connection
        .query_row("SELECT substr(sealed, 1, 9) FROM secrets LIMIT 1", (), |row| row.get(0))
        .optional()
        .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
    // All secrets are sealed anew in one transaction: one tells for all. Without any, the one before may stay, unless
    // there was none.
    let in_force = head.map_or(origin != KeyOrigin::Found, |head| next.fits(&head) == Ok(true));
    if in_force {
        key::settle(state_dir)?;
        return Ok(Some(next));
    }
    key::discard(state_dir)?;
    Ok(None)
}

#[cfg(test)]
mod tests;
