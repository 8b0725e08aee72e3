//! Several processes on one journal: any of them may be paused, killed or lose the account at any moment, answers are
//! lost, requests arrive late.
//!
//! Nothing here knows of leases or clocks of an engine: the account passes to another process whenever the story says so,
//! and the one before goes on with what it believes until a commit tells it. What holds here is therefore held by the
//! fence and the head of each commit alone.
//!
//! Two searches. All stories of one token with few misfortunes ([`explore`]): every order in which requests arrive and
//! processes go on. And stories of three tokens drawn from seeds (`PATROLD_SEEDS` of them): more misfortunes, renewals,
//! tokens without overlap. `PATROLD_SEEDS=100000 PATROLD_FLEET_BOUND=2 cargo test --release --lib fleet -- --nocapture` is
//! the form for a night.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug};
use std::future::{Future, poll_fn};
use std::hash::{Hash as _, Hasher as _};
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::account::Listing;
use crate::clock::{Clock as _, ManualClock, Span, Time};
use crate::few::Few;
use crate::inventory::{HookPolicy, OnFailure, StorePolicy, TokenPolicy};
use crate::journal::memory::MemoryJournal;
use crate::journal::{Commit, CommitError, Fence, Head, Journal, SecretSlot, Settled, Stored};
use crate::names::{AccountName, InstanceId, RotationId, StoreKey, TokenName};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::{Abilities, Gone, MintRequest, Minted, ProviderClock, Subject, Verdict};
use crate::rotation::decide::Rest;
use crate::rotation::effects::{Address, Condition, Effects, Occasion};
use crate::rotation::event::Event;
use crate::rotation::held::{Context, Denied, Held};
use crate::rotation::run::Machine;
use crate::rotation::state::{Claim, Phase, TokenState};
use crate::rotation::stored::{Restored, restore};
use crate::secret::{Fingerprint, Secret, SecretParts};
use crate::store::{Delivery, Erased, Known, Receipt};

use super::driver::accounts_for;
use super::ledger::{Consumer, Ledger, Revoked};
use super::policy::{abilities, hook, renewing, start, store, token};
use super::world::{numbered_rotation, print_of};

/// What a process does wrong, so that the searches show that they find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    /// Nothing.
    Sound,
    /// The engine takes commits of whoever lost the account, where the head is right.
    NoFence,
    /// The engine takes every commit.
    NeitherFenceNorHead,
    /// No answer to a commit is taken for a success.
    UnknownIsWritten,
}

/// The longest time that a request is on its way.
const LATEST: Span = Span::minutes(20);

/// What happens when a message arrives.
type Arrival = Box<dyn FnOnce(&mut Inner, &Engine, Time) + Send>;

/// A request or a commit on its way.
struct Message {
    /// The process that sent it, and the token.
    from: (usize, usize),
    what: String,
    sent: Time,
    /// It has no answer any more: whoever sent it was told that nobody knows, or is gone.
    late: bool,
    /// It happens.
    arrive: Arrival,
    /// Whoever waits for the answer is told that there is none.
    lose: Box<dyn FnOnce() + Send>,
}

/// The answer to a message.
enum Slot<T> {
    Waiting,
    Come(T),
    Lost,
}

struct Inner {
    ledger: Ledger,
    net: Vec<Message>,
    rotations: u64,
    /// What every run was told since it began.
    heard: BTreeMap<(usize, usize), DefaultHasher>,
    violations: Vec<String>,
    commits: usize,
    fenced: usize,
}

/// The journal that all processes share, and the claim in force of each account.
struct Engine {
    memory: MemoryJournal,
    fences: Mutex<BTreeMap<AccountName, Fence>>,
    control: Control,
}

impl Engine {
    fn claim(&self, account: &AccountName) -> Fence {
        let fence = self.memory.claim(account).now_or_never().unwrap().unwrap();
        locked(&self.fences).insert(account.clone(), fence.clone());
        fence
    }

    fn stored(&self, token: &TokenName) -> Option<Stored> {
        self.memory.stored(token).now_or_never().unwrap().unwrap()
    }

    fn commit(&self, mut commit: Commit) -> Result<Head, CommitError> {
        if matches!(self.control, Control::NoFence | Control::NeitherFenceNorHead) {
            commit.fence = locked(&self.fences)[&commit.fence.account].clone();
        }
        if self.control == Control::NeitherFenceNorHead {
            commit.change.follows = self.stored(&commit.change.token).unwrap_or_default().head;
        }
        self.memory.commit(commit).now_or_never().unwrap()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What everybody shares.
struct Wire {
    engine: Engine,
    clock: ManualClock,
    inner: Mutex<Inner>,
}

/// One process's view of one token: where its requests go out, and where its commits do.
#[derive(Clone)]
struct Port {
    wire: Arc<Wire>,
    from: (usize, usize),
}

impl Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({:?})", self.from)
    }
}

impl Port {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        locked(&self.wire.inner)
    }

    fn heard(&self, what: &dyn Debug) {
        let text = format!("{what:?}");
        text.hash(self.inner().heard.entry(self.from).or_default());
    }

    /// Something that changes the world: it happens when the story says so, and is answered then, or never.
    async fn send<T: Debug + Send + 'static>(
        &self,
        what: String,
        act: impl FnOnce(&mut Inner, &Engine, Time) -> T + Send + 'static,
        lost: impl FnOnce() -> T,
    ) -> T {
        let slot = Arc::new(Mutex::new(Slot::Waiting));
        let (come, gone) = (Arc::clone(&slot), Arc::clone(&slot));
        let message = Message {
            from: self.from,
            what,
            sent: self.wire.clock.now(),
            late: false,
            arrive: Box::new(move |inner, engine, now| {
                let answer = act(inner, engine, now);
                let mut slot = locked(&come);
                if matches!(*slot, Slot::Waiting) {
                    *slot = Slot::Come(answer);
                }
            }),
            lose: Box::new(move || *locked(&gone) = Slot::Lost),
        };
        self.inner().net.push(message);
        let answer = poll_fn(|_| match std::mem::replace(&mut *locked(&slot), Slot::Waiting) {
            Slot::Waiting => Poll::Pending,
            Slot::Come(answer) => Poll::Ready(Some(answer)),
            Slot::Lost => Poll::Ready(None),
        });
        let answer = answer.await.unwrap_or_else(lost);
        self.heard(&answer);
        answer
    }

    /// Something that changes nothing. When it happens makes no difference to others, so that it happens at once.
    fn look<T: Debug>(&self, act: impl FnOnce(&mut Ledger, Time) -> T) -> T {
        let answer = act(&mut self.inner().ledger, self.wire.clock.now());
        self.heard(&answer);
        answer
    }
}

fn nobody_knows() -> Failure {
    Failure::new(FailureCode::Timeout, "the answer was lost")
}

impl Effects for Port {
    async fn adopt(&self, _token: &TokenPolicy) -> Result<SecretParts, Failure> {
        Err(Failure::new(FailureCode::NoCredential, "there is nothing to adopt"))
    }

    async fn preflight(&self, _store: &StorePolicy, _known: &Known) -> Result<(), Failure> {
        Ok(())
    }

    async fn mint(&self, at: Address<'_>, request: &MintRequest) -> Outcome<Minted> {
        let (account, request) = (at.account.clone(), request.clone());
        let mint = move |inner: &mut Inner, _: &Engine, now: Time| {
            // A provider without overlap: the new one ends those before.
            if !inner.ledger.abilities.can.overlap {
                inner.ledger.tokens.iter_mut().filter(|it| it.account == account).for_each(|it| it.revoked = true);
            }
            Outcome::Done(inner.ledger.mint(&account, &request, now, now))
        };
        self.send(format!("mint {request:?}", request = at.account), mint, || Outcome::Unknown(nobody_knows())).await
    }

    async fn list(&self, at: Address<'_>, _since: Time) -> Outcome<Arc<Listing>> {
        self.look(|ledger, now| Outcome::Done(Arc::new(ledger.listing(at.account, now).unwrap())))
    }

    async fn accepts(&self, at: Address<'_>, subject: &Subject) -> Outcome<bool> {
        self.verify(at, subject).await.map(|verdict| matches!(verdict, Verdict::Alive { .. }))
    }

    async fn verify(&self, _at: Address<'_>, subject: &Subject) -> Outcome<Verdict> {
        self.look(|ledger, now| {
            Outcome::Done(match ledger.accepts(subject, now) {
                Some(issued) => Verdict::Alive { id: Some(issued.id.parse().unwrap()), expires: Some(issued.expires) },
                None => Verdict::Dead(Failure::new(FailureCode::Unauthorized, "401")),
            })
        })
    }

    async fn revoke(&self, at: Address<'_>, subject: &Subject) -> Outcome<Gone> {
        let (account, subject) = (at.account.clone(), subject.clone());
        let what = format!("revoke {:?} {:?}", subject.id, subject.name);
        let revoke = move |inner: &mut Inner, _: &Engine, now: Time| {
            let revoked = inner.ledger.revoke(&account, &subject, now) == Revoked::Now;
            Outcome::Done(if revoked { Gone::Revoked } else { Gone::Already })
        };
        self.send(what, revoke, || Outcome::Unknown(nobody_knows())).await
    }

    async fn renew(&self, _at: Address<'_>, _request: &MintRequest, subject: &Subject) -> Outcome<Minted> {
        let subject = subject.clone();
        let renew = move |inner: &mut Inner, _: &Engine, now: Time| match inner.ledger.renew(&subject, now) {
            Some(minted) => Outcome::Done(minted),
            None => Outcome::Refused(Failure::new(FailureCode::Unauthorized, "the refresh token is spent")),
        };
        self.send("renew".into(), renew, || Outcome::Unknown(nobody_knows())).await
    }

    async fn write(&self, store: &StorePolicy, delivery: &Delivery<'_>, _known: &Known) -> Outcome<Option<Receipt>> {
        let (key, secret) = (store.key.clone(), delivery.parts.part(&store.part).unwrap().expose().to_owned());
        let what = format!("write {key} {secret}");
        let write =
            move |inner: &mut Inner, _: &Engine, now: Time| Outcome::Done(inner.ledger.overwrite(&key, &secret, now));
        self.send(what, write, || Outcome::Unknown(nobody_knows())).await
    }

    async fn inspect(&self, store: &StorePolicy, delivered: &Fingerprint, _known: &Known, _since: Time) -> Condition {
        self.look(|ledger, _| match ledger.stores.get(&store.key) {
            Some(held) if print_of(held) == *delivered => Condition::Same,
            _ => Condition::Drifted { found: "holds something else".into(), value: true },
        })
    }

    async fn erase(&self, store: &StoreKey, _: &Claim, _: Option<&Receipt>) -> Outcome<Erased> {
        self.look(|ledger, _| drop(ledger.stores.remove(store)));
        Outcome::Done(Erased::Gone)
    }

    async fn peek(&self, store: &StorePolicy) -> Result<Option<Secret>, Failure> {
        self.look(|ledger, _| Ok(ledger.stores.get(&store.key).cloned().map(Secret::new)))
    }

    async fn run_hook(&self, hook: &HookPolicy, _occasion: &Occasion) -> Outcome<()> {
        let key = hook.key.clone();
        let run = move |inner: &mut Inner, _: &Engine, now: Time| {
            inner.ledger.run_hook(&key, now);
            Outcome::Done(())
        };
        self.send(format!("hook {}", hook.key), run, || Outcome::Unknown(nobody_knows())).await
    }

    fn fingerprints(&self, secret: &SecretParts) -> Few<String, Fingerprint> {
        secret.iter().map(|(part, secret)| (part.to_owned(), print_of(secret.expose()))).collect()
    }

    fn rotation_id(&self) -> RotationId {
        let mut inner = self.inner();
        inner.rotations += 1;
        numbered_rotation(inner.rotations)
    }

    fn clock(&self, _account: &AccountName) -> ProviderClock {
        ProviderClock::seen(Span::zero())
    }

    fn draw(&self) -> f64 {
        0.5
    }

    fn set_credential(&self, _token: &TokenName, _secret: &SecretParts) {}

    async fn announce(&self, _token: &TokenName, _at: Time, event: &Event, state: &Arc<TokenState>) {
        if let (Event::Activated { .. } | Event::ActivatedEarly { .. }, Some(current)) = (event, state.phase.current())
        {
            let marker = current.generation.marker.as_ref().map(|marker| marker.as_str().to_owned());
            let mut inner = self.inner();
            if let Some(token) = inner.ledger.tokens.iter_mut().find(|token| token.marker == marker) {
                token.handed_over = true;
            }
        }
    }
}

impl Journal for Port {
    async fn claim(&self, account: &AccountName) -> Result<Fence, Failure> {
        Ok(self.wire.engine.claim(account))
    }

    async fn commit(&self, commit: Commit) -> Result<Head, CommitError> {
        let token = commit.change.token.clone();
        let kinds: Vec<_> = commit.change.records.iter().map(|draft| draft.kind).collect();
        let what = format!("commit {token} {kinds:?} after {:?} under {}", commit.change.follows, commit.fence.epoch);
        let follows = commit.change.follows;
        let write = move |inner: &mut Inner, engine: &Engine, _: Time| {
            let (account, epoch) = (commit.fence.account.clone(), commit.fence.epoch);
            let answer = engine.commit(commit);
            if answer.is_ok() && locked(&engine.fences)[&account].epoch != epoch {
                inner.violations.push(format!("a record of {token} was written without the claim"));
            }
            inner.commits += usize::from(answer.is_ok());
            inner.fenced += usize::from(answer == Err(CommitError::Fenced));
            if let Some(Err(error)) = engine.stored(&token).map(|stored| restore(&stored)) {
                inner.violations.push(format!("the journal of {token} cannot be replayed: {error}"));
            }
            answer
        };
        let answer = self.send(what, write, || Err(CommitError::Unknown(nobody_knows()))).await;
        match answer {
            Err(CommitError::Unknown(_)) if self.wire.engine.control == Control::UnknownIsWritten => Ok(follows),
            answer => answer,
        }
    }

    async fn settle(&self, token: &TokenName, after: Head) -> Result<Settled, Failure> {
        let settled = self.wire.engine.memory.settle(token, after).await;
        self.heard(&settled);
        settled
    }

    fn reachable(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn stored(&self, token: &TokenName) -> Result<Option<Stored>, Failure> {
        let stored = self.wire.engine.stored(token);
        self.heard(&stored);
        Ok(stored)
    }

    async fn secret(&self, slot: &SecretSlot) -> Result<Option<SecretParts>, Failure> {
        let secret = self.wire.engine.memory.secret(slot).await;
        self.heard(&secret.as_ref().ok().and_then(|secret| secret.as_ref().map(|it| it.token().expose().to_owned())));
        secret
    }
}

/// What the journal tells. One that cannot be replayed is a violation, and was told when it was written.
fn restored(stored: &Stored) -> Restored {
    restore(stored).unwrap_or_else(|_| Restored { head: stored.head, ..Restored::default() })
}

/// What one process holds of one token.
struct Seat {
    held: Arc<tokio::sync::Mutex<Held>>,
    context: Context,
    machine: Arc<Machine<Port, Port, ManualClock>>,
    run: Option<BoxFuture<'static, Rest>>,
    /// When it looks again; `None`: now.
    until: Option<Time>,
    /// It believes that it owns the account.
    owns: bool,
    known: bool,
}

/// One step of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// A message arrives, and is answered.
    Deliver(usize),
    /// A process is told that there is no answer. The message may arrive later.
    Lose(usize),
    /// A message never arrives.
    Drop(usize),
    /// A process goes on with a token.
    Go(usize, usize),
    /// The account of this token passes to the process.
    Claim(usize, usize),
    /// The process ends, and another one begins in its place.
    Crash(usize),
    /// Time passes until somebody has something to do.
    Tick,
}

/// Processes, what they share, and what is on its way.
struct Fleet {
    wire: Arc<Wire>,
    policies: Vec<Arc<TokenPolicy>>,
    abilities: Arc<Abilities>,
    /// By process, by token.
    seats: Vec<Vec<Seat>>,
    /// Which process has the account of each token, as the engine sees it.
    owners: Vec<usize>,
}

impl Fleet {
    fn new(processes: usize, tokens: usize, abilities: Abilities, control: Control) -> Self {
        let clock = ManualClock::new(start());
        let mut ledger = Ledger::new(abilities.clone());
        ledger.grace = Some(Span::hours(1));
        if abilities.can.renews {
            ledger.lifetime = Some(Span::minutes(30));
        }
        let policies: Vec<_> = (0..tokens).map(|number| Arc::new(policy_of(number))).collect();
        for policy in &policies {
            for store in &policy.stores {
                ledger.consumers.push(Consumer { store: store.key.clone(), hook: None, holds: None });
                let hook = policy.hooks.first().map(|hook| hook.key.clone());
                ledger.consumers.push(Consumer { store: store.key.clone(), hook, holds: None });
            }
        }
        let engine = Engine { memory: MemoryJournal::new(), fences: Mutex::default(), control };
        let inner = Inner {
            ledger,
            net: Vec::new(),
            rotations: 0,
            heard: BTreeMap::new(),
            violations: Vec::new(),
            commits: 0,
            fenced: 0,
        };
        let wire = Arc::new(Wire { engine, clock, inner: Mutex::new(inner) });
        let mut fleet =
            Self { wire, policies, abilities: Arc::new(abilities), seats: Vec::new(), owners: vec![0; tokens] };
        fleet.seats = (0..processes).map(|process| fleet.process(process)).collect();
        (0..tokens).for_each(|token| fleet.claim(0, token));
        fleet
    }

    /// A process that has just begun.
    fn process(&self, process: usize) -> Vec<Seat> {
        (0..self.policies.len()).map(|token| self.seat((process, token))).collect()
    }

    fn seat(&self, from: (usize, usize)) -> Seat {
        let policy = &self.policies[from.1];
        let port = Port { wire: Arc::clone(&self.wire), from };
        let machine = Machine {
            effects: port.clone(),
            journal: port,
            clock: self.wire.clock.clone(),
            instance: InstanceId::new([1, 2, 3, 4]),
        };
        let context = Context {
            policy: Arc::clone(policy),
            fence: Fence { account: policy.account.name.clone(), epoch: 0 },
            wanted: true,
            abilities: Arc::clone(&self.abilities),
            refused: None,
            listing: None,
        };
        Seat {
            held: Arc::default(),
            context,
            machine: Arc::new(machine),
            run: None,
            until: None,
            owns: false,
            known: false,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        locked(&self.wire.inner)
    }

    fn now(&self) -> Time {
        self.wire.clock.now()
    }

    fn state(&self, token: usize) -> TokenState {
        let stored = self.wire.engine.stored(&self.policies[token].name).unwrap_or_default();
        if stored.state.is_empty() { TokenState::default() } else { restored(&stored).state }
    }

    /// The process takes the account of a token, whoever had it. Whoever had it is not told.
    fn claim(&mut self, process: usize, token: usize) {
        let name = self.policies[token].name.clone();
        let fence = self.wire.engine.claim(&self.policies[token].account.name);
        self.owners[token] = process;
        let stored = self.wire.engine.stored(&name).map(|stored| restored(&stored)).unwrap_or_default();
        let seat = &mut self.seats[process][token];
        seat.context.fence = fence;
        let mut held = seat.held.try_lock().unwrap();
        if seat.known {
            // As the daemon does: what was noted stays where nobody wrote meanwhile.
            held.take_up(stored);
        } else {
            *held = Held::new(stored);
        }
        drop(held);
        (seat.known, seat.owns, seat.until) = (true, true, None);
    }

    fn idle(&self, process: usize, token: usize) -> bool {
        self.seats[process][token].run.is_none()
    }

    /// Whether a process has something to do for a token now: an answer has come, or a rest is over.
    fn ready(&self, process: usize, token: usize) -> bool {
        let seat = &self.seats[process][token];
        if seat.run.is_some() {
            return !self.inner().net.iter().any(|message| message.from == (process, token) && !message.late);
        }
        seat.owns && seat.until.is_none_or(|until| until <= self.now())
    }

    /// Goes on until the process waits for an answer, or rests.
    fn go(&mut self, process: usize, token: usize) {
        let now = self.now();
        let account = self.policies[token].account.name.clone();
        if self.idle(process, token) {
            let listed = || self.inner().ledger.listing(&account, now).map(Arc::new);
            let listing = self.abilities.can.lists.then(listed).flatten();
            self.inner().heard.remove(&(process, token));
            let seat = &mut self.seats[process][token];
            seat.context.listing = listing;
            let (held, machine, context) = (Arc::clone(&seat.held), Arc::clone(&seat.machine), seat.context.clone());
            seat.run = Some(
                async move {
                    let mut held = held.lock().await;
                    machine.run(&mut held, &context).await
                }
                .boxed(),
            );
        }
        let seat = &mut self.seats[process][token];
        let Some(run) = &mut seat.run else { return };
        let Poll::Ready(rest) = Pin::new(run).poll(&mut TaskContext::from_waker(Waker::noop())) else { return };
        seat.run = None;
        let held = seat.held.try_lock().unwrap();
        match held.denied() {
            Some(Denied::Fenced) => seat.owns = false,
            Some(Denied::Overtaken) | None => {}
        }
        let latest = now + Span::hours(1);
        seat.until = Some(rest.until.map_or(latest, |until| until.min(latest)));
    }

    fn crash(&mut self, process: usize) {
        self.seats[process] = self.process(process);
        for message in self.inner().net.iter_mut().filter(|message| message.from.0 == process) {
            message.late = true;
        }
    }

    fn deliver(&mut self, at: usize) {
        let (wire, now) = (Arc::clone(&self.wire), self.now());
        let mut inner = locked(&wire.inner);
        let message = inner.net.remove(at);
        (message.arrive)(&mut inner, &wire.engine, now);
    }

    fn lose(&mut self, at: usize) {
        let mut inner = self.inner();
        let message = &mut inner.net[at];
        message.late = true;
        std::mem::replace(&mut message.lose, Box::new(|| ()))();
    }

    /// When somebody has something to do next. `None`: never.
    fn next(&self) -> Option<Time> {
        let rests = self.seats.iter().flatten().filter(|seat| seat.owns && seat.run.is_none());
        rests.filter_map(|seat| seat.until).min()
    }

    fn make(&mut self, step: Move) {
        match step {
            Move::Deliver(at) => self.deliver(at),
            Move::Lose(at) => self.lose(at),
            Move::Drop(at) => drop(self.inner().net.remove(at)),
            Move::Go(process, token) => self.go(process, token),
            Move::Claim(process, token) => self.claim(process, token),
            Move::Crash(process) => self.crash(process),
            Move::Tick => {
                if let Some(next) = self.next() {
                    self.wire.clock.set(next.max(self.now()));
                }
            }
        }
    }

    /// Everything goes well until nobody has anything to do before `end`.
    fn calm(&mut self, end: Time) {
        for _ in 0..20_000 {
            while !self.inner().net.is_empty() {
                self.deliver(0);
            }
            let seats = (0..self.seats.len()).flat_map(|it| (0..self.policies.len()).map(move |token| (it, token)));
            if let Some((process, token)) = seats.into_iter().find(|(it, token)| self.ready(*it, *token)) {
                self.go(process, token);
                continue;
            }
            match self.next() {
                Some(next) if next <= end => self.wire.clock.set(next.max(self.now())),
                _ => {
                    self.wire.clock.set(end);
                    return;
                }
            }
        }
        let states: Vec<_> = (0..self.policies.len()).map(|token| self.state(token)).collect();
        locked(&self.wire.inner).violations.push(format!("it never comes to rest: {states:?}"));
    }

    fn request(&mut self, token: usize) {
        let (policy, now) = (Arc::clone(&self.policies[token]), self.now());
        let seat = &mut self.seats[self.owners[token]][token];
        if let (true, Ok(mut held)) = (seat.owns, seat.held.try_lock()) {
            held.note(&policy, now, Event::Requested {});
            seat.until = None;
        }
    }

    /// The end of every story: all that is on its way arrives or never does, one process is left, and has the time that it
    /// takes. Then everything must be in order.
    fn complaints(&mut self) -> Vec<String> {
        let end = self.now() + Span::minutes(30);
        self.calm(end);
        for process in 0..self.seats.len() - 1 {
            self.crash(process);
        }
        let last = self.seats.len() - 1;
        (0..self.policies.len()).for_each(|token| self.claim(last, token));
        let end = self.now() + Span::hours(8);
        self.calm(end);
        let now = self.now();
        let mut complaints = self.inner().violations.clone();
        complaints.extend(self.inner().ledger.violations.iter().cloned());
        let states: Vec<_> = (0..self.policies.len()).map(|token| self.state(token)).collect();
        for (policy, state) in self.policies.iter().zip(&states) {
            let Phase::Steady { current } = &state.phase else {
                complaints.push(format!("{} is {}", policy.name, state.phase.name()));
                continue;
            };
            if current.delivery.settled.is_none() {
                complaints.push(format!("{} still owes something: {:?}", policy.name, current.delivery));
            }
            let slot = current.generation.slot(&policy.name);
            if !self.wire.engine.memory.snapshot().secrets.contains_key(&slot) {
                complaints.push(format!("the secret of {} is not in the journal", policy.name));
            }
        }
        let inner = self.inner();
        let unserved = inner.ledger.unserved(now);
        if !unserved.is_empty() {
            complaints.push(format!("consumers without a valid secret: {unserved:?}"));
        }
        for issued in inner.ledger.tokens.iter().filter(|it| it.lives(now)) {
            if !states.iter().any(|state| accounts_for(state, issued)) {
                complaints.push(format!("nobody knows of {} ({:?})", issued.id, issued.marker));
            }
        }
        let living = inner.ledger.tokens.iter().filter(|it| it.lives(now)).count();
        let remembered: usize = states.iter().map(|state| state.orphans.len()).sum();
        if self.abilities.can.lists && living > self.policies.len() + remembered {
            complaints.push(format!("{living} live"));
        }
        complaints
    }

    /// Tells states apart: the journal, the world, what is on its way, and what each process was told.
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for policy in &self.policies {
            if let Some(Stored { state, since, newest, head }) = self.wire.engine.stored(&policy.name) {
                (policy.name.as_str(), state, since, newest, format!("{head:?}")).hash(&mut hasher);
            }
        }
        (self.now(), &self.owners).hash(&mut hasher);
        let inner = self.inner();
        let Ledger { tokens, stores, consumers, .. } = &inner.ledger;
        let _ = fmt::write(&mut Hashing(&mut hasher), format_args!("{tokens:?} {stores:?} {consumers:?}"));
        for message in &inner.net {
            (message.from, &message.what, message.late).hash(&mut hasher);
        }
        for (process, seats) in self.seats.iter().enumerate() {
            for (token, seat) in seats.iter().enumerate() {
                (seat.owns, seat.context.fence.epoch, seat.until, seat.run.is_some()).hash(&mut hasher);
                match (&seat.run, inner.heard.get(&(process, token))) {
                    (Some(_), Some(heard)) => heard.finish().hash(&mut hasher),
                    (Some(_), None) => {}
                    (None, _) => {
                        let held = seat.held.try_lock().unwrap();
                        let _ = fmt::write(&mut Hashing(&mut hasher), format_args!("{held:?} "));
                    }
                }
            }
        }
        hasher.finish()
    }
}

/// Hashes what is written to it.
struct Hashing<'h>(&'h mut DefaultHasher);

impl fmt::Write for Hashing<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// The token number `number`: the first two share an account.
fn policy_of(number: usize) -> TokenPolicy {
    let mut policy = token();
    if number > 0 {
        policy.name = format!("gps-{number}").parse().unwrap();
    }
    policy.stores = vec![store(&format!("store-{number}"))];
    policy.hooks = vec![hook(&format!("reload-{number}"), OnFailure::Retry)];
    policy.account = super::policy::account(&format!("account-{number}"));
    policy
}

/// What may go wrong in one story.
#[derive(Clone, Copy, Debug)]
struct Bound {
    claims: usize,
    lost: usize,
    crashes: usize,
}

/// A story of one token that is being explored.
struct Story {
    fleet: Fleet,
    left: Bound,
    ticks: usize,
}

/// How often time may pass in a story before it comes to its end.
const TICKS: usize = 4;

impl Story {
    fn begin(bound: Bound, control: Control) -> Self {
        let mut fleet = Fleet::new(2, 1, abilities(), control);
        let end = fleet.now() + Span::minutes(5);
        fleet.calm(end);
        fleet.request(0);
        Self { fleet, left: bound, ticks: TICKS }
    }

    /// What may happen next. Nothing: the story is at its end.
    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        let ready: Vec<_> = (0..2).filter(|process| self.fleet.ready(*process, 0)).collect();
        moves.extend(ready.iter().map(|process| Move::Go(*process, 0)));
        let inner = self.fleet.inner();
        moves.extend((0..inner.net.len()).map(Move::Deliver));
        let waits = inner.net.iter().any(|message| !message.late);
        if self.left.lost > 0 {
            moves.extend((0..inner.net.len()).filter(|at| !inner.net[*at].late).map(Move::Lose));
        }
        moves.extend((0..inner.net.len()).filter(|at| inner.net[*at].late).map(Move::Drop));
        drop(inner);
        let over = moves.is_empty();
        if self.left.claims > 0 && !(over && self.ticks == 0) {
            // Also to the process that has it: its lease was lost, and taken again.
            moves.extend((0..2).filter(|process| self.fleet.idle(*process, 0)).map(|it| Move::Claim(it, 0)));
        }
        if self.left.crashes > 0 && !over {
            moves.extend((0..2).filter(|process| !self.fleet.idle(*process, 0)).map(Move::Crash));
        }
        if self.ticks > 0 && ready.is_empty() && (!waits || self.fleet.seats.iter().flatten().any(|seat| seat.owns)) {
            moves.extend(self.fleet.next().map(|_| Move::Tick));
        }
        moves
    }

    fn make(&mut self, step: Move) {
        match step {
            Move::Claim(..) => self.left.claims -= 1,
            Move::Lose(_) => self.left.lost -= 1,
            Move::Crash(_) => self.left.crashes -= 1,
            Move::Tick => self.ticks -= 1,
            _ => {}
        }
        self.fleet.make(step);
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.fleet.hash(), self.left.claims, self.left.lost, self.left.crashes, self.ticks).hash(&mut hasher);
        hasher.finish()
    }
}

#[derive(Debug, Default)]
struct Explored {
    states: HashSet<u64>,
    ends: usize,
    broken: Vec<String>,
}

/// Lives every story within `bound`. A state that was seen is not gone on from again.
fn explore(bound: Bound, control: Control, enough: usize) -> Explored {
    let mut seen = Explored::default();
    let mut open: Vec<Vec<Move>> = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let mut story = Story::begin(bound, control);
        let mut path: Vec<Move> = path;
        for step in &path {
            story.make(*step);
        }
        loop {
            if !seen.states.insert(story.hash()) {
                break;
            }
            let moves = story.moves();
            let Some((first, others)) = moves.split_first() else {
                seen.ends += 1;
                let complaints = story.fleet.complaints();
                if !complaints.is_empty() {
                    seen.broken.push(format!("{} steps: {path:?}: {complaints:?}", path.len()));
                    if seen.broken.len() >= enough {
                        return seen;
                    }
                }
                break;
            };
            open.extend(others.iter().map(|other| path.iter().copied().chain([*other]).collect()));
            story.make(*first);
            path.push(*first);
        }
    }
    seen
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn print(line: &str) {
    // Not by a macro: what those print is swallowed unless the test fails.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn one_token_survives_every_order_of_everything() {
    let more = setting("PATROLD_FLEET_BOUND", 0);
    let bounds = [
        Bound { claims: 1 + more, lost: 0, crashes: 0 },
        Bound { claims: 1, lost: more, crashes: 1 },
        Bound { claims: 1, lost: 1, crashes: more },
    ];
    for bound in bounds.into_iter().take(2 + usize::from(more > 0)) {
        let Explored { states, ends, broken } = explore(bound, Control::Sound, 3);
        let (states, count) = (states.len(), broken.len());
        print(&format!("{bound:?}, {TICKS} ticks: {states} states, {ends} ends, {count} broken"));
        assert!(broken.is_empty(), "{bound:?}: {broken:#?}");
        assert!(states > 500, "{bound:?}: only {states} states");
    }
}

/// A control: without fence and head, the search finds how the token is lost.
#[test]
fn without_its_protections_the_search_finds_what_breaks() {
    let bound = Bound { claims: 1, lost: 0, crashes: 0 };
    let Explored { states, broken, .. } = explore(bound, Control::NeitherFenceNorHead, 1);
    print(&format!("neither fence nor head: {} states to {:?}", states.len(), broken.first()));
    assert!(!broken.is_empty(), "neither fence nor head: {} states", states.len());
}

/// Numbers that look drawn, the same for the same seed.
struct Dice(u64);

impl Dice {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap_or(0) % end.max(1)
    }
}

/// Lives a story of three tokens and three processes. Gives what is wrong in the end, and the commits and fences of it.
fn live(seed: u64, control: Control) -> (Vec<String>, usize, usize) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    dice.below(2);
    let kind = match seed % 4 {
        0 => renewing(),
        _ => abilities(),
    };
    let mut fleet = Fleet::new(3, 3, kind, control);
    let end = fleet.now() + Span::minutes(5);
    fleet.calm(end);
    (0..3).for_each(|token| fleet.request(token));
    for _ in 0..250 {
        let pending = fleet.inner().net.len();
        match dice.below(100) {
            0..40 => {
                let (process, token) = (dice.below(3), dice.below(3));
                if fleet.ready(process, token) {
                    fleet.make(Move::Go(process, token));
                }
            }
            40..75 if pending > 0 => fleet.make(Move::Deliver(dice.below(pending))),
            75..78 if pending > 0 => {
                let at = dice.below(pending);
                let late = fleet.inner().net[at].late;
                fleet.make(if late { Move::Drop(at) } else { Move::Lose(at) });
            }
            78..83 => {
                let (process, token) = (dice.below(3), dice.below(3));
                if fleet.idle(process, token) {
                    fleet.make(Move::Claim(process, token));
                }
            }
            83..84 => fleet.make(Move::Crash(dice.below(3))),
            84..85 => fleet.request(dice.below(3)),
            85..100 => {
                let now = fleet.now();
                // Nothing is on its way for longer.
                let overdue = fleet.inner().net.iter().position(|message| message.sent + LATEST < now);
                match overdue {
                    Some(at) => fleet.make(Move::Deliver(at)),
                    None => fleet.make(Move::Tick),
                }
            }
            _ => {}
        }
    }
    let complaints = fleet.complaints();
    let inner = fleet.inner();
    (complaints, inner.commits, inner.fenced)
}

#[test]
fn tokens_of_three_processes_survive_drawn_stories() {
    let seeds = setting("PATROLD_SEEDS", 300);
    let (mut commits, mut fenced) = (0, 0);
    let mut broken = Vec::new();
    for seed in 0..seeds as u64 {
        let (complaints, written, denied) = live(seed, Control::Sound);
        (commits, fenced) = (commits + written, fenced + denied);
        if !complaints.is_empty() {
            broken.push(format!("seed {seed}: {complaints:?}"));
        }
    }
    let count = broken.len();
    print(&format!("{seeds} stories of three tokens: {commits} commits, {fenced} fenced, {count} broken"));
    broken.truncate(5);
    assert!(broken.is_empty(), "{count} broken: {broken:#?}");
    assert!(fenced > seeds / 10, "{fenced} commits were fenced: the stories are too tame");
}

/// Controls: the same stories, without what protects them.
#[test]
fn drawn_stories_find_what_each_protection_is_for() {
    for control in [Control::NeitherFenceNorHead, Control::NoFence, Control::UnknownIsWritten] {
        let broken = (0..200).map(|seed| (seed, live(seed, control).0)).find(|(_, complaints)| !complaints.is_empty());
        print(&format!("{control:?}: the first broken story is {broken:?}"));
        assert!(broken.is_some(), "{control:?} breaks nothing");
    }
}
