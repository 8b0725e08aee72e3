//! The gate that every request of an account goes through: when it may leave, and what its end means for the next one.

use tokio::sync::SemaphorePermit;

use super::credential::Presented;
use super::health::Event;
use super::limit::{Admission, Refusal};
use super::{Account, AccountState, skew};
use crate::clock::{Clock, Span, Time};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::Response;

/// How long a caller is held while as many requests as allowed are under way.
pub(super) const QUEUE_PATIENCE: Span = Span::seconds(30);

impl<C: Clock> Account<C> {
    /// Waits until a request may leave; holds nobody beyond `latest`, however the clock is set meanwhile.
    pub(super) async fn turn<T>(
        &self,
        latest: Time,
        presented: Option<&Presented>,
    ) -> Result<SemaphorePermit<'_>, Outcome<T>> {
        let clock = &self.0.clock;
        let patience = (latest - clock.now()).max(Span::zero());
        // What can leave now may leave, however long it took until here.
        let latest = |now: Time| latest.clamp(now, now + patience);
        let fingerprint = presented.map(|presented| &presented.fingerprint);
        let turned_away = {
            let mut state = self.state();
            let now = clock.now();
            state.limiter.turns_away(now, latest(now), fingerprint)
        };
        if let Some(refusal) = turned_away {
            return Err(self.later(refusal));
        }
        let queue_end = clock.now() + QUEUE_PATIENCE;
        let permit = tokio::select! {
            biased;
            permit = self.0.in_flight.acquire() => permit.expect("the semaphore is never closed"),
            () = clock.wait_until(queue_end) => {
                let failure = Failure::new(FailureCode::RateLimited, "as many requests as allowed are under way");
                return Err(Outcome::later(failure));
            }
        };
        // The slot is taken with the permit in hand: a slot that waited for one could leave too close to the next.
        loop {
            // The clock is read under the lock, so that its times reach the limiter in order.
            let (admission, slot_from) = {
                let mut state = self.state();
                let now = clock.now();
                (state.limiter.admit(now, latest(now), fingerprint), now)
            };
            let slot = match admission {
                Admission::At(slot) => slot,
                refusal => return Err(self.later(refusal)),
            };
            // A wait ends early when the clock was set. Set back, the slot is far away: ask anew.
            while clock.now() < slot && clock.now() >= slot_from {
                clock.wait_until(slot).await;
            }
            let now = clock.now();
            if now >= slot && self.state().limiter.blocked_until(now).is_none() {
                return Ok(permit);
            }
        }
    }

    /// Takes from an answer what concerns the whole account; returns until when the provider wants no more requests.
    pub(super) fn update_limits(&self, response: &Response, sent_at: Time, now: Time) -> Option<Time> {
        let mut state = self.state();
        if let Some(sample) = skew::sample(&response.headers, sent_at, now) {
            state.skew = state.skew.with(sample);
        }
        // A date in the header is one of the provider's clock.
        let skew = state.skew.span().unwrap_or_default();
        let provider = &self.0.policy.provider;
        state.allowance = provider.allowance(response).or(state.allowance);
        let Some(limited) = provider.limited(response, now + skew) else {
            state.limiter.answered();
            return None;
        };
        state.limiter.block(now, limited.until.map(|until| until - skew));
        state.limiter.blocked_until(now)
    }

    /// Takes note of how an operation ended. One that was refused because its credential had just been replaced may be
    /// tried again at once.
    pub(super) async fn note<T>(&self, outcome: Outcome<T>, presented: Option<&Presented>) -> Outcome<T> {
        let now = self.0.clock.now();
        let failure = match &outcome {
            Outcome::Done(_) => {
                {
                    let mut state = self.state();
                    state.record.note(&Event::Succeeded { with_credential: presented.is_some() }, now);
                    if presented.is_some() {
                        state.limiter.credential_accepted();
                    }
                }
                if let Some(presented) = presented {
                    self.0.session.lock().await.accepted(&presented.fingerprint);
                }
                return outcome;
            }
            Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => failure,
        };
        if let Some(presented) = presented.filter(|_| refuses_credential(failure.code))
            && self.0.session.lock().await.refused(&presented.fingerprint)
        {
            self.state().record.note(&Event::OperationFailed(failure), now);
            return Outcome::later(failure.clone());
        }
        self.note_failure(outcome, presented).await
    }

    /// The same, of something that failed, and for which no session is to blame.
    pub(super) async fn note_failure<T>(&self, outcome: Outcome<T>, presented: Option<&Presented>) -> Outcome<T> {
        let now = self.0.clock.now();
        let (failure, not_before) = match &outcome {
            Outcome::Done(_) => return outcome,
            Outcome::Later { failure, not_before } => (failure.clone(), *not_before),
            Outcome::Refused(failure) | Outcome::Unknown(failure) => (failure.clone(), None),
        };
        match (failure.code, presented) {
            (code, Some(presented)) if refuses_credential(code) => {
                self.0.credential.suspect().await;
                if self.0.credential.present(now).await.is_ok_and(|new| new.root != presented.root) {
                    self.state().record.note(&Event::OperationFailed(&failure), now);
                    return Outcome::later(failure);
                }
                let guarded = presented.identity.username.is_some() && self.0.policy.provider.logs_in();
                let refusal = Refusal { credential: presented.root.clone(), guarded, until: not_before };
                let mut state = self.state();
                state.limiter.credential_refused(now, refusal);
                state.record.note(&Event::AccountFailed(&failure), now);
            }
            (FailureCode::NoCredential | FailureCode::Connect | FailureCode::Tls, _) => {
                self.state().record.note(&Event::AccountFailed(&failure), now);
            }
            _ => self.state().record.note(&Event::OperationFailed(&failure), now),
        }
        outcome
    }

    pub(super) fn later<T>(&self, refusal: Admission) -> Outcome<T> {
        match refusal {
            Admission::At(time) | Admission::NotBefore(time) => Outcome::Later {
                not_before: Some(time),
                failure: Failure::new(FailureCode::RateLimited, "the account's requests have to wait"),
            },
            Admission::CredentialRefused(time) => Outcome::Later {
                not_before: Some(time),
                failure: match &self.state().record.state {
                    AccountState::Degraded { failure, .. } => failure.clone(),
                    AccountState::Unknown | AccountState::Fine => Failure::new(FailureCode::Unauthorized, ""),
                },
            },
        }
    }
}

/// Whether a failure with this code says that the credential is not accepted.
pub(super) fn refuses_credential(code: FailureCode) -> bool {
    matches!(code, FailureCode::Unauthorized | FailureCode::AccountLocked)
}
