//! Consumers use one generation and none retires: when a rotation or a renewal begins.

use crate::clock::Time;
use crate::provider::ProviderClock;
use crate::rotation::due::{self, Due, RuleKind, Start};
use crate::rotation::event::Event;
use crate::rotation::reason::Reason;
use crate::rotation::state::{Current, Orphan};

use super::delivery::{next_inspection, next_telling, serve};
use super::step::Delivering;
use super::upkeep::{next_examination, next_orphan, second_look, upkeep};
use super::{Action, Rest, Situation, Step, earliest, rest};
use super::{retirement, room, watching};

pub(super) fn steady(s: &Situation<'_>, current: &Current) -> Step {
    if let Some(step) = upkeep(s, current) {
        return step;
    }
    let owed = match serve(s, current, s.wanted) {
        Delivering::Now(step) => return step,
        Delivering::At(time) => Some(time),
        Delivering::Done => None,
    };
    let seeks = watching::next_look(s, current);
    let wake = [
        owed,
        next_orphan(s, Some(current)),
        next_inspection(s, current),
        next_telling(s, current),
        next_examination(s, current),
        seeks,
    ];
    let wake = earliest(s.now, wake.into_iter().chain([second_look(s, current)]));
    if !s.wanted {
        return retirement::leaving(s, wake);
    }
    if s.state.retirement.is_some() {
        // Its entry is back.
        return Step::Note(Event::RetirementWithdrawn {});
    }
    if let Some(expires) = watching::told(s, current) {
        return Step::Note(Event::Observed { id: None, expires: Some(expires), over: false });
    }
    if seeks.is_some_and(|at| at <= s.now) {
        return Step::Act(Action::Readopt);
    }
    let idle = if owed.is_some() { Reason::Delivering } else { Reason::NotDue };
    let rules = watching::sensible(s, s.rules(current));
    if let Some(due) = watching::overdue(s, current, &rules) {
        return Step::Note(Event::ReplacementDue { reason: due.reason.code().to_owned() });
    }
    let rotations: Vec<_> = rules.iter().filter(|due| due.kind == RuleKind::Rotation).copied().collect();
    let rotation = due::deciding(&rotations, s.now).map(|due| (due, rotation(s, current, &due)));
    match rotation {
        Some((due, Begin::Now(_))) if unseen(s, current, &due) => return Step::Act(Action::Look),
        Some((_, Begin::Now(reason))) => return Step::Act(Action::Begin(reason)),
        Some((_, Begin::At(_, Reason::NoRoom))) if let Some(step) = room::make(s, current) => return step,
        _ => {}
    }
    // A renewal keeps consumers served while a rotation that is due waits for its window or for better luck.
    let renewals = renewals(s, current, &rules);
    if let Some(reason) = begun(&renewals) {
        return Step::Act(Action::BeginRenewal(reason));
    }
    let ahead = rotation.into_iter().chain(renewals).filter_map(|(due, begin)| match begin {
        Begin::Now(_) => None,
        Begin::At(start, reason) => Some((start.at, if reason == Reason::NotDue { idle } else { reason }, due, start)),
    });
    let ahead: Vec<_> = ahead.collect();
    // What is due already tells why nothing happens; otherwise what comes first.
    let next = ahead.iter().min_by_key(|(at, _, due, _)| (due.at > s.now, *at)).copied();
    let times = ahead.iter().map(|(at, ..)| Some(*at).filter(|at| *at < Time::MAX_UTC));
    let Some((_, reason, due, start)) = next else {
        return rest(if owed.is_some() { Reason::Delivering } else { Reason::NeverDue }, wake);
    };
    Step::Rest(Rest { until: earliest(s.now, times.chain([wake])), reason, next: Some((due, start)) })
}

/// Whether the provider's clock has to be seen before `due` is believed.
///
/// Law: nothing is decided by expiry before the account's clock was seen once in this process.
fn unseen(s: &Situation<'_>, current: &Current, due: &Due) -> bool {
    let can = s.abilities.can;
    let looks = can.lists || can.verifies && current.generation.has_secret();
    s.clock == ProviderClock::Unseen
        && due.reason.is_by_expiry()
        && looks
        && !s.memo.looked
        && !s.foreign(&current.generation.account)
}

/// Whether a rotation or a renewal may begin.
#[derive(Clone, Copy)]
pub(super) enum Begin {
    Now(Reason),
    /// Not before, and why. The end of time: until something else happens.
    At(Start, Reason),
}

/// When a rotation begins that `due` asks for.
fn rotation(s: &Situation<'_>, current: &Current, due: &Due) -> Begin {
    let start = due::start(s.policy, due, s.now);
    let not_before = |at: Time, reason| Begin::At(Start { at, ..start }, reason);
    if !s.abilities.can.mints {
        return not_before(if due.at > s.now { due.at } else { Time::MAX_UTC }, Reason::WatchOnly);
    }
    if s.policy.paused && due.reason != Reason::Requested {
        return not_before(Time::MAX_UTC, Reason::Paused);
    }
    if start.at > s.now {
        return not_before(start.at, if due.at <= s.now { Reason::WindowClosed } else { Reason::NotDue });
    }
    if let Some(end) = room::full_until(s) {
        return not_before(end.max(s.now), Reason::NoRoom);
    }
    if let Some(end) = crowded(s).filter(|_| !due.urgent && !s.pressing(current)) {
        // Three generations would live: better than consumers without one, and worse than waiting.
        let end = due.deadline.map_or(end, |deadline| deadline.min(end));
        if end > s.now {
            return not_before(end, Reason::OrphanAlive);
        }
    }
    if let Some(next) = s.waiting(s.state.retry.as_ref()) {
        return not_before(next, Reason::BackingOff);
    }
    let vain = s.after_vain().filter(|_| due.reason.is_by_expiry() && current.dead.is_none());
    if let Some(next) = vain.filter(|next| *next > s.now) {
        return not_before(next, Reason::BackingOff);
    }
    if let Some(until) = s.limited() {
        return not_before(until, Reason::Limited);
    }
    Begin::Now(if start.overridden { Reason::WindowOverridden } else { due.reason })
}

/// The renewals that rules ask for, each with its beginning. One that waits for a window holds up none that does not.
pub(super) fn renewals(s: &Situation<'_>, current: &Current, rules: &[Due]) -> Vec<(Due, Begin)> {
    let rules = rules.iter().filter(|due| due.kind == RuleKind::Renewal);
    rules.map(|due| (*due, renewal(s, current, due))).collect()
}

/// Why a renewal begins now, where one does. A request overrides a rule: the renewal that it led to answers it.
pub(super) fn begun(renewals: &[(Due, Begin)]) -> Option<Reason> {
    let begun = renewals.iter().filter_map(|(due, begin)| match begin {
        Begin::Now(reason) => Some((due, *reason)),
        Begin::At(..) => None,
    });
    begun.min_by_key(|(due, _)| (due.reason != Reason::Requested, due.at)).map(|(_, reason)| reason)
}

/// When a renewal begins that `due` asks for.
fn renewal(s: &Situation<'_>, current: &Current, due: &Due) -> Begin {
    let start = due::start(s.policy, due, s.now);
    let not_before = |at: Time, reason| Begin::At(Start { at, ..start }, reason);
    // A pause is for what somebody wants of a token, not for what keeps it alive.
    if s.policy.paused && matches!(due.reason, Reason::RotateEvery | Reason::Schedule) {
        return not_before(Time::MAX_UTC, Reason::Paused);
    }
    let waiting = s.waiting(current.renewal_retry.as_ref());
    if let Some(next) = waiting.filter(|next| *next > start.at) {
        return not_before(next, if due.at <= s.now { Reason::BackingOff } else { Reason::NotDue });
    }
    if start.at > s.now {
        return not_before(start.at, if due.at <= s.now { Reason::WindowClosed } else { Reason::NotDue });
    }
    if let Some(until) = s.limited() {
        return not_before(until, Reason::Limited);
    }
    Begin::Now(due.reason)
}

/// When the last of the old generations that live beside the current one is over; the end of time where nobody can tell.
fn crowded(s: &Situation<'_>) -> Option<Time> {
    let ends = s.state.orphans.iter().filter_map(|orphan| match orphan {
        // One that never ends must not stop all rotations for ever.
        Orphan::Unrevocable { until, .. } => until.map(|until| s.clock.latest(until)),
        Orphan::Deferred { generation, .. } => Some(s.reckoning().end(generation).unwrap_or(Time::MAX_UTC)),
        Orphan::UnknownMint { .. } => None,
    });
    ends.max()
}
