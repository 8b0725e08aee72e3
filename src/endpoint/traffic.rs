//! What an account asked at its endpoint, how that ended and how long it took, for metrics. Pure: told, and asked.

use std::collections::BTreeMap;

use crate::clock::Span;

/// Upper bounds of the latencies' buckets, in seconds.
pub const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// How a request ended, as far as the wire is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// An answer that begins with 2.
    Success,
    /// One that begins with 1 or 3.
    Redirect,
    /// One that begins with 4, but for 429.
    ClientError,
    /// 429.
    RateLimited,
    /// One that begins with 5, or something that is no status at all.
    ServerError,
    /// Nothing has left: no connection.
    NotSent,
    /// It may have arrived; there is no complete answer.
    Unknown,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 7] = [
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::RateLimited,
        Self::ServerError,
        Self::NotSent,
        Self::Unknown,
    ];

    /// The ending of an answer with `status`.
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            100..=199 | 300..=399 => Self::Redirect,
            429 => Self::RateLimited,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Redirect => "redirect",
            Self::ClientError => "client-error",
            Self::RateLimited => "rate-limited",
            Self::ServerError => "server-error",
            Self::NotSent => "not-sent",
            Self::Unknown => "unclear",
        }
    }
}

/// How long things took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// Up to each bound of [`BUCKETS`] and above the one before it; above all of them.
    buckets: [u64; BUCKETS.len() + 1],
    seconds: f64,
}

impl Latencies {
    /// Takes note of one, in seconds.
    pub fn note(&mut self, seconds: f64) {
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket] += 1;
        self.seconds += seconds;
    }

    /// Those of at most so many seconds, for each bound of [`BUCKETS`].
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        BUCKETS.iter().zip(&self.buckets).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((*bound, *sum))
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How long they took together.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }
}

/// The requests of one account since it was loaded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    counts: BTreeMap<(&'static str, Ending), u64>,
    /// Of those that were answered, or may have been.
    latencies: Latencies,
}

impl Traffic {
    /// Takes note of a request that took `latency`.
    pub(super) fn note(&mut self, errand: &'static str, ending: Ending, latency: Span) {
        *self.counts.entry((errand, ending)).or_default() += 1;
        if ending == Ending::NotSent {
            // How long it takes to fail to connect says nothing of the provider's speed.
            return;
        }
        // The clock may have been set back meanwhile.
        self.latencies.note(latency.as_seconds_f64().max(0.0));
    }

    /// How often each errand ended how.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, Ending, u64)> {
        self.counts.iter().map(|((errand, ending), count)| (*errand, *ending, *count))
    }

    /// How long those took that were answered, or may have been.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_counted_up_to_their_bound() {
        let mut traffic = Traffic::default();
        let list = "list";
        for milliseconds in [-1000, 5, 6, 31_000] {
            traffic.note(list, Ending::Success, Span::milliseconds(milliseconds));
        }
        traffic.note(list, Ending::NotSent, Span::seconds(10));
        let latencies = traffic.latencies();
        let cumulative: Vec<_> = latencies.cumulative().collect();
        assert_eq!(cumulative[..3], [(0.005, 2), (0.01, 3), (0.025, 3)]);
        assert_eq!((cumulative[11].1, latencies.count()), (3, 4), "one took longer than all bounds");
        assert!((latencies.seconds() - 31.011).abs() < 1e-9);
        let counts: Vec<_> = traffic.counts().collect();
        assert_eq!(counts, [(list, Ending::Success, 4), (list, Ending::NotSent, 1)]);
    }

    #[test]
    fn every_status_has_its_ending() {
        for (status, ending) in [
            (200, Ending::Success),
            (302, Ending::Redirect),
            (404, Ending::ClientError),
            (429, Ending::RateLimited),
            (503, Ending::ServerError),
            (999, Ending::ServerError),
        ] {
            assert_eq!(Ending::of_status(status), ending, "{status}");
        }
    }
}
