//! Results of stores and hooks. `None`: nothing is delivered in this phase.

use crate::clock::Time;
use crate::names::{HookKey, StoreKey};
use crate::outcome::Failure;
use crate::rotation::state::{Delivery, Phase, Progress};

use super::failures::again;

pub(super) fn store_written(phase: &mut Phase, at: Time, store: &StoreKey) -> Option<()> {
    let delivery = rows(phase)?;
    delivery.stores.insert(store.clone(), Progress::Done { at });
    if !delivery.quiet.remove(store) {
        // Hooks that ran before did not tell the consumers of this store.
        delivery.hooks.retain(|_, hook| matches!(hook, Progress::Failed(_)));
        delivery.untold = None;
    }
    Some(())
}

pub(super) fn store_failed(phase: &mut Phase, at: Time, store: &StoreKey, failure: &Failure, next: Time) -> Option<()> {
    let delivery = rows(phase)?;
    let before = delivery.stores.remove(store);
    delivery.stores.insert(store.clone(), failed(before, at, failure, next));
    Some(())
}

/// How consumers learn of a store that is written again.
#[derive(Clone, Copy)]
pub(super) enum Telling {
    /// By every hook, once it is written.
    Hooks,
    /// Not at all, or at that moment.
    Quiet(Option<Time>),
}

/// The store is owed again, and so is every hook, unless that is kept quiet.
pub(super) fn store_owed(phase: &mut Phase, store: &StoreKey, revoke_at: Option<Time>, telling: Telling) -> Option<()> {
    if let (Phase::Active { retiring, .. }, Some(revoke_at)) = (&mut *phase, revoke_at) {
        retiring.revoke_at = retiring.revoke_at.max(revoke_at);
    }
    let delivery = rows(phase)?;
    delivery.stores.remove(store);
    delivery.settled = None;
    match telling {
        Telling::Quiet(tell_at) => {
            delivery.quiet.insert(store.clone());
            delivery.untold = delivery.untold.into_iter().chain(tell_at).min();
        }
        Telling::Hooks => {
            delivery.quiet.remove(store);
            owe_hooks(delivery);
        }
    }
    Some(())
}

/// Every hook is owed again.
pub(super) fn consumers_owed(phase: &mut Phase) -> Option<()> {
    let delivery = rows(phase)?;
    delivery.settled = None;
    owe_hooks(delivery);
    Some(())
}

fn owe_hooks(delivery: &mut Delivery) {
    delivery.hooks.clear();
    delivery.untold = None;
}

/// A store was added to the inventory while the hooks ran: it is written before they run again.
pub(super) fn write_again(phase: Phase) -> Phase {
    match phase {
        Phase::Delivered { current, candidate } => Phase::Verified { current, candidate },
        phase => phase,
    }
}

pub(super) fn hook_done(phase: &mut Phase, at: Time, hook: &HookKey) -> Option<()> {
    rows(phase)?.hooks.insert(hook.clone(), Progress::Done { at });
    Some(())
}

pub(super) fn hook_failed(phase: &mut Phase, at: Time, hook: &HookKey, failure: &Failure, next: Time) -> Option<()> {
    let delivery = rows(phase)?;
    let before = delivery.hooks.remove(hook);
    delivery.hooks.insert(hook.clone(), failed(before, at, failure, next));
    Some(())
}

pub(super) fn settled(phase: &mut Phase, at: Time) -> Option<()> {
    rows(phase)?.settled = Some(at);
    Some(())
}

/// The rows that deliveries of this phase are noted in.
fn rows(phase: &mut Phase) -> Option<&mut Delivery> {
    match phase {
        Phase::Verified { candidate, .. } | Phase::Delivered { candidate, .. } => Some(&mut candidate.delivery),
        Phase::Undoing { undo, .. } => Some(&mut undo.restored),
        other => other.current_mut().map(|current| &mut current.delivery),
    }
}

fn failed(before: Option<Progress>, at: Time, failure: &Failure, next: Time) -> Progress {
    let before = match before {
        Some(Progress::Failed(retry)) => Some(retry),
        Some(Progress::Done { .. }) | None => None,
    };
    Progress::Failed(again(before, at, failure, next))
}
