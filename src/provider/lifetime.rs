//! How long new tokens may live.

use crate::clock::Span;

/// `[lifetime]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifetime {
    /// What is asked for where the inventory is silent.
    pub(crate) default: Option<Span>,
    /// Lifetimes are whole multiples of this, rounded down, at least one.
    pub(crate) round: Option<Span>,
    /// What is asked for in place of anything shorter.
    pub(crate) min: Option<Span>,
    /// What is asked for in place of anything longer.
    pub(crate) max: Option<Span>,
    /// The only lifetimes there are, each with the provider's word for it, shortest first.
    pub(crate) ladder: Vec<(String, Span)>,
}

impl Lifetime {
    /// The lifetime that a request really asks for.
    pub(crate) fn of(&self, wanted: Option<Span>) -> Option<Span> {
        let wanted = wanted.or(self.default)?;
        let wanted = self.min.map_or(wanted, |min| wanted.max(min));
        let wanted = self.max.map_or(wanted, |max| wanted.min(max));
        if let Some((_, step)) = self.step(wanted) {
            return Some(*step);
        }
        let Some(unit) = self.round.map(|unit| unit.num_seconds()) else { return Some(wanted) };
        let units = (wanted.num_seconds() / unit).max(1);
        Some(units.checked_mul(unit).and_then(Span::try_seconds).unwrap_or(wanted))
    }

    /// The longest step of the ladder that is not longer than `wanted`, else the shortest of all.
    pub(crate) fn step(&self, wanted: Span) -> Option<&(String, Span)> {
        self.ladder.iter().rev().find(|(_, step)| *step <= wanted).or_else(|| self.ladder.first())
    }
}
