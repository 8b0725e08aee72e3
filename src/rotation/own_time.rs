//! Our own moments in a token's state, and what becomes of them when our clock turns out to have been ahead.
//!
//! Law: a moment of our own that is in the future is not one. It was noted while our clock was ahead, and counts as now:
//! ages and graces that began then begin now.

use crate::clock::{Span, Time};

use super::state::{Current, Delivery, Generation, Orphan, Phase, Progress, Retry, TokenState};

/// A clock that is slewed or read twice is off by less.
const TOLERANCE: Span = Span::seconds(5);

/// Whether something is noted to have happened after `now`.
pub(super) fn is_ahead(state: &TokenState, now: Time) -> bool {
    let Some(limit) = now.checked_add_signed(TOLERANCE) else { return false };
    let phase = &state.phase;
    let generations = state.generations().flat_map(|generation| {
        [Some(generation.minted_at), Some(generation.issued_at), generation.reissue_unknown].into_iter().flatten()
    });
    let current = phase.current().map(|current| [current.dead.as_ref().map(|dead| dead.at), current.preferred]);
    let deliveries = phase.current().map(|current| current.delivery.settled);
    let rows = phase.retiring().map(|retiring| retiring.handed_over);
    let search = match phase {
        Phase::Searching { search, .. } => Some(search.since),
        _ => None,
    };
    let intent = phase.intent().map(|intent| intent.at);
    let orphans = state.orphans.iter().filter_map(|orphan| match orphan {
        Orphan::UnknownMint { at, .. } => Some(*at),
        Orphan::Deferred { .. } | Orphan::Unrevocable { .. } => None,
    });
    // A wait that began in the future would be as long as the clock was ahead.
    let renewal = phase.current().and_then(|current| current.renewal_retry.as_ref());
    let retries = state.retry.iter().chain(state.orphans.iter().filter_map(Orphan::retry)).chain(renewal);
    let retries = retries.map(|retry| retry.at.unwrap_or(retry.since));
    let asked = state.retirement.map(|retirement| retirement.asked);
    let single = [asked, state.requested, state.last_success, rows, search, intent, deliveries.flatten()];
    let times = generations.chain(single.into_iter().flatten()).chain(current.into_iter().flatten().flatten());
    times.chain(orphans).chain(retries).any(|time| time > limit)
}

/// Puts everything that is noted to have happened after `at` to `at`. No old generation is kept beyond `revoke_at` then.
pub(super) fn put_right(state: &mut TokenState, at: Time, revoke_at: Time) {
    let past = |time: &mut Time| *time = (*time).min(at);
    let retry = |retry: &mut Retry| {
        if retry.at.unwrap_or(retry.since) > at {
            retry.next = retry.next.min(at);
        }
        past(&mut retry.since);
        retry.at.iter_mut().for_each(past);
    };
    state.requested.iter_mut().for_each(past);
    state.last_success.iter_mut().for_each(past);
    if let Some(retirement) = &mut state.retirement {
        past(&mut retirement.asked);
        retirement.revoke_at = retirement.revoke_at.min(revoke_at);
    }
    state.last_failure.iter_mut().for_each(|noted| past(&mut noted.at));
    state.retry.iter_mut().for_each(retry);
    for orphan in &mut state.orphans {
        orphan.retry_mut().into_iter().flatten().for_each(retry);
        match orphan {
            Orphan::Deferred { generation, revoke_at: planned, .. } => {
                times_of(generation).for_each(past);
                *planned = planned.map(|planned| planned.min(revoke_at));
            }
            Orphan::UnknownMint { at, .. } => past(at),
            Orphan::Unrevocable { .. } => {}
        }
    }
    for generation in state.phase.generations_mut() {
        times_of(generation).for_each(past);
    }
    if let Some(retiring) = state.phase.retiring_mut() {
        past(&mut retiring.handed_over);
        retiring.revoke_at = retiring.revoke_at.min(revoke_at);
    }
    let delivery = |delivery: &mut Delivery| {
        delivery.settled.iter_mut().chain(&mut delivery.untold).for_each(past);
        for progress in delivery.stores.values_mut().chain(delivery.hooks.values_mut()) {
            match progress {
                Progress::Done { at } => past(at),
                Progress::Failed(failed) => retry(failed),
            }
        }
    };
    if let Some(Current { delivery: delivered, dead, preferred, renewal_retry, .. }) = state.phase.current_mut() {
        if let Some(dead) = dead {
            past(&mut dead.at);
        }
        preferred.iter_mut().for_each(past);
        renewal_retry.iter_mut().for_each(retry);
        delivery(delivered);
    }
    match &mut state.phase {
        Phase::Searching { intent, search, .. } => {
            past(&mut intent.at);
            past(&mut search.since);
        }
        Phase::Intended { intent, .. }
        | Phase::Renewing { intent, .. }
        | Phase::RenewalUnknown { intent, .. }
        | Phase::Renewed { intent, .. } => past(&mut intent.at),
        Phase::Minted { candidate, .. } | Phase::Verified { candidate, .. } | Phase::Delivered { candidate, .. } => {
            delivery(&mut candidate.delivery);
        }
        Phase::Undoing { undo, .. } => delivery(&mut undo.restored),
        Phase::Vacant | Phase::Steady { .. } | Phase::Active { .. } | Phase::Revoked { .. } => {}
    }
}

/// Our own moments in a generation.
fn times_of(generation: &mut Generation) -> impl Iterator<Item = &mut Time> {
    let Generation { minted_at, issued_at, reissue_unknown, .. } = generation;
    [minted_at, issued_at].into_iter().chain(reissue_unknown.as_mut())
}
