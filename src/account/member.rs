//! One account of a running daemon: its client, and what its provider listed last.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::survey::{Glimpse, Surveys};
use crate::account::{Account, Listing};
use crate::clock::{Clock, Time};
use crate::endpoint::shared::Shared;
use crate::inventory::AccountPolicy;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Abilities, Params, ProviderClock};
use crate::secret::Fingerprinter;
use crate::trust::{TrustError, TrustRoots};

/// One account with its listings.
#[derive(Debug)]
pub struct Member<C> {
    pub(super) clock: C,
    /// Fails where the account cannot be used at all.
    pub(super) client: Result<Account<C>, Failure>,
    pub(super) roots: Option<Result<TrustRoots, TrustError>>,
    pub policy: Arc<AccountPolicy>,
    pub abilities: Arc<Abilities>,
    pub(super) listings: Arc<Mutex<HashMap<ListingKey, Arc<Shelf>>>>,
    pub(super) surveys: Arc<Surveys>,
}

/// Tokens with the same key share one listing: the values of the parameters that the list operation uses.
pub type ListingKey = String;

/// The place of one listing.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Held while the provider is asked, so that whoever comes meanwhile waits for the same answer.
    asking: tokio::sync::Mutex<Option<(Time, Failure, Option<Time>)>>,
    newest: Mutex<Option<Arc<Listing>>>,
}

impl<C> Member<C> {
    pub(super) fn lacks_roots(&self) -> bool {
        matches!(self.roots, Some(Err(_)))
    }

    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        self.client.as_ref().ok().map(|account| account.endpoint().shared())
    }
}

impl<C: Clock> Member<C> {
    /// The account's client, or why there is none.
    pub fn client(&self) -> Result<&Account<C>, Failure> {
        self.client.as_ref().map_err(Clone::clone)
    }

    /// What a slot was seen to hold at `since` or later, by one request for many slots.
    pub async fn glimpse(
        &self,
        slot: (&Params, Option<&str>),
        since: Time,
        fingerprints: &Fingerprinter,
    ) -> Result<Option<Glimpse>, Failure> {
        self.surveys.glimpse(self.client()?, slot, since, fingerprints).await
    }

    /// The provider's clock, as its answers show it.
    pub fn provider_clock(&self) -> ProviderClock {
        self.client.as_ref().map(|account| account.endpoint().clock()).unwrap_or_default()
    }

    /// When the provider last began to answer again.
    pub fn recovered(&self) -> Option<Time> {
        self.client.as_ref().ok().and_then(|account| account.endpoint().recovered())
    }

    /// The key of the listing that contains tokens with these parameters.
    pub fn listing_key(&self, params: &Params) -> ListingKey {
        let used = self.policy.provider.listing_params();
        let values: BTreeMap<_, _> = params.iter().filter(|(name, _)| used.contains(*name)).collect();
        serde_json::to_string(&values).unwrap_or_default()
    }

    /// The newest listing under `key`.
    pub fn newest(&self, key: &ListingKey) -> Option<Arc<Listing>> {
        self.shelf(key).newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every newest listing.
    pub fn listings(&self) -> Vec<Arc<Listing>> {
        let shelves: Vec<_> = self.listings.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let newest = |shelf: &Arc<Shelf>| shelf.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        shelves.iter().filter_map(newest).collect()
    }

    fn shelf(&self, key: &ListingKey) -> Arc<Shelf> {
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(listings.entry(key.clone()).or_default())
    }

    /// A listing that was begun at `since` or later. Whoever waits while one is made gets that one, its failure too.
    pub async fn list(&self, params: &Params, since: Time) -> Outcome<Arc<Listing>> {
        if !self.abilities.can.lists {
            return Outcome::Refused(Failure::new(FailureCode::NoOperation, "list"));
        }
        let client = match self.client() {
            Ok(client) => client,
            Err(failure) => return Outcome::Refused(failure),
        };
        let key = self.listing_key(params);
        let shelf = self.shelf(&key);
        let mut failed = shelf.asking.lock().await;
        if let Some(listing) = self.newest(&key).filter(|listing| listing.at() >= since) {
            return Outcome::Done(listing);
        }
        if let Some((_, failure, not_before)) = failed.as_ref().filter(|(at, ..)| *at >= since) {
            return Outcome::Later { not_before: *not_before, failure: failure.clone() };
        }
        let begun = self.clock.now();
        match client.list(params).await {
            Outcome::Done(listing) => {
                let listing = Arc::new(listing);
                *failed = None;
                *shelf.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&listing));
                Outcome::Done(listing)
            }
            outcome => {
                let not_before = match &outcome {
                    Outcome::Later { not_before, .. } => *not_before,
                    _ => None,
                };
                if let Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) = &outcome
                {
                    *failed = Some((begun, failure.clone(), not_before));
                }
                outcome.map(Arc::new)
            }
        }
    }
}
