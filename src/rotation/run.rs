//! The loop: decide, journal the intent, act, journal the outcome, apply, until there is nothing to do.
//!
//! Whatever was noted is durable before the next effect begins. Looking at something is no effect: what such a look is
//! preceded by is committed together with what it finds. A commit that fails keeps what it holds, a new secret above
//! all, in memory and is tried again before anything else is done.
//!
//! Law: what a commit without an answer led to is read before anything else is done. Taken for refused, it would be made
//! twice; taken for written, it could be lost. Where another process has taken the account, the run ends, and what it
//! had not committed is nobody's: the next owner knows what the journal knows.

use std::sync::{Arc, LazyLock};

use crate::account::Listing;
use crate::clock::{Clock, Span, Time};
use crate::inventory::TokenPolicy;
use crate::journal::{Change, Commit, CommitError, Fence, Head, Journal, SecretChange, SecretSlot, Settled, Stored};
use crate::names::{GenerationNo, InstanceId, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::provider::ProviderClock;
use crate::rotation::reason::Reason;
use crate::secret::SecretParts;
use crate::timing::backoff::{self, Life};

use super::apply::{Misfit, apply};
use super::decide::{Action, Memo, Rest, Situation, Step, decide};
use super::effects::Effects;
use super::event::Event;
use super::state::{Generation, Origin, Orphan, Phase, TokenState};
use super::stored::{Restored, draft, restore};
use crate::provider::Abilities;

/// Safety limit: more steps than this without a rest mean a decision loop, which must not become a flood of requests.
const MANY_STEPS: usize = 200;

/// A state that this many records are behind is written again, rest or not: a start replays them.
const MOST_REPLAYED: usize = 50;

/// The shortest rest.
const SHORTEST_REST: Span = Span::milliseconds(100);

/// A token of which the journal tells nothing: one for all of them.
static BLANK: LazyLock<Arc<TokenState>> = LazyLock::new(Arc::default);

/// One token as this process holds it: its state, and what is not durable yet.
#[derive(Debug, Default)]
pub struct Held {
    pub(super) state: Arc<TokenState>,
    /// Where its journal ends.
    head: Head,
    pub memo: Memo,
    /// How many changes of files that secrets may come from this token has looked at.
    pub changes: u64,
    /// Noted, applied, and to be committed before the next effect.
    pending: Vec<(Time, Event)>,
    /// Secrets to be kept or erased with the pending records.
    secrets: Vec<SecretChange>,
    /// How many records were committed since the state was; `None`: this process did not commit it yet.
    behind: Option<usize>,
    /// A commit whose outcome is unknown; what it holds is still noted above.
    sent: Option<Box<Sent>>,
    /// The last commit failed.
    stuck: Option<Box<(u32, Failure)>>,
    /// The journal has denied a commit: what this process holds of the token is not what the journal knows.
    denied: Option<Denied>,
    /// An event did not fit: nothing that this process holds of the token is believed any more.
    misfit: Option<Box<Misfit>>,
    /// A run is under way; where none is, the last one did not come to its end.
    running: bool,
}

/// Why the journal denied a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Another process has taken the account.
    Fenced,
    /// The token's journal went on without this process.
    Overtaken,
}

/// A commit on its way, and what it makes durable.
#[derive(Debug)]
struct Sent {
    commit: Commit,
    /// The state that it leads to.
    state: Arc<TokenState>,
    /// How many of the noted events it holds, and of the secrets.
    events: usize,
    secrets: usize,
    /// An attempt at it had no answer, and may still take effect: that another one is refused says nothing of that one.
    open: bool,
}

impl Held {
    /// A token as its journal tells of it.
    pub fn new(restored: Restored) -> Self {
        let blank = restored.state == **BLANK;
        let state = if blank { Arc::clone(&BLANK) } else { Arc::new(restored.state) };
        Self { state, head: restored.head, ..Self::default() }
    }

    /// The state, pending notes included.
    pub fn state(&self) -> &Arc<TokenState> {
        &self.state
    }

    /// Why the journal cannot be written, where it cannot.
    pub fn stuck(&self) -> Option<&Failure> {
        self.stuck.as_deref().map(|(_, failure)| failure)
    }

    /// The event that did not fit, where one did not.
    pub fn misfit(&self) -> Option<Misfit> {
        self.misfit.as_deref().copied()
    }

    /// Where its journal ends, as far as this process knows.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Takes the token up again, as the journal tells of it by now. Where it ends where this process left it, nobody did
    /// anything meanwhile, and what was noted is still true.
    pub fn take_up(&mut self, restored: Restored) {
        let here = restored.head == self.head && !self.running && self.misfit.is_none();
        // What became of a commit without an answer is found out by the next run.
        if !here && (self.sent.is_none() || self.running) {
            *self = Self::new(restored);
        }
        self.denied = None;
    }

    /// Why the journal denied the last commit, where it did.
    pub fn denied(&self) -> Option<Denied> {
        self.denied
    }

    /// Whether only the journal knows the token's state: a run panicked half-way, the journal went on without this
    /// process, or an event did not fit and what was noted before it is durable.
    pub fn torn(&self) -> bool {
        let noted = !self.pending.is_empty() || !self.secrets.is_empty();
        self.running || self.denied == Some(Denied::Overtaken) || self.misfit.is_some() && !noted
    }

    /// Notes that `event` happened at `at`. It is durable after the next [`Machine::run`]. One that does not fit is not
    /// noted, nor is anything after it: the run ends, and the token is read from the journal again.
    pub fn note(&mut self, token: &TokenPolicy, at: Time, event: Event) {
        if self.misfit.is_some() {
            return;
        }
        let next = match apply(TokenState::clone(&self.state), at, &event) {
            Ok(next) => Arc::new(next),
            Err(misfit) => {
                self.misfit = Some(Box::new(misfit));
                return;
            }
        };
        let erased = erased(&self.state, &event);
        self.secrets.extend(erased.into_iter().map(|(generation, revision)| SecretChange::Erase {
            slot: SecretSlot { token: token.name.clone(), generation, revision },
        }));
        self.state = next;
        self.pending.push((at, event));
    }

    /// How many commits in a row failed, with the one that fails now.
    fn attempts(&self) -> u32 {
        self.stuck.as_deref().map_or(0, |(attempts, _)| *attempts).saturating_add(1)
    }

    pub(super) fn keep(&mut self, slot: SecretSlot, parts: SecretParts) {
        self.secrets.push(SecretChange::Keep { slot, parts });
    }
}

/// What a run depends on besides the token itself.
#[derive(Clone, Debug)]
pub struct Context {
    pub policy: Arc<TokenPolicy>,
    /// The claim of its account.
    pub fence: Fence,
    /// The token is in the inventory.
    pub wanted: bool,
    pub abilities: Arc<Abilities>,
    /// When the account that authenticates with this token was last refused.
    pub refused: Option<Time>,
    pub listing: Option<Arc<Listing>>,
}

impl Context {
    /// The situation of a token at `now`. `clock`: that of the policy's account, as it was seen by then.
    pub fn situation<'a>(
        &'a self,
        state: &'a TokenState,
        memo: &'a Memo,
        clock: ProviderClock,
        now: Time,
    ) -> Situation<'a> {
        Situation {
            policy: &self.policy,
            wanted: self.wanted,
            state,
            memo,
            abilities: &self.abilities,
            clock,
            refused: self.refused,
            listing: self.listing.as_deref(),
            now,
        }
    }
}

/// Drives tokens: the one implementation of a rotation's steps.
#[derive(Debug)]
pub struct Machine<E, J, C> {
    pub effects: E,
    pub journal: J,
    pub clock: C,
    pub instance: InstanceId,
}

impl<E: Effects, J: Journal, C: Clock> Machine<E, J, C> {
    /// Does everything that can be done for a token now, and tells when to come back.
    pub async fn run(&self, held: &mut Held, context: &Context) -> Rest {
        if held.torn()
            && let Err(failure) = self.recover(held, &context.policy.name).await
        {
            held.stuck = Some(Box::new((held.attempts(), failure)));
            return self.halted(held);
        }
        if held.denied.is_some() {
            return self.halted(held);
        }
        held.running = true;
        let rest = self.steps(held, context).await;
        held.running = false;
        rest
    }

    /// Gives up what this process holds of a token, and reads it from the journal as a start does: what was under way is
    /// of unknown outcome.
    pub async fn recover(&self, held: &mut Held, token: &TokenName) -> Result<(), Failure> {
        let stored = self.journal.stored(token).await?;
        let restored = stored.as_ref().map(restore).transpose();
        let restored = restored.map_err(|error| Failure::new(FailureCode::Journal, error.to_string()))?;
        *held = Held::new(restored.unwrap_or_default());
        Ok(())
    }

    /// Takes a token up again whose account was given up, or taken by another process. Where its journal goes on, or cannot
    /// be read, the next run reads it first.
    pub async fn resume(&self, held: &mut Held, token: &TokenName) {
        let here = matches!(self.journal.settle(token, held.head).await, Ok(Settled::Unwritten));
        // What became of a commit without an answer is found out by the next run.
        held.denied = (!here && held.sent.is_none()).then_some(Denied::Overtaken);
    }

    async fn steps(&self, held: &mut Held, context: &Context) -> Rest {
        for _ in 0..MANY_STEPS {
            let now = self.clock.now();
            held.memo.begun.get_or_insert(now);
            if held.misfit.is_some() {
                break;
            }
            if held.stuck.is_some()
                && let Err(rest) = self.flush(held, context, true).await
            {
                return rest;
            }
            // The answer to the step before may have been the first that showed this clock.
            let clock = self.effects.clock(&context.policy.account.name);
            let step = decide(&context.situation(&held.state, &held.memo, clock, now));
            if let Step::Note(event) = step {
                held.note(&context.policy, now, event);
                continue;
            }
            let stopping = self.effects.stopping(&context.policy.account.name);
            let looks = matches!(&step, Step::Act(action) if action.only_looks());
            let resting = stopping || matches!(step, Step::Rest(_));
            if (stopping || !looks)
                && let Err(rest) = self.flush(held, context, resting).await
            {
                return rest;
            }
            match step {
                Step::Act(action) if stopping && !finishes(&held.state.phase, &action) => {
                    return Rest { until: None, reason: Reason::Stopping, next: None };
                }
                Step::Act(action) => self.act(held, context, action).await,
                Step::Rest(rest) => {
                    let shortest = self.clock.now() + SHORTEST_REST;
                    return Rest { until: rest.until.map(|until| until.max(shortest)), ..rest };
                }
                Step::Note(_) => {}
            }
        }
        match self.flush(held, context, true).await {
            Ok(()) => self.later(),
            Err(rest) => rest,
        }
    }

    /// Makes everything that was noted durable, and then tells of it. The state goes along where the token is `resting`;
    /// while it is not, the next commit is near, and replaces the state again. Where that fails, gives the rest that
    /// follows.
    async fn flush(&self, held: &mut Held, context: &Context, resting: bool) -> Result<(), Rest> {
        if let Some(sent) = held.sent.take() {
            self.settle(held, context, *sent).await?;
        }
        if held.pending.is_empty() && held.secrets.is_empty() {
            // Nothing is begun whose end could not be noted.
            if let Err(failure) = self.journal.reachable() {
                return Err(self.stuck(held, failure));
            }
            held.stuck = None;
            return Ok(());
        }
        let records = held.pending.iter().map(|(at, event)| draft(*at, event)).collect::<Result<_, _>>();
        let behind = held.behind.map(|behind| behind + held.pending.len()).filter(|behind| *behind <= MOST_REPLAYED);
        let whole = resting || behind.is_none();
        let state = whole.then(|| serde_json::to_string(&*held.state)).transpose();
        let (records, state) = match (records, state) {
            (Ok(records), Ok(state)) => (records, state),
            (Err(error), _) | (_, Err(error)) => {
                return Err(self.stuck(held, Failure::new(FailureCode::Journal, error.to_string())));
            }
        };
        let change = Change {
            token: context.policy.name.clone(),
            follows: held.head,
            at: held.pending.last().map_or_else(|| self.clock.now(), |(at, _)| *at),
            records,
            state,
            secrets: held.secrets.clone(),
        };
        let sent = Sent {
            commit: Commit { fence: context.fence.clone(), change },
            state: Arc::clone(&held.state),
            events: held.pending.len(),
            secrets: held.secrets.len(),
            open: false,
        };
        self.send(held, sent).await
    }

    /// Commits. Where the answer is lost, what became of it is read at once; what cannot be read is read by the next run,
    /// before anything else.
    async fn send(&self, held: &mut Held, mut sent: Sent) -> Result<(), Rest> {
        match self.journal.commit(sent.commit.clone()).await {
            Ok(head) => {
                self.durable(held, sent, head).await;
                Ok(())
            }
            Err(CommitError::Fenced) => Err(self.denied(held, Denied::Fenced)),
            Err(CommitError::Overtaken(stored)) => self.moved(held, sent, &stored).await,
            Err(CommitError::Refused(failure)) => {
                held.sent = sent.open.then(|| Box::new(sent));
                Err(self.stuck(held, failure))
            }
            Err(CommitError::Unknown(failure)) => {
                sent.open = true;
                let change = &sent.commit.change;
                match self.journal.settle(&change.token, change.follows).await {
                    Ok(Settled::Moved(stored)) => self.moved(held, sent, &stored).await,
                    Ok(Settled::Unwritten) | Err(_) => {
                        held.sent = Some(Box::new(sent));
                        Err(self.stuck(held, failure))
                    }
                }
            }
        }
    }

    /// Finds out what became of a commit of unknown outcome, and makes the same one again where it is not written.
    async fn settle(&self, held: &mut Held, context: &Context, mut sent: Sent) -> Result<(), Rest> {
        let change = &sent.commit.change;
        match self.journal.settle(&change.token, change.follows).await {
            Ok(Settled::Moved(stored)) => self.moved(held, sent, &stored).await,
            Ok(Settled::Unwritten) => {
                // The account may have been given up and taken again meanwhile.
                sent.commit.fence = context.fence.clone();
                self.send(held, sent).await
            }
            Err(failure) => {
                held.sent = Some(Box::new(sent));
                Err(self.stuck(held, failure))
            }
        }
    }

    /// The token's journal went on after what `sent` followed. Where it leads to the same state, that was this commit: no
    /// two have the same rotation, times and fingerprints.
    async fn moved(&self, held: &mut Held, sent: Sent, stored: &Stored) -> Result<(), Rest> {
        match restore(stored) {
            Ok(restored) if restored.state == *sent.state => {
                self.durable(held, sent, restored.head).await;
                Ok(())
            }
            _ => Err(self.denied(held, Denied::Overtaken)),
        }
    }

    /// `sent` is durable: tells of what it holds.
    async fn durable(&self, held: &mut Held, sent: Sent, head: Head) {
        let change = sent.commit.change;
        held.head = head;
        held.stuck = None;
        held.behind = if change.state.is_some() { Some(0) } else { held.behind.map(|behind| behind + sent.events) };
        held.secrets.drain(..sent.secrets);
        let events: Vec<_> = held.pending.drain(..sent.events).collect();
        for (at, event) in events {
            self.effects.announce(&change.token, at, &event, &sent.state).await;
        }
    }

    fn stuck(&self, held: &mut Held, failure: Failure) -> Rest {
        held.stuck = Some(Box::new((held.attempts(), failure)));
        self.halted(held)
    }

    fn denied(&self, held: &mut Held, denied: Denied) -> Rest {
        held.denied = Some(denied);
        self.halted(held)
    }

    /// What follows where a commit was not made.
    fn halted(&self, held: &Held) -> Rest {
        match held.denied {
            Some(Denied::Fenced) => Rest { until: None, reason: Reason::NotOwner, next: None },
            Some(Denied::Overtaken) => self.later(),
            None => {
                let attempts = held.stuck.as_deref().map_or(1, |(attempts, _)| *attempts);
                let wait = backoff::next(attempts, Life::For(Span::minutes(5)), self.effects.draw());
                Rest { until: Some(self.clock.now() + wait), reason: Reason::JournalUnwritable, next: None }
            }
        }
    }

    /// After a bug: soon enough for the token, not often enough to flood anybody.
    fn later(&self) -> Rest {
        Rest { until: Some(self.clock.now() + Span::minutes(1)), reason: Reason::BackingOff, next: None }
    }
}

/// Whether even a daemon that stops takes this step. An intent that is in the journal is carried out: dropping it would
/// leave its outcome unknown. A renewal took the old secret from its consumers: they get the new one before nobody is
/// left to bring it.
fn finishes(phase: &Phase, action: &Action) -> bool {
    match action {
        Action::Mint | Action::Renew | Action::VerifyRenewed => true,
        Action::IntendWrite(_) | Action::Write(_) | Action::Notify(_) => {
            matches!(phase, Phase::Steady { .. } | Phase::Active { .. })
        }
        _ => false,
    }
}

/// The generations and revisions whose secrets end with `event`.
fn erased(state: &TokenState, event: &Event) -> Vec<(GenerationNo, u32)> {
    let slot = |generation: &Generation| (generation.number, generation.revision);
    let phase = &state.phase;
    let ended = match event {
        Event::LeftToExpire { orphan } if let Some(deferred) = state.deferred(orphan) => Some(slot(deferred)),
        Event::Retired { .. }
        | Event::LeftToExpire { .. }
        | Event::RevocationDeferred { orphan: Orphan::Unrevocable { .. } } => {
            phase.retiring().map(|retiring| slot(&retiring.generation))
        }
        // A generation whose revocation is left for later may need its secret for it.
        Event::Undone { orphan: Some(Orphan::Deferred { .. }), .. } => None,
        Event::Undone { .. } => {
            let ended = phase.candidate().filter(|it| !matches!(it.origin, Origin::Recalled { .. }));
            ended.map(|candidate| slot(&candidate.generation))
        }
        Event::OrphanEnded { orphan: Orphan::Deferred { generation, .. }, .. } => Some(slot(generation)),
        // The revision before the one that was renewed.
        Event::RenewalVerified { .. } | Event::RenewalRejected { .. } => {
            let current = phase.current().map(|current| slot(&current.generation));
            current.and_then(|(number, revision)| Some((number, revision.checked_sub(1)?)))
        }
        _ => None,
    };
    ended.into_iter().collect()
}
