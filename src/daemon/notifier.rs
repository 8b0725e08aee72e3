//! Tells people what is the matter: looks at the status, sends what a channel still has to be told, and writes down what
//! it was told.
//!
//! One look at a time; messages leave beside each other, so that a channel that hangs holds up no other one. What is
//! written down survives a kill. A message whose answer was lost, or that left just before a kill, is sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::beside;
use crate::clock::{Clock, Span, Time};
use crate::control::NotifyAnswer;
use crate::crash;
use crate::event;
use crate::inventory::{ChannelPolicy, Inventory};
use crate::names::{AccountName, ChannelName};
use crate::notice::{ConditionKey, Conditions, Each, Entry, Kind, Message, Severity, Turn};
use crate::notify::{Book, Decision, Sender, Sent, decide, of_account, of_channel, of_process, of_token};
use crate::report::status::{AccountCondition, ChannelStatus, ErrorStatus, Status};

use super::Running;

/// The book in the state directory.
const FILE: &str = "notifications.json";

/// Far more than the conditions of a hundred thousand tokens take.
const LARGEST: usize = 128 << 20;

/// What changes by time alone is looked at this often.
const LOOK: Span = Span::seconds(15);

/// The shortest pause between two looks: what happens at once is seen at once.
const PAUSE: Duration = Duration::from_millis(200);

/// Looks take a tenth of the time at most.
const SHARE: u32 = 10;

/// However long a look takes, the next one comes after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What people were told, and how they are told more.
#[derive(Debug)]
pub struct Notifier<C> {
    pub sender: Sender<C>,
    book: Mutex<Book>,
    path: PathBuf,
    /// True: nothing new is told.
    closed: watch::Sender<bool>,
}

/// What is the matter at one moment.
#[derive(Debug, Default)]
pub struct Seen {
    pub conditions: Conditions,
    /// Accounts of which nothing is known yet: what was the matter with them may still be.
    pub unseen: BTreeSet<AccountName>,
}

impl<C: Clock> Notifier<C> {
    /// With the book in `state_dir`. One that cannot be read is set aside, and told.
    pub async fn open(sender: Sender<C>, state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let (mut book, problem) = beside::read(&path, LARGEST, Book::parse).await;
        if let Some(problem) = problem {
            tracing::warn!(event = event::NOTIFICATIONS_UNREADABLE, "{problem}: what is open is told once more");
        }
        book.retry();
        Self { sender, book: Mutex::new(book), path, closed: watch::Sender::new(false) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What failed is tried again at once.
    pub fn retry(&self) {
        self.book().retry();
    }

    /// Begins no more messages; [`run`] ends once those under way have ended.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// How the channels of `inventory` fare.
    pub fn channels(&self, inventory: &Inventory) -> Vec<ChannelStatus> {
        let book = self.book();
        let channel = |policy: &Arc<ChannelPolicy>| {
            let (told, last_message) = book.standing(&policy.name);
            let trouble = book.trouble(&policy.name);
            ChannelStatus {
                name: policy.name.clone(),
                way: policy.way(),
                told,
                last_message,
                failing: trouble.map(|trouble| ErrorStatus::new(trouble.at, &trouble.failure)),
                since: trouble.map(|trouble| trouble.since),
                next_attempt: trouble.map(|trouble| trouble.next),
            }
        };
        inventory.channels.values().map(channel).collect()
    }

    /// What each channel is told now, and when to look again.
    fn decide(
        &self,
        channels: &BTreeMap<ChannelName, Arc<ChannelPolicy>>,
        seen: &Seen,
        now: Time,
    ) -> (Vec<(Arc<ChannelPolicy>, Decision)>, Option<Time>) {
        let mut book = self.book();
        book.observe(&seen.conditions, &seen.unseen, channels, now);
        let mut next = None;
        let mut due = Vec::new();
        for policy in channels.values() {
            let decision = decide(policy, &book, &seen.conditions, now);
            next = next.into_iter().chain(decision.next).min();
            if !decision.entries.is_empty() {
                due.push((Arc::clone(policy), decision));
            }
        }
        (due, next)
    }

    async fn tell(&self, channel: &ChannelPolicy, decision: Decision) -> (Sent, Vec<Entry>) {
        let Decision { mut entries, left_out, .. } = decision;
        let message = Message { at: self.sender.clock.now(), source: self.sender.source.clone(), entries, left_out };
        let sent = self.sender.send(channel, &message).await;
        entries = message.entries;
        entries.truncate(sent.told);
        (sent, entries)
    }

    /// Tells each channel what there is to tell, of a process that ends now: nothing is gathered any longer. What has not
    /// lasted for as long as a channel says, and what is not taken, is the next run's.
    pub async fn tell_now(&self, inventory: &Inventory, seen: &Seen) {
        let at_once =
            |policy: &Arc<ChannelPolicy>| ChannelPolicy { gather: Span::zero(), ..ChannelPolicy::clone(policy) };
        let channels =
            inventory.channels.iter().map(|(name, policy)| (name.clone(), Arc::new(at_once(policy)))).collect();
        let (due, _) = self.decide(&channels, seen, self.sender.clock.now());
        let told = due.into_iter().map(async |(policy, decision)| {
            let (sent, told) = self.tell(&policy, decision).await;
            (policy.name.clone(), sent, told)
        });
        for (channel, sent, told) in join_all(told).await {
            self.note(&channel, sent, &told).await;
        }
        // Since when conditions are open, also where nobody was told.
        let text = self.book().to_text();
        self.write(text).await;
    }

    /// Takes note of what became of a message, and writes it down.
    async fn note(&self, channel: &ChannelName, sent: Sent, told: &[Entry]) {
        let now = self.sender.clock.now();
        if !told.is_empty() {
            tracing::info!(
                event = event::CHANNEL_TOLD,
                %channel,
                conditions = told.len(),
                messages = sent.messages,
                "people were told of conditions"
            );
        }
        if let Some((failure, _)) = &sent.failure {
            tracing::warn!(
                event = event::CHANNEL_FAILED,
                %channel,
                code = failure.code.code(),
                error = %failure,
                "a message was not taken, and is sent again"
            );
        }
        let text = {
            let mut book = self.book();
            book.told(channel, told, sent.messages, now);
            book.ended(channel, sent.failure, now);
            book.to_text()
        };
        self.write(text).await;
    }

    async fn write(&self, text: Vec<u8>) {
        if let Err(error) = beside::write(&self.path, text).await {
            tracing::warn!(
                event = event::NOTIFICATIONS_UNSAVED,
                "{}: it {error}: after a restart people are told again of what is open",
                self.path.display()
            );
        }
    }
}

/// Sends a message through `channel` that says that it is a test. A service that keeps conditions is told its end at once.
pub async fn test<C: Clock>(sender: &Sender<C>, channel: &ChannelPolicy) -> Sent {
    let now = sender.clock.now();
    let entry = |turn, until| Entry {
        key: ConditionKey { kind: Kind::Test, subject: channel.name.to_string() },
        turn,
        severity: Severity::Warning,
        account: None,
        token: None,
        why: "nothing is the matter: somebody ran `patrold notify test`".to_owned(),
        help: String::new(),
        since: now,
        until,
    };
    let mut entries = vec![entry(Turn::Opened, None)];
    if channel.each() == Each::Condition {
        entries.push(entry(Turn::Closed, Some(now)));
    }
    let message = Message { at: now, source: sender.source.clone(), entries, left_out: 0 };
    let sent = sender.send(channel, &message).await;
    if channel.each() != Each::List || sent.failure.is_some() {
        return sent;
    }
    let message = Message { entries: vec![entry(Turn::Closed, Some(now))], ..message };
    sender.send(channel, &message).await
}

/// What came of a test, as the command line gets it.
pub fn answer(sent: Sent) -> NotifyAnswer {
    NotifyAnswer { sent: sent.failure.is_none(), detail: sent.failure.map(|(it, _)| it.detail).unwrap_or_default() }
}

/// What is the matter as the status shows it.
pub fn seen(status: &Status, host: &str) -> Seen {
    let mut seen = Seen::default();
    let found = &mut seen.conditions;
    for token in &status.tokens {
        of_token(token, status.at, found);
    }
    for account in &status.accounts {
        of_account(account, found);
        if account.condition == AccountCondition::Unknown {
            seen.unseen.insert(account.name.clone());
        }
    }
    of_process(&status.journal, status.daemon.as_ref(), host, found);
    for channel in &status.channels {
        if let Some(failing) = &channel.failing {
            of_channel(&channel.name, &failing.message, found);
        }
    }
    seen
}

/// What became of a message: its channel, and the conditions that were told.
type MessageEnded = (ChannelName, Sent, Vec<Entry>);

/// Tells people until the notifier is closed.
pub async fn run<C: Clock>(running: Arc<Running<C>>) {
    let notifier = &running.notifier;
    let mut closed = notifier.closed.subscribe();
    let mut sending: JoinSet<MessageEnded> = JoinSet::new();
    let mut under_way = BTreeSet::new();
    loop {
        let begun = Instant::now();
        let next = look(&running, &mut sending, &mut under_way).await;
        let pause = PAUSE.max((begun.elapsed() * SHARE).min(LONGEST_PAUSE));
        let clock = running.core.clock.clone();
        let latest = clock.now() + LOOK;
        tokio::select! {
            biased;
            () = turned_true(&mut closed) => break,
            Some(ended) = sending.join_next() => note(notifier, ended, &mut under_way).await,
            () = clock.wait_until(next.map_or(latest, |next| next.min(latest))) => {}
            () = running.core.stirred.notified() => {}
        }
        tokio::select! {
            () = turned_true(&mut closed) => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    while let Some(ended) = sending.join_next().await {
        note(notifier, ended, &mut under_way).await;
    }
}

/// Ready once the notifier is closed.
async fn turned_true(closed: &mut watch::Receiver<bool>) {
    // The sender lives in the notifier, which outlives this.
    let _ = closed.wait_for(|closed| *closed).await;
}

/// Takes note of a message that ended.
async fn note<C: Clock>(
    notifier: &Notifier<C>,
    ended: Result<MessageEnded, tokio::task::JoinError>,
    under_way: &mut BTreeSet<ChannelName>,
) {
    match ended {
        Ok((channel, sent, told)) => {
            notifier.note(&channel, sent, &told).await;
            under_way.remove(&channel);
        }
        Err(error) => {
            tracing::error!(event = event::TASK_DIED, error = crash::told(&error), "a message ended abnormally");
            under_way.clear();
        }
    }
}

/// One look; tells when the next one is due.
async fn look<C: Clock>(
    running: &Arc<Running<C>>,
    sending: &mut JoinSet<MessageEnded>,
    under_way: &mut BTreeSet<ChannelName>,
) -> Option<Time> {
    let inventory = running.core.inventory();
    if inventory.channels.is_empty() {
        return None;
    }
    let of = Arc::clone(running);
    // The status of many tokens takes its time.
    let seen = tokio::task::spawn_blocking(move || seen(&of.status(), &of.notifier.sender.source.host)).await.ok()?;
    let (due, next) = running.notifier.decide(&inventory.channels, &seen, running.core.clock.now());
    for (policy, decision) in due {
        if under_way.insert(policy.name.clone()) {
            let running = Arc::clone(running);
            sending.spawn(async move {
                let (sent, told) = running.notifier.tell(&policy, decision).await;
                (policy.name.clone(), sent, told)
            });
        }
    }
    next
}
