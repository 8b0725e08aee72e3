//! Removes old records. The last of them leaves its number and its hash behind, a checkpoint that the chain of the others
//! begins at, so that what remains can be followed as before.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::rows::{RECORDS, record};
use crate::journal::record::{Broken, Chain};
use crate::names::InstanceId;

/// What a removal of old records led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// How many records were removed.
    pub removed: u64,
    /// The oldest record that is left; `None`: there are no records.
    pub first: Option<i64>,
}

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PruneError {
    #[error("nothing was removed: {0}; `patrold history --verify` tells more")]
    Broken(#[from] Broken),
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// Removes every record before the first that is not older than `before` (microseconds since 1970). The last record of
/// all stays, and what a start has to replay. Records that are not what was written are not removed: that would hide it.
pub(super) fn prune(connection: &mut Connection, instance: InstanceId, before: i64) -> Result<Pruned, PruneError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seq = |sql: &str| transaction.query_row(sql, (), |row| row.get::<_, Option<i64>>(0));
    let (first, last) = (seq("SELECT min(seq) FROM records")?, seq("SELECT max(seq) FROM records")?);
    let (Some(first), Some(last)) = (first, last) else { return Ok(Pruned { removed: 0, first: None }) };
    let young: Option<i64> =
        transaction.query_row("SELECT min(seq) FROM records WHERE at >= ?1", [before], |row| row.get(0))?;
    let replayed = seq("SELECT min(records.seq) FROM states JOIN records \
         ON records.token = states.token AND records.seq > states.seq")?;
    let keep = young.into_iter().chain(replayed).min().unwrap_or(last);
    if keep <= first {
        return Ok(Pruned { removed: 0, first: Some(first) });
    }
    let mut chain = start(&transaction, instance)?;
    {
        let mut statement = transaction.prepare(&format!("{RECORDS} WHERE seq < ?1 ORDER BY seq"))?;
        let mut rows = statement.query([keep])?;
        while let Some(row) = rows.next()? {
            chain.follow(&record(row).map_err(|_| Broken { seq: chain.seq + 1 })?)?;
        }
    }
    if chain.seq + 1 != keep {
        return Err(Broken { seq: chain.seq + 1 }.into());
    }
    let put = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    transaction.execute(put, params!["checkpoint-seq", chain.seq])?;
    transaction.execute(put, params!["checkpoint-hash", chain.hash])?;
    // The trigger that guards the records goes and comes back within the transaction.
    let guard = "records_are_not_deleted";
    let trigger: Option<String> = transaction
        .query_row("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1", [guard], |row| row.get(0))
        .optional()?;
    transaction.execute_batch(&format!("DROP TRIGGER IF EXISTS {guard}"))?;
    let removed = transaction.execute("DELETE FROM records WHERE seq < ?1", [keep])?;
    if let Some(trigger) = trigger {
        transaction.execute_batch(&trigger)?;
    }
    transaction.commit()?;
    Ok(Pruned { removed: removed as u64, first: Some(keep) })
}

/// What the first record that is there continues: the checkpoint of the last removal, or the empty chain.
pub(super) fn start(connection: &Connection, instance: InstanceId) -> rusqlite::Result<Chain> {
    let meta = "SELECT value FROM meta WHERE key = ?1";
    let seq: Option<i64> = connection.query_row(meta, ["checkpoint-seq"], |row| row.get(0)).optional()?;
    let hash = connection.query_row(meta, ["checkpoint-hash"], |row| row.get(0)).optional()?;
    Ok(match (seq, hash) {
        (Some(seq), Some(hash)) => Chain { seq, hash },
        _ => Chain::new(instance),
    })
}
