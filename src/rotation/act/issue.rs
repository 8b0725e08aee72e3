//! Mints a generation, and searches for the orphan of a mint of unknown outcome.

use futures_util::future::join_all;

use crate::clock::{Clock, Time};
use crate::journal::Journal;
use crate::names::{AccountName, Marker};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Entry, MintRequest, Minted, Remote};
use crate::rotation::decide::{Looks, lost, search_settled, tells_end, unknown_mint};
use crate::rotation::effects::{Address, Effects};
use crate::rotation::event::Event;
use crate::rotation::held::{Context, Held};
use crate::rotation::kinship::Kinship;
use crate::rotation::reason::Reason;
use crate::rotation::run::Machine;
use crate::rotation::state::{Candidate, Current, Delivery, Generation, Intent, Origin, Orphan, Phase};
use crate::store;

use super::{PROOFS, failures, named};

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    /// The stores that could not be written now, with the reason of the first. The secret at hand tells what the next one is
    /// like.
    pub(super) async fn preflight(&self, held: &Held, context: &Context) -> (usize, Option<Failure>) {
        let policy = &context.policy;
        let alike = |current: &&Current| !current.secret_lost && current.generation.account == policy.account.name;
        let likely = match held.state.phase.current().filter(alike) {
            Some(current) => self.secret(context, &current.generation).await.ok(),
            None => None,
        };
        let likely = likely.as_ref();
        let tested = join_all(policy.stores.iter().map(|store| async {
            let known = held.state.known_of(store);
            let fits =
                likely.and_then(|parts| parts.part(&store.part)).map_or(Ok(()), |it| store::check_size(store, it));
            let result = match fits {
                Ok(()) => self.effects.preflight(store, &known).await,
                Err(failure) => Err(failure),
            };
            result.map_err(|failure| failure.reworded(format!("{}: {}", store.key, failure.detail)))
        }));
        let mut failures: Vec<Failure> = tested.await.into_iter().filter_map(Result::err).collect();
        let count = failures.len();
        (count, (count > 0).then(|| failures.swap_remove(0)))
    }

    pub(super) async fn begin(&self, held: &mut Held, context: &Context, reason: Reason) {
        let policy = &context.policy;
        // Who asks for a rotation may be answered by a rule that is older than the request.
        if held.state.requested.is_none()
            && let Some((failure, next)) = self.living_store(held, context).await
        {
            return self.note(held, context, Event::Postponed { failure, next });
        }
        if held.memo.newborn && reason == Reason::FirstIssue {
            match self.elsewhere(held, context).await {
                Outcome::Done(Some(found)) => return self.note(held, context, Event::HeldBack { found }),
                Outcome::Later { not_before, failure } => return self.postpone(held, context, not_before, failure),
                // Whoever may not list may mint all the same.
                Outcome::Done(None) | Outcome::Refused(_) | Outcome::Unknown(_) => held.memo.newborn = false,
            }
        }
        let (failing, failure) = self.preflight(held, context).await;
        if let Some(failure) = failure {
            // Consumers that need a new secret get it in those stores that can be written; the others get it as soon as
            // they can. Without any, nothing is begun.
            let current = held.state.phase.current();
            let pressing = current.is_none_or(|current| self.situation(held, context).pressing(current));
            if !pressing || failing == policy.stores.len() {
                return self.postpone(held, context, None, failure);
            }
        }
        if self.is_limited(held, &policy.account.name) {
            return;
        }
        let rotation = self.effects.rotation_id();
        let number = held.state.last_number.next();
        let intent = self.intent(context, rotation, number, reason);
        held.memo.fresh = Some(rotation);
        self.note(held, context, Event::Intended { intent });
    }

    /// Whether the account's rate limit would turn the request away of what is intended next: it is waited for then.
    pub(super) fn is_limited(&self, held: &mut Held, account: &AccountName) -> bool {
        let until = self.effects.plan(account);
        held.memo.limited = until.map(|until| (self.clock.now(), until));
        until.is_some()
    }

    /// What the provider lists of the token that another installation made.
    ///
    /// Law: a journal that is new where a provider's markers say otherwise mints nothing before an operator, or the
    /// inventory, says so.
    async fn elsewhere(&self, held: &Held, context: &Context) -> Outcome<Option<String>> {
        let (policy, can) = (&context.policy, context.abilities.can);
        if !(can.lists && can.marks) {
            return Outcome::Done(None);
        }
        let address = Address { account: &policy.account.name, params: &policy.params };
        // Any listing of this process will do, unless one has failed.
        let since = held.state.retry.as_ref().and_then(|retry| retry.at).unwrap_or(Time::MIN_UTC);
        let listing = match self.effects.list(address, since).await {
            Outcome::Done(listing) => listing,
            // A service whose listings alone do not work keeps nobody waiting for ever.
            Outcome::Later { not_before, failure }
                if failure.code.is_outage() && failures(held.state.retry.as_ref()) < PROOFS =>
            {
                return Outcome::Later { not_before, failure };
            }
            Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                return Outcome::Refused(failure);
            }
        };
        let situation = self.situation(held, context);
        let lives = |entry: &&Entry| !entry.dead && !tells_end(&situation, entry.remote.expires);
        let mut names = listing.entries().iter().filter(lives).filter_map(|entry| entry.name.as_deref());
        let found = names.find_map(|name| Marker::of_another(self.instance, &policy.name, name));
        Outcome::Done(
            found.map(|marker| format!("account {} lists {marker} of another installation", policy.account.name)),
        )
    }

    pub(super) async fn mint(&self, held: &mut Held, context: &Context) {
        held.memo.fresh = None;
        let Phase::Intended { intent, .. } = &held.state.phase else { return };
        let intent = intent.clone();
        let address = Address { account: &intent.account, params: &intent.params };
        let mint_request = MintRequest { marker: intent.marker.clone(), lifetime: context.policy.lifetime };
        match self.effects.mint(address, &mint_request).await {
            Outcome::Done(minted) => self.minted(held, context, *intent, minted),
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
            reissue_unknown: None,
        };
        let generation = self.likely(held, context, generation);
        held.keep(generation.slot(&context.policy.name), minted.secret);
        held.memo.trusted = Some((generation.number, generation.revision));
        let in_place = held.state.phase.current().is_some_and(|it| it.generation.kinship(&generation) == Kinship::Id);
        let candidate = Candidate {
            generation,
            rotation: intent.rotation,
            delivery: Delivery::default(),
            rejection: minted.rejection,
            origin: Origin::Minted,
        };
        let id = candidate.generation.remote.id.clone();
        self.note(held, context, Event::Minted { candidate: Box::new(candidate) });
        if let Some(id) = id.filter(|_| in_place) {
            let detail = format!("the answer to the mint has the id {id} of the current generation and another secret");
            let failure = Failure::new(FailureCode::SameToken, detail);
            self.note(held, context, Event::MintedInPlace { failure });
        }
    }

    pub(super) async fn search(&self, held: &mut Held, context: &Context) {
        let Phase::Searching { intent, search, .. } = &held.state.phase else { return };
        let (intent, search) = (intent.clone(), search.clone());
        let address = Address { account: &intent.account, params: &intent.params };
        // Until then a mint of unknown outcome may still take effect, or still be missing in a listing.
        let settled = search_settled(&self.situation(held, context), &search);
        let now = self.clock.now();
        match self.effects.list(address, now).await {
            Outcome::Done(listing) => {
                let known = |entry: &&Entry| held.state.has_id(&intent.account, entry.remote.id.as_ref());
                let mut named = listing.named(intent.marker.as_str()).filter(|entry| !entry.dead);
                let again = named.find(known).map(|entry| entry.remote.clone());
                drop(named);
                let situation = self.situation(held, context);
                let lost = lost(&situation, &listing, &intent.account, &intent.marker);
                if let Some(remote) = again {
                    self.note(held, context, Event::OrphanFound { remote });
                    // The mint may have given it another secret.
                    let detail = "a mint without an answer gave it another name, and perhaps another secret";
                    self.examine(held, context, Failure::new(FailureCode::SameToken, detail)).await;
                } else if let Some(entry) = lost {
                    let remote = entry.remote.clone();
                    self.note(held, context, Event::OrphanFound { remote });
                } else if listing.at() >= settled {
                    let orphan = unknown_mint(&self.situation(held, context), &intent, &search);
                    let next = self.after_search(held, context, search.since);
                    looked(held, intent.marker, now, true);
                    self.note(held, context, Event::SearchEnded { orphan, next });
                } else {
                    looked(held, intent.marker, now, true);
                }
            }
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Refused(failure) | Outcome::Unknown(failure) => self.postpone(held, context, None, failure),
        }
    }

    /// When the next mint begins after the search for one whose outcome is unknown `since` then. An operator who asked for a rotation since waits
    /// for that, and not for a backoff.
    fn after_search(&self, held: &Held, context: &Context, since: Time) -> Time {
        let asked = held.state.requested.is_some_and(|at| at > since);
        if asked { self.clock.now() } else { self.next_rotation(held, context, None) }
    }

    /// Searches for the orphan of an unknown mint. Nothing waits for the result.
    pub(super) async fn seek(&self, held: &mut Held, context: &Context, orphan: Orphan) {
        let Orphan::UnknownMint { marker, account, params, .. } = &orphan else { return };
        let now = self.clock.now();
        let listed = self.effects.list(Address { account, params }, now).await;
        let found = match &listed {
            Outcome::Done(listing) => {
                let lost = lost(&self.situation(held, context), listing, account, marker);
                lost.map(|entry| entry.remote.clone())
            }
            Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Unknown(_) => None,
        };
        match found {
            Some(remote) => self.reap(held, context, orphan, remote).await,
            None => looked(held, marker.clone(), now, matches!(listed, Outcome::Done(_))),
        }
    }

    pub(super) async fn revoke_orphan(&self, held: &mut Held, context: &Context, remote: Remote) {
        let Phase::Searching { intent, search, .. } = &held.state.phase else { return };
        let (intent, search) = (intent.clone(), search.clone());
        let address = Address { account: &intent.account, params: &intent.params };
        if let Some((failure, next)) = self.stranger(held, context, address).await.living() {
            return self.note(held, context, Event::Postponed { failure, next });
        }
        match self.end(held, context, address, &named(&intent.marker, remote), None).await {
            Outcome::Done(_) => {
                let next = self.after_search(held, context, search.since);
                self.note(held, context, Event::OrphanRevoked { next });
            }
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Refused(failure) | Outcome::Unknown(failure) => self.postpone(held, context, None, failure),
        }
    }
}

/// Remembers a look that found nothing, begun at `now`. It is not journaled: nothing happened, and nothing failed.
fn looked(held: &mut Held, marker: Marker, now: Time, answered: bool) {
    let looks = held.memo.looks.entry(marker).or_insert(Looks { count: 0, last: now, seen: None });
    looks.count = looks.count.saturating_add(1);
    looks.last = now;
    looks.seen = Some(now).filter(|_| answered).or(looks.seen);
}
