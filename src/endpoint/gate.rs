//! The gate that every request to an endpoint goes through: when it may leave, and what its end means for the next one.

use super::credential::Presented;
use super::health::Event;
use super::limit::{Admission, Refusal};
use super::slots::Slot;
use super::urgency::Urgency;
use super::{Endpoint, skew};
use crate::clock::{Clock, Span, Time};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Received, Response};

/// How long a caller is held while as many requests as allowed are under way.
pub(crate) const QUEUE_PATIENCE: Span = Span::seconds(30);

/// When to come back, and why.
type Refused = (Option<Time>, Failure);

impl<C: Clock> Endpoint<C> {
    /// Waits until a request may leave; holds nobody beyond `latest`, however the clock is set meanwhile.
    pub(super) async fn turn(&self, latest: Time, presented: Option<&Presented>) -> Result<Slot, Refused> {
        let clock = &self.0.clock;
        let patience = (latest - clock.now()).max(Span::zero());
        // What can leave now may leave, however long it took until here.
        let latest = |now: Time| latest.clamp(now, now + patience);
        let fingerprint = presented.map(|presented| &presented.fingerprint);
        let urgency = Urgency::present();
        let turned_away = {
            let mut state = self.0.shared.state();
            let now = clock.now();
            state.limiter.turns_away(now, latest(now), fingerprint, urgency)
        };
        if let Some(refusal) = turned_away {
            return Err(self.later(refusal));
        }
        let now = clock.now();
        let queue_end = now + QUEUE_PATIENCE;
        let place = tokio::select! {
            biased;
            place = self.0.shared.slots.take(urgency.deadline(now)) => place,
            () = clock.wait_until(queue_end) => {
                let failure = Failure::new(FailureCode::RateLimited, "as many requests as allowed are under way");
                return Err((None, failure));
            }
        };
        // The slot is taken with the place in hand: a slot that waited for one could leave too close to the next.
        loop {
            // The clock is read under the lock, so that its times reach the limiter in order.
            let (admission, slot_from) = {
                let mut state = self.0.shared.state();
                let now = clock.now();
                (state.limiter.admit(now, latest(now), fingerprint, urgency), now)
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
            if now >= slot && !self.0.shared.state().limiter.blocked_since(slot_from, now) {
                return Ok(place);
            }
        }
    }

    /// Not before this, by the rate limit, may something be begun that asks the service until `latest`. None: now.
    pub fn plan(&self, latest: Time) -> Option<Time> {
        let mut state = self.0.shared.state();
        let now = self.0.clock.now();
        state.limiter.plan(now, latest.max(now))
    }

    /// When an answer came, with what its own head shows of the provider's clock; where that shows nothing, what those
    /// before it showed.
    pub(super) fn received(&self, response: &Response, sent_at: Time, now: Time) -> Received {
        let sample = skew::sample(&response.headers, sent_at, now);
        let mut state = self.0.shared.state();
        state.answered = true;
        if let Some(sample) = sample {
            state.skew = state.skew.with(sample, now);
        }
        Received { at: now, header: sample.or(state.skew.span()) }
    }

    /// Takes from an answer what concerns everybody at the endpoint; returns until when the service wants no more requests.
    pub(super) async fn update_limits(&self, response: &Response, received: Received, sent_at: Time) -> Option<Time> {
        let shared = &self.0.shared;
        let limit = &self.0.setup.manner.limit;
        if let Some(left) = limit.allowance(response) {
            self.standing().allowance = Some(left);
        }
        let now = received.at;
        let (blocked, changed) = {
            let mut state = shared.state();
            if let Some(limited) = limit.limited(response, received) {
                state.limiter.block(now, limited.until);
                (state.limiter.blocked_until(now), true)
            } else {
                let lifted = state.limiter.answered(sent_at);
                if lifted {
                    state.outage.lifted(now);
                }
                (None, lifted)
            }
        };
        if changed {
            shared.write(now).await;
        }
        blocked
    }

    /// Takes note of how an operation ended. One that was refused because its credential had just been replaced may be
    /// tried again at once.
    pub(super) async fn note<T>(&self, outcome: Outcome<T>, presented: Option<&Presented>) -> Outcome<T> {
        let now = self.0.clock.now();
        let failure = match &outcome {
            Outcome::Done(_) => {
                self.standing().record.note(&Event::Succeeded { with_credential: presented.is_some() }, now);
                if let Some(presented) = presented {
                    let shared = &self.0.shared;
                    let was_refused = shared.state().limiter.credential_accepted();
                    if was_refused {
                        shared.write(now).await;
                    }
                    shared.session.lock().await.accepted(&presented.fingerprint);
                }
                return outcome;
            }
            Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => failure,
        };
        if let Some(presented) = presented.filter(|_| refuses_credential(failure.code))
            && self.0.shared.session.lock().await.refused(&presented.fingerprint)
        {
            self.standing().record.note(&Event::OperationFailed(failure), now);
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
                let credential = &self.0.shared.credential;
                credential.suspect().await;
                if credential.present(now).await.is_ok_and(|new| new.root != presented.root) {
                    self.standing().record.note(&Event::OperationFailed(&failure), now);
                    return Outcome::later(failure);
                }
                let guarded = presented.identity.username.is_some() && self.0.setup.manner.logs_in;
                self.standing().record.note(&Event::AccountFailed(&failure), now);
                let refusal = Refusal { credential: presented.root.clone(), guarded, until: not_before, failure };
                self.0.shared.state().limiter.credential_refused(now, refusal);
                self.0.shared.write(now).await;
            }
            (code, _) if code == FailureCode::NoCredential || code.is_unreachable() => {
                self.standing().record.note(&Event::AccountFailed(&failure), now);
            }
            _ => self.standing().record.note(&Event::OperationFailed(&failure), now),
        }
        outcome
    }

    fn later(&self, refusal: Admission) -> Refused {
        match refusal {
            Admission::At(time) | Admission::NotBefore(time) => {
                (Some(time), Failure::new(FailureCode::RateLimited, "the account's requests have to wait"))
            }
            Admission::CredentialRefused(time) => {
                let refused = self.0.shared.refused();
                (Some(time), refused.unwrap_or_else(|| Failure::new(FailureCode::Unauthorized, "")))
            }
        }
    }

    /// The newest credential. Where there is none to present, that is noted.
    pub async fn credential<T>(&self) -> Result<Presented, Outcome<T>> {
        match self.0.shared.credential.present(self.now()).await {
            Ok(presented) => Ok(presented),
            Err(failure) => {
                let failure = self.0.setup.keyring.clean_failure(failure).await;
                Err(self.note(Outcome::later(failure), None).await)
            }
        }
    }
}

/// Whether a failure with this code says that the credential is not accepted.
pub fn refuses_credential(code: FailureCode) -> bool {
    matches!(code, FailureCode::Unauthorized | FailureCode::AccountLocked)
}
