//! Sessions of accounts whose credential has to be exchanged before it can do anything: one is kept until shortly before
//! it ends, its credential changes, or the provider refuses it.

use std::sync::Arc;

use super::client::Exchange;
use super::credential::Presented;
use super::traffic::Errand;
use super::{Account, Inner, Job, put_off};
use crate::clock::{Clock, Span, Time};
use crate::outcome::Outcome;
use crate::provider::{Identity, ProviderClock, Session, Values};
use crate::secret::{Fingerprint, SecretParts};

/// A session is given up this long before its end, so that none ends on the way.
const MARGIN: Span = Span::seconds(30);

/// How long a session is kept whose end nobody told.
const USUAL: Span = Span::minutes(10);

/// The newest session of an account.
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

impl<C: Clock> Account<C> {
    /// The session for which the credential `root` is exchanged, a new one where there is none.
    pub(super) async fn log_in<T>(&self, job: Job<'_>, root: Presented) -> Result<Presented, Outcome<T>> {
        let Inner { policy, clock, .. } = &*self.0;
        let provider = &*policy.provider;
        let values = Values {
            now: self.provider_now().0,
            base_url: &policy.url,
            params: job.params,
            identity: Some(&root.identity),
            mint_request: None,
            subject: None,
            page: None,
            secrets: None,
        };
        let request = provider.render_login(&values).map_err(|failure| self.failed(failure))?;
        // Held across the exchange: who comes second gets the session of who came first.
        let mut cache = self.0.endpoint.session.lock().await;
        let key = (root.fingerprint.clone(), request.log_url.clone());
        if let Some(session) = cache.get(&key, clock.now()) {
            return Ok(session);
        }
        self.0.keyring.note(policy.name.as_str(), &root.fingerprint, &root.identity.secret);
        let slot = self.turn(job.latest, Some(&root)).await?;
        let (sent, sent_at, now) = self.exchange(Errand::LogIn, request).await;
        drop(slot);
        let outcome = match sent {
            Exchange::Answered(response) => {
                let received = self.received(&response, sent_at, now);
                let until = self.update_limits(&response, received, sent_at).await;
                let read = |values: &Values<'_>| provider.read_login(values, &response, received);
                put_off(self.understand(&values, &response, read).await, until)
            }
            Exchange::NotSent(failure) | Exchange::Unknown(failure) => Outcome::later(failure),
        };
        let failed = match outcome {
            Outcome::Done(session) => {
                let fingerprint = self.0.endpoint.credential.fingerprint(&session.secret);
                return Ok(cache.keep(key, session, fingerprint, self.clock(), now));
            }
            Outcome::Later { not_before, failure } => Outcome::Later { not_before, failure },
            Outcome::Refused(failure) | Outcome::Unknown(failure) => Outcome::Refused(failure),
        };
        // Noted before the next one gets the lock: a wrong password must not be tried once by each token.
        Err(self.note_failure(failed, Some(&root)).await)
    }
}
