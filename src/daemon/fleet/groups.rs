//! Which accounts are owned together, and what the inventory says of them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use crate::inventory::{Credential, Inventory, StorePolicy};
use crate::names::{AccountName, hex};

/// Accounts that are owned together: one authenticates with a token of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// In the order of names; never empty.
    pub accounts: Vec<AccountName>,
    /// Of all that the inventory says of them.
    pub digest: String,
}

impl Group {
    /// What the group is called where one is drawn for it.
    pub fn key(&self) -> &str {
        self.accounts.first().map_or("", AccountName::as_str)
    }
}

/// The groups of an inventory, in the order of names.
pub(super) fn groups(inventory: &Inventory) -> Vec<Group> {
    let mut leader: BTreeMap<&AccountName, &AccountName> =
        inventory.accounts.keys().map(|account| (account, account)).collect();
    // The account of the token that this one authenticates with.
    let behind = |account: &AccountName| match &inventory.accounts.get(account)?.endpoint.credential {
        Credential::Token(token) => Some(&inventory.tokens.get(token)?.account.name),
        _ => None,
    };
    let of_accounts = inventory.accounts.keys().filter_map(|account| Some((account, behind(account)?)));
    // Whoever writes a store needs what the store's account authenticates with.
    let of_stores = inventory.tokens.values().flat_map(|token| {
        let accounts = token.stores.iter().filter_map(StorePolicy::account);
        accounts.filter_map(|account| Some((&token.account.name, behind(account)?)))
    });
    let pairs: Vec<_> = of_accounts.chain(of_stores).collect();
    for (account, of) in pairs {
        let (Some(one), Some(other)) = (leader.get(account).copied(), leader.get(of).copied()) else { continue };
        let (first, second) = (one.min(other), one.max(other));
        leader.values_mut().filter(|it| **it == second).for_each(|it| *it = first);
    }
    let mut groups: BTreeMap<&AccountName, Vec<AccountName>> = BTreeMap::new();
    for (account, leader) in &leader {
        groups.entry(leader).or_default().push((*account).clone());
    }
    let mut tokens: BTreeMap<&AccountName, String> = BTreeMap::new();
    for token in inventory.tokens.values() {
        // Writing to a String cannot fail.
        let _ = write!(tokens.entry(&token.account.name).or_default(), "{token:?}");
    }
    let group = |accounts: Vec<AccountName>| {
        let mut text = String::new();
        for account in &accounts {
            let _ = write!(text, "{:?}{:?}", inventory.accounts.get(account), tokens.get(account));
        }
        Group { digest: short(&text), accounts }
    };
    groups.into_values().map(group).collect()
}

/// The digest of all that the inventory says of accounts and tokens.
pub(super) fn digest_of(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        let _ = write!(text, "{:?}{}", group.accounts, group.digest);
    }
    short(&text)
}

fn short(text: &str) -> String {
    hex(&digest(&SHA256, text.as_bytes()).as_ref()[..16])
}

/// The names of all accounts of the groups.
pub(super) fn accounts(groups: &[Group]) -> BTreeSet<&AccountName> {
    groups.iter().flat_map(|group| &group.accounts).collect()
}
