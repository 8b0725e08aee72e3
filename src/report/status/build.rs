//! From inventory, journal and what a running daemon knows to a [`Status`].

use std::collections::{BTreeMap, BTreeSet};

use crate::account::{AccountHealth, AccountState};
use crate::clock::Time;
use crate::inventory::{AccountPolicy, Inventory, TokenPolicy};
use crate::names::TokenName;
use crate::outcome::Failure;
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
    pub progress: Progress<'a>,
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
pub enum Progress<'a> {
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
    pub health: Option<&'a AccountHealth>,
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
        let progress = abilities.get(&policy.account.name).map_or(Progress::Busy, Progress::Asleep);
        let subject = Subject {
            name: &policy.name,
            policy: Some(policy),
            wanted: true,
            state,
            clock: ProviderClock::Unseen,
            proof: None,
            progress,
        };
        tokens.push(token(&subject, now));
    }
    for (name, state) in states.iter().filter(|(name, _)| !inventory.tokens.contains_key(*name)) {
        let (clock, proof) = (ProviderClock::Unseen, None);
        let subject = Subject { name, policy: None, wanted: false, state, clock, proof, progress: Progress::Busy };
        tokens.push(token(&subject, now));
    }
    tokens.sort_by(|one, other| one.name.cmp(&other.name));
    let accounts = inventory.accounts.values();
    let accounts =
        accounts.map(|policy| account(policy, None, counts.get(&policy.name).copied().unwrap_or_default(), now));
    Status { at: now, daemon: None, journal, accounts: accounts.collect(), tokens }
}

/// The status of one account with `tokens` tokens. `facts`: what a running daemon knows.
pub fn account(policy: &AccountPolicy, facts: Option<&AccountFacts<'_>>, tokens: usize, now: Time) -> AccountStatus {
    let health = facts.and_then(|facts| facts.health);
    let failure = facts.and_then(|facts| facts.failure);
    let (condition, since) = match health.map(|health| &health.state) {
        Some(AccountState::Fine) => (AccountCondition::Fine, None),
        Some(AccountState::Degraded { since, .. }) => (AccountCondition::Degraded, Some(*since)),
        None if failure.is_some() => (AccountCondition::Degraded, None),
        Some(AccountState::Unknown) | None => (AccountCondition::Unknown, None),
    };
    let noted = health.and_then(|health| health.last_failure.as_ref());
    let last_error = noted
        .map(|noted| ErrorStatus::new(noted.at, &noted.failure))
        .or_else(|| failure.map(|failure| ErrorStatus::new(now, failure)));
    AccountStatus {
        name: policy.name.clone(),
        provider: policy.provider.name.clone(),
        url: policy.url.to_string(),
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

/// The status of one token.
pub fn token(subject: &Subject<'_>, now: Time) -> TokenStatus {
    let Subject { name, policy, state, progress, .. } = *subject;
    let phase = &state.phase;
    let current = phase.current();
    let retry = state.retry.as_ref();
    let stuck = match progress {
        Progress::Resting { stuck, .. } => stuck,
        Progress::Asleep(_) | Progress::Busy => None,
    };
    let owed = owed(state);
    let account = policy.map(|policy| policy.account.name.clone());
    let last_error = stuck
        .map(|failure| ErrorStatus::new(now, failure))
        .or_else(|| state.last_failure.as_ref().map(|noted| ErrorStatus::new(noted.at, &noted.failure)));
    TokenStatus {
        name: name.clone(),
        account: account.or_else(|| current.map(|current| current.generation.account.clone())),
        provider: policy.map(|policy| policy.account.provider.name.clone()),
        condition: condition(subject, !owed.is_empty() || stuck.is_some(), now),
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
        next: outlook(subject, now),
        failures: retry.map_or(0, |retry| retry.attempts).max(state.failed_rotations),
        next_attempt: retry.map(|retry| retry.next),
        last_error,
        last_success: state.last_success,
        requested: state.requested,
        owed,
        orphans: state.orphans.iter().map(orphan).collect(),
    }
}

fn outlook(subject: &Subject<'_>, now: Time) -> Outlook {
    let Subject { policy, wanted, state, clock, progress, .. } = *subject;
    match (policy, progress) {
        (Some(policy), Progress::Asleep(abilities)) => {
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
        (Some(policy), Progress::Resting { rest, .. }) => Outlook::of_rest(rest, state, policy),
        (Some(_), Progress::Busy) => Outlook::of_phase(&state.phase, now),
        (None, _) => Outlook::nothing(Reason::LeftInventory),
    }
}

fn condition(subject: &Subject<'_>, owes: bool, now: Time) -> Condition {
    let state = subject.state;
    let failing = owes || state.retry.is_some() || state.failed_rotations > 0;
    let usable = state.phase.current().map(|current| !subject.reckoning(&current.generation, now).unusable(current));
    match usable {
        _ if !subject.wanted => Condition::Left,
        Some(false) => Condition::Down,
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

/// Stores and hooks that were tried in vain, of the delivery that is under way.
fn owed(state: &TokenState) -> Vec<OwedStatus> {
    let delivery = match &state.phase {
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
        }),
    };
    let stores = delivery.stores.iter().filter_map(|(key, progress)| row(OwedKind::Store, key.as_str(), progress));
    let hooks = delivery.hooks.iter().filter_map(|(key, progress)| row(OwedKind::Hook, key.as_str(), progress));
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
