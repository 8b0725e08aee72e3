//! The providers' tokens compared with the journal: orphans, tokens that nobody manages, tokens that never expire, and
//! tokens that have expired and are still there.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::clock::{Span, Time};
use crate::names::{AccountName, InstanceId, Marker, ProviderName, RemoteId, TokenName};
use crate::provider::{Entry, Expiry, ProviderClock};
use crate::rotation::TokenState;
use crate::rotation::state::{Generation, Orphan};

/// What nobody manages is worth a look when it expires within this time.
const SOON: Span = Span::days(14);

/// Every account that was audited. Part of `audit --json` and of the control protocol: names are stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Audit {
    /// When it was made.
    pub at: Time,
    /// In the order of names.
    pub accounts: Vec<AccountAudit>,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountAudit {
    /// Its name.
    pub account: AccountName,
    /// Its provider definition.
    pub provider: ProviderName,
    /// Its definition can list tokens.
    pub lists: bool,
    /// Why its tokens could not be listed.
    pub failure: Option<String>,
    /// The listings are whole: what they do not show is not there.
    pub complete: bool,
    /// How many live tokens are listed.
    pub listed: usize,
    /// How many of them the journal accounts for.
    pub managed: usize,
    /// Tokens that somebody should look at.
    pub findings: Vec<Finding>,
}

/// A token at the provider that somebody should look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "each is another thing that somebody should know of it")]
pub struct Finding {
    /// Whose it is.
    pub standing: Standing,
    /// The provider's id.
    pub id: Option<RemoteId>,
    /// Its name or description; carries the marker where it has one.
    pub name: Option<String>,
    /// The token of the inventory that it is a generation of.
    pub token: Option<TokenName>,
    /// When it expires.
    pub expires: Expiry,
    /// When it was made, where the provider tells.
    pub created: Option<Time>,
    /// When it was last used, where the provider tells.
    pub last_used: Option<Time>,
    /// It has no end.
    pub never_expires: bool,
    /// It has expired and is still listed.
    pub expired: bool,
    /// Nobody manages it, and it expires within two weeks.
    pub expires_soon: bool,
    /// Its token left the inventory: nobody renews it, and nobody is about to revoke it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
    /// What became of it where its revocation was asked for.
    pub reaped: Option<Reaped>,
}

/// Whose a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It carries a marker of this installation, and no generation accounts for it.
    Orphan,
    /// It carries a marker of another installation.
    Other,
    /// Nobody minted it through patrold.
    Unmanaged,
    /// The journal accounts for it.
    Managed,
}

/// What became of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Reaped {
    /// It is revoked.
    Revoked,
    /// It is tried again as long as a daemon runs.
    NotYet {
        /// Why not, in one line.
        why: String,
    },
}

/// What the journal accounts for, as far as one account may list it.
#[derive(Debug, Default)]
pub struct Known<'a> {
    markers: HashMap<&'a str, &'a TokenName>,
    ids: HashMap<&'a str, &'a TokenName>,
    /// Tokens whose state nobody can read: whatever has their name is theirs.
    aside: Vec<(InstanceId, &'a TokenName)>,
    /// Tokens that left the inventory alive.
    left: HashSet<&'a TokenName>,
}

impl<'a> Known<'a> {
    /// Adds what `state` accounts for at `account`.
    pub fn add(&mut self, account: &AccountName, token: &'a TokenName, state: &'a TokenState) {
        self.markers.extend(state.markers().map(|marker| (marker, token)));
        let of_account = |generation: &&Generation| generation.account == *account;
        let generations = state.generations().filter(of_account);
        let left = state.orphans.iter().filter_map(|orphan| match orphan {
            Orphan::Unrevocable { id, .. } => id.as_ref(),
            Orphan::UnknownMint { .. } | Orphan::Deferred { .. } => None,
        });
        let ids = generations.filter_map(|generation| generation.remote.id.as_ref()).chain(left);
        self.ids.extend(ids.map(|id| (id.as_str(), token)));
    }

    /// Adds a token that left the inventory, and that nobody retired.
    pub fn leave(&mut self, token: &'a TokenName) {
        self.left.insert(token);
    }

    /// Adds tokens of `instance` whose state cannot be read: what was minted for them is no orphan.
    pub fn set_aside(&mut self, instance: InstanceId, tokens: impl Iterator<Item = &'a TokenName>) {
        self.aside.extend(tokens.map(|token| (instance, token)));
    }

    /// Whether a token accounts for `marker`.
    pub fn has(&self, marker: &str) -> bool {
        self.of_marker(marker).is_some()
    }

    /// The token that accounts for `entry`.
    pub fn token(&self, entry: &Entry) -> Option<&'a TokenName> {
        let by_marker = entry.name.as_deref().and_then(Marker::within).and_then(|marker| self.of_marker(marker));
        by_marker.or_else(|| entry.remote.id.as_ref().and_then(|id| self.ids.get(id.as_str())).copied())
    }

    fn of_marker(&self, marker: &str) -> Option<&'a TokenName> {
        let of = || self.aside.iter().find(|(instance, token)| Marker::is_for(*instance, token, marker));
        self.markers.get(marker).copied().or_else(|| of().map(|(_, token)| *token))
    }
}

impl AccountAudit {
    /// An account whose tokens cannot be listed.
    pub fn failed(account: AccountName, provider: ProviderName, lists: bool, why: String) -> Self {
        let failure = Some(why);
        Self { account, provider, lists, failure, complete: false, listed: 0, managed: 0, findings: Vec::new() }
    }

    /// Holds `entries` against what is `known`, with the provider's clock and the time on ours.
    pub fn new<'e>(
        account: AccountName,
        provider: ProviderName,
        complete: bool,
        entries: impl IntoIterator<Item = &'e Entry>,
        known: &Known<'_>,
        instance: InstanceId,
        (clock, now): (ProviderClock, Time),
    ) -> Self {
        let (mut listed, mut managed, mut findings) = (0, 0, Vec::new());
        for entry in entries.into_iter().filter(|entry| !entry.dead) {
            let finding = Finding::new(entry, known, instance, clock, now);
            listed += 1;
            managed += usize::from(finding.standing == Standing::Managed);
            if finding.standing != Standing::Managed || finding.never_expires || finding.expired || finding.left {
                findings.push(finding);
            }
        }
        findings.sort_by_key(|finding| finding.standing as u8);
        Self { account, provider, lists: true, failure: None, complete, listed, managed, findings }
    }

    /// The markers of its orphans.
    pub fn orphans(&self) -> impl Iterator<Item = &str> {
        self.findings.iter().filter_map(Finding::orphan)
    }
}

impl Finding {
    /// Its marker, where it is an orphan that lives.
    pub fn orphan(&self) -> Option<&str> {
        let orphan = self.standing == Standing::Orphan && !self.expired;
        self.name.as_deref().filter(|_| orphan).and_then(Marker::within)
    }

    fn new(entry: &Entry, known: &Known<'_>, instance: InstanceId, clock: ProviderClock, now: Time) -> Self {
        let marker = entry.name.as_deref().and_then(Marker::within);
        let token = known.token(entry);
        let standing = match token {
            Some(_) => Standing::Managed,
            None if marker.is_some_and(|marker| Marker::is_of(instance, marker)) => Standing::Orphan,
            None if marker.is_some() => Standing::Other,
            None => Standing::Unmanaged,
        };
        let expires = entry.remote.expires.moment().map(|end| clock.earliest(end));
        let ends = entry.remote.expires.moment().map(|end| clock.latest(end));
        let expired = ends.is_some_and(|at| at <= now);
        Self {
            standing,
            id: entry.remote.id.clone(),
            name: entry.name.clone(),
            token: token.cloned(),
            expires: expires.map_or(entry.remote.expires, Expiry::told),
            created: entry.created.map(|created| clock.earliest(created).min(now)),
            last_used: entry.last_used.map(|used| clock.latest(used).min(now)),
            never_expires: entry.remote.expires == Expiry::Never,
            expired,
            expires_soon: token.is_none() && !expired && ends.is_some_and(|at| at - now <= SOON),
            left: token.is_some_and(|token| known.left.contains(token)) && !expired,
            reaped: None,
        }
    }
}

impl Audit {
    /// The markers of all orphans.
    pub fn orphans(&self) -> Vec<String> {
        self.accounts.iter().flat_map(AccountAudit::orphans).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::provider::Remote;
    use crate::rotation::tests::policy as sample;

    fn entry(id: &str, name: Option<&str>, expires: Expiry, dead: bool) -> Entry {
        let remote = Remote {
            id: Some(id.parse().unwrap()),
            expires,
            refresh_expires: None,
            renewable_until: None,
            facts: BTreeMap::new(),
        };
        Entry { remote, name: name.map(str::to_owned), dead, created: None, last_used: None }
    }

    #[test]
    fn every_entry_has_a_standing() {
        let now = sample::start();
        let instance = InstanceId::new([1, 2, 3, 4]);
        let (token, account): (TokenName, AccountName) = ("gps".parse().unwrap(), "a".parse().unwrap());
        let ours = "patrold-01020304-gps-g1-070707070707";
        let orphan = |id: Option<&str>, marker: Option<Marker>| Orphan::Unrevocable {
            number: crate::names::GenerationNo(1),
            marker,
            id: id.map(|id| id.parse().unwrap()),
            until: None,
        };
        let marker = serde_json::from_value(ours.into()).unwrap();
        let state =
            TokenState { orphans: vec![orphan(None, Some(marker)), orphan(Some("7"), None)], ..TokenState::default() };
        let mut known = Known::default();
        known.add(&account, &token, &state);
        let aside = "ci".parse().unwrap();
        known.set_aside(instance, [&aside].into_iter());
        let later = Expiry::told(now + Span::days(90));
        let audit = |entry: Entry| {
            let audit = AccountAudit::new(
                account.clone(),
                "awx".parse().unwrap(),
                true,
                [&entry],
                &known,
                instance,
                (ProviderClock::Silent, now),
            );
            audit.findings.first().map(|it| (it.standing, it.never_expires, it.expired, it.expires_soon))
        };
        for (sentence, entry, expected) in [
            ("known by its marker", entry("1", Some(ours), later, false), None),
            ("known by its id", entry("7", Some("x"), later, false), None),
            (
                "known, and never expires",
                entry("7", None, Expiry::Never, false),
                Some((Standing::Managed, true, false, false)),
            ),
            (
                "known, and over",
                entry("7", None, Expiry::told(now), false),
                Some((Standing::Managed, false, true, false)),
            ),
            (
                "an orphan, with blanks around its name",
                entry("2", Some(" patrold-01020304-gps-g2-070707070707 "), later, false),
                Some((Standing::Orphan, false, false, false)),
            ),
            (
                "an orphan that the service decorates",
                entry("8", Some("robot$library+patrold-01020304-gps-g2-070707070707"), later, false),
                Some((Standing::Orphan, false, false, false)),
            ),
            (
                "of a token whose state cannot be read",
                entry("8", Some("patrold-01020304-ci-g2-070707070707"), later, false),
                None,
            ),
            (
                "an orphan that has expired",
                entry("9", Some("patrold-01020304-gps-g2-070707070707"), Expiry::told(now), false),
                Some((Standing::Orphan, false, true, false)),
            ),
            (
                "of another installation",
                entry("3", Some("patrold-99999999-x-g1-000000000000"), later, false),
                Some((Standing::Other, false, false, false)),
            ),
            ("nobody's", entry("4", None, later, false), Some((Standing::Unmanaged, false, false, false))),
            (
                "nobody's, about to expire",
                entry("5", Some("by hand"), Expiry::told(now + Span::days(3)), false),
                Some((Standing::Unmanaged, false, false, true)),
            ),
            ("dead already", entry("6", Some("patrold-01020304-gps-g9-070707070707"), later, true), None),
        ] {
            assert_eq!(audit(entry), expected, "{sentence}");
        }
        let name = "robot$library+patrold-01020304-gps-g2-070707070707";
        for (sentence, expires, orphans) in [
            ("told by its marker, as it is asked for again", later, vec!["patrold-01020304-gps-g2-070707070707"]),
            ("one that has expired needs nobody", Expiry::told(now), vec![]),
        ] {
            let entry = entry("2", Some(name), expires, false);
            let (account, provider) = (account.clone(), "awx".parse().unwrap());
            let audit = AccountAudit::new(
                account,
                provider,
                true,
                [&entry],
                &known,
                instance,
                (ProviderClock::Seen(Span::zero()), now),
            );
            assert_eq!(audit.orphans().collect::<Vec<_>>(), orphans, "{sentence}");
        }
    }
}
