//! Mints and renewals of which nobody knows yet how they end.

use crate::clock::{Span, Time};
use crate::outcome::{Failure, FailureCode};
use crate::rotation::event::Event;
use crate::rotation::orphan;
use crate::rotation::reason::Reason;
use crate::rotation::state::{Current, Intent, Orphan, Search};

use super::{Action, Situation, Step, act_or_wait, later, rest};

/// A search that cannot be finished blocks the next mint at most this long.
const SEARCH_LIMIT: Span = Span::hours(1);

/// The same, while consumers are or soon will be without a usable secret.
const PRESSING_SEARCH_LIMIT: Span = Span::minutes(5);

/// A search is not given up before so many attempts.
const SEARCH_ATTEMPTS: u32 = 3;

pub(super) fn intended(s: &Situation<'_>, intent: &Intent) -> Step {
    if s.memo.fresh != Some(intent.rotation) {
        let failure = Failure::new(FailureCode::Reset, "patrold was stopped between the request and its answer");
        return Step::Note(Event::MintUnknown { failure });
    }
    if !s.wanted {
        let failure = Failure::new(FailureCode::Withdrawn, "the token left the inventory");
        return Step::Note(Event::MintRefused { failure, next: s.now });
    }
    Step::Act(Action::Mint)
}

pub(super) fn searching(s: &Situation<'_>, current: Option<&Current>, intent: &Intent, search: &Search) -> Step {
    let ended = |orphan| Step::Note(Event::SearchEnded { orphan, next: s.next_rotation() });
    let lost = || ended(unknown_mint(s, intent, search, false));
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
        Some(_) if over => lost(),
        Some(remote) => act_or_wait(s, Action::RevokeOrphan(remote.clone()), Reason::Searching),
        None if over || !can_look => lost(),
        None => act_or_wait(s, Action::Search, Reason::Searching),
    }
}

/// What a search leaves that found nothing. `looked`: a whole listing, taken after the time in which a lost mint may turn
/// up, does not show it.
pub(in crate::rotation) fn unknown_mint(s: &Situation<'_>, intent: &Intent, search: &Search, looked: bool) -> Orphan {
    let lifetime = s.policy.lifetime.filter(|_| s.abilities.can.chooses_lifetime && !s.foreign(&intent.account));
    let until = if looked { Some(orphan::MEMORY) } else { lifetime.map(|lifetime| lifetime + orphan::ROUNDING) };
    Orphan::UnknownMint {
        marker: intent.marker.clone(),
        account: intent.account.clone(),
        params: intent.params.clone(),
        at: intent.at,
        until: until.and_then(|until| search.since.checked_add_signed(until)),
        retry: None,
    }
}

pub(super) fn renewing(s: &Situation<'_>, intent: &Intent) -> Step {
    if s.memo.fresh != Some(intent.rotation) {
        let failure = Failure::new(FailureCode::Reset, "patrold was stopped between the request and its answer");
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

/// When the time in which a lost mint may turn up in a listing is over.
pub(in crate::rotation) fn search_settled(s: &Situation<'_>, search: &Search) -> Time {
    later(search.since, s.abilities.settle)
}
