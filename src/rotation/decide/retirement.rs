//! When an old generation may be revoked: after its grace, later while it is in use, earlier where its slot is needed.
//! When the last one of a retired token may be: likewise.

use crate::clock::Time;
use crate::names::Marker;
use crate::provider::ProviderTime;
use crate::rotation::reason::Reason;
use crate::rotation::state::{Current, Retiring};

use super::room::is_there;
use super::{Action, Situation, Step, earliest, later, rest};

/// What becomes of a token that left the inventory: nothing, unless an operator retired it.
pub(super) fn leaving(s: &Situation<'_>, wake: Option<Time>) -> Step {
    let Some(retirement) = s.state.retirement else { return rest(Reason::LeftInventory, wake) };
    if retirement.revoke_at > s.now {
        return rest(Reason::Retirement, earliest(s.now, [Some(retirement.revoke_at), wake]));
    }
    match s.waiting(s.state.retry.as_ref()) {
        Some(next) => rest(Reason::Retirement, earliest(s.now, [Some(next), wake])),
        None => Step::Act(Action::Dismiss),
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
pub(in crate::rotation) fn used_until(
    s: &Situation<'_>,
    retiring: &Retiring,
    last_used: Option<ProviderTime>,
) -> Option<Time> {
    let others = retiring.generation.compromised.is_some();
    quiet_after(s, (retiring.handed_over, retiring.revoke_at), last_used).filter(|_| !others)
}

/// The same of a token that nobody should use any more since the first of two moments, and that is revoked at the second.
pub(in crate::rotation) fn quiet_after(
    s: &Situation<'_>,
    (since, revoke_at): (Time, Time),
    last_used: Option<ProviderTime>,
) -> Option<Time> {
    // Whichever clock puts the use later errs on the side of the consumers; nothing was used in the future.
    let used = last_used.map(|used| s.clock.latest(used).min(s.now)).filter(|used| *used > since)?;
    let cap = later(since, s.policy.grace_cap).max(revoke_at);
    Some(later(used, s.policy.grace).min(cap)).filter(|quiet| *quiet > revoke_at)
}

/// Whether the rest of the grace of the old generation is given up for the sake of its slot: consumers have the present
/// one, and the provider does not see the old one used since.
pub(super) fn gives_way(s: &Situation<'_>, current: &Current, retiring: &Retiring) -> bool {
    let generation = &retiring.generation;
    let served = current.delivery.settled.is_some() && !s.unusable(current);
    let unused = revoke_time(s, retiring).1 != Reason::InUse
        && retiring.revoke_at <= later(retiring.handed_over, s.policy.grace);
    served && unused && is_there(s, generation) && s.can_revoke(generation)
}
