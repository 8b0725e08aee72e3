//! Providers that allow so many live tokens in one place and no more: whether there is room for another one, and what
//! is revoked early to make some.

use crate::account::Listing;
use crate::clock::Time;
use crate::names::Marker;
use crate::provider::Entry;
use crate::rotation::state::{Current, Generation, Orphan};

use super::{Action, Situation, Step};

/// Until when a mint would go beyond what the provider allows, as far as the listing and the state tell: the first end of
/// one of the tokens that are in the way, and the end of time where nobody knows of one. None: there is room.
pub(super) fn full_until(s: &Situation<'_>) -> Option<Time> {
    let most = s.abilities.can.max_live?;
    // A dead one is no use to its consumers. Should it take a place all the same, the provider refuses the next.
    let dead = s.state.phase.current().filter(|current| current.dead.is_some()).map(|it| &it.generation);
    let own: Vec<_> = own(s).filter(|generation| Some(generation.number) != dead.map(|it| it.number)).collect();
    let mut ends: Vec<Option<Time>> = match listing(s) {
        Some(listing) => {
            let dead = dead.and_then(|dead| find(listing, dead));
            let end = |entry: &Entry| entry.remote.expires.moment().map(|end| s.clock.earliest(end));
            let lives = |entry: &Entry| !entry.dead && end(entry).is_none_or(|end| end > s.now);
            let counts = |entry: &&Entry| lives(entry) && !dead.is_some_and(|dead| std::ptr::eq(dead, *entry));
            let listed = listing.entries().iter().filter(counts).map(end);
            // What was minted since.
            let newer = own.iter().filter(|it| it.minted_at >= listing.at() && find(listing, it).is_none());
            listed.chain(newer.map(|generation| s.reckoning().end(generation))).collect()
        }
        None => own.iter().map(|generation| s.reckoning().end(generation)).chain(unrevocable(s)).collect(),
    };
    if ends.len() < most {
        return None;
    }
    // How many have to end before there is room.
    ends.sort_by_key(|end| end.unwrap_or(Time::MAX_UTC));
    let last = ends.get(ends.len() - most).copied().flatten();
    Some(last.unwrap_or(Time::MAX_UTC))
}

/// The listing of the place where the next mint would be made. One that is older than the last revocation still shows what
/// was revoked.
fn listing<'a>(s: &Situation<'a>) -> Option<&'a Listing> {
    let same_place = s.state.phase.current().is_none_or(|current| is_there(s, &current.generation));
    let freed = s.memo.freed.filter(|freed| *freed <= s.now);
    s.listing.filter(|listing| same_place && listing.at() <= s.now && freed.is_none_or(|freed| freed < listing.at()))
}

/// The generations that live where the next one would be minted.
fn own<'a>(s: &'a Situation<'_>) -> impl Iterator<Item = &'a Generation> {
    s.state.generations().filter(|it| is_there(s, it) && !s.reckoning().over(it))
}

/// When those end that nobody can revoke and that live still.
fn unrevocable(s: &Situation<'_>) -> impl Iterator<Item = Option<Time>> {
    s.state.orphans.iter().filter_map(move |orphan| match orphan {
        Orphan::Unrevocable { until, .. } => {
            let until = until.map(|until| s.clock.latest(until));
            until.is_none_or(|until| until > s.now).then_some(until)
        }
        Orphan::Deferred { .. } | Orphan::UnknownMint { .. } => None,
    })
}

/// Whether a generation lives where the next one would be minted. Places differ by account and parameters.
pub(super) fn is_there(s: &Situation<'_>, generation: &Generation) -> bool {
    !s.foreign(&generation.account) && generation.params.as_ref().is_none_or(|params| *params == s.policy.params)
}

fn find<'a>(listing: &'a Listing, generation: &Generation) -> Option<&'a Entry> {
    listing.find(generation.remote.id.as_ref(), generation.marker.as_ref().map(Marker::as_str))
}

/// The early end of an older generation whose revocation was left for later: consumers have the present one, and its slot
/// is needed.
pub(super) fn make(s: &Situation<'_>, current: &Current) -> Option<Step> {
    if current.delivery.settled.is_none() || s.unusable(current) {
        return None;
    }
    s.state.orphans.iter().find_map(|orphan| match orphan {
        Orphan::Deferred { generation, retry, .. }
            if is_there(s, generation)
                && !current.generation.is_kin(generation)
                && s.can_revoke(generation)
                && s.waiting(retry.as_ref()).is_none() =>
        {
            Some(Step::Act(Action::Reap(orphan.clone(), generation.remote.clone())))
        }
        _ => None,
    })
}
