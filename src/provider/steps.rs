//! Mints of several requests: the first makes a thing that carries the marker, the last tells the secret. Whatever is
//! lost on the way is found by its marker and taken back, like the token of a mint whose answer is lost: the intent that
//! was journaled before the first request is one for all of them.

use std::sync::Arc;

use super::extract::{Asked, Content};
use super::model::Call;
use super::resolved::{Provider, Rules};
use super::{Minted, Operation, Received, Remote, Response, Subject, Values};
use crate::outcome::{Outcome, Told};

impl Told for Remote {}

impl Provider {
    /// Definitions whose mint is one of the requests that follow the first, in their order.
    pub fn after_mint(&self) -> Vec<Self> {
        let Ok(mint) = self.call(Operation::Mint) else { return Vec::new() };
        let alone = |step: &Arc<Call>| {
            let mut calls = self.rules.calls.clone();
            calls.insert(Operation::Mint, Arc::clone(step));
            Self { rules: Rules { calls, ..self.rules.clone() }, ..self.clone() }
        };
        mint.then.iter().map(alone).collect()
    }

    /// What the answer to a request says that another one follows: what was made, without a secret.
    pub fn read_step(
        &self,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Remote> {
        let received = received.into();
        let content = response.content();
        if let Err(setback) = self.judge(Operation::Mint, values, response, &content, received) {
            return setback.outcome(Operation::Mint);
        }
        let call = match self.call(Operation::Mint) {
            Ok(call) => call,
            Err(failure) => return Outcome::Refused(failure),
        };
        let content = Content { body: content.json(), headers: &response.headers };
        let lifetime = values.mint_request.and_then(|request| self.rules.lifetime.of(request.lifetime));
        let asked = Asked { received, lifetime, token: None, ahead: content.ahead(&call.capture, received) };
        Outcome::Done(content.remote(&call.capture, &asked, &mut Vec::new()))
    }
}

impl Remote {
    /// What a later request of the same mint is about.
    pub fn subject(&self) -> Subject {
        Subject { id: self.id.clone(), name: None, facts: self.facts.clone(), secret: None }
    }

    /// The same, with what `earlier` requests of the same mint told where the last one did not.
    #[must_use]
    pub fn after(self, earlier: Self) -> Self {
        let mut facts = earlier.facts;
        facts.extend(self.facts);
        let expires = if self.expires == super::Expiry::Unknown { earlier.expires } else { self.expires };
        Self {
            id: self.id.or(earlier.id),
            expires,
            refresh_expires: self.refresh_expires.or(earlier.refresh_expires),
            renewable_until: self.renewable_until.or(earlier.renewable_until),
            facts,
        }
    }
}

impl Minted {
    /// The same, with what earlier requests of the same mint told. Not being told the id once more is no loss.
    #[must_use]
    pub fn after(self, earlier: Remote) -> Self {
        Self { remote: self.remote.after(earlier), ..self }
    }
}
