//! Adopts a token that exists already, and the one that an operator brings in its place.

use std::collections::BTreeMap;

use crate::clock::{Clock, Time};
use crate::few::Few;
use crate::inventory::Credential;
use crate::journal::Journal;
use crate::names::GenerationNo;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::Abilities;
use crate::provider::{Expiry, ProviderTime, Remote, Subject, Verdict};
use crate::rotation::due::Means;
use crate::rotation::effects::{Address, Effects};
use crate::rotation::event::Event;
use crate::rotation::held::{Context, Held};
use crate::rotation::run::Machine;
use crate::rotation::state::{Current, Generation};
use crate::secret::{Fingerprint, SecretParts};

use super::failures;

/// An initial secret that was refused this often in a row is dead: its provider had time to take it in.
const DEAD_INITIAL: u32 = 3;

/// Why nothing was taken over.
struct Setback {
    not_before: Option<Time>,
    failure: Failure,
    /// Trying again will not help.
    certain: bool,
}

impl Setback {
    fn later(failure: Failure) -> Self {
        Self { not_before: None, failure, certain: false }
    }

    fn certain(failure: Failure) -> Self {
        Self { not_before: None, failure, certain: true }
    }
}

/// What was found of a token to take over.
struct Found {
    remote: Remote,
    parts: Option<SecretParts>,
    /// The provider does not accept it any more, and it comes with what renews it.
    dead: Option<Failure>,
}

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    pub(super) async fn adopt(&self, held: &mut Held, context: &Context) {
        // A token that is only watched may have been adopted before, and be gone since.
        let number = if held.state.last_number == GenerationNo::ADOPTED && held.state.adopted.is_empty() {
            GenerationNo::ADOPTED
        } else {
            held.state.last_number.next()
        };
        match self.found(context).await {
            Ok(found) => {
                let generation = self.taken_over(held, context, number, found.remote, found.parts);
                self.note(held, context, Event::Adopted { generation });
                if let Some(failure) = found.dead {
                    self.note(held, context, Event::FoundDead { failure });
                }
            }
            Err(Setback { certain: true, failure, .. }) => self.refused(held, context, &failure),
            Err(Setback { not_before, failure, .. }) => self.postpone(held, context, not_before, failure),
        }
    }

    /// The provider does not accept the secret to adopt. Where that lasts, a token is minted in its place, unless that
    /// secret is what its own account authenticates with.
    fn refused(&self, held: &mut Held, context: &Context, failure: &Failure) {
        let policy = &context.policy;
        let source = policy.initial.as_ref().and_then(|initial| initial.source.as_ref());
        let source = source.map(ToString::to_string).unwrap_or_default();
        let needed = policy.account.endpoint.credential == Credential::Token(policy.name.clone());
        if needed || !context.abilities.can.mints {
            let detail = format!("the initial secret ({source}): {}: put one there that works", failure.detail);
            return self.postpone(held, context, None, failure.reworded(detail));
        }
        let failure = failure.reworded(format!("the initial secret ({source}): {}", failure.detail));
        if policy.paused || failures(held.state.retry.as_ref()) + 1 < DEAD_INITIAL {
            return self.postpone(held, context, None, failure);
        }
        self.note(held, context, Event::InitialRefused { failure });
    }

    /// Takes over the secret that an operator brought, where it is another than the one that was adopted last.
    pub(super) async fn readopt(&self, held: &mut Held, context: &Context) {
        held.memo.sought = Some(self.clock.now());
        let Some(current) = held.state.phase.current() else { return };
        let account = &context.policy.account.name;
        let same_place = current.generation.account == *account && !current.secret_lost;
        // What cannot be read now is looked at again.
        let Ok(parts) = self.effects.adopt(&context.policy).await else { return };
        let fingerprints = self.effects.fingerprints(&parts);
        let known = fingerprints == held.state.adopted || fingerprints == current.generation.fingerprints;
        if same_place && known {
            held.memo.refused = None;
            return;
        }
        let number = held.state.last_number.next();
        let old = current.generation.remote.clone();
        if let Some(part) = outdated(current, &held.state.adopted, &fingerprints) {
            let detail = format!(
                "the part `{part}` is the one that was adopted before, and a renewal has replaced it since: put the new one \
                 there, too"
            );
            let failure = Failure::new(FailureCode::WrongSubject, detail);
            return self.turn_down(held, context, fingerprints, failure);
        }
        // One that has to be renewed first is no better than one that works and can be renewed itself.
        let unusable = self.situation(held, context).reckoning().unusable(current);
        let takes_dead = unusable || !current.renewable();
        match self.proven(context, Some(parts), Some(&old), takes_dead).await {
            Ok(found) => {
                held.memo.refused = None;
                let generation = Box::new(self.taken_over(held, context, number, found.remote, found.parts));
                let now = self.clock.now();
                let revoke_at = now.checked_add_signed(context.policy.grace).unwrap_or(Time::MAX_UTC);
                let rotation = self.effects.rotation_id();
                self.note(held, context, Event::Replaced { generation, rotation, revoke_at });
                if let Some(failure) = found.dead {
                    self.note(held, context, Event::FoundDead { failure });
                }
            }
            Err(setback) if setback.certain => self.turn_down(held, context, fingerprints, setback.failure),
            Err(_) => {}
        }
    }

    /// Does not let a secret take the place of the current one, and says so once.
    fn turn_down(&self, held: &mut Held, context: &Context, fingerprints: Few<String, Fingerprint>, failure: Failure) {
        if held.memo.refused.as_ref() != Some(&fingerprints) {
            held.memo.refused = Some(fingerprints);
            self.note(held, context, Event::ReplacementRefused { failure });
        }
    }

    /// A generation of what was found, whose secret is kept with the next note.
    pub(super) fn taken_over(
        &self,
        held: &mut Held,
        context: &Context,
        number: GenerationNo,
        remote: Remote,
        parts: Option<SecretParts>,
    ) -> Generation {
        let policy = &context.policy;
        let now = self.clock.now();
        let generation = Generation {
            number,
            account: policy.account.name.clone(),
            params: None,
            revision: 0,
            marker: None,
            remote,
            minted_at: now,
            issued_at: now,
            fingerprints: parts.as_ref().map(|parts| self.effects.fingerprints(parts)).unwrap_or_default(),
            compromised: None,
            reissue_unknown: None,
        };
        if let Some(parts) = parts {
            held.keep(generation.slot(&policy.name), parts);
            held.memo.trusted = Some((generation.number, generation.revision));
        }
        generation
    }

    /// The token that the inventory names, as far as the provider confirms it.
    async fn found(&self, context: &Context) -> Result<Found, Setback> {
        let initial = context.policy.initial.as_ref();
        let has_secret = initial.is_none_or(|initial| initial.source.is_some());
        let parts =
            if has_secret { Some(self.effects.adopt(&context.policy).await.map_err(Setback::later)?) } else { None };
        self.proven(context, parts, None, true).await
    }

    /// Asks the provider about the token that the inventory names: with its secret, where there is one, else by id or
    /// name. What the inventory says of the one that it takes the place of, `old`, says nothing of this one.
    /// `takes_dead`: a pair whose access token is dead will do, where nothing but its renewal makes a new one.
    async fn proven(
        &self,
        context: &Context,
        parts: Option<SecretParts>,
        old: Option<&Remote>,
        takes_dead: bool,
    ) -> Result<Found, Setback> {
        let policy = &context.policy;
        let initial = policy.initial.as_ref();
        let mut remote = Remote {
            id: initial
                .and_then(|initial| initial.id.clone())
                .filter(|id| old.is_none_or(|old| old.id.as_ref() != Some(id))),
            expires: initial
                .and_then(|initial| initial.expires)
                .map(|expires| Expiry::At(ProviderTime::ours(expires)))
                .filter(|expires| old.is_none_or(|old| old.expires != *expires))
                .unwrap_or(Expiry::Unknown),
            refresh_expires: None,
            renewable_until: None,
            facts: BTreeMap::new(),
        };
        let address = Address { account: &policy.account.name, params: &policy.params };
        let asks = context.abilities.can.verifies;
        if let Some(parts) = parts.as_ref().filter(|_| asks) {
            let subject = Subject { secret: Some(parts.clone()), ..Subject::default() };
            match self.effects.verify(address, &subject).await {
                Outcome::Done(Verdict::Alive { id, expires }) => {
                    remote.id = remote.id.or(id);
                    if remote.expires == Expiry::Unknown {
                        remote.expires = expires.unwrap_or(Expiry::Unknown);
                    }
                }
                Outcome::Done(Verdict::Dead(failure)) if takes_dead && only_renews(&context.abilities, parts) => {
                    let parts = Some(parts.clone());
                    return Ok(Found { remote, parts, dead: Some(failure) });
                }
                Outcome::Done(Verdict::Dead(failure)) => return Err(Setback::certain(failure.of_secret())),
                Outcome::Refused(failure) | Outcome::Unknown(failure) => return Err(Setback::later(failure)),
                Outcome::Later { not_before, failure } => {
                    return Err(Setback { not_before, failure, certain: false });
                }
            }
        }
        let name = initial.and_then(|initial| initial.name.as_deref()).filter(|_| old.is_none());
        let looks = name.is_some_and(|_| remote.id.is_none()) || parts.is_none() && remote.id.is_some();
        if !looks || !context.abilities.can.lists {
            remote.expires = self.listed_expiry(context, &remote).await;
            return Ok(Found { remote, parts, dead: None });
        }
        let listing = match self.effects.list(address, self.clock.now()).await {
            Outcome::Done(listing) => listing,
            Outcome::Later { not_before, failure } => return Err(Setback { not_before, failure, certain: false }),
            Outcome::Refused(failure) | Outcome::Unknown(failure) => return Err(Setback::later(failure)),
        };
        let by_id = remote.id.as_ref().map(|id| listing.with_id(id).filter(|entry| !entry.dead).collect::<Vec<_>>());
        let named = || name.map(|name| listing.named(name).filter(|entry| !entry.dead).collect()).unwrap_or_default();
        let entries = by_id.unwrap_or_else(named);
        let wrong = |detail| Setback::later(Failure::new(FailureCode::NotFound, detail));
        match entries[..] {
            [entry] => {
                remote.id = remote.id.or(entry.remote.id.clone());
                if remote.expires == Expiry::Unknown {
                    remote.expires = entry.remote.expires;
                }
                Ok(Found { remote, parts, dead: None })
            }
            [] => Err(wrong("the listing does not contain the token that `initial` names")),
            _ => Err(wrong("the listing contains several tokens that `initial` may mean: give its `id`")),
        }
    }

    /// The expiry of an accepted token, also by a listing where nothing else tells it. One of the last poll will do where it has
    /// the token: many that are taken over at once cost no listing each.
    pub(super) async fn listed_expiry(&self, context: &Context, remote: &Remote) -> Expiry {
        let policy = &context.policy;
        let Some(id) = remote.id.as_ref().filter(|_| context.abilities.can.lists) else { return remote.expires };
        if remote.expires != Expiry::Unknown {
            return remote.expires;
        }
        let address = Address { account: &policy.account.name, params: &policy.params };
        let now = self.clock.now();
        for since in [now.checked_sub_signed(policy.account.poll_every).unwrap_or(now), now] {
            let Outcome::Done(listing) = self.effects.list(address, since).await else { return Expiry::Unknown };
            if let Some(entry) = listing.with_id(id).find(|entry| !entry.dead) {
                return entry.remote.expires;
            }
        }
        Expiry::Unknown
    }
}

/// The part of the pair at `initial` that was adopted before and renewed since, where there is one: only one half of the
/// pair was replaced. It is not adopted: presenting a stale refresh token can revoke the whole pair.
fn outdated<'a>(
    current: &Current,
    adopted: &Few<String, Fingerprint>,
    found: &'a Few<String, Fingerprint>,
) -> Option<&'a str> {
    let known = &current.generation.fingerprints;
    let renewed = current.generation.revision > 0;
    let old = |(part, it): &(&String, &Fingerprint)| adopted.get(*part) == Some(it) && known.get(*part) != Some(it);
    found.iter().filter(|_| renewed).find(old).map(|(part, _)| part.as_str())
}

/// Whether a secret can be renewed in place, by a provider that cannot mint.
fn only_renews(abilities: &Abilities, parts: &SecretParts) -> bool {
    abilities.means_with(|part| parts.part(part).is_some()) == Means::Renewal
}
