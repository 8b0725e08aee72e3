//! What a run of the kill test came to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use patrold::demo::{Loopback, Service};
use patrold::journal::sqlite::ReadOnly;

use super::stage::Places;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    pub rounds: u64,
    /// Kills whose moment came, by moment.
    pub struck: BTreeMap<String, u64>,
    /// What tokens were in the middle of when their daemon was killed, by phase.
    pub phases: BTreeMap<&'static str, u64>,
    /// From a start to the first request that the provider got.
    pub first_actions: Vec<Duration>,
    /// From the start of the last daemon until nothing was owed.
    pub calm: Duration,
    /// The judgement on consumers and ledger.
    pub summary: String,
    pub breaches: Vec<String>,
}

impl Report {
    /// From a start to the first request, in the middle of all.
    pub fn readiness(&self) -> Duration {
        let mut first = self.first_actions.clone();
        first.sort_unstable();
        first.get(first.len() / 2).copied().unwrap_or_default()
    }

    /// Figures for people.
    pub fn describe(&self, places: &Places, loopback: &Loopback) -> String {
        let median = self.readiness();
        let slowest = self.first_actions.iter().max().copied().unwrap_or_default();
        let requests = loopback.requests();
        let faults = requests.iter().filter(|request| request.fault.is_some()).count();
        let counters = Service::ALL.map(|service| {
            let counters = loopback.ledger().counters(service);
            format!("{service}: {} minted, {} renewed, {} revoked", counters.minted, counters.renewed, counters.revoked)
        });
        let records = records(&places.state);
        let about = ["orphan-found", "orphan-revoked", "search-ended", "remnant-ended", "renewal-doubted", "undone"]
            .map(|kind| format!("{} {kind}", records.get(kind).copied().unwrap_or_default()));
        format!(
            "{}\n{} rounds; kills {:?}; tokens were {:?}\n{} requests, {faults} of them went wrong; {}\n\
             {} records: {}\nfirst request after {median:?}, at most {slowest:?}; at rest after {:?}",
            self.summary,
            self.rounds,
            self.struck,
            self.phases,
            requests.len(),
            counters.join("; "),
            records.values().sum::<u64>(),
            about.join(", "),
            self.calm,
        )
    }
}

/// How many records of each kind there are.
fn records(state: &Path) -> BTreeMap<String, u64> {
    let journal = ReadOnly::open(state).unwrap();
    let mut counts = BTreeMap::new();
    for (name, _) in journal.states().unwrap() {
        for record in journal.history(&name).unwrap() {
            *counts.entry(record.kind).or_default() += 1;
        }
    }
    counts
}
