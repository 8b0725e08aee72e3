//! What a reload changes, as data: what the daemon logs, and what it acts on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::names::{AccountName, ChannelName, TokenName};

use super::{AccountPolicy, DaemonSettings, EndpointPolicy, Inventory, Listen, TokenPolicy};

/// One difference between two inventories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A setting of `[daemon]`; `restart` where it takes effect at the next start only.
    Daemon {
        key: &'static str,
        restart: bool,
    },
    AccountAdded(AccountName),
    /// With the keys that differ.
    AccountChanged(AccountName, Vec<&'static str>),
    AccountRemoved(AccountName),
    TokenAdded(TokenName),
    /// With the keys that differ. What changes in a token's account is not repeated for each of its tokens.
    TokenChanged(TokenName, Vec<&'static str>),
    TokenRemoved(TokenName),
    ChannelAdded(ChannelName),
    ChannelChanged(ChannelName),
    ChannelRemoved(ChannelName),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon { key, restart: true } => write!(f, "daemon: {key} changed, takes effect at the next start"),
            Self::Daemon { key, restart: false } => write!(f, "daemon: {key} changed"),
            Self::AccountAdded(name) => write!(f, "account {name}: added"),
            Self::AccountChanged(name, keys) => write!(f, "account {name}: {} changed", keys.join(", ")),
            Self::AccountRemoved(name) => write!(f, "account {name}: removed"),
            Self::TokenAdded(name) => write!(f, "token {name}: added"),
            Self::TokenChanged(name, keys) => write!(f, "token {name}: {} changed", keys.join(", ")),
            Self::TokenRemoved(name) => write!(f, "token {name}: removed"),
            Self::ChannelAdded(name) => write!(f, "channel {name}: added"),
            Self::ChannelChanged(name) => write!(f, "channel {name}: changed"),
            Self::ChannelRemoved(name) => write!(f, "channel {name}: removed"),
        }
    }
}

/// Every difference: first the daemon's, then accounts, tokens and channels, each in the order of names.
pub fn diff(old: &Inventory, new: &Inventory) -> Vec<Change> {
    let mut changes = daemon(&old.daemon, &new.daemon);
    // A replica that changes its engine or its name under way would be two.
    changes.extend((old.fleet != new.fleet).then_some(Change::Daemon { key: "[fleet]", restart: true }));
    pair(&old.accounts, &new.accounts, |name, old, new| {
        changes.extend(match (old, new) {
            (None, _) => Some(Change::AccountAdded(name.clone())),
            (_, None) => Some(Change::AccountRemoved(name.clone())),
            (Some(old), Some(new)) => {
                some_keys(account(old, new)).map(|keys| Change::AccountChanged(name.clone(), keys))
            }
        });
    });
    pair(&old.tokens, &new.tokens, |name, old, new| {
        changes.extend(match (old, new) {
            (None, _) => Some(Change::TokenAdded(name.clone())),
            (_, None) => Some(Change::TokenRemoved(name.clone())),
            (Some(old), Some(new)) => some_keys(token(old, new)).map(|keys| Change::TokenChanged(name.clone(), keys)),
        });
    });
    pair(&old.channels, &new.channels, |name, old, new| {
        changes.extend(match (old, new) {
            (None, _) => Some(Change::ChannelAdded(name.clone())),
            (_, None) => Some(Change::ChannelRemoved(name.clone())),
            (Some(old), Some(new)) => (old != new).then(|| Change::ChannelChanged(name.clone())),
        });
    });
    changes
}

/// Calls `visit` for every name of either map.
fn pair<K: Ord, V>(
    old: &BTreeMap<K, Arc<V>>,
    new: &BTreeMap<K, Arc<V>>,
    mut visit: impl FnMut(&K, Option<&V>, Option<&V>),
) {
    for (name, value) in old {
        visit(name, Some(value), new.get(name).map(AsRef::as_ref));
    }
    for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        visit(name, None, Some(value));
    }
}

fn some_keys(keys: Vec<&'static str>) -> Option<Vec<&'static str>> {
    if keys.is_empty() { None } else { Some(keys) }
}

/// The keys whose comparison says that they differ.
fn differing<const N: usize>(comparisons: [(&'static str, bool); N]) -> Vec<&'static str> {
    comparisons.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}

fn daemon(old: &DaemonSettings, new: &DaemonSettings) -> Vec<Change> {
    // Taken apart, so that a new setting cannot be forgotten here.
    let DaemonSettings {
        state_dir,
        state_dir_named: _,
        control,
        listen,
        log_level,
        log_format,
        seal_key,
        providers,
        drain_timeout,
        new_journal,
    } = old;
    let fixed = differing([
        ("state-dir", *state_dir == new.state_dir),
        ("control", *control == new.control),
        ("log-format", *log_format == new.log_format),
        ("seal-key", *seal_key == new.seal_key),
        ("new-journal", *new_journal == new.new_journal),
    ]);
    let address = |listen: &Option<Listen>| listen.as_ref().map(|listen| listen.address);
    let tls = |listen: &Option<Listen>| listen.as_ref().and_then(|listen| listen.tls.clone());
    let auth = |listen: &Option<Listen>| listen.as_ref().and_then(|listen| listen.auth.clone());
    let live = differing([
        ("listen", address(listen) == address(&new.listen)),
        ("listen-tls", tls(listen) == tls(&new.listen)),
        ("listen-auth", auth(listen) == auth(&new.listen)),
        ("log-level", *log_level == new.log_level),
        ("providers", *providers == new.providers),
        ("drain-timeout", *drain_timeout == new.drain_timeout),
    ]);
    let change = |restart| move |key| Change::Daemon { key, restart };
    fixed.into_iter().map(change(true)).chain(live.into_iter().map(change(false))).collect()
}

fn account(old: &AccountPolicy, new: &AccountPolicy) -> Vec<&'static str> {
    let AccountPolicy { name: _, provider, endpoint, params, poll_every, settle } = old;
    let own = differing([
        ("provider", *provider == new.provider),
        ("params", *params == new.params),
        ("poll-every", *poll_every == new.poll_every),
        ("settle", *settle == new.settle),
    ]);
    [own, self::endpoint(endpoint, &new.endpoint)].concat()
}

fn endpoint(old: &EndpointPolicy, new: &EndpointPolicy) -> Vec<&'static str> {
    let EndpointPolicy {
        url,
        connect_to,
        credential,
        rate_limit,
        tls,
        proxy,
        headers,
        timeouts,
        max_response,
        max_in_flight,
    } = old;
    differing([
        ("url", *url == new.url),
        ("connect-to", *connect_to == new.connect_to),
        ("credential", *credential == new.credential),
        ("rate-limit", *rate_limit == new.rate_limit),
        ("tls", *tls == new.tls),
        ("proxy", *proxy == new.proxy),
        ("headers", *headers == new.headers),
        ("timeouts", *timeouts == new.timeouts),
        ("max-response", *max_response == new.max_response),
        ("max-in-flight", *max_in_flight == new.max_in_flight),
    ])
}

fn token(old: &TokenPolicy, new: &TokenPolicy) -> Vec<&'static str> {
    let TokenPolicy {
        name: _,
        account,
        lifetime,
        renew_before,
        rotate_every,
        schedule,
        window,
        grace,
        grace_by_default: _,
        grace_cap,
        jitter,
        verify_timeout,
        drift_every,
        params,
        paused,
        initial,
        stores,
        hooks,
        selected,
    } = old;
    differing([
        ("account", account.name == new.account.name),
        ("lifetime", *lifetime == new.lifetime),
        ("renew-before", *renew_before == new.renew_before),
        ("rotate-every", *rotate_every == new.rotate_every),
        ("schedule", *schedule == new.schedule),
        ("window", *window == new.window),
        ("grace", *grace == new.grace),
        ("grace-cap", *grace_cap == new.grace_cap),
        ("jitter", *jitter == new.jitter),
        ("verify-timeout", *verify_timeout == new.verify_timeout),
        ("drift-every", *drift_every == new.drift_every),
        ("params", *params == new.params),
        ("paused", *paused == new.paused),
        ("initial", *initial == new.initial),
        ("stores", *stores == new.stores),
        ("hooks", *hooks == new.hooks),
        ("hosts", *selected == new.selected),
    ])
}

#[cfg(test)]
mod tests;
