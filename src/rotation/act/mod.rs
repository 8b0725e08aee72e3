//! Executes actions, and notes the events that follow from their outcomes. The loop that calls them is [`super::run`].

mod adoption;
mod consumers;
mod issue;
pub mod operator;
mod renewal;
mod revocation;
mod trust;

use std::sync::Arc;

use crate::clock::{Clock, Time};
use crate::journal::Journal;
use crate::names::{GenerationNo, Marker, RemoteId, RotationId};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Expiry, ProviderClock, ProviderTime, Remote, Subject, Verdict};
use crate::rotation::reason::Reason;
use crate::secret::SecretParts;
use crate::timing::backoff;

use super::decide::{Action, Missing, Situation};
use super::effects::{Address, Effects};
use super::event::Event;
use super::held::{Context, Held};
use super::life::life;
use super::reckoning::Proof;
use super::run::Machine;
use super::state::{Generation, Intent, Retry};

/// How often a request that proves something is made before its answer is taken as it is.
const PROOFS: u32 = 5;

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    pub(super) async fn act(&self, held: &mut Held, context: &Context, action: Action) {
        match action {
            Action::Adopt => self.adopt(held, context).await,
            Action::Readopt => self.readopt(held, context).await,
            Action::Begin(reason) => self.begin(held, context, reason).await,
            Action::Mint => self.mint(held, context).await,
            Action::Search => self.search(held, context).await,
            Action::RevokeOrphan(remote) => self.revoke_orphan(held, context, remote).await,
            Action::Verify => self.verify(held, context).await,
            Action::IntendWrite(stores) => {
                for store in stores {
                    held.memo.intended.insert(store.clone());
                    self.note(held, context, Event::StoreIntended { store });
                }
            }
            Action::Write(stores) => self.write(held, context, &stores, false).await,
            Action::Erase(store) => self.erase(held, context, store).await,
            Action::Notify(hooks) => self.notify(held, context, &hooks, false).await,
            Action::Inspect => {
                self.inspect(held, context, false).await;
            }
            Action::Revoke => self.revoke(held, context).await,
            Action::Prove => self.prove(held, context).await,
            Action::Dismiss => self.dismiss(held, context).await,
            Action::Restore(stores) => self.write(held, context, &stores, true).await,
            Action::Renotify(hooks) => self.notify(held, context, &hooks, true).await,
            Action::RevokeCandidate => self.revoke_candidate(held, context).await,
            Action::BeginRenewal(reason) => self.begin_renewal(held, context, reason).await,
            Action::Renew => self.renew(held, context).await,
            Action::ExamineRenewal => self.examine_renewal(held, context).await,
            Action::VerifyRenewed => self.verify_renewed(held, context).await,
            Action::Examine(suspicion) => self.examine(held, context, suspicion).await,
            Action::Look => self.look(held, context).await,
            Action::Seek(orphan) => self.seek(held, context, orphan).await,
            Action::Reap(orphan, remote) => self.reap(held, context, orphan, remote).await,
        }
    }

    fn note(&self, held: &mut Held, context: &Context, event: Event) {
        held.note(&context.policy, self.clock.now(), event);
    }

    fn situation<'a>(&self, held: &'a Held, context: &'a Context) -> Situation<'a> {
        let clock = self.effects.clock(&context.policy.account.name);
        context.situation(&held.state, &held.memo, clock, self.clock.now())
    }

    /// When something that failed is tried again, for the `attempts`th time in a row.
    fn next_try(&self, held: &Held, context: &Context, attempts: u32, not_before: Option<Time>) -> Time {
        let situation = self.situation(held, context);
        let life = life(&held.state, &situation.reckoning());
        backoff::until(situation.now, attempts, life, not_before, self.effects.draw())
    }

    /// The step that comes next failed.
    fn postpone(&self, held: &mut Held, context: &Context, not_before: Option<Time>, failure: Failure) {
        let next = self.next_try(held, context, failures(held.state.retry.as_ref()).saturating_add(1), not_before);
        self.note(held, context, Event::Postponed { failure, next });
    }

    /// When a rotation that ended without a handover is tried again.
    fn next_rotation(&self, held: &Held, context: &Context, not_before: Option<Time>) -> Time {
        self.next_try(held, context, self.situation(held, context).attempts(), not_before)
    }

    fn intent(&self, context: &Context, rotation: RotationId, number: GenerationNo, reason: Reason) -> Intent {
        let policy = &context.policy;
        Intent {
            rotation,
            number,
            marker: Marker::new(self.instance, &policy.name, number, rotation),
            account: policy.account.name.clone(),
            params: policy.params.clone(),
            at: self.clock.now(),
            reason: reason.code().to_owned(),
        }
    }

    /// Asks whether the provider accepts the current secret.
    async fn ask(&self, held: &Held, context: &Context) -> Outcome<Verdict> {
        let Some(current) = held.state.phase.current() else {
            return Outcome::Refused(Failure::new(FailureCode::NotFound, "there is no current generation"));
        };
        if !context.abilities.can.verifies {
            return Outcome::Refused(Failure::new(FailureCode::NoOperation, "verify"));
        }
        let generation = &current.generation;
        match self.secret(context, generation).await {
            Ok(secret) => self.effects.verify(address(context, generation), &subject(generation, Some(secret))).await,
            Err(failure) => Outcome::later(failure),
        }
    }

    async fn examine(&self, held: &mut Held, context: &Context, suspicion: Failure) {
        let Some(generation) = held.state.phase.current().map(|current| current.generation.clone()) else { return };
        // Of a token that is only watched, there may be no secret to ask with.
        if !context.abilities.can.verifies || !generation.has_secret() {
            return self.look_for(held, context, &generation, suspicion).await;
        }
        // Not before the listing that raised the suspicion, also when the clock was set back since.
        let listed = context.listing.as_ref().map(|listing| listing.at());
        held.memo.examined = listed.into_iter().chain([self.clock.now()]).max();
        match self.ask(held, context).await {
            Outcome::Done(Verdict::Dead(failure)) => self.note(held, context, Event::FoundDead { failure }),
            // Alive in spite of the listing, or nobody can tell now: looked at again after the next listing.
            Outcome::Done(Verdict::Alive { id, expires }) => {
                self.accepted(held);
                held.memo.trusted = Some((generation.number, generation.revision));
                self.observe(held, context, id, expires);
            }
            Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Unknown(_) => {}
        }
    }

    /// The provider accepts the current secret.
    fn accepted(&self, held: &mut Held) {
        let now = self.clock.now();
        held.memo.proof = held.state.phase.current().map(|current| Proof::of(&current.generation, now));
    }

    /// Asks the provider anything, to see its clock. Nobody rotates by an expiry before that.
    async fn look(&self, held: &mut Held, context: &Context) {
        let policy = &context.policy;
        let address = Address { account: &policy.account.name, params: &policy.params };
        let outcome = if context.abilities.can.lists {
            self.effects.list(address, self.clock.now()).await.map(|_| ())
        } else {
            self.ask(held, context).await.map(|_| ())
        };
        let seen = self.effects.clock(&policy.account.name) != ProviderClock::Unseen;
        match outcome {
            Outcome::Done(()) => held.memo.looked = true,
            // An answer came all the same.
            _ if seen => held.memo.looked = true,
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Refused(failure) | Outcome::Unknown(failure) => self.postpone(held, context, None, failure),
        }
    }

    /// Looks for the current generation where nothing but listings can tell whether it lives.
    async fn look_for(&self, held: &mut Held, context: &Context, generation: &Generation, suspicion: Failure) {
        let missing = Missing::of(generation);
        let now = self.clock.now();
        let listing = match (&context.listing, held.memo.absent.get(&missing)) {
            (Some(listing), None) if suspicion.code != FailureCode::Unauthorized => Arc::clone(listing),
            _ => match self.effects.list(address(context, generation), now).await {
                Outcome::Done(listing) => listing,
                Outcome::Refused(failure) | Outcome::Later { failure, .. }
                    if suspicion.code == FailureCode::Unauthorized && failure.code == suspicion.code =>
                {
                    // It is its account's own credential, and was refused once more.
                    held.memo.examined = Some(now);
                    return self.note(held, context, Event::FoundDead { failure });
                }
                // Nothing new: it is looked again later.
                Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Unknown(_) => {
                    return held.memo.examined = Some(now);
                }
            },
        };
        held.memo.examined = Some(listing.at().max(now));
        let marker = generation.marker.as_ref().map(Marker::as_str);
        match listing.find(generation.remote.id.as_ref(), marker) {
            // An answer that names it.
            Some(entry) if entry.dead => self.note(held, context, Event::FoundDead { failure: suspicion }),
            Some(_) => drop(held.memo.absent.remove(&missing)),
            None if listing.tells_absence() => {
                let proven = held.memo.proven_absent(missing.clone(), listing.at(), context.abilities.settle);
                if proven <= listing.at() {
                    held.memo.absent.remove(&missing);
                    self.note(held, context, Event::FoundDead { failure: suspicion });
                }
            }
            None => {}
        }
    }

    /// Notes what an answer tells of the current generation that is not known yet. Where listings tell, they count.
    fn observe(&self, held: &mut Held, context: &Context, id: Option<RemoteId>, expires: Option<Expiry>) {
        let Some(current) = held.state.phase.current().filter(|_| !context.abilities.can.lists) else { return };
        let known = &current.generation.remote;
        let id = id.filter(|_| known.id.is_none());
        let expires = self.believed(held, context, expires).map(|told| super::decide::like(told, known.expires));
        let expires = expires.filter(|told| super::decide::differs(*told, known.expires));
        if id.is_some() || expires.is_some() {
            self.note(held, context, Event::Observed { id, expires, over: false });
        }
    }

    /// What is told of the end of a new secret and cannot be right gives way to the life of the one before, from now on.
    fn likely(&self, held: &Held, context: &Context, mut generation: Generation) -> Generation {
        let situation = self.situation(held, context);
        let reckoning = situation.reckoning();
        if !reckoning.is_contradicted(&generation) {
            return generation;
        }
        let life = held.state.phase.current().and_then(|current| reckoning.life(&current.generation));
        if let Some(end) = life.and_then(|life| generation.issued_at.checked_add_signed(life)) {
            generation.remote.expires = Expiry::At(ProviderTime::ours(end));
        }
        generation
    }

    /// What an answer tells of the expiry of a secret that it accepts: one that has passed cannot be right.
    fn believed(&self, held: &Held, context: &Context, told: Option<Expiry>) -> Option<Expiry> {
        told.filter(|told| !super::decide::tells_end(&self.situation(held, context), *told))
    }

    /// The secret of a generation, out of the journal.
    async fn secret(&self, context: &Context, generation: &Generation) -> Result<SecretParts, Failure> {
        let found = self.journal.secret(&generation.slot(&context.policy.name)).await?;
        found.ok_or_else(|| Failure::new(FailureCode::SecretUnreadable, "the journal does not hold it"))
    }
}

/// Consecutive failures so far.
fn failures(retry: Option<&Retry>) -> u32 {
    retry.map_or(0, |retry| retry.attempts)
}

/// The account that minted a generation, with the parameters it was minted with.
fn address<'a>(context: &'a Context, generation: &'a Generation) -> Address<'a> {
    let params = generation.params.as_ref().unwrap_or(&context.policy.params);
    Address { account: &generation.account, params }
}

fn subject(generation: &Generation, secret: Option<SecretParts>) -> Subject {
    Subject {
        id: generation.remote.id.clone(),
        name: generation.marker.as_ref().map(|marker| marker.as_str().to_owned()),
        facts: generation.remote.facts.clone(),
        secret,
    }
}

/// A token of which nothing is known but what a listing tells.
fn named(marker: &Marker, remote: Remote) -> Subject {
    Subject { id: remote.id, name: Some(marker.as_str().to_owned()), facts: remote.facts, secret: None }
}
