//! Records as rows of the database.

use rusqlite::Row;

use crate::journal::record::Record;

pub(super) const RECORDS: &str = "SELECT seq, at, token, kind, version, body, hash FROM records";

pub(super) fn record(row: &Row) -> rusqlite::Result<Record> {
    Ok(Record {
        seq: row.get(0)?,
        at_micros: row.get(1)?,
        token: row.get(2)?,
        kind: row.get(3)?,
        version: row.get(4)?,
        body: row.get(5)?,
        hash: row.get(6)?,
    })
}
