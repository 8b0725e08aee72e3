//! How many requests are under way at once, with a bound that an edit of the inventory can move.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Places for requests under way.
#[derive(Debug)]
pub(super) struct Slots {
    places: Semaphore,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    /// Places that there are, taken ones included.
    now: usize,
    /// Places that there should be; those above it vanish as they are given back.
    wanted: usize,
}

/// A taken place.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    slots: &'a Slots,
    /// None only while it is dropped.
    permit: Option<SemaphorePermit<'a>>,
}

impl Slots {
    /// So many places, one at least.
    pub fn new(size: usize) -> Self {
        let size = bounded(size);
        Self { places: Semaphore::new(size), size: Mutex::new(Size { now: size, wanted: size }) }
    }

    /// Moves the bound. Nobody who has a place loses it.
    pub fn resize(&self, size: usize) {
        let mut current = self.size();
        current.wanted = bounded(size);
        if let Some(more) = current.wanted.checked_sub(current.now) {
            self.places.add_permits(more);
            current.now += more;
        } else {
            current.now -= self.places.forget_permits(current.now - current.wanted);
        }
    }

    /// Waits for a place.
    pub async fn take(&self) -> Slot<'_> {
        let permit = self.places.acquire().await.expect("the semaphore is never closed");
        Slot { slots: self, permit: Some(permit) }
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut size = self.slots.size();
        if let Some(permit) = self.permit.take_if(|_| size.now > size.wanted) {
            permit.forget();
            size.now -= 1;
        }
    }
}

fn bounded(size: usize) -> usize {
    size.clamp(1, Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moved_bound_holds_as_soon_as_places_are_given_back() {
        let slots = Slots::new(3);
        let mut taken = vec![slots.take().await, slots.take().await, slots.take().await];
        slots.resize(1);
        taken.pop();
        taken.pop();
        assert_eq!(slots.places.available_permits(), 0, "one is taken, and there should be one");
        taken.pop();
        assert_eq!(slots.places.available_permits(), 1);
        slots.resize(4);
        assert_eq!(slots.places.available_permits(), 4);
        slots.resize(0);
        assert_eq!(slots.places.available_permits(), 1, "none at all would block for ever");
    }
}
