//! Moments as a provider tells them, and what they are on our clock.
//!
//! Three clocks may disagree: ours, that of the `Date` header (often of a proxy), and that of the service which writes
//! `created` and `expires`. None of them is believed alone. A moment keeps what its own answer showed of these clocks,
//! and is read by all of them: [`ProviderClock::readings`].

use serde::{Deserialize, Serialize};

use crate::clock::{Span, Time};

/// Clocks that differ by less agree: a `Date` header is good for a second, a service may cut fractions, answers take time.
pub const AGREEMENT: Span = Span::seconds(30);

/// A service whose own moments are further from ours than any zone is not believed to show its clock by them.
const WIDEST_ZONE: Span = Span::hours(26);

/// A moment as told by a provider. It has no order with our own [`Time`]: a [`ProviderClock`] reads it. Stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct ProviderTime {
    told: Time,
    /// The `Date` of the answer that told it minus our clock.
    header: Option<Span>,
    /// The clock that it is on minus ours, where the same answer showed it.
    ahead: Option<Span>,
}

impl ProviderTime {
    /// A moment of an answer. `header`: the `Date` of that answer minus our clock. `ahead`: the clock that wrote the moment
    /// minus ours, where the answer showed it; nothing, where the moment was reckoned from our own clock.
    pub fn new(told: Time, header: Option<Span>, ahead: Option<Span>) -> Self {
        match (header.map(settled), ahead.map(settled)) {
            // Clocks that agree are no knowledge to be kept.
            (Some(header), ahead) if header.is_zero() && ahead.is_none_or(|ahead| ahead.is_zero()) => Self::told(told),
            (header, ahead) => Self { told, header, ahead },
        }
    }

    /// A moment on a clock of which nothing is known.
    pub fn told(told: Time) -> Self {
        Self { told, header: None, ahead: None }
    }

    /// A moment on our clock: what the inventory says, or the lifetime that was asked for.
    pub fn ours(time: Time) -> Self {
        Self { told: time, header: None, ahead: Some(Span::zero()) }
    }

    /// The moment as it was told: to be shown, and to be compared with others that the same provider told.
    pub fn as_told(self) -> Time {
        self.told
    }

    /// The earliest that it may be on our clock, by what its own answer showed of the clocks.
    pub fn here(self) -> Time {
        ProviderClock::Unseen.earliest(self)
    }

    /// The moment that is `span` later on the same clock.
    #[must_use]
    pub fn later(self, span: Span) -> Self {
        Self { told: later(self.told, span), ..self }
    }

    /// Told by the same clock as `other`: what showed that clock then holds here as well, where this answer showed nothing.
    #[must_use]
    pub fn like(self, other: Self) -> Self {
        match (self.ahead, other.ahead) {
            (None, Some(_)) => Self { told: self.told, ..other },
            _ => self,
        }
    }
}

/// What the very answer that told of a new token shows of the clock that wrote it: when it was `created`, which was now;
/// or an expiry that is the lifetime asked for away from now. `None`: it shows nothing.
///
/// Law: `created` and `expires` of a mint show the true skew, and win over a `Date` header that contradicts them.
pub fn shown_ahead(
    received: Received,
    created: Option<Time>,
    expires: Option<Time>,
    asked: Option<Span>,
) -> Option<Span> {
    let near = |one: Span, other: Span| (one - other).abs() <= AGREEMENT;
    let believed = |ahead: Span| {
        let as_header = received.header.is_some_and(|header| near(ahead, header));
        (as_header || ahead.abs() <= WIDEST_ZONE).then_some(ahead)
    };
    if let Some(ahead) = created.map(|created| created - received.at).and_then(believed) {
        return Some(ahead);
    }
    // A provider may give another life than was asked for: only an expiry that fits one of the clocks shows anything.
    let ahead = expires.zip(asked).and_then(|(expires, asked)| (expires - received.at).checked_sub(&asked))?;
    let fits = near(ahead, Span::zero()) || received.header.is_some_and(|header| near(ahead, header));
    fits.then_some(ahead)
}

/// Differences within the resolution of a `Date` header are none.
fn settled(skew: Span) -> Span {
    const FLOOR: Span = Span::seconds(2);
    if skew.abs() > FLOOR { Span::milliseconds(skew.num_milliseconds()) } else { Span::zero() }
}

/// When an answer came, and what its head showed of the clock there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// On our clock.
    pub at: Time,
    /// Its `Date` minus our clock.
    pub header: Option<Span>,
}

impl Received {
    /// Until when an answer wants us to wait that names `moment`: the earliest that this can mean on our clock, and never
    /// longer than `longest`. What no clock has ahead of us is over.
    pub fn wait_until(self, moment: ProviderTime, longest: Span) -> Time {
        let clock = self.header.map_or(ProviderClock::Silent, ProviderClock::seen);
        let until = clock.readings(moment).after(self.at).first().copied().unwrap_or(self.at);
        until.min(later(self.at, longest))
    }
}

impl From<Time> for Received {
    fn from(at: Time) -> Self {
        Self { at, header: None }
    }
}

/// What this process has seen of an account's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProviderClock {
    /// No answer came yet.
    #[default]
    Unseen,
    /// Answers came, and none of them told the time.
    Silent,
    /// The `Date` of its answers minus our clock.
    Seen(Span),
}

impl ProviderClock {
    /// A clock that was seen.
    pub fn seen(skew: Span) -> Self {
        Self::Seen(settled(skew))
    }

    /// The header's clock minus ours.
    pub fn skew(self) -> Option<Span> {
        match self {
            Self::Seen(skew) => Some(skew),
            Self::Unseen | Self::Silent => None,
        }
    }

    /// Our `now` as this clock shows it: what a request that names moments has to go by.
    pub fn there(self, now: Time) -> Time {
        later(now, self.skew().unwrap_or_default())
    }

    /// What `moment` may be on our clock, the earliest first: one reading for each clock that may have told it.
    ///
    /// Law: an expiry is judged by the skew of the very answer that told it; due is the *earlier* by all clocks, so that
    /// no skew ever postpones anything beyond our own clock.
    pub fn readings(self, moment: ProviderTime) -> Readings {
        let ProviderTime { told, header, ahead } = moment;
        let less = |skew: Span| told.checked_sub_signed(skew);
        // How far the header's clock and ours have drifted apart since: one of them was set.
        let drift = self.skew().zip(header).map(|(now, then)| now - then);
        let first = match ahead {
            Some(ahead) => {
                let own = (ahead < Span::zero()).then_some(told);
                [less(ahead), drift.and_then(|drift| less(ahead + drift)), own]
            }
            None => [Some(told), self.skew().and_then(less), header.and_then(less)],
        };
        // What the answer showed may be wrong as well.
        let second = ahead.map_or([None; 3], |_| [Some(told), self.skew().and_then(less), header.and_then(less)]);
        Readings { first, second }
    }

    /// The earliest that `moment` may be on our clock.
    pub fn earliest(self, moment: ProviderTime) -> Time {
        self.readings(moment).after(Time::MIN_UTC).first().copied().unwrap_or(moment.told)
    }

    /// The latest that `moment` may be on our clock.
    pub fn latest(self, moment: ProviderTime) -> Time {
        self.readings(moment).after(Time::MIN_UTC).last().copied().unwrap_or(moment.told)
    }
}

/// The readings of one moment on our clock.
#[derive(Clone, Copy, Debug)]
pub struct Readings {
    first: [Option<Time>; 3],
    /// What is read where all of the former are refuted.
    second: [Option<Time>; 3],
}

impl Readings {
    /// Those after `start`, in order: something that began at `start` has not ended before. None: no clock that may have
    /// told the moment can be right.
    pub fn after(self, start: Time) -> Vec<Time> {
        let sorted = |readings: [Option<Time>; 3]| {
            let mut readings: Vec<Time> = readings.into_iter().flatten().filter(|time| *time > start).collect();
            readings.sort_unstable();
            readings.dedup();
            readings
        };
        let first = sorted(self.first);
        if first.is_empty() { sorted(self.second) } else { first }
    }
}

fn later(time: Time, span: Span) -> Time {
    time.checked_add_signed(span).unwrap_or(if span < Span::zero() { Time::MIN_UTC } else { Time::MAX_UTC })
}

/// How a moment is written to the journal: as text alone where its answer showed no difference between the clocks, which
/// is also how it was written before these differences were kept.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Told(Time),
    Shown {
        told: Time,
        #[serde(rename = "header-ms", default, skip_serializing_if = "Option::is_none")]
        header: Option<i64>,
        #[serde(rename = "ahead-ms", default, skip_serializing_if = "Option::is_none")]
        ahead: Option<i64>,
    },
}

impl From<Stored> for ProviderTime {
    fn from(stored: Stored) -> Self {
        let span = |millis: Option<i64>| millis.and_then(Span::try_milliseconds);
        match stored {
            Stored::Told(told) => Self::told(told),
            Stored::Shown { told, header, ahead } => Self { told, header: span(header), ahead: span(ahead) },
        }
    }
}

impl From<ProviderTime> for Stored {
    fn from(ProviderTime { told, header, ahead }: ProviderTime) -> Self {
        let millis = |span: Option<Span>| span.map(|span| span.num_milliseconds());
        match (header, ahead) {
            (None, None) => Self::Told(told),
            (header, ahead) => Self::Shown { told, header: millis(header), ahead: millis(ahead) },
        }
    }
}

#[cfg(test)]
mod tests;
