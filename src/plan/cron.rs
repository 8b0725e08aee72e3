//! Schedules and windows: cron expressions in a time zone.

use chrono_tz::Tz;

use crate::clock::{Span, Time};

/// A cron expression in a time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    expression: String,
    timezone: Tz,
}

impl Schedule {
    /// Reads a cron expression of six fields, seconds first; weekdays by name.
    pub fn parse(_expression: &str, _timezone: Tz) -> Result<Self, CronError> {
        unimplemented!()
    }

    /// The first firing after `time`.
    pub fn next_after(&self, _time: Time) -> Option<Time> {
        unimplemented!()
    }
}

/// A span that opens at each firing of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub opens: Schedule,
    pub duration: Span,
}

/// Whether a window is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowState {
    Open {
        until: Time,
    },
    /// `None`: it never opens again.
    Closed {
        opens: Option<Time>,
    },
}

impl Window {
    /// Whether the window is open at `now`.
    pub fn at(&self, _now: Time) -> WindowState {
        unimplemented!()
    }
}

/// Why an expression was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(pub String);
