//! Mints and renewals that were intended, or whose outcome is unknown.

use crate::clock::{Span, Time};
use crate::outcome::{Failure, FailureCode};
use crate::rotation::event::Event;
use crate::rotation::reason::Reason;
use crate::rotation::state::{Current, Intent, Orphan, Search};

use super::{Action, Situation, Step, act_or_wait, later, rest};
use crate::names::Marker;
use crate::timing::backoff::{self, Life};

/// A search that cannot be finished blocks the next mint at most this long.
const SEARCH_LIMIT: Span = Span::hours(1);

/// The same, while consumers are or soon will be without a usable secret.
const PRESSING_SEARCH_LIMIT: Span = Span::minutes(5);

/// A search is not given up before so many attempts.
const SEARCH_ATTEMPTS: u32 = 3;

/// While this many mints have an unknown outcome, not even a token that consumers need is minted before the search for
/// them: a provider whose answers never arrive must not fill an account.
const MANY_LOST: usize = 2;

/// The shortest wait between two searches for the orphan of a mint.
const SHORTEST_SEARCH: Span = Span::milliseconds(100);

pub(super) fn intended(s: &Situation<'_>, intent: &Intent) -> Step {
    if s.memo.fresh != Some(intent.rotation) {
        let failure = Failure::new(FailureCode::Stopped, "");
        return Step::Note(Event::MintUnknown { failure });
    }
    if !s.wanted {
        let failure = Failure::new(FailureCode::Withdrawn, "the token left the inventory");
        return Step::Note(Event::MintRefused { failure, next: s.now });
    }
    Step::Act(Action::Mint)
}

/// Law: an unknown outcome never starves consumers. Where consumers have no usable secret, or soon will not, a mint of unknown outcome becomes an
/// orphan that is looked for in the background, and another one is minted at once.
pub(super) fn searching(s: &Situation<'_>, current: Option<&Current>, intent: &Intent, search: &Search) -> Step {
    let starves = s.wanted && current.is_none_or(|current| s.pressing(current));
    // An operator who asked for a rotation meanwhile waits for that, and not for a backoff.
    let asked = s.state.requested.is_some_and(|at| at > search.since);
    let at_once = asked || starves && s.state.failed_rotations == 0;
    let next = if at_once { s.now } else { s.next_rotation() };
    let ended = |orphan| Step::Note(Event::SearchEnded { orphan, next });
    let lost = || ended(unknown_mint(s, intent, search));
    let foreign = s.foreign(&intent.account);
    let can_look = foreign || s.abilities.can.lists && s.abilities.can.marks;
    let limit = if current.is_none_or(|current| s.pressing(current)) { PRESSING_SEARCH_LIMIT } else { SEARCH_LIMIT };
    // The clock may have been set forward: time alone does not end a search.
    let tried = s.state.retry.as_ref().is_some_and(|retry| retry.attempts >= SEARCH_ATTEMPTS);
    let over = tried && s.now >= later(search.since, limit.max(s.abilities.settle));
    match &search.found {
        Some(remote) if !foreign && !s.abilities.can.revokes => ended(Orphan::Unrevocable {
            number: intent.number,
            marker: Some(intent.marker.clone()),
            id: remote.id.clone(),
            until: remote.expires.moment(),
        }),
        // The provider gave the token that existed, under the new name: consumers use it.
        Some(remote) if s.state.has_id(&intent.account, remote.id.as_ref()) => lost(),
        Some(_) if over => lost(),
        Some(_) if starves && s.waiting(s.state.retry.as_ref()).is_some() => lost(),
        Some(remote) => act_or_wait(s, Action::RevokeOrphan(remote.clone()), Reason::Searching),
        None if over || !can_look => lost(),
        None if starves && unresolved(s) < MANY_LOST => lost(),
        None => match next_look(s, &intent.marker, search.since).filter(|at| *at > s.now) {
            Some(at) => rest(Reason::Searching, Some(at)),
            None => act_or_wait(s, Action::Search, Reason::Searching),
        },
    }
}

/// How many mints of unknown outcome may still turn out to have happened.
fn unresolved(s: &Situation<'_>) -> usize {
    let lost = s.state.orphans.iter().filter(|orphan| match orphan {
        Orphan::UnknownMint { marker, at, .. } => next_look(s, marker, *at).is_some(),
        Orphan::Unrevocable { .. } | Orphan::Deferred { .. } => false,
    });
    lost.count()
}

/// When the orphan of a mint of unknown outcome is searched for next, `since` it became unknown: soon at first, and once more when it must have
/// turned up. None: it was looked for since then. Polls go on showing it.
pub(super) fn next_look(s: &Situation<'_>, marker: &Marker, since: Time) -> Option<Time> {
    let settled = later(since, s.abilities.settle);
    let looks = s.memo.looks.get(marker).filter(|looks| looks.last <= s.now);
    let Some(looks) = looks else { return Some(s.now) };
    if looks.seen.is_some_and(|seen| seen >= settled) {
        return None;
    }
    let next = later(looks.last, backoff::next(looks.count, Life::Endless, 0.5));
    Some(if looks.last < settled { next.min(settled) } else { next }.max(later(looks.last, SHORTEST_SEARCH)))
}

/// What a search leaves that found nothing.
pub(in crate::rotation) fn unknown_mint(s: &Situation<'_>, intent: &Intent, search: &Search) -> Orphan {
    let life = life(s, intent).map(|life| life + s.abilities.settle);
    Orphan::UnknownMint {
        marker: intent.marker.clone(),
        account: intent.account.clone(),
        params: intent.params.clone(),
        at: intent.at,
        until: life.and_then(|life| search.since.checked_add_signed(life)),
        retry: None,
    }
}

/// How long what a mint may have made lives: as asked for, or as the provider is known to give. None: nobody can tell.
fn life(s: &Situation<'_>, intent: &Intent) -> Option<Span> {
    if s.foreign(&intent.account) {
        return None;
    }
    if let Some(asked) = s.policy.account.provider.asked_lifetime(s.policy.lifetime) {
        return Some(asked);
    }
    // Where its end can be seen, one that the same request made before is as good as a promise.
    let can_look = s.abilities.can.lists && s.abilities.can.marks;
    let current = s.state.phase.current().filter(|_| can_look)?;
    let alike = current.generation.params.as_ref() == Some(&intent.params);
    let expires = s.reckoning().expires(&current.generation).filter(|_| alike)?;
    Some(expires - current.generation.minted_at)
}

pub(super) fn renewing(s: &Situation<'_>, intent: &Intent) -> Step {
    if s.memo.fresh != Some(intent.rotation) {
        let failure = Failure::new(FailureCode::Stopped, "");
        return Step::Note(Event::RenewalUnknown { failure });
    }
    if !s.wanted {
        let failure = Failure::new(FailureCode::Withdrawn, "the token left the inventory");
        return Step::Note(Event::RenewalRefused { failure, next: s.now, spent: false });
    }
    Step::Act(Action::Renew)
}

/// A step of a renewal, which has a backoff of its own.
pub(super) fn renewal_step(s: &Situation<'_>, current: &Current, action: Action, reason: Reason) -> Step {
    match s.waiting(current.renewal_retry.as_ref()) {
        Some(next) => rest(reason, Some(next)),
        None => Step::Act(action),
    }
}

/// When the time is over in which a mint of unknown outcome may still appear in a listing.
pub(in crate::rotation) fn search_settled(s: &Situation<'_>, search: &Search) -> Time {
    later(search.since, s.abilities.settle)
}
