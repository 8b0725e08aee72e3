//! Asking again: providers are busy, or propagate late. Everything is bounded by the patience of the order.

use std::sync::Arc;

use super::{Halt, Trial};
use crate::account::Listing;
use crate::account::member::Member;
use crate::clock::{Clock, Span, Time};
use crate::journal::Journal;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::provider::Verdict;
use crate::secret::SecretParts;
use crate::text::words;

use super::notebook::Specimen;

/// The pause before the second attempt; each one after it is twice as long.
const FIRST_PAUSE: Span = Span::milliseconds(200);

/// The longest pause.
const LONGEST_PAUSE: Span = Span::seconds(5);

/// How long something took to come true.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub attempts: u32,
    pub took: Span,
}

/// Pauses between attempts until the patience is over.
pub(super) struct Attempts {
    begun: Time,
    deadline: Time,
    made: u32,
}

impl Attempts {
    pub fn effort(&self, now: Time) -> Effort {
        Effort { attempts: self.made + 1, took: now - self.begun }
    }
}

impl<C: Clock, J: Journal> Trial<'_, C, J> {
    pub(super) fn attempts(&self, patience: Span) -> Attempts {
        let begun = self.clock.now();
        Attempts { begun, deadline: begun + patience, made: 0 }
    }

    /// Waits for the next attempt, not before `not_before`; false where that is beyond the patience.
    pub(super) async fn pause(&self, attempts: &mut Attempts, not_before: Option<Time>) -> bool {
        let now = self.clock.now();
        let pause = (FIRST_PAUSE * 2_i32.pow(attempts.made.min(6))).min(LONGEST_PAUSE);
        let next = not_before.into_iter().chain([now + pause]).max().unwrap_or(now);
        attempts.made += 1;
        if next > attempts.deadline {
            return false;
        }
        while self.clock.now() < next {
            self.clock.wait_until(next).await;
        }
        true
    }

    /// Asks until it is done, refused for good, or the patience is over. For what does no harm when it is done twice.
    pub(super) async fn persist<T>(&self, ask: impl AsyncFn() -> Outcome<T>) -> Result<(T, Effort), Failure> {
        let mut attempts = self.attempts(self.order.patience);
        loop {
            let (not_before, failure) = match ask().await {
                Outcome::Done(value) => return Ok((value, attempts.effort(self.clock.now()))),
                Outcome::Refused(failure) => return Err(failure),
                Outcome::Later { not_before, failure } => (not_before, failure),
                Outcome::Unknown(failure) => (None, failure),
            };
            // No other answer comes of it before somebody does something. A session that had ended is worth a second
            // try.
            let hopeless = match failure.code {
                FailureCode::NoCredential | FailureCode::Request => true,
                code if code.is_of_tls() => true,
                FailureCode::Unauthorized | FailureCode::Forbidden | FailureCode::Connect => attempts.made > 0,
                _ => false,
            };
            if hopeless || !self.pause(&mut attempts, not_before).await {
                return Err(failure);
            }
        }
    }

    /// Does `work`, unless somebody wants the test to end meanwhile. For what may be given up half-way: questions.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Halt> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            // A sender that went away wants nothing any more.
            Ok(_) = stop.wait_for(|stop| *stop) => Err(Halt::Interrupted),
            done = work => Ok(done),
        }
    }

    /// Whether somebody wants the test to end.
    pub(super) fn go_on(&self) -> Result<(), Halt> {
        if *self.stop.borrow() { Err(Halt::Interrupted) } else { Ok(()) }
    }

    /// A new listing with the parameters of `specimen`, or of the order.
    pub(super) async fn list(
        &self,
        member: &Member<C>,
        specimen: Option<&Specimen>,
    ) -> Result<(Arc<Listing>, Effort), Failure> {
        let params = specimen.map_or(&self.order.params, |specimen| &specimen.params);
        self.persist(async || member.list(params, self.clock.now()).await).await
    }

    /// Presents `secret` until the provider says what is hoped for, or the patience is over; what it said last.
    pub(super) async fn present(
        &self,
        member: &Member<C>,
        specimen: &Specimen,
        secret: &SecretParts,
        hope: Hope,
        patience: Span,
    ) -> Result<(Verdict, Effort), Failure> {
        let client = member.client()?;
        let subject = specimen.subject(Some(secret.clone()));
        let mut attempts = self.attempts(patience);
        loop {
            let (said, not_before) = match client.verify(&specimen.params, &subject).await {
                Outcome::Done(verdict) if hope.is(&verdict) => {
                    return Ok((verdict, attempts.effort(self.clock.now())));
                }
                Outcome::Done(verdict) => (Ok(verdict), None),
                Outcome::Later { not_before, failure } => (Err(failure), not_before),
                Outcome::Refused(failure) | Outcome::Unknown(failure) => return Err(failure),
            };
            if !self.pause(&mut attempts, not_before).await {
                let effort = attempts.effort(self.clock.now());
                return said.map(|verdict| (verdict, effort));
            }
        }
    }
}

/// What a token is hoped to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hope {
    Alive,
    Dead,
}

impl Hope {
    fn is(self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Alive { .. } => self == Self::Alive,
            Verdict::Dead(_) => self == Self::Dead,
        }
    }
}

/// ` after 3s`, where it was not at the first attempt.
pub(super) fn late(effort: Effort) -> String {
    match effort.attempts {
        1 => String::new(),
        _ => format!(" after {}", words::span(effort.took)),
    }
}
