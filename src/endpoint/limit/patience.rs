//! A provider's call for patience, and whom it holds back.

use crate::clock::{Span, Time};
use crate::endpoint::urgency::Urgency;
use crate::timing::backoff::{self as patience, Life};

/// However long a provider asks to wait: it is asked again this soon.
pub const LONGEST_BLOCK: Span = patience::LONGEST;

/// While a provider asks for patience, the requests that cannot wait so long leave this far apart.
const PROBE_EVERY: Span = Span::seconds(1);

/// A refused credential is tried again at least this often, for it may have been repaired at the provider.
const LONGEST_BACKOFF: Span = Span::minutes(5);

/// A provider's call for patience.
///
/// Law: it holds back nobody past the last tenth of the life that their consumers have left, and whose consumers hold
/// nothing that works a minute: see [`crate::timing::backoff`]. What is let through in spite of it leaves one by one, and an
/// answer to it that does not ask for patience again ends the wait of everybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocked {
    pub told: Time,
    pub until: Time,
    /// Nothing is let through in spite of it before this.
    pub probe: Time,
}

impl Blocked {
    /// Until when it holds back a request of this urgency.
    pub fn until(&self, urgency: Urgency) -> Time {
        let life = match urgency {
            Urgency::Patient => Life::Endless,
            Urgency::By(deadline) => Life::of(deadline - self.told),
            Urgency::Now => return self.until.min(self.probe),
        };
        let granted = self.told + patience::granted(self.until - self.told, life);
        if granted < self.until { granted.max(self.probe) } else { self.until }
    }

    /// A request leaves in spite of it at `slot`.
    pub fn probe_at(&mut self, slot: Time) {
        self.probe = slot + PROBE_EVERY;
    }

    /// Moves it by `span`, after the clock was set back by as much.
    pub fn shift(&mut self, span: Span) {
        self.told -= span;
        self.until -= span;
        self.probe -= span;
    }
}

/// 2 s, 4 s, 8 s, … and [`LONGEST_BACKOFF`] in the end. Without jitter: within one account there is one to wait.
pub(super) fn backoff(failures: u32) -> Span {
    Span::seconds(1 << failures.clamp(1, 16)).min(LONGEST_BACKOFF)
}
