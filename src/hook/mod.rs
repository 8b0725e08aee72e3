//! Tells consumers that a new secret is there: runs the hooks of tokens.
//!
//! A hook that several tokens share (one reload after three tokens changed) runs once for all that ask for it within a
//! short time. A run serves only those who asked before it began, since it may have read the stores before anybody
//! later wrote to them; who asks during a run waits for the next one. Runs of one command never overlap, and runs of
//! different commands do not wait for each other, up to a limit on how many run at once.

mod command;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot, watch};

use self::command::{Invocation, Unsuccessful};
use crate::host::remedy_of_denied;
use crate::inventory::HookPolicy;
use crate::names::{HookKey, RotationId, TokenName};
use crate::outcome::{Failure, FailureCode, Outcome, one_line};
use crate::secret::redact::Secrets;

/// How long a run waits for others that want the same one.
pub const COALESCE: Duration = Duration::from_millis(100);

/// How many hooks run at once.
pub const AT_ONCE: usize = 16;

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
    permits: Semaphore,
    state: Mutex<State>,
    /// True: kill what runs.
    stop: watch::Sender<bool>,
    /// How many commands have somebody driving them.
    busy: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// Those who wait for the next run of a command. A command that is being driven has an entry.
    waiting: HashMap<HookKey, Vec<Request>>,
}

#[derive(Debug)]
struct Request {
    hook: HookPolicy,
    occasion: Occasion,
    answer: oneshot::Sender<Outcome<()>>,
}

impl Default for HookRunner {
    fn default() -> Self {
        Self::new(COALESCE)
    }
}

impl HookRunner {
    /// A runner whose runs wait `coalesce` for others that want the same one.
    pub fn new(coalesce: Duration) -> Self {
        Self(Arc::new(Shared {
            coalesce,
            permits: Semaphore::new(AT_ONCE),
            state: Mutex::default(),
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
                state.waiting.insert(hook.key.clone(), vec![request]);
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
        loop {
            if !self.coalesce.is_zero() {
                tokio::time::sleep(self.coalesce).await;
            }
            // Never closed.
            let permit = self.permits.acquire().await;
            let batch = self.batch(&key);
            if !batch.is_empty() {
                self.serve(batch).await;
            }
            drop(permit);
            // Under one lock with the look: a request must find a driver or become one.
            let mut state = self.state();
            if state.waiting.get(&key).is_none_or(Vec::is_empty) {
                state.waiting.remove(&key);
                return;
            }
        }
    }

    /// Takes those whom the next run serves: all who wait still and were told of the same event.
    fn batch(&self, key: &HookKey) -> Vec<Request> {
        let mut state = self.state();
        let closed = state.closed;
        let Some(waiting) = state.waiting.get_mut(key) else { return Vec::new() };
        waiting.retain(|request| !request.answer.is_closed());
        if closed {
            for request in waiting.drain(..) {
                let _ = request.answer.send(stopping());
            }
        }
        let Some(event) = waiting.first().map(|request| request.occasion.event) else { return Vec::new() };
        waiting.extract_if(.., |request| request.occasion.event == event).collect()
    }

    async fn serve(&self, batch: Vec<Request>) {
        let invocation = invocation(&batch, |name| std::env::var_os(name));
        let result = command::run(&invocation, self.stop.subscribe()).await;
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
fn invocation(batch: &[Request], variable: impl Fn(&str) -> Option<OsString>) -> Invocation {
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
    let passed: BTreeSet<_> = batch.iter().flat_map(|request| &request.hook.pass_env).collect();
    let passed = passed.into_iter().filter_map(|name| variable(name).map(|value| (name.into(), value)));
    Invocation {
        run: batch.first().map(|request| request.hook.run.clone()).unwrap_or_default(),
        timeout: batch.iter().map(|request| request.hook.timeout).max().unwrap_or_default(),
        // Ours last, so that they win.
        variables: passed.chain(own.map(|(name, value)| (name.into(), value))).collect(),
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
        (false, 0) => Failure::new(failure.code, format!("{}: {said}{remedy}", failure.detail)),
        (false, _) => Failure::new(failure.code, format!("{}: …{said}{remedy}", failure.detail)),
    }
}

fn stopping() -> Outcome<()> {
    Outcome::later(Failure::new(FailureCode::HookFailed, "not run, because the daemon stops"))
}
