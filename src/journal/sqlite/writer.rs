//! The thread that owns the writing connection: it takes whatever commits are waiting and makes them durable with one
//! sync of the disk.
//!
//! A group that fails is tried once more, each commit alone, so that one that cannot be written does not take the
//! others with it. A group that may have been written is not tried again: its outcome is unknown. The thread outlives
//! every error: the next commit is simply tried.
//!
//! Erased secrets are overwritten in the database file by `secure_delete`. Their sealed bytes also stand in the
//! write-ahead log until it is copied back and cut off, which follows when nothing is committed for a second, and at
//! the latest ten seconds after an erasure. Not sooner: syncing a file that grows costs a file system several times what
//! it costs to write over what is there, and so a log that is used over and over is the cheaper one. What then remains
//! is out of reach of any program that goes through the file system: old blocks of the cut-off log on the disk, and
//! copies on flash cells or in snapshots, sealed all of them.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::oneshot;

use super::error::failure;
use super::lease;
use super::place::Place;
use super::prune::{self, PruneError, Pruned};
use super::read;
use super::schema::{self, PATIENCE};
use crate::clock::Time;
use crate::journal::record::Chain;
use crate::journal::seal::Sealer;
use crate::journal::{Change, CommitError, Draft, Head, SecretChange, SecretSlot};
use crate::names::{InstanceId, TokenName};
use crate::outcome::{Failure, FailureCode};

/// The most commits in one transaction: bounds how long the first of them waits for the last.
const LARGEST_GROUP: usize = 512;

/// So long after the last commit the write-ahead log is truncated.
const TRUNCATE_AFTER: Duration = Duration::from_secs(1);

/// So long after an erasure it is truncated at the latest.
const TRUNCATE_WITHIN: Duration = Duration::from_secs(10);

/// How long a truncation waits for readers. Commits wait meanwhile, so it is short; it is tried again.
const TRUNCATE_PATIENCE: Duration = Duration::from_millis(20);

/// A commit whose secrets are sealed.
#[derive(Debug)]
pub(super) struct Sealed {
    /// Of the lease that it is made under.
    pub(super) epoch: u64,
    pub(super) token: TokenName,
    pub(super) follows: Head,
    pub(super) at: Time,
    pub(super) records: Vec<Draft>,
    /// `None`: the records tell of it.
    pub(super) state: Option<String>,
    /// `None` erases the slot.
    pub(super) secrets: Vec<(SecretSlot, Option<Vec<u8>>)>,
}

/// `change` with its secrets sealed, under the lease with the number `epoch`.
pub(super) fn seal(change: Change, epoch: u64, sealer: &Sealer) -> Result<Sealed, Failure> {
    let seal = |change| match change {
        SecretChange::Keep { slot, parts } => match sealer.seal(&slot, &parts) {
            Ok(sealed) => Ok((slot, Some(sealed))),
            Err(error) => Err(Failure::new(FailureCode::Journal, format!("the secret was not sealed: {error}"))),
        },
        SecretChange::Erase { slot } => Ok((slot, None)),
    };
    Ok(Sealed {
        epoch,
        token: change.token,
        follows: change.follows,
        at: change.at,
        records: change.records,
        state: change.state,
        secrets: change.secrets.into_iter().map(seal).collect::<Result<_, _>>()?,
    })
}

/// What the writer is asked to do.
pub(super) enum Job {
    Commit(Sealed, oneshot::Sender<Answer>),
    /// All of them or none.
    All(Vec<Sealed>, oneshot::Sender<Result<(), Failure>>),
    /// Removes records that are older, in microseconds since 1970.
    Prune(i64, oneshot::Sender<Result<Pruned, Failure>>),
    /// Lets a test break or mend the connection.
    #[cfg(test)]
    Tamper(Box<dyn FnOnce(&Connection) + Send>),
}

/// What became of one commit.
pub(super) type Answer = Result<Head, CommitError>;

/// How far a transaction got that failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing of it was written.
    Undone(rusqlite::Error),
    /// Whether it was written cannot be read either.
    Unknown(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Undone(error)
    }
}

impl Failed {
    fn answer(self, path: &Path) -> CommitError {
        match self {
            Self::Undone(error) => CommitError::Refused(failure(path, &error)),
            Self::Unknown(error) => CommitError::Unknown(failure(path, &error)),
        }
    }
}

/// When the write-ahead log is to be truncated.
#[derive(Clone, Copy)]
struct Truncation {
    /// Put off by every commit.
    due: Instant,
    /// Not put off.
    latest: Instant,
}

/// The writing connection and what it knows of the database.
pub(super) struct Writer {
    connection: Connection,
    path: PathBuf,
    place: Place,
    instance: InstanceId,
    /// When the erased secrets have to be cut off the write-ahead log.
    truncation: Option<Truncation>,
}

impl Writer {
    pub(super) fn new(connection: Connection, path: PathBuf, place: Place, instance: InstanceId) -> Self {
        Self { connection, path, place, instance, truncation: None }
    }

    /// Works until nobody can ask any more, then leaves the database in one file.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Some(job) = self.wait(jobs) {
            let mut commits = Vec::new();
            let mut answers = Vec::new();
            let mut others = Vec::new();
            for job in std::iter::once(job).chain(jobs.try_iter()).take(LARGEST_GROUP) {
                match job {
                    Job::Commit(commit, answer) => {
                        commits.push(commit);
                        answers.push(answer);
                    }
                    #[cfg(test)]
                    Job::Tamper(tamper) => tamper(&self.connection),
                    other => others.push(other),
                }
            }
            for (answer, result) in answers.into_iter().zip(self.commit(&commits)) {
                // Whoever asked may have been cancelled; the commit stands all the same.
                let _ = answer.send(result);
            }
            for job in others {
                self.serve(job);
            }
        }
        // Best effort: the next start reads the log as well.
        let _ = self.truncate();
    }

    /// Does what happens rarely, and alone.
    fn serve(&mut self, job: Job) {
        match job {
            Job::All(commits, answer) => {
                let result = self.all(&commits).map_err(Failure::from);
                // Whoever asked may have been cancelled; what was done stands all the same.
                let _ = answer.send(result);
            }
            Job::Prune(before, answer) => {
                let _ = answer.send(self.prune(before));
            }
            Job::Commit(..) => {}
            #[cfg(test)]
            Job::Tamper(_) => {}
        }
    }

    fn prune(&mut self, before: i64) -> Result<Pruned, Failure> {
        self.place.check()?;
        match prune::prune(&mut self.connection, self.instance, before) {
            Ok(pruned) => {
                self.put_off_truncation();
                Ok(pruned)
            }
            Err(PruneError::Database(error)) => Err(failure(&self.path, &error)),
            Err(broken) => Err(Failure::new(FailureCode::Journal, broken.to_string())),
        }
    }

    /// The next job; truncates the log meanwhile when that is due. `None`: there will be no more.
    fn wait(&mut self, jobs: &Receiver<Job>) -> Option<Job> {
        loop {
            let Some(Truncation { due, latest }) = self.truncation else {
                return jobs.recv().ok();
            };
            let now = Instant::now();
            if now < latest {
                match jobs.recv_timeout(due.saturating_duration_since(now)) {
                    Ok(job) => return Some(job),
                    Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
            let done = self.truncate();
            self.truncation = None;
            if !matches!(done, Ok(true)) {
                // A reader that is in the way has gone by the next time.
                self.put_off_truncation();
            }
        }
    }

    /// The write-ahead log is truncated when no more commits come, but not much later than it was to be first.
    fn put_off_truncation(&mut self) {
        let now = Instant::now();
        let latest = self.truncation.map_or_else(|| now + TRUNCATE_WITHIN, |truncation| truncation.latest);
        self.truncation = Some(Truncation { due: latest.min(now + TRUNCATE_AFTER), latest });
    }

    /// Makes `commits` durable: together, or where that fails, one by one.
    pub(super) fn commit(&mut self, commits: &[Sealed]) -> Vec<Answer> {
        if commits.is_empty() {
            return Vec::new();
        }
        if let Err(failure) = self.place.check() {
            return commits.iter().map(|_| Err(CommitError::Refused(failure.clone()))).collect();
        }
        match self.transact(commits, Whole::EachAlone) {
            Ok(answers) => answers,
            Err(Failed::Undone(_)) if commits.len() > 1 => commits.iter().flat_map(|it| self.alone(it)).collect(),
            Err(failed) => {
                let error = failed.answer(&self.path);
                commits.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    fn alone(&mut self, commit: &Sealed) -> Vec<Answer> {
        let answers = self.transact(std::slice::from_ref(commit), Whole::EachAlone);
        answers.unwrap_or_else(|failed| vec![Err(failed.answer(&self.path))])
    }

    /// Makes `commits` durable, all of them or none.
    fn all(&mut self, commits: &[Sealed]) -> Result<(), CommitError> {
        self.place.check().map_err(CommitError::Refused)?;
        let answers = self.transact(commits, Whole::AllOrNone).map_err(|failed| failed.answer(&self.path))?;
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// One transaction, one sync.
    fn transact(&mut self, commits: &[Sealed], whole: Whole) -> Result<Vec<Answer>, Failed> {
        if !self.connection.is_autocommit() {
            // A rollback failed earlier.
            self.connection.execute_batch("ROLLBACK")?;
        }
        // Read anew each time, from pages that are in memory: after an error nothing that was remembered is certain.
        let before = schema::chain(&self.connection, self.instance)?;
        let mut after = before.clone();
        let result = write(&mut self.connection, commits, whole, &mut after);
        let result = self.settle(result, &before, &after);
        if self.truncation.is_some() || commits.iter().any(|commit| !commit.secrets.is_empty()) {
            self.put_off_truncation();
        }
        result
    }

    /// What really became of a transaction that takes the chain from `before` to `after`: an error from `COMMIT` leaves
    /// that open, the database knows. Without records, it counts as undone: to write the same state and secrets again
    /// does no harm.
    ///
    /// One gap remains. When the disk refuses the sync of the log, the transaction is undone; if the daemon is then
    /// killed before it commits anything else, recovery may find the transaction complete in the log and keep it. It
    /// reappears whole, in its place, which is what a kill after the commit would have looked like.
    pub(super) fn settle(&self, written: Written, before: &Chain, after: &Chain) -> Result<Vec<Answer>, Failed> {
        let (answers, error) = match written {
            Written::Durable(answers) => return Ok(answers),
            Written::Never(error) => return Err(Failed::Undone(error)),
            Written::InDoubt(answers, error) => (answers, error),
        };
        match schema::chain(&self.connection, self.instance) {
            Ok(end) if end == *after && end != *before && self.connection.is_autocommit() => Ok(answers),
            Ok(_) if self.connection.is_autocommit() => Err(Failed::Undone(error)),
            _ => Err(Failed::Unknown(error)),
        }
    }

    /// Copies the write-ahead log into the database and cuts it off. False: a reader was in the way.
    fn truncate(&mut self) -> rusqlite::Result<bool> {
        self.connection.busy_timeout(TRUNCATE_PATIENCE)?;
        let busy = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, bool>(0));
        self.connection.busy_timeout(PATIENCE)?;
        Ok(!busy?)
    }
}

/// Whether commits stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    /// One that is denied leaves the others alone.
    EachAlone,
    /// One that is denied undoes the others.
    AllOrNone,
}

/// What became of a transaction, as far as its own answers tell.
pub(super) enum Written {
    Durable(Vec<Answer>),
    /// It failed before its end.
    Never(rusqlite::Error),
    /// Its end failed, which a database may do in either way. The answers are those of a transaction that was written.
    InDoubt(Vec<Answer>, rusqlite::Error),
}

/// Writes `commits` in one transaction, and takes `chain` along.
fn write(connection: &mut Connection, commits: &[Sealed], whole: Whole, chain: &mut Chain) -> Written {
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
        let epoch = lease::epoch(&transaction)?;
        let answers: Vec<_> =
            commits.iter().map(|it| apply(&transaction, epoch, chain, it)).collect::<rusqlite::Result<_>>()?;
        Ok((transaction, answers))
    });
    match begun {
        Err(error) => Written::Never(error),
        // Dropped, the transaction is rolled back.
        Ok((_, answers)) if whole == Whole::AllOrNone && answers.iter().any(Result::is_err) => {
            Written::Durable(answers)
        }
        Ok((transaction, answers)) => match transaction.commit() {
            Ok(()) => Written::Durable(answers),
            Err(error) => Written::InDoubt(answers, error),
        },
    }
}

/// Writes one commit; one that is denied writes nothing.
fn apply(transaction: &Transaction, epoch: u64, chain: &mut Chain, commit: &Sealed) -> rusqlite::Result<Answer> {
    if commit.epoch != epoch {
        return Ok(Err(CommitError::Fenced));
    }
    let head = read::head(transaction, &commit.token)?;
    if head != commit.follows {
        let stored = read::stored(transaction, &commit.token)?.unwrap_or_default();
        return Ok(Err(CommitError::Overtaken(Box::new(stored))));
    }
    for draft in &commit.records {
        let record = chain.append(commit.at, &commit.token, draft);
        transaction
            .prepare_cached(
                "INSERT INTO records (seq, at, token, kind, version, body, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                record.seq,
                record.at_micros,
                record.token,
                record.kind,
                record.version,
                record.body,
                record.hash
            ])?;
    }
    if let Some(state) = &commit.state {
        transaction
            .prepare_cached(
                "INSERT INTO states (token, state, seq) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (token) DO UPDATE SET state = excluded.state, seq = excluded.seq",
            )?
            .execute(params![commit.token.as_str(), state, chain.seq])?;
    }
    for (slot, sealed) in &commit.secrets {
        let (token, generation, revision) = (slot.token.as_str(), slot.generation.0, slot.revision);
        match sealed {
            Some(sealed) => transaction
                .prepare_cached(
                    "INSERT INTO secrets (token, generation, revision, sealed) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (token, generation, revision) DO UPDATE SET sealed = excluded.sealed",
                )?
                .execute(params![token, generation, revision, sealed])?,
            None => transaction
                .prepare_cached("DELETE FROM secrets WHERE token = ?1 AND generation = ?2 AND revision = ?3")?
                .execute(params![token, generation, revision])?,
        };
    }
    let moved = !commit.records.is_empty() || commit.state.is_some();
    Ok(Ok(if moved { Head(chain.seq) } else { head }))
}
