//! Hosts of consumers as a replica follows them: it hears what their agents answer, and wakes the tokens that wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::Clock;
use crate::daemon::DaemonJournal;
use crate::daemon::core::Core;
use crate::daemon::deadlines::Key;
use crate::daemon::scheduler::Waker;
use crate::event;
use crate::inventory::diff::Change;
use crate::inventory::{Inventory, StorePolicy, TokenPolicy};
use crate::journal::fleet::hosts::Hosts;
use crate::journal::fleet::{EngineError, FleetJournal};
use crate::names::{HostName, TokenName};
use crate::report::status::HostStatus;
use crate::rotation::TokenState;
use crate::text::words;

/// How long it is waited before an engine that is away is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// How often everything is read anew that the watch tells: a connection that died in silence tells nothing.
const FOLLOWED: Duration = Duration::from_secs(30);

/// How soon a first store on a host is noticed in a changed inventory.
const NOTICED: Duration = Duration::from_secs(1);

/// The most tokens that are named in one line.
const NAMED: usize = 5;

/// How often errands are removed of stores that have left the inventory.
const TIDY_EVERY: Duration = Duration::from_secs(300);

/// Follows the agents of hosts for as long as the replica lives. Never returns.
pub(super) async fn follow<C: Clock>(core: Arc<Core<C, DaemonJournal>>, waker: Waker, journal: DaemonJournal) {
    let Some(journal) = journal.fleet() else { return };
    let mut follower = Follower { core, waker, live: BTreeSet::new(), inventory: None, tidied: None };
    loop {
        if follower.hosts_in_use().is_empty() && !follower.core.written().selects_hosts() {
            sleep(NOTICED).await;
            continue;
        }
        let begun = async {
            let (hosts, moment, late) = follower.core.machine.effects.agents.read(journal).await?;
            Ok::<_, EngineError>((hosts, journal.follow_hosts(moment).await?, late))
        };
        let (mut hosts, mut following, late) = match begun.await {
            Ok(begun) => begun,
            Err(error) => {
                tracing::debug!(event = event::FLEET_AWAY, %error, "the engine cannot be followed; tried again");
                sleep(PAUSE).await;
                continue;
            }
        };
        follower.hear(&hosts, late).await;
        follower.tidy(journal).await;
        let fresh_until = Instant::now() + FOLLOWED;
        while Instant::now() < fresh_until {
            tokio::select! {
                more = journal.next_of_hosts(&mut following, &mut hosts) => if !more { break },
                () = sleep_until(fresh_until) => {}
            }
            let late = follower.core.machine.effects.agents.follow(&hosts);
            follower.hear(&hosts, late).await;
        }
    }
}

struct Follower<C> {
    core: Arc<Core<C, DaemonJournal>>,
    waker: Waker,
    /// Hosts whose agents lived when it was last looked.
    live: BTreeSet<HostName>,
    /// The inventory that was last looked through, and the hosts of its stores.
    inventory: Option<(Arc<Inventory>, BTreeSet<HostName>)>,
    tidied: Option<Instant>,
}

impl<C: Clock> Follower<C> {
    /// The hosts that stores of the inventory are on.
    fn hosts_in_use(&mut self) -> &BTreeSet<HostName> {
        let inventory = self.core.inventory();
        let known = self.inventory.take().filter(|(known, _)| Arc::ptr_eq(known, &inventory));
        let (inventory, hosts) = known.unwrap_or_else(|| {
            // What left the inventory is tidied away soon.
            self.tidied = None;
            let hosts = inventory.tokens.values().flat_map(|token| hosts_of(token)).cloned().collect();
            (inventory, hosts)
        });
        &self.inventory.insert((inventory, hosts)).1
    }

    /// Puts stores and hooks on hosts that have come, and wakes the tokens that wait for what has changed. `late`: those
    /// that something was answered to.
    async fn hear(&mut self, hosts: &Hosts, late: Vec<TokenName>) {
        let changes = self.core.apply_hosts().await;
        let changed = changes.into_iter().filter_map(|change| match change {
            Change::TokenChanged(name, _) => Some(Key::Token(name)),
            _ => None,
        });
        let changed: Vec<_> = changed.collect();
        if !changed.is_empty() {
            let hosts = hosts.known().len();
            tracing::info!(
                event = event::HOSTS_CHANGED,
                hosts,
                tokens = changed.len(),
                "hosts have come or gone; tokens that mean them by labels are delivered to those that there are"
            );
            self.waker.wake(changed);
        }
        let in_use = self.hosts_in_use().clone();
        let live: BTreeSet<_> = hosts.agents.keys().cloned().collect();
        for host in self.live.difference(&live).filter(|host| in_use.contains(*host)) {
            tracing::warn!(
                event = event::HOST_AWAY,
                %host,
                "the agent of a host is away; nothing is revoked that its consumers may use"
            );
        }
        let back: BTreeSet<_> = live.difference(&self.live).filter(|host| in_use.contains(*host)).cloned().collect();
        for host in &back {
            tracing::info!(event = event::HOST_BACK, %host, "the agent of a host lives");
        }
        self.live = live;
        let waits = |policy: &TokenPolicy, state: &TokenState| {
            let there = hosts_of(policy).any(|host| back.contains(host));
            there && (state.owes_anything() || state.retry.is_some())
        };
        let mut woken: BTreeSet<TokenName> = late.into_iter().collect();
        if !back.is_empty() {
            let all = self.core.tokens.all().into_iter();
            woken.extend(all.filter(|(_, token)| waits(&token.policy(), &token.state())).map(|(name, _)| name));
        }
        for name in woken {
            end_wait(&self.core, &self.waker, name);
        }
    }

    /// Removes the errands of stores that have left the inventory, of accounts that this replica owns.
    async fn tidy(&mut self, journal: &FleetJournal) {
        if self.tidied.is_some_and(|at| at.elapsed() < TIDY_EVERY) {
            return;
        }
        // What could not be read or removed is tried again with the next round.
        let Ok(all) = journal.all_wanted().await else { return };
        self.tidied = Some(Instant::now());
        let inventory = self.core.inventory();
        for (host, id, wanted) in all {
            let Some(fence) = self.core.machine.effects.ownership.fence(&wanted.errand.account) else { continue };
            let store = wanted.errand.deed.subject();
            let token = inventory.tokens.get(&wanted.errand.token);
            if !id.is_question() && !token.is_some_and(|token| token.stores.iter().any(|it| it.key.as_str() == store)) {
                let _ = journal.unwant(&fence, &host, &id, wanted.revision).await;
            }
        }
    }
}

/// Ends every wait of a token. Aside: its run may be waiting for what is to be heard next.
pub(super) fn end_wait<C: Clock>(core: &Arc<Core<C, DaemonJournal>>, waker: &Waker, name: TokenName) {
    let (core, waker) = (Arc::clone(core), waker.clone());
    tokio::spawn(async move {
        let Some(token) = core.tokens.get(&name) else { return };
        core.hold(&token).await.memo.pressed = Some(core.clock.now());
        waker.wake(vec![Key::Token(name)]);
    });
}

/// The hosts that stores and hooks of a token are on.
fn hosts_of(policy: &TokenPolicy) -> impl Iterator<Item = &HostName> {
    let hooks = policy.hooks.iter().filter_map(|hook| hook.host.as_ref());
    policy.stores.iter().filter_map(StorePolicy::host).chain(hooks)
}

/// Labels of the inventory that no known host has, with the tokens that mean them, a line each.
pub fn idle_selectors(inventory: &Inventory, hosts: &Hosts) -> Vec<String> {
    let known = hosts.known();
    let mut idle: BTreeMap<String, BTreeSet<&TokenName>> = BTreeMap::new();
    for token in inventory.tokens.values() {
        for selector in token.selected.iter().flat_map(|selected| selected.selectors()) {
            if !known.values().any(|labels| selector.takes(labels)) {
                idle.entry(selector.to_string()).or_default().insert(&token.name);
            }
        }
    }
    let line = |(selector, tokens): (String, BTreeSet<&TokenName>)| {
        format!("no host is known that is {selector}: {}", words::some(&tokens.into_iter().collect::<Vec<_>>(), NAMED))
    };
    idle.into_iter().map(line).collect()
}

/// Hosts, for those who look: those that stores of the inventory are on, and those whose agents live. `states`: what is
/// known of tokens.
pub fn hosts_status<'a>(
    hosts: &Hosts,
    tokens: impl Iterator<Item = (&'a TokenPolicy, Option<&'a TokenState>)>,
) -> Vec<HostStatus> {
    let mut owed: BTreeMap<HostName, BTreeSet<TokenName>> = BTreeMap::new();
    for (policy, state) in tokens {
        for (host, store) in policy.stores.iter().filter_map(|store| Some((store.host()?, store))) {
            let tokens = owed.entry(host.clone()).or_default();
            if state.is_some_and(|state| state.lacks_store(&store.key)) {
                tokens.insert(policy.name.clone());
            }
        }
        for (host, hook) in policy.hooks.iter().filter_map(|hook| Some((hook.host.as_ref()?, hook))) {
            let tokens = owed.entry(host.clone()).or_default();
            if state.is_some_and(|state| state.lacks_hook(&hook.key)) {
                tokens.insert(policy.name.clone());
            }
        }
    }
    for host in hosts.agents.keys() {
        owed.entry(host.clone()).or_default();
    }
    let status = |(host, owes): (HostName, BTreeSet<TokenName>)| HostStatus {
        version: hosts.agents.get(&host).map(|agent| agent.version.clone()),
        labels: hosts.labels.get(&host).into_iter().flatten().cloned().collect(),
        unproven: hosts.unproven.contains(&host),
        outdated: hosts.outdated.contains(&host),
        seen: hosts.seen.get(&host).copied(),
        forgotten: hosts.forgotten.contains(&host) && !hosts.agents.contains_key(&host),
        owes: owes.into_iter().collect(),
        name: host,
    };
    owed.into_iter().map(status).collect()
}
