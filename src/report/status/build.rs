//! From inventory, journal and what a running daemon knows to a [`Status`].

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Time;
use crate::endpoint::{EndpointHealth, EndpointState};
use crate::inventory::{AccountPolicy, Inventory, TokenPolicy};
use crate::names::{HookKey, StoreKey, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::provider::Abilities;
use crate::provider::{Expiry, ProviderClock, ProviderTime};
use crate::report::outlook::{Outlook, undisturbed};
use crate::rotation::decide::{Rest, Situation};
use crate::rotation::reason::Reason;
use crate::rotation::reckoning::{Proof, Reckoning};
use crate::rotation::state::{self, Generation, Orphan};
use crate::rotation::{Phase, TokenState};

use super::{
    AccountCondition, AccountStatus, Condition, ErrorStatus, GenerationStatus, JournalStatus, OrphanKind, OrphanStatus,
    OwedKind, OwedStatus, RetiringStatus, Status, TokenStatus,
};

/// One token with everything that its status is made of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a TokenName,
    /// What the inventory says of it, or said last. `None`: nobody knows.
    pub policy: Option<&'a TokenPolicy>,
    /// It is in the inventory.
    pub wanted: bool,
    /// What the journal says of it.
    pub state: &'a TokenState,
    /// The clock of its account, as far as a running daemon has seen it.
    pub clock: ProviderClock,
    /// When the provider accepted its secret last, as far as a running daemon knows.
    pub proof: Option<Proof>,
    /// What it is doing.
    pub activity: Activity<'a>,
}

impl Subject<'_> {
    /// What the ends of `generation` are reckoned from: as decisions do it.
    pub fn reckoning<'g>(&'g self, generation: &'g Generation, now: Time) -> Reckoning<'g> {
        let account = self.policy.map_or(&generation.account, |policy| &policy.account.name);
        Reckoning { now, account, clock: self.clock, proof: self.proof }
    }
}

/// What a token is doing.
#[derive(Clone, Copy, Debug)]
pub enum Activity<'a> {
    /// No daemon runs: what one would do if it were started now.
    Asleep(&'a Abilities),
    /// The daemon is busy with it.
    Busy,
    /// The daemon waits.
    Resting {
        /// For what.
        rest: &'a Rest,
        /// Why the journal cannot be written, where it cannot.
        stuck: Option<&'a Failure>,
    },
}

/// What a running daemon knows of an account.
#[derive(Clone, Copy, Debug)]
pub struct AccountFacts<'a> {
    /// `None`: it cannot be used at all, and `failure` says why.
    pub health: Option<&'a EndpointHealth>,
    /// The proxy that its requests go through, with who names it.
    pub proxy: Option<&'a str>,
    /// Why it cannot be used, or cannot be listed.
    pub failure: Option<&'a Failure>,
    /// When its tokens were last listed.
    pub last_listing: Option<Time>,
    /// Markers of live tokens that no generation accounts for.
    pub orphans: &'a BTreeSet<String>,
}

/// The status without a daemon. `states`: what the journal says.
pub fn build(
    inventory: &Inventory,
    states: &BTreeMap<TokenName, TokenState>,
    journal: JournalStatus,
    now: Time,
) -> Status {
    let abilities: BTreeMap<_, _> =
        inventory.accounts.values().map(|account| (&account.name, Abilities::of(&account.provider))).collect();
    let vacant = TokenState::default();
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    let mut tokens = Vec::with_capacity(inventory.tokens.len());
    for policy in inventory.tokens.values() {
        *counts.entry(&policy.account.name).or_default() += 1;
        let state = states.get(&policy.name).unwrap_or(&vacant);
        // Every token's account is one of the inventory's.
        let activity = abilities.get(&policy.account.name).map_or(Activity::Busy, Activity::Asleep);
        let subject = Subject {
            name: &policy.name,
            policy: Some(policy),
            wanted: true,
            state,
            clock: ProviderClock::Unseen,
            proof: None,
            activity,
        };
        tokens.push(token(&subject, now));
    }
    for (name, state) in states.iter().filter(|(name, state)| !inventory.tokens.contains_key(*name) && !state.is_over())
    {
        let (clock, proof) = (ProviderClock::Unseen, None);
        let subject = Subject { name, policy: None, wanted: false, state, clock, proof, activity: Activity::Busy };
        tokens.push(token(&subject, now));
    }
    tokens.sort_by(|one, other| one.name.cmp(&other.name));
    let accounts = inventory.accounts.values();
    let accounts =
        accounts.map(|policy| account(policy, None, counts.get(&policy.name).copied().unwrap_or_default(), now));
    Status { at: now, daemon: None, journal, fleet: None, accounts: accounts.collect(), tokens, channels: Vec::new() }
}

/// The status of one account with `tokens` tokens. `facts`: what a running daemon knows.
pub fn account(policy: &AccountPolicy, facts: Option<&AccountFacts<'_>>, tokens: usize, now: Time) -> AccountStatus {
    let health = facts.and_then(|facts| facts.health);
    let failure = facts.and_then(|facts| facts.failure);
    let (condition, since) = match health.map(|health| &health.state) {
        // An answer that helps nobody is no better than none: it is not the credential, but nothing is seen any more.
        Some(EndpointState::Fine) => match failing_since(health) {
            Some(since) => (AccountCondition::Degraded, Some(since)),
            None => (AccountCondition::Fine, None),
        },
        Some(EndpointState::Degraded { since, .. }) => (AccountCondition::Degraded, Some(*since)),
        None if failure.is_some() => (AccountCondition::Degraded, None),
        Some(EndpointState::Unknown) | None => (AccountCondition::Unknown, None),
    };
    let noted = health.and_then(|health| health.last_failure.as_ref());
    let last_error = noted
        .map(|noted| ErrorStatus::new(noted.at, &noted.failure))
        .or_else(|| failure.map(|failure| ErrorStatus::new(now, failure)));
    AccountStatus {
        name: policy.name.clone(),
        provider: policy.provider.name.clone(),
        url: policy.endpoint.url.to_string(),
        proxy: facts.and_then(|facts| facts.proxy).map(str::to_owned),
        condition,
        since,
        skew_ms: health.and_then(|health| health.skew).map(|skew| skew.num_milliseconds()),
        skew_is_worrying: health.is_some_and(|health| health.skew_is_worrying),
        blocked_until: health.and_then(|health| health.blocked_until).filter(|until| *until > now),
        last_success: health.and_then(|health| health.last_success),
        last_error,
        last_listing: facts.and_then(|facts| facts.last_listing),
        orphans: facts.map(|facts| facts.orphans.iter().cloned().collect()).unwrap_or_default(),
        requests: health.map_or(0, |health| health.requests),
        quota_left: health.and_then(|health| health.quota_left),
        allowance: health.and_then(|health| health.allowance),
        tokens,
    }
}

/// Since when the provider has answered nothing but errors of its own, where it has.
fn failing_since(health: Option<&EndpointHealth>) -> Option<Time> {
    let health = health?;
    let failed = health.last_failure.as_ref()?;
    let blind = failed.failure.code.is_outage() || failed.failure.code == FailureCode::NotUnderstood;
    let patient = failed.failure.code == FailureCode::RateLimited;
    let later = health.last_success.is_none_or(|success| success < failed.at);
    (blind && !patient && later).then_some(failed.at)
}

/// The status of one token.
pub fn token(subject: &Subject<'_>, now: Time) -> TokenStatus {
    let Subject { name, policy, state, activity, .. } = *subject;
    let phase = &state.phase;
    let current = phase.current();
    let retry = state.retry.as_ref();
    let stuck = match activity {
        Activity::Resting { stuck, .. } => stuck,
        Activity::Asleep(_) | Activity::Busy => None,
    };
    let owed = owed(subject);
    let next = outlook(subject, now);
    let over = is_over(subject, &next, now);
    let retry = retry.filter(|_| !over);
    let account = policy.map(|policy| policy.account.name.clone());
    let last_error = stuck
        .map(|failure| ErrorStatus::new(now, failure))
        .or_else(|| state.last_failure.as_ref().map(|noted| ErrorStatus::new(noted.at, &noted.failure)));
    TokenStatus {
        name: name.clone(),
        account: account.or_else(|| current.map(|current| current.generation.account.clone())),
        provider: policy.map(|policy| policy.account.provider.name.clone()),
        condition: condition(subject, !owed.is_empty() || stuck.is_some(), &next, now),
        phase: phase.name().to_owned(),
        paused: policy.is_some_and(|policy| policy.paused),
        current: current.map(|current| generation(subject, &current.generation, now)),
        dead: current.and_then(|current| current.dead.as_ref()).map(|dead| ErrorStatus::new(dead.at, &dead.failure)),
        candidate: phase.candidate().map(|candidate| generation(subject, &candidate.generation, now)),
        retiring: phase.retiring().map(|retiring| RetiringStatus {
            generation: generation(subject, &retiring.generation, now),
            handed_over: retiring.handed_over,
            revoke_at: retiring.revoke_at,
        }),
        next,
        failures: retry.map_or(0, |retry| retry.attempts).max(if over { 0 } else { state.failed_rotations }),
        next_attempt: retry.map(|retry| retry.next),
        last_error,
        last_success: state.last_success,
        requested: state.requested,
        retirement: state.retirement.map(|retirement| retirement.revoke_at),
        owed,
        orphans: state.orphans.iter().map(orphan).collect(),
    }
}

fn outlook(subject: &Subject<'_>, now: Time) -> Outlook {
    let Subject { policy, wanted, state, clock, activity, .. } = *subject;
    match (policy, activity) {
        (Some(policy), Activity::Asleep(abilities)) => {
            let memo = undisturbed(now);
            Outlook::foresee(&Situation {
                policy,
                wanted,
                state,
                memo: &memo,
                abilities,
                clock,
                refused: None,
                listing: None,
                now,
            })
        }
        (Some(policy), Activity::Resting { rest, .. }) => Outlook::of_rest(rest, state, policy),
        (Some(_), Activity::Busy) => Outlook::of_phase(&state.phase, now),
        (None, _) => Outlook::nothing(Reason::LeftInventory),
    }
}

/// Law: the state tells what consumers hold. A generation counts once it is proven and in every store, and no longer than a
/// store holds it.
fn condition(subject: &Subject<'_>, owes: bool, next: &Outlook, now: Time) -> Condition {
    let state = subject.state;
    // What failed and is not tried again, because nothing is due, is over.
    let due = next.due.is_some_and(|due| due <= now);
    let tried = state.retry.is_some() || state.failed_rotations > 0 && due;
    // A place that is full keeps a rotation that is due from its beginning.
    let full = due && next.hold.as_deref() == Some(Reason::NoRoom.code());
    let failing = owes || full || tried && !is_over(subject, next, now);
    let usable = state.phase.current().map(|current| !subject.reckoning(&current.generation, now).unusable(current));
    match usable {
        _ if !subject.wanted => Condition::Left,
        // What its consumers hold works: the journal is what is behind.
        Some(false) if is_newer_in_store(state) => Condition::Failing,
        Some(false) => Condition::Down,
        Some(true) if lacks_a_store(subject) => Condition::Down,
        None if has_first(subject) => {
            if failing {
                Condition::Failing
            } else {
                Condition::Busy
            }
        }
        None => Condition::Missing,
        Some(true) if failing => Condition::Failing,
        Some(true) if state.phase.current().is_some_and(|current| current.replacement.is_some()) => Condition::Due,
        Some(true) => match state.phase {
            // An old generation that waits for its end is no work for now.
            Phase::Steady { .. } | Phase::Active { .. } => Condition::Fine,
            _ => Condition::Busy,
        },
    }
}

/// Whether what failed is tried no more, because nothing is due: a request was withdrawn, or the inventory changed.
fn is_over(subject: &Subject<'_>, next: &Outlook, now: Time) -> bool {
    let waits = subject.state.retry.as_ref().is_some_and(|retry| retry.next > now);
    let due = next.due.is_some_and(|due| due <= now);
    let rests = !matches!(subject.activity, Activity::Busy);
    rests && matches!(subject.state.phase, Phase::Steady { .. }) && !due && !waits
}

/// Whether a store does not hold what consumers are to use: it was changed or is new, and could not be written.
fn lacks_a_store(subject: &Subject<'_>) -> bool {
    let phase = &subject.state.phase;
    let Some((current, policy)) = phase.current().zip(subject.policy) else { return false };
    let newer = |key: &StoreKey| phase.candidate().is_some_and(|candidate| candidate.delivery.has_store(key));
    let failed = |key: &StoreKey| matches!(current.delivery.stores.get(key), Some(state::Progress::Failed(_)));
    policy.stores.iter().any(|store| failed(&store.key) && !newer(&store.key))
}

/// Whether consumers hold the first generation already, proven, although a hook keeps it from becoming current.
fn has_first(subject: &Subject<'_>) -> bool {
    let (Phase::Verified { candidate, .. } | Phase::Delivered { candidate, .. }) = &subject.state.phase else {
        return false;
    };
    let stores = subject.policy.map(|policy| &policy.stores);
    stores.is_some_and(|stores| stores.iter().all(|store| candidate.delivery.has_store(&store.key)))
}

fn is_newer_in_store(state: &TokenState) -> bool {
    state.retry.as_ref().is_some_and(|retry| retry.failure.code == FailureCode::StoreNewer)
}

/// A generation, its moments on our clock as decisions read them. An expiry that cannot be right is not shown as one.
fn generation(subject: &Subject<'_>, generation: &Generation, now: Time) -> GenerationStatus {
    let remote = &generation.remote;
    let reckoning = subject.reckoning(generation, now);
    let expires = match remote.expires {
        Expiry::At(_) => reckoning.expires(generation).map_or(Expiry::Unknown, Expiry::told),
        other => other,
    };
    GenerationStatus {
        number: generation.number,
        revision: generation.revision,
        marker: generation.marker.clone(),
        id: remote.id.clone(),
        minted_at: generation.minted_at,
        expires,
        expires_in_seconds: expires.here().map(|expires| (expires - now).num_seconds()),
        renewable_until: remote.renewable_until.and_then(|until| reckoning.earliest(generation, until)),
    }
}

/// Stores and hooks that were tried in vain, of the delivery that is under way. What left the inventory is owed no more.
fn owed(subject: &Subject<'_>) -> Vec<OwedStatus> {
    let delivery = match &subject.state.phase {
        Phase::Undoing { undo, .. } => Some(&undo.restored),
        phase => phase
            .candidate()
            .map(|candidate| &candidate.delivery)
            .or_else(|| phase.current().map(|current| &current.delivery)),
    };
    let Some(delivery) = delivery else { return Vec::new() };
    let row = |kind, key: &str, progress: &state::Progress| match progress {
        state::Progress::Done { .. } => None,
        state::Progress::Failed(retry) => Some(OwedStatus {
            kind,
            key: key.to_owned(),
            attempts: retry.attempts,
            since: retry.since,
            next: retry.next,
            error: retry.failure.to_string(),
            code: Some(retry.failure.code),
            help: retry.failure.code.remedy().to_owned(),
            runbook: retry.failure.code.runbook().map(str::to_owned),
        }),
    };
    let policy = subject.policy;
    let has_store = |key: &StoreKey| policy.is_none_or(|policy| policy.stores.iter().any(|store| store.key == *key));
    let has_hook = |key: &HookKey| policy.is_none_or(|policy| policy.hooks.iter().any(|hook| hook.key == *key));
    let stores = delivery
        .stores
        .iter()
        .filter(|(key, _)| has_store(key))
        .filter_map(|(key, progress)| row(OwedKind::Store, key.as_str(), progress));
    let hooks = delivery
        .hooks
        .iter()
        .filter(|(key, _)| has_hook(key))
        .filter_map(|(key, progress)| row(OwedKind::Hook, key.as_str(), progress));
    stores.chain(hooks).collect()
}

fn orphan(orphan: &Orphan) -> OrphanStatus {
    let (kind, number, id) = match orphan {
        Orphan::Unrevocable { number, id, .. } => (OrphanKind::Unrevocable, Some(*number), id.as_ref()),
        Orphan::UnknownMint { .. } => (OrphanKind::UnknownMint, None, None),
        Orphan::Deferred { generation, .. } => {
            (OrphanKind::Deferred, Some(generation.number), generation.remote.id.as_ref())
        }
    };
    OrphanStatus {
        kind,
        number,
        marker: orphan.marker().cloned(),
        id: id.cloned(),
        until: orphan.until().map(ProviderTime::here),
        next_attempt: orphan.retry().map(|retry| retry.next),
        error: orphan.retry().map(|retry| retry.failure.to_string()),
    }
}
