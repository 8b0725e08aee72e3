//! What consumers use, and what goes out of use: when a rotation or a renewal begins, and when the old generation ends.

use crate::clock::Time;
use crate::names::Marker;
use crate::plan::Reason;
use crate::plan::due::{self, Due, Kind, Start};
use crate::rotation::event::Event;
use crate::rotation::state::{Current, Orphan, Retiring};

use super::candidate::set_aside;
use super::delivery::{Delivering, deliver, next_inspection};
use super::upkeep::{next_examination, next_orphan, reap, upkeep};
use super::{Action, Rest, Situation, Step, act_or_wait, earliest, later, rest};
use super::{room, watching};

pub(super) fn vacant(s: &Situation<'_>) -> Step {
    if let Some(reap) = reap(s, None) {
        return reap;
    }
    let wake = next_orphan(s, None);
    if !s.wanted {
        return rest(Reason::LeftInventory, wake);
    }
    let adopts = s.policy.initial.is_some() && (s.state.may_adopt() || !s.abilities.can.mints);
    if s.policy.paused && !adopts {
        return rest(Reason::Paused, wake);
    }
    match s.waiting(s.state.retry.as_ref()) {
        Some(next) => rest(Reason::BackingOff, earliest(s.now, [Some(next), wake])),
        None if adopts => Step::Act(Action::Adopt),
        None if !s.abilities.can.mints => rest(Reason::WatchOnly, wake),
        None => match room::full_until(s) {
            Some(end) => rest(Reason::NoRoom, earliest(s.now, [Some(end).filter(|end| *end < Time::MAX_UTC), wake])),
            None => Step::Act(Action::Begin(Reason::FirstIssue)),
        },
    }
}

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
    let wake = [owed, next_orphan(s, Some(current)), next_inspection(s, current), next_examination(s, current), seeks];
    let wake = earliest(s.now, wake);
    if !s.wanted {
        return rest(Reason::LeftInventory, wake);
    }
    if let Some(expires) = watching::told(s, current) {
        return Step::Note(Event::Observed { id: None, expires: Some(expires) });
    }
    if seeks.is_some_and(|at| at <= s.now) {
        return Step::Act(Action::Readopt);
    }
    let idle = if owed.is_some() { Reason::Delivering } else { Reason::NotDue };
    let rules = watching::sensible(s, s.rules(current));
    if let Some(due) = watching::overdue(s, current, &rules) {
        return Step::Note(Event::ReplacementDue { reason: due.reason.code().to_owned() });
    }
    let rotations: Vec<_> = rules.iter().filter(|due| due.kind == Kind::Rotation).copied().collect();
    let rotation = due::deciding(&rotations, s.now).map(|due| (due, rotation(s, current, &due)));
    match rotation {
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

/// Whether a rotation or a renewal may begin.
#[derive(Clone, Copy)]
enum Begin {
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
    Begin::Now(if start.overridden { Reason::WindowOverridden } else { due.reason })
}

/// The renewals that rules ask for, each with its beginning. One that waits for a window holds up none that does not.
fn renewals(s: &Situation<'_>, current: &Current, rules: &[Due]) -> Vec<(Due, Begin)> {
    let rules = rules.iter().filter(|due| due.kind == Kind::Renewal);
    rules.map(|due| (*due, renewal(s, current, due))).collect()
}

/// Why a renewal begins now, where one does. A wish goes before a rule: it is answered by the renewal that it led to.
fn begun(renewals: &[(Due, Begin)]) -> Option<Reason> {
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
    Begin::Now(due.reason)
}

/// When the last of the old generations that live beside the current one is over; the end of time where nobody can tell.
fn crowded(s: &Situation<'_>) -> Option<Time> {
    let ends = s.state.orphans.iter().filter_map(|orphan| match orphan {
        // One that never ends must not stop all rotations for ever.
        Orphan::Unrevocable { until, .. } => until.map(|until| s.to_local(until)),
        Orphan::Deferred { .. } => Some(orphan.until().map_or(Time::MAX_UTC, |until| s.to_local(until))),
        Orphan::UnknownMint { .. } => None,
    });
    ends.max()
}

/// Stores and hooks of the current generation, and their inspection. `delivers`: what is owed is tried.
fn serve(s: &Situation<'_>, current: &Current, delivers: bool) -> Delivering {
    if !delivers || s.forgotten() || s.unusable(current) || current.secret_lost {
        return Delivering::Done;
    }
    match deliver(s, &current.delivery) {
        Delivering::Done if next_inspection(s, current).is_some_and(|at| at <= s.now) => {
            Delivering::Now(Step::Act(Action::Inspect))
        }
        owed => owed,
    }
}

pub(super) fn active(s: &Situation<'_>, current: &Current, retiring: &Retiring) -> Step {
    if retiring.generation.over(s.provider_now()) {
        return Step::Note(Event::Retired { proven: false });
    }
    if let Some(step) = upkeep(s, current) {
        return step;
    }
    // A rotation that is under way is finished, also where its token left the inventory meanwhile.
    let owed = match serve(s, current, s.wanted || current.delivery.settled.is_none()) {
        Delivering::Now(step) => return step,
        Delivering::At(time) => Some(time),
        Delivering::Done => None,
    };
    let rules = s.rules(current);
    let renewals = if s.wanted { renewals(s, current, &rules) } else { Vec::new() };
    if let Some(reason) = begun(&renewals) {
        return Step::Act(Action::BeginRenewal(reason));
    }
    let renewal = renewals.iter().filter_map(|(_, begin)| match begin {
        Begin::At(start, _) => Some(start.at).filter(|at| *at < Time::MAX_UTC),
        Begin::Now(_) => None,
    });
    let renewal = renewal.min();
    let retry = s.waiting(s.state.retry.as_ref());
    let rotations: Vec<_> = rules.into_iter().filter(|due| due.kind == Kind::Rotation).collect();
    let begins = s.wanted && !s.policy.paused && s.abilities.can.mints;
    let must_begin = due::deciding(&rotations, s.now).filter(|_| begins).map(|due| {
        // Who asks by hand waits for the grace, but not for a provider that does not revoke.
        if due.reason == Reason::Requested { retiring.revoke_at } else { due.deadline.unwrap_or(Time::MAX_UTC) }
    });
    let served = current.delivery.settled.is_some();
    let mut room = None;
    if must_begin.is_some_and(|at| at <= s.now) && (!served || retry.is_some() || s.now < retiring.revoke_at) {
        room = room::full_until(s);
        if room.is_none() {
            let free = served && !s.unusable(current);
            let orphan = set_aside(s, &retiring.generation, free.then_some(retiring.revoke_at));
            return Step::Note(Event::RevocationDeferred { orphan });
        }
        if retry.is_none() && room::gives_way(s, current, retiring) {
            return Step::Act(Action::Revoke);
        }
    }
    let end = retiring.generation.end().map(|end| s.to_local(end));
    let wake = [
        owed,
        renewal,
        must_begin,
        room,
        end,
        next_orphan(s, Some(current)),
        next_inspection(s, current),
        next_examination(s, current),
    ];
    // Consumers that may not have the new secret keep the old one alive.
    if !served {
        let reason = if s.forgotten() { Reason::LeftInventory } else { Reason::Delivering };
        return rest(reason, earliest(s.now, wake));
    }
    let (revoke_at, reason) = revoke_time(s, retiring);
    if revoke_at > s.now {
        return rest(reason, earliest(s.now, wake.into_iter().chain([Some(revoke_at)])));
    }
    if !s.can_revoke(&retiring.generation) {
        return Step::Note(Event::LeftToExpire { orphan: Orphan::unrevocable(&retiring.generation) });
    }
    match retry {
        Some(_) => rest(Reason::Revoking, earliest(s.now, wake.into_iter().chain([retry]))),
        None => Step::Act(Action::Revoke),
    }
}

/// When the old generation may be revoked: after its grace, and not while the provider sees it in use, up to a cap.
pub(super) fn revoke_time(s: &Situation<'_>, retiring: &Retiring) -> (Time, Reason) {
    let generation = &retiring.generation;
    let marker = generation.marker.as_ref().map(Marker::as_str);
    let listing = s.listing.filter(|listing| listing.at() <= s.now && !s.foreign(&generation.account));
    let seen = listing.and_then(|listing| listing.find(generation.remote.id.as_ref(), marker));
    match seen.and_then(|entry| used_until(s, retiring, entry.last_used)) {
        Some(quiet) => (quiet, Reason::InUse),
        None => (retiring.revoke_at, Reason::Grace),
    }
}

/// When an old generation that was last used then will have gone unused for the grace, where that is after its time and
/// worth waiting for.
pub(in crate::rotation) fn used_until(s: &Situation<'_>, retiring: &Retiring, last_used: Option<Time>) -> Option<Time> {
    if retiring.generation.compromised.is_some() {
        return None;
    }
    let used = last_used.map(|used| s.to_local(used)).filter(|used| *used > retiring.handed_over)?;
    let cap = later(retiring.handed_over, s.policy.grace_cap).max(retiring.revoke_at);
    Some(later(used, s.policy.grace).min(cap)).filter(|quiet| *quiet > retiring.revoke_at)
}

pub(super) fn revoked(s: &Situation<'_>, retiring: &Retiring) -> Step {
    if retiring.generation.over(s.provider_now())
        || !(s.abilities.can.verifies || s.foreign(&retiring.generation.account))
    {
        return Step::Note(Event::Retired { proven: false });
    }
    act_or_wait(s, Action::Prove, Reason::Revoking)
}
