//! Stores and hooks: which are owed to consumers, and when they are tried.

use std::collections::BTreeSet;

use crate::clock::Time;
use crate::inventory::{Existing, HookPolicy, OnDrift, StorePolicy};
use crate::rotation::event::Event;
use crate::rotation::state::{Current, Delivery, Progress};

use super::leave;
use super::step::Delivering;
use super::{Action, Situation, Step, later};

/// Stores, hooks, and then the note that all is done, after a handover.
pub(super) fn deliver(s: &Situation<'_>, delivery: &Delivery) -> Delivering {
    if delivery.settled.is_some() {
        let added = s.policy.stores.iter().find(|store| !delivery.has_store(&store.key));
        return added
            .map_or(Delivering::Done, |store| Delivering::Now(Step::Note(Event::store_added(store.key.clone()))));
    }
    match stores(s, delivery) {
        Delivering::Now(step) => Delivering::Now(step),
        Delivering::At(time) => partly(s, delivery, time),
        Delivering::Done => match hooks(s, delivery) {
            Delivering::Done => Delivering::Now(Step::Note(Event::Redelivered {})),
            owed => owed,
        },
    }
}

/// What remains while some stores cannot be written before `next`: the consumers of those that were are told. Each store
/// that is written later owes all of them the hooks again.
pub(super) fn partly(s: &Situation<'_>, delivery: &Delivery, next: Time) -> Delivering {
    if !s.policy.stores.iter().any(|store| delivery.has_store(&store.key)) {
        return Delivering::At(next);
    }
    match told(s, delivery) {
        Delivering::Now(step) => Delivering::Now(step),
        Delivering::At(time) => Delivering::At(time.min(next)),
        Delivering::Done => Delivering::At(next),
    }
}

pub(super) fn stores(s: &Situation<'_>, delivery: &Delivery) -> Delivering {
    let rows = s.policy.stores.iter().map(|store| (&store.key, delivery.stores.get(&store.key)));
    owed(s, rows, |ready| {
        let stores = s.policy.stores.iter().filter(|store| ready.contains(&store.key) && needs_intent(s, store));
        let unsaid: Vec<_> = stores.map(|store| store.key.clone()).collect();
        if unsaid.is_empty() { Action::Write(ready) } else { Action::IntendWrite(unsaid) }
    })
}

/// Whether a write whose end nobody learned would be taken for a stranger's, and stay in the way, were it not known that it
/// was begun.
fn needs_intent(s: &Situation<'_>, store: &StorePolicy) -> bool {
    let known = s.state.known_of(store);
    let stops = match known.receipt {
        None => store.existing == Existing::Refuse,
        Some(_) => store.on_drift == OnDrift::Report,
    };
    stops && store.hides() && known.begun.is_none()
}

/// The hooks, wave by wave: of each, those that tell consumers, and then those that prove that they heard.
pub(super) fn hooks(s: &Situation<'_>, delivery: &Delivery) -> Delivering {
    in_turn(s, delivery, |_| true)
}

/// The hooks that tell consumers, wave by wave.
pub(super) fn told(s: &Situation<'_>, delivery: &Delivery) -> Delivering {
    in_turn(s, delivery, |hook| !hook.proves())
}

/// The first group of hooks that is not done. Nothing of a later one begins before.
fn in_turn(s: &Situation<'_>, delivery: &Delivery, belongs: impl Fn(&HookPolicy) -> bool) -> Delivering {
    let group = |hook: &HookPolicy| (hook.pace.wave, hook.proves());
    let groups: BTreeSet<_> = s.policy.hooks.iter().filter(|hook| belongs(hook)).map(group).collect();
    let turns = groups.into_iter().map(|turn| hooks_that(s, delivery, |hook| belongs(hook) && group(hook) == turn));
    turns.into_iter().find(|owed| !matches!(owed, Delivering::Done)).unwrap_or(Delivering::Done)
}

fn hooks_that(s: &Situation<'_>, delivery: &Delivery, belongs: impl Fn(&HookPolicy) -> bool) -> Delivering {
    let hooks = s.policy.hooks.iter().filter(|hook| belongs(hook));
    owed(s, hooks.map(|hook| (&hook.key, delivery.hooks.get(&hook.key))), Action::Notify)
}

/// The rows that can be tried now, or the time of the next one.
fn owed<'a, K: Clone + 'a>(
    s: &Situation<'_>,
    rows: impl Iterator<Item = (&'a K, Option<&'a Progress>)>,
    action: impl FnOnce(Vec<K>) -> Action,
) -> Delivering {
    let mut ready = Vec::new();
    let mut next: Option<Time> = None;
    for (key, progress) in rows {
        let waiting = match progress {
            Some(Progress::Done { .. }) => continue,
            Some(Progress::Failed(retry)) => s.owed_waiting(retry),
            None => None,
        };
        match waiting {
            Some(time) => next = next.into_iter().chain(Some(time)).min(),
            None => ready.push(key.clone()),
        }
    }
    match next {
        _ if !ready.is_empty() => Delivering::Now(Step::Act(action(ready))),
        Some(time) => Delivering::At(time),
        None => Delivering::Done,
    }
}

/// When the stores are compared next; at once after a start, and after the clock was set back. None: there is nothing
/// to compare.
pub(super) fn next_inspection(s: &Situation<'_>, current: &Current) -> Option<Time> {
    let idle = !s.wanted || s.unusable(current) || current.secret_lost;
    if idle || s.policy.stores.is_empty() || current.delivery.settled.is_none() {
        return None;
    }
    let last = s.memo.inspected.filter(|inspected| *inspected <= s.now);
    Some(last.map_or(s.now, |inspected| later(inspected, s.policy.drift_every)))
}

/// When consumers are told of a repair that was kept quiet.
pub(super) fn next_telling(s: &Situation<'_>, current: &Current) -> Option<Time> {
    current.delivery.untold.filter(|_| s.wanted && !s.policy.hooks.is_empty())
}

/// Stores and hooks of the current generation, and their inspection. `delivers`: what is owed is tried.
pub(super) fn serve(s: &Situation<'_>, current: &Current, delivers: bool) -> Delivering {
    if !delivers || s.forgotten() || s.unusable(current) || current.secret_lost {
        return Delivering::Done;
    }
    match deliver(s, &current.delivery) {
        Delivering::Done => match leave::leaving(s, current) {
            Delivering::Now(step) => Delivering::Now(step),
            _ if next_inspection(s, current).is_some_and(|at| at <= s.now) => {
                Delivering::Now(Step::Act(Action::Inspect))
            }
            _ if next_telling(s, current).is_some_and(|at| at <= s.now) => {
                Delivering::Now(Step::Note(Event::ConsumersOwed {}))
            }
            owed => owed,
        },
        owed => owed,
    }
}
