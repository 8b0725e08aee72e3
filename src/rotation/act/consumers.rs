//! Delivers a new secret: proves it, writes the stores, runs the hooks, and repairs drift.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use crate::clock::{Clock, Time};
use crate::inventory::{OnDrift, OnFailure};
use crate::journal::Journal;
use crate::names::{HookKey, RotationId, StoreKey};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Expiry, Remote, Verdict};
use crate::rotation::decide::{like, reached_consumers};
use crate::rotation::effects::{Condition, Effects, Occasion};
use crate::rotation::event::Event;
use crate::rotation::held::{Context, Held};
use crate::rotation::reckoning::Proof;
use crate::rotation::run::Machine;
use crate::rotation::state::{Current, Delivery, Generation, Origin, Phase, Progress};
use crate::store::{self, Erased};

use super::{address, subject};

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    pub(super) async fn verify(&self, held: &mut Held, context: &Context) {
        let Phase::Minted { candidate, .. } = &held.state.phase else { return };
        let generation = candidate.generation.clone();
        let secret = match self.secret(context, &generation).await {
            Ok(secret) => secret,
            Err(why) if why.code == FailureCode::SecretUnreadable => {
                return self.note(held, context, Event::UndoBegun { why, restore: false });
            }
            Err(failure) => return self.postpone(held, context, None, failure),
        };
        let waited = self.clock.now() >= generation.minted_at + context.policy.verify_timeout;
        // The timeout is for new tokens that are not known everywhere yet.
        let overdue = waited || candidate.origin != Origin::Minted;
        let candidate_is_adopted = candidate.origin == Origin::Adopted;
        let unproven = waited && !candidate_is_adopted;
        if candidate_is_adopted && held.state.phase.current().is_none_or(|_| self.without_secret(held, context)) {
            self.effects.set_credential(&context.policy.name, &secret);
        }
        let verdict = self.effects.verify(address(context, &generation), &subject(&generation, Some(secret))).await;
        let verdict = match verdict {
            Outcome::Done(Verdict::Dead(why)) => Outcome::Done(Verdict::Dead(why.of_secret())),
            verdict => verdict,
        };
        match verdict {
            Outcome::Done(Verdict::Alive { id, expires }) => {
                let id = id.filter(|_| generation.remote.id.is_none());
                let expires = self.believed(held, context, expires);
                let expires = expires.map(|told| like(told, generation.remote.expires));
                let told = expires.filter(|told| *told != Expiry::Unknown).unwrap_or(generation.remote.expires);
                let expires = if candidate_is_adopted && told == Expiry::Unknown {
                    // A listing may tell what the secret itself does not.
                    let remote =
                        Remote { id: id.clone().or(generation.remote.id.clone()), ..generation.remote.clone() };
                    Some(self.listed_expiry(context, &remote).await)
                } else {
                    expires
                };
                held.memo.proof = Some(Proof::of(&generation, self.clock.now()));
                held.memo.trusted = Some((generation.number, generation.revision));
                self.note(held, context, Event::Verified { proven: true, id, expires });
            }
            // Asking again will be refused again; providers propagate late, which the timeout is for.
            Outcome::Done(Verdict::Dead(why)) | Outcome::Refused(why) if overdue => {
                let kin = held.state.phase.current().is_some_and(|it| it.generation.is_kin(&generation));
                self.note(held, context, Event::UndoBegun { why: why.clone(), restore: false });
                if kin {
                    // The same request may have ended the current secret.
                    self.examine(held, context, why).await;
                }
            }
            Outcome::Later { failure: why, .. }
                if overdue && matches!(why.code, FailureCode::Forbidden | FailureCode::Unauthorized) =>
            {
                self.note(held, context, Event::UndoBegun { why, restore: false });
            }
            // What consumers have is certainly dead: one that nobody can prove now is better than that.
            Outcome::Later { .. } | Outcome::Unknown(_) if unproven && self.without_secret(held, context) => {
                self.note(held, context, Event::Verified { proven: false, id: None, expires: None });
            }
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Done(Verdict::Dead(failure)) | Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                self.postpone(held, context, None, failure);
            }
        }
    }

    /// Whether there is a current generation, and consumers cannot use it.
    fn without_secret(&self, held: &Held, context: &Context) -> bool {
        let situation = self.situation(held, context);
        held.state.phase.current().is_some_and(|current| situation.reckoning().unusable(current))
    }

    /// Writes the candidate's secret, or the current one's where there is no candidate or it is being taken back.
    pub(super) async fn write(&self, held: &mut Held, context: &Context, stores: &[StoreKey], restore: bool) {
        let generation = match (&held.state.phase, restore) {
            (Phase::Verified { candidate, .. } | Phase::Delivered { candidate, .. }, false) => {
                candidate.generation.clone()
            }
            (phase, _) => match phase.current() {
                Some(current) => current.generation.clone(),
                None => return,
            },
        };
        let secret = match self.secret(context, &generation).await {
            Ok(secret) => secret,
            Err(failure) => return self.unreadable(held, context, &generation, failure),
        };
        if !self.may_write(held, context, &generation, &secret, stores).await {
            return;
        }
        let begun = self.clock.now();
        let delivery = store::Delivery {
            token: &context.policy.name,
            generation: generation.number,
            revision: generation.revision,
            rotation: rotation_of(&held.state.phase, &generation),
            parts: &secret,
            others: &BTreeMap::new(),
        };
        let fresh: BTreeSet<_> = stores.iter().filter(|store| held.memo.intended.remove(*store)).collect();
        let (delivery, state, fresh) = (&delivery, &held.state, &fresh);
        let targets = context.policy.stores.iter().filter(|store| stores.contains(&store.key));
        let written = join_all(targets.map(|store| async move {
            let mut known = state.known_of(store);
            // What is there now was there before the write that was only intended.
            known.begun.take_if(|_| fresh.contains(&store.key));
            let outcome = self.effects.write(store, delivery, &known).await;
            let unwritten = known.begun.is_none() && matches!(outcome, Outcome::Later { .. } | Outcome::Refused(_));
            (store.key.clone(), unwritten, outcome.into_result())
        }))
        .await;
        let all = written.len() == context.policy.stores.len() && written.iter().all(|(.., result)| result.is_ok());
        held.memo.sound = all.then_some(begun);
        for (store, unwritten, result) in written {
            let event = match result {
                Ok(receipt) => Event::StoreWritten { store, receipt },
                Err(failure) => {
                    let next = self.next_write(held, context, &store, None);
                    Event::StoreFailed { store, failure, next, unwritten }
                }
            };
            self.note(held, context, event);
        }
    }

    /// Takes its value out of a store that left the inventory.
    pub(super) async fn erase(&self, held: &mut Held, context: &Context, store: StoreKey) {
        let Some(claim) = held.state.claims.get(&store).cloned() else { return };
        let receipt = held.state.receipts.get(&store).cloned();
        let event = match self.effects.erase(&store, &claim, receipt.as_ref()).await.into_result() {
            Ok(Erased::Gone) => Event::StoreErased { store, stays: None },
            Ok(Erased::Stays(why)) => Event::StoreErased { store, stays: Some(why) },
            Err(failure) => {
                let attempts = claim.retry.map_or(0, |retry| retry.attempts).saturating_add(1);
                let next = self.next_try(held, context, attempts, None);
                Event::EraseFailed { store, failure, next }
            }
        };
        self.note(held, context, event);
    }

    /// When a store that could not be written is tried again.
    pub(super) fn next_write(
        &self,
        held: &Held,
        context: &Context,
        store: &StoreKey,
        not_before: Option<Time>,
    ) -> Time {
        let rows = delivery(&held.state.phase).map(|delivery| &delivery.stores);
        self.next_try(held, context, attempts(rows.and_then(|rows| rows.get(store))), not_before)
    }

    /// Deals with a secret that the journal does not hand out.
    fn unreadable(&self, held: &mut Held, context: &Context, generation: &Generation, failure: Failure) {
        let lost = failure.code == FailureCode::SecretUnreadable;
        let candidate = held.state.phase.candidate().is_some_and(|it| it.generation.number == generation.number);
        match (lost, candidate) {
            (true, true) => {
                let restore = reached_consumers(&held.state.phase);
                self.note(held, context, Event::UndoBegun { why: failure, restore });
            }
            (true, false) => self.note(held, context, Event::SecretLost { number: generation.number, failure }),
            (false, _) => self.postpone(held, context, None, failure),
        }
    }

    pub(super) async fn notify(&self, held: &mut Held, context: &Context, hooks: &[HookKey], rolled_back: bool) {
        let rotation = match &held.state.phase {
            Phase::Verified { candidate, .. }
            | Phase::Delivered { candidate, .. }
            | Phase::Undoing { candidate, .. } => candidate.rotation,
            phase => match phase.current() {
                Some(current) => rotation_of(phase, &current.generation),
                None => return,
            },
        };
        let rows = delivery(&held.state.phase).map(|delivery| delivery.hooks.clone()).unwrap_or_default();
        let targets = context.policy.hooks.iter().filter(|hook| hooks.contains(&hook.key));
        let rows = &rows;
        let results = join_all(targets.map(|hook| async move {
            let attempt = attempts(rows.get(&hook.key));
            let occasion = Occasion { token: context.policy.name.clone(), rotation, attempt, rolled_back };
            (hook, attempt, self.effects.run_hook(hook, &occasion).await.into_result())
        }))
        .await;
        for (hook, attempt, result) in results {
            let hook_key = hook.key.clone();
            let event = match result {
                Ok(()) => Event::HookSucceeded { hook: hook_key },
                Err(failure) if hook.on_failure == OnFailure::Continue => Event::HookWaived { hook: hook_key, failure },
                Err(failure) => {
                    let next = self.next_try(held, context, attempt, None);
                    Event::HookFailed { hook: hook_key, failure, next }
                }
            };
            self.note(held, context, event);
        }
    }

    /// Compares every store with what was delivered; true where all are as they should be.
    ///
    /// Law: delivery hooks run for changed values, never for repaired metadata; for a value that is changed again and again
    /// ever more seldom. A consumer that touches its file is not told of that for ever. The store itself is repaired each
    /// time, and what consumers were not told of at once they are told of later: they may have read the wrong value.
    ///
    /// `fresh`: as they are now. Otherwise what was seen since the last inspection will do, unless it was written since: one
    /// request may show the stores of many tokens.
    pub(super) async fn inspect(&self, held: &mut Held, context: &Context, fresh: bool) -> bool {
        let now = self.clock.now();
        let before = held.memo.inspected.replace(now).filter(|before| !fresh && *before <= now);
        let Some(current) = held.state.phase.current() else { return true };
        let delivered = context.policy.stores.iter().filter(|store| current.delivery.has_store(&store.key));
        let targets = delivered.filter_map(|store| Some((store, current.generation.fingerprints.get(&store.part)?)));
        let state = &held.state;
        let conditions = join_all(targets.map(|(store, fingerprint)| async move {
            let known = state.known_of(store);
            let written = match current.delivery.stores.get(&store.key) {
                Some(Progress::Done { at }) => *at,
                _ => now,
            };
            let since = before.map_or(now, |before| before.max(written));
            (store.key.clone(), self.effects.inspect(store, fingerprint, &known, since).await)
        }))
        .await;
        // What was seen until now was seen: the next inspection asks for what came later.
        held.memo.inspected = Some(self.clock.now());
        let drift_every = context.policy.drift_every;
        let revoke_at = match held.state.phase {
            Phase::Active { ref retiring, .. } if retiring.generation.compromised.is_none() => {
                now.checked_add_signed(context.policy.grace)
            }
            _ => None,
        };
        let (mut fine, mut seen) = (true, true);
        for (store, condition) in conditions {
            let (found, value) = match condition {
                Condition::Same => continue,
                Condition::Hidden => {
                    seen = false;
                    continue;
                }
                Condition::Drifted { found, value } => (found, value),
                Condition::Unreadable(failure) => (failure.to_string(), true),
            };
            fine = false;
            let reports = context.policy.stores.iter().any(|it| it.key == store && it.on_drift == OnDrift::Report);
            // Nobody is told of a value that stays as it is.
            let told = value && !reports;
            let tell_at =
                if told { held.memo.repairs.entry(store.clone()).or_default().tells(now, drift_every) } else { None };
            let (quiet, revoke_at) = (!told || tell_at.is_some(), revoke_at.filter(|_| value));
            self.note(held, context, Event::StoreOwed { store, found, revoke_at, added: false, quiet, tell_at });
        }
        held.memo.sound = fine.then_some(now);
        let has_all = |current: &&Current| context.policy.stores.iter().all(|it| current.delivery.has_store(&it.key));
        if let Some(current) = held.state.phase.current().filter(has_all).filter(|_| fine && seen) {
            held.memo.trusted = Some((current.generation.number, current.generation.revision));
        }
        fine
    }
}

/// The rows of the delivery under way.
fn delivery(phase: &Phase) -> Option<&Delivery> {
    match phase {
        Phase::Verified { candidate, .. } | Phase::Delivered { candidate, .. } => Some(&candidate.delivery),
        Phase::Undoing { undo, .. } => Some(&undo.restored),
        phase => phase.current().map(|current| &current.delivery),
    }
}

/// The number of the attempt that comes next.
fn attempts(progress: Option<&Progress>) -> u32 {
    match progress {
        Some(Progress::Failed(retry)) => retry.attempts.saturating_add(1),
        Some(Progress::Done { .. }) | None => 1,
    }
}

/// The rotation that a delivery of `generation` belongs to.
fn rotation_of(phase: &Phase, generation: &Generation) -> RotationId {
    match phase {
        Phase::Active { retiring, .. } => retiring.rotation,
        phase => match phase.candidate().filter(|it| it.generation.number == generation.number) {
            Some(candidate) => candidate.rotation,
            None => delivery_id(generation),
        },
    }
}

/// The idempotency key of a delivery that no rotation owns: an adoption, a renewal, a repaired store. The generation and
/// its revision tell it.
fn delivery_id(generation: &Generation) -> RotationId {
    let text = format!("{}/{}/{}", generation.number, generation.revision, generation.issued_at.timestamp_millis());
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut id = [0; 6];
    id.copy_from_slice(&digest.as_ref()[..6]);
    RotationId::new(id)
}
