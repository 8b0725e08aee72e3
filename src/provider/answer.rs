//! Interprets answers: one function for each operation makes an outcome of its answer.
//!
//! A minted secret is taken out first and is never given up: whatever else an answer says or fails to say becomes a
//! warning or a rejection next to it.

use serde_json::Value;

use super::classify::{Setback, Substance, plain};
use super::extract::{Asked, Content};
use super::model::{Call, ExpirySource, Place, Source};
use super::request::Scoped;
use super::resolved::Provider;
use super::{Gone, Minted, Operation, Received, Remote, Response, Role, Values, Verdict};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::secret::SecretParts;

impl Provider {
    /// What the answer to a mint says.
    ///
    /// A success without a secret has an unknown outcome: a token may exist.
    pub fn read_mint(
        &self,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Minted> {
        self.read_new(Operation::Mint, None, values, response, received.into())
    }

    /// What the answer to a renewal in place says. Parts of the secret that the definition does not capture, and
    /// optional ones that the answer leaves out, keep the subject's values.
    pub fn read_renew(
        &self,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Minted> {
        let old = values.subject.and_then(|subject| subject.secret.as_ref());
        self.read_new(Operation::Renew, old, values, response, received.into()).map(|minted| keep_known(minted, values))
    }

    /// The same for both; `old` is the secret that the new one takes parts of.
    fn read_new(
        &self,
        operation: Operation,
        old: Option<&SecretParts>,
        values: &Values<'_>,
        response: &Response,
        received: Received,
    ) -> Outcome<Minted> {
        let call = match self.call(operation) {
            Ok(call) => call,
            Err(failure) => return Outcome::Refused(failure),
        };
        let content = response.content();
        let judged = self.judge(operation, values, response, &content, received);
        // The secret of a success is taken out whatever else is said. Where the old one stays, there is none to save.
        let success = (200..300).contains(&response.status) && matches!(content, Substance::Json(_));
        let keeps = operation == Operation::Renew && call.capture.secret.is_none();
        let body = content.json();
        let taken = if keeps { judged.is_ok() } else { success };
        let minted = taken.then(|| self.minted(call, values, response, body, received, old)).flatten();
        match (minted, judged) {
            (Some(minted), judged) => {
                let refused = judged.err().map(|setback| setback.failure);
                let rejection = refused.or_else(|| self.mismatch(call, values, body));
                Outcome::Done(Minted { rejection, ..minted })
            }
            (None, Err(setback)) => setback.outcome(operation),
            (None, Ok(())) => Outcome::Unknown(no_secret(call)),
        }
    }

    /// The new secret and what is said of it, where `body` has a secret or `old` may stay.
    fn minted(
        &self,
        call: &Call,
        values: &Values<'_>,
        response: &Response,
        body: &Value,
        received: Received,
        old: Option<&SecretParts>,
    ) -> Option<Minted> {
        let content = Content { body, headers: &response.headers };
        let captures = &call.capture;
        let token = match &captures.secret {
            // The secret is known whatever the answer says: only what else it captures shows that something was made.
            Some(Place { source: Source::Chosen, .. }) => {
                let told = captures.id.as_ref().is_none_or(|place| content.text(place).is_some());
                values.chosen.filter(|_| told)?.clone()
            }
            Some(place) => content.secret(place)?,
            None => old?.token().clone(),
        };
        let mut unread = Vec::new();
        let mut secret = SecretParts::new(token.clone());
        for name in &self.rules.parts {
            let place = captures.parts.iter().find(|(captured, _)| captured == name).map(|(_, place)| place);
            let fresh = place.and_then(|place| content.secret(place));
            // A part that should have been replaced and was not is worse than none: presenting an old refresh token
            // makes some services revoke everything.
            let required = place.is_some_and(|place| !place.optional);
            let kept = old.and_then(|old| old.part(name)).filter(|_| !required).cloned();
            if let Some(part) = fresh.or(kept) {
                secret = secret.with(name, part);
            } else if let Some(place) = place.filter(|_| required) {
                unread.push(format!("{name}: nothing usable at {}", place.source));
            }
        }
        let lifetime = values.mint_request.and_then(|mint_request| self.rules.lifetime.of(mint_request.lifetime));
        let ahead = content.ahead(captures, received);
        let asked = Asked { received, lifetime, token: Some(token.expose()), ahead };
        let mut remote = content.remote(captures, &asked, &mut unread);
        keep_apart(&mut remote, &secret, &mut unread);
        Some(Minted { secret, remote, unread, rejection: None })
    }

    /// The failure of the first `match` that does not hold: the token is somebody else's.
    fn mismatch(&self, call: &Call, values: &Values<'_>, body: &Value) -> Option<Failure> {
        let scope = Scoped::new(self, call, values);
        let wrong = call.matches.iter().find(|predicate| !predicate.holds(body, &scope))?;
        Some(Failure::new(wrong.otherwise, format!("{} of the answer is not as asked", wrong.at)))
    }

    /// What the answer to a token that presented itself says.
    ///
    /// Only a clear "not authenticated" proves a token dead; everything else proves nothing.
    pub fn read_verify(
        &self,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Verdict> {
        let received = received.into();
        let content = response.content();
        if let Err(Setback { failure, not_before }) =
            self.judge(Operation::Verify, values, response, &content, received)
        {
            // An HTML page with status 401 comes from something in front of the service.
            let clear = !matches!(content, Substance::Html);
            return match failure.code {
                FailureCode::Unauthorized if clear => Outcome::Done(Verdict::Dead(failure)),
                FailureCode::NoOperation => Outcome::Refused(failure),
                _ => Outcome::Later { not_before, failure },
            };
        }
        let Ok(call) = self.call(Operation::Verify) else { return Outcome::Done(ALIVE) };
        let content = Content { body: content.json(), headers: &response.headers };
        let told = |source: &&ExpirySource| matches!(source, ExpirySource::Answer(_) | ExpirySource::Never);
        let sources: Vec<ExpirySource> = call.capture.expires.iter().filter(told).cloned().collect();
        let asked = Asked { received, lifetime: None, token: None, ahead: None };
        let mut unread = Vec::new();
        let id = call.capture.id.as_ref().and_then(|place| content.text(place)).and_then(|id| id.parse().ok());
        let expires = content.expiry(&sources, &asked, &mut unread);
        Outcome::Done(Verdict::Alive { id, expires })
    }

    /// What the answer to a revocation says.
    ///
    /// That a token is gone is believed of an answer that names the token (`gone-expect`), and of one that does not accept
    /// the token itself. A bare 404 only raises the question.
    pub fn read_revoke(
        &self,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Gone> {
        let received = received.into();
        let content = response.content();
        let judged = self.judge(Operation::Revoke, values, response, &content, received);
        let Err(setback) = judged else { return Outcome::Done(Gone::Revoked) };
        let Ok(call) = self.call(Operation::Revoke) else { return setback.outcome(Operation::Revoke) };
        if !call.gone_ok.contains(&response.status) {
            // A token that ends itself and is not accepted has ended; so has nothing else only where it is all of the
            // secret: a refresh token outlives its access token. HTML comes from something in front of the service.
            let clear = !matches!(content, Substance::Html);
            let whole = call.role == Role::Subject && self.rules.parts.is_empty();
            if whole && clear && setback.failure.code == FailureCode::Unauthorized {
                return Outcome::Done(Gone::Already);
            }
            return setback.outcome(Operation::Revoke);
        }
        // The same status for a wrong path, or for what the account may not see, says nothing about the token.
        let scope = Scoped::new(self, call, values);
        let says_so = |body: &Value| call.gone_expect.iter().all(|predicate| predicate.holds(body, &scope));
        let named = match &content {
            Substance::Json(_) | Substance::Empty => says_so(content.json()),
            // Words of plain text may name the token as well.
            Substance::Other if !call.gone_expect.is_empty() => {
                plain(response, &content).is_some_and(|text| says_so(&text))
            }
            // From something in front of the service.
            Substance::Html | Substance::Other => {
                return Outcome::later(Failure { code: FailureCode::NotUnderstood, ..setback.failure });
            }
        };
        match (named, call.gone_expect.is_empty()) {
            (true, false) => Outcome::Done(Gone::Already),
            (true, true) => Outcome::Done(Gone::Unproven),
            (false, _) => Outcome::Refused(Failure { code: FailureCode::NotFound, ..setback.failure }),
        }
    }
}

const ALIVE: Verdict = Verdict::Alive { id: None, expires: None };

fn no_secret(call: &Call) -> Failure {
    let place = call.capture.secret.as_ref().map(|place| format!("no secret at {}", place.source));
    Failure::new(FailureCode::NotUnderstood, place.unwrap_or_else(|| "no secret".to_owned()))
}

/// Ids and facts are journaled in clear: one that holds the secret is none. A part that is itself an id may be one.
fn keep_apart(remote: &mut Remote, secret: &SecretParts, unread: &mut Vec<String>) {
    let secrets: Vec<_> = secret.iter().filter(|(name, _)| !name.ends_with("id")).map(|(_, part)| part).collect();
    let holds = |text: &str| secrets.iter().any(|part| text.contains(part.expose()));
    if remote.id.take_if(|id| holds(id.as_str())).is_some() {
        unread.push("id: it holds the secret, and is not kept".to_owned());
    }
    remote.facts.retain(|name, fact| {
        let kept = !holds(fact);
        if !kept {
            unread.push(format!("{name}: it holds the secret, and is not kept"));
        }
        kept
    });
}

/// What an answer leaves out of a renewed token stays as it was: it is the same token.
fn keep_known(mut minted: Minted, values: &Values<'_>) -> Minted {
    if let Some(subject) = values.subject {
        if minted.remote.id.is_none() {
            minted.remote.id.clone_from(&subject.id);
        }
        for (name, fact) in &subject.facts {
            minted.remote.facts.entry(name.clone()).or_insert_with(|| fact.clone());
        }
    }
    minted
}
