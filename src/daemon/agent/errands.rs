//! Which errands of an agent are under way, and which wait for the one before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;

use crate::journal::fleet::agent::News;
use crate::journal::fleet::errand::{Errand, ErrandId};

/// The revision of an errand, with what it says. `None`: it cannot be read.
pub type Task = (i64, Option<Box<Errand>>);

/// How an errand ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Fine,
    /// It panicked.
    Abnormally,
}

/// Errands that are done, under way, and wait for the one before.
///
/// Law: of one id one errand is under way at a time, and the next one begins when it has ended, however it ended.
#[derive(Debug, Default)]
pub struct Errands {
    /// The revision of the last errand under each id that was begun, or waits.
    known: HashMap<ErrandId, i64>,
    running: HashSet<ErrandId>,
    next: BTreeMap<ErrandId, Task>,
    work: JoinSet<(ErrandId, Ended)>,
}

impl Errands {
    /// Takes note of what is asked now. Gives the questions that are there no more. `whole`: all that there is, so that an
    /// older one is there because the data of the engine ran back.
    pub fn take(&mut self, news: Vec<News>, whole: bool) -> Vec<ErrandId> {
        let mut gone = Vec::new();
        for news in news {
            match news {
                News::Wanted { id, revision, errand } => {
                    if self.known.get(&id).is_some_and(|known| *known == revision || *known > revision && !whole) {
                        continue;
                    }
                    self.known.insert(id.clone(), revision);
                    self.next.insert(id, (revision, errand));
                }
                News::Gone(id) => {
                    self.next.remove(&id);
                    if self.known.remove(&id).is_some() && id.is_question() {
                        gone.push(id);
                    }
                }
            }
        }
        gone
    }

    /// Begins what waits for nothing: does the `work` of each.
    pub fn begin<W: Future<Output = ()> + Send + 'static>(&mut self, work: impl Fn(ErrandId, Task) -> W) {
        let ready: Vec<_> = self.next.keys().filter(|id| !self.running.contains(*id)).cloned().collect();
        for id in ready {
            let Some(task) = self.next.remove(&id) else { continue };
            self.running.insert(id.clone());
            let work = AssertUnwindSafe(work(id.clone(), task)).catch_unwind();
            self.work.spawn(async move {
                let ended = work.await.map_or(Ended::Abnormally, |()| Ended::Fine);
                (id, ended)
            });
        }
    }

    /// Waits until one has ended. `None`: none is under way.
    pub async fn ended(&mut self) -> Option<Ended> {
        // None is cancelled, and what panics is caught.
        let (id, ended) = self.work.join_next().await?.ok()?;
        self.running.remove(&id);
        Some(ended)
    }

    /// Waits for what is under way.
    pub async fn finish(&mut self) {
        while self.work.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    fn wanted(id: &ErrandId, revision: i64) -> Vec<News> {
        vec![News::Wanted { id: id.clone(), revision, errand: None }]
    }

    #[tokio::test]
    async fn the_next_errand_of_an_id_begins_when_the_one_before_has_ended_also_where_that_panicked() {
        let id = ErrandId::of_store(&"gps".parse().unwrap(), &"file:/run/gps@web-1".parse().unwrap());
        let begun = Arc::new(AtomicI64::new(0));
        let work = |_, (revision, _): Task| {
            let begun = Arc::clone(&begun);
            async move {
                begun.store(revision, Ordering::Relaxed);
                assert_ne!(revision, 1, "what this one is about");
            }
        };
        let mut errands = Errands::default();
        errands.take(wanted(&id, 1), true);
        errands.begin(work);
        errands.take(wanted(&id, 2), false);
        errands.begin(work);
        assert_eq!(errands.ended().await, Some(Ended::Abnormally));
        assert_eq!(begun.load(Ordering::Relaxed), 1, "two at once");
        errands.begin(work);
        assert_eq!(errands.ended().await, Some(Ended::Fine));
        assert_eq!((begun.load(Ordering::Relaxed), errands.ended().await), (2, None));
    }
}
