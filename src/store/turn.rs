//! Turns: work on one target is done one after the other.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One thing of type `T` for each key in use, shared by whoever uses the key at the same time.
#[derive(Debug)]
pub struct Turns<K, T>(Mutex<Option<HashMap<K, Weak<T>>>>);

impl<K: Eq + Hash + Clone, T: Default> Turns<K, T> {
    /// Nobody is at work.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// What everybody shares who uses `key` now.
    pub fn of(&self, key: &K) -> Arc<T> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = turns.get_or_insert_default();
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }
}
