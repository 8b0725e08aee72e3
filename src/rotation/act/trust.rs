//! Checks, before a store is written, whether the secret in the journal is still valid.

use futures_util::future::join_all;

use crate::clock::{Clock, Span, Time};
use crate::journal::Journal;
use crate::names::StoreKey;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Subject, Verdict};
use crate::rotation::decide::reached_consumers;
use crate::rotation::effects::{Address, Effects};
use crate::rotation::event::Event;
use crate::rotation::run::{Context, Held, Machine};
use crate::rotation::state::{Current, Generation};
use crate::secret::{Fingerprint, Secret, SecretParts, TOKEN_PART};

use super::{address, subject};

/// How often it is looked whether a secret in a store that the journal does not know works still.
const WATCH: Span = Span::minutes(5);

/// Whether a secret may be written over others.
enum Trust {
    Yes,
    /// It is certainly not accepted.
    No(Failure),
    /// Nobody can tell now.
    NotYet {
        failure: Failure,
        not_before: Option<Time>,
    },
}

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    /// Whether `stores` may be written with the secret of `generation`; where not, what follows is noted.
    ///
    /// Law: a store that differs from the journal at the first look after a start is not written before the journal's secret
    /// is proven. The journal may be older than the store: restored from a backup, or left behind by another daemon.
    pub(super) async fn may_write(
        &self,
        held: &mut Held,
        context: &Context,
        generation: &Generation,
        secret: &SecretParts,
        stores: &[StoreKey],
    ) -> bool {
        let slot = (generation.number, generation.revision);
        if held.memo.trusted == Some(slot) || !self.holds_another(held, context, stores).await {
            return true;
        }
        match self.trust(context, generation, secret).await {
            Trust::Yes => {
                held.memo.trusted = Some(slot);
                return true;
            }
            Trust::No(failure) => {
                let current = held.state.phase.current().is_some_and(|it| it.generation.number == generation.number);
                if current {
                    self.note(held, context, Event::FoundDead { failure });
                } else {
                    let restore = reached_consumers(&held.state.phase);
                    self.note(held, context, Event::UndoBegun { why: failure, restore });
                }
            }
            Trust::NotYet { failure, not_before } => {
                let detail =
                    format!("it holds another secret, and whether the journal's works is not known: {failure}");
                let failure = Failure::new(failure.code, detail);
                for store in stores {
                    let next = self.next_write(held, context, store, not_before);
                    let (store, failure) = (store.clone(), failure.clone());
                    self.note(held, context, Event::StoreFailed { store, failure, next, unwritten: false });
                }
            }
        }
        false
    }

    /// Whether one of `stores` holds something that the journal does not know.
    async fn holds_another(&self, held: &Held, context: &Context, stores: &[StoreKey]) -> bool {
        let targets = context.policy.stores.iter().filter(|store| stores.contains(&store.key));
        let found = join_all(targets.map(|store| self.effects.peek(store))).await;
        found.into_iter().any(|found| match found {
            Ok(Some(secret)) => {
                let fingerprint = self.fingerprint(&secret);
                !held.state.generations().any(|it| it.fingerprints.values().any(|known| *known == fingerprint))
            }
            // What cannot be read will hardly be written; and nothing is lost of nothing.
            Ok(None) | Err(_) => false,
        })
    }

    async fn trust(&self, context: &Context, generation: &Generation, secret: &SecretParts) -> Trust {
        let at = address(context, generation);
        match self.effects.verify(at, &subject(generation, Some(secret.clone()))).await {
            Outcome::Done(Verdict::Alive { .. }) => return Trust::Yes,
            Outcome::Done(Verdict::Dead(failure)) => return Trust::No(failure),
            Outcome::Refused(failure) if failure.code == FailureCode::NoOperation => {}
            Outcome::Later { not_before, failure } => return Trust::NotYet { failure, not_before },
            Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                return Trust::NotYet { failure, not_before: None };
            }
        }
        let listing = match self.effects.list(at, self.clock.now()).await {
            Outcome::Done(listing) => listing,
            // Nobody will ever know.
            Outcome::Refused(failure) if failure.code == FailureCode::NoOperation => return Trust::Yes,
            Outcome::Later { not_before, failure } => return Trust::NotYet { failure, not_before },
            Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                return Trust::NotYet { failure, not_before: None };
            }
        };
        let name = generation.marker.as_ref().map(crate::names::Marker::as_str);
        let identified = generation.remote.id.is_some() || name.is_some() && context.abilities.can.marks;
        let failure = |detail| Failure::new(FailureCode::NotFound, detail);
        match listing.find(generation.remote.id.as_ref(), name) {
            Some(entry) if entry.dead => Trust::No(failure("the listing says that it is not in effect any more")),
            // Two listings will tell whether it lives.
            None if identified && listing.tells_absence() => {
                Trust::NotYet { failure: failure("the listing does not contain it"), not_before: None }
            }
            // Listed, or nothing that a listing could tell.
            Some(_) | None => Trust::Yes,
        }
    }

    /// Another secret that a store holds and that works, while the current one does not: its consumers are served, and
    /// nothing is written over it before an operator says so.
    pub(super) async fn living_store(&self, held: &Held, context: &Context) -> Option<(Failure, Time)> {
        let current = held.state.phase.current().filter(|current| current.dead.is_some())?;
        self.living_beside(held, context, current).await
    }

    /// The same before a renewal, where this process did not prove the current secret. What renews the current secret may be spent: a journal
    /// that is older than its stores does not know of the renewals since.
    ///
    /// Law: no part of a secret is presented for a renewal while a store holds a living secret that the journal does not
    /// know. A provider to which a spent part is presented ends all that came of it.
    pub(super) async fn newer_store(&self, held: &Held, context: &Context) -> Option<(Failure, Time)> {
        let current = held.state.phase.current()?;
        let trusted = held.memo.trusted == Some((current.generation.number, current.generation.revision));
        if trusted && current.dead.is_none() {
            return None;
        }
        self.living_beside(held, context, current).await
    }

    /// A secret beside `current` that a store holds and that works.
    async fn living_beside(&self, held: &Held, context: &Context, current: &Current) -> Option<(Failure, Time)> {
        if current.generation.compromised.is_some() {
            return None;
        }
        self.stranger(held, context, address(context, &current.generation)).await
    }

    /// A secret that a store holds, that the journal does not know, and that the provider accepts.
    ///
    /// Law: an orphan is not revoked while consumers may use it. An older journal knows nothing but the intent of what was
    /// minted, and delivered, after it was copied.
    pub(super) async fn stranger(&self, held: &Held, context: &Context, at: Address<'_>) -> Option<(Failure, Time)> {
        if !context.abilities.can.verifies {
            return None;
        }
        for store in context.policy.stores.iter().filter(|store| store.part == TOKEN_PART) {
            let Ok(Some(secret)) = self.effects.peek(store).await else { continue };
            let fingerprint = self.fingerprint(&secret);
            let known = |it: &Generation| it.fingerprints.get(TOKEN_PART) == Some(&fingerprint);
            if held.state.generations().any(known) {
                continue;
            }
            let presented = Subject { secret: Some(SecretParts::new(secret)), ..Subject::default() };
            let verdict = self.effects.verify(at, &presented).await;
            if let Outcome::Done(Verdict::Alive { .. }) = verdict {
                let detail = format!("store {} of token {}", store.key, context.policy.name);
                let next = self.clock.now().checked_add_signed(WATCH.min(context.policy.account.poll_every));
                return Some((Failure::new(FailureCode::StoreNewer, detail), next.unwrap_or(Time::MAX_UTC)));
            }
        }
        None
    }

    fn fingerprint(&self, secret: &Secret) -> Fingerprint {
        let mut prints = self.effects.fingerprints(&SecretParts::new(secret.clone()));
        prints.remove(TOKEN_PART).expect("the fingerprints of a secret have its first part")
    }
}
