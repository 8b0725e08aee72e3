//! Renewal in place: a new secret of the same generation.

use crate::clock::{Clock, Time};
use crate::journal::Journal;
use crate::outcome::{Failure, FailureCode, Outcome};

use crate::provider::{MintRequest, Minted, Verdict};
use crate::rotation::decide::SHORTEST_LIFE;
use crate::rotation::effects::Effects;
use crate::rotation::event::Event;
use crate::rotation::held::{Context, Held};
use crate::rotation::reason::Reason;
use crate::rotation::run::Machine;
use crate::rotation::state::{Current, Generation, Phase};
use crate::timing::backoff::{self, Life};

use super::{PROOFS, address, failures, subject};

/// After a renewed secret was not accepted for the whole `verify-timeout`, the next renewal waits as after so many
/// failures: sooner would hardly change what the provider thinks.
const REJECTED: u32 = 12;

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    pub(super) async fn begin_renewal(&self, held: &mut Held, context: &Context, reason: Reason) {
        let Some(current) = held.state.phase.current() else { return };
        let (number, account) = (current.generation.number, current.generation.account.clone());
        let situation = self.situation(held, context);
        let (unusable, pressing) = (situation.reckoning().unusable(current), situation.pressing(current));
        if let Some((failure, next)) = self.newer_store(held, context).await {
            return self.postpone_renewal(held, context, Some(next), failure);
        }
        let (failing, failure) = self.preflight(held, context).await;
        if let Some(failure) = failure {
            // A renewal may take the old secret from its consumers at once. While that one works, all of them must get
            // the new one; when its time is nearly over, some are better than none.
            let some = failing < context.policy.stores.len();
            if !(unusable || pressing && some) {
                return self.postpone_renewal(held, context, None, failure);
            }
        }
        if self.is_limited(held, &account) {
            return;
        }
        let rotation = self.effects.rotation_id();
        let intent = self.intent(context, rotation, number, reason);
        held.memo.fresh = Some(rotation);
        self.note(held, context, Event::RenewalIntended { intent });
    }

    pub(super) async fn renew(&self, held: &mut Held, context: &Context) {
        held.memo.fresh = None;
        let Phase::Renewing { current, intent, .. } = &held.state.phase else { return };
        let (old, intent) = (current.generation.clone(), intent.clone());
        let secret = match self.secret(context, &old).await {
            Ok(secret) => secret,
            Err(failure) => {
                let spent = failure.code == FailureCode::SecretUnreadable;
                let next = self.next_renewal(held, context, None);
                return self.note(held, context, Event::RenewalRefused { failure, next, spent });
            }
        };
        let mint_request = MintRequest { marker: intent.marker, lifetime: context.policy.lifetime };
        match self.effects.renew(address(context, &old), &mint_request, &subject(&old, Some(secret))).await {
            Outcome::Done(minted) => self.renewed(held, context, old, minted),
            Outcome::Later { not_before, failure } => {
                let next = self.next_renewal(held, context, not_before);
                self.note(held, context, Event::RenewalRefused { failure, next, spent: false });
            }
            Outcome::Refused(failure) => {
                let next = self.clock.now();
                self.note(held, context, Event::RenewalRefused { failure, next, spent: true });
            }
            Outcome::Unknown(failure) => self.note(held, context, Event::RenewalUnknown { failure }),
        }
    }

    fn renewed(&self, held: &mut Held, context: &Context, old: Generation, minted: Minted) {
        let mut remote = minted.remote;
        remote.id = remote.id.or(old.remote.id);
        remote.renewable_until = remote.renewable_until.or(old.remote.renewable_until);
        // What the answer does not repeat still holds.
        let told = std::mem::replace(&mut remote.facts, old.remote.facts);
        remote.facts.extend(told);
        let can = context.abilities.can;
        let generation = Generation {
            revision: old.revision.saturating_add(1),
            remote,
            issued_at: self.clock.now(),
            fingerprints: self.effects.fingerprints(&minted.secret),
            // Others have the old secret only, and that is dead with the renewal.
            compromised: old.compromised.filter(|_| can.mints || can.renewal_overlaps),
            reissue_unknown: None,
            ..old
        };
        let generation = self.likely(held, context, generation);
        held.keep(generation.slot(&context.policy.name), minted.secret);
        held.memo.trusted = Some((generation.number, generation.revision));
        self.note(held, context, Event::Renewed { generation: Box::new(generation) });
    }

    pub(super) async fn examine_renewal(&self, held: &mut Held, context: &Context) {
        let tried = held.state.phase.current().map_or(0, renewal_failures);
        let asked = held.state.phase.intent().map_or_else(|| self.clock.now(), |intent| intent.at);
        let settled = asked.checked_add_signed(context.abilities.settle).unwrap_or(Time::MAX_UTC);
        match self.ask(held, context).await {
            // The renewal would have ended the old secret: it did not happen, once it cannot happen any more.
            Outcome::Done(Verdict::Alive { .. }) if context.abilities.renewal_repeats => {
                let failure = Failure::new(FailureCode::Reset, "the old secret still works: it was not renewed");
                if self.clock.now() < settled {
                    return self.note(held, context, Event::RenewalPostponed { failure, next: settled });
                }
                let next = self.next_renewal(held, context, None);
                self.note(held, context, Event::RenewalRefused { failure, next, spent: false });
            }
            Outcome::Done(Verdict::Alive { .. }) => self.note(held, context, Event::RenewalExamined { dead: None }),
            Outcome::Done(Verdict::Dead(failure)) => {
                self.note(held, context, Event::RenewalExamined { dead: Some(failure) });
            }
            Outcome::Later { not_before, failure } if tried < PROOFS => {
                self.postpone_renewal(held, context, not_before, failure);
            }
            Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Unknown(_) => {
                self.note(held, context, Event::RenewalExamined { dead: None });
            }
        }
    }

    pub(super) async fn verify_renewed(&self, held: &mut Held, context: &Context) {
        let Phase::Renewed { current, .. } = &held.state.phase else { return };
        let overdue = self.clock.now() >= current.generation.issued_at + context.policy.verify_timeout;
        match self.ask(held, context).await {
            Outcome::Done(Verdict::Alive { .. }) => {
                self.accepted(held);
                self.renewal_verified(held, context, true);
            }
            Outcome::Done(Verdict::Dead(failure)) if overdue => {
                let next = Some(self.next_try(held, context, REJECTED, None));
                self.note(held, context, Event::RenewalRejected { failure, next });
            }
            Outcome::Done(Verdict::Dead(failure)) => self.postpone_renewal(held, context, None, failure),
            // The secret before it died with the renewal: consumers are better off with one that is not proven.
            Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Unknown(_) => {
                self.renewal_verified(held, context, false);
            }
        }
    }

    /// The renewed secret goes to its consumers: the provider accepted the renewal, whatever it tells of the time. One that
    /// hardly lives is not renewed again at once.
    fn renewal_verified(&self, held: &mut Held, context: &Context, proven: bool) {
        let current = held.state.phase.current();
        let reckoning = self.situation(held, context);
        let life = current.and_then(|current| {
            Some(reckoning.reckoning().expires(&current.generation)? - current.generation.issued_at)
        });
        let failed = current.map_or(0, renewal_failures);
        let wait = || backoff::next(failed.saturating_add(1), Life::Endless, self.effects.draw());
        let again = life.filter(|life| *life < SHORTEST_LIFE).map(|_| self.clock.now() + wait());
        self.note(held, context, Event::RenewalVerified { proven, again });
    }

    /// When a renewal that failed is tried again.
    fn next_renewal(&self, held: &Held, context: &Context, not_before: Option<Time>) -> Time {
        let failed = held.state.phase.current().map_or(0, renewal_failures);
        self.next_try(held, context, failed.saturating_add(1), not_before)
    }

    fn postpone_renewal(&self, held: &mut Held, context: &Context, not_before: Option<Time>, failure: Failure) {
        let next = self.next_renewal(held, context, not_before);
        self.note(held, context, Event::RenewalPostponed { failure, next });
    }
}

fn renewal_failures(current: &Current) -> u32 {
    failures(current.renewal_retry.as_ref())
}
