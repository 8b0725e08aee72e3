//! The reports of a running daemon: the status, gathered from what others may look at.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use crate::clock::{Clock, Time};
use crate::inventory::{AccountPolicy, Inventory, TokenPolicy};
use crate::journal::Journal as _;
use crate::journal::fleet::{FleetJournal, boot};
use crate::names::{AccountName, TokenName};
use crate::provider::{Abilities, ProviderClock};
use crate::report::explanation::{Explanation, OwnerStatus};
use crate::report::reload::ReloadAnswer;
use crate::report::status::{
    self, AccountFacts, AccountStatus, Activity, ChannelStatus, DaemonStatus, ElsewhereStatus, FleetStatus,
    JournalStatus, ReloadStatus, Status, Subject, UnownedStatus,
};
use crate::rotation::TokenState;
use crate::rotation::effects::Effects as _;
use crate::view::metrics::Measures;

use super::core::{Core, Poll};
use super::fleet::theirs::Theirs;
use super::fleet::{Fleet, hosts_status, idle_selectors};
use super::ownership::Manner;
use super::registry::View;
use super::{DaemonJournal, Running};

impl<C: Clock> Core<C, DaemonJournal> {
    /// Everything at this moment, of a process that does one thing and ends. `channels`: how those of the inventory fare.
    /// Waits for nobody: what is busy is shown as busy.
    pub fn status(&self, channels: Vec<ChannelStatus>) -> Status {
        let now = self.clock.now();
        let inventory = self.inventory();
        let mut counts: BTreeMap<AccountName, usize> = BTreeMap::new();
        let mut tokens = Vec::new();
        let mut journal_failure = None;
        for (name, token) in self.tokens.all() {
            let (policy, wanted, view) = (token.policy(), token.wanted(), token.view());
            if self.is_foreign(&policy.account.name) || !wanted && view.state.is_over() {
                continue;
            }
            if wanted {
                *counts.entry(policy.account.name.clone()).or_default() += 1;
            }
            let subject = subject(&name, &policy, wanted, &view, self.machine.effects.clock(&policy.account.name));
            tokens.push(status::token(&subject, now));
            journal_failure = journal_failure.or(view.stuck);
        }
        let polls = self.polls();
        let accounts = inventory.accounts.values().map(|policy| {
            let tokens = counts.get(&policy.name).copied().unwrap_or_default();
            self.account(policy, polls.get(&policy.name), tokens, now)
        });
        let accounts = accounts.filter(|account| account.tokens > 0 || !self.is_foreign(&account.name)).collect();
        let journal_failure = journal_failure.or_else(|| self.machine.journal.reachable().err());
        let journal = JournalStatus {
            state_dir: inventory.daemon.state_dir.display().to_string(),
            failure: journal_failure,
            unreadable: self.tokens.aside().into_values().collect(),
        };
        Status { at: now, daemon: None, journal, fleet: None, accounts, tokens, channels }
    }

    /// Why a token of this process is or is not rotated now. None where it does not know the token.
    pub fn explain(&self, name: &TokenName) -> Option<Explanation> {
        let now = self.clock.now();
        let token = self.tokens.get(name)?;
        let (policy, wanted, view) = (token.policy(), token.wanted(), token.view());
        let member = self.accounts.get(&policy.account.name);
        let abilities = member.as_ref().map(|member| member.abilities.as_ref());
        let subject = subject(name, &policy, wanted, &view, self.machine.effects.clock(&policy.account.name));
        let tokens = self.tokens.of(&policy.account.name).iter().filter(|(_, it)| it.wanted()).count();
        let account = self.account(&policy.account, self.polls().get(&policy.account.name), tokens, now);
        Some(Explanation::new(&subject, abilities, Some(account), now))
    }

    /// Whether an account of the inventory is another replica's of the fleet.
    fn is_foreign(&self, account: &AccountName) -> bool {
        let ownership = &self.machine.effects.ownership;
        ownership.manner() == Manner::Share && !ownership.owns(account)
    }

    fn account(&self, policy: &AccountPolicy, poll: Option<&Poll>, tokens: usize, now: Time) -> AccountStatus {
        let member = self.accounts.get(&policy.name);
        let client = member.as_ref().map(|member| member.client());
        let health = client.as_ref().and_then(|client| client.as_ref().ok()).map(|client| client.endpoint().health());
        let proxy =
            client.as_ref().and_then(|client| client.as_ref().ok()).and_then(|client| client.endpoint().proxy());
        let none = Poll::default();
        let poll = poll.unwrap_or(&none);
        let unusable = client.and_then(Result::err);
        let facts = AccountFacts {
            health: health.as_ref(),
            proxy: proxy.as_deref(),
            failure: unusable.as_ref().or(poll.failure.as_ref()),
            last_listing: poll.last,
            orphans: &poll.orphans,
        };
        status::account(policy, Some(&facts), tokens, now)
    }
}

impl<C: Clock> Running<C> {
    /// Everything at this moment. Waits for nobody: what is busy is shown as busy.
    pub fn status(&self) -> Status {
        let channels = self.notifier.channels(&self.core.inventory());
        let fleet = self.fleet_status();
        Status { daemon: Some(self.process()), fleet, ..self.core.status(channels) }
    }

    /// What the journal tells of tokens that other replicas look after. `None`: there is no fleet.
    pub async fn theirs(&self) -> Option<Arc<Theirs>> {
        let fleet = self.fleet.as_ref()?;
        let inventory = self.core.inventory();
        let accounts = inventory.accounts.keys().filter(|account| self.is_foreign(account)).cloned();
        Some(fleet.theirs(accounts.collect()).await)
    }

    /// The status with what `theirs` tells of tokens that other replicas look after.
    pub fn status_of_all(&self, theirs: Option<&Theirs>) -> Status {
        let mut status = self.status();
        let (Some(theirs), Some(fleet)) = (theirs, status.fleet.as_mut()) else { return status };
        fleet.unread = theirs.failure.as_ref().map(ToString::to_string);
        let owners = self.fleet.as_ref().map(Fleet::view).unwrap_or_default();
        let here = self.core.inventory();
        let mut inventory = Inventory::clone(&here);
        let known = |name: &TokenName| theirs.states.contains_key(name);
        // Of what could not be read, nothing is known but whose it is.
        inventory.tokens.retain(|name, policy| {
            let vacant = theirs.failure.is_none() && !theirs.unreadable.contains_key(name);
            self.is_elsewhere(policy) && (known(name) || vacant)
        });
        inventory.accounts.retain(|account, _| self.is_foreign(account));
        let about = JournalStatus { state_dir: String::new(), failure: None, unreadable: Vec::new() };
        // What left this inventory, and is looked after there until it is over.
        let left = |name: &TokenName, state: &TokenState| !here.tokens.contains_key(name) && !state.is_over();
        let shown = |name: &TokenName, state: &TokenState| inventory.tokens.contains_key(name) || left(name, state);
        let known: BTreeMap<_, _> = theirs.states.iter().filter(|(name, state)| shown(name, state)).collect();
        let homes = known.keys().filter(|name| !here.tokens.contains_key(**name));
        fleet.elsewhere.extend(homes.filter_map(|name| {
            let account = theirs.accounts.get(*name)?.clone();
            let owner = owners.presence.claims.get(&account).map(|claim| claim.replica.clone());
            Some(ElsewhereStatus { token: (*name).clone(), account, owner })
        }));
        let known = known.into_iter().map(|(name, state)| (name.clone(), state.clone())).collect();
        status.tokens.extend(status::build(&inventory, &known, about, status.at).tokens);
        status.tokens.sort_by(|one, other| one.name.cmp(&other.name));
        status.journal.unreadable.extend(theirs.unreadable.values().cloned());
        status
    }

    /// Whether another replica of the fleet looks after a token.
    fn is_elsewhere(&self, policy: &TokenPolicy) -> bool {
        self.is_foreign(&policy.account.name)
    }

    /// Whether an account of the inventory is not this replica's.
    pub(super) fn is_foreign(&self, account: &AccountName) -> bool {
        self.core.is_foreign(account)
    }

    fn fleet_status(&self) -> Option<FleetStatus> {
        let fleet = self.fleet.as_ref()?;
        let (view, settings) = (fleet.view(), fleet.settings());
        let inventory = self.core.inventory();
        let elsewhere = inventory.tokens.values().filter(|policy| self.is_elsewhere(policy));
        let elsewhere = elsewhere.map(|policy| ElsewhereStatus {
            token: policy.name.clone(),
            account: policy.account.name.clone(),
            owner: view.presence.claims.get(&policy.account.name).map(|claim| claim.replica.clone()),
        });
        let mut status = super::fleet::status(&settings.name, &view.presence, view.health.as_ref());
        let now = boot();
        status.unowned = view
            .free_since
            .iter()
            .map(|(account, since)| UnownedStatus {
                account: account.clone(),
                for_seconds: now.saturating_sub(*since).as_secs(),
            })
            .collect();
        status.elsewhere = elsewhere.collect();
        let tokens: Vec<_> = self.core.tokens.all().into_iter().filter(|(_, token)| token.wanted()).collect();
        let tokens: Vec<_> = tokens.iter().map(|(_, token)| (token.policy(), token.state())).collect();
        // What another replica looks after has gone on since.
        let tokens = tokens.iter().map(|(policy, state)| (&**policy, (!self.is_elsewhere(policy)).then_some(&**state)));
        let hosts = self.core.machine.effects.agents.hosts();
        status.hosts = hosts_status(&hosts, tokens);
        status.idle_selectors = idle_selectors(&inventory, &hosts);
        status.replica = Some(settings.host.clone());
        status.lease_left_ms = fleet.lease_left().map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        status.trouble = view.trouble;
        (status.leases_lost, status.accounts_taken) = (view.leases_lost, view.taken);
        Some(status)
    }

    /// Why a token is or is not rotated now. None where nobody knows the token. `theirs`: what is told of those that other
    /// replicas look after.
    pub fn explain(&self, name: &TokenName, theirs: Option<&Theirs>) -> Option<Explanation> {
        let policy = self.core.tokens.get(name).map(|token| token.policy());
        let told = theirs.and_then(|theirs| Some((theirs.states.get(name)?, theirs.accounts.get(name)?)));
        let account = policy.as_ref().map(|policy| &policy.account.name).or(told.map(|(_, account)| account))?.clone();
        if !self.is_foreign(&account) {
            return Some(self.core.explain(name)?.owned_by(self.owner_of(&account, false)));
        }
        let vacant = TokenState::default();
        let policy = self.core.inventory().tokens.get(name).cloned();
        let abilities = policy.as_ref().map(|policy| Abilities::of(&policy.account.provider));
        let subject = Subject {
            name,
            policy: policy.as_deref(),
            wanted: policy.is_some(),
            state: told.map_or(&vacant, |(state, _)| state),
            clock: ProviderClock::Unseen,
            proof: None,
            activity: abilities.as_ref().map_or(Activity::Busy, Activity::Asleep),
        };
        let explained = Explanation::new(&subject, abilities.as_ref(), None, self.core.clock.now());
        Some(Explanation { daemon: false, ..explained }.owned_by(self.owner_of(&account, true)))
    }

    /// Who looks after an account. `None`: there is no fleet. `journal`: what is told comes from the journal.
    pub(super) fn owner_of(&self, account: &AccountName, journal: bool) -> Option<OwnerStatus> {
        let claim = self.fleet.as_ref()?.view().presence.claims.remove(account);
        let (replica, claim) = claim.map(|claim| (claim.replica, claim.epoch)).unzip();
        Some(OwnerStatus { replica, claim, journal })
    }

    /// What is measured besides the status. `heartbeat`: when the scheduler last gave a sign of life; `refused`: whom the
    /// HTTP server refused.
    pub fn measures(&self, heartbeat: Time, refused: Vec<(&'static str, u64)>) -> Measures {
        let last = self.reloader.last();
        let members = self.core.accounts.all().into_iter();
        let traffic = members.filter_map(|(name, member)| Some((name, member.client().ok()?.endpoint().traffic())));
        Measures {
            heartbeat,
            read: last.at.unwrap_or(self.started),
            in_force_since: last.in_force_since.unwrap_or(self.started),
            steps: self
                .core
                .machine
                .effects
                .observers
                .tally
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .steps
                .clone(),
            traffic: traffic.collect(),
            commits: self.core.machine.journal.fleet().map(FleetJournal::commits),
            log_dropped: crate::telemetry::log::dropped(),
            refused,
        }
    }

    fn process(&self) -> DaemonStatus {
        let last = self.reloader.last();
        let reload = last.at.map(|at| ReloadStatus {
            at,
            answer: ReloadAnswer { applied: last.problems.is_empty(), changes: last.changes, problems: last.problems },
        });
        DaemonStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            inventory: self.reloader.watched().files.iter().map(|file| file.display().to_string()).collect(),
            reload,
        }
    }
}

/// A token of a running daemon, as its view shows it.
fn subject<'a>(
    name: &'a TokenName,
    policy: &'a TokenPolicy,
    wanted: bool,
    view: &'a View,
    clock: ProviderClock,
) -> Subject<'a> {
    let activity = match &view.rest {
        Some(rest) => Activity::Resting { rest, stuck: view.stuck.as_ref() },
        None => Activity::Busy,
    };
    Subject { name, policy: Some(policy), wanted, state: &view.state, clock, proof: view.proof, activity }
}
