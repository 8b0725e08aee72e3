//! The tokens of a running daemon: each with its policy, its state, and what it is doing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::watch;

use crate::inventory::TokenPolicy;
use crate::names::TokenName;
use crate::outcome::Failure;
use crate::rotation::TokenState;
use crate::rotation::decide::Rest;
use crate::rotation::reckoning::Proof;
use crate::rotation::run::{Held, Restored};

/// One token. Its state is changed by one run at a time.
#[derive(Debug)]
pub struct Token {
    policy: Mutex<Arc<TokenPolicy>>,
    wanted: AtomicBool,
    /// Something happened to its stores: they are to be looked at.
    suspect: AtomicBool,
    pub held: tokio::sync::Mutex<Held>,
    /// What others may look at while a run is under way.
    view: watch::Sender<View>,
}

/// What is durable of a token, and what it waits for.
#[derive(Clone, Debug)]
pub struct View {
    pub state: Arc<TokenState>,
    /// None while it is busy.
    pub rest: Option<Rest>,
    /// Why its journal cannot be written, where it cannot.
    pub stuck: Option<Failure>,
    /// When the provider accepted its secret last.
    pub proof: Option<Proof>,
}

impl Token {
    /// A token as its journal tells of it.
    pub fn new(policy: Arc<TokenPolicy>, wanted: bool, restored: Restored) -> Self {
        let held = Held::new(restored);
        let view = View { state: Arc::clone(held.state()), rest: None, stuck: None, proof: None };
        Self {
            policy: Mutex::new(policy),
            wanted: AtomicBool::new(wanted),
            suspect: AtomicBool::new(false),
            held: tokio::sync::Mutex::new(held),
            view: watch::Sender::new(view),
        }
    }

    /// What the inventory says of it, or said last.
    pub fn policy(&self) -> Arc<TokenPolicy> {
        Arc::clone(&self.policy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it is in the inventory.
    pub fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// The inventory says `policy` from now on; a run under way goes on with what it began with.
    pub fn want(&self, policy: Arc<TokenPolicy>) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
        self.wanted.store(true, Ordering::Release);
    }

    /// It left the inventory.
    pub fn leave(&self) {
        self.wanted.store(false, Ordering::Release);
    }

    /// The next run looks at its stores.
    pub fn suspect_stores(&self) {
        self.suspect.store(true, Ordering::Release);
    }

    /// Whether its stores are to be looked at; asked once.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.swap(false, Ordering::AcqRel)
    }

    /// What others may look at.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Tells of every change of the view.
    pub fn follow(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    pub(super) fn show_state(&self, state: &Arc<TokenState>) {
        self.view.send_modify(|view| {
            view.state = Arc::clone(state);
            view.rest = None;
            view.stuck = None;
        });
    }

    pub(super) fn show_rest(&self, rest: Rest, stuck: Option<Failure>, proof: Option<Proof>) {
        self.view.send_modify(|view| {
            view.proof = proof;
            view.rest = Some(rest);
            view.stuck = stuck;
        });
    }
}

/// Every token, by name.
#[derive(Debug, Default)]
pub struct Registry {
    tokens: RwLock<BTreeMap<TokenName, Arc<Token>>>,
    /// Tokens whose state nobody can read, and why: nothing is done with them, and nothing forgotten.
    aside: RwLock<BTreeMap<TokenName, String>>,
}

impl Registry {
    /// Nothing is done with the token called `name`, because of `why`.
    ///
    /// Law: a state that cannot be read is set aside. Nothing of its token is minted, written or revoked; status, plan, explain
    /// and rotate tell it alike; no other token is stopped by it.
    pub fn set_aside(&self, name: TokenName, why: String) {
        self.aside.write().unwrap_or_else(PoisonError::into_inner).insert(name, why);
    }

    /// The tokens that nothing is done with, and why.
    pub fn aside(&self) -> BTreeMap<TokenName, String> {
        self.aside.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why nothing is done with the token called `name`, where it is set aside.
    pub fn why_aside(&self, name: &TokenName) -> Option<String> {
        self.aside.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The token called `name`.
    pub fn get(&self, name: &TokenName) -> Option<Arc<Token>> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Adds a token, or replaces one. One that is set aside stays so.
    pub fn insert(&self, name: TokenName, token: Arc<Token>) {
        if self.aside.read().unwrap_or_else(PoisonError::into_inner).contains_key(&name) {
            return;
        }
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).insert(name, token);
    }

    /// Every token, in the order of names.
    pub fn all(&self) -> Vec<(TokenName, Arc<Token>)> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.iter().map(|(name, token)| (name.clone(), Arc::clone(token))).collect()
    }
}
