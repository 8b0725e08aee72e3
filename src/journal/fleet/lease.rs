//! The sign of life of a replica or an agent, as whoever gives it sees it.
//!
//! Law: nothing is begun after the deadline. It is reckoned from when a sign of life was sent, on a clock that goes on while
//! the machine sleeps. It is never the reason why something is safe: the fence of each commit is.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;

use super::engine::{Compare, Done, Engine, EngineError, Pair, Step};
use super::failure;

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

/// What whoever lives tells the engine.
impl Lease {
    /// Takes a lease of the engine, and writes what tells that its holder lives, where nothing is, with `more`. Gives what
    /// tells of another holder, where there is one. `of`: whose name it is.
    pub(super) async fn take<T: DeserializeOwned>(
        &self,
        engine: &Engine,
        (key, value): (String, Vec<u8>),
        more: &[Step],
        of: &str,
    ) -> Result<Option<T>, EngineError> {
        let sent = boot();
        let lease = engine.grant(self.ttl).await?;
        let mut steps = vec![Step::Put { key: key.clone(), value, lease }];
        steps.extend_from_slice(more);
        let done = engine.transact(&[Compare::Created(key.clone(), 0)], &steps, &[key]).await;
        let holder = match done {
            Ok(Done::Held(_)) => {
                self.extend(lease, sent);
                return Ok(None);
            }
            Ok(Done::Denied(found)) => found.into_iter().flatten().next(),
            Err(error) => {
                // What may have been written ends with it.
                let _ = engine.end_lease(lease).await;
                return Err(error);
            }
        };
        // A lease that nothing depends on ends by itself.
        let _ = engine.end_lease(lease).await;
        let unreadable = || EngineError::Refused(failure(format!("who has the name of this {of} cannot be read")));
        holder.as_ref().and_then(Pair::read).map(Some).ok_or_else(unreadable)
    }

    /// Gives a sign of life. False: the lease has ended, and everything that depends on it.
    pub(super) async fn keep(&self, engine: &Engine, patience: Duration) -> Result<bool, EngineError> {
        let (lease, sent) = (self.id(), boot());
        if lease == 0 {
            return Ok(false);
        }
        let lives = engine.keep(lease, patience).await?;
        if lives {
            self.extend(lease, sent);
        } else {
            self.end();
        }
        Ok(lives)
    }

    /// Ends it at once, here and at the engine.
    pub(super) async fn give_up(&self, engine: &Engine) -> Result<(), EngineError> {
        let lease = self.id();
        self.end();
        if lease == 0 { Ok(()) } else { engine.end_lease(lease).await }
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
