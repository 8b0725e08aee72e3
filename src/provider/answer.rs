//! From an answer to an outcome, one function for each operation.
//!
//! A minted secret is taken out first and is never given up: whatever else an answer says or fails to say becomes a
//! warning or an rejection next to it.

use serde_json::Value;

use super::classify::{Setback, Substance};
use super::extract::{Asked, Content};
use super::model::{Call, ExpirySource};
use super::request::Scoped;
use super::resolved::Provider;
use super::{Gone, Minted, Operation, Received, Remote, Response, Role, Values, Verdict};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::secret::SecretParts;

impl Provider {
    /// What the answer to a mint says.
    ///
    /// A success in which no secret can be found is ambiguous: a token may exist.
    pub fn read_mint(
        &self,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Minted> {
        let received = received.into();
        let call = match self.call(Operation::Mint) {
            Ok(call) => call,
            Err(failure) => return Outcome::Refused(failure),
        };
        if (200..300).contains(&response.status)
            && let Substance::Json(body) = response.content()
            && let Some(minted) = self.minted(call, values, response, &body, received, None)
        {
            let judged = self.judge(Operation::Mint, values, response, received).err().map(|setback| setback.failure);
            let rejection = judged.or_else(|| self.mismatch(call, values, &body));
            return Outcome::Done(Minted { rejection, ..minted });
        }
        match self.judge(Operation::Mint, values, response, received) {
            Err(setback) => setback.outcome(Operation::Mint),
            Ok(_) => Outcome::Unknown(no_secret(call)),
        }
    }

    /// What the answer to a renewal in place says. Parts of the secret that the definition does not capture, and
    /// optional ones that the answer leaves out, keep the subject's values.
    pub fn read_renew(
        &self,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Minted> {
        let received = received.into();
        let call = match self.call(Operation::Renew) {
            Ok(call) => call,
            Err(failure) => return Outcome::Refused(failure),
        };
        let old = values.subject.and_then(|subject| subject.secret.as_ref());
        if (200..300).contains(&response.status)
            && call.capture.secret.is_some()
            && let Substance::Json(body) = response.content()
            && let Some(minted) = self.minted(call, values, response, &body, received, old)
        {
            let rejection =
                self.judge(Operation::Renew, values, response, received).err().map(|setback| setback.failure);
            return Outcome::Done(keep_known(Minted { rejection, ..minted }, values));
        }
        match self.judge(Operation::Renew, values, response, received) {
            Err(setback) => setback.outcome(Operation::Renew),
            Ok(_) if call.capture.secret.is_some() => Outcome::Unknown(no_secret(call)),
            Ok(body) => match self.minted(call, values, response, &body, received, old) {
                Some(minted) => Outcome::Done(keep_known(minted, values)),
                None => Outcome::Unknown(no_secret(call)),
            },
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
        let body = match self.judge(Operation::Verify, values, response, received) {
            Ok(body) => body,
            Err(Setback { failure, not_before }) => {
                // An HTML page with status 401 comes from something in front of the service.
                let clear = !matches!(response.content(), Substance::Html);
                return match failure.code {
                    FailureCode::Unauthorized if clear => Outcome::Done(Verdict::Dead(failure)),
                    FailureCode::NoOperation => Outcome::Refused(failure),
                    _ => Outcome::Later { not_before, failure },
                };
            }
        };
        let Ok(call) = self.call(Operation::Verify) else { return Outcome::Done(ALIVE) };
        let content = Content { body: &body, headers: &response.headers };
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
        let judged = self.judge(Operation::Revoke, values, response, received);
        let Err(setback) = judged else { return Outcome::Done(Gone::Revoked) };
        let Ok(call) = self.call(Operation::Revoke) else { return setback.outcome(Operation::Revoke) };
        if !call.gone_ok.contains(&response.status) {
            // A token that ends itself and is not accepted has ended; so has nothing else only where it is all of the
            // secret: a refresh token outlives its access token. HTML comes from something in front of the service.
            let clear = !matches!(response.content(), Substance::Html);
            let whole = call.role == Role::Subject && self.rules.parts.is_empty();
            if whole && clear && setback.failure.code == FailureCode::Unauthorized {
                return Outcome::Done(Gone::Already);
            }
            return setback.outcome(Operation::Revoke);
        }
        // The same status for a wrong path, or for what the account may not see, says nothing about the token.
        let scope = Scoped::new(self, call, values);
        let says_so = |body: &Value| call.gone_expect.iter().all(|predicate| predicate.holds(body, &scope));
        let named = match response.content() {
            Substance::Json(body) => says_so(&body),
            Substance::Empty => says_so(&Value::Null),
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
