//! One request and its answer: sent once, when its turn has come.

use super::credential::Presented;
use super::health::Event;
use super::slots::Slot;
use super::traffic::Ending;
use super::{Endpoint, Inner, client, request_id};
use crate::clock::{Clock, Time};
use crate::outcome::{Failure, FailureCode, Outcome, Told};
use crate::provider::{Quote, Received, Request, Response};
use crate::secret::redact::Secrets as _;

/// What a request is for.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    /// The word for it, for metrics.
    pub word: &'static str,
    pub effect: Effect,
    /// What authenticates it; None where the endpoint's credential does not.
    pub presented: Option<&'a Presented>,
    /// The latest time at which it may leave.
    pub latest: Time,
}

/// What a request does at the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it asks. It is given up when the process stops.
    Nothing,
    /// Something that may be done twice.
    Repeatable,
    /// Something that nobody may know of where the answer is lost.
    Makes,
}

/// What became of one request.
#[derive(Debug)]
pub enum Exchange {
    /// There is a complete answer.
    Answered(Answer),
    /// Its turn does not come in time, and nothing was sent.
    Held { not_before: Option<Time>, failure: Failure },
    /// It cannot be built.
    Unbuilt(Failure),
    /// Nothing of it has left.
    NotSent(Failure),
    /// It may have arrived; there is no complete answer.
    Unknown(Failure),
}

/// A complete answer. As long as it is held, its request counts as being under way.
#[derive(Debug)]
pub struct Answer {
    pub response: Response,
    pub received: Received,
    /// The id that patrold sent the request with.
    request_id: Option<String>,
    /// The moment that the request was built with, on the service's clock.
    pub moment: Time,
    /// That moment is our own clock's.
    by_ours: bool,
    /// Until when the service wants no more requests.
    until: Option<Time>,
    _slot: Slot,
}

impl<C: Clock> Endpoint<C> {
    /// Sends one request, once, when its turn has come. `request` builds it for the moment that it is given, which is on
    /// the service's clock.
    pub async fn send(&self, request: impl FnOnce(Time) -> Result<Request, Failure>, errand: Errand<'_>) -> Exchange {
        let Inner { setup, .. } = &*self.0;
        if let Some(Presented { fingerprint, identity, .. }) = errand.presented {
            setup.keyring.note(&setup.owner, fingerprint, &identity.secret);
        }
        let turn = tokio::select! {
            biased;
            () = self.0.shared.hung_up() => Err((None, stopping())),
            turn = self.turn(errand.latest, errand.presented) => turn,
        };
        let slot = match turn {
            Ok(slot) => slot,
            Err((not_before, failure)) => return Exchange::Held { not_before, failure },
        };
        let (moment, by_ours) = self.service_now();
        let request = match request(moment) {
            Ok(request) if request.url.origin() == setup.policy.url.origin() => request,
            Ok(request) => {
                let detail = format!("{} is not at the account's own address", request.log_url);
                return Exchange::Unbuilt(Failure::new(FailureCode::Request, detail));
            }
            Err(failure) => return Exchange::Unbuilt(failure),
        };
        match self.exchange(errand.word, errand.effect, request).await {
            End::Answered { response, received, request_id, until } => {
                Exchange::Answered(Answer { response, received, request_id, moment, by_ours, until, _slot: slot })
            }
            End::NotSent(failure) => Exchange::NotSent(failure),
            End::Unknown(failure) => Exchange::Unknown(failure),
        }
    }

    /// The same, with what `read` makes of the answer; notes how it ended.
    ///
    /// `read` quotes nothing of an answer at first. Where it has words of the service to tell, it is called again with
    /// every secret at hand that could be among them: opening them all for each answer would cost more than the answers.
    pub async fn ask<T: Told>(
        &self,
        request: impl FnOnce(Time) -> Result<Request, Failure>,
        errand: Errand<'_>,
        read: impl Fn(&Answer, Quote<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let sent = self.send(request, errand).await;
        let outcome = match &sent {
            Exchange::Answered(answer) => {
                let Answer { response, request_id, .. } = answer;
                let understood = self.understand(response, |quote| read(answer, quote)).await;
                match self.identified(understood, request_id.as_deref(), response, errand.effect).await {
                    Outcome::Refused(failure) if self.doubt_clock(errand.effect, answer.by_ours, &failure) => {
                        return self.failed_once(failure);
                    }
                    outcome => put_off(outcome, answer.until),
                }
            }
            Exchange::Held { not_before, failure } => {
                return Outcome::Later { not_before: *not_before, failure: failure.clone() };
            }
            Exchange::Unbuilt(failure) => return self.failed(failure.clone()),
            Exchange::Unknown(failure) if errand.effect == Effect::Makes => Outcome::Unknown(failure.clone()),
            Exchange::NotSent(failure) | Exchange::Unknown(failure) => Outcome::later(failure.clone()),
        };
        self.note(outcome, errand.presented).await
    }

    /// What `read` makes of an answer, quoted without the secrets that its words may hold.
    pub(super) async fn understand<T: Told>(
        &self,
        response: &Response,
        read: impl Fn(Quote<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let mut outcome = read(Quote::Nothing);
        if outcome.words().is_none() {
            return outcome;
        }
        if response.body.is_empty() {
            return read(Quote::Request);
        }
        let secrets = self.0.setup.keyring.redactor().await;
        read(Quote::Clean(&secrets))
    }

    /// `outcome` with the id of its request, where it has words: the id that the answer names, else `sent`.
    ///
    /// An answer that may hold a new secret is not quoted, and neither is an id that holds a known one.
    pub(super) async fn identified<T: Told>(
        &self,
        mut outcome: Outcome<T>,
        sent: Option<&str>,
        response: &Response,
        effect: Effect,
    ) -> Outcome<T> {
        let Some(failure) = outcome.words() else { return outcome };
        let named = request_id::of_answer(&response.headers).filter(|_| effect != Effect::Makes);
        let id = match named {
            Some(named) if self.0.setup.keyring.redactor().await.clean(named) == named => Some(named),
            _ => sent,
        };
        failure.request_id = id.map(str::to_owned);
        outcome
    }

    /// Sends a request whose turn has come, and takes from its end what concerns everybody at the endpoint.
    pub(super) async fn exchange(&self, errand: &'static str, effect: Effect, request: Request) -> End {
        let Inner { clock, client, shared, .. } = &*self.0;
        self.standing().record.requests += 1;
        let sent_at = clock.now();
        let mut dress = match self.0.wardrobe.dress(&self.0.setup.keyring, &self.0.setup.owner, sent_at).await {
            Ok(dress) => dress,
            Err(failure) => return End::NotSent(failure),
        };
        let request_id = dress.identify(&request);
        let sent = if effect == Effect::Nothing {
            tokio::select! {
                sent = client.send(request, dress) => sent,
                () = shared.hung_up() => client::Exchange::Unknown(stopping()),
            }
        } else {
            client.send(request, dress).await
        };
        let now = clock.now();
        let ending = match &sent {
            client::Exchange::Answered(response) => Ending::of_status(response.status),
            client::Exchange::NotSent(_) => Ending::NotSent,
            client::Exchange::Unknown(_) => Ending::Unknown,
        };
        self.standing().traffic.note(errand, ending, now - sent_at);
        let well = matches!(&sent, client::Exchange::Answered(answer) if answer.status < 500 && answer.status != 429);
        shared.state().outage.note(well, now);
        shared.write_slots(now).await;
        match sent {
            client::Exchange::Answered(response) => {
                let received = self.received(&response, sent_at, now);
                let until = self.update_limits(&response, received, sent_at).await;
                End::Answered { response, received, request_id, until }
            }
            client::Exchange::NotSent(failure) => End::NotSent(failure),
            client::Exchange::Unknown(failure) => End::Unknown(Failure { request_id, ..failure }),
        }
    }

    /// Now, as the service judges moments that are sent to it, and whether that is by our own clock.
    ///
    /// Law: what is sent goes by the same clock as what is decided. A `Date` header may be a proxy's: where the service
    /// refuses what was sent by it, our own clock has its turn.
    pub(super) fn service_now(&self) -> (Time, bool) {
        let now = self.now();
        let clock = self.clock();
        let ours = self.0.shared.state().by_ours || clock.skew().is_none();
        (if ours { now } else { clock.there(now) }, ours)
    }

    /// The moment that a request would be built with now, on the service's clock.
    pub fn moment(&self) -> Time {
        self.service_now().0
    }

    /// Takes note of a refusal that may be due to the clock that moments were sent by. True where another one will be used
    /// from now on for what the credential signs: that the credential itself is refused is not said then.
    fn doubt_clock(&self, effect: Effect, ours: bool, failure: &Failure) -> bool {
        let makes = effect == Effect::Makes && failure.code == FailureCode::Rejected;
        let unauthorized = failure.code == FailureCode::Unauthorized;
        let mut state = self.0.shared.state();
        if !state.skew.is_worrying() || !(makes || unauthorized) {
            return false;
        }
        let before = std::mem::replace(&mut state.by_ours, !ours);
        // Each clock has one turn before the refusal counts.
        unauthorized && ours && !before && self.0.setup.manner.signs
    }

    /// A failure that the next attempt need not have.
    fn failed_once<T>(&self, failure: Failure) -> Outcome<T> {
        self.standing().record.note(&Event::OperationFailed(&failure), self.now());
        Outcome::later(failure)
    }

    /// A failure for which nothing was sent, or that no further request can mend.
    pub fn failed<T>(&self, failure: Failure) -> Outcome<T> {
        self.standing().record.note(&Event::OperationFailed(&failure), self.now());
        Outcome::Refused(failure)
    }
}

/// What became of a request whose turn had come.
pub(super) enum End {
    Answered { response: Response, received: Received, request_id: Option<String>, until: Option<Time> },
    NotSent(Failure),
    Unknown(Failure),
}

/// Why nothing more is waited for.
fn stopping() -> Failure {
    Failure::new(FailureCode::Withdrawn, "patrold stops")
}

/// The outcome with the time that the service asked for, where it is one to be tried again.
pub(super) fn put_off<T>(outcome: Outcome<T>, until: Option<Time>) -> Outcome<T> {
    match outcome {
        Outcome::Later { not_before, failure } => Outcome::Later { not_before: not_before.max(until), failure },
        outcome => outcome,
    }
}
