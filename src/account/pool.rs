//! The accounts of a running daemon: who sends requests, with whose secret, and what the provider listed last.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::member::Member;
use crate::account::Account;
use crate::clock::{Clock, Span, Time};
use crate::endpoint::Workshop;
use crate::endpoint::limit::Memory;
use crate::endpoint::shared::{Bounds, EndpointKey, Shared};
use crate::inventory::{AccountPolicy, Credential, Inventory};
use crate::names::{AccountName, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::provider::Abilities;
use crate::secret::SecretParts;
use crate::secret::keyring::Keyring;
use crate::trust::{TlsPolicy, TrustError, TrustRoots};

/// The newest secret of a managed token that accounts authenticate with.
type Managed = watch::Sender<Option<Arc<SecretParts>>>;

/// A managed token, and how often accounts got another secret of it.
#[derive(Debug, Default)]
struct Held {
    secret: Managed,
    changes: u64,
}

/// Which secret of a managed token wins: the one that is set, or the one that accounts have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// It is the newest: accounts use it from now on.
    Newest,
    /// It may be older than what they have: used only by those that have none.
    Older,
}

/// Every account, by name. Clones share everything.
#[derive(Debug)]
pub struct Accounts<C> {
    clock: C,
    workshop: Workshop,
    keyring: Arc<Keyring>,
    members: RwLock<HashMap<AccountName, Arc<Member<C>>>>,
    /// Trust roots as they were last read. Held while accounts are made anew: one after the other.
    roots: tokio::sync::Mutex<Roots>,
    /// Tokens that accounts authenticate with.
    managed: RwLock<HashMap<TokenName, Held>>,
}

/// Trust roots, or why there are none, by where they come from.
type Roots = BTreeMap<TlsPolicy, Result<TrustRoots, TrustError>>;

impl<C: Clock> Accounts<C> {
    /// No accounts yet. `workshop` makes their endpoints.
    pub fn new(clock: C, workshop: Workshop) -> Self {
        Self {
            clock,
            workshop,
            keyring: Arc::default(),
            members: RwLock::default(),
            managed: RwLock::default(),
            roots: tokio::sync::Mutex::default(),
        }
    }

    /// The secrets that any of them presented.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The time on our clock.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Takes over the accounts of `inventory`, and reads all trust roots anew. One that did not change keeps everything;
    /// one whose address and credential did not change keeps its limits, its session and what is known of its health.
    /// One that is gone stays usable, for the generations that only it can revoke.
    ///
    /// Nothing is in force before all of it is made: files are read first, and nobody waits for them.
    #[must_use = "what became of trust roots is to be told"]
    pub async fn update(&self, inventory: &Inventory) -> Vec<RootsNews> {
        self.renew(inventory, &mut *self.roots.lock().await).await
    }

    async fn renew(&self, inventory: &Inventory, roots: &mut Roots) -> Vec<RootsNews> {
        let old = self.all();
        let gone = old.iter().filter(|(name, _)| !inventory.accounts.contains_key(*name));
        let mut policies = inventory.accounts.clone();
        policies.extend(gone.map(|(name, member)| (name.clone(), Arc::clone(&member.policy))));
        let (read, news) = read_roots(&policies, std::mem::take(roots)).await;
        *roots = read;
        let now = self.clock.now();
        let mut bounds: HashMap<EndpointKey, Bounds> = HashMap::new();
        for policy in inventory.accounts.values() {
            let own = Bounds::of(&policy.endpoint);
            bounds.entry(EndpointKey::of(&policy.endpoint)).and_modify(|all| *all = all.and(own)).or_insert(own);
        }
        let mut endpoints: HashMap<_, _> = old
            .values()
            .filter_map(|member| member.shared())
            .map(|endpoint| (endpoint.key().clone(), Arc::clone(endpoint)))
            .collect();
        // What of it ends with this update is known where an account comes back to it.
        for endpoint in endpoints.values() {
            endpoint.note(now);
        }
        let mut made = HashMap::new();
        for (name, policy) in policies {
            let roots = policy.endpoint.tls().and_then(|source| roots.get(source).cloned());
            let before = old.get(&name);
            if before.is_none_or(|member| *member.policy != *policy || member.roots != roots) {
                made.insert(name, Arc::new(self.member(policy, roots, before, &bounds, &mut endpoints, now)));
            }
        }
        for (key, bounds) in bounds {
            if let Some(endpoint) = endpoints.get(&key) {
                endpoint.hold_to(bounds);
            }
        }
        self.members.write().unwrap_or_else(PoisonError::into_inner).extend(made);
        news
    }

    fn member(
        &self,
        policy: Arc<AccountPolicy>,
        roots: Option<Result<TrustRoots, TrustError>>,
        before: Option<&Arc<Member<C>>>,
        bounds: &HashMap<EndpointKey, Bounds>,
        endpoints: &mut HashMap<EndpointKey, Arc<Shared>>,
        now: Time,
    ) -> Member<C> {
        let key = EndpointKey::of(&policy.endpoint);
        let stayed = before.filter(|before| before.shared().is_some_and(|endpoint| *endpoint.key() == key));
        let client = if let Some(account) = stayed.and_then(|stayed| stayed.client.as_ref().ok()) {
            Ok(account.changed(Arc::clone(&policy), Arc::clone(&self.keyring), roots.as_ref()))
        } else {
            let endpoint = endpoints.get(&key).cloned().map_or_else(
                || {
                    let managed = match &policy.endpoint.credential {
                        Credential::Token(token) => Some(self.managed(token).subscribe()),
                        Credential::Secret(_) | Credential::Basic { .. } | Credential::Nothing => None,
                    };
                    let bounds = bounds.get(&key).copied().unwrap_or(Bounds::of(&policy.endpoint));
                    self.workshop.shared(&policy.endpoint, bounds, managed, now)
                },
                Ok,
            );
            endpoint
                .inspect(|endpoint| drop(endpoints.insert(key, Arc::clone(endpoint))))
                .map(|endpoint| {
                    Account::new(
                        Arc::clone(&policy),
                        self.clock.clone(),
                        endpoint,
                        Arc::clone(&self.keyring),
                        roots.as_ref(),
                    )
                })
                .map_err(|error| Failure::new(FailureCode::Request, error.to_string()))
        };
        let same_lists = stayed.filter(|stayed| stayed.policy.provider == policy.provider);
        Member {
            clock: self.clock.clone(),
            client,
            roots,
            abilities: Arc::new(Abilities { settle: policy.settle, ..Abilities::of(&policy.provider) }),
            policy,
            listings: same_lists.map(|stayed| Arc::clone(&stayed.listings)).unwrap_or_default(),
            surveys: same_lists.map(|stayed| Arc::clone(&stayed.surveys)).unwrap_or_default(),
        }
    }

    /// Reads the trust roots of `account` anew where they could not be used: a file system that comes late reports
    /// nothing.
    #[must_use = "what became of trust roots is to be told"]
    pub async fn mend(&self, account: &AccountName, inventory: &Inventory) -> Vec<RootsNews> {
        if self.get(account).is_some_and(|member| member.lacks_roots()) {
            let mut roots = self.roots.lock().await;
            // Somebody else may have done it meanwhile.
            if self.get(account).is_some_and(|member| member.lacks_roots()) {
                return self.renew(inventory, &mut roots).await;
            }
        }
        Vec::new()
    }

    /// Gives up every question that is under way, and every wait for a turn: what changes nothing delays no stop.
    pub fn hang_up(&self) {
        self.workshop.hang_up();
    }

    /// Writes down the limits of all accounts, for the next start.
    pub async fn write_limits(&self) {
        let now = self.clock.now();
        for endpoint in self.all().values().filter_map(|member| member.shared()) {
            endpoint.note(now);
        }
        self.workshop.limits().save().await;
    }

    /// Tells whenever the limits of an account have changed, and are to be known elsewhere.
    pub fn limits_saved(&self) -> watch::Receiver<u64> {
        self.workshop.limits().saved()
    }

    /// What another process has to know of the limits of `account`.
    pub fn memory_of(&self, account: &AccountName) -> Option<Memory> {
        Some(self.get(account)?.shared()?.memory())
    }

    /// Holds `account` to what another process told then of its limits; `untold`: of so long it told nothing, and may have sent all
    /// the while. What is known here counts on where `also` is so of another account at the same endpoint.
    pub fn carry_on(
        &self,
        account: &AccountName,
        (at, memory): (Time, Memory),
        also: impl Fn(&AccountName) -> bool,
        untold: Option<Span>,
    ) {
        let members = self.all();
        let Some(shared) = members.get(account).and_then(|member| member.shared()) else { return };
        let mut others = members.iter().filter(|(name, _)| *name != account && also(name));
        let known = others.any(|(_, member)| member.shared().is_some_and(|other| Arc::ptr_eq(other, shared)));
        shared.carry_on((at, memory), known, untold, self.clock.now());
    }

    fn managed(&self, token: &TokenName) -> Managed {
        let mut managed = self.managed.write().unwrap_or_else(PoisonError::into_inner);
        managed.entry(token.clone()).or_default().secret.clone()
    }

    /// The account called `name`.
    pub fn get(&self, name: &AccountName) -> Option<Arc<Member<C>>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Every account, by name.
    pub fn all(&self) -> BTreeMap<AccountName, Arc<Member<C>>> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.iter().map(|(name, member)| (name.clone(), Arc::clone(member))).collect()
    }

    /// Whether an account authenticates with `token`.
    pub fn authenticate_with(&self, token: &TokenName) -> bool {
        self.managed.read().unwrap_or_else(PoisonError::into_inner).contains_key(token)
    }

    /// Gives accounts that authenticate with `token` its secret.
    pub fn set_credential(&self, token: &TokenName, secret: SecretParts, precedence: Precedence) {
        let mut managed = self.managed.write().unwrap_or_else(PoisonError::into_inner);
        let held = managed.entry(token.clone()).or_default();
        match precedence {
            Precedence::Newest => {
                held.changes += 1;
                held.secret.send_replace(Some(Arc::new(secret)));
            }
            Precedence::Older if held.secret.borrow().is_some() => {}
            Precedence::Older => drop(held.secret.send_replace(Some(Arc::new(secret)))),
        }
    }

    /// How often `credential` got another secret, where it is a token.
    pub fn changes(&self, credential: &Credential) -> u64 {
        let managed = self.managed.read().unwrap_or_else(PoisonError::into_inner);
        match credential {
            Credential::Token(token) => managed.get(token).map_or(0, |held| held.changes),
            Credential::Secret(_) | Credential::Basic { .. } | Credential::Nothing => 0,
        }
    }

    /// Whether `credential` is a token that has no secret yet.
    pub fn lacks(&self, credential: &Credential) -> bool {
        match credential {
            Credential::Token(token) => self.managed(token).borrow().is_none(),
            Credential::Secret(_) | Credential::Basic { .. } | Credential::Nothing => false,
        }
    }
}

/// The result of reading trust roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootsNews {
    /// They cannot be used, and nobody is trusted by them.
    Unusable { place: String, error: TrustError },
    /// The system has none; those that are compiled in are used.
    CompiledIn,
    /// Others than before are in use.
    Changed { place: String },
}

/// Reads the trust roots of `policies`, off the runtime. Those that did not change stay the objects that they were, and
/// are no news.
async fn read_roots(policies: &BTreeMap<AccountName, Arc<AccountPolicy>>, before: Roots) -> (Roots, Vec<RootsNews>) {
    let sources: BTreeSet<_> = policies.values().filter_map(|policy| policy.endpoint.tls().cloned()).collect();
    let read = tokio::task::spawn_blocking(move || {
        let mut news = Vec::new();
        let read = sources.into_iter().map(|source| {
            let new = TrustRoots::read(&source);
            let old = before.get(&source);
            let kept = old.filter(|old| **old == new).cloned();
            if kept.is_none() {
                news.extend(roots_news(&source, &new, old.is_none()));
            }
            (source, kept.unwrap_or(new))
        });
        (read.collect::<Roots>(), news)
    });
    // A task that panicked read nothing: whoever needs roots has none then, and says so.
    read.await.unwrap_or_default()
}

fn roots_news(source: &TlsPolicy, roots: &Result<TrustRoots, TrustError>, first: bool) -> Option<RootsNews> {
    let place = source.place();
    match roots {
        Err(error) => Some(RootsNews::Unusable { place, error: error.clone() }),
        Ok(roots) if roots.is_compiled_in() => Some(RootsNews::CompiledIn),
        Ok(_) => (!first).then_some(RootsNews::Changed { place }),
    }
}
