//! The journal for those who only look: the command line, while the daemon runs or not.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction};

use super::error::{OpenError, VerifyError};
use super::rows::{RECORDS, record};
use super::seals::sealed;
use super::{DATABASE, prune, schema};
use crate::journal::key::KeySource;
use crate::journal::record::{Broken, Record};
use crate::journal::seal::Sealer;
use crate::journal::{Head, SecretSlot, Stored};
use crate::names::{GenerationNo, InstanceId, TokenName};
use crate::secret::SecretParts;

/// A journal opened for reading.
#[derive(Debug)]
pub struct ReadOnly {
    connection: Connection,
    path: PathBuf,
    instance: InstanceId,
}

impl ReadOnly {
    /// Opens the journal in `state_dir`. Takes no lock: it sees what was committed when it reads.
    pub fn open(state_dir: &Path) -> Result<Self, OpenError> {
        let path = state_dir.join(DATABASE);
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(OpenError::Missing(path)),
            Err(source) => return Err(OpenError::Io { path, source }),
        }
        let connection = connect(&path).map_err(|source| OpenError::Database { path: path.clone(), source })?;
        let version = schema::check(&connection, &path)?;
        if version == 0 {
            return Err(OpenError::Missing(path));
        }
        let instance = schema::instance(&connection, &path)?;
        Ok(Self { connection, path, instance })
    }

    /// The id that the journal's markers carry.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// What is known of every token, by name.
    pub fn states(&self) -> Result<Vec<(TokenName, Stored)>, OpenError> {
        states(&self.connection, &self.path)
    }

    /// The secret in `slot`, opened with the key from `source`, which is never made here. `None`: there is none.
    pub fn secret(&self, slot: &SecretSlot, source: &KeySource) -> Result<Option<SecretParts>, OpenError> {
        let state_dir = self.path.parent().unwrap_or(Path::new("/"));
        let sealer = source.existing(state_dir)?;
        let sealed = sealed(&self.connection, slot).map_err(|source| self.failed(source))?;
        let Some(sealed) = sealed else { return Ok(None) };
        sealer.open(slot, &sealed).map(Some).map_err(|error| OpenError::Damaged {
            path: self.path.clone(),
            what: format!("the secret of {} generation {} ({error})", slot.token, slot.generation),
        })
    }

    /// Every record of `token`, oldest first.
    pub fn history(&self, token: &TokenName) -> Result<Vec<Record>, OpenError> {
        let read = || {
            self.connection
                .prepare(&format!("{RECORDS} WHERE token = ?1 ORDER BY seq"))?
                .query_map([token.as_str()], record)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.failed(source))
    }

    /// Hands every record to `look`, oldest first, only those of `token` where one is given, without holding them in
    /// memory. Ends early where `look` answers false.
    pub fn each(&self, token: Option<&TokenName>, mut look: impl FnMut(&Record) -> bool) -> Result<(), OpenError> {
        let failed = |source| self.failed(source);
        let filter = if token.is_some() { "WHERE token = ?1" } else { "WHERE ?1 IS NULL" };
        let mut statement = self.connection.prepare(&format!("{RECORDS} {filter} ORDER BY seq")).map_err(failed)?;
        let mut rows = statement.query([token.map(TokenName::as_str)]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            if !look(&record(row).map_err(failed)?) {
                break;
            }
        }
        Ok(())
    }

    /// The record at `seq`, where there is one.
    pub fn record(&self, seq: i64) -> Result<Option<Record>, OpenError> {
        let found = self.connection.query_row(&format!("{RECORDS} WHERE seq = ?1"), [seq], record).optional();
        found.map_err(|source| self.failed(source))
    }

    /// The number of the oldest record that is there.
    pub fn first(&self) -> Result<Option<i64>, OpenError> {
        let first = self.connection.query_row("SELECT min(seq) FROM records", (), |row| row.get(0));
        first.map_err(|source| self.failed(source))
    }

    /// Follows the chain of all records without holding them in memory; gives how many there are.
    pub fn verify_chain(&self) -> Result<i64, VerifyError> {
        let failed = |source| self.failed(source);
        // One transaction: the states and the records of the same moment.
        let transaction = self.connection.unchecked_transaction().map_err(failed)?;
        let last: i64 =
            transaction.query_row("SELECT ifnull(max(seq), 0) FROM states", (), |row| row.get(0)).map_err(failed)?;
        let mut chain = prune::start(&transaction, self.instance).map_err(failed)?;
        let mut statement = transaction.prepare(&format!("{RECORDS} ORDER BY seq")).map_err(failed)?;
        let mut rows = statement.query(()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            // A row that does not read as a record, bytes where text should be, is a broken one too.
            let record = record(row).map_err(|_| Broken { seq: chain.seq + 1 })?;
            chain.follow(&record)?;
        }
        if chain.seq < last {
            // The end of a chain can be cut off without a trace in the chain: the states still know of it.
            return Err(Broken { seq: chain.seq + 1 }.into());
        }
        Ok(chain.seq)
    }

    fn failed(&self, source: rusqlite::Error) -> OpenError {
        OpenError::Database { path: self.path.clone(), source }
    }
}

/// What is known of every token, by name.
pub(super) fn states(connection: &Connection, path: &Path) -> Result<Vec<(TokenName, Stored)>, OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let mut stored: Vec<(TokenName, Stored)> = Vec::new();
    // A look into the index for each token: most have no newer record.
    let mut statement = connection
        .prepare(
            "SELECT states.token, states.state, states.seq, records.body, records.version, records.seq FROM states \
             LEFT JOIN records ON records.token = states.token AND records.seq > states.seq \
             ORDER BY states.token, records.seq",
        )
        .map_err(failed)?;
    let mut rows = statement.query(()).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let token = row.get_ref(0).and_then(|token| Ok(token.as_str()?)).map_err(failed)?;
        let state_seq = row.get(2).map_err(failed)?;
        let body: Option<String> = row.get(3).map_err(failed)?;
        let version = row.get::<_, Option<u32>>(4).map_err(failed)?.unwrap_or(0);
        let head = Head(row.get::<_, Option<i64>>(5).map_err(failed)?.unwrap_or(state_seq));
        if let Some((_, stored)) = stored.last_mut().filter(|(last, _)| last.as_str() == token) {
            stored.since.extend(body);
            stored.newest = stored.newest.max(version);
            stored.head = head;
        } else {
            let state = row.get(1).map_err(failed)?;
            let since = body.into_iter().collect();
            stored.push((name(token, path)?, Stored { state, since, newest: version, head }));
        }
    }
    Ok(stored)
}

/// What is known of one token: its state, and the records since that very state, so that the caller reads both in one
/// transaction.
pub(super) fn stored(transaction: &Transaction, token: &TokenName) -> rusqlite::Result<Option<Stored>> {
    let state = transaction
        .prepare_cached("SELECT state, seq FROM states WHERE token = ?1")?
        .query_row([token.as_str()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((state, seq)) = state else { return Ok(None) };
    let records = transaction
        .prepare_cached("SELECT body, version, seq FROM records WHERE token = ?1 AND seq > ?2 ORDER BY seq")?
        .query_map(rusqlite::params![token.as_str(), seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<Vec<(String, u32, i64)>>>()?;
    let newest = records.iter().map(|(_, version, _)| *version).max().unwrap_or(0);
    let head = Head(records.last().map_or(seq, |(_, _, seq)| *seq));
    let since = records.into_iter().map(|(body, _, _)| body).collect();
    Ok(Some(Stored { state, since, newest, head }))
}

/// Where the journal of a token ends: its last record, or the last of all records when its state was written. Of records
/// that were removed since, the state still knows the number.
pub(super) fn head(connection: &Connection, token: &TokenName) -> rusqlite::Result<Head> {
    connection
        .prepare_cached(
            "SELECT max(ifnull((SELECT max(seq) FROM records WHERE token = ?1), 0), \
             ifnull((SELECT seq FROM states WHERE token = ?1), 0))",
        )?
        .query_row([token.as_str()], |row| row.get(0))
        .map(Head)
}

pub(super) fn name(text: &str, path: &Path) -> Result<TokenName, OpenError> {
    text.parse().map_err(|_| OpenError::Damaged { path: path.to_owned(), what: format!("the token name {text:?}") })
}

/// A connection that cannot write.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let open = |path: &Path, flags| {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(schema::PATIENCE)?;
        // The file is not touched before the first statement.
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
        Ok(connection)
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    open(path, flags).or_else(|error: rusqlite::Error| {
        let log = PathBuf::from(format!("{}-wal", path.display()));
        let has_writer = log.metadata().is_ok_and(|about| about.len() > 0);
        match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) if !has_writer => {}
            _ => return Err(error),
        }
        // A reader shares the index of the log with writers, and cannot make one where it may not write. Where the log
        // is empty nothing but the database is needed.
        let uri = url::Url::from_file_path(path).map_err(|()| error)?;
        open(Path::new(&format!("{uri}?immutable=1")), flags | OpenFlags::SQLITE_OPEN_URI)
    })
}

/// The slots whose secret does not fit the key, judged by their first bytes.
pub(super) fn unreadable(connection: &Connection, path: &Path, sealer: &Sealer) -> Result<Vec<SecretSlot>, OpenError> {
    let read = || {
        connection
            .prepare("SELECT token, generation, revision, substr(sealed, 1, 9) FROM secrets")?
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
            .filter(|row| row.as_ref().map_or(true, |(_, _, _, head): &Row| sealer.fits(head) != Ok(true)))
            .collect::<rusqlite::Result<Vec<Row>>>()
    };
    let rows = read().map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
    rows.into_iter()
        .map(|(token, generation, revision, _)| {
            Ok(SecretSlot { token: name(&token, path)?, generation: GenerationNo(generation), revision })
        })
        .collect()
}

/// Token, generation, revision, first bytes.
type Row = (String, u32, u32, Vec<u8>);
