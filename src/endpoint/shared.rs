//! What everybody shares who sends requests to one address with one credential: what is counted against us there, and what
//! we got from it. It outlives every edit of the inventory that changes neither, and its limits outlive the process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use url::Url;

use super::credential::CredentialCache;
use super::health::Outage;
use super::limit::{Limiter, Memory};
use super::limits::Limits;
use super::session::SessionCache;
use super::skew::Skew;
use super::slots::Slots;
use crate::clock::{Span, Time};
use crate::inventory::{Credential, EndpointPolicy, RateLimit};
use crate::names::TokenName;
use crate::outcome::Failure;
use crate::secret::{Fingerprint, Fingerprinter, Secret, SecretParts, random};

/// The slots of a rate limit are written down this often at most: each writing costs a sync of the disk.
const SLOTS_EVERY: Span = Span::seconds(5);

/// Which endpoint: limits, sessions and refused credentials belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    url: Url,
    credential: Credential,
}

/// What several accounts at one endpoint are held to: the provider counts their requests together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub rate_limit: Option<RateLimit>,
    pub max_in_flight: usize,
}

/// What is counted against one address with one credential.
pub struct Shared {
    key: EndpointKey,
    /// What its limits are written down under.
    name: Fingerprint,
    pub(super) credential: CredentialCache,
    pub(super) session: tokio::sync::Mutex<SessionCache>,
    pub(super) slots: Slots,
    state: Mutex<State>,
    limits: Arc<Limits>,
    hung_up: watch::Receiver<bool>,
}

#[derive(Debug)]
pub(super) struct State {
    pub limiter: Limiter,
    pub skew: Skew,
    /// An answer came, whether it told the time or not.
    pub answered: bool,
    /// Moments are sent by our own clock: the provider refused those by the clock that its answers show.
    pub by_ours: bool,
    pub outage: Outage,
    rate_limit: Option<RateLimit>,
    written: Option<Time>,
}

/// What endpoints are made with.
#[derive(Clone, Debug)]
pub struct Workshop {
    fingerprinter: Fingerprinter,
    limits: Arc<Limits>,
    hung_up: Arc<watch::Sender<bool>>,
}

/// Why an endpoint cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The credential is a managed token and nobody supplies it.
    #[error("the credential is the token `{0}`, which nobody supplies")]
    NotManaged(TokenName),
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    Random,
}

impl Workshop {
    /// Endpoints whose limits are those of `limits`, under names that `fingerprinter` makes.
    pub fn new(fingerprinter: Fingerprinter, limits: Arc<Limits>) -> Self {
        Self { fingerprinter, limits, hung_up: Arc::default() }
    }

    /// Endpoints whose limits end with the process.
    pub fn forgetful() -> Result<Self, EndpointError> {
        let mut key = [0; 32];
        random::fill(&mut key).map_err(|_| EndpointError::Random)?;
        Ok(Self::new(Fingerprinter::new(&key), Limits::forgetful()))
    }

    /// No question is waited for any more, nor a turn: see [`Effect`](super::Effect).
    pub fn hang_up(&self) {
        self.hung_up.send_replace(true);
    }

    /// The limits of all endpoints.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is counted at the address and against the credential of `policy`, held to `bounds`.
    ///
    /// `managed` carries the latest secret of the managed token that the credential refers to; every request uses what
    /// it holds at that moment, so a rotation of that token leaves no gap.
    pub fn shared(
        &self,
        policy: &EndpointPolicy,
        bounds: Bounds,
        managed: Option<watch::Receiver<Option<Arc<SecretParts>>>>,
        now: Time,
    ) -> Result<Arc<Shared>, EndpointError> {
        let credential = CredentialCache::new(&policy.credential, managed, self.fingerprinter.clone());
        let credential = credential.map_err(EndpointError::NotManaged)?;
        let key = EndpointKey::of(policy);
        Ok(Arc::new(Shared::new(key, bounds, credential, self, now)))
    }
}

impl EndpointKey {
    /// Where requests go, and with which credential.
    pub fn of(policy: &EndpointPolicy) -> Self {
        Self { url: policy.url.clone(), credential: policy.credential.clone() }
    }
}

impl Bounds {
    /// What the inventory says.
    pub fn of(policy: &EndpointPolicy) -> Self {
        Self { rate_limit: policy.rate_limit, max_in_flight: policy.max_in_flight }
    }

    /// The stricter of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let rate = |limit: &RateLimit| f64::from(limit.requests) / limit.per.as_secs_f64().max(f64::MIN_POSITIVE);
        let limits = self.rate_limit.into_iter().chain(other.rate_limit);
        Self {
            rate_limit: limits.min_by(|one, other| rate(one).total_cmp(&rate(other))),
            max_in_flight: self.max_in_flight.min(other.max_in_flight),
        }
    }
}

impl Shared {
    /// With what was written down of its limits.
    fn new(key: EndpointKey, bounds: Bounds, credential: CredentialCache, workshop: &Workshop, now: Time) -> Self {
        // Keyed, so that the file tells nobody where credentials are. A URL has no blank in which it could end early.
        let Workshop { fingerprinter, limits, hung_up } = workshop;
        let name = fingerprinter.of(&Secret::new(format!("{} {:?}", key.url, key.credential)));
        let limiter = Limiter::recall(bounds.rate_limit, limits.recall(&name), now);
        Self {
            name,
            key,
            credential,
            session: tokio::sync::Mutex::default(),
            slots: Slots::new(bounds.max_in_flight),
            state: Mutex::new(State {
                limiter,
                skew: Skew::default(),
                answered: false,
                by_ours: false,
                outage: Outage::default(),
                rate_limit: bounds.rate_limit,
                written: None,
            }),
            limits: Arc::clone(limits),
            hung_up: hung_up.subscribe(),
        }
    }

    /// Ends when questions are waited for no longer.
    pub(super) async fn hung_up(&self) {
        // Without a workshop nobody hangs up.
        if self.hung_up.clone().wait_for(|hung_up| *hung_up).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Which one it is.
    pub fn key(&self) -> &EndpointKey {
        &self.key
    }

    /// Holds it to other bounds from now on; what was counted so far counts on.
    pub fn hold_to(&self, bounds: Bounds) {
        self.slots.resize(bounds.max_in_flight);
        let mut state = self.state();
        if state.rate_limit != bounds.rate_limit {
            state.rate_limit = bounds.rate_limit;
            state.limiter.resize(bounds.rate_limit);
        }
    }

    /// Why the credential was refused, where it was.
    pub(super) fn refused(&self) -> Option<Failure> {
        self.state().limiter.refused().cloned()
    }

    /// What another process has to know of its limits.
    pub fn memory(&self) -> Memory {
        self.state().limiter.memory()
    }

    /// Holds it to what another process told then of its limits, and to what is known here, too, where that is newer or
    /// `counts` all the same. `untold`: of so long the other one told nothing, and may have sent all the while.
    pub fn carry_on(&self, (at, memory): (Time, Memory), counts: bool, untold: Option<Span>, now: Time) {
        let mut state = self.state();
        let ours = state.limiter.memory();
        let memory = if counts || ours.is_after(at) { ours.and(memory) } else { memory };
        state.limiter = Limiter::recall(state.rate_limit, Some(memory), now);
        if let Some(untold) = untold {
            state.limiter.presume(untold, now);
        }
    }

    /// Notes its limits among those of all endpoints, to be written down with them.
    pub fn note(&self, now: Time) {
        self.limits.put(&self.name, self.state().limiter.memory(), now);
    }

    /// Writes its limits down, so that the next start holds to them.
    pub(super) async fn write(&self, now: Time) {
        self.state().written = Some(now);
        self.note(now);
        self.limits.save().await;
    }

    /// The same for slots of the rate limit, now and then.
    pub(super) async fn write_slots(&self, now: Time) {
        let due = {
            let state = self.state();
            let recently = state.written.is_some_and(|at| now - at < SLOTS_EVERY && at <= now);
            state.rate_limit.is_some() && !recently
        };
        if due {
            self.write(now).await;
        }
    }

    /// Nothing that holds the lock can panic half-way through a change, so a poisoned state is a whole one.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("url", &self.key.url.as_str()).finish_non_exhaustive()
    }
}
