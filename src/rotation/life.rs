//! How long the consumers of a token hold something that works: what decides who is served first, and how long a wait
//! may be. Pure.

use crate::clock::{Span, Time};
use crate::timing::backoff::Life;

use super::reckoning::Reckoning;
use super::state::{Current, Delivery, Orphan, Phase, Progress, TokenState};

/// What has no nearer deadline counts as due so long after it asked: nobody waits behind others for ever.
const PATIENCE: Span = Span::hours(1);

/// When consumers would hold nothing that works, as far as anybody can tell; now, where they hold nothing.
///
/// Law: the nearest deadline goes first. A token that is dead already counts from the moment it asks: it overtakes nobody
/// who asked before and can still be saved in time.
pub fn deadline(state: &TokenState, reckoning: &Reckoning<'_>) -> Time {
    let latest = reckoning.now.checked_add_signed(PATIENCE).unwrap_or(Time::MAX_UTC);
    end(state, reckoning).clamp(reckoning.now, latest)
}

/// The same, however far away.
pub fn end(state: &TokenState, reckoning: &Reckoning<'_>) -> Time {
    let done = |store: &Progress| matches!(store, Progress::Done { .. });
    let served = state.phase.candidate().filter(|candidate| candidate.delivery.stores.values().any(done));
    let served = served.map(|candidate| &candidate.generation).filter(|generation| !reckoning.expired(generation));
    let current = state.phase.current().filter(|current| !reckoning.unusable(current));
    let held = current.map(|current| &current.generation).into_iter().chain(served);
    let end = held.map(|generation| reckoning.expires(generation).unwrap_or(Time::MAX_UTC)).max();
    end.unwrap_or(reckoning.now)
}

/// How long consumers hold something that works while the present step waits. What is in every store counts: where hooks
/// alone are owed, consumers can read it. As long as they have the generation before, its end counts.
pub fn life(state: &TokenState, reckoning: &Reckoning<'_>) -> Life {
    let before =
        |orphan: &Orphan| matches!(orphan, Orphan::Deferred { generation, .. } if !reckoning.expired(generation));
    let alone = matches!(state.phase, Phase::Steady { .. }) && !state.orphans.iter().any(before);
    let has = |current: &&Current| !alone || current.delivery.settled.is_some() || is_written(&current.delivery);
    let current = state.phase.current().filter(|current| !reckoning.unusable(current)).filter(has);
    let candidate = state.phase.candidate().filter(|candidate| is_written(&candidate.delivery));
    let candidate = candidate.map(|candidate| &candidate.generation).filter(|it| !reckoning.expired(it));
    match current.map(|current| &current.generation).or(candidate) {
        None => Life::Over,
        Some(generation) => {
            reckoning.expires(generation).map_or(Life::Endless, |expires| Life::of(expires - reckoning.now))
        }
    }
}

/// Whether every store has it, as far as it was tried.
fn is_written(delivery: &Delivery) -> bool {
    let done = |store: &Progress| matches!(store, Progress::Done { .. });
    !delivery.stores.is_empty() && delivery.stores.values().all(done)
}
