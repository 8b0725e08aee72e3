//! What a listing, or the lack of one, tells of a token besides its rotation.

use crate::account::Listing;
use crate::clock::{Span, Time};
use crate::names::{AccountName, Marker};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Entry, Expiry, Remote};
use crate::rotation::due::Means;
use crate::rotation::event::Event;
use crate::rotation::kinship::Kinship;
use crate::rotation::orphan::MEMORY;
use crate::rotation::state::{Current, Generation, Orphan};

use super::intent::next_look;
use super::{Action, Missing, Situation, Step, later};

/// Orphans that can be revoked, a new expiry, a current generation that is dead.
pub(super) fn upkeep(s: &Situation<'_>, current: &Current) -> Option<Step> {
    if let Some(step) = given_again(s, current).or_else(|| reap(s, Some(current))) {
        return Some(step);
    }
    if current.dead.is_some() || s.foreign(&current.generation.account) {
        return None;
    }
    let generation = &current.generation;
    // Law: that an account is refused which authenticates with the token itself is proof. Others are asked about with their
    // own secret when listings fail.
    let own = s.refused.filter(|at| *at > generation.issued_at && *at <= s.now);
    if own.is_some_and(|at| s.memo.examined.is_none_or(|examined| examined < at)) {
        let detail = "the account authenticates with it, and is refused";
        return Some(Step::Act(Action::Examine(Failure::new(FailureCode::Unauthorized, detail))));
    }
    if let Some(listing) = listing(s, current) {
        let marker = generation.marker.as_ref().map(Marker::as_str);
        let seen = listing.find(generation.remote.id.as_ref(), marker);
        let asked = s.memo.examined.is_some_and(|examined| examined >= listing.at());
        let over = |entry: &&Entry| !entry.dead && tells_end(s, entry.remote.expires);
        // An expiry in the past that nobody can ask about is learned like any other.
        if seen.as_ref().is_some_and(over) && s.abilities.can.verifies && generation.has_secret() {
            let detail = "the listing says that it has expired";
            return (!asked).then(|| Step::Act(Action::Examine(Failure::new(FailureCode::NotFound, detail))));
        }
        if let Some(step) = seen.and_then(|entry| learned(s, &generation.remote, entry)) {
            return Some(step);
        }
        let could_be_found = generation.remote.id.is_some() || (marker.is_some() && s.abilities.can.marks);
        let can_ask = s.abilities.can.verifies && generation.has_secret() && !current.secret_lost;
        let detail = match seen {
            Some(entry) if entry.dead => Some("the listing says that it is not in effect any more"),
            None if listing.tells_absence() && could_be_found => Some("two listings do not contain it"),
            // Law: a listing that leaves out what lives proves nothing, and is a reason to ask.
            None if could_be_found && can_ask => Some("a listing does not contain it"),
            // It is there again: the count begins anew.
            Some(_) if second_look(s, current).is_some() => Some(""),
            _ => None,
        };
        let detail = detail.filter(|_| {
            // A second look is due, or this listing was not looked at yet.
            second_look(s, current).map_or_else(|| !asked, |second| second <= s.now)
        });
        if let Some(detail) = detail {
            return Some(Step::Act(Action::Examine(Failure::new(FailureCode::NotFound, detail))));
        }
    }
    let due = next_examination(s, current).is_some_and(|at| at <= s.now);
    due.then(|| Step::Act(Action::Examine(Failure::new(FailureCode::NotFound, ""))))
}

/// The listing that counts for the present secret: one that is older says nothing of it, nor does one of a time that is
/// still to come, which was taken before the clock was set back.
fn listing<'a>(s: &Situation<'a>, current: &Current) -> Option<&'a Listing> {
    let since = later(current.generation.issued_at, s.abilities.settle);
    s.listing.filter(|listing| listing.at() > since && listing.at() <= s.now)
}

/// Whether an expiry that an answer tells lies in the past by every clock.
pub(in crate::rotation) fn tells_end(s: &Situation<'_>, told: Expiry) -> bool {
    told.moment().is_some_and(|moment| s.clock.latest(moment) <= s.now)
}

/// When the provider is asked next whether it accepts the current secret: from time to time where it cannot list, and in
/// any case when its expiry passes by one of the clocks.
///
/// Law: before an expiry in the past is believed, the provider is asked.
pub(super) fn next_examination(s: &Situation<'_>, current: &Current) -> Option<Time> {
    let generation = &current.generation;
    let asks = s.abilities.can.verifies && !s.foreign(&generation.account);
    if !asks || !generation.has_secret() || current.secret_lost || current.dead.is_some() {
        return None;
    }
    let asked = s.memo.examined.filter(|examined| *examined <= s.now);
    let every = s.policy.account.poll_every.max(Span::seconds(1));
    let regular = later(asked.unwrap_or(generation.issued_at).min(s.now), every);
    let reckoning = s.reckoning();
    // What can be renewed is renewed when its time is over, whoever says so.
    let renews = current.renewable() && s.abilities.means(generation) != Means::Rotation;
    let passes = reckoning.expires(generation).filter(|_| s.wanted && !renews);
    if asked.is_none_or(|asked| passes.is_some_and(|passes| asked < passes)) && passes.is_some_and(|at| at <= s.now) {
        return Some(s.now);
    }
    let over = passes.is_some_and(|passes| passes <= s.now) || reckoning.is_contradicted(generation);
    // Nor does a listing tell anything of a token that it calls neither by its id nor by its marker.
    let named = generation.remote.id.is_some() || generation.marker.is_some() && s.abilities.can.marks;
    let unlisted = !(s.abilities.can.lists && named);
    let regular = (unlisted && !s.unusable(current) || over && !renews).then_some(regular);
    // Listings that fail tell nothing. Each poll wakes its tokens, also one that failed.
    let listed = s.listing.map(Listing::at).or(s.memo.begun).filter(|at| *at <= s.now);
    let stale = listed.filter(|at| s.abilities.can.lists && !s.unusable(current) && later(*at, every * 2) <= s.now);
    let stale = stale.map(|listed| later(asked.map_or(listed, |asked| asked.max(listed)), every));
    regular.into_iter().chain(stale).chain(passes.filter(|passes| *passes > s.now)).min()
}

/// When it is looked again for a token that a listing does not contain, where only listings can tell.
pub(super) fn second_look(s: &Situation<'_>, current: &Current) -> Option<Time> {
    let first = s.memo.absent.get(&Missing::of(&current.generation)).filter(|_| current.dead.is_none())?;
    let due = later(*first, s.abilities.settle);
    // One that failed, or showed nothing new, is made again after the same time.
    let again = s.memo.examined.filter(|examined| *examined >= due && *examined <= s.now);
    Some(again.map_or(due, |examined| later(examined, s.abilities.settle.max(Span::seconds(1)))))
}

/// What a listing entry adds to what is known of the current generation.
fn learned(s: &Situation<'_>, known: &Remote, entry: &Entry) -> Option<Step> {
    if entry.dead {
        return None;
    }
    let id = entry.remote.id.clone().filter(|_| known.id.is_none());
    let expires = Some(like(entry.remote.expires, known.expires)).filter(|told| differs(*told, known.expires));
    let over = expires.is_some_and(|told| tells_end(s, told));
    (id.is_some() || expires.is_some()).then_some(Step::Note(Event::Observed { id, expires, over }))
}

/// What an answer tells of a token's expiry, on the clock that told of it before.
pub(in crate::rotation) fn like(told: Expiry, known: Expiry) -> Expiry {
    match (told, known) {
        (Expiry::At(told), Expiry::At(known)) => Expiry::At(told.like(known)),
        (told, _) => told,
    }
}

/// Whether a listing tells another expiry than is known; fractions of a second are rounded differently from answer to
/// answer.
pub(in crate::rotation) fn differs(told: Expiry, known: Expiry) -> bool {
    match (told, known) {
        (Expiry::Unknown, _) => false,
        (Expiry::At(told), Expiry::At(known)) => (told.as_told() - known.as_told()).abs() > Span::seconds(1),
        (told, known) => told != known,
    }
}

/// A generation whose revocation was left for later, and whose token was given again as the current one. Consumers have that.
///
/// Law: nothing is owed of a token that lives on as the current one; what ends one of the two ends both. It is told at once:
/// a renewal makes another secret, and nobody could see then that they are one.
fn given_again(s: &Situation<'_>, current: &Current) -> Option<Step> {
    current.delivery.settled?;
    s.state.orphans.iter().find_map(|orphan| {
        let Orphan::Deferred { generation, .. } = orphan else { return None };
        let same_id = generation.remote.id == current.generation.remote.id;
        let event = match generation.kinship(&current.generation) {
            Kinship::None => return None,
            Kinship::Secret if !same_id => Event::LeftToExpire { orphan: Orphan::unrevocable(generation) },
            Kinship::Secret | Kinship::Id => Event::OrphanEnded { orphan: orphan.clone(), revoked: false },
        };
        Some(Step::Note(event))
    })
}

/// An orphan that can be revoked now: its token is listed after all, or its revocation was left for later.
pub(super) fn reap(s: &Situation<'_>, current: Option<&Current>) -> Option<Step> {
    let ready = s.state.orphans.iter().filter(|orphan| s.waiting(orphan.retry()).is_none());
    ready.into_iter().find_map(|orphan| {
        let remote = match orphan {
            Orphan::Unrevocable { .. } => None,
            Orphan::UnknownMint { marker, account, .. } => {
                let listing = s.listing.filter(|_| s.abilities.can.revokes && !s.foreign(account))?;
                lost(s, listing, account, marker).map(|entry| entry.remote.clone())
            }
            Orphan::Deferred { generation, revoke_at, .. } => {
                let kin = current.is_some_and(|current| current.generation.is_kin(generation));
                let free = free(s, current, *revoke_at).is_some_and(|at| at <= s.now);
                (free && !kin).then(|| generation.remote.clone())
            }
        };
        Some(Step::Act(Action::Reap(orphan.clone(), remote?)))
    })
}

/// What a mint of unknown outcome made, where `listing` shows it.
///
/// Law: an orphan is ended only where a listing shows that it is another token than each that is in use: by another id, or
/// because the listing has that one, too, under its own marker. A provider may have given the orphan again, or given what
/// existed the orphan's name: what ends the orphan then ends what consumers have. Of what was adopted there is no marker: an
/// orphan that has an id, or was made since, is another.
pub(in crate::rotation) fn lost<'l>(
    s: &Situation<'_>,
    listing: &'l Listing,
    account: &AccountName,
    marker: &Marker,
) -> Option<&'l Entry> {
    let mut entries = listing.named(marker.as_str()).filter(|entry| !entry.dead);
    entries.find(|entry| {
        let id = entry.remote.id.as_ref();
        let other = |shown: &Entry| !shown.dead && !std::ptr::eq(shown, *entry);
        let is_another = |it: &Generation| {
            let made_since = || entry.created.is_some_and(|created| s.clock.earliest(created) > it.minted_at);
            let shown = match &it.marker {
                Some(own) => id.is_some() && it.remote.id.is_some() || listing.named(own.as_str()).any(other),
                None => id.is_some() || made_since(),
            };
            it.account != *account || shown
        };
        !s.state.has_id(account, id) && in_use(s).all(is_another)
    })
}

/// The generations that consumers may have.
fn in_use<'a>(s: &Situation<'a>) -> impl Iterator<Item = &'a Generation> {
    let (now, phase) = (s.now, &s.state.phase);
    let current = phase.current();
    let left = phase.retiring().filter(|it| free(s, current, Some(it.revoke_at)).is_some_and(|at| at <= now));
    let left = left.map(|retiring| retiring.generation.number);
    let held = phase.generations().filter(move |it| Some(it.number) != left && !s.reckoning().over(it));
    let deferred = s.state.orphans.iter().filter_map(move |orphan| match orphan {
        Orphan::Deferred { generation, revoke_at, .. } => {
            let free = free(s, current, *revoke_at).is_some_and(|at| at <= now);
            (!free).then_some(generation.as_ref())
        }
        Orphan::Unrevocable { .. } | Orphan::UnknownMint { .. } => None,
    });
    held.chain(deferred)
}

/// The search for the orphan of an unknown mint, where one is due.
pub(super) fn seek(s: &Situation<'_>) -> Option<Step> {
    let due = s.state.orphans.iter().find(|orphan| next_seek(s, orphan).is_some_and(|at| at <= s.now))?;
    Some(Step::Act(Action::Seek(due.clone())))
}

/// When the orphan of an unknown mint is searched for next.
fn next_seek(s: &Situation<'_>, orphan: &Orphan) -> Option<Time> {
    let Orphan::UnknownMint { marker, account, at, .. } = orphan else { return None };
    let can_look = s.abilities.can.lists && s.abilities.can.marks && !s.foreign(account);
    let free = s.waiting(orphan.retry()).is_none();
    next_look(s, marker, *at).filter(|_| can_look && free)
}

/// Whether nothing of an orphan lives any more.
pub(super) fn is_over(s: &Situation<'_>, orphan: &Orphan) -> bool {
    let until = orphan.until().map(|until| s.clock.latest(until)).filter(|until| *until <= s.now);
    let (marker, account, at) = match orphan {
        Orphan::Unrevocable { .. } => return until.is_some(),
        // What waits for its revocation is revoked, whatever arithmetic says.
        Orphan::Deferred { generation, .. } => return until.is_some() && !s.can_revoke(generation),
        Orphan::UnknownMint { marker, account, at, .. } => (marker, account, *at),
    };
    // patrold may have slept: only a look can tell that it never turned up.
    let can_look = s.abilities.can.lists && s.abilities.can.marks && !s.foreign(account);
    if !can_look {
        return until.is_some();
    }
    // What cannot be revoked when it is seen may have been seen, and is known for its whole life: one listing that lacks it
    // proves nothing.
    let forgets = s.abilities.can.revokes || orphan.until().is_none();
    let forgotten = later(at, s.abilities.settle + MEMORY);
    let late =
        |listing: &&Listing| until.is_some_and(|until| until <= listing.at()) || forgets && listing.at() >= forgotten;
    let looked = s.listing.filter(|listing| listing.tells_absence() && listing.at() <= s.now).filter(late);
    let harmless = |entry: &Entry| entry.dead || s.state.has_id(account, entry.remote.id.as_ref());
    looked.is_some_and(|listing| listing.named(marker.as_str()).all(harmless))
}

/// When a generation is certainly not used any more whose revocation was left for later: consumers have all of the
/// current one, which works, and have had it for the grace; or its token left the inventory, and nobody is to be served.
/// None: nobody can tell yet.
fn free(s: &Situation<'_>, current: Option<&Current>, revoke_at: Option<Time>) -> Option<Time> {
    let Some(current) = current else { return revoke_at.filter(|_| !s.wanted) };
    let served = current.delivery.settled.filter(|_| !s.unusable(current))?;
    Some(revoke_at.unwrap_or(later(served, s.policy.grace)))
}

/// When something about an orphan comes up next.
pub(super) fn next_orphan(s: &Situation<'_>, current: Option<&Current>) -> Option<Time> {
    let times = s.state.orphans.iter().flat_map(|orphan| {
        let free = match orphan {
            Orphan::Deferred { generation, revoke_at, .. } => {
                let kin = current.is_some_and(|current| current.generation.is_kin(generation));
                free(s, current, *revoke_at).filter(|_| !kin)
            }
            Orphan::Unrevocable { .. } | Orphan::UnknownMint { .. } => None,
        };
        [orphan.until().map(|until| s.clock.latest(until)), s.waiting(orphan.retry()), free, next_seek(s, orphan)]
    });
    super::earliest(s.now, times)
}
