//! What the slots of one account were last seen to hold, by one request for many of them: fingerprints, and no secret.
//!
//! A survey that shows what was delivered spares a question about the slot. What it shows otherwise proves nothing: it may
//! be older than the last write.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::Account;
use crate::clock::{Clock, Time};
use crate::names::Evidence;
use crate::outcome::{Failure, Outcome};
use crate::provider::Params;
use crate::provider::slots::{Seen, Slot};
use crate::secret::{Fingerprint, Fingerprinter};

/// What a slot was seen to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glimpse {
    Value(Fingerprint),
    /// Something that is not shown, in this state.
    Hidden(Evidence),
}

/// The slots that one request showed, by name.
type Shown = HashMap<Vec<String>, Glimpse>;

/// The last request, when it was begun, and what came of it; `None`: the service lets us see nothing so.
#[derive(Debug)]
struct Last {
    begun: Time,
    shown: Result<Option<Shown>, Failure>,
}

/// The place of one survey. Held while it is made: whoever comes meanwhile waits for the same answer.
type Shelf = Arc<tokio::sync::Mutex<Option<Last>>>;

/// The surveys of an account, by what they depend on.
#[derive(Debug, Default)]
pub(super) struct Surveys(Mutex<HashMap<String, Shelf>>);

impl Surveys {
    fn shelf(&self, key: String) -> Shelf {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
    }

    /// What the slot was seen to hold at `since` or later. `None`: only a question about its target can tell. Fails where
    /// the service does not answer now.
    pub async fn glimpse<C: Clock>(
        &self,
        client: &Account<C>,
        (params, slot): (&Params, Option<&str>),
        since: Time,
        fingerprints: &Fingerprinter,
    ) -> Result<Option<Glimpse>, Failure> {
        let provider = &client.policy().provider;
        let (name, used) = match (provider.survey_name(params), slot) {
            (Some(name), None) => (name, provider.survey_params()),
            (_, Some(slot)) => {
                let target = provider.store().into_iter().flat_map(|store| &store.target);
                (vec![slot.to_owned()], target.cloned().collect())
            }
            (None, None) => return Ok(None),
        };
        let used: BTreeMap<_, _> = params.iter().filter(|(name, _)| used.contains(*name)).collect();
        let shelf = self.shelf(serde_json::to_string(&used).unwrap_or_default());
        let mut last = shelf.lock().await;
        if last.as_ref().is_none_or(|last| last.begun < since) {
            let begun = client.endpoint().now();
            let shown = match slot {
                None => client.survey(params).await.map(|all| shown(all, fingerprints)),
                Some(_) => client.read_target(params, true).await.map(|seen| table(seen.as_ref(), fingerprints)),
            };
            let shown = match shown {
                Outcome::Done(shown) => Ok(Some(shown)),
                // Whoever may not list may read, perhaps.
                Outcome::Refused(_) => Ok(None),
                Outcome::Later { failure, .. } | Outcome::Unknown(failure) => Err(failure),
            };
            *last = Some(Last { begun, shown });
        }
        match last.as_ref().map(|last| &last.shown) {
            Some(Ok(shown)) => Ok(shown.as_ref().and_then(|shown| shown.get(&name).cloned())),
            Some(Err(failure)) => Err(failure.clone()),
            None => Ok(None),
        }
    }
}

fn shown(all: Vec<(Vec<String>, Seen)>, fingerprints: &Fingerprinter) -> Shown {
    all.into_iter()
        .filter_map(|(name, seen)| Some((name, glimpse(&seen.slot(None), seen.evidence.as_ref(), fingerprints)?)))
        .collect()
}

fn table(seen: Option<&Seen>, fingerprints: &Fingerprinter) -> Shown {
    let slots = seen.into_iter().flat_map(Seen::slots);
    slots.filter_map(|(name, slot)| Some((vec![name.to_owned()], glimpse(&slot, None, fingerprints)?))).collect()
}

fn glimpse(slot: &Slot, evidence: Option<&Evidence>, fingerprints: &Fingerprinter) -> Option<Glimpse> {
    match slot {
        Slot::Value(secret) => Some(Glimpse::Value(fingerprints.of(secret))),
        Slot::Hidden => evidence.cloned().map(Glimpse::Hidden),
        Slot::Absent | Slot::Other => None,
    }
}
