//! The entries behind the lock of a [`super::Ledger`], with the ways to find one: by secret, by id, by owner, by name.

use std::collections::{BTreeSet, HashMap};

use super::Service;
use super::dice::Dice;
use super::entry::{Counters, End, Issue, LedgerEntry, Why};
use crate::clock::{Span, Time};
use crate::secret::Secret;

/// What a new token is to be.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub service: Service,
    pub owner: u64,
    pub name: String,
    pub remark: Option<String>,
    pub scope: String,
    pub expires: Time,
    pub refresh_expires: Option<Time>,
    pub renewable_until: Option<Time>,
}

/// What became of a refresh token that was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// A new pair was issued for the token with this id.
    Renewed(u64),
    /// The token is gone, or never was.
    Unknown,
    /// Access and refresh token do not belong together.
    Mismatch,
    /// Past the refresh token's expiry or the end of renewals.
    TooLate,
    /// An older pair: the chain is dead now.
    ChainInvalidated,
}

/// An answer to a mint that makes no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// The newest token of the same user, as it is.
    SameToken,
    /// The same with a new secret, which ends the old one.
    SameId,
}

/// Every token, and the sessions.
pub(super) struct Book {
    /// How the next mint lies.
    pub(super) lie: Option<Lie>,
    /// Listings show what was minted until then. None: everything.
    pub(super) shown_until: Option<Time>,
    drawers: [Drawer; 3],
    by_secret: HashMap<Box<str>, Place>,
    by_refresh: HashMap<Box<str>, Place>,
    /// Logins to Commvault, by their token: credentials that are not tokens of the ledger.
    pub(super) sessions: HashMap<String, Session>,
    /// Passwords that were wrong at Commvault since the last right one, by user name.
    pub(super) wrong_passwords: HashMap<String, WrongPasswords>,
    dice: Dice,
}

/// A login that is still in use.
pub(super) struct Session {
    pub(super) user: u64,
    pub(super) last_used: Time,
    /// It ends after so long without a request.
    pub(super) idle: Span,
}

/// Logins of one user that failed in a row.
#[derive(Default)]
pub(super) struct WrongPasswords {
    pub(super) count: u32,
    pub(super) locked_until: Option<Time>,
}

/// The tokens of one service.
#[derive(Default)]
struct Drawer {
    /// The token with the id `n` is at `n - 1`.
    entries: Vec<LedgerEntry>,
    /// Ids that listings show, by owner.
    listed: HashMap<u64, BTreeSet<u64>>,
    by_name: HashMap<Box<str>, Vec<u64>>,
    counters: Counters,
}

/// Where a secret is found.
#[derive(Clone, Copy)]
struct Place {
    service: Service,
    id: u64,
    issue: usize,
}

impl Book {
    /// An empty book whose secrets are drawn from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            lie: None,
            shown_until: None,
            drawers: Default::default(),
            by_secret: HashMap::new(),
            by_refresh: HashMap::new(),
            sessions: HashMap::new(),
            wrong_passwords: HashMap::new(),
            dice: Dice::new(seed),
        }
    }

    /// Enters a new token and returns it.
    pub(super) fn mint(&mut self, order: Order, now: Time) -> &LedgerEntry {
        let exists = |entry: &&LedgerEntry| {
            entry.owner == order.owner && entry.is_marked() && entry.state(now) == super::entry::State::Live
        };
        let newest = self.drawer(order.service).entries.iter().rev().find(exists).map(|entry| entry.id);
        if let Some((lie, id)) = self.lie.take().zip(newest) {
            return self.mint_again(lie, id, order, now);
        }
        let secret = self.fresh_secret(order.service);
        let refresh = order.refresh_expires.map(|_| self.fresh_refresh());
        let drawer = self.drawer_mut(order.service);
        let id = drawer.entries.len() as u64 + 1;
        drawer.counters.minted += 1;
        drawer.listed.entry(order.owner).or_default().insert(id);
        drawer.by_name.entry(order.name.as_str().into()).or_default().push(id);
        drawer.entries.push(LedgerEntry {
            service: order.service,
            id,
            owner: order.owner,
            name: order.name,
            remark: order.remark,
            scope: order.scope,
            created: now,
            issues: vec![Issue {
                secret: secret.clone(),
                refresh: refresh.clone(),
                issued: now,
                expires: order.expires,
                refresh_expires: order.refresh_expires,
                superseded: None,
            }],
            renewable_until: order.renewable_until,
            end: None,
            last_used: None,
            uses: 0,
        });
        let place = Place { service: order.service, id, issue: 0 };
        self.index(&secret, refresh.as_ref(), place);
        &self.drawer(place.service).entries[place.at()]
    }

    /// The answer of a provider that gives or renews the token `id` instead of making one.
    fn mint_again(&mut self, lie: Lie, id: u64, order: Order, now: Time) -> &LedgerEntry {
        let secret = self.fresh_secret(order.service);
        let refresh = order.refresh_expires.map(|_| self.fresh_refresh());
        let mut place = Place { service: order.service, id, issue: 0 };
        let drawer = self.drawer_mut(order.service);
        drawer.by_name.entry(order.name.as_str().into()).or_default().push(id);
        let entry = &mut drawer.entries[place.at()];
        entry.name = order.name;
        if lie == Lie::SameId {
            if let Some(old) = entry.issues.last_mut() {
                old.superseded = Some(now);
            }
            entry.issues.push(Issue {
                secret: secret.clone(),
                refresh: refresh.clone(),
                issued: now,
                expires: order.expires,
                refresh_expires: order.refresh_expires,
                superseded: None,
            });
            place.issue = entry.issues.len() - 1;
            self.index(&secret, refresh.as_ref(), place);
        }
        &self.drawer(place.service).entries[place.at()]
    }

    /// The token that `secret` authenticates at `service` at `now`. Counts as a use of it.
    pub(super) fn authenticate(&mut self, service: Service, secret: &str, now: Time) -> Option<&LedgerEntry> {
        let place = self.by_secret.get(secret).copied().filter(|place| place.service == service);
        let drawer = self.drawer_mut(service);
        let admitted = place.filter(|place| {
            let entry = &drawer.entries[place.at()];
            entry.admits(&entry.issues[place.issue], now)
        });
        let Some(place) = admitted else {
            drawer.counters.turned_away += 1;
            return None;
        };
        drawer.counters.authenticated += 1;
        let entry = &mut drawer.entries[place.at()];
        entry.last_used = Some(now);
        entry.uses += 1;
        Some(entry)
    }

    /// Exchanges a refresh token for a new pair. The old access token dies in the same moment.
    pub(super) fn renew(&mut self, access: &str, refresh: &str, now: Time, lifetimes: [Span; 2]) -> Renewal {
        let Some(place) = self.by_refresh.get(refresh).copied() else { return Renewal::Unknown };
        let entry = &self.drawer(place.service).entries[place.at()];
        if entry.end.is_some() {
            return Renewal::Unknown;
        }
        let issue = &entry.issues[place.issue];
        if issue.superseded.is_some() {
            self.revoke(place.service, place.id, now, now, Why::ChainInvalidated);
            return Renewal::ChainInvalidated;
        }
        if issue.secret.expose() != access {
            return Renewal::Mismatch;
        }
        let over = |end: Option<Time>| end.is_some_and(|end| end <= now);
        if over(issue.refresh_expires) || over(entry.renewable_until) {
            return Renewal::TooLate;
        }
        let [access_lifetime, refresh_lifetime] = lifetimes;
        let (secret, refresh) = (self.fresh_secret(place.service), self.fresh_refresh());
        let drawer = self.drawer_mut(place.service);
        drawer.counters.renewed += 1;
        let entry = &mut drawer.entries[place.at()];
        entry.issues[place.issue].superseded = Some(now);
        entry.issues.push(Issue {
            secret: secret.clone(),
            refresh: Some(refresh.clone()),
            issued: now,
            expires: now + access_lifetime,
            refresh_expires: Some(now + refresh_lifetime),
            superseded: None,
        });
        self.index(&secret, Some(&refresh), Place { issue: place.issue + 1, ..place });
        Renewal::Renewed(place.id)
    }

    /// Ends a token at `at`, for requests from `effective` on. False where it is unknown or already ended.
    pub(super) fn revoke(&mut self, service: Service, id: u64, at: Time, effective: Time, why: Why) -> bool {
        let drawer = self.drawer_mut(service);
        let Some(entry) = id.checked_sub(1).and_then(|at| drawer.entries.get_mut(usize::try_from(at).ok()?)) else {
            return false;
        };
        if entry.end.is_some() {
            return false;
        }
        entry.end = Some(End { at, effective, why });
        if let Some(listed) = drawer.listed.get_mut(&entry.owner) {
            listed.remove(&id);
        }
        match why {
            Why::Revoked => drawer.counters.revoked += 1,
            Why::ChainInvalidated => drawer.counters.chains_invalidated += 1,
            Why::Superseded => {}
        }
        true
    }

    /// Changes the text or the scope of a token.
    pub(super) fn change(
        &mut self,
        service: Service,
        id: u64,
        name: Option<String>,
        scope: Option<String>,
    ) -> Option<&LedgerEntry> {
        let drawer = self.drawer_mut(service);
        let entry = drawer.entries.get_mut(usize::try_from(id.checked_sub(1)?).ok()?)?;
        if let Some(scope) = scope {
            entry.scope = scope;
        }
        if let Some(name) = name {
            drawer.by_name.entry(name.as_str().into()).or_default().push(id);
            entry.name = name;
        }
        Some(entry)
    }

    /// The token of `service` with this id.
    pub(super) fn entry(&self, service: Service, id: u64) -> Option<&LedgerEntry> {
        self.drawer(service).entries.get(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    /// Every token that `service` ever minted, by id.
    pub(super) fn entries(&self, service: Service) -> &[LedgerEntry] {
        &self.drawer(service).entries
    }

    /// What happened at `service` so far.
    pub(super) fn counters(&self, service: Service) -> Counters {
        self.drawer(service).counters
    }

    /// The token that has, or had, `secret`, and which of its secrets that is.
    pub(super) fn find(&self, secret: &str) -> Option<(&LedgerEntry, &Issue)> {
        let place = self.by_secret.get(secret)?;
        let entry = &self.drawer(place.service).entries[place.at()];
        Some((entry, &entry.issues[place.issue]))
    }

    /// The tokens of `owner` that were not revoked, by id: expired ones are among them.
    pub(super) fn listed(&self, service: Service, owner: u64) -> impl DoubleEndedIterator<Item = &LedgerEntry> {
        let ids = self.drawer(service).listed.get(&owner);
        let entries = ids.into_iter().flatten().filter_map(move |id| self.entry(service, *id));
        entries.filter(|entry| self.shows(entry))
    }

    /// The tokens of everybody that were not revoked, by id.
    pub(super) fn listed_of_all(&self, service: Service) -> impl DoubleEndedIterator<Item = &LedgerEntry> {
        self.drawer(service).entries.iter().filter(|entry| entry.end.is_none() && self.shows(entry))
    }

    /// Every token of `owner`, revoked ones too, by id.
    pub(super) fn ever(&self, service: Service, owner: u64) -> impl Iterator<Item = &LedgerEntry> {
        self.drawer(service).entries.iter().filter(move |entry| entry.owner == owner && self.shows(entry))
    }

    fn shows(&self, entry: &LedgerEntry) -> bool {
        self.shown_until.is_none_or(|until| entry.created <= until)
    }

    /// Takes what has expired off the listing of `owner`.
    pub(super) fn unlist_expired(&mut self, service: Service, owner: u64, now: Time) {
        let drawer = self.drawer_mut(service);
        let Drawer { entries, listed, .. } = drawer;
        if let Some(ids) = listed.get_mut(&owner) {
            let entry = |id: &u64| entries.get(usize::try_from(id - 1).ok()?);
            ids.retain(|id| entry(id).is_some_and(|entry| entry.current().expires > now));
        }
    }

    /// Every token of `service` that ever had this very name, by id.
    pub(super) fn named(&self, service: Service, name: &str) -> impl Iterator<Item = &LedgerEntry> {
        let ids = self.drawer(service).by_name.get(name);
        ids.into_iter().flatten().filter_map(move |id| self.entry(service, *id))
    }

    /// A secret for something that is not a token, such as a session.
    pub(super) fn random_text(&mut self, length: usize) -> String {
        self.dice.text(length)
    }

    fn index(&mut self, secret: &Secret, refresh: Option<&Secret>, place: Place) {
        self.by_secret.insert(secret.expose().into(), place);
        if let Some(refresh) = refresh {
            self.by_refresh.insert(refresh.expose().into(), place);
        }
    }

    /// A secret that no token ever had. AWX's have thirty characters; the forms of the others are not documented.
    fn fresh_secret(&mut self, service: Service) -> Secret {
        let length = match service {
            Service::Awx => 30,
            Service::PointOne | Service::Commvault => 64,
        };
        loop {
            let text = self.dice.text(length);
            if !self.by_secret.contains_key(text.as_str()) {
                return Secret::new(text);
            }
        }
    }

    fn fresh_refresh(&mut self) -> Secret {
        loop {
            let text = self.dice.text(36);
            if !self.by_refresh.contains_key(text.as_str()) {
                return Secret::new(text);
            }
        }
    }

    fn drawer(&self, service: Service) -> &Drawer {
        &self.drawers[service as usize]
    }

    fn drawer_mut(&mut self, service: Service) -> &mut Drawer {
        &mut self.drawers[service as usize]
    }
}

impl Place {
    /// The position in the drawer. A place is only made for an entry that is there, and entries stay.
    fn at(self) -> usize {
        usize::try_from(self.id - 1).unwrap_or(usize::MAX)
    }
}
