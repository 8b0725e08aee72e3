//! One task that knows when what is due, and starts it: keyed deadlines on the wall clock, woken by the earliest and by
//! events. Nothing polls.
//!
//! A key runs once at a time; one that falls due while it runs is run again afterwards. Tokens of one account beyond a
//! bound wait in line for each other, and for nobody else: see [`crate::places`]. One in line is a name and a deadline, no
//! task: ten thousand that fall due at once take the memory of a list.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock::{Clock, Span, Time};
use crate::crash;
use crate::event;
use crate::journal::Journal;
use crate::names::TokenName;
use crate::places::{Place, Places, seated};

use super::core::Core;
use super::deadlines::{Deadlines, Key};

/// Tokens of one account that are dealt with at once. Requests are bounded by the account itself; this bounds memory.
const RUNS_PER_ACCOUNT: usize = 32;

/// Tokens of all accounts that are in the [first moments](FIRST) of being dealt with: most are looked at and found to be fine,
/// and a start looks at all of them. This bounds memory, too.
const BEGINNING: usize = 64;

/// Whoever takes longer waits for somebody, and holds nobody up any more.
const FIRST: Duration = Duration::from_millis(20);

/// A clock that goes back by more was set.
const SET_BACK: Span = Span::seconds(5);

/// A task that panicked is a bug; its token is tried again after this, so that it is not lost for good.
const AFTER_PANIC: Span = Span::minutes(1);

/// Wakes keys of a running scheduler.
#[derive(Clone, Debug)]
pub struct Waker {
    keys: mpsc::UnboundedSender<Vec<Key>>,
    /// When the scheduler last looked for something to do.
    beat: watch::Receiver<Time>,
}

impl Waker {
    /// Makes keys due now. Nothing happens where the scheduler has ended.
    pub fn wake(&self, keys: Vec<Key>) {
        // A scheduler that has ended has nothing to be woken for.
        let _ = self.keys.send(keys);
    }

    /// Asks the scheduler for a sign of life and waits for it up to `patience`. Tells when the last one came, and whether
    /// it came now. One that has nothing to do sleeps, so that the age of its last turn alone says nothing.
    pub async fn heartbeat(&self, patience: Duration) -> (Time, bool) {
        let mut beat = self.beat.clone();
        beat.mark_unchanged();
        self.wake(Vec::new());
        let answered = matches!(timeout(patience, beat.changed()).await, Ok(Ok(())));
        let last = *beat.borrow();
        (last, answered)
    }
}

/// Deadlines, and what runs now.
#[derive(Debug)]
pub struct Scheduler<C, J> {
    core: Arc<Core<C, J>>,
    waker: Waker,
    beat: watch::Sender<Time>,
    woken: mpsc::UnboundedReceiver<Vec<Key>>,
    deadlines: Deadlines<Key>,
    /// What a start looks at first, in this order.
    fresh: Vec<Key>,
    /// Tokens in the line of their account. What is new by then is seen when their turn comes.
    in_line: HashSet<TokenName>,
    turns: mpsc::UnboundedReceiver<Turn>,
    turn: mpsc::UnboundedSender<Turn>,
    running: HashSet<Key>,
    /// Fell due again while it ran.
    again: HashSet<Key>,
    /// Where tokens are dealt with.
    places: Places,
    beginning: Arc<Semaphore>,
    tasks: JoinSet<Done>,
    /// What a task that did not return its key was doing.
    keys: HashMap<tokio::task::Id, Key>,
}

/// A token that has a place of its account.
#[derive(Debug)]
struct Turn {
    name: TokenName,
    deadline: Time,
    place: Place,
}

/// A run that ended.
#[derive(Debug)]
struct Done {
    key: Key,
    next: Option<Time>,
    /// What has something new to look at.
    wake: Vec<Key>,
}

impl<C: Clock, J: Journal + Clone> Scheduler<C, J> {
    /// A scheduler in which every token and every account is due, the token first whose consumers are the first without a
    /// secret that works.
    pub fn new(core: Arc<Core<C, J>>) -> Self {
        let (sender, woken) = mpsc::unbounded_channel();
        let (turn, turns) = mpsc::unbounded_channel();
        let (beat, beaten) = watch::channel(core.clock.now());
        let mut tokens: Vec<_> =
            core.tokens.all().into_iter().map(|(name, token)| (core.end(&token), Key::Token(name))).collect();
        tokens.sort_unstable();
        let accounts = core.inventory();
        let accounts = accounts.accounts.keys().cloned().map(Key::Poll);
        let fresh = tokens.into_iter().map(|(_, key)| key).chain(accounts).collect();
        Self {
            core,
            waker: Waker { keys: sender, beat: beaten },
            beat,
            woken,
            deadlines: Deadlines::default(),
            fresh,
            in_line: HashSet::new(),
            turns,
            turn,
            running: HashSet::new(),
            again: HashSet::new(),
            places: Places::new(RUNS_PER_ACCOUNT),
            beginning: Arc::new(Semaphore::new(BEGINNING)),
            tasks: JoinSet::new(),
            keys: HashMap::new(),
        }
    }

    /// Wakes this scheduler.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Runs what is due until `stop` completes; then starts nothing more and returns when what runs has ended.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let clock = self.core.clock.clone();
        let mut alarm = std::pin::pin!(wait(&clock, None));
        let mut armed = None;
        for key in std::mem::take(&mut self.fresh) {
            self.start(key);
        }
        loop {
            let now = clock.now();
            // What was put off by a clock that has been set back since would wait for as long as that was ahead.
            if self.beat.send_replace(now) > now + SET_BACK {
                self.deadlines.bring_forward(now);
            }
            while let Some(key) = self.deadlines.pop_due(now) {
                self.start(key);
            }
            let next = self.deadlines.next();
            if next != armed {
                alarm.set(wait(&clock, next));
                armed = next;
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(keys) = self.woken.recv() => keys.into_iter().for_each(|key| self.start(key)),
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.ended(ended),
                Some(turn) = self.turns.recv() => self.begin(turn),
                () = &mut alarm, if armed.is_some() => armed = None,
            }
        }
        // Who is still in line gives its place to the next one: of what runs, some wait for one again.
        drop(self.turns);
        while let Some(ended) = self.tasks.join_next_with_id().await {
            if let Err(error) = ended {
                tracing::error!(event = event::TASK_DIED, %error, "a task ended abnormally");
            }
        }
    }

    fn start(&mut self, key: Key) {
        self.deadlines.clear(&key);
        if self.running.contains(&key) {
            self.again.insert(key);
            return;
        }
        match key {
            Key::Token(name) => self.line_up(name),
            Key::Poll(ref name) => {
                let (core, name) = (Arc::clone(&self.core), name.clone());
                self.spawn(key, async move {
                    let (tokens, next) = core.poll(&name).await;
                    let wake = tokens.into_iter().map(Key::Token).chain(core.relieved(&name)).collect();
                    Done { next, wake, key: Key::Poll(name) }
                });
            }
        }
    }

    /// Deals with a token once its account has a place for it.
    fn line_up(&mut self, name: TokenName) {
        let Some(token) = self.core.tokens.get(&name) else { return };
        if !self.in_line.insert(name.clone()) {
            return;
        }
        let deadline = self.core.deadline(&token);
        let (turn, waits) = (self.turn.clone(), name.clone());
        // A scheduler that has ended begins nothing.
        let hand = move |place| turn.send(Turn { name: waits, deadline, place }).err().map(|unsent| unsent.0.place);
        if let Some(place) = self.places.admit(&token.policy().account.name, deadline, hand) {
            self.begin(Turn { name, deadline, place });
        }
    }

    fn begin(&mut self, turn: Turn) {
        let Turn { name, deadline, place } = turn;
        self.in_line.remove(&name);
        let (core, beginning) = (Arc::clone(&self.core), Arc::clone(&self.beginning));
        self.spawn(Key::Token(name.clone()), async move {
            let rest = seated(place, deadline, after(&beginning, || Box::pin(core.run_token(&name)))).await;
            let mut wake = core.dependents(&name);
            if let Some(token) = core.tokens.get(&name) {
                wake.extend(core.relieved(&token.policy().account.name));
            }
            Done { next: rest.and_then(|rest| rest.until), wake, key: Key::Token(name) }
        });
    }

    fn spawn(&mut self, key: Key, work: impl Future<Output = Done> + Send + 'static) {
        self.running.insert(key.clone());
        let handle = self.tasks.spawn(work);
        self.keys.insert(handle.id(), key);
    }

    fn ended(&mut self, ended: Result<(tokio::task::Id, Done), tokio::task::JoinError>) {
        let (id, done) = match ended {
            Ok((id, done)) => (id, Ok(done)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(key) = self.keys.remove(&id) else { return };
        self.running.remove(&key);
        self.core.stirred.notify_one();
        match done {
            Ok(done) => {
                if let Some(next) = done.next {
                    self.deadlines.set(done.key, next);
                }
                done.wake.into_iter().for_each(|key| self.start(key));
            }
            Err(error) => {
                tracing::error!(
                    event = event::TASK_DIED,
                    key = ?key,
                    error = crash::told(&error),
                    "a task ended abnormally; it is tried again in a minute"
                );
                self.deadlines.set(key.clone(), self.core.clock.now() + AFTER_PANIC);
            }
        }
        if self.again.remove(&key) {
            self.start(key);
        }
    }
}

/// Does `work` once few others have just begun. Until then it takes no memory.
async fn after<F: Future + Unpin>(beginning: &Semaphore, work: impl FnOnce() -> F) -> F::Output {
    // It is never closed.
    let permit = beginning.acquire().await;
    let mut work = work();
    let early = timeout(FIRST, &mut work).await;
    drop(permit);
    match early {
        Ok(done) => done,
        Err(_) => work.await,
    }
}

/// Waits for a deadline, where there is one.
async fn wait<C: Clock>(clock: &C, deadline: Option<Time>) {
    match deadline {
        Some(deadline) => clock.wait_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    use crate::clock::SystemClock;
    use crate::daemon::DaemonJournal;
    use crate::daemon::real::Real;
    use crate::rotation::held::{Context, Held};
    use crate::rotation::run::Machine;

    /// Thousands of runs may wait at once: whoever makes one larger than this boxes what is rare in it.
    #[test]
    fn a_run_that_waits_is_small() {
        type Driver = Machine<Real<SystemClock, DaemonJournal>, DaemonJournal, SystemClock>;
        fn size<A, F: Future>(_: impl Fn(A) -> F) -> usize {
            size_of::<F>()
        }
        let run = size(|(machine, held, context): (&'static Driver, &'static mut Held, &'static Context)| {
            machine.run(held, context)
        });
        let around =
            size(|(core, name): (&'static Core<SystemClock, DaemonJournal>, &'static TokenName)| core.run_token(name));
        let most = 10 * 1024;
        assert!(run + around <= most, "a run takes {run} + {around} bytes, and may take {most}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_long_holds_up_nobody_who_begins() {
        let beginning = Semaphore::new(1);
        let slow = after(&beginning, || Box::pin(tokio::time::sleep(Duration::from_secs(60))));
        let next = async {
            let begun = tokio::time::Instant::now();
            after(&beginning, || std::future::ready(())).await;
            begun.elapsed()
        };
        let (mut slow, mut next) = (pin!(slow), pin!(next));
        let waited = tokio::select! {
            biased;
            () = &mut slow => unreachable!("it takes a minute"),
            waited = &mut next => waited,
        };
        assert!(FIRST <= waited && waited < FIRST * 2, "{waited:?}");
    }

    /// The waker of a scheduler that does not turn.
    fn stuck(at: Time) -> (Waker, mpsc::UnboundedReceiver<Vec<Key>>, watch::Sender<Time>) {
        let ((keys, woken), (beat, beaten)) = (mpsc::unbounded_channel(), watch::channel(at));
        (Waker { keys, beat: beaten }, woken, beat)
    }

    #[tokio::test]
    async fn only_a_scheduler_that_turns_gives_a_sign_of_life() {
        let (waker, mut woken, beat) = stuck(Time::UNIX_EPOCH);
        assert_eq!(waker.heartbeat(Duration::from_millis(1)).await, (Time::UNIX_EPOCH, false), "it hangs");
        while woken.try_recv().is_ok() {}
        let later = Time::UNIX_EPOCH + Span::seconds(1);
        let turning = tokio::spawn(async move {
            woken.recv().await;
            beat.send_replace(later);
            (woken, beat)
        });
        assert_eq!(waker.heartbeat(Duration::from_secs(60)).await, (later, true), "it turns");
        drop(turning.await.unwrap());
        assert_eq!(waker.heartbeat(Duration::from_secs(60)).await, (later, false), "it has ended");
    }
}
