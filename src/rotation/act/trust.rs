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
use crate::rotation::held::{Context, Held};
use crate::rotation::run::Machine;
use crate::rotation::state::Generation;
use crate::secret::{Fingerprint, Secret, SecretParts, TOKEN_PART};

use super::{address, subject};

/// How often it is looked whether a secret in a store that the journal does not know works still.
const WATCH: Span = Span::minutes(5);

/// So many looks that settle nothing are enough, where the last came the `verify-timeout` after the first or later: a provider
/// may not know a secret everywhere before.
const LOOKS: u32 = 5;

/// How soon the next of them is.
const SOON: Span = Span::seconds(15);

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

/// What stores hold that the journal does not know.
pub(super) enum Stranger {
    /// Nothing.
    None,
    /// A secret that the provider accepts, and when it is looked again.
    Lives(Failure, Time),
    /// A store cannot be read, or nobody can tell whether what it holds works, or one answer says that it does not.
    Unknown(Failure),
}

impl Stranger {
    /// The one that certainly lives.
    pub(super) fn living(self) -> Option<(Failure, Time)> {
        match self {
            Self::Lives(failure, next) => Some((failure, next)),
            Self::None | Self::Unknown(_) => None,
        }
    }
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
        // What an operator gave up is replaced whatever else works.
        if current.generation.compromised.is_some() {
            return None;
        }
        self.stranger(held, context, address(context, &current.generation)).await.living()
    }

    /// The same before a renewal, where this process did not prove the current secret. What renews the current secret may be spent: a journal
    /// that is older than its stores does not know of the renewals since.
    ///
    /// Law: no part of a secret is presented for a renewal while a store holds a living secret that the journal does not
    /// know. A provider to which a spent part is presented ends all that came of it. Nor does `--compromised` change that:
    /// what others have is replaced, and what consumers have is not ended before.
    ///
    /// Law: one look proves nothing where a store cannot be read, or nobody can tell whether what it holds works. The
    /// current secret may prove itself instead; else it is looked again, though not for ever: a doubt starves nobody.
    pub(super) async fn newer_store(&self, held: &mut Held, context: &Context) -> Option<(Failure, Time)> {
        let current = held.state.phase.current()?;
        let (generation, dead) = (current.generation.clone(), current.dead.is_some());
        let slot = (generation.number, generation.revision);
        if held.memo.trusted == Some(slot) && !dead {
            return None;
        }
        let now = self.clock.now();
        let failure = match self.stranger(held, context, address(context, &generation)).await {
            Stranger::None => {
                held.memo.doubt = None;
                return None;
            }
            Stranger::Lives(failure, next) => {
                held.memo.doubt = None;
                return Some((failure, next));
            }
            Stranger::Unknown(failure) => failure,
        };
        // A renewal since would have ended it.
        if !context.abilities.can.renewal_overlaps
            && let Outcome::Done(Verdict::Alive { .. }) = self.ask(held, context).await
        {
            held.memo.trusted = Some(slot);
            held.memo.doubt = None;
            return None;
        }
        let (since, looks) = held.memo.doubt.filter(|(since, _)| *since <= now).unwrap_or((now, 0));
        held.memo.doubt = Some((since, looks + 1));
        let over = looks + 1 >= LOOKS && now - since >= context.policy.verify_timeout;
        let next = now.checked_add_signed(SOON).unwrap_or(Time::MAX_UTC);
        (!over).then_some((failure, next))
    }

    /// A secret that a store holds, that the journal does not know, and that the provider accepts.
    ///
    /// Law: an orphan is not revoked while consumers may use it. An older journal knows nothing but the intent of what was
    /// minted, and delivered, after it was copied.
    pub(super) async fn stranger(&self, held: &Held, context: &Context, at: Address<'_>) -> Stranger {
        let mut found = Stranger::None;
        if !context.abilities.can.verifies {
            return found;
        }
        for store in context.policy.stores.iter().filter(|store| store.part == TOKEN_PART) {
            let secret = match self.effects.peek(store).await {
                Ok(Some(secret)) => secret,
                Ok(None) => continue,
                Err(failure) => {
                    found = Stranger::Unknown(failure);
                    continue;
                }
            };
            let fingerprint = self.fingerprint(&secret);
            let known = |it: &Generation| it.fingerprints.get(TOKEN_PART) == Some(&fingerprint);
            if held.state.generations().any(known) {
                continue;
            }
            let presented = Subject { secret: Some(SecretParts::new(secret)), ..Subject::default() };
            match self.effects.verify(at, &presented).await {
                Outcome::Done(Verdict::Alive { .. }) => {
                    let detail = format!("store {} of token {}", store.key, context.policy.name);
                    let next = self.clock.now().checked_add_signed(WATCH.min(context.policy.account.poll_every));
                    let failure = Failure::new(FailureCode::StoreNewer, detail);
                    return Stranger::Lives(failure, next.unwrap_or(Time::MAX_UTC));
                }
                Outcome::Done(Verdict::Dead(failure))
                | Outcome::Later { failure, .. }
                | Outcome::Refused(failure)
                | Outcome::Unknown(failure) => found = Stranger::Unknown(failure),
            }
        }
        found
    }

    fn fingerprint(&self, secret: &Secret) -> Fingerprint {
        let mut prints = self.effects.fingerprints(&SecretParts::new(secret.clone()));
        prints.remove(TOKEN_PART).expect("the fingerprints of a secret have its first part")
    }
}
