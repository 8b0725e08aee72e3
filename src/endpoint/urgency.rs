//! For whom requests are made, as far as it decides how long a provider's call for patience holds them back. A run says
//! so for everything that it asks.

use crate::clock::{Span, Time};

tokio::task_local! {
    static URGENCY: Urgency;
}

/// How urgent a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Nobody loses anything while it waits.
    Patient,
    /// Consumers hold nothing that works from then on.
    By(Time),
    /// An operator asked for it now.
    Now,
}

/// What has no nearer deadline counts as due so long after it asked: nobody waits behind others for ever.
const PATIENCE: Span = Span::hours(1);

impl Urgency {
    /// By when a request that is made `now` has to leave, where several wait: the nearest goes first.
    pub(super) fn deadline(self, now: Time) -> Time {
        let latest = now.checked_add_signed(PATIENCE).unwrap_or(Time::MAX_UTC);
        match self {
            Self::Now => Time::MIN_UTC,
            Self::By(end) => end.clamp(now, latest),
            Self::Patient => latest,
        }
    }

    /// Does `work` with this urgency.
    pub async fn during<T>(self, work: impl Future<Output = T>) -> T {
        URGENCY.scope(self, work).await
    }

    /// The urgency of the present task.
    pub(super) fn present() -> Self {
        URGENCY.try_with(|urgency| *urgency).unwrap_or(Self::Patient)
    }
}
