//! What the simulated providers know: every token that was ever minted, and who holds its secret.

use std::collections::{BTreeMap, BTreeSet};

use crate::account::Listing;
use crate::clock::{Span, Time};
use crate::names::{AccountName, Evidence, HookKey, RemoteId, StoreKey};
use crate::provider::Abilities;
use crate::provider::{Entry, Expiry, MintRequest, Minted, ProviderTime, Remote, Subject};
use crate::secret::{Secret, SecretParts};
use crate::store::Receipt;

/// One token at its provider.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub account: AccountName,
    pub id: String,
    pub marker: Option<String>,
    pub secret: String,
    pub refresh: Option<String>,
    spent: BTreeSet<String>,
    pub born: Time,
    pub expires: Expiry,
    pub refresh_expires: Option<Time>,
    pub revoked: bool,
    /// It was made current once.
    pub handed_over: bool,
    /// An operator has it, and patrold does not answer for it.
    pub operators: bool,
    /// When the last consumer let go of it.
    pub released: Option<Time>,
}

impl Issued {
    /// Whether its secret is accepted.
    pub fn works(&self, now: Time) -> bool {
        self.born <= now && !self.revoked && self.expires.as_told().is_none_or(|expires| now < expires)
    }

    /// Whether anything can still be done with it.
    pub fn lives(&self, now: Time) -> bool {
        self.works(now) || self.born <= now && !self.revoked && self.refresh_expires.is_some_and(|end| now < end)
    }

    fn remote(&self, with_id: bool) -> Remote {
        Remote {
            id: with_id.then(|| self.id.parse().unwrap()),
            expires: self.expires,
            refresh_expires: self.refresh_expires.map(ProviderTime::told),
            renewable_until: None,
            facts: BTreeMap::new(),
        }
    }

    fn parts(&self) -> SecretParts {
        let parts = SecretParts::new(Secret::new(self.secret.clone()));
        match &self.refresh {
            Some(refresh) => parts.with("refresh_token", Secret::new(refresh.clone())),
            None => parts,
        }
    }
}

/// Somebody who reads a store.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub store: StoreKey,
    /// It reads when this hook runs. None: it always sees what the store holds.
    pub hook: Option<HookKey>,
    pub holds: Option<String>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub abilities: Abilities,
    /// What mints give. `None`: they never end.
    pub lifetime: Option<Span>,
    pub refresh_lifetime: Span,
    /// How long a new token is not accepted yet.
    pub verify_lag: Span,
    /// Old generations must live so long after their handover, where that can be told.
    pub grace: Option<Span>,
    /// The providers' clock minus ours. All times of the ledger are on their clock.
    pub skew: Span,
    pub tokens: Vec<Issued>,
    /// What an operator put where `initial` says.
    pub initial: Option<SecretParts>,
    pub stores: BTreeMap<StoreKey, String>,
    /// A store that takes no other value than the one that it holds.
    pub full: Option<StoreKey>,
    /// Of each store, how often it was written, where stores tell nothing else.
    pub writes: Option<BTreeMap<StoreKey, u32>>,
    pub consumers: Vec<Consumer>,
    /// What must never happen and did.
    pub violations: Vec<String>,
    /// Mints that were refused because as many tokens lived as may.
    pub crowded: usize,
    /// Nobody knows whether a mint happened: how often its token was looked for in vain.
    pub doubt: Option<usize>,
    serial: usize,
}

impl Ledger {
    pub fn new(abilities: Abilities) -> Self {
        Self {
            abilities,
            lifetime: Some(Span::days(30)),
            refresh_lifetime: Span::days(1),
            verify_lag: Span::zero(),
            grace: None,
            skew: Span::zero(),
            tokens: Vec::new(),
            initial: None,
            stores: BTreeMap::new(),
            full: None,
            writes: None,
            consumers: Vec::new(),
            violations: Vec::new(),
            crowded: 0,
            doubt: None,
            serial: 0,
        }
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.serial += 1;
        format!("{prefix}-{}", self.serial)
    }

    /// A token that takes effect at `born`.
    pub fn issue(&mut self, account: &AccountName, marker: Option<&str>, now: Time, born: Time) -> Minted {
        let renews = self.abilities.can.renews;
        let issued = Issued {
            account: account.clone(),
            id: self.fresh("id"),
            marker: marker.map(str::to_owned),
            secret: self.fresh("secret"),
            refresh: renews.then(|| self.fresh("refresh")),
            spent: BTreeSet::new(),
            born,
            expires: self.lifetime.map_or(Expiry::Never, |lifetime| Expiry::told(now + lifetime)),
            refresh_expires: renews.then(|| now + self.refresh_lifetime),
            revoked: false,
            handed_over: false,
            operators: false,
            released: None,
        };
        let minted = self.minted(&issued);
        self.tokens.push(issued);
        minted
    }

    fn minted(&self, issued: &Issued) -> Minted {
        let remote = issued.remote(self.abilities.can.has_id);
        Minted { secret: issued.parts(), remote, unread: Vec::new(), rejection: None }
    }

    /// Whether another token is one too many.
    pub fn is_full(&self, account: &AccountName, now: Time) -> bool {
        let live = self.tokens.iter().filter(|token| token.account == *account && token.works(now)).count();
        self.abilities.can.max_live.is_some_and(|most| live >= most)
    }

    pub fn mint(&mut self, account: &AccountName, mint_request: &MintRequest, now: Time, born: Time) -> Minted {
        let can_look = self.abilities.can.lists && self.abilities.can.marks;
        // Where consumers need a token, it is looked for afterwards.
        let secure = |secret: &String| {
            self.tokens.iter().any(|token| token.secret == *secret && token.works(now) && !self.near_end(token, now))
        };
        let comfortable = !self.consumers.is_empty()
            && self.consumers.iter().all(|consumer| consumer.holds.as_ref().is_some_and(secure));
        if let Some(looks) = self.doubt.filter(|looks| can_look && comfortable && *looks < 3) {
            self.violations.push(format!("a mint at {now} although one is in doubt that was looked for {looks} times"));
        }
        self.issue(account, Some(mint_request.marker.as_str()), now, born)
    }

    fn near_end(&self, token: &Issued, now: Time) -> bool {
        let tenth = self.lifetime.map(|lifetime| lifetime / 10);
        token.expires.moment().zip(tenth).is_some_and(|(end, tenth)| end.as_told() - now <= tenth)
    }

    pub fn renew(&mut self, subject: &Subject, now: Time) -> Option<Minted> {
        let presented = subject.secret.as_ref()?.part("refresh_token")?.expose().to_owned();
        let (secret, refresh) = (self.fresh("secret"), self.fresh("refresh"));
        let lifetime = self.lifetime.unwrap_or(Span::days(1));
        if let Some(reused) = self.tokens.iter_mut().find(|token| token.spent.contains(&presented)) {
            reused.revoked = true;
            self.violations.push(format!("{presented} was presented twice"));
            return None;
        }
        let found = self.tokens.iter_mut().find(|token| token.refresh.as_ref() == Some(&presented))?;
        if !found.lives(now) {
            return None;
        }
        found.spent.insert(presented);
        found.secret = secret;
        found.refresh = Some(refresh);
        found.expires = Expiry::told(now + lifetime);
        found.refresh_expires = Some(now + self.refresh_lifetime);
        let found = found.clone();
        Some(self.minted(&found))
    }

    pub fn accepts(&self, subject: &Subject, now: Time) -> Option<&Issued> {
        let secret = subject.secret.as_ref()?.token().expose();
        self.tokens
            .iter()
            .find(|token| token.secret == secret && token.works(now) && now >= token.born + self.verify_lag)
    }

    /// Revokes what `subject` names; true where there was something to revoke.
    pub fn revoke(&mut self, account: &AccountName, subject: &Subject, now: Time) -> bool {
        let id = subject.id.as_ref().map(RemoteId::as_str);
        let secret = subject.secret.as_ref().map(|secret| secret.token().expose());
        // What ends itself is the token that presents itself.
        let itself = self.abilities.revokes_self && secret.is_some();
        let found = self.tokens.iter_mut().find(|token| {
            let named = token.marker.is_some() && token.marker.as_deref() == subject.name.as_deref();
            let named = (named || Some(token.id.as_str()) == id) && !itself;
            token.account == *account && (named || Some(token.secret.as_str()) == secret)
        });
        let Some(token) = found.filter(|token| token.born <= now && !token.revoked) else { return false };
        token.revoked = true;
        let token = token.clone();
        if token.expires.as_told().is_none_or(|expires| now < expires) {
            for consumer in self.consumers.iter().filter(|consumer| consumer.holds.as_ref() == Some(&token.secret)) {
                let text = format!("{} was revoked at {now} while a consumer of {} holds it", token.id, consumer.store);
                self.violations.push(text);
            }
            let early = self.grace.zip(token.released).filter(|(grace, at)| token.handed_over && now < *at + *grace);
            if let Some((_, at)) = early {
                self.violations.push(format!("{} was revoked at {now}, its grace began at {at}", token.id));
            }
        }
        true
    }

    /// A whole listing.
    pub fn listing(&self, account: &AccountName, now: Time) -> Listing {
        Listing::new(now - self.skew, self.entries(account, now), Some(self.skew), true)
    }

    fn entries(&self, account: &AccountName, now: Time) -> Vec<Entry> {
        let of_account = self.tokens.iter().filter(|token| token.account == *account && token.lives(now));
        let entry = |token: &Issued| Entry {
            remote: token.remote(true),
            name: token.marker.clone().filter(|_| self.abilities.can.marks),
            dead: false,
            created: Some(ProviderTime::told(token.born)),
            last_used: None,
        };
        of_account.map(entry).collect()
    }

    pub fn refuses(&self, store: &StoreKey, secret: &str) -> bool {
        self.full.as_ref() == Some(store) && self.stores.get(store).is_some_and(|held| held != secret)
    }

    pub fn write(&mut self, store: &StoreKey, secret: &str, now: Time) -> Option<Receipt> {
        self.stores.insert(store.clone(), secret.to_owned());
        self.read(|consumer| consumer.store == *store && consumer.hook.is_none(), now);
        *self.writes.as_mut()?.entry(store.clone()).or_default() += 1;
        Some(Receipt { evidence: self.evidence(store) })
    }

    /// What a store that tells nothing else says of its state.
    pub fn evidence(&self, store: &StoreKey) -> Option<Evidence> {
        let count = self.writes.as_ref()?.get(store)?;
        Some(format!("write {count}").parse().unwrap())
    }

    pub fn run_hook(&mut self, hook: &HookKey, now: Time) {
        self.read(|consumer| consumer.hook.as_ref() == Some(hook), now);
    }

    /// Consumers look at their stores.
    pub fn read(&mut self, who: impl Fn(&Consumer) -> bool, now: Time) {
        for consumer in self.consumers.iter_mut().filter(|consumer| who(consumer)) {
            let new = self.stores.get(&consumer.store).cloned();
            if consumer.holds == new {
                continue;
            }
            let old = std::mem::replace(&mut consumer.holds, new);
            if let Some(token) = old.and_then(|old| self.tokens.iter_mut().find(|token| token.secret == old)) {
                token.released = Some(now);
            }
        }
    }

    /// Consumers whose secret is not accepted.
    pub fn unserved(&self, now: Time) -> Vec<&Consumer> {
        let works = |secret: &String| self.tokens.iter().any(|token| token.secret == *secret && token.works(now));
        self.consumers.iter().filter(|consumer| !consumer.holds.as_ref().is_some_and(works)).collect()
    }
}
