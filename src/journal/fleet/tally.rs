//! How the commits of a replica ended and how long they took, for metrics. Pure: told, and asked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Time;
use crate::endpoint::traffic::Latencies;
use crate::journal::{CommitError, Head};

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitEnding {
    Written,
    /// Another replica has the account.
    Fenced,
    /// The journal of the token had moved.
    Overtaken,
    /// The engine refused it, or could not be reached.
    Refused,
    /// No answer came.
    Unknown,
}

impl CommitEnding {
    /// Every ending.
    pub const ALL: [Self; 5] = [Self::Written, Self::Fenced, Self::Overtaken, Self::Refused, Self::Unknown];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Fenced => "fenced",
            Self::Overtaken => "overtaken",
            Self::Refused => "refused",
            Self::Unknown => "unclear",
        }
    }

    fn of(result: &Result<Head, CommitError>) -> Self {
        match result {
            Ok(_) => Self::Written,
            Err(CommitError::Fenced) => Self::Fenced,
            Err(CommitError::Overtaken(_)) => Self::Overtaken,
            Err(CommitError::Refused(_)) => Self::Refused,
            Err(CommitError::Unknown(_)) => Self::Unknown,
        }
    }
}

/// The commits of a replica since its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commits {
    counts: BTreeMap<CommitEnding, u64>,
    /// Of those that were written.
    pub latencies: Latencies,
    /// When the last one was made that was written.
    pub last: Option<Time>,
}

impl Commits {
    /// Takes note of a commit of what happened at `at`.
    pub(super) fn note(&mut self, result: &Result<Head, CommitError>, took: Duration, at: Time) {
        *self.counts.entry(CommitEnding::of(result)).or_default() += 1;
        if result.is_ok() {
            self.latencies.note(took.as_secs_f64());
            self.last = self.last.max(Some(at));
        }
    }

    /// How many ended so.
    pub fn count(&self, ending: CommitEnding) -> u64 {
        self.counts.get(&ending).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;

    #[test]
    fn only_what_was_written_is_the_last_commit_and_has_a_length() {
        let (mut commits, at) = (Commits::default(), Time::UNIX_EPOCH);
        commits.note(&Ok(Head(7)), Duration::from_millis(20), at);
        commits.note(&Err(CommitError::Fenced), Duration::from_secs(9), at + Span::seconds(5));
        commits.note(&Ok(Head(8)), Duration::from_millis(20), at - Span::seconds(5));
        let counts = CommitEnding::ALL.map(|ending| commits.count(ending));
        assert_eq!((counts, commits.latencies.count(), commits.last), ([2, 1, 0, 0, 0], 2, Some(at)));
    }
}
