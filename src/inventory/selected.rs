//! Stores and hooks that name their hosts by what these are: `hosts = ["*"]`, `hosts = ["role=web"]`. Which hosts that is,
//! the inventory does not know: the agents of a fleet tell it. Pure.
//!
//! Law: what is on a host by its labels is the same as what is on it by its name, with the same key. Whoever writes the
//! names in place of the labels changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::{HookKind, HookPolicy, HostedPolicy, Inventory, StoreKind, StorePolicy, TokenPolicy};
use crate::names::{HostName, Label, StoreKey};

/// Hosts that are known, with what each is.
pub type KnownHosts = BTreeMap<HostName, BTreeSet<Label>>;

/// Which hosts are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostSelector {
    /// Every one that is known.
    Every,
    /// Those that have one of these labels.
    Labelled(BTreeSet<Label>),
}

impl HostSelector {
    /// Whether a host with these labels is meant.
    pub fn takes(&self, labels: &BTreeSet<Label>) -> bool {
        match self {
            Self::Every => true,
            Self::Labelled(wanted) => wanted.iter().any(|label| labels.contains(label)),
        }
    }

    /// As the inventory spells it, an item each.
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Every => vec!["*".to_owned()],
            Self::Labelled(labels) => labels.iter().map(ToString::to_string).collect(),
        }
    }
}

impl fmt::Display for HostSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(", "))
    }
}

/// A store of every host that is meant.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectedStore {
    pub hosts: HostSelector,
    /// Its key without the host.
    pub place: String,
    /// That of one host, whose name means nothing here.
    pub policy: StorePolicy,
    /// What is alike on all of them.
    pub hosted: HostedPolicy,
}

impl SelectedStore {
    /// The key on `host`. `None`: it would be too long.
    pub fn key(&self, host: &HostName) -> Option<StoreKey> {
        format!("{}@{host}", self.place).parse().ok()
    }

    fn on(&self, host: &HostName) -> Option<StorePolicy> {
        let kind = StoreKind::Hosted(Box::new(HostedPolicy { host: host.clone(), ..self.hosted.clone() }));
        Some(StorePolicy { key: self.key(host)?, kind, ..self.policy.clone() })
    }
}

/// A hook of every host that is meant.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectedHook {
    pub hosts: HostSelector,
    /// That of no host.
    pub policy: HookPolicy,
}

impl SelectedHook {
    fn on(&self, host: &HostName) -> HookPolicy {
        let kind: &HookKind = &self.policy.kind;
        HookPolicy { key: kind.key(Some(host)), host: Some(host.clone()), ..self.policy.clone() }
    }
}

/// Everything of a token that is on hosts by their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selected {
    pub stores: Vec<SelectedStore>,
    pub hooks: Vec<SelectedHook>,
}

impl Selected {
    /// Which hosts are meant, each way once.
    pub fn selectors(&self) -> impl Iterator<Item = &HostSelector> {
        self.stores.iter().map(|store| &store.hosts).chain(self.hooks.iter().map(|hook| &hook.hosts))
    }
}

impl TokenPolicy {
    /// The token with a store and a hook on each host that is meant. `None`: it names none by labels.
    fn on_hosts(&self, known: &KnownHosts) -> Option<Self> {
        let selected = self.selected.as_ref()?;
        let mut policy = self.clone();
        for store in &selected.stores {
            let meant = known.iter().filter(|(_, labels)| store.hosts.takes(labels));
            policy.stores.extend(meant.filter_map(|(host, _)| store.on(host)));
        }
        for hook in &selected.hooks {
            let meant = known.iter().filter(|(_, labels)| hook.hosts.takes(labels));
            for hook in meant.map(|(host, _)| hook.on(host)) {
                // Two ways of naming hosts may mean one.
                if !policy.hooks.iter().any(|there| there.key == hook.key) {
                    policy.hooks.push(hook);
                }
            }
        }
        Some(policy)
    }
}

impl Inventory {
    /// Whether anything is on hosts by their labels.
    pub fn selects_hosts(&self) -> bool {
        self.tokens.values().any(|token| token.selected.is_some())
    }

    /// The inventory with a store and a hook on each host that is meant, by the hosts that are known.
    #[must_use]
    pub fn on_hosts(self: &Arc<Self>, known: &KnownHosts) -> Arc<Self> {
        let changed: Vec<_> = self.tokens.values().filter_map(|token| token.on_hosts(known)).collect();
        if changed.is_empty() {
            return Arc::clone(self);
        }
        let mut inventory = Self::clone(self);
        for token in changed {
            inventory.tokens.insert(token.name.clone(), Arc::new(token));
        }
        Arc::new(inventory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use crate::definition::Definitions;
    use crate::inventory::interpret_text;

    fn known(hosts: &[(&str, &[&str])]) -> KnownHosts {
        let labels = |labels: &[&str]| labels.iter().map(|label| label.parse().unwrap()).collect();
        hosts.iter().map(|(host, of)| (host.parse().unwrap(), labels(of))).collect()
    }

    #[test]
    fn a_host_is_meant_by_any_of_the_labels() {
        let labelled =
            |labels: &[&str]| HostSelector::Labelled(labels.iter().map(|label| label.parse().unwrap()).collect());
        let web = known(&[("a", &["role=web", "site=fra"])]).remove(&"a".parse().unwrap()).unwrap();
        for (sentence, selector, takes) in [
            ("every host", HostSelector::Every, true),
            ("a label that it has", labelled(&["role=web"]), true),
            ("one of two that it has", labelled(&["role=db", "site=fra"]), true),
            ("another value", labelled(&["role=we"]), false),
            ("another key", labelled(&["part=web"]), false),
        ] {
            assert_eq!(selector.takes(&web), takes, "{sentence}");
        }
        assert!(HostSelector::Every.takes(&BTreeSet::new()) && !labelled(&["role=web"]).takes(&BTreeSet::new()));
    }

    #[test]
    fn labels_mean_what_the_names_of_their_hosts_mean() {
        let inventory = |hosts: &str| {
            let text = format!(
                "[daemon]\nstate-dir = \"/var/lib/patrold\"\nseal-key = {{ file = \"/etc/seal.key\" }}\n\
                 [fleet]\nname = \"prod\"\nhost = \"r1\"\nengine = {{ etcd = [\"http://127.0.0.1:2379\"] }}\n\
                 [account.gps]\nprovider = \"awx\"\nurl = \"https://awx.example.com\"\n\
                 credential = {{ username = \"u\", password = {{ file = \"/etc/p\" }} }}\nparams = {{ user_id = 1 }}\n\
                 [[token]]\nname = \"gps\"\naccount = \"gps\"\n\
                 stores = [{{ kind = \"file\", path = \"/run/gps\", hosts = {hosts} }},\n\
                 {{ kind = \"env-file\", path = \"/etc/gps.env\", key = \"T\", hosts = {hosts} }}]\n\
                 hooks = [{{ kind = \"systemd\", unit = \"gps.service\", hosts = {hosts} }}]\n"
            );
            let (inventory, report) = interpret_text(&text, &Definitions::builtin(), Time::UNIX_EPOCH);
            Arc::new(inventory.unwrap_or_else(|| panic!("{}", report.render())))
        };
        let of = |inventory: &Arc<Inventory>| {
            let token = &inventory.tokens[&"gps".parse().unwrap()];
            let mut stores = token.stores.clone();
            stores.sort_by(|one, other| one.key.cmp(&other.key));
            (stores, token.hooks.clone())
        };
        let there = known(&[("app-1", &["role=app"]), ("web-1", &["role=web"]), ("web-2", &["role=web"])]);
        let named = inventory("[\"web-1\", \"web-2\"]");
        assert!(!named.selects_hosts() && Arc::ptr_eq(&named.on_hosts(&there), &named));
        let labelled = inventory("[\"role=web\"]");
        assert!(labelled.selects_hosts() && of(&labelled).0.is_empty());
        assert_eq!(of(&labelled.on_hosts(&there)), of(&named));
        assert_eq!(of(&labelled.on_hosts(&KnownHosts::new())), (Vec::new(), Vec::new()));
        let every = inventory("[\"*\"]").on_hosts(&there);
        assert_eq!((of(&every).0.len(), of(&every).1.len()), (6, 3));
    }
}
