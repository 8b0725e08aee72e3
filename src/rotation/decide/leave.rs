//! Stores that leave the inventory: which lose the value that patrold gave them, and when.
//!
//! Law: a value is taken out only where the inventory said so while it had the store, once nobody is delivered to that
//! store any more. A token that merely left the inventory keeps its stores: it is alive, and may come back.

use crate::clock::Time;
use crate::inventory::OnLeave;
use crate::names::StoreKey;
use crate::rotation::event::Event;
use crate::rotation::state::{Claim, Current};
use crate::store::Place;

use super::step::Delivering;
use super::{Action, Situation, Step};

/// What is noted of the stores of a token, and what is taken out of those that it has no more.
pub(super) fn leaving(s: &Situation<'_>, current: &Current) -> Delivering {
    if !s.wanted || current.delivery.settled.is_none() {
        return Delivering::Done;
    }
    for store in &s.policy.stores {
        let known = s.state.claims.get(&store.key);
        if store.on_leave == OnLeave::Keep {
            if known.is_some() {
                return Delivering::Now(Step::Note(Event::StoreDisclaimed { store: store.key.clone() }));
            }
            continue;
        }
        let delivered =
            current.generation.fingerprints.get(&store.part).filter(|_| current.delivery.has_store(&store.key));
        let Some((fingerprint, place)) = delivered.zip(Place::of(store)) else { continue };
        if known.is_none_or(|known| known.fingerprint != *fingerprint || known.place != place) {
            let claim = Box::new(Claim { place, fingerprint: fingerprint.clone(), retry: None });
            return Delivering::Now(Step::Note(Event::StoreClaimed { store: store.key.clone(), claim }));
        }
    }
    erasing(s, |key| s.policy.stores.iter().all(|store| store.key != *key))
}

/// What is taken out of those stores that have left.
pub(super) fn erasing(s: &Situation<'_>, left: impl Fn(&StoreKey) -> bool) -> Delivering {
    let mut next: Option<Time> = None;
    for (store, claim) in s.state.claims.iter().filter(|(store, _)| left(store)) {
        match claim.retry.as_ref().and_then(|retry| s.owed_waiting(retry)) {
            Some(time) => next = next.into_iter().chain(Some(time)).min(),
            None => return Delivering::Now(Step::Act(Action::Erase(store.clone()))),
        }
    }
    next.map_or(Delivering::Done, Delivering::At)
}
