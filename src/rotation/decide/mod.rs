//! What comes next for a token: a pure function of policy, state, what the provider said, and time.
//!
//! The daemon executes the answer, `plan` and `status` print it: there is no second place that knows the rules.

mod active;
mod candidate;
mod delivery;
mod intent;
mod leave;
mod memo;
mod retirement;
mod room;
mod situation;
mod steady;
mod step;
mod upkeep;
mod vacant;
mod watching;

pub use memo::{Looks, Memo, Missing, Repairs};
pub use situation::Situation;
pub use step::{Action, Rest, Step};

pub(super) use candidate::{reached_consumers, set_aside};
pub(super) use intent::{search_settled, unknown_mint};
pub(super) use retirement::{quiet_after, used_until};
pub(super) use situation::SHORTEST_LIFE;
pub(super) use upkeep::{differs, like, lost, tells_end};

#[cfg(test)]
mod tests;

use crate::clock::{Span, Time};

use super::event::Event;
use super::own_time;
use super::reason::Reason;
use super::state::Phase;

/// What comes next.
pub fn decide(s: &Situation<'_>) -> Step {
    if own_time::is_ahead(s.state, s.now) {
        return Step::Note(Event::ClockSetBack { revoke_at: later(s.now, s.policy.grace) });
    }
    if let Some(over) = s.state.orphans.iter().find(|orphan| upkeep::is_over(s, orphan)) {
        return Step::Note(Event::OrphanEnded { orphan: over.clone(), revoked: false });
    }
    let step = next_step(s);
    // The orphan of an unknown mint is searched for when nothing else is to be done: the search holds up nobody.
    let settled = matches!(s.state.phase, Phase::Vacant | Phase::Steady { .. } | Phase::Active { .. });
    match step {
        Step::Rest(_) if settled && !s.memo.only_tells => upkeep::seek(s).unwrap_or(step),
        step => step,
    }
}

fn next_step(s: &Situation<'_>) -> Step {
    match &s.state.phase {
        Phase::Vacant => vacant::vacant(s),
        Phase::Steady { current } => steady::steady(s, current),
        Phase::Intended { intent, .. } => intent::intended(s, intent),
        Phase::Searching { current, intent, search } => intent::searching(s, current.as_ref(), intent, search),
        Phase::Minted { candidate, .. } => candidate::minted(s, candidate),
        Phase::Verified { current, candidate } => candidate::verified(s, current.as_ref(), candidate),
        Phase::Delivered { current, candidate } => candidate::delivered(s, current.as_ref(), candidate),
        Phase::Active { current, retiring } => active::active(s, current, retiring),
        Phase::Revoked { retiring, .. } => active::revoked(s, retiring),
        Phase::Undoing { current, candidate, undo } => candidate::undoing(s, current.as_ref(), candidate, undo),
        Phase::Renewing { intent, .. } => intent::renewing(s, intent),
        Phase::RenewalUnknown { current, .. } => {
            intent::renewal_step(s, current, Action::ExamineRenewal, Reason::Examining)
        }
        Phase::Renewed { current, .. } => intent::renewal_step(s, current, Action::VerifyRenewed, Reason::Verifying),
    }
}

fn act_or_wait(s: &Situation<'_>, action: Action, reason: Reason) -> Step {
    match s.waiting(s.state.retry.as_ref()) {
        Some(next) => rest(reason, Some(next)),
        None => Step::Act(action),
    }
}

fn rest(reason: Reason, until: Option<Time>) -> Step {
    Step::Rest(Rest { until, reason, next: None })
}

/// The earliest of several times that are still to come.
fn earliest(now: Time, times: impl IntoIterator<Item = Option<Time>>) -> Option<Time> {
    times.into_iter().flatten().filter(|time| *time > now).min()
}

fn later(time: Time, span: Span) -> Time {
    time.checked_add_signed(span).unwrap_or(if span < Span::zero() { Time::MIN_UTC } else { Time::MAX_UTC })
}
