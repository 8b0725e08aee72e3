//! The judgement on a run: whether what patrold promises held, by the provider's own books.

use std::fmt;

use super::Service;
use super::consumer::{Consumer, Finding, Verdict};
use super::entry::LedgerEntry;
use super::ledger::Ledger;
use crate::clock::{Span, Time};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    pub consumers: usize,
    /// How often a secret was read by any of them.
    pub uses: u64,
    /// How many secrets the consumers went through, all together.
    pub secrets_seen: u64,
    /// Consumers that held a dead token, and when.
    pub dead: Vec<(String, Finding)>,
    /// Whose findings were too many to be kept: nobody can judge them.
    pub forgetful: Vec<String>,
    /// Gaps that renewals in place left.
    pub gaps: usize,
    /// The longest of them.
    pub longest_gap: Span,
    /// Consumers that hold no live secret now.
    pub without: Vec<String>,
    /// Live tokens that no journal accounts for.
    pub unaccounted: Vec<LedgerEntry>,
}

impl Summary {
    /// Checks every consumer once more and then the ledger. Renewals in place may leave gaps up to `gap`. `now` must have
    /// been read from the clock before the call; `known` as for [`unaccounted`].
    pub fn allowing(
        gap: Span,
        consumers: &mut [Consumer],
        ledger: &Ledger,
        known: impl Fn(&LedgerEntry) -> bool,
        now: Time,
    ) -> Self {
        let allowed = |finding: &Finding| finding.is_gap(gap);
        let without = consumers
            .iter_mut()
            .filter_map(|consumer| (consumer.check(now) != Verdict::Live).then(|| consumer.name().to_owned()))
            .collect();
        let findings = consumers.iter().flat_map(|consumer| {
            consumer.findings().iter().map(|finding| (consumer.name().to_owned(), finding.clone()))
        });
        let (gaps, dead): (Vec<_>, Vec<_>) = findings.partition(|(_, finding)| allowed(finding));
        let noted = |consumer: &&Consumer| consumer.findings().iter().map(|finding| finding.times).sum::<u64>();
        let forgetful = consumers.iter().filter(|consumer| noted(consumer) != consumer.dead());
        Self {
            forgetful: forgetful.map(|consumer| consumer.name().to_owned()).collect(),
            gaps: gaps.len(),
            longest_gap: gaps.iter().filter_map(|(_, finding)| finding.renewal_gap()).max().unwrap_or_default(),
            consumers: consumers.len(),
            uses: consumers.iter().map(Consumer::uses).sum(),
            secrets_seen: consumers.iter().map(Consumer::secrets_seen).sum(),
            dead,
            without,
            unaccounted: unaccounted(ledger, known, now),
        }
    }

    /// Whether the promise held: no consumer ever held a dead token, each holds a live one, and no live credential is
    /// left behind that nobody knows of.
    pub fn holds(&self) -> bool {
        self.dead.is_empty() && self.forgetful.is_empty() && self.without.is_empty() && self.unaccounted.is_empty()
    }
}

impl fmt::Display for Summary {
    /// One line, and one more for every breach of the promise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { consumers, uses, secrets_seen, .. } = self;
        write!(f, "{consumers} consumers read {secrets_seen} secrets {uses} times")?;
        if self.gaps > 0 {
            let longest = self.longest_gap.num_milliseconds();
            write!(f, "\n{} renewals in place left a gap that a consumer saw, the longest {longest} ms", self.gaps)?;
        }
        for (name, finding) in &self.dead {
            write!(f, "\n{name} held {finding}")?;
        }
        for name in &self.forgetful {
            write!(f, "\n{name} held more dead secrets than could be noted")?;
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
