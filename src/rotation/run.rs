//! The loop: decide, journal the intent, act, journal the outcome, apply, until there is nothing to do.
//!
//! Whatever was noted is durable before the next effect begins. Looking at something is no effect: what such a look is
//! preceded by is committed together with what it finds. A commit that fails keeps what it holds, a new secret above
//! all, in memory and is tried again before anything else is done.
//!
//! Law: what a commit without an answer led to is read before anything else is done. Taken for refused, it would be made
//! twice; taken for written, it could be lost. Where another process has taken the account, the run ends, and what it
//! had not committed is nobody's: the next owner knows what the journal knows.

use std::sync::Arc;

use crate::clock::{Clock, Span};
use crate::journal::{Change, Commit, CommitError, Head, Journal, Settled, Stored};
use crate::names::{InstanceId, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::rotation::reason::Reason;
use crate::timing::backoff::{self, Life};

use super::decide::{Action, Rest, Step, decide};
use super::effects::Effects;
use super::held::{Context, Denied, Held, Sent};
use super::state::Phase;
use super::stored::{draft, restore};

/// Safety limit: more steps than this without a rest mean a decision loop, which must not become a flood of requests.
const MANY_STEPS: usize = 200;

/// A state that this many records are behind is written again, rest or not: a start replays them.
const MOST_REPLAYED: usize = 50;

/// The shortest rest.
const SHORTEST_REST: Span = Span::milliseconds(100);

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
