//! Wall time, and the one seam through which the daemon reads it.
//!
//! Tokens expire on the wall clock, so deadlines are wall-clock times. A monotonic sleep would drift away from
//! them when the clock is stepped or the machine sleeps: the system clock waits on a kernel timer that is armed
//! with an absolute wall-clock time and is cancelled when the clock is set.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// A moment on the wall clock, in UTC. Its range covers the years that providers answer (AWX: 3026).
pub type Time = DateTime<Utc>;

/// A span of wall time.
pub type Span = chrono::TimeDelta;

/// Where the daemon learns what time it is. Two implementations: the system's, and one that tests set by hand.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The wall clock now.
    fn now(&self) -> Time;

    /// Returns once the wall clock has reached `deadline`, or earlier when the clock was set: callers look at
    /// [`Clock::now`] again and decide anew.
    fn wait_until(&self, deadline: Time) -> impl Future<Output = ()> + Send;
}

/// The wall clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        Utc::now()
    }

    async fn wait_until(&self, deadline: Time) {
        if deadline <= self.now() {
            return;
        }
        // An `OwnedFd` stays the same open descriptor for its whole life, which is what the deprecation is about; the
        // replacement is an unsafe function.
        #[allow(deprecated)]
        let armed = arm(deadline).and_then(|timer| AsyncFd::with_interest(timer, Interest::READABLE));
        match armed {
            // Readable means: expired, or cancelled because the clock was set. Both end the wait.
            Ok(timer) => drop(timer.readable().await),
            // No timer left (file descriptors used up): a short bounded sleep keeps the promise of the trait.
            Err(_) => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
        }
    }
}

/// The wall clock as file times are told by.
pub fn system_now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// A kernel timer that fires at the absolute wall-clock time `deadline`.
fn arm(deadline: Time) -> std::io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let value = Timespec { tv_sec: deadline.timestamp().max(1), tv_nsec: deadline.timestamp_subsec_nanos().into() };
    let spec = Itimerspec { it_interval: zero, it_value: value };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &spec)?;
    Ok(timer)
}

/// A clock that stands still until it is set. Clones share the same time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    time: Arc<watch::Sender<Time>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Time) -> Self {
        Self { time: Arc::new(watch::Sender::new(start)) }
    }

    /// Moves the clock to `time`, forwards or backwards, and wakes whoever waits on it.
    pub fn set(&self, time: Time) {
        self.time.send_replace(time);
    }

    /// Moves the clock forwards by `span`.
    pub fn advance(&self, span: Span) {
        self.time.send_modify(|time| *time += span);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        *self.time.borrow()
    }

    async fn wait_until(&self, deadline: Time) {
        let mut time = self.time.subscribe();
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = time.wait_for(|now| *now >= deadline).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_system_timer_fires_at_its_wall_clock_time() {
        let clock = SystemClock;
        let deadline = clock.now() + Span::milliseconds(30);
        clock.wait_until(deadline).await;
        assert!(clock.now() >= deadline);
    }

    #[tokio::test]
    async fn a_time_in_the_past_does_not_wait() {
        SystemClock.wait_until(DateTime::UNIX_EPOCH).await;
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_those_that_wait() {
        let clock = ManualClock::new(DateTime::UNIX_EPOCH);
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.wait_until(DateTime::UNIX_EPOCH + Span::days(1)).await }
        });
        clock.advance(Span::hours(23));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        clock.advance(Span::hours(1));
        waiting.await.unwrap();
    }
}
