//! The sign of life of a replica, as the replica itself sees it.
//!
//! Law: nothing is begun after the deadline. It is reckoned from when a sign of life was sent, on a clock that goes on while
//! the machine sleeps. It is never the reason why something is safe: the fence of each commit is.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What the engine's clock and ours may differ by over one lease, and what a request may take to leave.
const MARGIN: Duration = Duration::from_secs(1);

/// Since the machine was started, its sleep included.
pub fn boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// A lease, shared by all that depends on it.
#[derive(Debug)]
pub struct Lease {
    /// 0: there is none.
    id: AtomicI64,
    /// Milliseconds since the machine was started; 0: it has ended.
    deadline: AtomicU64,
    ttl: Duration,
}

impl Lease {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { id: AtomicI64::new(0), deadline: AtomicU64::new(0), ttl }
    }

    /// How long it lives after a sign of life.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The engine's number for it; 0: there is none.
    pub(super) fn id(&self) -> i64 {
        self.id.load(Ordering::Acquire)
    }

    /// The engine has acknowledged a sign of life that was sent at `sent`.
    pub(super) fn extend(&self, id: i64, sent: Duration) {
        let margin = MARGIN.min(self.ttl / 4);
        let deadline = (sent + self.ttl).saturating_sub(margin);
        self.id.store(id, Ordering::Release);
        self.deadline.fetch_max(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// It has ended, or is given up.
    pub(super) fn end(&self) {
        self.deadline.store(0, Ordering::Release);
        self.id.store(0, Ordering::Release);
    }

    /// How long something may still be begun at `now`. `None`: nothing may.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        let deadline = Duration::from_millis(self.deadline.load(Ordering::Acquire));
        deadline.checked_sub(now).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_by_when_its_last_sign_of_life_was_sent() {
        let second = Duration::from_secs;
        let lease = Lease::new(second(15));
        assert_eq!(lease.left(second(0)), None, "before the first");
        lease.extend(7, second(100));
        assert_eq!(lease.left(second(110)), Some(second(4)));
        lease.extend(7, second(90));
        assert_eq!(lease.left(second(110)), Some(second(4)), "an answer that overtook another one");
        assert_eq!(lease.left(second(114)), None);
        lease.end();
        assert_eq!((lease.left(second(101)), lease.id()), (None, 0));
    }

    #[test]
    fn the_clock_goes_on() {
        assert!(boot() > Duration::ZERO);
    }
}
