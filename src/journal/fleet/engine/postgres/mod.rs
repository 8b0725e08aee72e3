//! PostgreSQL 13 and later: tables and functions of the schema `patrold`, see `layout.sql`. Every transaction is one
//! statement.
//!
//! What was acknowledged survives the loss of the primary only with a synchronous standby: without one the fleet works, and
//! says so.

mod session;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::files;
use crate::inventory::{Database, EngineKind, EngineSettings};
use crate::journal::fleet::layout::{end_of, is_presence};
use crate::outcome::{Failure, FailureCode};
use crate::trust::TrustRoots;

use self::session::{Access, Manner, Pool, Question, misunderstood};
pub use self::watch::Watch;
use super::{Compare, Done, EngineError, Health, Look, PATIENCE, Pair, Since, Step};

/// Who writes what others watch says so here.
const CHANNEL: &str = "patrold";

/// Connections of one replica, besides those for its lease and its watch.
const CONNECTIONS: usize = 8;

/// The fleets of a database.
pub struct Postgres {
    access: Arc<Access>,
    pool: Pool,
    /// For signs of life, which wait for nothing else.
    pulse: Pool,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("place", &self.access.place()).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Reads the trust roots, on the blocking pool; connects to nobody yet.
    pub async fn new(database: &Database, settings: &EngineSettings) -> Result<Self, Failure> {
        let tls = if database.encrypted {
            let policy = settings.tls.clone();
            let roots = files::off_runtime(Path::new("/"), move |_| Ok(TrustRoots::read(&policy))).await;
            let roots = roots.map_err(|error| Failure::new(FailureCode::CaFile, error.to_string()))?;
            let unusable = |error: crate::trust::TrustError| format!("{error}; {}", error.remedy);
            Some(roots.map_err(|error| Failure::new(FailureCode::CaFile, unusable(error)))?.config())
        } else {
            None
        };
        let access = Arc::new(Access::new(database, settings.login.as_ref(), tls));
        Ok(Self { access, pool: Pool::of(CONNECTIONS), pulse: Pool::of(2) })
    }

    async fn ask(
        &self,
        manner: Manner,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, EngineError> {
        self.pool.ask(&self.access, &Question { sql, values, manner, patience: PATIENCE }).await
    }

    /// Makes the schema where it is missing.
    pub async fn prepare(&self) -> Result<(), EngineError> {
        let there = self.ask(Manner::Reads, "select to_regprocedure('patrold.sweep()') is not null", &[]).await?;
        if there.first().is_some_and(|row| row.get(0)) {
            return Ok(());
        }
        // One statement, so that all of it is made or nothing, by one of those who try.
        let sql = format!(
            "do $patrold$ begin perform pg_advisory_xact_lock(hashtextextended('patrold', 0)); {} end $patrold$",
            include_str!("layout.sql")
        );
        self.ask(Manner::Writes, &sql, &[]).await.map(drop)
    }

    pub async fn transact(
        &self,
        conditions: &[Compare],
        steps: &[Step],
        otherwise: &[String],
    ) -> Result<Done, EngineError> {
        let (mut compared, mut by_creation, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for condition in conditions {
            let (key, creation, revision) = match condition {
                Compare::Created(key, revision) => (key, true, revision),
                Compare::Modified(key, revision) => (key, false, revision),
            };
            compared.push(key.as_str());
            by_creation.push(creation);
            expected.push(*revision);
        }
        let (mut put, mut contents, mut holders) = (Vec::new(), Vec::new(), Vec::new());
        let (mut removed, mut range_from, mut range_to) = (Vec::new(), Vec::new(), Vec::new());
        let mut loud = false;
        for step in steps {
            match step {
                Step::Put { key, value, lease } => {
                    loud |= is_presence(key);
                    put.push(key.as_str());
                    contents.push(value.as_slice());
                    holders.push(*lease);
                }
                Step::Delete(key) => {
                    loud |= is_presence(key);
                    removed.push(key.as_str());
                }
                Step::DeleteRange(from, to) => {
                    range_from.push(from.as_str());
                    range_to.push(to.as_str());
                }
            }
        }
        let rows = self
            .ask(
                Manner::Writes,
                "select * from patrold.transact($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                &[
                    (&compared, Type::TEXT_ARRAY),
                    (&by_creation, Type::BOOL_ARRAY),
                    (&expected, Type::INT8_ARRAY),
                    (&put, Type::TEXT_ARRAY),
                    (&contents, Type::BYTEA_ARRAY),
                    (&holders, Type::INT8_ARRAY),
                    (&removed, Type::TEXT_ARRAY),
                    (&range_from, Type::TEXT_ARRAY),
                    (&range_to, Type::TEXT_ARRAY),
                    (&otherwise, Type::TEXT_ARRAY),
                ],
            )
            .await?;
        let Some(first) = rows.first() else { return Err(misunderstood(&self.access.place())) };
        if first.get("held") {
            if loud {
                self.ring().await;
            }
            return Ok(Done::Held(first.get("revision")));
        }
        let mut found = vec![None; otherwise.len()];
        for row in &rows {
            let place = usize::try_from(row.get::<_, i64>("place")).unwrap_or_default();
            if let (Some(slot), Some(pair)) = (place.checked_sub(1).and_then(|place| found.get_mut(place)), pair(row)) {
                *slot = Some(pair);
            }
        }
        Ok(Done::Denied(found))
    }

    /// Tells those who watch that it is time to look. In a statement of its own: one that notifies waits for every other
    /// one that does, until it is durable.
    async fn ring(&self) {
        // Who does not hear it looks a little later.
        let _ = self.ask(Manner::Reads, "select pg_notify($1, '')", &[(&CHANNEL, Type::TEXT)]).await;
    }

    pub async fn read(&self, looks: &[Look]) -> Result<Vec<Vec<Pair>>, EngineError> {
        let (sql, texts) = sql_of(looks);
        let values: Vec<(&(dyn ToSql + Sync), Type)> =
            texts.iter().map(|text| (text as &(dyn ToSql + Sync), Type::TEXT)).collect();
        let rows = match self.ask(Manner::Reads, &sql, &values).await {
            // A connection that was idle may have died in silence.
            Err(EngineError::Away(_)) => self.ask(Manner::Reads, &sql, &values).await?,
            answer => answer?,
        };
        Ok(pairs(&rows, looks.len()))
    }

    pub async fn all(&self, prefix: &str) -> Result<Vec<Pair>, EngineError> {
        let found = self.read(&[Look::Below(prefix.to_owned())]).await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub async fn snapshot(&self, prefix: &str) -> Result<(Vec<Pair>, Since), EngineError> {
        let all = self.all(prefix).await?;
        let known = all.iter().map(|pair| (pair.key.clone(), pair.modified)).collect();
        Ok((all, Since::Known(known)))
    }

    pub async fn watch(&self, prefix: &str, known: BTreeMap<String, i64>) -> Result<Watch, EngineError> {
        Watch::begin(&self.access, prefix, known).await
    }

    pub async fn pass(&self) -> Result<(), EngineError> {
        self.ask(Manner::Writes, "select patrold.pass()", &[]).await.map(drop)
    }

    pub async fn grant(&self, ttl: Duration) -> Result<i64, EngineError> {
        let seconds = ttl.as_secs_f64();
        let rows = self.ask(Manner::Writes, "select patrold.lend($1)", &[(&seconds, Type::FLOAT8)]).await?;
        rows.first().map(|row| row.get(0)).ok_or_else(|| misunderstood(&self.access.place()))
    }

    pub async fn keep(&self, lease: i64, patience: Duration) -> Result<bool, EngineError> {
        let values: &[(&(dyn ToSql + Sync), Type)] = &[(&lease, Type::INT8)];
        let question = Question { sql: "select patrold.keep($1)", values, manner: Manner::Writes, patience };
        let rows = self.pulse.ask(&self.access, &question).await?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    pub async fn end_lease(&self, lease: i64) -> Result<(), EngineError> {
        self.ask(Manner::Writes, "select patrold.end_lease($1)", &[(&lease, Type::INT8)]).await?;
        self.ring().await;
        Ok(())
    }

    pub async fn health(&self) -> Result<Health, EngineError> {
        let sql = "select split_part(current_setting('server_version'), ' ', 1), \
                   coalesce(pg_total_relation_size(to_regclass('patrold.keys')), 0)::bigint, \
                   current_setting('synchronous_standby_names'), (select count(*) from pg_stat_replication), \
                   current_setting('full_page_writes') = 'on'";
        let rows = self.ask(Manner::Reads, sql, &[]).await?;
        let Some(row) = rows.first() else { return Err(misunderstood(&self.access.place())) };
        let guarantees = Guarantees { synchronous: row.get(2), standbys: row.get(3), full_pages: row.get(4) };
        Ok(Health {
            kind: EngineKind::PostgreSql,
            version: row.get(0),
            size_bytes: u64::try_from(row.get::<_, i64>(1)).unwrap_or_default(),
            // Connections to others are not kept.
            has_leader: true,
            alarms: Vec::new(),
            risks: guarantees.risks(),
        })
    }
}

/// What decides how safe a commit is.
struct Guarantees {
    /// `synchronous_standby_names`.
    synchronous: String,
    /// How many standbys are connected.
    standbys: i64,
    full_pages: bool,
}

impl Guarantees {
    /// What is not guaranteed, a line each.
    fn risks(&self) -> Vec<String> {
        let mut risks = Vec::new();
        match (self.synchronous.is_empty(), self.standbys) {
            (true, 0) => risks.push(
                "PostgreSQL has no standby: its loss stops the fleet until a backup is restored, which may lack the last \
                 records; run a standby and name it in synchronous_standby_names"
                    .to_owned(),
            ),
            (true, _) => risks.push(
                "PostgreSQL does not wait for its standby (synchronous_standby_names is empty): a failover may lose the \
                 last records, and then needs `patrold fleet recover`; name the standby there"
                    .to_owned(),
            ),
            (false, 0) => risks.push(
                "PostgreSQL waits for a standby and none is connected: nothing is committed until one is; start it, or \
                 change synchronous_standby_names"
                    .to_owned(),
            ),
            (false, _) => {}
        }
        if !self.full_pages {
            risks.push(
                "PostgreSQL writes no full pages (full_page_writes = off): a power cut may damage the journal; set it to on"
                    .to_owned(),
            );
        }
        risks
    }
}

/// One statement for all looks, which sees one moment, and its values. Each value by itself, so that it is planned for what
/// it is.
fn sql_of(looks: &[Look]) -> (String, Vec<String>) {
    let (mut parts, mut texts) = (Vec::new(), Vec::new());
    for (number, look) in looks.iter().enumerate() {
        let (first, place) = (texts.len() + 1, number + 1);
        let condition = match look {
            Look::At(key) => {
                texts.push(key.clone());
                format!("key = ${first}")
            }
            Look::Below(prefix) => {
                texts.extend([prefix.clone(), end_of(prefix)]);
                format!("key >= ${first} and key < ${}", first + 1)
            }
        };
        parts.push(format!("select {place}::bigint as place, * from patrold.live where {condition}"));
    }
    (parts.join(" union all ") + " order by place, key", texts)
}

/// The key of a row. `None`: there is none.
fn pair(row: &Row) -> Option<Pair> {
    Some(Pair {
        key: row.get::<_, Option<String>>("key")?,
        value: row.get("value"),
        created: row.get("created"),
        modified: row.get("modified"),
    })
}

/// What each of `count` looks has found.
fn pairs(rows: &[Row], count: usize) -> Vec<Vec<Pair>> {
    let mut found = vec![Vec::new(); count];
    for row in rows {
        let place = usize::try_from(row.get::<_, i64>("place")).unwrap_or_default();
        if let (Some(slot), Some(pair)) = (place.checked_sub(1).and_then(|place| found.get_mut(place)), pair(row)) {
            slot.push(pair);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_guaranteed_is_told_with_the_remedy() {
        for (synchronous, standbys, full_pages, told) in [
            ("", 0, true, &["has no standby"][..]),
            ("", 1, true, &["does not wait"]),
            ("*", 0, true, &["none is connected"]),
            ("ANY 1 (a, b)", 2, true, &[]),
            ("*", 1, false, &["no full pages"]),
        ] {
            let risks = Guarantees { synchronous: synchronous.to_owned(), standbys, full_pages }.risks();
            assert_eq!(risks.len(), told.len(), "{risks:?}");
            assert!(risks.iter().zip(told).all(|(risk, told)| risk.contains(told)), "{risks:?}");
        }
    }
}
