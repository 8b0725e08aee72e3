//! Counts and logs requests that the server refuses. The logger leaves out repetitions: a flood of requests does not become a
//! flood of lines.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    TooManyConnections,
    BrokenTls,
    /// Too slow, too large, or no HTTP.
    BrokenRequest,
    Unauthorized,
    /// A `Host` that is none of a loopback listener's.
    ForeignHost,
    NotFound,
    Method,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::TooManyConnections,
        Self::BrokenTls,
        Self::BrokenRequest,
        Self::Unauthorized,
        Self::ForeignHost,
        Self::NotFound,
        Self::Method,
    ];

    /// The word for it, as metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::TooManyConnections => "too-many-connections",
            Self::BrokenTls => "broken-tls",
            Self::BrokenRequest => "broken-request",
            Self::Unauthorized => "unauthorized",
            Self::ForeignHost => "foreign-host",
            Self::NotFound => "not-found",
            Self::Method => "method",
        }
    }
}

/// How often each reason came up.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Refused::ALL.len()]);

impl Refusals {
    /// Counts and logs a refusal.
    pub fn note(&self, why: Refused, peer: impl Display, detail: &str) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
        let (code, detail) = (why.word(), crate::outcome::one_line(detail, 200));
        tracing::warn!(event = event::HTTP_REFUSED, %peer, code, detail, "the HTTP server refused a request");
    }

    /// The word and the number for every reason.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let count = |why: &Refused| (why.word(), self.0[*why as usize].load(Ordering::Relaxed));
        Refused::ALL.iter().map(count).collect()
    }
}
