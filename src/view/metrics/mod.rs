//! The status as numbers, for Prometheus. Rendered from values; nothing is registered anywhere.
//!
//! The conventions: one prefix; times as Unix seconds, never as "seconds left"; labels hold names from the inventory and
//! words of closed sets, never an id, a marker or an error.

mod list;
mod text;

use std::collections::BTreeMap;

use crate::clock::Time;
use crate::endpoint::traffic::Traffic;
use crate::journal::fleet::tally::{CommitEnding, Commits};
use crate::names::AccountName;
use crate::rotation::steps::Steps;

use crate::report::status::{
    AccountCondition, AccountStatus, ChannelStatus, Condition, FleetStatus, OwedKind, ReplicaStatus, Status,
    TokenStatus,
};

pub use list::METRICS;
pub use text::{Metric, MetricKind};

use text::Text;

/// What is measured besides the status.
#[derive(Debug)]
pub struct Measures {
    /// When the scheduler last looked for something to do.
    pub heartbeat: Time,
    /// When the inventory was last read.
    pub read: Time,
    /// When the inventory in effect was applied.
    pub in_force_since: Time,
    pub steps: Steps,
    pub traffic: BTreeMap<AccountName, Traffic>,
    /// What a replica of a fleet wrote to the engine.
    pub commits: Option<Commits>,
    /// Log lines that were dropped.
    pub log_dropped: u64,
    /// What the HTTP server refused, by the word for the reason.
    pub refused: Vec<(&'static str, u64)>,
}

/// Everything in the text format of Prometheus.
pub fn render(status: &Status, measures: &Measures) -> String {
    let mut text = Text::default();
    process(&mut text, status, measures);
    tokens(&mut text, &status.tokens);
    held_back(&mut text, &status.tokens);
    steps(&mut text, &measures.steps);
    accounts(&mut text, &status.accounts);
    traffic(&mut text, &measures.traffic);
    fleet(&mut text, status.fleet.as_ref());
    hosts(&mut text, status.fleet.as_ref());
    commits(&mut text, measures.commits.as_ref());
    channels(&mut text, &status.channels);
    text.family(&list::LOG_DROPPED).sample(&[], measures.log_dropped);
    let mut family = text.family(&list::REFUSED);
    for (reason, count) in &measures.refused {
        family.sample(&[reason], count);
    }
    text.finish()
}

fn process(text: &mut Text, status: &Status, measures: &Measures) {
    let daemon = status.daemon.as_ref();
    let mut family = text.family(&list::BUILD_INFO);
    if let Some(daemon) = daemon {
        family.sample(&[&daemon.version], 1);
    }
    text.family(&list::START).time(&[], daemon.map(|daemon| daemon.started));
    text.family(&list::HEARTBEAT).time(&[], Some(measures.heartbeat));
    text.family(&list::JOURNAL_WRITABLE).sample(&[], u8::from(status.journal.failure.is_none()));
    let refused = daemon.and_then(|daemon| daemon.reload.as_ref()).is_some_and(|reload| !reload.answer.applied);
    text.family(&list::RELOAD_SUCCESSFUL).sample(&[], u8::from(!refused));
    text.family(&list::RELOAD_TIME).time(&[], Some(measures.read));
    text.family(&list::RELOAD_SUCCESS_TIME).time(&[], Some(measures.in_force_since));
}

fn tokens(text: &mut Text, tokens: &[TokenStatus]) {
    let mut family = text.family(&list::TOKENS);
    for condition in Condition::ALL {
        let count = tokens.iter().filter(|token| token.condition == condition).count();
        family.sample(&[condition.word()], count);
    }
    let mut family = text.family(&list::TOKEN_INFO);
    for token in tokens {
        let account = token.account.as_ref().map_or("", AccountName::as_str);
        let provider = token.provider.as_ref().map_or("", |provider| provider.as_str());
        family.sample(&[token.name.as_str(), account, provider], 1);
    }
    // One series of a token where seven would say the same: a hundred thousand tokens are scraped every minute.
    let mut family = text.family(&list::TOKEN_STATE);
    for token in tokens {
        family.sample(&[token.name.as_str(), token.condition.word()], 1);
    }
    let mut times = |metric, time: fn(&TokenStatus) -> Option<Time>| {
        let mut family = text.family(metric);
        for token in tokens {
            family.time(&[token.name.as_str()], time(token));
        }
    };
    times(&list::TOKEN_EXPIRY, |token| token.current.as_ref().and_then(|current| current.expires.here()));
    times(&list::TOKEN_DUE, |token| token.next.due);
    times(&list::TOKEN_NEXT, |token| token.next.at);
    times(&list::TOKEN_SUCCESS, |token| token.last_success);
    times(&list::TOKEN_ATTEMPT, |token| token.last_success.max(token.last_error.as_ref().map(|error| error.at)));
    let mut family = text.family(&list::TOKEN_FAILURES);
    for token in tokens {
        family.sample(&[token.name.as_str()], token.failures);
    }
    let mut family = text.family(&list::TOKEN_GENERATIONS);
    for token in tokens {
        let phases = [token.current.is_some(), token.candidate.is_some(), token.retiring.is_some()];
        let alive = phases.into_iter().filter(|provider_now| *provider_now).count() + token.orphans.len();
        family.sample(&[token.name.as_str()], alive);
    }
    let mut family = text.family(&list::TOKEN_OWED);
    for token in tokens {
        for (kind, word) in [(OwedKind::Store, "store"), (OwedKind::Hook, "hook")] {
            let owed = token.owed.iter().filter(|owed| owed.kind == kind).count();
            if owed > 0 {
                family.sample(&[token.name.as_str(), word], owed);
            }
        }
    }
}

fn held_back(text: &mut Text, tokens: &[TokenStatus]) {
    let mut family = text.family(&list::TOKEN_HELD_BACK);
    for token in tokens.iter().filter(|token| token.is_held_back()) {
        family.sample(&[token.name.as_str()], 1);
    }
}

fn steps(text: &mut Text, steps: &Steps) {
    let mut family = text.family(&list::STEPS);
    for ((account, step, result), count) in steps {
        family.sample(&[account.as_str(), step.word(), result.word()], count);
    }
}

fn accounts(text: &mut Text, accounts: &[AccountStatus]) {
    let mut family = text.family(&list::ACCOUNT_STATE);
    for account in accounts {
        let states = AccountCondition::ALL.map(AccountCondition::word);
        family.one_of(account.name.as_str(), states, account.condition.word());
    }
    let mut family = text.family(&list::ACCOUNT_TOKENS);
    for account in accounts {
        family.sample(&[account.name.as_str()], account.tokens);
    }
    let mut times = |metric, time: fn(&AccountStatus) -> Option<Time>| {
        let mut family = text.family(metric);
        for account in accounts {
            family.time(&[account.name.as_str()], time(account));
        }
    };
    times(&list::ACCOUNT_SUCCESS, |account| account.last_success);
    times(&list::ACCOUNT_LISTING, |account| account.last_listing);
    times(&list::ACCOUNT_BLOCKED, |account| account.blocked_until);
    let mut family = text.family(&list::ACCOUNT_ORPHANS);
    for account in accounts {
        family.sample(&[account.name.as_str()], account.orphans.len());
    }
    let mut family = text.family(&list::ACCOUNT_QUOTA);
    for account in accounts {
        for (source, left) in [("inventory", account.quota_left), ("provider", account.allowance)] {
            if let Some(left) = left {
                family.sample(&[account.name.as_str(), source], left);
            }
        }
    }
    let mut family = text.family(&list::ACCOUNT_SKEW);
    for account in accounts {
        if let Some(milliseconds) = account.skew_ms {
            #[expect(clippy::cast_precision_loss, reason = "exact for clocks that are 285,000 years apart")]
            family.sample(&[account.name.as_str()], milliseconds as f64 / 1000.0);
        }
    }
}

fn fleet(text: &mut Text, fleet: Option<&FleetStatus>) {
    let me = |fleet: &FleetStatus| fleet.replicas.iter().find(|it| Some(&it.name) == fleet.replica.as_ref()).cloned();
    let mut number = |metric, value: fn(&FleetStatus, Option<&ReplicaStatus>) -> Option<u64>| {
        let mut family = text.family(metric);
        let value = fleet.and_then(|fleet| value(fleet, me(fleet).as_ref()));
        if let Some(value) = value {
            family.sample(&[], value);
        }
    };
    number(&list::FLEET_REPLICAS, |fleet, _| u64::try_from(fleet.replicas.len()).ok());
    number(&list::FLEET_OWNED, |_, me| u64::try_from(me.map_or(0, |me| me.accounts)).ok());
    number(&list::FLEET_UNOWNED, |fleet, _| u64::try_from(fleet.unowned.len()).ok());
    number(&list::FLEET_LEASE, |fleet, _| Some(fleet.lease_left_ms.unwrap_or(0) / 1000));
    number(&list::FLEET_LEASES_LOST, |fleet, _| Some(fleet.leases_lost));
    number(&list::FLEET_TAKEN, |fleet, _| Some(fleet.accounts_taken));
    number(&list::FLEET_BEHIND, |_, me| Some(u64::from(me.is_some_and(|me| me.behind))));
    number(&list::ENGINE_SIZE, |fleet, _| fleet.engine.as_ref().map(|engine| engine.size_bytes));
    number(&list::ENGINE_ALARMS, |fleet, _| u64::try_from(fleet.engine.as_ref()?.alarms.len()).ok());
}

fn hosts(text: &mut Text, fleet: Option<&FleetStatus>) {
    let hosts = fleet.map(|fleet| fleet.hosts.as_slice()).unwrap_or_default();
    let mut family = text.family(&list::HOST_UP);
    for host in hosts.iter().filter(|host| !host.forgotten) {
        family.sample(&[host.name.as_str()], u8::from(host.version.is_some()));
    }
    let mut family = text.family(&list::HOST_SEEN);
    for host in hosts {
        family.time(&[host.name.as_str()], host.seen);
    }
    let mut family = text.family(&list::HOST_OWES);
    for host in hosts {
        family.sample(&[host.name.as_str()], host.owes.len());
    }
}

fn commits(text: &mut Text, commits: Option<&Commits>) {
    let mut family = text.family(&list::ENGINE_COMMITS);
    if let Some(commits) = commits {
        for ending in CommitEnding::ALL {
            family.sample(&[ending.word()], commits.count(ending));
        }
    }
    let mut family = text.family(&list::ENGINE_COMMIT_TIME);
    if let Some(Commits { latencies, .. }) = commits {
        family.histogram(&[], latencies.cumulative(), latencies.seconds(), latencies.count());
    }
    text.family(&list::ENGINE_LAST_COMMIT).time(&[], commits.and_then(|commits| commits.last));
}

fn channels(text: &mut Text, channels: &[ChannelStatus]) {
    let mut family = text.family(&list::CHANNEL_FAILING);
    for channel in channels {
        family.sample(&[channel.name.as_str()], u8::from(channel.failing.is_some()));
    }
    let mut family = text.family(&list::CHANNEL_TOLD);
    for channel in channels {
        family.sample(&[channel.name.as_str()], channel.told);
    }
}

fn traffic(text: &mut Text, traffic: &BTreeMap<AccountName, Traffic>) {
    let mut family = text.family(&list::REQUESTS);
    for (account, traffic) in traffic {
        for (errand, ending, count) in traffic.counts() {
            family.sample(&[account.as_str(), errand, ending.word()], count);
        }
    }
    let mut family = text.family(&list::LATENCY);
    for (account, traffic) in traffic {
        let latencies = traffic.latencies();
        family.histogram(&[account.as_str()], latencies.cumulative(), latencies.seconds(), latencies.count());
    }
}

#[cfg(test)]
mod tests;
