//! The tokens of a running daemon: each with its policy, its state, and what it is doing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

use crate::inventory::TokenPolicy;
use crate::names::{AccountName, TokenName};
use crate::outcome::Failure;
use crate::rotation::TokenState;
use crate::rotation::decide::Rest;
use crate::rotation::held::Held;
use crate::rotation::reckoning::Proof;
use crate::rotation::stored::Restored;

/// One token. Its state is changed by one run at a time.
#[derive(Debug)]
pub struct Token {
    policy: Mutex<Arc<TokenPolicy>>,
    wanted: AtomicBool,
    /// Something happened to its stores: they are to be looked at.
    suspect: AtomicBool,
    pub held: tokio::sync::Mutex<Held>,
    /// What others may look at while a run is under way.
    view: Mutex<View>,
    /// Who follows the view; made for the first that does, since nobody follows most tokens.
    followers: OnceLock<Box<watch::Sender<View>>>,
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
            view: Mutex::new(view),
            followers: OnceLock::new(),
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
        self.seen().clone()
    }

    /// The state in it.
    pub fn state(&self) -> Arc<TokenState> {
        Arc::clone(&self.seen().state)
    }

    /// Tells of every change of the view.
    pub fn follow(&self) -> watch::Receiver<View> {
        // Under the lock of the view: no change comes between what the first follower begins with and what it is told.
        let view = self.seen();
        self.followers.get_or_init(|| Box::new(watch::Sender::new(view.clone()))).subscribe()
    }

    fn show_state(&self, state: &Arc<TokenState>) {
        self.show(|view| {
            view.state = Arc::clone(state);
            view.rest = None;
            view.stuck = None;
        });
    }

    pub(super) fn show_rest(&self, rest: Rest, stuck: Option<Failure>, proof: Option<Proof>) {
        self.show(|view| {
            view.proof = proof;
            view.rest = Some(rest);
            view.stuck = stuck;
        });
    }

    fn show(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.seen();
        change(&mut view);
        if let Some(followers) = self.followers.get() {
            followers.send_replace(view.clone());
        }
    }

    fn seen(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every token, by name and by account.
#[derive(Debug, Default)]
pub struct Registry {
    tokens: RwLock<Tokens>,
    /// Tokens whose state nobody can read, and why: nothing is done with them, and nothing forgotten.
    aside: RwLock<BTreeMap<TokenName, String>>,
    /// Tokens whose state has changed since somebody asked; `None`: nobody asks.
    changed: Mutex<Option<BTreeSet<TokenName>>>,
}

#[derive(Debug, Default)]
struct Tokens {
    by_name: BTreeMap<TokenName, Arc<Token>>,
    /// By the account that the inventory names now: what is done for one account must not cost a look at every token.
    by_account: HashMap<AccountName, BTreeSet<TokenName>>,
}

impl Tokens {
    fn move_to(&mut self, name: &TokenName, from: Option<&AccountName>, account: &AccountName) {
        if from == Some(account) {
            return;
        }
        if let Some(from) = from
            && let Some(names) = self.by_account.get_mut(from)
        {
            names.remove(name);
            if names.is_empty() {
                self.by_account.remove(from);
            }
        }
        self.by_account.entry(account.clone()).or_default().insert(name.clone());
    }
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
        self.tokens().by_name.get(name).cloned()
    }

    /// Adds a token, or replaces one. One that is set aside stays so.
    pub fn insert(&self, name: &TokenName, token: Arc<Token>) {
        if self.aside.read().unwrap_or_else(PoisonError::into_inner).contains_key(name) {
            return;
        }
        let account = token.policy().account.name.clone();
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let before = tokens.by_name.insert(name.clone(), token).map(|before| before.policy().account.name.clone());
        tokens.move_to(name, before.as_ref(), &account);
        drop(tokens);
        self.note_change(name);
    }

    /// The inventory says `policy` of a token from now on; a run under way goes on with what it began with. False: there is
    /// no such token yet.
    pub fn want(&self, policy: &Arc<TokenPolicy>) -> bool {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = tokens.by_name.get(&policy.name).cloned() else { return false };
        let before =
            std::mem::replace(&mut *token.policy.lock().unwrap_or_else(PoisonError::into_inner), Arc::clone(policy));
        token.wanted.store(true, Ordering::Release);
        // What they hold may be no longer what they are to hold.
        if before.stores != policy.stores {
            token.suspect_stores();
        }
        tokens.move_to(&policy.name, Some(&before.account.name), &policy.account.name);
        true
    }

    /// Shows what is durable of a token.
    pub fn show(&self, name: &TokenName, token: &Token, state: &Arc<TokenState>) {
        token.show_state(state);
        self.note_change(name);
    }

    /// Notes from now on which tokens change.
    pub fn watch_changes(&self) {
        *self.changes() = Some(BTreeSet::new());
    }

    /// Notes it no longer.
    pub fn ignore_changes(&self) {
        *self.changes() = None;
    }

    /// The tokens that have changed since this was asked last.
    pub fn take_changed(&self) -> BTreeSet<TokenName> {
        self.changes().as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn note_change(&self, name: &TokenName) {
        if let Some(changed) = self.changes().as_mut() {
            changed.insert(name.clone());
        }
    }

    fn changes(&self) -> MutexGuard<'_, Option<BTreeSet<TokenName>>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every token, in the order of names.
    pub fn all(&self) -> Vec<(TokenName, Arc<Token>)> {
        self.tokens().by_name.iter().map(|(name, token)| (name.clone(), Arc::clone(token))).collect()
    }

    /// The tokens of an account, in the order of names.
    pub fn of(&self, account: &AccountName) -> Vec<(TokenName, Arc<Token>)> {
        let tokens = self.tokens();
        let names = tokens.by_account.get(account).into_iter().flatten();
        names.filter_map(|name| Some((name.clone(), Arc::clone(tokens.by_name.get(name)?)))).collect()
    }

    fn tokens(&self) -> RwLockReadGuard<'_, Tokens> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::StorePolicy;
    use crate::rotation::tests::policy;

    fn token(name: &str, account: &str) -> Arc<TokenPolicy> {
        Arc::new(TokenPolicy { name: name.parse().unwrap(), account: policy::account(account), ..policy::token() })
    }

    #[test]
    fn a_token_is_found_under_the_account_that_the_inventory_names_last() {
        let (registry, a, b) = (Registry::default(), "a".parse().unwrap(), "b".parse().unwrap());
        for (name, account) in [("one", "a"), ("two", "a"), ("three", "b")] {
            let policy = token(name, account);
            assert!(!registry.want(&policy), "it is new");
            registry.insert(&policy.name.clone(), Arc::new(Token::new(policy, true, Restored::default())));
        }
        let names = |account| registry.of(account).iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        assert_eq!((names(&a), names(&b)), (vec!["one".into(), "two".into()], vec!["three".into()]));
        assert!(registry.want(&token("one", "b")));
        assert_eq!((names(&a), names(&b)), (vec!["two".into()], vec!["one".into(), "three".into()]));
        assert_eq!(registry.all().len(), 3);
    }

    #[tokio::test]
    async fn whoever_follows_a_token_sees_what_it_is_and_every_change() {
        let token = Token::new(token("one", "a"), true, Restored::default());
        let state = Arc::new(TokenState { failed_rotations: 1, ..TokenState::default() });
        token.show_state(&state);
        let mut follow = token.follow();
        assert_eq!(follow.borrow_and_update().state, state);
        let next = Arc::new(TokenState { failed_rotations: 2, ..TokenState::default() });
        token.show_state(&next);
        follow.changed().await.unwrap();
        assert_eq!((&follow.borrow_and_update().state, token.state()), (&next, Arc::clone(&next)));
    }

    /// What a token at rest costs, times a hundred thousand, is the memory of a large installation: whoever adds to these
    /// types puts what is rare behind a box.
    #[test]
    fn a_token_at_rest_is_small() {
        for (what, size, most) in [
            ("a state", size_of::<TokenState>(), 1152),
            ("a token in the registry", size_of::<Token>(), 704),
            ("the policy of a token", size_of::<TokenPolicy>(), 416),
            ("the policy of a store", size_of::<StorePolicy>(), 200),
        ] {
            assert!(size <= most, "{what} takes {size} bytes, and may take {most}");
        }
    }
}
