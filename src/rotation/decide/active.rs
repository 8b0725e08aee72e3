//! A new generation is current and the old one goes out of use: when its time ends, and when it gives way early.

use crate::clock::Time;
use crate::rotation::due::{self, Due, Means, RuleKind};
use crate::rotation::event::Event;
use crate::rotation::kinship::Kinship;
use crate::rotation::reason::Reason;
use crate::rotation::state::{Current, Orphan, Retiring};

use super::candidate::set_aside;
use super::delivery::{next_inspection, next_telling, serve};
use super::retirement::{gives_way, revoke_time};
use super::room;
use super::steady::{Begin, begun, renewals};
use super::step::Delivering;
use super::upkeep::{next_examination, next_orphan, second_look, upkeep};
use super::{Action, Rest, Situation, Step, act_or_wait, earliest, rest};

pub(super) fn active(s: &Situation<'_>, current: &Current, retiring: &Retiring) -> Step {
    if s.has_ended(&retiring.generation) {
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
    if let Some(event) = served_in_place(current, retiring) {
        return Step::Note(event);
    }
    let renewals = renewals.into_iter().filter_map(|(due, begin)| match begin {
        Begin::At(start, _) => Some((due, start)).filter(|(_, start)| start.at < Time::MAX_UTC),
        Begin::Now(_) => None,
    });
    let ahead = renewals.min_by_key(|(_, start)| start.at);
    let renewal = ahead.map(|(_, start)| start.at);
    let retry = s.waiting(s.state.retry.as_ref());
    let rotations: Vec<_> = rules.into_iter().filter(|due| due.kind == RuleKind::Rotation).collect();
    let begins = s.wanted && !s.policy.paused && s.abilities.can.mints;
    let over = s.reckoning().over(&retiring.generation);
    let must_begin = due::deciding(&rotations, s.now).filter(|_| begins).map(|due| {
        // What is over by every clock does not hold up the next one; it is revoked when its grace ends all the same.
        if over {
            return due::start(s.policy, &due, s.now).at;
        }
        // A request by hand waits for the grace, but not for a provider that does not revoke. What presses besides waits for
        // neither.
        let begin = |due: &Due| match due.reason {
            Reason::Requested if s.hurries() => s.now,
            Reason::Requested => retiring.revoke_at,
            _ => due.deadline.unwrap_or(Time::MAX_UTC),
        };
        rotations.iter().map(begin).min().unwrap_or(Time::MAX_UTC)
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
        if retry.is_none() && gives_way(s, current, retiring) {
            return Step::Act(Action::Revoke);
        }
    }
    if !served && s.wanted && at_its_end(s, current) {
        return Step::Note(Event::RevocationDeferred { orphan: set_aside(s, &retiring.generation, None) });
    }
    let end = s.reckoning().end(&retiring.generation);
    let wake = [
        owed,
        renewal,
        must_begin,
        room,
        end,
        next_orphan(s, Some(current)),
        next_inspection(s, current),
        next_telling(s, current),
        next_examination(s, current),
        second_look(s, current),
    ];
    // Consumers that may not have the new secret keep the old one alive.
    if !served {
        let reason = if s.forgotten() { Reason::LeftInventory } else { Reason::Delivering };
        return rest(reason, earliest(s.now, wake));
    }
    let (revoke_at, reason) = revoke_time(s, retiring);
    if revoke_at > s.now {
        let until = earliest(s.now, wake.into_iter().chain([Some(revoke_at)]));
        // What comes before the revocation is what comes next.
        return Step::Rest(Rest { until, reason, next: ahead.filter(|(_, start)| start.at < revoke_at) });
    }
    if !s.can_revoke(&retiring.generation) {
        return Step::Note(Event::LeftToExpire { orphan: Orphan::unrevocable(&retiring.generation) });
    }
    match retry {
        Some(_) => rest(Reason::Revoking, earliest(s.now, wake.into_iter().chain([retry]))),
        None => Step::Act(Action::Revoke),
    }
}

/// Whether nothing that patrold can do makes the current generation usable, so that somebody has to bring another one. The old
/// one does not stand in the way of that.
fn at_its_end(s: &Situation<'_>, current: &Current) -> bool {
    let renews = current.renewable() && s.abilities.means(&current.generation) != Means::Rotation;
    !s.abilities.can.mints && !renews && (s.unusable(current) || current.secret_lost)
}

/// How the old generation ends where it is the same token as the current one: never by a revocation, which would end what
/// consumers have just got. See [`Generation::kinship`](crate::rotation::state::Generation::kinship).
fn served_in_place(current: &Current, retiring: &Retiring) -> Option<Event> {
    current.delivery.settled?;
    let old = &retiring.generation;
    match old.kinship(&current.generation) {
        Kinship::None => None,
        // One request with the old secret tells whether the provider ended it.
        Kinship::Id => Some(Event::Revoked { already: true }),
        Kinship::Secret if old.remote.id == current.generation.remote.id => Some(Event::Retired { proven: false }),
        Kinship::Secret => Some(Event::LeftToExpire { orphan: Orphan::unrevocable(old) }),
    }
}

pub(super) fn revoked(s: &Situation<'_>, retiring: &Retiring) -> Step {
    if !(s.abilities.can.verifies || s.foreign(&retiring.generation.account)) {
        return Step::Note(Event::Retired { proven: false });
    }
    act_or_wait(s, Action::Prove, Reason::Revoking)
}
