//! One task that knows when what is due, and starts it: keyed deadlines on the wall clock, woken by the earliest and by
//! events. Nothing polls.
//!
//! A key runs once at a time; one that falls due while it runs is run again afterwards. Tokens of one account beyond a
//! bound wait in line for each other, and for nobody else.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::{Clock, Span, Time};
use crate::event;
use crate::journal::Journal;
use crate::names::AccountName;

use super::core::Core;
use super::deadlines::{Deadlines, Key};

/// Tokens of one account that are dealt with at once. Requests are bounded by the account itself; this bounds memory.
const RUNS_PER_ACCOUNT: usize = 64;

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
        let answered = matches!(tokio::time::timeout(patience, beat.changed()).await, Ok(Ok(())));
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
    running: HashSet<Key>,
    /// Fell due again while it ran.
    again: HashSet<Key>,
    /// Tokens that run now, by account.
    busy: HashMap<AccountName, usize>,
    /// Due tokens of accounts that are at their bound.
    waiting: HashMap<AccountName, VecDeque<Key>>,
    tasks: JoinSet<Done>,
    /// What a task that did not return its key was doing.
    keys: HashMap<tokio::task::Id, (Key, Option<AccountName>)>,
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
    /// A scheduler in which every token and every account is due.
    pub fn new(core: Arc<Core<C, J>>) -> Self {
        let (sender, woken) = mpsc::unbounded_channel();
        let mut deadlines = Deadlines::default();
        let now = core.clock.now();
        let (beat, beaten) = watch::channel(now);
        for (name, _) in core.tokens.all() {
            deadlines.set(Key::Token(name), now);
        }
        for name in core.inventory().accounts.keys() {
            deadlines.set(Key::Poll(name.clone()), now);
        }
        Self {
            core,
            waker: Waker { keys: sender, beat: beaten },
            beat,
            woken,
            deadlines,
            running: HashSet::new(),
            again: HashSet::new(),
            busy: HashMap::new(),
            waiting: HashMap::new(),
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
        loop {
            let now = clock.now();
            self.beat.send_replace(now);
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
                () = &mut alarm, if armed.is_some() => armed = None,
            }
        }
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
        let account = match &key {
            Key::Token(name) => match self.core.tokens.get(name) {
                Some(token) => Some(token.policy().account.name.clone()),
                None => return,
            },
            Key::Poll(_) => None,
        };
        if let Some(account) = &account {
            let busy = self.busy.entry(account.clone()).or_default();
            if *busy >= RUNS_PER_ACCOUNT {
                // Stays marked as running, so that it stands in line once.
                self.running.insert(key.clone());
                self.waiting.entry(account.clone()).or_default().push_back(key);
                return;
            }
            *busy += 1;
        }
        self.running.insert(key.clone());
        self.spawn(key, account);
    }

    fn spawn(&mut self, key: Key, account: Option<AccountName>) {
        let core = Arc::clone(&self.core);
        let task = key.clone();
        let handle = self.tasks.spawn(async move {
            match &task {
                Key::Token(name) => {
                    let next = core.run_token(name).await.and_then(|rest| rest.until);
                    Done { next, wake: core.dependents(name), key: task }
                }
                Key::Poll(name) => {
                    let (wake, next) = core.poll(name).await;
                    Done { next, wake: wake.into_iter().map(Key::Token).collect(), key: task }
                }
            }
        });
        self.keys.insert(handle.id(), (key, account));
    }

    fn ended(&mut self, ended: Result<(tokio::task::Id, Done), tokio::task::JoinError>) {
        let (id, done) = match ended {
            Ok((id, done)) => (id, Ok(done)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some((key, account)) = self.keys.remove(&id) else { return };
        self.running.remove(&key);
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
                    %error,
                    "a task ended abnormally; it is tried again in a minute"
                );
                self.deadlines.set(key.clone(), self.core.clock.now() + AFTER_PANIC);
            }
        }
        if self.again.remove(&key) {
            self.start(key);
        }
        let Some(account) = account else { return };
        let next = self.waiting.get_mut(&account).and_then(VecDeque::pop_front);
        match next {
            Some(key) => self.spawn(key, Some(account)),
            None => {
                if let Some(busy) = self.busy.get_mut(&account) {
                    *busy = busy.saturating_sub(1);
                }
            }
        }
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
    use super::*;

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
