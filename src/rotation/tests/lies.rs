//! What a provider says wrongly, each lie for a while.

use crate::clock::{Span, Time};

/// One kind of wrong answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// The `Date` of answers is off by so much: a proxy's clock.
    Header(Span),
    /// The moments that the service writes are off by so much: a zone.
    Zone(Span),
    /// The answer to a mint tells an expiry of 1970.
    Past,
    /// What lives has expired a second ago, by listings and verifications.
    Expired,
    /// A mint gives the token that exists. `renamed`: under the new name.
    Again { renamed: bool },
    /// The same secret under another id.
    Alias,
    /// A mint makes a new secret for the token that exists, and ends the old one.
    Regenerated,
    /// Listings are so old.
    Stale(Span),
    /// Listings lack some tokens, others each time.
    Partial,
    /// Listings lack all tokens.
    Filtered,
    /// Listings are refused.
    Forbidden,
    /// A revocation does nothing, and says that there is nothing.
    Hidden,
    /// A verification refuses what works.
    Refuses,
    /// A verification accepts what does not.
    Accepts,
    /// Listings go on showing what has ended.
    Ghosts,
}

/// The lies that are told, each until its end on the providers' clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Lies(Vec<(Lie, Time)>);

impl Lies {
    /// Tells `lie` until `end`, in place of another of its kind.
    pub fn tell(&mut self, lie: Lie, end: Time) {
        self.0.retain(|(other, _)| std::mem::discriminant(other) != std::mem::discriminant(&lie));
        self.0.push((lie, end));
    }

    /// From now on the truth.
    pub fn end(&mut self) {
        self.0.clear();
    }

    /// A lie that is told at `now` and is meant.
    pub fn tells(&self, now: Time, meant: impl Fn(&Lie) -> bool) -> Option<Lie> {
        self.0.iter().find(|(lie, end)| now < *end && meant(lie)).map(|(lie, _)| *lie)
    }

    /// How far the `Date` of answers is off.
    pub fn header(&self, now: Time) -> Span {
        match self.tells(now, |lie| matches!(lie, Lie::Header(_))) {
            Some(Lie::Header(off)) => off,
            _ => Span::zero(),
        }
    }

    /// How far the moments in answers are off.
    pub fn zone(&self, now: Time) -> Span {
        match self.tells(now, |lie| matches!(lie, Lie::Zone(_))) {
            Some(Lie::Zone(off)) => off,
            _ => Span::zero(),
        }
    }
}
