//! Revokes generations, and proves that they are dead.

use crate::clock::{Clock, Span, Time};
use crate::journal::Journal;
use crate::names::Marker;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Entry, Gone, ProviderTime, Remote, Subject, Verdict};
use crate::rotation::decide::{Missing, quiet_after, used_until};
use crate::rotation::effects::{Address, Effects};
use crate::rotation::event::Event;
use crate::rotation::held::{Context, Held};
use crate::rotation::run::Machine;
use crate::rotation::state::{Generation, Orphan, Phase};

use super::{PROOFS, address, failures, named, subject};

/// Stores inspected within this time are not inspected again before the revocation. Reading back after a write is an
/// inspection. A store that is set back within it could be set back after the revocation as well.
const FRESH: Span = Span::seconds(1);

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    pub(super) async fn revoke(&self, held: &mut Held, context: &Context) {
        // A consumer whose store was set back to the old secret must get the new one before the old one dies; unless
        // others have the old one as well.
        let compromised = held.state.phase.retiring().is_some_and(|it| it.generation.compromised.is_some());
        let now = self.clock.now();
        let sound = held.memo.sound.is_some_and(|sound| (sound..=sound + FRESH).contains(&now));
        if context.wanted && !compromised && !sound && !self.inspect(held, context, true).await {
            return;
        }
        if self.still_used(held, context).await {
            return;
        }
        let Phase::Active { retiring, .. } = &held.state.phase else { return };
        let generation = retiring.generation.clone();
        match self.take_back(held, context, &generation).await {
            Revocation::Done(gone) => self.note(held, context, Event::Revoked { already: gone == Gone::Already }),
            Revocation::Unsupported => {
                let orphan = Orphan::unrevocable(&generation);
                self.note(held, context, Event::LeftToExpire { orphan });
            }
            Revocation::Retry { not_before, failure } => self.postpone(held, context, not_before, failure),
        }
    }

    /// Whether a new listing shows that the old generation is used after its handover, and waiting for its end is noted.
    async fn still_used(&self, held: &mut Held, context: &Context) -> bool {
        let Phase::Active { retiring, .. } = &held.state.phase else { return false };
        let retiring = retiring.clone();
        let last_used = match self.last_use(held, context, &retiring.generation).await {
            Use::Seen(last_used) => last_used,
            Use::Postponed => return true,
            // Its grace is over. Who cannot be asked cannot hold up its end.
            Use::Unseen => return false,
        };
        let quiet = used_until(&self.situation(held, context), &retiring, Some(last_used));
        let Some(revoke_at) = quiet.filter(|quiet| *quiet > self.clock.now()) else { return false };
        self.note(held, context, Event::StillUsed { revoke_at });
        true
    }

    /// When a generation was last used by a new listing.
    async fn last_use(&self, held: &mut Held, context: &Context, generation: &Generation) -> Use {
        if !context.abilities.can.last_used || generation.account != context.policy.account.name {
            return Use::Unseen;
        }
        let listing = match self.effects.list(address(context, generation), self.clock.now()).await {
            Outcome::Done(listing) => listing,
            Outcome::Later { not_before, failure } if failures(held.state.retry.as_ref()) < PROOFS => {
                self.postpone(held, context, not_before, failure);
                return Use::Postponed;
            }
            Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Unknown(_) => return Use::Unseen,
        };
        let marker = generation.marker.as_ref().map(Marker::as_str);
        let seen = listing.find(generation.remote.id.as_ref(), marker);
        seen.and_then(|entry| entry.last_used).map_or(Use::Unseen, Use::Seen)
    }

    /// Takes the last generation of a retired token out of use: it is revoked like any that was left for later. One that is
    /// in use is left alone for the grace, unless the operator does not want that.
    pub(super) async fn dismiss(&self, held: &mut Held, context: &Context) {
        let Phase::Steady { current } = &held.state.phase else { return };
        let (Some(retirement), generation) = (held.state.retirement, current.generation.clone()) else { return };
        if !retirement.is_immediate() && current.dead.is_none() {
            let last_used = match self.last_use(held, context, &generation).await {
                Use::Seen(last_used) => Some(last_used),
                Use::Unseen => None,
                Use::Postponed => return,
            };
            let asked = (retirement.asked, retirement.revoke_at);
            let quiet = quiet_after(&self.situation(held, context), asked, last_used);
            if let Some(revoke_at) = quiet.filter(|quiet| *quiet > self.clock.now()) {
                return self.note(held, context, Event::RetirementPutOff { revoke_at });
            }
        }
        let orphan = if self.situation(held, context).can_revoke(&generation) {
            Orphan::deferred(&generation, Some(self.clock.now()))
        } else {
            Orphan::unrevocable(&generation)
        };
        self.note(held, context, Event::Dismissed { orphan });
    }

    pub(super) async fn prove(&self, held: &mut Held, context: &Context) {
        let Phase::Revoked { retiring, .. } = &held.state.phase else { return };
        let generation = retiring.generation.clone();
        let tried = failures(held.state.retry.as_ref());
        let Ok(secret) = self.secret(context, &generation).await else {
            return self.note(held, context, Event::Retired { proven: false });
        };
        match self.effects.accepts(address(context, &generation), &subject(&generation, Some(secret))).await {
            Outcome::Done(false) => {
                let proven = generation.secret_tells();
                self.note(held, context, Event::Retired { proven });
            }
            Outcome::Done(true) => {
                let failure = Failure::new(FailureCode::StillAlive, "");
                if tried < PROOFS {
                    return self.postpone(held, context, None, failure);
                }
                let current = held.state.phase.current();
                let kin = current.is_some_and(|current| current.generation.is_kin(&generation));
                let next = self.next_try(held, context, tried.saturating_add(1), None);
                self.note(held, context, Event::FoundAlive { failure, next });
                if kin {
                    // Two secrets of one id: whatever ends the old one ends the new one, too.
                    let orphan = Orphan::unrevocable(&generation);
                    self.note(held, context, Event::LeftToExpire { orphan });
                }
            }
            Outcome::Later { not_before, failure } if tried < PROOFS => {
                self.postpone(held, context, not_before, failure);
            }
            Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Unknown(_) => {
                self.note(held, context, Event::Retired { proven: false });
            }
        }
    }

    pub(super) async fn revoke_candidate(&self, held: &mut Held, context: &Context) {
        let Phase::Undoing { candidate, .. } = &held.state.phase else { return };
        let generation = candidate.generation.clone();
        let orphan = match self.take_back(held, context, &generation).await {
            Revocation::Done(_) => None,
            Revocation::Unsupported => Some(Orphan::unrevocable(&generation)),
            Revocation::Retry { not_before, failure } => return self.postpone(held, context, not_before, failure),
        };
        let next = self.next_rotation(held, context, None);
        self.note(held, context, Event::Undone { orphan, next, revoke_at: None });
    }

    pub(super) async fn reap(&self, held: &mut Held, context: &Context, orphan: Orphan, remote: Remote) {
        let taken = match &orphan {
            Orphan::Unrevocable { .. } => return,
            Orphan::UnknownMint { marker, account, params, .. } => {
                if let Some((failure, next)) = self.stranger(held, context, Address { account, params }).await.living()
                {
                    return self.note(held, context, Event::ReapFailed { orphan, failure, next });
                }
                self.end(held, context, Address { account, params }, &named(marker, remote), None).await.into()
            }
            Orphan::Deferred { generation, .. } => {
                if context.wanted && !self.inspect(held, context, true).await {
                    return;
                }
                self.take_back(held, context, generation).await
            }
        };
        match taken {
            Revocation::Done(_) => self.note(held, context, Event::OrphanEnded { orphan, revoked: true }),
            Revocation::Unsupported => {
                let failure = Failure::new(FailureCode::NoOperation, "revoke");
                let next = self.next_try(held, context, u32::MAX, None);
                self.note(held, context, Event::ReapFailed { orphan, failure, next });
            }
            Revocation::Retry { not_before, failure } => {
                let next = self.next_try(held, context, failures(orphan.retry()).saturating_add(1), not_before);
                self.note(held, context, Event::ReapFailed { orphan, failure, next });
            }
        }
    }

    /// Revokes a generation at the account that minted it.
    async fn take_back(&self, held: &mut Held, context: &Context, generation: &Generation) -> Revocation {
        let foreign = generation.account != context.policy.account.name;
        let secret = if context.abilities.revokes_self || foreign {
            match self.secret(context, generation).await {
                Ok(secret) => Some(secret),
                Err(_) if foreign => None,
                Err(failure) if failure.code == FailureCode::SecretUnreadable => return Revocation::Unsupported,
                Err(failure) => return Revocation::Retry { not_before: None, failure },
            }
        } else {
            None
        };
        let subject = subject(generation, secret);
        self.end(held, context, address(context, generation), &subject, Some(generation)).await.into()
    }

    /// Asks the provider to end a token, and remembers when it last did. `generation`: whose token it is, where anybody
    /// knows.
    ///
    /// Law: that a token is gone is believed of an answer that names it, of a refused secret that is surely its own, and of
    /// absence. A
    /// revocation that is refused, or answered with "not found" and no more, is followed by a look: its first answer may
    /// have been lost, and the account may have lost sight of a token that lives.
    pub(super) async fn end(
        &self,
        held: &mut Held,
        context: &Context,
        at: Address<'_>,
        subject: &Subject,
        generation: Option<&Generation>,
    ) -> Outcome<Gone> {
        let outcome = match self.identified(held, context, at, subject).await {
            Ok(subject) => self.effects.revoke(at, &subject).await,
            Err(outcome) => outcome,
        };
        // What was ended is what has this secret, and the token may have another one.
        let astray = subject.secret.is_some() && generation.is_some_and(|it| !it.secret_tells());
        let failure = match outcome {
            Outcome::Done(_) if astray => {
                let detail =
                    "a request of unknown outcome may have given it another secret than the one that was revoked";
                Failure::new(FailureCode::NotFound, detail)
            }
            Outcome::Done(Gone::Unproven) => {
                let detail = "it is not found there, which does not prove that it is gone";
                Failure::new(FailureCode::NotFound, detail)
            }
            Outcome::Refused(failure) if failure.code != FailureCode::NoOperation => failure,
            outcome => {
                if let Outcome::Done(_) = &outcome {
                    held.memo.freed = Some(self.clock.now());
                }
                return outcome;
            }
        };
        match self.is_gone(held, context, at, subject, generation).await {
            Look::Gone => {
                held.memo.freed = Some(self.clock.now());
                Outcome::Done(Gone::Already)
            }
            Look::Unclear { again } => Outcome::Later { not_before: again, failure },
            // Nobody will ever know. It stays known until it expires.
            Look::Blind if failures(held.state.retry.as_ref()) >= PROOFS => {
                Outcome::Refused(Failure { code: FailureCode::NoOperation, ..failure })
            }
            Look::Lives if astray && failures(held.state.retry.as_ref()) >= PROOFS => {
                Outcome::Refused(Failure { code: FailureCode::NoOperation, ..failure })
            }
            Look::Lives | Look::Blind => Outcome::Refused(failure),
        }
    }

    /// What a revocation names a token by, or how it ended without a request. Where it takes an id that no answer has told, a
    /// new listing is asked for it.
    async fn identified(
        &self,
        held: &Held,
        context: &Context,
        at: Address<'_>,
        subject: &Subject,
    ) -> Result<Subject, Outcome<Gone>> {
        let can = context.abilities.can;
        let lacks_id = subject.id.is_none() && context.abilities.revokes_by_id;
        let looks = lacks_id && can.lists && can.marks && *at.account == context.policy.account.name;
        let Some(name) = subject.name.as_deref().filter(|_| looks) else { return Ok(subject.clone()) };
        let listing = match self.effects.list(at, self.clock.now()).await {
            Outcome::Done(listing) => listing,
            Outcome::Later { not_before, failure } => return Err(Outcome::Later { not_before, failure }),
            Outcome::Refused(failure) => return Err(Outcome::Refused(failure)),
            Outcome::Unknown(failure) => return Err(Outcome::later(failure)),
        };
        let refused = |code, detail: &str| Err(Outcome::Refused(Failure::new(code, detail)));
        match listing.find(None, Some(name)) {
            Some(entry) if entry.dead => Err(Outcome::Done(Gone::Already)),
            // Whatever ends it ends what consumers use.
            Some(Entry { remote: Remote { id, .. }, .. })
                if held.state.phase.current().is_some_and(|it| it.generation.is_known_as(at.account, id.as_ref())) =>
            {
                refused(FailureCode::NoOperation, "the listing has it under the id of the current generation")
            }
            Some(entry) => Ok(Subject { id: entry.remote.id.clone(), ..subject.clone() }),
            None => refused(FailureCode::NotFound, "its revocation takes its id, and no listing has shown that yet"),
        }
    }

    /// Whether a secret that is not accepted proves that its token is gone: one whose time is over proves nothing where another
    /// part of it could still renew the token.
    fn dies_with_secret(&self, held: &Held, context: &Context, generation: &Generation) -> bool {
        let situation = self.situation(held, context);
        let reckoning = situation.reckoning();
        let whole = generation.fingerprints.len() <= 1;
        generation.secret_tells() && (whole || !reckoning.expired(generation) || reckoning.over(generation))
    }

    /// Whether a token that cannot be revoked is gone: first with its secret, then by listings.
    async fn is_gone(
        &self,
        held: &mut Held,
        context: &Context,
        at: Address<'_>,
        subject: &Subject,
        generation: Option<&Generation>,
    ) -> Look {
        let mut blind = true;
        if let Some(generation) = generation
            && let Ok(secret) = self.secret(context, generation).await
        {
            let subject = Subject { secret: Some(secret), ..subject.clone() };
            match self.effects.verify(at, &subject).await {
                Outcome::Done(Verdict::Dead(_)) if self.dies_with_secret(held, context, generation) => {
                    return Look::Gone;
                }
                // Its secret is dead, and the token may have another one, or be renewed: only a listing can tell.
                Outcome::Done(Verdict::Dead(_)) => {}
                Outcome::Done(Verdict::Alive { .. }) => return Look::Lives,
                Outcome::Refused(failure) if failure.code == FailureCode::NoOperation => {}
                Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Unknown(_) => blind = false,
            }
        }
        let listing = match self.effects.list(at, self.clock.now()).await {
            Outcome::Done(listing) => listing,
            Outcome::Refused(failure) if failure.code == FailureCode::NoOperation && blind => return Look::Blind,
            Outcome::Later { not_before, .. } => return Look::Unclear { again: not_before },
            Outcome::Refused(_) | Outcome::Unknown(_) => return Look::Unclear { again: None },
        };
        let name = subject.name.as_deref().filter(|_| context.abilities.can.marks);
        let missing = match (generation, subject.name.as_deref().and_then(Marker::read)) {
            (Some(generation), _) => Missing::of(generation),
            (None, Some(marker)) => Missing::Lost(marker),
            (None, None) => return Look::Unclear { again: None },
        };
        match listing.find(subject.id.as_ref(), name) {
            Some(entry) if entry.dead => Look::Gone,
            Some(_) => {
                held.memo.absent.remove(&missing);
                Look::Lives
            }
            None if listing.tells_absence() && (subject.id.is_some() || name.is_some()) => {
                let proven = held.memo.proven_absent(missing.clone(), listing.at(), context.abilities.settle);
                if proven > listing.at() {
                    return Look::Unclear { again: Some(proven) };
                }
                held.memo.absent.remove(&missing);
                Look::Gone
            }
            None => Look::Unclear { again: None },
        }
    }
}

/// When a token was last used.
enum Use {
    Seen(ProviderTime),
    /// The provider does not tell.
    Unseen,
    /// It could not be asked, and is asked again.
    Postponed,
}

/// What a look for a token shows.
enum Look {
    Gone,
    Lives,
    /// Nothing is proven yet. `again`: not before this.
    Unclear {
        again: Option<Time>,
    },
    /// The definition has no way to look.
    Blind,
}

/// What became of a revocation.
enum Revocation {
    Done(Gone),
    /// The provider has no way.
    Unsupported,
    Retry {
        not_before: Option<Time>,
        failure: Failure,
    },
}

impl From<Outcome<Gone>> for Revocation {
    fn from(outcome: Outcome<Gone>) -> Self {
        match outcome {
            Outcome::Done(gone) => Self::Done(gone),
            Outcome::Refused(failure) if failure.code == FailureCode::NoOperation => Self::Unsupported,
            Outcome::Later { not_before, failure } => Self::Retry { not_before, failure },
            // Revoking twice does no harm.
            Outcome::Refused(failure) | Outcome::Unknown(failure) => Self::Retry { not_before: None, failure },
        }
    }
}
