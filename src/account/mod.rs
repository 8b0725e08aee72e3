//! A provider at an endpoint: what its definition says is asked there, and what the answers mean.

pub mod member;
mod observe;
mod operations;
pub mod pool;
mod probe;
mod slots;
pub mod survey;

use std::sync::Arc;

use crate::clock::Clock;
use crate::endpoint::shared::Shared;
use crate::endpoint::{Endpoint, Manner, Setup};
use crate::inventory::AccountPolicy;
use crate::provider::Provider;
use crate::secret::keyring::Keyring;
use crate::trust::{TrustError, TrustRoots};

pub use self::observe::Listing;
pub use self::probe::Proof;

/// A handle on one account. Clones share everything.
#[derive(Clone, Debug)]
pub struct Account<C> {
    policy: Arc<AccountPolicy>,
    endpoint: Endpoint<C>,
}

impl<C: Clock> Account<C> {
    /// An account that has sent nothing yet. Its requests and those of others at `shared` count together. `roots`: what its
    /// server may prove itself with; None where it has to prove nothing.
    pub fn new(
        policy: Arc<AccountPolicy>,
        clock: C,
        shared: Arc<Shared>,
        keyring: Arc<Keyring>,
        roots: Option<&Result<TrustRoots, TrustError>>,
    ) -> Self {
        let endpoint = Endpoint::new(setup(&policy, keyring), clock, shared, roots);
        Self { policy, endpoint }
    }

    /// The same account, at the same endpoint, as the inventory has it now.
    #[must_use]
    pub fn changed(
        &self,
        policy: Arc<AccountPolicy>,
        keyring: Arc<Keyring>,
        roots: Option<&Result<TrustRoots, TrustError>>,
    ) -> Self {
        Self { endpoint: self.endpoint.changed(setup(&policy, keyring), roots), policy }
    }

    /// What the inventory says of the account.
    pub fn policy(&self) -> &Arc<AccountPolicy> {
        &self.policy
    }
}

impl<C> Account<C> {
    /// Where its requests go.
    pub fn endpoint(&self) -> &Endpoint<C> {
        &self.endpoint
    }
}

fn setup(policy: &AccountPolicy, keyring: Arc<Keyring>) -> Setup {
    Setup { owner: policy.name.to_string(), policy: policy.endpoint.clone(), manner: manner(&policy.provider), keyring }
}

/// How a provider speaks of limits and of credentials, by its definition.
fn manner(provider: &Provider) -> Manner {
    Manner { limit: provider.limit().clone(), logs_in: provider.logs_in(), signs: provider.signs() }
}

#[cfg(test)]
mod tests;
