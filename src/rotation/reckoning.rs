//! When generations end, on our clock, by every clock that may be right: the one judgement that decisions and views share.
//!
//! Law: a secret that the provider accepts is not called expired, whatever arithmetic says. A reading that would have ended
//! a secret before it was issued is refuted by the issue itself; one that would have ended it long before the provider
//! accepted it last is refuted by that, where another clock has not ended it yet.

use crate::clock::{Span, Time};
use crate::names::{AccountName, GenerationNo};
use crate::provider::{AGREEMENT, ProviderClock, ProviderTime};

use super::state::{Current, Generation};

/// A secret that ends so soon after its issue had ended before it: answers take time, and clocks cut fractions.
const RESOLUTION: Span = Span::seconds(1);

/// The provider accepted this secret then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub number: GenerationNo,
    pub revision: u32,
    pub at: Time,
}

impl Proof {
    /// The provider accepted the present secret of `generation` at `at`.
    pub fn of(generation: &Generation, at: Time) -> Self {
        Self { number: generation.number, revision: generation.revision, at }
    }
}

/// What the ends of generations are reckoned from.
#[derive(Clone, Copy, Debug)]
pub struct Reckoning<'a> {
    pub now: Time,
    /// The account whose clock is known.
    pub account: &'a AccountName,
    pub clock: ProviderClock,
    /// When the provider accepted a secret last.
    pub proof: Option<Proof>,
}

impl Reckoning<'_> {
    /// When the provider accepted the present secret of `generation` last, as far as this process knows.
    fn accepted(&self, generation: &Generation) -> Option<Time> {
        let same = |proof: &Proof| proof.number == generation.number && proof.revision == generation.revision;
        self.proof.filter(same).map(|proof| proof.at).filter(|at| *at <= self.now)
    }

    /// The clock of the account that minted `generation`.
    fn clock_of(&self, generation: &Generation) -> ProviderClock {
        if generation.account == *self.account { self.clock } else { ProviderClock::Unseen }
    }

    /// What `moment`, an end of `generation`, may be on our clock, the earliest first. Empty: it cannot be right.
    fn readings(&self, generation: &Generation, moment: ProviderTime) -> Vec<Time> {
        let from = if generation.knows_issue() {
            later(generation.issued_at.min(self.now), RESOLUTION)
        } else {
            Time::MIN_UTC
        };
        let mut readings = self.clock_of(generation).readings(moment).after(from);
        if let Some(accepted) = self.accepted(generation) {
            while readings.len() > 1
                && readings.last().is_some_and(|last| *last > accepted)
                && later(readings[0], AGREEMENT) <= accepted
            {
                readings.remove(0);
            }
        }
        readings
    }

    /// When `moment`, an end of `generation`, is at the earliest. None: what was told cannot be right.
    pub fn earliest(&self, generation: &Generation, moment: ProviderTime) -> Option<Time> {
        self.readings(generation, moment).first().copied()
    }

    /// When its present secret expires at the earliest. None: never, or nobody knows.
    pub fn expires(&self, generation: &Generation) -> Option<Time> {
        self.earliest(generation, generation.remote.expires.moment()?)
    }

    /// Whether the expiry that was told cannot be right by any clock: the secret has outlived it.
    pub fn is_contradicted(&self, generation: &Generation) -> bool {
        generation.remote.expires.moment().is_some_and(|moment| self.readings(generation, moment).is_empty())
    }

    /// How long its present secret was told to live.
    pub fn life(&self, generation: &Generation) -> Option<Span> {
        self.expires(generation).map(|expires| expires - generation.issued_at).filter(|life| *life > Span::zero())
    }

    /// Whether the time of its present secret is over by every clock, and the provider did not accept it since.
    pub fn expired(&self, generation: &Generation) -> bool {
        let told = generation.remote.expires.moment();
        told.and_then(|moment| self.last(generation, moment)).is_some_and(|end| self.is_past(generation, end))
    }

    /// When it can neither be used nor renewed any more by any clock, whatever became of a reissue, where anybody can tell.
    pub fn end(&self, generation: &Generation) -> Option<Time> {
        let expires = self.last(generation, generation.remote.expires.moment()?)?;
        let refresh = generation.remote.refresh_expires.and_then(|moment| self.last(generation, moment));
        let end = refresh.map_or(expires, |refresh| refresh.max(expires));
        Some(later(end, generation.may_outlive()))
    }

    /// Whether it can neither be used nor renewed any more by any clock.
    pub fn over(&self, generation: &Generation) -> bool {
        self.end(generation).is_some_and(|end| self.is_past(generation, end))
    }

    /// When nine tenths of the life of its present secret are over.
    pub fn near_end(&self, generation: &Generation) -> Option<Time> {
        let expires = self.expires(generation)?;
        Some(expires - (expires - generation.issued_at).max(Span::zero()) / 10)
    }

    /// Whether consumers certainly cannot use it: the provider said so, or its time is over.
    pub fn unusable(&self, current: &Current) -> bool {
        current.dead.is_some() || self.expired(&current.generation)
    }

    fn last(&self, generation: &Generation, moment: ProviderTime) -> Option<Time> {
        self.readings(generation, moment).last().copied()
    }

    fn is_past(&self, generation: &Generation, end: Time) -> bool {
        end <= self.now && self.accepted(generation).is_none_or(|accepted| accepted < end)
    }
}

fn later(time: Time, span: Span) -> Time {
    time.checked_add_signed(span).unwrap_or(Time::MAX_UTC)
}

#[cfg(test)]
mod tests;
