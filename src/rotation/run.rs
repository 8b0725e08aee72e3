//! The loop: decide, journal the intent, act, journal the outcome, apply, until there is nothing to do.
//!
//! Whatever was noted is durable before the next effect begins. A commit that fails keeps what it holds, a new secret
//! above all, in memory and is tried again before anything else is done.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use std::sync::Arc;

use crate::account::Listing;
use crate::clock::{Clock, Span, Time};
use crate::inventory::{OnFailure, TokenPolicy};
use crate::journal::{Commit, Draft, Journal, SecretChange, SecretSlot};
use crate::names::{GenerationNo, HookKey, InstanceId, Marker, RotationId, StoreKey};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::plan::{Reason, backoff};
use crate::provider::{Expiry, Minted, Remote, Subject, Verdict, Want};
use crate::secret::SecretParts;

use super::apply;
use super::decide::{Abilities, Action, Memo, Rest, Situation, Step, decide};
use super::effects::{Address, Condition, Effects, Occasion};
use super::event::Event;
use super::state::{Candidate, Current, Delivery, Generation, Intent, Phase, Progress, Remnant, TokenState};

/// How often a request that proves a death is made before the answer is taken as it is.
const PROOFS: u32 = 5;

/// One token as this process holds it: its state, and what is not durable yet.
#[derive(Debug, Default)]
pub struct Held {
    state: TokenState,
    pub memo: Memo,
    /// Noted, applied, and to be committed before the next effect.
    pending: Vec<(Time, Event)>,
    /// Secrets to be kept or erased with the pending records.
    secrets: Vec<SecretChange>,
    /// The last commit failed.
    stuck: Option<(u32, Failure)>,
}

impl Held {
    /// A token whose journal ends in `state`.
    pub fn new(state: TokenState) -> Self {
        Self { state, ..Self::default() }
    }

    /// The state, pending notes included.
    pub fn state(&self) -> &TokenState {
        &self.state
    }

    /// Why the journal cannot be written, where it cannot.
    pub fn stuck(&self) -> Option<&Failure> {
        self.stuck.as_ref().map(|(_, failure)| failure)
    }

    /// Notes that `event` happened at `at`. It is durable after the next [`Machine::run`].
    pub fn note(&mut self, token: &TokenPolicy, at: Time, event: Event) {
        let erased = erased(&self.state, &event);
        self.secrets.extend(erased.into_iter().map(|(generation, revision)| SecretChange::Erase {
            slot: SecretSlot { token: token.name.clone(), generation, revision },
        }));
        apply(&mut self.state, at, &event);
        self.pending.push((at, event));
    }

    fn keep(&mut self, slot: SecretSlot, parts: SecretParts) {
        self.secrets.push(SecretChange::Keep { slot, parts });
    }
}

/// What a run depends on besides the token itself.
#[derive(Clone, Debug)]
pub struct Context {
    pub policy: Arc<TokenPolicy>,
    /// The token is in the inventory.
    pub wanted: bool,
    pub abilities: Arc<Abilities>,
    pub skew: Span,
    pub listing: Option<Arc<Listing>>,
}

impl Context {
    /// The situation of a token at `now`.
    pub fn situation<'a>(&'a self, state: &'a TokenState, memo: &'a Memo, now: Time) -> Situation<'a> {
        Situation {
            policy: &self.policy,
            wanted: self.wanted,
            state,
            memo,
            abilities: &self.abilities,
            skew: self.skew,
            listing: self.listing.as_deref(),
            now,
        }
    }
}

/// A record's body. Stored state.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub at: Time,
    #[serde(flatten)]
    pub event: Event,
}

/// Drives tokens: the one implementation of a rotation's steps.
#[derive(Debug)]
pub struct Machine<E, J, C> {
    pub effects: E,
    pub journal: J,
    pub clock: C,
    pub instance: InstanceId,
}

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    /// Does everything that can be done for a token now, and tells when to come back.
    pub async fn run(&self, held: &mut Held, context: &Context) -> Rest {
        loop {
            let now = self.clock.now();
            if held.stuck.is_some() && self.flush(held, context).await.is_err() {
                return self.stuck(held);
            }
            match decide(&context.situation(&held.state, &held.memo, now)) {
                Step::Note(event) => held.note(&context.policy, now, event),
                Step::Act(action) => {
                    if self.flush(held, context).await.is_err() {
                        return self.stuck(held);
                    }
                    self.act(held, context, action).await;
                }
                Step::Rest(rest) => {
                    if self.flush(held, context).await.is_err() {
                        return self.stuck(held);
                    }
                    return rest;
                }
            }
        }
    }

    /// Makes everything that was noted durable, and then tells of it.
    async fn flush(&self, held: &mut Held, context: &Context) -> Result<(), Failure> {
        if held.pending.is_empty() && held.secrets.is_empty() {
            return Ok(());
        }
        let token = &context.policy.name;
        let records = held.pending.iter().map(|(at, event)| draft(*at, event)).collect::<Result<_, _>>();
        let state = serde_json::to_string(&held.state);
        let commit = match (records, state) {
            (Ok(records), Ok(state)) => Ok(Commit {
                token: token.clone(),
                at: held.pending.last().map_or_else(|| self.clock.now(), |(at, _)| *at),
                records,
                state,
                secrets: held.secrets.clone(),
            }),
            (Err(error), _) | (_, Err(error)) => Err(Failure::new(FailureCode::Journal, error.to_string())),
        };
        let committed = match commit {
            Ok(commit) => self.journal.commit(commit).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = committed {
            let attempts = held.stuck.as_ref().map_or(0, |(attempts, _)| *attempts).saturating_add(1);
            held.stuck = Some((attempts, failure.clone()));
            return Err(failure);
        }
        held.stuck = None;
        held.secrets.clear();
        for (at, event) in std::mem::take(&mut held.pending) {
            self.effects.announce(token, at, &event, &held.state).await;
        }
        Ok(())
    }

    fn stuck(&self, held: &Held) -> Rest {
        let attempts = held.stuck.as_ref().map_or(1, |(attempts, _)| *attempts);
        let wait = backoff::next(attempts, Some(Span::minutes(5)), self.effects.draw());
        Rest { until: Some(self.clock.now() + wait), reason: Reason::JournalUnwritable, next: None }
    }

    async fn act(&self, held: &mut Held, context: &Context, action: Action) {
        match action {
            Action::Adopt => self.adopt(held, context).await,
            Action::Begin(reason) => self.begin(held, context, reason).await,
            Action::Mint => self.mint(held, context).await,
            Action::Search => self.search(held, context).await,
            Action::RevokeOrphan(remote) => self.revoke_orphan(held, context, remote).await,
            Action::Verify => self.verify(held, context).await,
            Action::Write(stores) => self.write(held, context, &stores, false).await,
            Action::Notify(hooks) => self.notify(held, context, &hooks, false).await,
            Action::Inspect => {
                self.inspect(held, context).await;
            }
            Action::Revoke => self.revoke(held, context).await,
            Action::Prove => self.prove(held, context).await,
            Action::Restore(stores) => self.write(held, context, &stores, true).await,
            Action::Renotify(hooks) => self.notify(held, context, &hooks, true).await,
            Action::RevokeCandidate => self.revoke_candidate(held, context).await,
            Action::BeginRenewal => self.begin_renewal(held, context).await,
            Action::Renew => self.renew(held, context).await,
            Action::ExamineRenewal => self.examine_renewal(held, context).await,
            Action::VerifyRenewed => self.verify_renewed(held, context).await,
            Action::Examine(suspicion) => self.examine(held, context, suspicion).await,
            Action::Reap(remnant, remote) => self.reap(held, context, remnant, remote).await,
        }
    }

    fn note(&self, held: &mut Held, context: &Context, event: Event) {
        held.note(&context.policy, self.clock.now(), event);
    }

    /// When a step that failed is tried again.
    fn next_try(&self, held: &Held, attempts: u32, not_before: Option<Time>) -> Time {
        let now = self.clock.now();
        let expires = held.state.phase.current().and_then(|current| current.generation.remote.expires.time());
        let wait = backoff::next(attempts, expires.map(|expires| expires - now), self.effects.draw());
        not_before.into_iter().chain(Some(now + wait)).max().unwrap_or(now + wait)
    }

    fn postpone(&self, held: &mut Held, context: &Context, not_before: Option<Time>, failure: Failure) {
        let attempts = held.state.retry.as_ref().map_or(0, |retry| retry.attempts).saturating_add(1);
        let next = self.next_try(held, attempts, not_before);
        self.note(held, context, Event::Postponed { failure, next });
    }

    /// When a rotation that ended without a handover is tried again.
    fn next_rotation(&self, held: &Held, not_before: Option<Time>) -> Time {
        self.next_try(held, held.state.failed_rotations.saturating_add(1), not_before)
    }

    async fn adopt(&self, held: &mut Held, context: &Context) {
        let policy = &context.policy;
        let parts = match self.effects.adopt(policy).await {
            Ok(parts) => parts,
            Err(failure) => return self.postpone(held, context, None, failure),
        };
        let initial = policy.initial.as_ref();
        let mut remote = Remote {
            id: initial.and_then(|initial| initial.id.clone()),
            expires: initial.and_then(|initial| initial.expires).map_or(Expiry::Unknown, Expiry::At),
            refresh_expires: None,
            renewable_until: None,
            facts: std::collections::BTreeMap::new(),
        };
        if context.abilities.can.verifies {
            let address = Address { account: &policy.account.name, params: &policy.params };
            let subject = Subject { secret: Some(parts.clone()), ..Subject::default() };
            match self.effects.verify(address, &subject).await {
                Outcome::Done(Verdict::Alive { id, expires }) => {
                    remote.id = remote.id.or(id);
                    remote.expires = if remote.expires == Expiry::Unknown {
                        expires.unwrap_or(Expiry::Unknown)
                    } else {
                        remote.expires
                    };
                }
                Outcome::Done(Verdict::Dead(failure)) | Outcome::Refused(failure) | Outcome::Ambiguous(failure) => {
                    return self.postpone(held, context, None, failure);
                }
                Outcome::Later { not_before, failure } => return self.postpone(held, context, not_before, failure),
            }
        }
        let now = self.clock.now();
        let generation = Generation {
            number: GenerationNo::ADOPTED,
            account: policy.account.name.clone(),
            params: None,
            revision: 0,
            marker: None,
            remote,
            minted_at: now,
            issued_at: now,
            fingerprints: self.effects.fingerprints(&parts),
        };
        held.keep(slot(policy, &generation), parts);
        self.note(held, context, Event::Adopted { generation });
    }

    /// The stores that could not be written now, with the reason of the first.
    async fn preflight(&self, policy: &TokenPolicy) -> (usize, Option<Failure>) {
        let tested = join_all(policy.stores.iter().map(|store| async {
            let result = self.effects.preflight(store).await;
            result.map_err(|failure| Failure::new(failure.code, format!("{}: {}", store.key, failure.detail)))
        }));
        let mut failures: Vec<Failure> = tested.await.into_iter().filter_map(Result::err).collect();
        let count = failures.len();
        (count, (count > 0).then(|| failures.swap_remove(0)))
    }

    async fn begin(&self, held: &mut Held, context: &Context, reason: Reason) {
        let policy = &context.policy;
        let (failing, failure) = self.preflight(policy).await;
        if let Some(failure) = failure {
            // Consumers without a usable secret get the new one in those stores that can be written; the others get it
            // as soon as they can. Without any, nothing is begun.
            let now = self.clock.now();
            let usable = held.state.phase.current().is_some_and(|current| !current.unusable(now));
            if usable || failing == policy.stores.len() {
                return self.postpone(held, context, None, failure);
            }
        }
        let rotation = self.effects.rotation_id();
        let number = held.state.last_number.next();
        let intent = self.intent(context, rotation, number, reason);
        held.memo.fresh = Some(rotation);
        self.note(held, context, Event::Intended { intent });
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

    async fn mint(&self, held: &mut Held, context: &Context) {
        held.memo.fresh = None;
        let Phase::Intended { intent, .. } = &held.state.phase else { return };
        let intent = intent.clone();
        let address = Address { account: &intent.account, params: &intent.params };
        let want = Want { marker: intent.marker.clone(), lifetime: context.policy.lifetime };
        match self.effects.mint(address, &want).await {
            Outcome::Done(minted) => self.minted(held, context, intent, minted),
            Outcome::Later { not_before, failure } => {
                let next = self.next_rotation(held, not_before);
                self.note(held, context, Event::MintRefused { failure, next });
            }
            Outcome::Refused(failure) => {
                let next = self.next_rotation(held, None);
                self.note(held, context, Event::MintRefused { failure, next });
            }
            Outcome::Ambiguous(failure) => self.note(held, context, Event::MintDoubted { failure }),
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
        };
        held.keep(slot(&context.policy, &generation), minted.secret);
        let candidate = Candidate {
            generation,
            rotation: intent.rotation,
            delivery: Delivery::default(),
            objection: minted.objection,
        };
        self.note(held, context, Event::Minted { candidate: Box::new(candidate) });
    }

    async fn search(&self, held: &mut Held, context: &Context) {
        let Phase::Searching { intent, search, .. } = &held.state.phase else { return };
        let (intent, search) = (intent.clone(), search.clone());
        let address = Address { account: &intent.account, params: &intent.params };
        // Between the last look and the end of the settling time a lost mint may still take effect.
        let settled = search.since + context.abilities.settle;
        let now = self.clock.now();
        match self.effects.list(address, now).await {
            Outcome::Done(listing) => {
                if let Some(entry) = listing.named(intent.marker.as_str()).find(|entry| !entry.dead) {
                    let remote = entry.remote.clone();
                    self.note(held, context, Event::OrphanFound { remote });
                } else if listing.is_complete() && listing.at() >= settled {
                    let lifetime = context.policy.lifetime.unwrap_or(Span::days(366));
                    let until = search.since.checked_add_signed(lifetime + Span::days(1));
                    let remnant = Remnant::LostMint { marker: intent.marker, at: intent.at, until };
                    let next = self.next_rotation(held, None);
                    self.note(held, context, Event::SearchEnded { remnant, next });
                } else {
                    let attempts = held.state.retry.as_ref().map_or(0, |retry| retry.attempts).saturating_add(1);
                    let next = self.next_try(held, attempts, None).min(settled.max(now + Span::milliseconds(100)));
                    self.note(held, context, Event::Postponed { failure: search.failure, next });
                }
            }
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Refused(failure) | Outcome::Ambiguous(failure) => self.postpone(held, context, None, failure),
        }
    }

    async fn revoke_orphan(&self, held: &mut Held, context: &Context, remote: Remote) {
        let Phase::Searching { intent, .. } = &held.state.phase else { return };
        let intent = intent.clone();
        let address = Address { account: &intent.account, params: &intent.params };
        match self.effects.revoke(address, &named(&intent.marker, remote)).await {
            Outcome::Done(_) => {
                let next = self.next_rotation(held, None);
                self.note(held, context, Event::OrphanRevoked { next });
            }
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Refused(failure) | Outcome::Ambiguous(failure) => self.postpone(held, context, None, failure),
        }
    }

    async fn verify(&self, held: &mut Held, context: &Context) {
        let Phase::Minted { candidate, .. } = &held.state.phase else { return };
        let generation = candidate.generation.clone();
        let secret = match self.secret(context, &generation).await {
            Ok(secret) => secret,
            Err(why) if why.code == FailureCode::SecretUnreadable => {
                return self.note(held, context, Event::UndoBegun { why, restore: false });
            }
            Err(failure) => return self.postpone(held, context, None, failure),
        };
        let overdue = self.clock.now() >= generation.minted_at + context.policy.verify_timeout;
        match self.effects.verify(address(context, &generation), &subject(&generation, Some(secret))).await {
            Outcome::Done(Verdict::Alive { id, expires }) => {
                let id = id.filter(|_| generation.remote.id.is_none());
                self.note(held, context, Event::Verified { proven: true, id, expires });
            }
            Outcome::Done(Verdict::Dead(why)) if overdue => {
                self.note(held, context, Event::UndoBegun { why, restore: false });
            }
            Outcome::Later { failure: why, .. } | Outcome::Refused(why)
                if overdue && matches!(why.code, FailureCode::Forbidden | FailureCode::Unauthorized) =>
            {
                self.note(held, context, Event::UndoBegun { why, restore: false });
            }
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Done(Verdict::Dead(failure)) | Outcome::Refused(failure) | Outcome::Ambiguous(failure) => {
                self.postpone(held, context, None, failure);
            }
        }
    }

    /// Writes the candidate's secret, or the current one's where there is no candidate or it is being taken back.
    async fn write(&self, held: &mut Held, context: &Context, stores: &[StoreKey], restore: bool) {
        let generation = match (&held.state.phase, restore) {
            (Phase::Verified { candidate, .. }, false) => candidate.generation.clone(),
            (phase, _) => match phase.current() {
                Some(current) => current.generation.clone(),
                None => return,
            },
        };
        let secret = match self.secret(context, &generation).await {
            Ok(secret) => secret,
            Err(failure) => return self.unreadable(held, context, &generation, failure),
        };
        let targets = context.policy.stores.iter().filter(|store| stores.contains(&store.key));
        let written = join_all(targets.map(|store| async {
            let outcome = match secret.part(&store.part) {
                Some(part) => self.effects.write(store, part).await,
                None => Outcome::Refused(Failure::new(
                    FailureCode::StoreRefused,
                    format!("the secret has no part `{}`", store.part),
                )),
            };
            (store.key.clone(), outcome.into_result())
        }))
        .await;
        for (store, result) in written {
            let event = match result {
                Ok(()) => Event::StoreWritten { store },
                Err(failure) => {
                    let rows = delivery(&held.state.phase).map(|delivery| &delivery.stores);
                    let next = self.next_try(held, attempts(rows.and_then(|rows| rows.get(&store))), None);
                    Event::StoreFailed { store, failure, next }
                }
            };
            self.note(held, context, event);
        }
    }

    /// Deals with a secret that the journal does not hand out.
    fn unreadable(&self, held: &mut Held, context: &Context, generation: &Generation, failure: Failure) {
        let lost = failure.code == FailureCode::SecretUnreadable;
        let candidate = held.state.phase.candidate().is_some_and(|it| it.generation.number == generation.number);
        match (lost, candidate) {
            (true, true) => self.note(held, context, Event::UndoBegun { why: failure, restore: false }),
            (true, false) => self.note(held, context, Event::SecretLost { number: generation.number, failure }),
            (false, _) => self.postpone(held, context, None, failure),
        }
    }

    async fn notify(&self, held: &mut Held, context: &Context, hooks: &[HookKey], rolled_back: bool) {
        let rotation = match &held.state.phase {
            Phase::Delivered { candidate, .. } | Phase::Undoing { candidate, .. } => candidate.rotation,
            Phase::Active { retiring, .. } => retiring.rotation,
            // Owed after the rotation was over: the generation and its revision tell the delivery.
            phase => match phase.current() {
                Some(current) => delivery_id(current),
                None => return,
            },
        };
        let rows = delivery(&held.state.phase).map(|delivery| delivery.hooks.clone()).unwrap_or_default();
        let targets = context.policy.hooks.iter().filter(|hook| hooks.contains(&hook.key));
        let rows = &rows;
        let results = join_all(targets.map(|hook| async move {
            let attempt = attempts(rows.get(&hook.key));
            let occasion = Occasion { token: context.policy.name.clone(), rotation, attempt, rolled_back };
            (hook, attempt, self.effects.run_hook(hook, &occasion).await.into_result())
        }))
        .await;
        for (hook, attempt, result) in results {
            let hook_key = hook.key.clone();
            let event = match result {
                Ok(()) => Event::HookSucceeded { hook: hook_key },
                Err(failure) if hook.on_failure == OnFailure::Continue => Event::HookWaived { hook: hook_key, failure },
                Err(failure) => Event::HookFailed { hook: hook_key, failure, next: self.next_try(held, attempt, None) },
            };
            self.note(held, context, event);
        }
    }

    /// Compares every store with what was delivered; true where all are as they should be.
    async fn inspect(&self, held: &mut Held, context: &Context) -> bool {
        let now = self.clock.now();
        held.memo.inspected = Some(now);
        let Some(current) = held.state.phase.current() else { return true };
        let delivered = context.policy.stores.iter().filter(|store| current.delivery.has_store(&store.key));
        let targets = delivered.filter_map(|store| Some((store, current.generation.fingerprints.get(&store.part)?)));
        let conditions = join_all(targets.map(|(store, fingerprint)| async move {
            (store.key.clone(), self.effects.inspect(store, fingerprint).await)
        }))
        .await;
        let revoke_at = match held.state.phase {
            Phase::Active { .. } => now.checked_add_signed(context.policy.grace),
            _ => None,
        };
        let mut fine = true;
        for (store, condition) in conditions {
            let found = match condition {
                Condition::Same => continue,
                Condition::Drifted(found) => found,
                Condition::Unreadable(failure) => failure.to_string(),
            };
            fine = false;
            self.note(held, context, Event::StoreOwed { store, found, revoke_at });
        }
        fine
    }

    async fn revoke(&self, held: &mut Held, context: &Context) {
        // A consumer whose store was set back to the old secret must get the new one before the old one dies.
        let usable = held.state.phase.current().is_some_and(|current| !current.unusable(self.clock.now()));
        if context.wanted && usable && !self.inspect(held, context).await {
            return;
        }
        let Phase::Active { retiring, .. } = &held.state.phase else { return };
        let generation = retiring.generation.clone();
        let secret = if context.abilities.revokes_self {
            match self.secret(context, &generation).await {
                Ok(secret) => Some(secret),
                Err(failure) => return self.postpone(held, context, None, failure),
            }
        } else {
            None
        };
        match self.effects.revoke(address(context, &generation), &subject(&generation, secret)).await {
            Outcome::Done(gone) => {
                let already = gone == crate::provider::Gone::Already;
                self.note(held, context, Event::Revoked { already });
            }
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Refused(failure) | Outcome::Ambiguous(failure) => self.postpone(held, context, None, failure),
        }
    }

    async fn prove(&self, held: &mut Held, context: &Context) {
        let Phase::Revoked { retiring, .. } = &held.state.phase else { return };
        let generation = retiring.generation.clone();
        let tried = held.state.retry.as_ref().map_or(0, |retry| retry.attempts);
        let Ok(secret) = self.secret(context, &generation).await else {
            return self.note(held, context, Event::Retired { proven: false });
        };
        match self.effects.verify(address(context, &generation), &subject(&generation, Some(secret))).await {
            Outcome::Done(Verdict::Dead(_)) => self.note(held, context, Event::Retired { proven: true }),
            Outcome::Done(Verdict::Alive { .. }) => {
                let failure = Failure::new(FailureCode::StillAlive, "");
                if tried < PROOFS {
                    return self.postpone(held, context, None, failure);
                }
                let next = self.next_try(held, tried.saturating_add(1), None);
                self.note(held, context, Event::FoundAlive { failure, next });
            }
            Outcome::Later { not_before, failure } if tried < PROOFS => {
                self.postpone(held, context, not_before, failure);
            }
            Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Ambiguous(_) => {
                self.note(held, context, Event::Retired { proven: false });
            }
        }
    }

    async fn revoke_candidate(&self, held: &mut Held, context: &Context) {
        let Phase::Undoing { candidate, .. } = &held.state.phase else { return };
        let generation = candidate.generation.clone();
        let secret = if context.abilities.revokes_self { self.secret(context, &generation).await.ok() } else { None };
        match self.effects.revoke(address(context, &generation), &subject(&generation, secret)).await {
            Outcome::Done(_) => {
                let next = self.next_rotation(held, None);
                self.note(held, context, Event::Undone { remnant: None, next });
            }
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Refused(failure) | Outcome::Ambiguous(failure) => self.postpone(held, context, None, failure),
        }
    }

    async fn begin_renewal(&self, held: &mut Held, context: &Context) {
        let Some(current) = held.state.phase.current() else { return };
        let (number, expired) = (current.generation.number, current.generation.expired(self.clock.now()));
        let (_, failure) = self.preflight(&context.policy).await;
        // While the old secret works, a renewal that cannot be delivered would take it from its consumers.
        if let Some(failure) = failure.filter(|_| !expired) {
            return self.postpone(held, context, None, failure);
        }
        let rotation = self.effects.rotation_id();
        let intent = self.intent(context, rotation, number, Reason::Renewal);
        held.memo.fresh = Some(rotation);
        self.note(held, context, Event::RenewalIntended { intent });
    }

    async fn renew(&self, held: &mut Held, context: &Context) {
        held.memo.fresh = None;
        let Phase::Renewing { current, intent, .. } = &held.state.phase else { return };
        let (old, intent) = (current.generation.clone(), intent.clone());
        let secret = match self.secret(context, &old).await {
            Ok(secret) => secret,
            Err(failure) => {
                let spent = failure.code == FailureCode::SecretUnreadable;
                let next = self.next_rotation(held, None);
                return self.note(held, context, Event::RenewalRefused { failure, next, spent });
            }
        };
        let want = Want { marker: intent.marker, lifetime: context.policy.lifetime };
        let outcome = self.effects.renew(address(context, &old), &want, &subject(&old, Some(secret))).await;
        match outcome {
            Outcome::Done(minted) => {
                let mut remote = minted.remote;
                remote.id = remote.id.or(old.remote.id);
                remote.renewable_until = remote.renewable_until.or(old.remote.renewable_until);
                let generation = Generation {
                    revision: old.revision.saturating_add(1),
                    remote,
                    issued_at: self.clock.now(),
                    fingerprints: self.effects.fingerprints(&minted.secret),
                    ..old
                };
                held.keep(slot(&context.policy, &generation), minted.secret);
                self.note(held, context, Event::Renewed { generation: Box::new(generation) });
            }
            Outcome::Later { not_before, failure } => {
                let next = self.next_rotation(held, not_before);
                self.note(held, context, Event::RenewalRefused { failure, next, spent: false });
            }
            Outcome::Refused(failure) => {
                let next = self.clock.now();
                self.note(held, context, Event::RenewalRefused { failure, next, spent: true });
            }
            Outcome::Ambiguous(failure) => self.note(held, context, Event::RenewalDoubted { failure }),
        }
    }

    async fn examine_renewal(&self, held: &mut Held, context: &Context) {
        let tried = held.state.retry.as_ref().map_or(0, |retry| retry.attempts);
        match self.ask(held, context).await {
            Outcome::Done(Verdict::Alive { .. }) => self.note(held, context, Event::RenewalExamined { dead: None }),
            Outcome::Done(Verdict::Dead(failure)) => {
                self.note(held, context, Event::RenewalExamined { dead: Some(failure) });
            }
            Outcome::Later { not_before, failure } if tried < PROOFS => {
                self.postpone(held, context, not_before, failure);
            }
            Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Ambiguous(_) => {
                self.note(held, context, Event::RenewalExamined { dead: None });
            }
        }
    }

    async fn verify_renewed(&self, held: &mut Held, context: &Context) {
        let Phase::Renewed { current, .. } = &held.state.phase else { return };
        let overdue = self.clock.now() >= current.generation.issued_at + context.policy.verify_timeout;
        match self.ask(held, context).await {
            Outcome::Done(Verdict::Alive { .. }) => self.note(held, context, Event::RenewalVerified { proven: true }),
            Outcome::Done(Verdict::Dead(failure)) if overdue => {
                self.note(held, context, Event::RenewalRejected { failure });
            }
            Outcome::Done(Verdict::Dead(failure)) => self.postpone(held, context, None, failure),
            // The secret before it died with the renewal: consumers are better off with one that is not proven.
            Outcome::Later { .. } | Outcome::Refused(_) | Outcome::Ambiguous(_) => {
                self.note(held, context, Event::RenewalVerified { proven: false });
            }
        }
    }

    async fn examine(&self, held: &mut Held, context: &Context, suspicion: Failure) {
        if !context.abilities.can.verifies {
            return self.note(held, context, Event::FoundDead { failure: suspicion });
        }
        held.memo.examined = Some(self.clock.now());
        match self.ask(held, context).await {
            Outcome::Done(Verdict::Dead(failure)) => self.note(held, context, Event::FoundDead { failure }),
            // Alive in spite of the listing, or nobody can tell now: looked at again after the next listing.
            Outcome::Done(Verdict::Alive { .. })
            | Outcome::Later { .. }
            | Outcome::Refused(_)
            | Outcome::Ambiguous(_) => {}
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

    async fn reap(&self, held: &mut Held, context: &Context, remnant: Remnant, remote: Remote) {
        let Remnant::LostMint { marker, .. } = &remnant else { return };
        let address = Address { account: &context.policy.account.name, params: &context.policy.params };
        match self.effects.revoke(address, &named(marker, remote)).await {
            Outcome::Done(_) => self.note(held, context, Event::RemnantEnded { remnant, revoked: true }),
            Outcome::Later { not_before, failure } => self.postpone(held, context, not_before, failure),
            Outcome::Refused(failure) | Outcome::Ambiguous(failure) => self.postpone(held, context, None, failure),
        }
    }

    /// The secret of a generation, out of the journal.
    async fn secret(&self, context: &Context, generation: &Generation) -> Result<SecretParts, Failure> {
        let found = self.journal.secret(&slot(&context.policy, generation)).await?;
        found.ok_or_else(|| Failure::new(FailureCode::SecretUnreadable, "the journal does not hold it"))
    }
}

/// The generations and revisions whose secrets end with `event`.
fn erased(state: &TokenState, event: &Event) -> Vec<(GenerationNo, u32)> {
    let ended = match (event, &state.phase) {
        (Event::Retired { .. } | Event::LeftToExpire { .. }, phase) => phase.retiring().map(|it| &it.generation),
        (Event::Undone { .. }, phase) => phase.candidate().map(|it| &it.generation),
        // The revision before the one that was renewed.
        (Event::RenewalVerified { .. } | Event::RenewalRejected { .. }, phase) => {
            let current = phase.current().map(|it| &it.generation).filter(|generation| generation.revision > 0);
            return current.map(|it| (it.number, it.revision - 1)).into_iter().collect();
        }
        _ => None,
    };
    ended.map(|generation| (generation.number, generation.revision)).into_iter().collect()
}

fn draft(at: Time, event: &Event) -> Result<Draft, serde_json::Error> {
    let body = serde_json::to_string(&Line { at, event: event.clone() })?;
    Ok(Draft { kind: event.name(), body })
}

fn slot(policy: &TokenPolicy, generation: &Generation) -> SecretSlot {
    SecretSlot { token: policy.name.clone(), generation: generation.number, revision: generation.revision }
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

/// The rows of the delivery under way.
fn delivery(phase: &Phase) -> Option<&Delivery> {
    match phase {
        Phase::Verified { candidate, .. } | Phase::Delivered { candidate, .. } => Some(&candidate.delivery),
        Phase::Undoing { undo, .. } => Some(&undo.restored),
        phase => phase.current().map(|current| &current.delivery),
    }
}

/// The number of the attempt that comes next.
fn attempts(progress: Option<&Progress>) -> u32 {
    match progress {
        Some(Progress::Failed(retry)) => retry.attempts.saturating_add(1),
        Some(Progress::Done { .. }) | None => 1,
    }
}

/// The idempotency key of a delivery that no rotation owns: an adoption, a renewal, a repaired store.
fn delivery_id(current: &Current) -> RotationId {
    let generation = &current.generation;
    let text = format!("{}/{}/{}", generation.number, generation.revision, generation.issued_at.timestamp_millis());
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut id = [0; 6];
    id.copy_from_slice(&digest.as_ref()[..6]);
    RotationId::new(id)
}
