//! Secrets under seal, as the database has them.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::journal::SecretSlot;
use crate::journal::key::KeyOrigin;

/// The sealed bytes in `slot`.
pub(super) fn sealed(connection: &Connection, slot: &SecretSlot) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT sealed FROM secrets WHERE token = ?1 AND generation = ?2 AND revision = ?3")?
        .query_row(params![slot.token.as_str(), slot.generation.0, slot.revision], |row| row.get(0))
        .optional()
}

/// How many secrets the journal holds.
pub(super) fn count_secrets(connection: &Connection) -> rusqlite::Result<usize> {
    let count: i64 = connection.query_row("SELECT count(*) FROM secrets", (), |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

pub(super) fn key_notes(origin: KeyOrigin, unreadable: &[SecretSlot]) -> Option<String> {
    let count = unreadable.len();
    match origin {
        KeyOrigin::MadeAnew if count > 0 => Some(format!(
            "the key that sealed the journal is lost: a new one was made, and {count} secrets cannot be opened; stop the \
             daemon and put the old seal.key back, or let their tokens be rotated"
        )),
        _ if count > 0 => Some(format!(
            "{count} secrets of the journal were sealed under another key and cannot be opened; give the daemon that key \
             again, or let their tokens be rotated"
        )),
        _ => None,
    }
}
