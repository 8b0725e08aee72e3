//! One address with one credential: everything that a request needs which does not depend on what is asked.
//!
//! Every request to a provider leaves through [`Endpoint::send`]: the credential is presented, the gate says when it may
//! leave, TLS proves whom it reaches, and its end counts for limits, clocks, health and metrics. What is asked, and what an
//! answer means, the caller says: an account with its provider definition.
//!
//! What is decided is decided in pure parts ([`limit`], [`skew`], [`health`]); this shell connects them with a socket and
//! a clock.

pub mod credential;
pub mod health;
pub mod limit;
pub mod limits;
pub mod proxy;
pub mod shared;
pub mod single;
pub mod skew;
pub mod traffic;
pub mod urgency;

mod client;
mod dress;
mod exchange;
mod gate;
mod request_id;
mod session;
mod slots;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::client::HttpClient;
use self::dress::Wardrobe;
use self::health::{Event, Record};
use self::shared::Shared;
use self::traffic::Traffic;
use crate::clock::{Clock, Time};
use crate::inventory::EndpointPolicy;
use crate::provider::{Limit, ProviderClock};
use crate::secret::keyring::Keyring;
use crate::trust::{TrustError, TrustRoots};

pub use self::credential::Presented;
pub use self::exchange::{Answer, Effect, Errand, Exchange};
#[cfg(test)]
pub(crate) use self::gate::QUEUE_PATIENCE;
pub use self::gate::refuses_credential;
pub use self::health::{EndpointHealth, EndpointState, FailureAt};
pub use self::shared::Workshop;

/// A handle on an endpoint for one account. Clones share everything; handles of several accounts share what is counted
/// against address and credential.
pub struct Endpoint<C>(Arc<Inner<C>>);

struct Inner<C> {
    setup: Setup,
    clock: C,
    client: HttpClient,
    wardrobe: Wardrobe,
    shared: Arc<Shared>,
    standing: Arc<Mutex<Standing>>,
}

/// For whom an endpoint is, and what it is held to.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The account's name: whose credential it is.
    pub owner: String,
    pub policy: EndpointPolicy,
    pub manner: Manner,
    /// Where every secret that is presented is noted, to be struck out of what anybody tells.
    pub keyring: Arc<Keyring>,
}

/// How the service behind an endpoint speaks of limits and of credentials.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// How its answers tell limits.
    pub limit: Limit,
    /// The credential is exchanged for a session before it can do anything.
    pub logs_in: bool,
    /// The credential may sign moments instead of being sent itself.
    pub signs: bool,
}

/// How an account has fared at its endpoint.
#[derive(Debug, Default)]
struct Standing {
    record: Record,
    traffic: Traffic,
    /// What the service said last of the requests that it still takes.
    allowance: Option<u64>,
}

impl<C> Clone for Endpoint<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Endpoint<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("owner", &self.0.setup.owner).finish_non_exhaustive()
    }
}

impl<C> Endpoint<C> {
    /// The proxy that its requests go through, with who names it.
    pub fn proxy(&self) -> Option<String> {
        self.0.client.proxy().map(ToString::to_string)
    }

    /// What is counted against its address and credential.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }
}

impl<C: Clock> Endpoint<C> {
    /// An endpoint from which nothing was sent yet. `roots`: what its server may prove itself with; None where it has to
    /// prove nothing.
    pub fn new(setup: Setup, clock: C, shared: Arc<Shared>, roots: Option<&Result<TrustRoots, TrustError>>) -> Self {
        let mut standing = Standing::default();
        if let Some(failure) = shared.refused() {
            standing.record.note(&Event::AccountFailed(&failure), clock.now());
        }
        let client = HttpClient::new(&setup.policy, roots);
        let wardrobe = Wardrobe::new(&setup.policy, &shared);
        let standing = Arc::new(Mutex::new(standing));
        Self(Arc::new(Inner { setup, clock, client, wardrobe, shared, standing }))
    }

    /// The same endpoint, held to something else.
    #[must_use]
    pub fn changed(&self, setup: Setup, roots: Option<&Result<TrustRoots, TrustError>>) -> Self {
        let Inner { clock, shared, standing, .. } = &*self.0;
        Self(Arc::new(Inner {
            client: HttpClient::new(&setup.policy, roots),
            wardrobe: Wardrobe::new(&setup.policy, shared),
            setup,
            clock: clock.clone(),
            shared: Arc::clone(shared),
            standing: Arc::clone(standing),
        }))
    }

    /// The time on our clock.
    pub fn now(&self) -> Time {
        self.0.clock.now()
    }

    /// Returns once our clock has reached `deadline`, or earlier.
    pub async fn wait_until(&self, deadline: Time) {
        self.0.clock.wait_until(deadline).await;
    }

    /// The service's clock, as its answers show it.
    pub fn clock(&self) -> ProviderClock {
        let state = self.0.shared.state();
        match state.skew.span() {
            Some(skew) => ProviderClock::seen(skew),
            None if state.answered => ProviderClock::Silent,
            None => ProviderClock::Unseen,
        }
    }

    /// How the account fares there now.
    pub fn health(&self) -> EndpointHealth {
        let now = self.now();
        let (state, standing) = (self.0.shared.state(), self.standing());
        EndpointHealth {
            state: standing.record.state.clone(),
            skew: state.skew.span(),
            skew_is_worrying: state.skew.is_worrying(),
            blocked_until: state.limiter.blocked_until(now),
            last_success: standing.record.last_success,
            last_failure: standing.record.last_failure.clone(),
            requests: standing.record.requests,
            quota_left: state.limiter.left(now),
            allowance: standing.allowance,
        }
    }

    /// What was asked so far.
    pub fn traffic(&self) -> Traffic {
        self.standing().traffic.clone()
    }

    /// When the service last answered again after it had not, or had asked for patience.
    pub fn recovered(&self) -> Option<Time> {
        self.0.shared.state().outage.ended
    }

    /// Nothing that holds the lock can panic half-way through a change, so a poisoned standing is a whole one.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
