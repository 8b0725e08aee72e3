//! Drives one token through simulated time, restarts it when it is stopped, and checks the guarantees at every commit.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;

use crate::clock::{Clock, ManualClock, Span, Time};
use crate::inventory::TokenPolicy;
use crate::journal::memory::{Fault, MemoryJournal, Snapshot};
use crate::journal::{Commit, CommitError, Fence, Head, Journal, SecretSlot, Settled, Stored};
use crate::names::{AccountName, GenerationNo, InstanceId, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::provider::Abilities;
use crate::rotation::act::operator::{Offer, Rejection};
use crate::rotation::apply;
use crate::rotation::decide::{Rest, Step, decide};
use crate::rotation::effects::Effects as _;
use crate::rotation::event::Event;
use crate::rotation::held::{Context, Denied, Held};
use crate::rotation::life::life;
use crate::rotation::reason::Reason;
use crate::rotation::run::Machine;
use crate::rotation::state::{Generation, Origin, Orphan, Phase, TokenState};
use crate::rotation::stored::{Line, Restored, restore};
use crate::secret::{Secret, SecretParts, TOKEN_PART};
use crate::timing::backoff::{self, Life};

use super::diagram::Arrow;
use super::ledger::{Consumer, Issued, Ledger, Revoked};
use super::policy;
use super::world::{Fate, Kind, World, print_of};

/// A journal in memory that fails and stops as the world decides, and that checks what it is given.
#[derive(Debug)]
pub(super) struct Watched {
    memory: Mutex<MemoryJournal>,
    world: Arc<World>,
    /// What replaying all records gives.
    folded: Mutex<TokenState>,
    seen: Mutex<Seen>,
    /// How many of the commits that were written have been looked at.
    looked: AtomicUsize,
    /// A control: commits are acknowledged and dropped.
    forgets: AtomicBool,
    /// A control: what is told where nobody knows whether a commit was written.
    taken_for: Mutex<Option<TakenFor>>,
}

/// What an unknown outcome of a commit is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakenFor {
    Refused,
    Written,
}

/// What the journal was given: states, by their hash, and changes of phase.
#[derive(Debug, Default)]
struct Seen {
    states: HashSet<u64>,
    arrows: BTreeSet<Arrow>,
}

impl Journal for Watched {
    async fn claim(&self, account: &AccountName) -> Result<Fence, Failure> {
        self.memory().claim(account).now_or_never().unwrap()
    }

    async fn commit(&self, commit: Commit) -> Result<Head, CommitError> {
        self.world
            .effect(Kind::Commit, |ledger, fate, now| {
                if self.forgets.load(Ordering::Relaxed) && fate == Fate::Fine {
                    self.check(ledger, now, &commit);
                    return Ok(commit.change.follows);
                }
                let fault = match fate {
                    Fate::Fine | Fate::StopBefore | Fate::StopAfter => None,
                    Fate::Later | Fate::Refused => Some(Fault::Before),
                    Fate::DoneUnknown => Some(Fault::After),
                    Fate::NotDoneUnknown => Some(Fault::NoAnswer),
                    Fate::DoneLate(_) => Some(Fault::Late),
                    Fate::Fenced => Some(Fault::Fenced),
                };
                if let Some(fault) = fault {
                    self.memory().fail(1, fault);
                }
                let follows = commit.change.follows;
                let answer = self.memory().commit(commit).now_or_never().unwrap();
                for written in self.memory().commits(self.looked.load(Ordering::Relaxed)) {
                    self.looked.fetch_add(1, Ordering::Relaxed);
                    self.check(ledger, now, &written);
                }
                match (*self.taken_for.lock().unwrap(), answer) {
                    (Some(TakenFor::Refused), Err(CommitError::Unknown(failure))) => Err(CommitError::Refused(failure)),
                    (Some(TakenFor::Written), Err(CommitError::Unknown(_))) => Ok(follows),
                    (_, answer) => answer,
                }
            })
            .await
    }

    async fn settle(&self, token: &TokenName, after: Head) -> Result<Settled, Failure> {
        self.world
            .effect(Kind::Settle, |_, fate, _| match fate {
                Fate::Fine => self.memory().settle(token, after).now_or_never().unwrap(),
                _ => Err(Failure::new(FailureCode::Journal, "nobody can tell")),
            })
            .await
    }

    fn reachable(&self) -> Result<(), Failure> {
        self.memory().reachable()
    }

    async fn stored(&self, token: &TokenName) -> Result<Option<Stored>, Failure> {
        self.memory().stored(token).now_or_never().unwrap()
    }

    async fn secret(&self, slot: &SecretSlot) -> Result<Option<SecretParts>, Failure> {
        self.memory().secret(slot).now_or_never().unwrap()
    }
}

impl Watched {
    fn memory(&self) -> MutexGuard<'_, MemoryJournal> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, ledger: &mut Ledger, now: Time, commit: &Commit) {
        let commit = &commit.change;
        let mut folded = self.folded.lock().unwrap();
        // What the records lead to, as it is stored.
        let mut text = None;
        for record in &commit.records {
            let line: Line = serde_json::from_str(&record.body).unwrap();
            let brought = folded.phase.candidate().filter(|candidate| candidate.origin == Origin::Adopted).cloned();
            match apply(folded.clone(), line.at, &line.event) {
                Ok(next) => {
                    text = Some(self.seen.lock().unwrap().change(&folded.phase, &line.event, &next));
                    *folded = next;
                }
                Err(misfit) => ledger.violations.push(misfit.to_string()),
            }
            if let Event::Minted { candidate } = &*line.event {
                let told = |it: &&mut Issued| has_secret(&candidate.generation, it);
                ledger.tokens.iter_mut().filter(told).for_each(|it| it.lost = false);
            }
            let (theirs, generation) = match (&*line.event, brought) {
                (Event::Offered { candidate }, _) => (false, candidate.generation.clone()),
                (Event::Undone { orphan: None, .. }, Some(candidate)) => (true, candidate.generation),
                _ => continue,
            };
            ledger.tokens.iter_mut().filter(|it| has_secret(&generation, it)).for_each(|it| it.operators = theirs);
        }
        if let Some(state) = commit.state.as_ref().filter(|state| text.as_ref() != Some(state) || !read_back(state)) {
            let stored: TokenState = serde_json::from_str(state).unwrap();
            if *folded != stored {
                ledger.violations.push(format!("replaying the records gives {folded:?} and not {stored:?}"));
            }
        }
        let managed = |it: &&Issued| it.lives(now) && !it.operators && !it.astray;
        let alive = ledger.tokens.iter().filter(managed).count();
        let forgotten = ledger.tokens.iter().filter(managed).filter(|it| !accounts_for(&folded, it));
        let forgotten = forgotten.filter(|it| !ledger.is_disowned(it, now));
        let forgotten: Vec<_> = forgotten.map(|it| format!("nobody knows of {} at {now}", it.id)).collect();
        ledger.violations.extend(forgotten);
        ledger.most_alive = ledger.most_alive.max(alive);
    }
}

/// Whether a stored state was read back before, and found to be what was stored. Stories have most of their states in common.
fn read_back(state: &str) -> bool {
    thread_local! {
        static READ: RefCell<HashSet<u64>> = RefCell::default();
    }
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    READ.with_borrow_mut(|read| !read.insert(hasher.finish()))
}

impl Seen {
    /// Gives the new state as it is stored.
    fn change(&mut self, from: &Phase, event: &Event, next: &TokenState) -> String {
        let text = serde_json::to_string(next).unwrap();
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        self.states.insert(hasher.finish());
        if from.name() != next.phase.name() {
            let name = |name: &str| name.to_owned();
            self.arrows.insert((name(from.name()), name(event.name()), name(next.phase.name())));
        }
        text
    }
}

/// Whether the state knows of a live token.
pub(super) fn accounts_for(state: &TokenState, issued: &Issued) -> bool {
    let generations = [
        state.phase.current().map(|it| &it.generation),
        state.phase.candidate().map(|it| &it.generation),
        state.phase.retiring().map(|it| &it.generation),
    ];
    let called = |it: &Generation| it.remote.id.as_ref().is_some_and(|id| issued.is_called(id.as_str()));
    match &issued.marker {
        // A provider that gives the token that exists may give it another name.
        Some(marker) => {
            state.markers().any(|known| known == marker)
                || state.generations().any(|it| called(it) || has_secret(it, issued))
                || state.orphans.iter().any(|orphan| match orphan {
                    Orphan::Unrevocable { id, .. } => id.as_ref().is_some_and(|id| issued.is_called(id.as_str())),
                    Orphan::UnknownMint { .. } | Orphan::Deferred { .. } => false,
                })
        }
        // An adopted secret has no marker.
        None => {
            state.phase == Phase::Vacant
                || generations.into_iter().flatten().any(|it| has_secret(it, issued))
                || state.orphans.iter().any(|orphan| match orphan {
                    Orphan::Deferred { generation, .. } => has_secret(generation, issued),
                    orphan => orphan.marker().is_none(),
                })
        }
    }
}

/// Whether the secret of `generation` is the one of `issued`.
pub(super) fn has_secret(generation: &Generation, issued: &Issued) -> bool {
    generation.fingerprints.get(TOKEN_PART).is_some_and(|print| *print == print_of(&issued.secret))
}

/// One token, its process, and the world around it.
pub(super) struct Sim {
    pub world: Arc<World>,
    pub clock: ManualClock,
    pub context: Context,
    pub held: Held,
    machine: Machine<Arc<World>, Arc<Watched>, ManualClock>,
    /// How many times the process was started again.
    pub restarts: usize,
    /// What stops ends a run abnormally, and not the process.
    pub panics: bool,
    /// A process that lost the account takes it again, and not another one.
    pub comes_back: bool,
    pub rests: usize,
}

impl Sim {
    pub fn new(policy: TokenPolicy, abilities: Abilities) -> Self {
        let clock = ManualClock::new(policy::start());
        let mut ledger = Ledger::new(abilities.clone());
        for store in &policy.stores {
            ledger.consumers.push(Consumer { store: store.key.clone(), hook: None, holds: None });
            for hook in &policy.hooks {
                let hook = Some(hook.key.clone());
                ledger.consumers.push(Consumer { store: store.key.clone(), hook, holds: None });
            }
        }
        let world = World::new(clock.clone(), ledger);
        let journal = Arc::new(Watched {
            memory: Mutex::default(),
            world: Arc::clone(&world),
            folded: Mutex::new(TokenState::default()),
            seen: Mutex::default(),
            looked: AtomicUsize::default(),
            forgets: AtomicBool::new(false),
            taken_for: Mutex::default(),
        });
        let fence = journal.claim(&policy.account.name).now_or_never().unwrap().unwrap();
        let machine = Machine {
            effects: Arc::clone(&world),
            journal,
            clock: clock.clone(),
            instance: InstanceId::new([1, 2, 3, 4]),
        };
        let context = Context {
            policy: Arc::new(policy),
            fence,
            wanted: true,
            abilities: Arc::new(abilities),
            refused: None,
            listing: None,
        };
        Self {
            world,
            clock,
            context,
            held: Held::default(),
            machine,
            restarts: 0,
            panics: false,
            comes_back: false,
            rests: 0,
        }
    }

    pub fn state(&self) -> &TokenState {
        self.held.state()
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Now, on the providers' clock.
    pub fn provider_now(&self) -> Time {
        self.now() + self.world.ledger(|ledger| ledger.skew)
    }

    /// The providers' clock is off.
    pub fn skew(&mut self, skew: Span) {
        let before = self.provider_now();
        let now = self.now() + skew;
        self.world.ledger(|ledger| {
            ledger.skew = skew;
            // What exists goes on to exist where that clock is set back.
            let born = ledger.tokens.iter_mut().filter(|token| token.born <= before);
            born.for_each(|token| token.born = token.born.min(now));
        });
    }

    pub fn policy(&mut self) -> &mut TokenPolicy {
        Arc::make_mut(&mut self.context.policy)
    }

    /// Another process on the same journal.
    pub fn restart(&mut self) {
        self.restarts += 1;
        if !self.panics {
            self.take_over();
        }
    }

    /// Takes the account, and reads what the journal tells.
    fn take_over(&mut self) {
        let claimed = self.machine.journal.memory().claim(&self.context.policy.account.name).now_or_never();
        self.context.fence = claimed.unwrap().unwrap();
        self.world.forget_clock();
        self.context.listing = None;
        self.held = Held::new(self.durable(&self.snapshot()));
    }

    /// What a restart would find now.
    pub fn snapshot(&self) -> Snapshot {
        self.machine.journal.memory().snapshot()
    }

    fn durable(&self, snapshot: &Snapshot) -> Restored {
        let state = snapshot.states.get(&self.context.policy.name);
        state.map(|stored| restore(stored).unwrap()).unwrap_or_default()
    }

    /// Another process on an older journal. What only the newer one knew is an orphan.
    pub fn restore(&mut self, snapshot: Snapshot) {
        let state = self.durable(&snapshot).state;
        let now = self.provider_now();
        self.world.ledger(|ledger| {
            ledger.restored = true;
            ledger.unaware = state.phase.current().is_none();
            let known = |it: &Issued| {
                let has = state.generations().any(|generation| has_secret(generation, it));
                if it.marker.is_some() { accounts_for(&state, it) } else { has }
            };
            // Also what is still to come of a mint that takes effect late.
            let unknown = |it: &&mut Issued| (it.lives(now) || it.born > now) && !it.operators && !known(it);
            ledger.tokens.iter_mut().filter(unknown).for_each(|token| token.astray = true);
        });
        *self.machine.journal.folded.lock().unwrap() = state;
        *self.machine.journal.memory() = MemoryJournal::restored(snapshot);
        self.machine.journal.looked.store(0, Ordering::Relaxed);
        self.restart();
    }

    /// Another process without a journal. As a start does, it holds back what its stores show to exist.
    pub fn remove_journal(&mut self) {
        self.restore(Snapshot::default());
        if self.world.ledger(|ledger| !ledger.stores.is_empty()) {
            self.note(Event::HeldBack { found: "a store holds a secret".into() });
        }
    }

    /// Runs until nothing is to be done or the process is stopped, after so many points. It is started again, and does
    /// nothing yet.
    pub fn run_until_stopped(&mut self, points: usize) {
        self.world.stop_at(self.world.points() + points);
        let stopped = self.machine.run(&mut self.held, &self.context).now_or_never().is_none();
        if stopped {
            self.restart();
        }
        self.world.stop_nowhere();
    }

    /// Takes the account again, and what this process still holds of the token.
    fn come_back(&mut self) {
        let (journal, policy) = (&self.machine.journal, &self.context.policy);
        self.context.fence = journal.claim(&policy.account.name).now_or_never().unwrap().unwrap();
        self.machine.resume(&mut self.held, &policy.name).now_or_never().unwrap();
    }

    /// Goes on from `state`, which another process left.
    pub fn take_up(&mut self, state: TokenState) {
        *self.machine.journal.folded.lock().unwrap() = state.clone();
        self.held = Held::new(Restored { state, head: Head::default() });
    }

    /// The bodies of all records so far, oldest first.
    pub fn records(&self) -> Vec<String> {
        let commits = self.machine.journal.memory().commits(0);
        commits.into_iter().flat_map(|commit| commit.change.records).map(|record| record.body).collect()
    }

    /// Runs until nothing is to be done now. A process that is stopped is started again.
    pub fn run(&mut self) -> Rest {
        let limit = self.restarts + 100;
        loop {
            assert!(self.restarts < limit, "it is stopped again and again: {:?}", self.state());
            let before = self.world.points();
            let run = self.machine.run(&mut self.held, &self.context).now_or_never();
            let Some(rest) = run else {
                self.restart();
                continue;
            };
            match self.held.denied() {
                Some(Denied::Fenced) => {
                    self.restarts += 1;
                    if self.comes_back {
                        self.come_back();
                    } else {
                        self.take_over();
                    }
                    continue;
                }
                // Nobody else writes to this journal.
                Some(Denied::Overtaken) => {
                    self.world.ledger(|ledger| ledger.violations.push("the journal went on without us".into()));
                }
                None => {}
            }
            let points = self.world.points() - before;
            assert!(points < 200, "{points} points in one run: {:?}", self.state());
            if !self.held.torn() {
                self.check_rest();
                self.check_wait(rest);
            }
            self.rests += 1;
            return rest;
        }
    }

    /// What is decided again right after a rest is a rest, and it ends later than now.
    fn check_rest(&self) {
        if self.held.stuck().is_some() {
            return;
        }
        match decide(&self.context.situation(
            self.state(),
            &self.held.memo,
            self.world.clock(&self.context.policy.account.name),
            self.now(),
        )) {
            Step::Rest(rest) => {
                assert!(rest.until.is_none_or(|until| until > self.now()), "{rest:?} at {}", self.now());
            }
            step => panic!("{step:?} after a rest, at {}", self.now()),
        }
    }

    /// Nobody waits beyond the law: a minute while consumers have nothing that works, nine tenths of the life that is left
    /// while they have something, an hour at most. What two looks have to prove takes as long as the provider settles in.
    fn check_wait(&self, rest: Rest) {
        use Reason::{BackingOff, Delivering, Examining, Revoking, Searching, Undoing, Verifying};
        let waits =
            matches!(rest.reason, BackingOff | Delivering | Examining | Revoking | Searching | Undoing | Verifying);
        if !waits || !self.context.wanted || self.context.policy.paused || self.held.stuck().is_some() {
            return;
        }
        // Consumers have what their store holds, which the journal does not know.
        if self.state().retry.as_ref().is_some_and(|retry| retry.failure.code == FailureCode::StoreNewer) {
            return;
        }
        // Nobody can write a secret that the journal cannot open: its replacement is what is waited for.
        let lost = self.state().phase.current().is_some_and(|current| current.secret_lost);
        if rest.reason == Delivering && lost {
            return;
        }
        let clock = self.world.clock(&self.context.policy.account.name);
        let situation = self.context.situation(self.state(), &self.held.memo, clock, self.now());
        let bound = match life(self.state(), &situation.reckoning()) {
            Life::Over => backoff::LONGEST_OVER,
            Life::For(left) => (left - left / 10).clamp(Span::seconds(1), backoff::LONGEST),
            Life::Endless => backoff::LONGEST,
        };
        let bound = bound.max(self.context.abilities.settle);
        if rest.until.is_none_or(|until| until - self.now() > bound) {
            let text = format!("{rest:?} at {} is longer than {bound}: {:?}", self.now(), self.state());
            self.world.ledger(|ledger| ledger.violations.push(text));
        }
    }

    /// Runs for `span`, as the daemon does: again when a rest ends and when there is a new listing.
    pub fn run_for(&mut self, span: Span) {
        let end = self.now() + span;
        let mut polled = self.now();
        let limit = self.rests + 20_000;
        loop {
            let rest = self.run();
            assert!(self.rests < limit, "more than 20000 rests: {rest:?} {:?}", self.state());
            let poll = polled + self.context.policy.account.poll_every;
            let next = rest.until.into_iter().chain([poll]).min().unwrap_or(poll);
            if next > end {
                self.clock.set(end);
                return;
            }
            self.clock.set(next.max(self.now()));
            if next >= poll {
                polled = self.now();
                self.poll();
            }
        }
    }

    /// An operator brings a secret that nobody knew of. False: it is not taken.
    pub fn adopt(&mut self) -> bool {
        let (provider_now, account) = (self.provider_now(), self.context.policy.account.name.clone());
        let secret = self.world.ledger(|ledger| {
            let minted = ledger.issue(&account, None, provider_now, provider_now);
            let issued = ledger.tokens.iter_mut().next_back().unwrap();
            issued.operators = true;
            // Only the secret itself is brought: nothing can be renewed with it.
            (issued.refresh, issued.refresh_expires) = (None, None);
            Secret::new(minted.secret.token().expose())
        });
        let offer = Offer { secret: SecretParts::new(secret), id: None, expires: None };
        self.machine.offer(&mut self.held, &self.context, offer).is_ok()
    }

    /// An operator makes a new pair at the provider, and puts it where `initial` says. It stays theirs.
    pub fn log_in(&mut self) {
        let (provider_now, account) = (self.provider_now(), self.context.policy.account.name.clone());
        self.world.ledger(|ledger| {
            let minted = ledger.issue(&account, None, provider_now, provider_now);
            ledger.tokens.iter_mut().next_back().unwrap().operators = true;
            ledger.initial = Some(minted.secret);
        });
    }

    /// An operator wants a new secret; `compromised`: others have the present one.
    pub fn request(&mut self, compromised: bool) -> Result<(), Rejection> {
        self.machine.request(&mut self.held, &self.context, compromised)
    }

    /// The same without waiting for the grace of the generation before, or for anything else.
    pub fn hurry(&mut self) -> Result<(), Rejection> {
        let now = self.now();
        let requested = self.request(false);
        if requested.is_ok() {
            (self.held.memo.pressed, self.held.memo.hurried) = (Some(now), Some(now));
        }
        requested
    }

    /// An operator takes a request back.
    pub fn withdraw(&mut self) -> Result<(), Rejection> {
        self.machine.withdraw(&mut self.held, &self.context)
    }

    /// Nobody needs the token any more: it leaves the inventory, and is revoked after `grace`.
    pub fn retire(&mut self, grace: Span) -> Result<(), Rejection> {
        self.context.wanted = false;
        self.world.ledger(|ledger| ledger.consumers.clear());
        self.machine.retire(&mut self.held, &self.context, Some(grace))
    }

    /// An operator wants the previous token back.
    pub fn recall(&mut self) -> Result<GenerationNo, Rejection> {
        self.machine.recall(&mut self.held, &self.context)
    }

    /// Something that needs no answer happens.
    pub fn note(&mut self, event: Event) {
        let (policy, now) = (Arc::clone(&self.context.policy), self.now());
        self.held.note(&policy, now, event);
    }

    /// A new listing.
    pub fn poll(&mut self) {
        if !self.context.abilities.can.lists {
            return;
        }
        let (provider_now, account) = (self.provider_now(), self.context.policy.account.name.clone());
        self.world.show_clock();
        // What cannot be listed stays as it was listed last.
        if let Some(listing) = self.world.ledger(|ledger| ledger.listing(&account, provider_now)) {
            self.context.listing = Some(Arc::new(listing));
        }
    }

    /// What the journal was given so far.
    pub fn seen(&self, look: impl FnOnce(&HashSet<u64>, &BTreeSet<Arrow>)) {
        let seen = self.machine.journal.seen.lock().unwrap();
        look(&seen.states, &seen.arrows);
    }

    /// From now on the journal acknowledges what it drops.
    pub fn forgets(&self, forgets: bool) {
        self.machine.journal.forgets.store(forgets, Ordering::Relaxed);
    }

    /// From now on commits of unknown outcome are taken for something else.
    pub fn takes_unknown_for(&self, taken_for: TakenFor) {
        *self.machine.journal.taken_for.lock().unwrap() = Some(taken_for);
    }

    /// What must never happen and did.
    pub fn violations(&self) -> Vec<String> {
        self.world.ledger(|ledger| ledger.violations.clone())
    }

    /// Everything that must hold when the token is at rest and no fault has occurred for long.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = self.violations();
        let now = self.provider_now();
        let state = self.state();
        let mut complain = |fine: bool, text: String| complaints.extend((!fine).then_some(text));
        let Phase::Steady { current } = &state.phase else {
            complaints.push(format!("it is {}: {state:?}", state.phase.name()));
            return complaints;
        };
        complain(current.delivery.settled.is_some(), format!("something is still owed: {:?}", current.delivery));
        complain(state.requested.is_none(), "the request was lost".into());
        let unserved = self.world.ledger(|ledger| format!("{:?}", ledger.unserved(now)));
        complain(unserved == "[]", format!("unserved: {unserved}"));
        let live: Vec<_> = self.world.ledger(|ledger| {
            ledger
                .tokens
                .iter()
                .filter(|it| it.lives(now) && !it.operators && !it.astray && !ledger.is_disowned(it, now))
                .map(|it| (it.id.clone(), accounts_for(state, it)))
                .collect()
        });
        let known = live.iter().all(|(_, known)| *known);
        complain(known, format!("live tokens that nobody knows of: {live:?}"));
        let foreign = |it: &Generation| it.account != self.context.policy.account.name;
        let deferred =
            state.orphans.iter().any(|it| matches!(it, Orphan::Deferred { generation, .. } if !foreign(generation)));
        complain(!deferred, format!("a revocation is still owed: {:?}", state.orphans));
        if self.context.abilities.can.revokes && self.context.abilities.can.lists {
            let late = live.len() > 1 && state.orphans.is_empty();
            complain(!late, format!("more than one lives: {live:?} {state:?}"));
        }
        let secrets: Vec<_> = self.snapshot().secrets.into_keys().collect();
        let (number, revision) = (current.generation.number, current.generation.revision);
        let only_current = secrets.iter().all(|slot| (slot.generation, slot.revision) == (number, revision));
        complain(only_current && secrets.len() == 1, format!("the journal keeps {secrets:?}"));
        complaints
    }
}

/// `sim` ends as it must.
pub(super) fn check(sim: &Sim, sentence: &str) {
    let complaints = sim.complaints();
    assert!(complaints.is_empty(), "{sentence}: {complaints:#?}");
}

#[test]
#[should_panic(expected = "nobody knows of")]
fn a_check_fails_for_a_token_that_nobody_knows_of() {
    let mut sim = Sim::new(policy::token(), policy::abilities());
    sim.run_for(Span::hours(3));
    check(&sim, "nothing happened yet");
    let account = sim.context.policy.account.name.clone();
    let now = sim.now();
    sim.world.ledger(|ledger| ledger.issue(&account, Some("patrold-01020304-gps-g9-000000000009"), now, now));
    check(&sim, "a stray token");
}

#[test]
#[should_panic(expected = "was revoked at")]
fn a_check_fails_for_a_consumer_that_loses_its_token() {
    let mut policy = policy::token();
    policy.stores.push(policy::store("a"));
    let mut sim = Sim::new(policy, policy::abilities());
    sim.run_for(Span::hours(3));
    let account = sim.context.policy.account.name.clone();
    let id = sim.state().phase.current().unwrap().generation.remote.id.clone();
    let subject = crate::provider::Subject { id, ..crate::provider::Subject::default() };
    let now = sim.now();
    assert_eq!(sim.world.ledger(|ledger| ledger.revoke(&account, &subject, now)), Revoked::Now);
    check(&sim, "somebody revoked it");
}
