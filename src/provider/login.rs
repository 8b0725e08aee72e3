//! `[login]`: a request that exchanges the account's credential for a session, which then authenticates everything that
//! the account does. A session that gets lost does no harm: another login makes another.

use std::sync::Arc;

use super::classify::{LONGEST_WAIT, Substance};
use super::extract::{Asked, Content};
use super::model::Call;
use super::resolved::{Provider, Rules};
use super::{Expiry, Operation, ProviderTime, Received, Request, Response, Values};
use crate::clock::Time;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::secret::Secret;

/// What a login answers with.
#[derive(Clone, Debug)]
pub struct Session {
    pub secret: Secret,
    /// It is not accepted from then on, if the answer told.
    pub until: Option<ProviderTime>,
}

impl Provider {
    /// Whether the account's credential has to be exchanged for a session before it can do anything.
    pub fn logs_in(&self) -> bool {
        self.rules.login.is_some()
    }

    /// The request of a login. Of `values` it looks at the address, the parameters and the identity.
    pub fn render_login(&self, values: &Values<'_>) -> Result<Request, Failure> {
        self.render_call(self.login()?, "login", values)
    }

    /// What the answer to a login says. Where it tells when another one may be tried, a refusal is one for the time
    /// being.
    pub fn read_login(
        &self,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Session> {
        let received = received.into();
        let call = match self.login() {
            Ok(call) => call,
            Err(failure) => return Outcome::Refused(failure),
        };
        // Quoted as little as the answer to a mint, because it holds a secret as well.
        let content = response.content();
        if let Err(setback) = self.judge_call(call, Operation::Mint, &[], values, response, &content, received) {
            let outcome = setback.outcome(Operation::Verify);
            return match (outcome, retry_at(call, response, &content, received)) {
                (Outcome::Refused(failure), Some(time)) => Outcome::Later { not_before: Some(time), failure },
                (outcome, _) => outcome,
            };
        }
        let content = Content { body: content.json(), headers: &response.headers };
        let secret = call.capture.secret.as_ref().and_then(|place| content.secret(place));
        let Some(secret) = secret else {
            return Outcome::later(Failure::new(FailureCode::NotUnderstood, "no session in the answer to the login"));
        };
        let asked = Asked { received, lifetime: None, token: Some(secret.expose()), ahead: None };
        let until = content.expiry(&call.capture.expires, &asked, &mut Vec::new()).and_then(Expiry::moment);
        Outcome::Done(Session { secret, until })
    }

    fn login(&self) -> Result<&Call, Failure> {
        let lacks = || Failure::new(FailureCode::NoOperation, format!("{} has no login", self.name));
        self.rules.login.as_deref().ok_or_else(lacks)
    }

    /// Definitions whose revocation is one of the requests that go before that of this one, in their order.
    ///
    /// A refusal of one of them is no reason to stop: it may have been done before. The last request tells.
    pub fn before_revocation(&self) -> Vec<Self> {
        let Ok(revoke) = self.call(Operation::Revoke) else { return Vec::new() };
        let alone = |step: &Arc<Call>| {
            let mut calls = self.rules.calls.clone();
            calls.insert(Operation::Revoke, Arc::clone(step));
            Self { rules: Rules { calls, ..self.rules.clone() }, ..self.clone() }
        };
        revoke.before.iter().map(alone).collect()
    }
}

/// When a login that failed may be tried again, at most 24 hours from `now`.
fn retry_at(call: &Call, response: &Response, content: &Substance, received: Received) -> Option<Time> {
    let moment = call.retry_at.as_ref()?;
    let content = Content { body: content.json(), headers: &response.headers };
    let asked = Asked { received, lifetime: None, token: None, ahead: None };
    let moment = content.moment("retry-at", moment, &asked, &mut Vec::new())?.moment()?;
    Some(received.wait_until(moment, LONGEST_WAIT))
}
