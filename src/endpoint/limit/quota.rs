//! How many requests may leave in a span of time.

use std::collections::VecDeque;

use crate::clock::{Span, Time};
use crate::inventory::RateLimit;

/// At most so many slots in any half-open span of the limit, handed out in order.
///
/// It remembers the slots of one span instead of counting down a bucket: a bucket that refills while it is drained lets
/// twice the limit through in its first span.
#[derive(Clone, Debug)]
pub struct Quota {
    requests: usize,
    per: Span,
    pub(super) slots: VecDeque<Time>,
}

impl Quota {
    /// An unused quota. A limit of no requests at all would block for ever; it counts as one.
    pub fn new(limit: RateLimit) -> Self {
        let per = Span::from_std(limit.per).unwrap_or(Span::days(365));
        Self { requests: (limit.requests as usize).max(1), per, slots: VecDeque::new() }
    }

    /// The first free slot that is not before `earliest`.
    pub fn next(&self, earliest: Time) -> Time {
        let after_last = self.slots.back().map_or(earliest, |last| earliest.max(*last));
        match self.slots.len().checked_sub(self.requests) {
            Some(index) => after_last.max(self.slots[index] + self.per),
            None => after_last,
        }
    }

    /// Reserves the first free slot that is not before `earliest`.
    pub fn take(&mut self, earliest: Time) -> Time {
        let slot = self.next(earliest);
        // Only the last `requests` slots can hold the next one up, and those that are a span old cannot either.
        while self.slots.len() >= self.requests || self.slots.front().is_some_and(|oldest| *oldest + self.per <= slot) {
            self.slots.pop_front();
        }
        self.slots.push_back(slot);
        slot
    }

    /// How many slots there are in `span`, at least one, and no more than in the span of the limit.
    pub fn share(&self, span: Span) -> usize {
        let per = self.per.num_milliseconds().max(1);
        let share =
            span.num_milliseconds().clamp(0, per).saturating_mul(i64::try_from(self.requests).unwrap_or(i64::MAX));
        usize::try_from(share / per).unwrap_or(self.requests).clamp(1, self.requests)
    }

    /// How many slots are free at `now`.
    pub fn left(&self, now: Time) -> usize {
        let taken = self.slots.iter().filter(|slot| **slot + self.per > now).count();
        self.requests.saturating_sub(taken)
    }

    /// The same limit after `slots`, which were handed out under another one, or by another process.
    pub(super) fn after(mut self, slots: VecDeque<Time>) -> Self {
        self.slots = slots;
        self.slots.drain(..self.slots.len().saturating_sub(self.requests));
        self
    }

    /// Moves every slot by `span`, after the clock was set back by as much.
    pub(super) fn shift(&mut self, span: Span) {
        for slot in &mut self.slots {
            *slot -= span;
        }
    }
}
