//! The tables, and how a database of an older version becomes one of this version.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::error::OpenError;
use crate::journal::record::Chain;
use crate::names::InstanceId;

/// "PtrD": what tells a journal from other databases.
pub(super) const APPLICATION_ID: i64 = 0x5074_7244;

/// Step N brings a database from version N to N + 1. Steps that were released are never changed.
pub(super) const STEPS: &[&str] = &[
    "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,  -- microseconds since 1970
    token   TEXT NOT NULL,
    kind    TEXT NOT NULL,
    version INTEGER NOT NULL,
    body    TEXT NOT NULL,
    hash    BLOB NOT NULL
) STRICT;
CREATE INDEX records_by_token ON records (token, seq);
CREATE TRIGGER records_are_not_changed BEFORE UPDATE ON records
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
CREATE TRIGGER records_are_not_deleted BEFORE DELETE ON records
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;

CREATE TABLE states (
    token TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    seq   INTEGER NOT NULL     -- the last record when this state was written
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
    token      TEXT NOT NULL,
    generation INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    sealed     BLOB NOT NULL,
    PRIMARY KEY (token, generation, revision)
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('instance', lower(hex(randomblob(4)))), ('transactions', 0);
",
    "
-- From this version on a state may be older than the last record of its token.
DELETE FROM meta WHERE key = 'transactions';
",
    "
-- From this version on every lease has an epoch, and commits under an old one are refused.
INSERT INTO meta VALUES ('epoch', 0);
",
];

/// How long a statement waits for a lock that another process holds.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What the connection that writes has besides the settings of every one. `FULL`: a commit is on the disk when it returns. `secure_delete`: an
/// erased secret is overwritten in the database file.
pub(super) fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "foreign_keys", "ON")
}

/// The settings of every connection. Its own cache of pages is small: the system keeps them, too. Plans do not depend on
/// what is asked for: a statement that is asked again is not planned again.
pub(super) fn prepare_reader(connection: &Connection) -> rusqlite::Result<()> {
    const CACHE_KIB: i64 = 512;
    connection.busy_timeout(PATIENCE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)
}

/// Refuses what is not a journal, or one of a version that is not known. Gives the version; 0 is an empty database.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed);
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let known = known();
    if application == APPLICATION_ID {
        return if version > known {
            Err(OpenError::Newer { path: path.to_owned(), found: version, known })
        } else {
            Ok(version)
        };
    }
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).map_err(failed)?;
    if application == 0 && version == 0 && tables == 0 { Ok(0) } else { Err(OpenError::Foreign(path.to_owned())) }
}

/// Takes every step that is missing, all of them or none.
pub(super) fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    if from == known() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in STEPS.iter().skip(usize::try_from(from).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    if from == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    transaction.pragma_update(None, "user_version", known())?;
    transaction.commit()
}

/// A journal that was just made goes on from another one, whose id is this.
pub(super) fn go_on_as(connection: &Connection, instance: InstanceId) -> rusqlite::Result<()> {
    connection.execute("UPDATE meta SET value = ?1 WHERE key = 'instance'", [instance.to_string()]).map(drop)
}

/// The id that was drawn when the journal was made.
pub(super) fn instance(connection: &Connection, path: &Path) -> Result<InstanceId, OpenError> {
    let text: String = connection
        .query_row("SELECT value FROM meta WHERE key = 'instance'", (), |row| row.get(0))
        .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
    InstanceId::try_from(text.clone())
        .map_err(|_| OpenError::Damaged { path: path.to_owned(), what: format!("the instance id {text:?}") })
}

/// The end of the chain, without following it.
pub(super) fn chain(connection: &Connection, instance: InstanceId) -> rusqlite::Result<Chain> {
    connection
        .prepare_cached("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1")?
        .query_row((), |row| Ok(Chain { seq: row.get(0)?, hash: row.get(1)? }))
        .optional()
        .map(|last| last.unwrap_or_else(|| Chain::new(instance)))
}

fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}
