//! What a daemon, a single command and a test have in common: tokens, accounts, and the machine that drives them.

mod accounts;
mod poll;
mod recall;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{MutexGuard, Notify};

use crate::account::Listing;
use crate::account::member::Member;
use crate::account::pool::Accounts;
use crate::clock::{Clock, Time};
use crate::endpoint::EndpointState;
use crate::endpoint::urgency::Urgency;
use crate::event;
use crate::inventory::diff::{Change, diff};
use crate::inventory::{Credential, Inventory, KnownHosts, TokenPolicy};
use crate::journal::{Journal, SecretSlot};
use crate::names::{AccountName, TokenName};
use crate::outcome::FailureCode;
use crate::rotation::decide::Rest;
use crate::rotation::held::{Context, Denied, Held};
use crate::rotation::reason::Reason;
use crate::rotation::run::Machine;
use crate::rotation::stored::Restored;
use crate::rotation::{Event, Phase, TokenState};

pub use poll::Poll;

use super::account_news::log_roots;
use super::real::Real;
use super::registry::{Registry, Token};
use super::urgency::urgency;

/// Tokens, accounts, and the machine that drives them. One per process.
#[derive(Debug)]
pub struct Core<C, J> {
    pub clock: C,
    pub machine: Machine<Real<C, J>, J, C>,
    pub accounts: Arc<Accounts<C>>,
    pub tokens: Arc<Registry>,
    /// As it was written, and with a store and a hook on each host that it means by labels.
    written: RwLock<Arc<Inventory>>,
    inventory: RwLock<Arc<Inventory>>,
    /// Held while an inventory is put in effect: the hosts that the one in effect was made for.
    applying: tokio::sync::Mutex<KnownHosts>,
    /// What the journal knows of tokens that are in no inventory any more, nor their accounts.
    strays: Vec<(TokenName, Arc<TokenState>)>,
    /// Per account: consecutive failed polls, the last failure, and markers that nobody accounts for.
    polls: RwLock<BTreeMap<AccountName, Poll>>,
    /// How often a file changed that a secret may come from.
    changes: AtomicU64,
    /// When the process was started, or an inventory last took effect.
    resumed: RwLock<Time>,
    /// Something may be the matter, or over: whoever tells people looks again.
    pub stirred: Notify,
    /// Recoveries of accounts for which their tokens were woken.
    pub(super) relieved: RwLock<BTreeMap<AccountName, Time>>,
}

impl<C: Clock, J: Journal + Clone> Core<C, J> {
    /// Brings the tokens of `inventory` and those of the journal together. `unreadable`: secrets that the journal's key
    /// cannot open.
    pub async fn new(
        machine: Machine<Real<C, J>, J, C>,
        inventory: Arc<Inventory>,
        states: BTreeMap<TokenName, Restored>,
        unreadable: &[SecretSlot],
    ) -> Self {
        let clock = machine.clock.clone();
        let accounts = Arc::clone(&machine.effects.accounts);
        let tokens = Arc::clone(&machine.effects.tokens);
        log_roots(&accounts.update(&inventory).await);
        let resumed = RwLock::new(clock.now());
        let mut core = Self {
            clock,
            machine,
            accounts,
            tokens,
            // Of a fleet, nothing is owned before its hosts are known.
            written: RwLock::new(Arc::clone(&inventory)),
            inventory: RwLock::new(inventory),
            applying: tokio::sync::Mutex::default(),
            strays: Vec::new(),
            polls: RwLock::default(),
            changes: AtomicU64::new(0),
            resumed,
            stirred: Notify::new(),
            relieved: RwLock::default(),
        };
        core.adopt_accounts(core.inventory().accounts.keys()).await;
        core.strays = core.adopt_states(states, unreadable).await;
        core
    }

    /// The inventory in effect.
    pub fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(&self.inventory.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same as it was written, whatever hosts there are.
    pub fn written(&self) -> Arc<Inventory> {
        Arc::clone(&self.written.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another inventory in effect and tells what changed. Runs under way finish with what they began with.
    pub async fn apply(&self, inventory: Arc<Inventory>) -> Vec<Change> {
        let mut hosts = self.applying.lock().await;
        *hosts = self.machine.effects.agents.known().unwrap_or_default();
        *self.written.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&inventory);
        let changes = self.put_in_effect(inventory.on_hosts(&hosts)).await;
        *self.resumed.write().unwrap_or_else(PoisonError::into_inner) = self.clock.now();
        self.stirred.notify_one();
        changes
    }

    /// Hosts have come or gone: puts a store and a hook on each that the inventory means, and tells what changed.
    pub async fn apply_hosts(&self) -> Vec<Change> {
        let mut hosts = self.applying.lock().await;
        let (written, Some(known)) = (self.written(), self.machine.effects.agents.known()) else { return Vec::new() };
        if *hosts == known {
            return Vec::new();
        }
        hosts.clone_from(&known);
        if !written.selects_hosts() {
            return Vec::new();
        }
        let changes = self.put_in_effect(written.on_hosts(&known)).await;
        self.stirred.notify_one();
        changes
    }

    async fn put_in_effect(&self, inventory: Arc<Inventory>) -> Vec<Change> {
        let changes = diff(&self.inventory(), &inventory);
        log_roots(&self.accounts.update(&inventory).await);
        for (name, policy) in &inventory.tokens {
            if !self.tokens.want(policy) {
                let token = Token::new(Arc::clone(policy), true, Restored::default());
                self.tokens.insert(name, Arc::new(token));
            }
        }
        for (name, token) in self.tokens.all() {
            if !inventory.tokens.contains_key(&name) {
                token.leave();
            }
        }
        *self.inventory.write().unwrap_or_else(PoisonError::into_inner) = inventory;
        for change in &changes {
            if let Change::AccountRemoved(account) = change {
                self.drop_account(account);
            }
        }
        let added = changes.iter().filter_map(|change| match change {
            Change::AccountAdded(account) => Some(account),
            _ => None,
        });
        self.adopt_accounts(added).await;
        changes
    }

    /// Takes hold of a token. What a bug or a panic left of it is given up first: the journal knows it.
    pub async fn hold<'t>(&self, token: &'t Token) -> MutexGuard<'t, Held> {
        let mut held = token.held.lock().await;
        // Where the journal cannot be read now, the next run tries again and tells why.
        if held.torn() {
            let name = token.policy().name.clone();
            if self.machine.recover(&mut held, &name).await.is_ok() {
                self.tokens.show(&name, token, held.state());
            }
        }
        held
    }

    /// Does everything that can be done for a token now, and tells when to come back.
    pub async fn run_token(&self, name: &TokenName) -> Option<Rest> {
        let token = self.tokens.get(name)?;
        log_roots(&self.accounts.mend(&token.policy().account.name, &self.inventory()).await);
        let mut held = self.hold(&token).await;
        let Some(context) = self.context(&token, held.state()) else {
            return self.rest_elsewhere(&token);
        };
        let of_credential = self.accounts.changes(&context.policy.account.endpoint.credential);
        let changes = self.changes.load(Ordering::Relaxed).wrapping_add(of_credential);
        if held.changes != changes {
            held.changes = changes;
            held.memo.sought = None;
            if held.state().lacked_credential() {
                held.note(&context.policy, self.clock.now(), Event::BackoffEnded {});
            }
        }
        let member = self.accounts.get(&context.policy.account.name);
        held.memo.recovered = member.and_then(|member| member.recovered());
        let resumed = Some(*self.resumed.read().unwrap_or_else(PoisonError::into_inner));
        held.memo.resumed = held.memo.resumed.max(resumed);
        if token.is_suspect() {
            held.memo.inspected = None;
            held.memo.sound = None;
            held.memo.resumed = Some(self.clock.now());
        }
        let reckoning = self.machine.effects.reckoning(&context.policy.account.name);
        let forced = std::mem::take(&mut held.memo.forced);
        let urgency = if forced { Urgency::Now } else { urgency(held.state(), &reckoning) };
        let rest = if self.waits_for_credential(&context.policy, held.state()) {
            Rest { until: None, reason: Reason::CredentialMissing, next: None }
        } else {
            // Boxed: it is by far the largest part of whatever waits for a run.
            Box::pin(urgency.during(self.machine.run(&mut held, &context))).await
        };
        if let Some(misfit) = held.misfit() {
            tracing::error!(
                event = event::STATE_MISFIT,
                token = %name,
                error = %misfit,
                "a step does not fit what is known of the token; its state is read from the journal again"
            );
        }
        match held.denied() {
            Some(Denied::Fenced) => self.lose_account(&context.fence),
            Some(Denied::Overtaken) => tracing::error!(
                event = event::JOURNAL_OVERTAKEN,
                token = %name,
                "the journal has changed without this process; the token's state is read from it again"
            ),
            None => {}
        }
        if let Some(failure) = held.stuck() {
            tracing::error!(
                event = event::JOURNAL_STUCK,
                code = failure.code.code(),
                error = %failure,
                "the journal cannot be written; nothing is begun until it can"
            );
        }
        let told = || token.view().rest.is_some_and(|before| before.reason == Reason::NoRoom);
        if rest.reason == Reason::NoRoom && !told() {
            tracing::warn!(
                event = event::NO_ROOM,
                token = %name,
                account = %context.policy.account.name,
                most = context.abilities.can.max_live,
                "it is due, and its provider takes no more live tokens there"
            );
        }
        // Given up meanwhile, it has stopped half-way.
        if let Some(elsewhere) = self.rest_elsewhere(&token) {
            return Some(elsewhere);
        }
        token.show_rest(rest, held.stuck().cloned(), held.memo.proof);
        Some(rest)
    }

    /// Whether nothing can be done for a token but wait for the first secret of another one. Adopting needs none.
    fn waits_for_credential(&self, policy: &TokenPolicy, state: &TokenState) -> bool {
        let vacant = matches!(state.phase, Phase::Vacant) && state.orphans.is_empty();
        let adopts = policy.initial.is_some() && state.may_adopt();
        vacant && !adopts && self.accounts.lacks(&policy.account.endpoint.credential)
    }

    /// A file that a secret may come from has changed: tokens that are only watched look for another one.
    pub fn look_again(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// What a decision about a token depends on, now. None where its account is unknown, or not owned.
    pub fn context(&self, token: &Token, state: &TokenState) -> Option<Context> {
        let policy = token.policy();
        let member = self.accounts.get(&policy.account.name)?;
        let listing = listing_for(&member, &policy, state);
        Some(Context {
            fence: self.machine.effects.ownership.fence(&policy.account.name)?,
            wanted: token.wanted(),
            abilities: Arc::clone(&member.abilities),
            refused: refused(&member, &policy),
            listing,
            policy,
        })
    }

    /// The state of every token that the journal knows.
    pub fn states(&self) -> Vec<(TokenName, Arc<TokenState>)> {
        let tokens = self.tokens.all().into_iter().map(|(name, token)| (name, token.state()));
        tokens.chain(self.strays.iter().cloned()).collect()
    }
}

/// Tokens whose journal is older than their stores: what a store holds of them works, and is no orphan.
pub(super) fn behind(states: &[(TokenName, Arc<TokenState>)]) -> impl Iterator<Item = &TokenName> {
    let behind =
        |state: &TokenState| state.retry.as_ref().is_some_and(|retry| retry.failure.code == FailureCode::StoreNewer);
    states.iter().filter(move |(_, state)| behind(state)).map(|(token, _)| token)
}

/// When the account was last refused, where it authenticates with this very token.
fn refused<C: Clock>(member: &Member<C>, policy: &TokenPolicy) -> Option<Time> {
    if member.policy.endpoint.credential != Credential::Token(policy.name.clone()) {
        return None;
    }
    let health = member.client().ok()?.endpoint().health();
    let failure = health.last_failure.filter(|_| matches!(health.state, EndpointState::Degraded { .. }))?;
    (failure.failure.code == FailureCode::Unauthorized).then_some(failure.at)
}

/// The newest listing that would show the current generation.
fn listing_for<C: Clock>(member: &Member<C>, policy: &TokenPolicy, state: &TokenState) -> Option<Arc<Listing>> {
    let generation = state.phase.current().map(|current| &current.generation);
    let params = generation.and_then(|generation| generation.params.as_ref()).unwrap_or(&policy.params);
    member.newest(&member.listing_key(params))
}
