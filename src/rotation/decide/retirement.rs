//! When an old generation may be revoked: after its grace, later while it is in use, earlier where its slot is needed.

use crate::clock::Time;
use crate::names::Marker;
use crate::provider::ProviderTime;
use crate::rotation::reason::Reason;
use crate::rotation::state::{Current, Retiring};

use super::room::is_there;
use super::{Situation, later};

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
    if retiring.generation.compromised.is_some() {
        return None;
    }
    // Whichever clock puts the use later errs on the side of the consumers; nothing was used in the future.
    let used = last_used.map(|used| s.clock.latest(used).min(s.now)).filter(|used| *used > retiring.handed_over)?;
    let cap = later(retiring.handed_over, s.policy.grace_cap).max(retiring.revoke_at);
    Some(later(used, s.policy.grace).min(cap)).filter(|quiet| *quiet > retiring.revoke_at)
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
