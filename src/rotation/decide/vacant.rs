//! Before the first generation: how a token's life begins.

use crate::clock::Time;
use crate::rotation::reason::Reason;

use super::leave;
use super::room;
use super::step::Delivering;
use super::upkeep::{next_orphan, reap};
use super::{Action, Situation, Step, earliest, rest};

pub(super) fn vacant(s: &Situation<'_>) -> Step {
    if let Some(reap) = reap(s, None) {
        return reap;
    }
    let wake = next_orphan(s, None);
    if !s.wanted {
        // An operator retired it: nothing that its stores hold works any more.
        return match leave::erasing(s, |_| true) {
            Delivering::Now(step) => step,
            Delivering::At(time) => rest(Reason::LeftInventory, earliest(s.now, [Some(time), wake])),
            Delivering::Done => rest(Reason::LeftInventory, wake),
        };
    }
    let adopts = s.policy.initial.is_some() && (s.state.may_adopt() || !s.abilities.can.mints);
    if s.policy.paused && !adopts {
        return rest(Reason::Paused, wake);
    }
    match s.waiting(s.state.retry.as_ref()) {
        Some(next) => rest(Reason::BackingOff, earliest(s.now, [Some(next), wake])),
        None if adopts => Step::Act(Action::Adopt),
        None if !s.abilities.can.mints => rest(Reason::WatchOnly, wake),
        None if s.state.held_back => rest(Reason::HeldBack, wake),
        None => match room::full_until(s) {
            None if let Some(until) = s.limited() => rest(Reason::Limited, earliest(s.now, [Some(until), wake])),
            Some(end) => rest(Reason::NoRoom, earliest(s.now, [Some(end).filter(|end| *end < Time::MAX_UTC), wake])),
            None => Step::Act(Action::Begin(Reason::FirstIssue)),
        },
    }
}
