//! Follows what changes, by looking.
//!
//! A notification says that it is time to look, and so does the end of a lease, which the server tells nobody. Neither is
//! relied on: everything is looked at again after a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::types::{ToSql, Type};

use crate::journal::fleet::engine::{Change, EngineError, Look, PATIENCE, Pair};

use super::session::{Access, Manner, Question, Session};
use super::{CHANNEL, pairs, sql_of};

/// Looked at again after this, whatever was heard.
const LONGEST: Duration = Duration::from_secs(10);

/// After the end of a lease, until it is looked at.
const AFTER_END: Duration = Duration::from_millis(20);

/// What comes in a burst is looked at once.
const BURST: Duration = Duration::from_millis(20);

/// A stream of changes, found by a task that ends with it.
pub struct Watch {
    changes: mpsc::Receiver<Vec<Change>>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Begins to follow the keys that begin with `prefix`, of which `known` is known.
    pub(super) async fn begin(
        access: &Arc<Access>,
        prefix: &str,
        known: BTreeMap<String, i64>,
    ) -> Result<Self, EngineError> {
        let heard: Arc<Notify> = Arc::default();
        let session = access.connect(Some(Arc::clone(&heard))).await?;
        let listen = format!("listen {CHANNEL}");
        let question = Question { sql: &listen, values: &[], manner: Manner::Reads, patience: PATIENCE };
        session.ask(&question, &access.place()).await?;
        let (sender, changes) = mpsc::channel(1);
        let (access, prefix) = (Arc::clone(access), prefix.to_owned());
        // When the sender is dropped, the stream has ended.
        let task = tokio::spawn(async move {
            let _ = follow(&session, &access, &prefix, known, &heard, &sender).await;
        });
        Ok(Self { changes, task })
    }

    /// The next changes; see [`super::super::Watch`].
    pub async fn next(&mut self) -> Option<Vec<Change>> {
        self.changes.recv().await
    }
}

/// Looks, tells, waits, until nobody listens or the engine does not answer.
async fn follow(
    session: &Session,
    access: &Access,
    prefix: &str,
    mut known: BTreeMap<String, i64>,
    heard: &Notify,
    sender: &mpsc::Sender<Vec<Change>>,
) -> Result<(), EngineError> {
    let (sql, texts) = sql_of(&[Look::Below(prefix.to_owned())]);
    let values: Vec<(&(dyn ToSql + Sync), Type)> =
        texts.iter().map(|text| (text as &(dyn ToSql + Sync), Type::TEXT)).collect();
    let look = Question { sql: &sql, values: &values, manner: Manner::Reads, patience: PATIENCE };
    loop {
        let begun = Instant::now();
        let sweep = Question { sql: "select patrold.sweep()", values: &[], manner: Manner::Reads, patience: PATIENCE };
        let next_end: Option<f64> = session.ask(&sweep, &access.place()).await?.first().and_then(|row| row.get(0));
        let there = pairs(&session.ask(&look, &access.place()).await?, 1).pop().unwrap_or_default();
        let changes = differences(&mut known, there);
        if !changes.is_empty() && sender.send(changes).await.is_err() {
            return Ok(());
        }
        // Who looks at much looks less often.
        sleep(BURST.max(begun.elapsed() * 3)).await;
        let end = next_end.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        let due = end.map_or(LONGEST, |end| (end + AFTER_END).min(LONGEST));
        tokio::select! {
            () = heard.notified() => {}
            () = sleep_until(Instant::now() + due) => {}
            () = sender.closed() => return Ok(()),
        }
    }
}

/// What is new in `there`, and what is gone. Notes it.
fn differences(known: &mut BTreeMap<String, i64>, there: Vec<Pair>) -> Vec<Change> {
    let now: BTreeMap<String, i64> = there.iter().map(|pair| (pair.key.clone(), pair.modified)).collect();
    let gone = known.keys().filter(|key| !now.contains_key(*key)).cloned().map(Change::Deleted);
    let mut changes: Vec<_> = gone.collect();
    changes.extend(there.into_iter().filter(|pair| known.get(&pair.key) != Some(&pair.modified)).map(Change::Put));
    *known = now;
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_and_what_is_gone_is_told_once() {
        let pair = |key: &str, modified| Pair { key: key.to_owned(), value: Vec::new(), created: 1, modified };
        let mut known = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 3)]);
        let there = || vec![pair("a", 1), pair("b", 4), pair("d", 5)];
        let told = differences(&mut known, there());
        assert_eq!(told, [Change::Deleted("c".into()), Change::Put(pair("b", 4)), Change::Put(pair("d", 5))]);
        assert_eq!(differences(&mut known, there()), []);
    }
}
