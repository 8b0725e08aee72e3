//! Keyed deadlines: what is due when, in an order that can be looked up. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Time;
use crate::names::{AccountName, TokenName};

/// What can fall due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A token: decide what comes next for it.
    Token(TokenName),
    /// An account: ask the provider what it knows.
    Poll(AccountName),
}

/// One deadline per key; the earliest comes first.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    by_time: BTreeSet<(Time, K)>,
    by_key: BTreeMap<K, Time>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Deadlines<K> {
    /// Sets the deadline of `key`, whatever it was before.
    pub fn set(&mut self, key: K, at: Time) {
        self.clear(&key);
        self.by_time.insert((at, key.clone()));
        self.by_key.insert(key, at);
    }

    /// Forgets the deadline of `key`.
    pub fn clear(&mut self, key: &K) {
        if let Some((key, at)) = self.by_key.remove_entry(key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// Makes everything due at `now` that would be due later.
    pub fn bring_forward(&mut self, now: Time) {
        let later: Vec<K> = self.by_time.iter().filter(|(at, _)| *at > now).map(|(_, key)| key.clone()).collect();
        for key in later {
            self.set(key, now);
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one key whose deadline has come, the earliest first.
    pub fn pop_due(&mut self, now: Time) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + Span::seconds(seconds)
    }

    #[test]
    fn keys_come_out_in_the_order_of_their_deadlines() {
        let mut deadlines = Deadlines::default();
        deadlines.set("late", at(30));
        deadlines.set("early", at(10));
        deadlines.set("moved", at(5));
        deadlines.set("moved", at(20));
        deadlines.set("gone", at(1));
        deadlines.clear(&"gone");
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.pop_due(at(9)), None);
        let order: Vec<_> = std::iter::from_fn(|| deadlines.pop_due(at(30))).collect();
        assert_eq!(order, ["early", "moved", "late"]);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn what_was_due_by_a_clock_that_was_ahead_is_due_now() {
        let mut deadlines = Deadlines::default();
        deadlines.set("overdue", at(1));
        deadlines.set("far", at(1_000_000));
        deadlines.bring_forward(at(10));
        let order: Vec<_> = std::iter::from_fn(|| deadlines.pop_due(at(10))).collect();
        assert_eq!(order, ["overdue", "far"]);
    }
}
