//! What an operator may begin with a token: ask for a new secret, bring one to take over, ask for the previous token,
//! or stop a rotation that is under way. What follows is the way of every candidate, and of every renewal.

use crate::clock::{Clock, Span, Time};
use crate::journal::Journal;
use crate::names::{GenerationNo, ProviderName, RemoteId};
use crate::outcome::{Failure, FailureCode};
use crate::provider::Abilities;
use crate::provider::{Expiry, ProviderTime, Remote, claimed_expiry};
use crate::rotation::decide::{reached_consumers, set_aside, unknown_mint};
use crate::rotation::due::Means;
use crate::rotation::effects::Effects;
use crate::rotation::event::Event;
use crate::rotation::held::{Context, Held};
use crate::rotation::run::Machine;
use crate::rotation::state::{Candidate, Current, Delivery, Generation, Origin, Orphan, Phase};
use crate::secret::{SecretParts, TOKEN_PART};

/// A secret that an operator brings, and what they know of it.
#[derive(Clone, Debug)]
pub struct Offer {
    pub secret: SecretParts,
    /// The provider's id.
    pub id: Option<RemoteId>,
    /// When it expires.
    pub expires: Option<Time>,
}

/// Why what an operator asked for cannot be begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("it is not in the inventory")]
    Unwanted,
    #[error("no requested rotation is waiting to begin")]
    NothingAsked,
    #[error("it is in the inventory: take it out first")]
    Wanted,
    #[error("nothing of it is alive")]
    NothingAlive,
    #[error("its secret has leaked: it is replaced all the same")]
    Leaked,
    #[error("the rotation has begun ({0}): `patrold rollback` takes it back")]
    UnderWay(&'static str),
    #[error("a rotation is under way ({0}): {1}")]
    Busy(&'static str, &'static str),
    #[error("consumers still have generation {0}: nothing of the rotation that is under way has reached them")]
    NotBegun(GenerationNo),
    #[error("this secret is the current one already")]
    Current,
    #[error("this secret is the one of generation {0}, which waits for its revocation: roll back to it")]
    Retiring(GenerationNo),
    #[error("the store {store} wants the part `{part}` of a secret, and this one has none: rotate it instead")]
    MissingPart { store: String, part: String },
    #[error("no previous token could still be valid")]
    NoneBefore,
    #[error("the previous token, generation {0}, has expired")]
    Over(GenerationNo),
    #[error("the provider ended generation {0} when it minted the one after it")]
    Ended(GenerationNo),
    #[error("the previous token, generation {0}, is marked as compromised")]
    Compromised(GenerationNo),
    #[error("generation {0} was revoked already")]
    Revoked(GenerationNo),
    #[error("there is no current generation to go back to")]
    NoCurrent,
    #[error(
        "provider \"{0}\" cannot mint, so the token is only watched: make a new one there and put it where `initial` says"
    )]
    Watched(ProviderName),
    #[error("provider \"{provider}\" cannot mint, and {why}: make a new one there and put it where `initial` says")]
    NotRenewable { provider: ProviderName, why: &'static str },
    #[error(
        "provider \"{0}\" can only renew it, and the old secret works on after that: end it at the provider by hand, \
         and put a new one where `initial` says"
    )]
    WorksOn(ProviderName),
}

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    /// Notes that an operator wants a new secret; `compromised`: others have the present one. A token that its provider
    /// cannot mint is renewed in place for that, where that can be done.
    pub fn request(&self, held: &mut Held, context: &Context, compromised: bool) -> Result<(), Rejection> {
        let abilities = &context.abilities;
        if !abilities.can.mints {
            let provider = context.policy.account.provider.name.clone();
            if !abilities.can.renews {
                return Err(Rejection::Watched(provider));
            }
            if compromised && abilities.can.renewal_overlaps {
                return Err(Rejection::WorksOn(provider));
            }
            if let Phase::RenewalUnknown { .. } = held.state.phase {
                return Err(busy(&held.state.phase));
            }
            if let Some(why) = held.state.phase.current().and_then(|current| unrenewable(abilities, current)) {
                return Err(Rejection::NotRenewable { provider, why });
            }
        }
        self.note(held, context, if compromised { Event::Compromised {} } else { Event::Requested {} });
        Ok(())
    }

    /// Notes that nobody needs a token any more that has left the inventory. What is alive of it is revoked after `grace`, by
    /// default its own, and not while the provider sees it in use; with a grace of nothing, at once.
    pub fn retire(&self, held: &mut Held, context: &Context, grace: Option<Span>) -> Result<(), Rejection> {
        if context.wanted {
            return Err(Rejection::Wanted);
        }
        if held.state.phase == Phase::Vacant {
            // What is left is about to be revoked anyway.
            return if held.state.is_over() { Err(Rejection::NothingAlive) } else { Ok(()) };
        }
        let now = self.clock.now();
        let revoke_at = now.checked_add_signed(grace.unwrap_or(context.policy.grace)).unwrap_or(Time::MAX_UTC);
        self.note(held, context, Event::RetirementAsked { revoke_at });
        Ok(())
    }

    /// Notes that an operator wants no new secret any more, or that a retired token lives on. A rotation that has begun is
    /// not stopped by this.
    pub fn withdraw(&self, held: &mut Held, context: &Context) -> Result<(), Rejection> {
        if held.state.retirement.is_some() {
            self.note(held, context, Event::RetirementWithdrawn {});
            return Ok(());
        }
        let compromised = held.state.phase.generations().any(|generation| generation.compromised.is_some());
        match &held.state.phase {
            _ if held.state.requested.is_none() => return Err(Rejection::NothingAsked),
            _ if compromised => return Err(Rejection::Leaked),
            Phase::Vacant | Phase::Steady { .. } | Phase::Active { .. } | Phase::Revoked { .. } => {}
            phase => return Err(Rejection::UnderWay(Phase::words(phase.name()))),
        }
        self.note(held, context, Event::RequestWithdrawn {});
        Ok(())
    }

    /// Notes that an operator brought `offer`, with its secret. It is proven and delivered by the next run. Gives its
    /// number.
    pub fn offer(&self, held: &mut Held, context: &Context, offer: Offer) -> Result<GenerationNo, Rejection> {
        let policy = &context.policy;
        if !context.wanted {
            return Err(Rejection::Unwanted);
        }
        let fingerprints = self.effects.fingerprints(&offer.secret);
        let is_same = |generation: &Generation| {
            generation.fingerprints.get(TOKEN_PART).is_some_and(|it| Some(it) == fingerprints.get(TOKEN_PART))
        };
        if let Some(retiring) = held.state.phase.retiring().filter(|retiring| is_same(&retiring.generation)) {
            return Err(Rejection::Retiring(retiring.generation.number));
        }
        if held.state.phase.current().is_some_and(|current| is_same(&current.generation)) {
            return Err(Rejection::Current);
        }
        let can_begin = matches!(
            held.state.phase,
            Phase::Vacant
                | Phase::Steady { .. }
                | Phase::Intended { .. }
                | Phase::Searching { .. }
                | Phase::Active { .. }
        );
        if !can_begin {
            return Err(busy(&held.state.phase));
        }
        if let Some(store) = policy.stores.iter().find(|store| offer.secret.part(&store.part).is_none()) {
            return Err(Rejection::MissingPart { store: store.key.to_string(), part: store.part.clone() });
        }
        self.clear_the_way(held, context);
        // Nothing was ever known of the token: what is adopted first has the number 0.
        let first = held.state.phase == Phase::Vacant && held.state.last_number == GenerationNo::ADOPTED;
        let number = if first { GenerationNo::ADOPTED } else { held.state.last_number.next() };
        let expires = offer.expires.map(ProviderTime::ours).or_else(|| claimed_expiry(offer.secret.token()));
        let remote = Remote {
            id: offer.id,
            expires: expires.map_or(Expiry::Unknown, Expiry::At),
            refresh_expires: None,
            renewable_until: None,
            facts: std::collections::BTreeMap::new(),
        };
        let generation = self.taken_over(held, context, number, remote, Some(offer.secret));
        let candidate = self.candidate(generation, Origin::Adopted);
        self.note(held, context, Event::Offered { candidate });
        Ok(number)
    }

    /// Ends what is under way and need not be waited for, so that a secret can be taken over: a mint of unknown outcome is
    /// looked for in the background, and a revocation is left for later.
    fn clear_the_way(&self, held: &mut Held, context: &Context) {
        if let Phase::Intended { .. } = held.state.phase {
            let detail = "an operator brought a secret before the answer to the mint was known";
            self.note(held, context, Event::MintUnknown { failure: Failure::new(FailureCode::Reset, detail) });
        }
        if let Phase::Searching { intent, search, .. } = &held.state.phase {
            let orphan = unknown_mint(&self.situation(held, context), intent, search);
            let next = self.clock.now();
            self.note(held, context, Event::SearchEnded { orphan, next });
        }
        if let Phase::Active { current, retiring } = &held.state.phase {
            let served = current.delivery.settled.is_some();
            let orphan =
                set_aside(&self.situation(held, context), &retiring.generation, served.then_some(retiring.revoke_at));
            self.note(held, context, Event::RevocationDeferred { orphan });
        }
    }

    /// Notes that an operator wants the generation before the current one; or, while a new one is on its way to the
    /// consumers, that they keep the current one. Gives the number of the one that consumers will have.
    pub fn recall(&self, held: &mut Held, context: &Context) -> Result<GenerationNo, Rejection> {
        if !context.wanted {
            return Err(Rejection::Unwanted);
        }
        if let Phase::Minted { current, .. } | Phase::Verified { current, .. } | Phase::Delivered { current, .. } =
            &held.state.phase
        {
            let current = current.as_ref().ok_or(Rejection::NoCurrent)?;
            let number = current.generation.number;
            if held.state.phase.candidate().is_some_and(|it| it.generation.is_kin(&current.generation)) {
                return Err(Rejection::Ended(number));
            }
            if self.situation(held, context).reckoning().unusable(current) {
                return Err(Rejection::Over(number));
            }
            let why = Failure::new(FailureCode::Recalled, "");
            let restore = reached_consumers(&held.state.phase);
            self.note(held, context, Event::UndoBegun { why, restore });
            return Ok(number);
        }
        let now = self.clock.now();
        let (generation, origin, orphan) = match &held.state.phase {
            Phase::Active { retiring, .. } => {
                let origin = Origin::Recalled { handed_over: retiring.handed_over, revoke_at: retiring.revoke_at };
                (retiring.generation.clone(), origin, None)
            }
            Phase::Revoked { retiring, .. } => return Err(Rejection::Revoked(retiring.generation.number)),
            Phase::Steady { .. } => {
                let deferred = held.state.orphans.iter().rev().find_map(|orphan| match orphan {
                    Orphan::Deferred { generation, revoke_at, .. } => Some((orphan, generation, revoke_at)),
                    Orphan::Unrevocable { .. } | Orphan::UnknownMint { .. } => None,
                });
                let (orphan, generation, revoke_at) = deferred.ok_or(Rejection::NoneBefore)?;
                let origin = Origin::Recalled { handed_over: now, revoke_at: revoke_at.unwrap_or(now) };
                (generation.as_ref().clone(), origin, Some(orphan.clone()))
            }
            Phase::Vacant => return Err(Rejection::NoneBefore),
            phase @ (Phase::Intended { .. } | Phase::Searching { .. }) => {
                let current = phase.current().ok_or(Rejection::NoneBefore)?;
                return Err(Rejection::NotBegun(current.generation.number));
            }
            phase => return Err(busy(phase)),
        };
        let number = generation.number;
        if generation.account == context.policy.account.name && !context.abilities.can.overlap {
            return Err(Rejection::Ended(number));
        }
        if generation.compromised.is_some() {
            return Err(Rejection::Compromised(number));
        }
        if self.situation(held, context).reckoning().expired(&generation) {
            return Err(Rejection::Over(number));
        }
        let candidate = self.candidate(generation, origin);
        self.note(held, context, Event::Recalled { candidate, orphan });
        Ok(number)
    }

    fn candidate(&self, generation: Generation, origin: Origin) -> Box<Candidate> {
        let (rotation, delivery) = (self.effects.rotation_id(), Delivery::default());
        Box::new(Candidate { generation, rotation, delivery, rejection: None, origin })
    }
}

/// What is under way, and how it ends.
fn busy(phase: &Phase) -> Rejection {
    let way_out = match phase {
        Phase::Minted { .. } | Phase::Verified { .. } | Phase::Delivered { .. } => {
            "`patrold rollback` stops it, or try again when it is over"
        }
        Phase::Undoing { .. } => {
            "it is over as soon as the stores can be written; `patrold explain` says what is in its way"
        }
        Phase::Renewing { .. } | Phase::RenewalUnknown { .. } | Phase::Renewed { .. } => {
            "its renewal is over within `verify-timeout`: try again then"
        }
        _ => "try again when it is over, in a moment",
    };
    Rejection::Busy(Phase::words(phase.name()), way_out)
}

/// Why the current generation cannot be renewed in place, where it cannot.
fn unrenewable(abilities: &Abilities, current: &Current) -> Option<&'static str> {
    if current.secret_lost {
        Some("the journal's copy of its secret cannot be opened")
    } else if current.renewal_spent {
        Some("it cannot be renewed any more: a renewal was refused, or its answer was lost")
    } else if abilities.means(&current.generation) == Means::Rotation {
        Some("a part of its secret is missing that a renewal needs")
    } else {
        None
    }
}
