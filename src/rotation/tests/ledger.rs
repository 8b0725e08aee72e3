//! What the simulated providers know: every token that was ever minted, and who holds its secret.

use std::collections::{BTreeMap, BTreeSet};

use crate::account::Listing;
use crate::clock::{Span, Time};
use crate::inventory::StorePolicy;
use crate::names::{AccountName, Evidence, HookKey, RemoteId, StoreKey};
use crate::outcome::Failure;
use crate::provider::Abilities;
use crate::provider::{Entry, Expiry, MintRequest, Minted, ProviderTime, Received, Remote, Subject, shown_ahead};
use crate::rotation::orphan::MEMORY;
use crate::secret::{Secret, SecretParts};
use crate::store::judge::{Found, Judge, Move};
use crate::store::{Known, Receipt};

use super::lies::{Lie, Lies};
use super::world::fingerprinter;

/// Nobody mints more often within an hour, whatever its provider says: each wait after a failure is twice the one before,
/// so that a dozen fill an hour. While consumers have nothing that works, as far as anybody can tell, a minute bounds the
/// wait; half of it is drawn here.
const MOST_MINTS: usize = 130;

/// One token at its provider.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is another thing that may have become of it")]
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
    /// When it was revoked, where patrold did that.
    revoked_at: Option<Time>,
    /// A provider that gives the same secret twice gives it another id.
    aliases: Vec<String>,
    /// Nobody got the answer that had its secret, or wrote it down.
    pub lost: bool,
    /// The journal that knew of it is gone: what is left of it is an orphan for `audit`.
    pub astray: bool,
    /// Since when every listing that should contain it lacks it.
    omitted: Option<Time>,
    /// A revocation was answered "not found", and it lives.
    denied: bool,
    /// A listing said that it had expired, and it lives.
    called_over: bool,
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

    /// Whether a provider calls it by `id`.
    pub fn is_called(&self, id: &str) -> bool {
        self.id == id || self.aliases.iter().any(|alias| alias == id)
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

/// How a provider answers when it is asked to revoke what is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    /// With words that name the token.
    Named,
    /// With "not found", which may mean anything.
    NotFound,
    /// With an error.
    Refused,
}

/// What became of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revoked {
    Now,
    Before,
    /// It lives, and the provider says that it is not there.
    Hidden,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of its own that a provider has or lacks")]
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
    /// What they say wrongly.
    pub lies: Lies,
    /// How long a token that is new or revoked does not show in listings as such.
    pub shows_after: Span,
    /// Neither listings nor verifications tell ids.
    pub anonymous: bool,
    /// Listings call a token by its marker and words of their own.
    pub decorates: bool,
    /// How a revocation of what is gone already is answered.
    pub repetition: Repetition,
    /// The journal was set back once.
    pub restored: bool,
    /// When mints were asked for, on our clock.
    minted: Vec<Time>,
    /// The most tokens that lived at once.
    pub most_alive: usize,
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
    /// The journal is older than the first token that consumers got: patrold takes it that they have none.
    pub unaware: bool,
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
            lies: Lies::default(),
            shows_after: Span::zero(),
            anonymous: false,
            decorates: false,
            repetition: Repetition::Named,
            restored: false,
            minted: Vec::new(),
            most_alive: 0,
            tokens: Vec::new(),
            initial: None,
            stores: BTreeMap::new(),
            full: None,
            writes: None,
            consumers: Vec::new(),
            violations: Vec::new(),
            crowded: 0,
            doubt: None,
            unaware: false,
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
            revoked_at: None,
            aliases: Vec::new(),
            lost: false,
            astray: false,
            omitted: None,
            denied: false,
            called_over: false,
            handed_over: false,
            operators: false,
            released: None,
        };
        let minted = self.answer(&issued, now, None);
        self.tokens.push(issued);
        minted
    }

    /// The answer that has the secret of `issued`. `asked`: the lifetime that was asked for.
    fn answer(&self, issued: &Issued, now: Time, asked: Option<Span>) -> Minted {
        let id = issued.aliases.last().unwrap_or(&issued.id);
        let id = self.abilities.can.has_id.then(|| id.parse().unwrap());
        let mut remote = self.remote(issued, id, now, asked);
        if self.lies.tells(now, |lie| matches!(lie, Lie::Past)).is_some() {
            remote.expires = Expiry::At(self.told(Time::UNIX_EPOCH, now, None));
        }
        Minted { secret: issued.parts(), remote, unread: Vec::new(), rejection: None }
    }

    /// What an answer at `now` says of a token.
    fn remote(&self, issued: &Issued, id: Option<RemoteId>, now: Time, asked: Option<Span>) -> Remote {
        let told = |moment: Time| self.told(moment, now, asked);
        Remote {
            id,
            expires: match issued.expires {
                Expiry::At(moment) => Expiry::At(told(moment.as_told())),
                other => other,
            },
            refresh_expires: issued.refresh_expires.map(told),
            renewable_until: None,
            facts: BTreeMap::new(),
        }
    }

    /// A moment of the providers' clock as an answer at `now` tells it, with what the same answer shows of the clocks.
    fn told(&self, moment: Time, now: Time, asked: Option<Span>) -> ProviderTime {
        let written = moment + self.lies.zone(now);
        let received = Received { at: now - self.skew, header: Some(self.header(now)) };
        ProviderTime::new(written, received.header, shown_ahead(received, None, Some(written), asked))
    }

    /// The `Date` of an answer minus our clock.
    pub fn header(&self, now: Time) -> Span {
        self.skew + self.lies.header(now)
    }

    /// What an answer that accepts `issued` says of its end.
    pub fn expiry(&self, issued: &Issued, now: Time) -> Expiry {
        let just = self.lies.tells(now, |lie| matches!(lie, Lie::Expired)).map(|_| now - Span::seconds(1));
        match issued.expires {
            Expiry::At(moment) => Expiry::At(self.told(just.unwrap_or(moment.as_told()), now, None)),
            other => other,
        }
    }

    /// Whether another token is one too many.
    pub fn is_full(&self, account: &AccountName, now: Time) -> bool {
        let live = self.tokens.iter().filter(|token| token.account == *account && token.works(now)).count();
        self.abilities.can.max_live.is_some_and(|most| live >= most)
    }

    pub fn mint(&mut self, account: &AccountName, mint_request: &MintRequest, now: Time, born: Time) -> Minted {
        let can_look = self.abilities.can.lists && self.abilities.can.marks;
        // Where consumers need a token, or seem to by all that the provider tells, it is looked for afterwards.
        let sound = |token: &Issued| token.works(now) && !self.near_end(token, now) && !self.is_disowned(token, now);
        let secure = |secret: &String| self.tokens.iter().any(|token| token.secret == *secret && sound(token));
        let comfortable = !self.unaware
            && !self.consumers.is_empty()
            && self.consumers.iter().all(|consumer| consumer.holds.as_ref().is_some_and(secure));
        if let Some(looks) = self.doubt.filter(|looks| can_look && comfortable && *looks < 3) {
            self.violations.push(format!("a mint at {now} although one is in doubt that was looked for {looks} times"));
        }
        let at = now - self.skew;
        self.minted.retain(|minted| *minted <= at && at - *minted < Span::hours(1));
        self.minted.push(at);
        if self.minted.len() > MOST_MINTS {
            self.violations.push(format!("{} mints within the hour before {now}", self.minted.len()));
        }
        if let Some(minted) = self.given_again(account, mint_request, now) {
            return minted;
        }
        let mut minted = self.issue(account, Some(mint_request.marker.as_str()), now, born);
        if let Some(issued) = self.tokens.last() {
            let asked = mint_request.lifetime.or(self.lifetime);
            minted = self.answer(issued, now, asked);
        }
        minted
    }

    /// A provider that answers a mint with a token that exists.
    fn given_again(&mut self, account: &AccountName, mint_request: &MintRequest, now: Time) -> Option<Minted> {
        let lie = self.lies.tells(now, |lie| matches!(lie, Lie::Again { .. } | Lie::Alias | Lie::Regenerated))?;
        // The same secret under two ids, one of which nobody was ever told: no listing shows that they are one.
        let told = |it: &Issued| lie != Lie::Alias || !it.lost;
        let ours = |it: &Issued| it.account == *account && it.marker.is_some() && !it.operators && it.works(now);
        let ours = |it: &Issued| ours(it) && told(it);
        let position = self.tokens.iter().rposition(ours)?;
        let (alias, secret) = (self.fresh("id"), self.fresh("secret"));
        let issued = &mut self.tokens[position];
        match lie {
            Lie::Again { renamed } if renamed => issued.marker = Some(mint_request.marker.as_str().to_owned()),
            Lie::Alias => issued.aliases.push(alias),
            Lie::Regenerated => issued.secret = secret,
            _ => {}
        }
        let issued = issued.clone();
        Some(self.answer(&issued, now, mint_request.lifetime.or(self.lifetime)))
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
            let worked = reused.works(now);
            reused.revoked = true;
            let held = |consumer: &Consumer| consumer.holds.as_ref() == Some(&reused.secret);
            // An older journal cannot know what is spent: it may lose nobody a secret that works.
            if !self.restored || worked && self.consumers.iter().any(held) {
                self.violations.push(format!("{presented} was presented twice, at {now}"));
            }
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
        Some(self.answer(&found, now, self.lifetime))
    }

    /// The token whose secret is accepted.
    pub fn accepts(&self, subject: &Subject, now: Time) -> Option<&Issued> {
        let secret = subject.secret.as_ref()?.token().expose();
        let known = self.tokens.iter().find(|token| token.secret == secret && token.born <= now)?;
        if self.lies.tells(now, |lie| matches!(lie, Lie::Accepts)).is_some() {
            return Some(known);
        }
        // Two lies about the end of one token would leave nobody who could know of it.
        let refused = !known.denied && self.lies.tells(now, |lie| matches!(lie, Lie::Refuses)).is_some();
        Some(known).filter(|token| token.works(now) && now >= token.born + self.verify_lag && !refused)
    }

    /// Revokes what `subject` names.
    pub fn revoke(&mut self, account: &AccountName, subject: &Subject, now: Time) -> Revoked {
        let hidden = self.lies.tells(now, |lie| matches!(lie, Lie::Hidden)).is_some();
        let id = subject.id.as_ref().map(RemoteId::as_str);
        let secret = subject.secret.as_ref().map(|secret| secret.token().expose());
        // What ends itself is the token that presents itself.
        let itself = self.abilities.revokes_self && secret.is_some();
        let found = self.tokens.iter_mut().find(|token| {
            let named = token.marker.is_some() && token.marker.as_deref() == subject.name.as_deref();
            let named = (named || id.is_some_and(|id| token.is_called(id))) && !itself;
            token.account == *account && (named || Some(token.secret.as_str()) == secret)
        });
        let Some(token) = found.filter(|token| token.born <= now && !token.revoked) else { return Revoked::Before };
        if hidden {
            token.denied = token.lives(now);
            return if token.denied { Revoked::Hidden } else { Revoked::Before };
        }
        token.revoked = true;
        token.revoked_at = Some(now);
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
        Revoked::Now
    }

    /// A listing that its provider calls whole. None: it is refused.
    pub fn listing(&mut self, account: &AccountName, now: Time) -> Option<Listing> {
        if self.lies.tells(now, |lie| matches!(lie, Lie::Forbidden)).is_some() {
            return None;
        }
        let shown: Vec<bool> =
            self.tokens.iter().map(|token| token.account == *account && self.shows(token, now)).collect();
        let entries = self.tokens.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(it, _)| self.entry(it, now));
        let entries = entries.collect();
        let over = self.lies.tells(now, |lie| matches!(lie, Lie::Expired)).is_some();
        for (token, shown) in self.tokens.iter_mut().zip(shown) {
            token.called_over |= shown && over;
            if shown || !token.lives(now) {
                token.omitted = None;
            } else if token.account == *account && token.born + self.shows_after <= now {
                token.omitted.get_or_insert(now);
            }
        }
        Some(Listing::new(now - self.skew, entries, Some(self.header(now)), true))
    }

    /// Whether a listing at `now` contains `token`.
    fn shows(&self, token: &Issued, now: Time) -> bool {
        let lied = |lie: fn(&Lie) -> bool| self.lies.tells(now, lie);
        let stale = match lied(|lie| matches!(lie, Lie::Stale(_))) {
            Some(Lie::Stale(age)) => age,
            _ => Span::zero(),
        };
        if lied(|lie| matches!(lie, Lie::Filtered)).is_some() {
            return false;
        }
        if lied(|lie| matches!(lie, Lie::Partial)).is_some() && (token.secret.len() + self.serial) & 1 == 0 {
            return false;
        }
        let then = now - stale - self.shows_after;
        let ghost = lied(|lie| matches!(lie, Lie::Ghosts)).is_some() && token.born <= now;
        let was_there = match token.revoked_at {
            Some(revoked_at) => then < revoked_at,
            None => !token.revoked,
        };
        let over = |end: Time| end <= now - stale;
        let ended = token.expires.as_told().is_some_and(over) && token.refresh_expires.is_none_or(over);
        token.born <= then && was_there && !ended || ghost
    }

    /// The id of a token, where its provider shows ids.
    pub fn shown_id(&self, token: &Issued) -> Option<RemoteId> {
        (!self.anonymous).then(|| token.id.parse().unwrap())
    }

    fn entry(&self, token: &Issued, now: Time) -> Entry {
        let name = token.marker.as_ref().filter(|_| self.abilities.can.marks);
        let mut remote = self.remote(token, self.shown_id(token), now, None);
        remote.expires = self.expiry(token, now);
        Entry {
            remote,
            name: name.map(|marker| if self.decorates { format!("robot$library+{marker}") } else { marker.clone() }),
            dead: false,
            created: Some(self.told(token.born, now, None)),
            last_used: None,
        }
    }

    /// Whether a provider denied so much of a live token that nobody can be expected to know of it: every listing lacked it
    /// for as long as it is remembered; or for longer than its provider needs to show it, where nothing but listings could
    /// tell that it lives; or a listing said that it had expired, and it can neither be asked nor revoked.
    pub fn is_disowned(&self, token: &Issued, now: Time) -> bool {
        let can = self.abilities.can;
        if token.called_over && !can.verifies && !can.revokes {
            return true;
        }
        // Its lifetime is not known, either: a day after it was asked for, one listing decides.
        if token.lost && !can.revokes && token.omitted.is_some() {
            return true;
        }
        let blind = !self.abilities.can.verifies || token.lost && token.denied;
        let enough = if blind { self.abilities.settle } else { MEMORY };
        token.omitted.is_some_and(|since| now - since >= enough)
    }

    pub fn refuses(&self, store: &StoreKey, secret: &str) -> bool {
        self.full.as_ref() == Some(store) && self.stores.get(store).is_some_and(|held| held != secret)
    }

    pub fn write(&mut self, store: &StoreKey, secret: &str, now: Time) -> Option<Receipt> {
        let works = |secret: &str| self.tokens.iter().any(|token| token.secret == secret && token.works(now));
        let lost = self.stores.get(store).filter(|held| works(held) && !works(secret));
        // Who cannot be asked, or says yes to everything, cannot tell.
        let tells = self.abilities.can.verifies && self.lies.tells(now, |lie| matches!(lie, Lie::Accepts)).is_none();
        if let Some(lost) = lost.filter(|_| tells) {
            self.violations
                .push(format!("{store} held {lost}, which works, and got {secret} at {now}, which does not"));
        }
        self.overwrite(store, secret, now)
    }

    /// Somebody writes to a store.
    pub fn overwrite(&mut self, store: &StoreKey, secret: &str, now: Time) -> Option<Receipt> {
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

    /// Why a store that hides what it holds is not written.
    pub fn stranger(&self, store: &StorePolicy, known: &Known) -> Option<Failure> {
        self.writes.as_ref()?;
        let evidence = self.evidence(&store.key);
        let found = if evidence.is_none() { Found::Absent } else { Found::Hidden(evidence) };
        match Judge::of(store, None, known, fingerprinter()).judge(&found) {
            Move::Stop(stranger) => Some(stranger.failure(&store.key)),
            _ => None,
        }
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
