//! Tells consumers that a new secret is there: runs the hooks of tokens.
//!
//! A hook that several tokens share (one reload after three tokens changed) runs once for all that ask for it within a
//! short time. A run serves only those who asked before it began, since it may have read the stores before anybody
//! later wrote to them; who asks during a run waits for the next one.
//!
//! Law: runs of one command never overlap and are spaced ([`SPACING`]); runs of different commands wait for each other
//! only within one account, the nearest deadline first; commands that were killed at their timeout wait among their like.

mod call;
mod command;
mod rollout;
mod signal;
#[cfg(test)]
mod tests;
mod unit;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use self::command::{Invocation, Unsuccessful};
use crate::clock::Time;
use crate::endpoint::single::Caller;
use crate::host::remedy_of_denied;
use crate::inventory::{CheckPolicy, HookKind, HookPolicy, Pace, RunPolicy};
use crate::names::{AccountName, HookKey, RotationId, TokenName};
use crate::outcome::{Failure, FailureCode, Outcome, one_line};
use crate::places::{Place, Places};
use crate::secret::random;
use crate::secret::redact::Secrets;

/// How long a run waits for others that want the same one.
pub const COALESCE: Duration = Duration::from_millis(100);

/// How long after the beginning of a run the next one of the same command begins at the earliest. systemd refuses the
/// sixth start of a unit within 10 s, and every later `try-restart` of the failed unit does nothing and succeeds. This
/// leaves one of the five to the operator.
pub const SPACING: Duration = Duration::from_millis(2500);

/// How many hooks of one account run at once, and how many more of those that were killed at their timeout last time.
pub const AT_ONCE: usize = 8;

/// How much of what a hook said goes into a message, in characters.
const SAID: usize = 300;

/// What a hook is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookEvent {
    /// A new secret is in the stores.
    Delivered,
    /// The old secret is in the stores again.
    RolledBack,
}

impl HookEvent {
    /// As the hook sees it in `PATROLD_EVENT`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// What a hook is run for.
#[derive(Clone, Debug)]
pub struct Occasion {
    pub token: TokenName,
    /// Whose place the run takes.
    pub account: AccountName,
    /// When consumers would hold nothing that works: the nearest goes first.
    pub deadline: Time,
    /// The idempotency key: the same for every attempt.
    pub rotation: RotationId,
    /// Counted from 1.
    pub attempt: u32,
    pub event: HookEvent,
    /// Struck out of what the hook says before it gets into a message: a hook may read stores and print them.
    pub secrets: Arc<dyn Secrets>,
}

/// Runs hooks. Clones share everything.
#[derive(Clone, Debug)]
pub struct HookRunner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    coalesce: Duration,
    spacing: Duration,
    places: Places,
    /// For commands that were killed at their timeout last time: what hangs does not hold up what works.
    slow: Places,
    /// Sends requests.
    caller: Caller,
    state: Mutex<State>,
    /// True: nothing new is begun.
    closed: watch::Sender<bool>,
    /// True: kill what runs.
    stop: watch::Sender<bool>,
    /// How many commands have somebody driving them.
    busy: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// Those who wait for the next run of a command. A command that is being driven has an entry.
    waiting: HashMap<HookKey, Waiting>,
    /// Before when the next run of a command does not begin.
    spaced: HashMap<HookKey, Instant>,
    /// Commands that were killed at their timeout last time.
    hung: HashSet<HookKey>,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: Vec<Request>,
    /// The accounts that ask, each with its nearest deadline.
    asking: BTreeMap<AccountName, Time>,
    /// Wakes the driver when `asking` has changed.
    changed: Arc<Notify>,
}

impl Waiting {
    fn push(&mut self, request: Request) {
        let Occasion { account, deadline, .. } = &request.occasion;
        let nearest = self.asking.entry(account.clone()).or_insert(Time::MAX_UTC);
        if *deadline < *nearest {
            *nearest = *deadline;
            self.changed.notify_one();
        }
        self.requests.push(request);
    }
}

#[derive(Debug)]
struct Request {
    hook: HookPolicy,
    occasion: Occasion,
    answer: oneshot::Sender<Outcome<()>>,
}

impl HookRunner {
    /// A runner whose requests leave through `caller`.
    pub fn new(caller: Caller) -> Self {
        Self::paced(caller, COALESCE, SPACING)
    }

    /// A runner whose runs wait `coalesce` for others that want the same one, and `spacing` after the one before.
    pub fn paced(caller: Caller, coalesce: Duration, spacing: Duration) -> Self {
        Self(Arc::new(Shared {
            caller,
            coalesce,
            spacing,
            places: Places::new(AT_ONCE),
            slow: Places::new(AT_ONCE),
            state: Mutex::default(),
            closed: watch::Sender::new(false),
            stop: watch::Sender::new(false),
            busy: watch::Sender::new(0),
        }))
    }

    /// Runs the hook, alone or together with others who ask for the same command; done once it has succeeded.
    ///
    /// Dropping the future withdraws the request where its run has not begun. A run that has begun goes on.
    pub async fn run(&self, hook: &HookPolicy, occasion: Occasion) -> Outcome<()> {
        let (answer, answered) = oneshot::channel();
        let request = Request { hook: hook.clone(), occasion, answer };
        {
            let mut state = self.0.state();
            if state.closed {
                return stopping();
            }
            if let Some(waiting) = state.waiting.get_mut(&hook.key) {
                waiting.push(request);
            } else {
                let mut waiting = Waiting::default();
                waiting.push(request);
                state.waiting.insert(hook.key.clone(), waiting);
                self.0.busy.send_modify(|busy| *busy += 1);
                tokio::spawn(Shared::drive(self.0.clone(), hook.key.clone()));
            }
        }
        // The driver answers everybody; it is gone without an answer only if the runtime is.
        answered.await.unwrap_or_else(|_| stopping())
    }

    /// Refuses new requests, lets runs that have begun go on for `drain`, then kills them. Returns once none is left.
    pub async fn close(&self, drain: Duration) {
        self.0.state().closed = true;
        self.0.closed.send_replace(true);
        let mut busy = self.0.busy.subscribe();
        let idle = async {
            // The sender lives in `self`.
            let _ = busy.wait_for(|busy| *busy == 0).await;
        };
        tokio::pin!(idle);
        if tokio::time::timeout(drain, &mut idle).await.is_err() {
            self.0.stop.send_replace(true);
            idle.await;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one command as long as anybody asks for it.
    async fn drive(self: Arc<Self>, key: HookKey) {
        let _busy = Busy { shared: &self, key: &key };
        let mut closed = self.closed.subscribe();
        loop {
            let place = tokio::select! {
                // The sender lives in `self`. What waits is told so at once.
                _ = closed.wait_for(|closed| *closed) => None,
                place = self.turn(&key) => Some(place),
            };
            let batch = self.batch(&key);
            if !batch.is_empty() {
                self.serve(&key, batch).await;
            }
            drop(place);
            // Under one lock with the look: a request must find a driver or become one.
            let mut state = self.state();
            if state.waiting.get(&key).is_none_or(|waiting| waiting.requests.is_empty()) {
                state.waiting.remove(&key);
                return;
            }
        }
    }

    /// Waits until the command may run: for others that want it, for the spacing, and for a place of any account that asks.
    async fn turn(&self, key: &HookKey) -> Place {
        let (coalesce, splay) = {
            let state = self.state();
            let requests = state.waiting.get(key).map(|waiting| waiting.requests.as_slice()).unwrap_or_default();
            let longest = |span: fn(&Pace) -> Option<Duration>| {
                requests.iter().filter_map(|request| span(&request.hook.pace)).max()
            };
            (longest(|pace| pace.coalesce).unwrap_or(self.coalesce), longest(|pace| pace.splay).unwrap_or_default())
        };
        let wait = coalesce + splay.mul_f64(random::fraction());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let spaced = self.state().spaced.get(key).copied();
        if let Some(spaced) = spaced {
            tokio::time::sleep_until(spaced).await;
        }
        loop {
            let (asking, changed, slow) = {
                let mut state = self.state();
                let slow = state.hung.contains(key);
                let waiting = state.waiting.entry(key.clone()).or_default();
                (waiting.asking.clone(), Arc::clone(&waiting.changed), slow)
            };
            let places = if slow { &self.slow } else { &self.places };
            let turns = asking.iter().map(|(account, deadline)| Box::pin(places.enter(account, *deadline)));
            tokio::select! {
                biased;
                (place, ..) = select_all(turns) => return place,
                () = changed.notified() => {}
            }
        }
    }

    /// Takes those whom the next run serves: all who wait still and were told of the same event.
    fn batch(&self, key: &HookKey) -> Vec<Request> {
        let mut state = self.state();
        let closed = state.closed;
        let Some(waiting) = state.waiting.get_mut(key) else { return Vec::new() };
        let mut requests = std::mem::take(&mut waiting.requests);
        waiting.asking.clear();
        requests.retain(|request| !request.answer.is_closed());
        if closed {
            for request in requests.drain(..) {
                let _ = request.answer.send(stopping());
            }
        }
        let Some(event) = requests.first().map(|request| request.occasion.event) else { return Vec::new() };
        let (batch, later): (_, Vec<_>) = requests.into_iter().partition(|request| request.occasion.event == event);
        for request in later {
            waiting.push(request);
        }
        batch
    }

    /// A run of the command begins.
    fn begins(&self, key: &HookKey, batch: &[Request]) {
        let once_per = batch.iter().filter_map(|request| request.hook.pace.once_per).max().unwrap_or_default();
        let (mut state, now) = (self.state(), Instant::now());
        state.spaced.retain(|_, spaced| now < *spaced);
        state.spaced.insert(key.clone(), now + self.spacing.max(once_per));
    }

    async fn serve(&self, key: &HookKey, batch: Vec<Request>) {
        let Some(first) = batch.first() else { return };
        self.begins(key, &batch);
        let timeout = batch.iter().map(|request| request.hook.timeout).max().unwrap_or_default();
        let result = match &first.hook.kind {
            HookKind::Run(run) => {
                let invocation = invocation(run, &batch, |name| std::env::var_os(name));
                command::run(&invocation, self.stop.subscribe()).await
            }
            HookKind::Systemd(unit) => unit::run(unit, timeout, self.stop.subscribe()).await,
            HookKind::Check(check) => {
                let invocation = invocation(&check.run, &batch, |name| std::env::var_os(name));
                passes(check, &invocation, self.stop.subscribe()).await
            }
            HookKind::Signal(policy) => signal::send(policy, timeout, self.stop.subscribe()).await,
            HookKind::Http(policy) => call::send(policy, &self.caller, &batch, self.stop.subscribe()).await,
            HookKind::Rollout(policy) => rollout::send(policy, &self.caller, &batch, self.stop.subscribe()).await,
        };
        let hung = matches!(&result, Err(Unsuccessful { failure, .. }) if failure.code == FailureCode::HookTimeout);
        if hung {
            self.state().hung.insert(key.clone());
        } else {
            self.state().hung.remove(key);
        }
        let outcome = match result {
            Ok(()) => Outcome::Done(()),
            Err(unsuccessful) => Outcome::later(clean(unsuccessful, &batch).await),
        };
        for request in batch {
            // Whoever does not wait any more does not want to know.
            let _ = request.answer.send(outcome.clone());
        }
    }
}

/// Counts a driver while it lives, also where it ends by a panic.
struct Busy<'a> {
    shared: &'a Shared,
    key: &'a HookKey,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.state().waiting.remove(self.key);
        }
        self.shared.busy.send_modify(|busy| *busy -= 1);
    }
}

/// The one command line and environment that serve the whole batch.
///
/// `PATROLD_TOKEN` and `PATROLD_ROTATION` list names and idempotency keys, separated by blanks, in the same order;
/// `PATROLD_ATTEMPT` is the highest attempt. The longest timeout counts, and every variable that one of them passes.
fn invocation(run: &RunPolicy, batch: &[Request], variable: impl Fn(&str) -> Option<OsString>) -> Invocation {
    let tokens: BTreeMap<_, _> =
        batch.iter().map(|request| (&request.occasion.token, request.occasion.rotation)).collect();
    let list = |words: Vec<String>| OsString::from(words.join(" "));
    let attempt = batch.iter().map(|request| request.occasion.attempt).max().unwrap_or_default();
    let event = batch.first().map_or("", |request| request.occasion.event.as_str());
    let own = [
        ("PATROLD_TOKEN", list(tokens.keys().map(ToString::to_string).collect())),
        ("PATROLD_ROTATION", list(tokens.values().map(ToString::to_string).collect())),
        ("PATROLD_ATTEMPT", attempt.to_string().into()),
        ("PATROLD_EVENT", event.into()),
    ];
    let lets_see = |request: &'_ Request| match &request.hook.kind {
        HookKind::Run(run) | HookKind::Check(CheckPolicy { run, .. }) => run.pass_env.clone(),
        HookKind::Systemd(_) | HookKind::Signal(_) | HookKind::Http(_) | HookKind::Rollout(_) => Vec::new(),
    };
    let passed: BTreeSet<_> = batch.iter().flat_map(lets_see).collect();
    let passed = passed.into_iter().filter_map(|name| variable(&name).map(|value| (name.into(), value)));
    Invocation {
        run: run.argv.clone(),
        timeout: batch.iter().map(|request| request.hook.timeout).max().unwrap_or_default(),
        // Ours last, so that they win.
        variables: passed.chain(own.map(|(name, value)| (name.into(), value))).collect(),
    }
}

/// Runs a check until it succeeds, or its time is over; the last failure counts.
async fn passes(check: &CheckPolicy, invocation: &Invocation, stop: watch::Receiver<bool>) -> Result<(), Unsuccessful> {
    let begun = Instant::now();
    loop {
        let result = command::run(invocation, stop.clone()).await;
        if result.is_ok() || *stop.borrow() || begun.elapsed() + check.every > check.within {
            return result;
        }
        let mut stopping = stop.clone();
        tokio::select! {
            () = tokio::time::sleep(check.every) => {}
            () = command::stopped(&mut stopping) => {}
        }
    }
}

/// The failure with the end of what the hook said, without the secrets of anybody in the batch.
async fn clean(unsuccessful: Unsuccessful, batch: &[Request]) -> Failure {
    let Unsuccessful { failure, mut said } = unsuccessful;
    if said.is_empty() {
        return failure;
    }
    // One redactor for a run: those who share it know the same secrets, as a rule.
    let mut asked: Vec<&Arc<dyn Secrets>> = Vec::new();
    for secrets in batch.iter().map(|request| &request.occasion.secrets) {
        if !asked.iter().any(|known| Arc::ptr_eq(known, secrets)) {
            said = secrets.redactor().await.clean(&said);
            asked.push(secrets);
        }
    }
    // Control characters are gone before the cut, which then counts what is shown.
    let said = one_line(&said, usize::MAX / 4);
    let remedy = remedy_of_denied(&said).map(|remedy| format!("; {remedy}")).unwrap_or_default();
    let surplus = said.chars().count().saturating_sub(SAID);
    let said: String = said.chars().skip(surplus).collect();
    match (said.is_empty(), surplus) {
        (true, _) => failure,
        (false, 0) => failure.reworded(format!("{}: {said}{remedy}", failure.detail)),
        (false, _) => failure.reworded(format!("{}: …{said}{remedy}", failure.detail)),
    }
}

fn stopping() -> Outcome<()> {
    Outcome::later(Failure::new(FailureCode::HookFailed, "not run, because the daemon stops"))
}
