//! Windows: spans that open at each firing of a schedule.

use crate::clock::{Span, Time};

use super::cron::Schedule;

/// A span that opens at each firing of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub opens: Schedule,
    pub duration: Span,
}

/// Whether a window is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowState {
    /// `until` is when the span of the latest firing ends; a firing before that prolongs it.
    Open { until: Time },
    /// `None`: it never opens again.
    Closed { opens: Option<Time> },
}

impl Window {
    /// Whether the window is open at `now`. It is open from each firing on, for less than its duration.
    pub fn at(&self, now: Time) -> WindowState {
        let until = self.opens.previous_or_at(now).and_then(|opened| opened.checked_add_signed(self.duration));
        match until {
            Some(until) if now < until => WindowState::Open { until },
            _ => WindowState::Closed { opens: self.next_open(now) },
        }
    }

    /// When the window opens next, after `time`.
    pub fn next_open(&self, time: Time) -> Option<Time> {
        self.opens.next_after(time)
    }
}
