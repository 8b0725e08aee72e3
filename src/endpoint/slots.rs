//! How many requests are under way at once, with a bound that an edit of the inventory can move.
//!
//! Whoever waits is served by deadline, the nearest first, and then in the order of asking: see [`crate::places`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::clock::Time;

/// Places for requests under way. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<Mutex<Line>>);

#[derive(Debug)]
struct Line {
    taken: usize,
    /// Places that there should be; those above it vanish as they are given back.
    wanted: usize,
    asked: u64,
    waiting: BTreeMap<(Time, u64), oneshot::Sender<Slot>>,
}

/// A taken place, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    /// None: handed on already.
    of: Option<Slots>,
}

impl Slots {
    /// So many places, one at least.
    pub fn new(size: usize) -> Self {
        let line = Line { taken: 0, wanted: size.max(1), asked: 0, waiting: BTreeMap::new() };
        Self(Arc::new(Mutex::new(line)))
    }

    /// Moves the bound. Nobody who has a place loses it.
    pub fn resize(&self, size: usize) {
        self.line().wanted = size.max(1);
        self.serve();
    }

    /// Waits for a place; who has the nearest `deadline` is served first. Dropping the future withdraws from the line.
    pub async fn take(&self, deadline: Time) -> Slot {
        let handed = {
            let mut line = self.line();
            if line.taken < line.wanted {
                line.taken += 1;
                return self.slot();
            }
            let (sender, handed) = oneshot::channel();
            line.asked += 1;
            let turn = (deadline, line.asked);
            line.waiting.insert(turn, sender);
            handed
        };
        handed.await.expect("a line keeps its senders until they are served")
    }

    /// Hands out the places that are free.
    fn serve(&self) {
        loop {
            let next = {
                let mut line = self.line();
                if line.taken >= line.wanted {
                    return;
                }
                let Some((_, next)) = line.waiting.pop_first() else { return };
                line.taken += 1;
                next
            };
            // Whoever waited and is gone leaves the place to the one after.
            if let Err(mut slot) = next.send(self.slot()) {
                slot.of = None;
                self.line().taken -= 1;
            }
        }
    }

    fn slot(&self) -> Slot {
        Slot { of: Some(self.clone()) }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(slots) = self.of.take() else { return };
        slots.line().taken -= 1;
        slots.serve();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::clock::Span;

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + Span::seconds(seconds)
    }

    #[test]
    fn a_moved_bound_holds_as_soon_as_places_are_given_back() {
        let slots = Slots::new(3);
        let take = || slots.take(at(0)).now_or_never();
        let mut taken: Vec<_> = (0..3).map(|_| take().unwrap()).collect();
        slots.resize(1);
        taken.truncate(1);
        assert!(take().is_none(), "one is taken, and there should be one");
        taken.clear();
        let one = take().unwrap();
        let mut waits = std::pin::pin!(slots.take(at(0)));
        assert!(waits.as_mut().now_or_never().is_none());
        slots.resize(4);
        let two = waits.now_or_never().expect("whoever waits gets a place that there is now");
        drop((one, two));
        slots.resize(0);
        assert!(take().is_some(), "none at all would block for ever");
    }

    #[test]
    fn the_nearest_deadline_is_served_first() {
        let slots = Slots::new(1);
        let taken = slots.take(at(9)).now_or_never();
        let (mut late, mut gone, mut soon) =
            (Box::pin(slots.take(at(5))), Box::pin(slots.take(at(1))), Box::pin(slots.take(at(2))));
        assert!(late.as_mut().now_or_never().is_none());
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(soon.as_mut().now_or_never().is_none());
        drop((gone, taken));
        assert!(late.as_mut().now_or_never().is_none(), "it asked first, and has more time");
        drop(soon.as_mut().now_or_never().expect("its deadline is the nearest of those who wait still"));
        assert!(late.as_mut().now_or_never().is_some());
    }

    #[test]
    fn a_place_that_was_handed_to_somebody_who_is_gone_is_free_again() {
        let slots = Slots::new(1);
        let taken = slots.take(at(0)).now_or_never();
        let mut waits = Box::pin(slots.take(at(0)));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(taken);
        drop(waits);
        assert!(slots.take(at(0)).now_or_never().is_some());
    }
}
