//! How a generation comes to be: minted, or looked for after a mint of unknown outcome.

use futures_util::future::join_all;

use crate::clock::{Clock, Span};
use crate::inventory::TokenPolicy;
use crate::journal::Journal;
use crate::outcome::{Failure, Outcome};
use crate::provider::{MintRequest, Minted, Remote};
use crate::rotation::decide::{search_settled, unknown_mint};
use crate::rotation::effects::{Address, Effects};
use crate::rotation::event::Event;
use crate::rotation::reason::Reason;
use crate::rotation::run::{Context, Held, Machine};
use crate::rotation::state::{Candidate, Delivery, Generation, Intent, Origin, Phase};

use super::{failures, named};

/// The shortest wait between two listings of a search.
const SHORTEST_SEARCH: Span = Span::milliseconds(100);

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    /// The stores that could not be written now, with the reason of the first.
    pub(super) async fn preflight(&self, policy: &TokenPolicy) -> (usize, Option<Failure>) {
        let tested = join_all(policy.stores.iter().map(|store| async {
            let result = self.effects.preflight(store).await;
            result.map_err(|failure| Failure::new(failure.code, format!("{}: {}", store.key, failure.detail)))
        }));
        let mut failures: Vec<Failure> = tested.await.into_iter().filter_map(Result::err).collect();
        let count = failures.len();
        (count, (count > 0).then(|| failures.swap_remove(0)))
    }

    pub(super) async fn begin(&self, held: &mut Held, context: &Context, reason: Reason) {
        let policy = &context.policy;
        let (failing, failure) = self.preflight(policy).await;
        if let Some(failure) = failure {
            // Consumers that need a new secret get it in those stores that can be written; the others get it as soon as
            // they can. Without any, nothing is begun.
            let current = held.state.phase.current();
            let pressing = current.is_none_or(|current| self.situation(held, context).pressing(current));
            if !pressing || failing == policy.stores.len() {
                return self.postpone(held, context, None, failure);
            }
        }
        let rotation = self.effects.rotation_id();
        let number = held.state.last_number.next();
        let intent = self.intent(context, rotation, number, reason);
        held.memo.fresh = Some(rotation);
        self.note(held, context, Event::Intended { intent });
    }

    pub(super) async fn mint(&self, held: &mut Held, context: &Context) {
        held.memo.fresh = None;
        let Phase::Intended { intent, .. } = &held.state.phase else { return };
        let intent = intent.clone();
        let address = Address { account: &intent.account, params: &intent.params };
        let mint_request = MintRequest { marker: intent.marker.clone(), lifetime: context.policy.lifetime };
        match self.effects.mint(address, &mint_request).await {
            Outcome::Done(minted) => self.minted(held, context, intent, minted),
            Outcome::Later { not_before, failure } => {
                let next = self.next_rotation(held, context, not_before);
                self.note(held, context, Event::MintRefused { failure, next });
            }
            Outcome::Refused(failure) => {
                let next = self.next_rotation(held, context, None);
                self.note(held, context, Event::MintRefused { failure, next });
            }
            Outcome::Unknown(failure) => self.note(held, context, Event::MintUnknown { failure }),
        }
    }

    fn minted(&self, held: &mut Held, context: &Context, intent: Intent, minted: Minted) {
        let now = self.clock.now();
        let generation = Generation {
            number: intent.number,
            account: intent.account,
            params: Some(intent.params),
            revision: 0,
            marker: Some(intent.marker),
            remote: minted.remote,
            minted_at: now,
            issued_at: now,
            fingerprints: self.effects.fingerprints(&minted.secret),
            compromised: None,
        };
        held.keep(generation.slot(&context.policy.name), minted.secret);
        let candidate = Candidate {
            generation,
            rotation: intent.rotation,
            delivery: Delivery::default(),
            rejection: minted.rejection,
            origin: Origin::Minted,
        };
        self.note(held, context, Event::Minted { candidate: Box::new(candidate) });
    }

    pub(super) async fn search(&self, held: &mut Held, context: &Context) {
        let Phase::Searching { intent, search, .. } = &held.state.phase else { return };
        let (intent, search) = (intent.clone(), search.clone());
        let address = Address { account: &intent.account, params: &intent.params };
        // Until then a lost mint may still take effect, or still be missing in a listing.
        let settled = search_settled(&self.situation(held, context), &search);
        let now = self.clock.now();
        match self.effects.list(address, now).await {
            Outcome::Done(listing) => {
                if let Some(entry) = listing.named(intent.marker.as_str()).find(|entry| !entry.dead) {
                    let remote = entry.remote.clone();
                    self.note(held, context, Event::OrphanFound { remote });
                } else if listing.is_complete() && listing.at() >= settled {
                    let orphan = unknown_mint(&self.situation(held, context), &intent, &search, true);
                    let next = self.next_rotation(held, context, None);
                    self.note(held, context, Event::SearchEnded { orphan, next });
                } else {
                    let tries = failures(held.state.retry.as_ref()).saturating_add(1);
                    let next = self.next_try(held, context, tries, None);
                    // One look right after the settling time usually ends the search.
                    let next = if settled > now { next.min(settled).max(now + SHORTEST_SEARCH) } else { next };
                    self.note(held, context, Event::Postponed { failure: search.failure, next });
                }
            }
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Refused(failure) | Outcome::Unknown(failure) => self.postpone(held, context, None, failure),
        }
    }

    pub(super) async fn revoke_orphan(&self, held: &mut Held, context: &Context, remote: Remote) {
        let Phase::Searching { intent, .. } = &held.state.phase else { return };
        let intent = intent.clone();
        let address = Address { account: &intent.account, params: &intent.params };
        match self.end(held, address, &named(&intent.marker, remote)).await {
            Outcome::Done(_) => {
                let next = self.next_rotation(held, context, None);
                self.note(held, context, Event::OrphanRevoked { next });
            }
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Refused(failure) | Outcome::Unknown(failure) => self.postpone(held, context, None, failure),
        }
    }
}
