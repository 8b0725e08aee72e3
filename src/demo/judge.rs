//! The judgement on a run: whether what patrold promises held, by the provider's own books.

use std::fmt;

use super::Service;
use super::consumer::{Consumer, Finding, Verdict};
use super::ledger::{Ledger, LedgerEntry};
use crate::clock::Time;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    pub consumers: usize,
    /// How often a secret was read by any of them.
    pub uses: u64,
    /// How many secrets the consumers went through, all together.
    pub secrets_seen: u64,
    /// Who held something dead, and when.
    pub dead: Vec<(String, Finding)>,
    /// Who holds no live secret now.
    pub without: Vec<String>,
    /// Live tokens that nobody knows of.
    pub unaccounted: Vec<LedgerEntry>,
}

impl Summary {
    /// Checks every consumer once more and then the ledger. `now` must have been read from the clock before the call;
    /// `known` as for [`unaccounted`].
    pub fn of(consumers: &mut [Consumer], ledger: &Ledger, known: impl Fn(&LedgerEntry) -> bool, now: Time) -> Self {
        let without = consumers
            .iter_mut()
            .filter_map(|consumer| (consumer.check(now) != Verdict::Live).then(|| consumer.name().to_owned()))
            .collect();
        let dead = consumers.iter().flat_map(|consumer| {
            consumer.findings().iter().map(|finding| (consumer.name().to_owned(), finding.clone()))
        });
        Self {
            consumers: consumers.len(),
            uses: consumers.iter().map(Consumer::uses).sum(),
            secrets_seen: consumers.iter().map(Consumer::secrets_seen).sum(),
            dead: dead.collect(),
            without,
            unaccounted: unaccounted(ledger, known, now),
        }
    }

    /// Whether the promise held: no consumer ever held a dead token, each holds a live one, and no live credential is
    /// left behind that nobody knows of.
    pub fn holds(&self) -> bool {
        self.dead.is_empty() && self.without.is_empty() && self.unaccounted.is_empty()
    }
}

impl fmt::Display for Summary {
    /// One line, and one more for every breach of the promise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { consumers, uses, secrets_seen, .. } = self;
        write!(f, "{consumers} consumers read {secrets_seen} secrets {uses} times")?;
        for (name, finding) in &self.dead {
            write!(f, "\n{name} held {finding}")?;
        }
        for name in &self.without {
            write!(f, "\n{name} holds no live secret")?;
        }
        for entry in &self.unaccounted {
            write!(f, "\nnobody knows of {} at {} (id {})", entry.name, entry.service, entry.id)?;
        }
        Ok(())
    }
}

/// Live tokens with a marker that `known` does not account for: credentials that nobody knows of. `known` is asked
/// with the provider's entry, to be compared with the ids and markers of the journal.
pub fn unaccounted(ledger: &Ledger, known: impl Fn(&LedgerEntry) -> bool, now: Time) -> Vec<LedgerEntry> {
    let live = Service::ALL.into_iter().flat_map(|service| ledger.live_tokens(service, now));
    live.filter(|entry| entry.is_marked() && !known(entry)).collect()
}
