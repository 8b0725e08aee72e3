//! Sessions of endpoints whose credential has to be exchanged before it can do anything: one is kept until shortly before
//! it ends, its credential changes, or the provider refuses it.

use std::sync::Arc;

use super::credential::Presented;
use super::exchange::{Effect, End, put_off};
use super::{Endpoint, Inner};
use crate::clock::{Clock, Span, Time};
use crate::outcome::Outcome;
use crate::provider::{Identity, ProviderClock, Quote, Received, Request, Response, Session};
use crate::secret::{Fingerprint, SecretParts};

/// A session is given up this long before its end, so that none ends on the way.
const MARGIN: Span = Span::seconds(30);

/// How long a session is kept whose end nobody told.
const USUAL: Span = Span::minutes(10);

/// The word for a login, for metrics.
const LOG_IN: &str = "log-in";

/// The newest session of an endpoint.
#[derive(Debug, Default)]
pub(super) struct SessionCache(Option<Kept>);

#[derive(Debug)]
struct Kept {
    /// Of the credential that it was got with, and the address where.
    root: (Fingerprint, String),
    presented: Presented,
    from: Time,
    until: Time,
    /// The provider accepted it.
    proven: bool,
}

impl SessionCache {
    /// The session that `root` was exchanged for, if it is still good.
    pub(super) fn get(&self, root: &(Fingerprint, String), now: Time) -> Option<Presented> {
        let kept = self.0.as_ref().filter(|kept| kept.root == *root)?;
        // A clock that was set back makes the end unknown.
        (kept.from <= now && now < kept.until).then(|| kept.presented.clone())
    }

    /// Keeps `session`, got at `now` from a provider whose clock is `clock`, and returns it in the form of a credential. An
    /// end that no clock has ahead of us is none: each request would log in anew.
    pub(super) fn keep(
        &mut self,
        root: (Fingerprint, String),
        session: Session,
        fingerprint: Fingerprint,
        clock: ProviderClock,
        now: Time,
    ) -> Presented {
        let identity = Identity { username: None, secret: SecretParts::new(session.secret) };
        let presented = Presented { identity: Arc::new(identity), fingerprint, root: root.0.clone() };
        let ends = session.until.map(|until| clock.readings(until).after(now + MARGIN)).unwrap_or_default();
        let until = ends.first().map_or(now + USUAL, |end| *end - MARGIN);
        self.0 = Some(Kept { root, presented: presented.clone(), from: now, until, proven: false });
        presented
    }

    /// The provider accepted the session with this fingerprint.
    pub(super) fn accepted(&mut self, fingerprint: &Fingerprint) {
        if let Some(kept) = self.0.as_mut().filter(|kept| kept.presented.fingerprint == *fingerprint) {
            kept.proven = true;
        }
    }

    /// The provider refused the session with this fingerprint, which is kept no longer. Whether it had been accepted
    /// before, so that another login promises to help.
    pub(super) fn refused(&mut self, fingerprint: &Fingerprint) -> bool {
        self.0.take_if(|kept| kept.presented.fingerprint == *fingerprint).is_some_and(|kept| kept.proven)
    }
}

impl<C: Clock> Endpoint<C> {
    /// The session for which the credential `root` is exchanged, a new one where there is none: `request` asks for it and
    /// `read` reads the answer. It may leave until `latest`.
    pub async fn session<T>(
        &self,
        root: &Presented,
        request: Request,
        latest: Time,
        read: impl Fn(&Response, Received, Quote<'_>) -> Outcome<Session>,
    ) -> Result<Presented, Outcome<T>> {
        let Inner { setup, shared, .. } = &*self.0;
        // Held across the exchange: who comes second gets the session of who came first.
        let mut cache = shared.session.lock().await;
        let key = (root.fingerprint.clone(), request.log_url.clone());
        if let Some(session) = cache.get(&key, self.now()) {
            return Ok(session);
        }
        setup.keyring.note(&setup.owner, &root.fingerprint, &root.identity.secret);
        let turn = self.turn(latest, Some(root)).await;
        let slot = turn.map_err(|(not_before, failure)| Outcome::Later { not_before, failure })?;
        let sent = self.exchange(LOG_IN, Effect::Nothing, request).await;
        drop(slot);
        let now = self.now();
        let outcome = match sent {
            End::Answered { response, received, request_id, until } => {
                let understood = self.understand(&response, |quote| read(&response, received, quote)).await;
                put_off(self.identified(understood, request_id.as_deref(), &response, Effect::Makes).await, until)
            }
            End::NotSent(failure) | End::Unknown(failure) => Outcome::later(failure),
        };
        let failed = match outcome {
            Outcome::Done(session) => {
                let fingerprint = shared.credential.fingerprint(&session.secret);
                return Ok(cache.keep(key, session, fingerprint, self.clock(), now));
            }
            Outcome::Later { not_before, failure } => Outcome::Later { not_before, failure },
            Outcome::Refused(failure) | Outcome::Unknown(failure) => Outcome::Refused(failure),
        };
        // Noted before the next one gets the lock: a wrong password must not be tried once by each token.
        Err(self.note_failure(failed, Some(root)).await)
    }
}
