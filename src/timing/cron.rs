//! Schedules: cron expressions in a time zone.
//!
//! Three traps of cron are closed here. Weekday numbers mean different days in different dialects, so only names are
//! accepted. Five-field expressions would be read shifted by one, so they are refused with the six-field spelling.
//! And daylight saving neither skips nor doubles a firing: expressions are evaluated on the local wall clock as if it
//! had no gaps, and the result is mapped to a real moment afterwards. A local time that a spring change leaves out
//! fires at the first moment after the gap; one that an autumn change repeats fires the first time only. (An
//! expression that fires every few minutes is therefore silent in the repeated hour.)
//!
//! Where both the day of the month and the weekday are restricted, both must hold: `0 0 0 13 * Fri` is Friday the
//! 13th. crontab would fire on every 13th and on every Friday.

mod expression;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Datelike, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::clock::{Span, Time};

/// A cron expression in a time zone. Years 1970 to 2100; it never fires outside of them.
#[derive(Clone)]
pub struct Schedule {
    expression: Arc<str>,
    timezone: Tz,
    compiled: Arc<cron::Schedule>,
}

impl Schedule {
    /// Reads a cron expression of six fields (second, minute, hour, day of month, month, weekday) or seven (year);
    /// weekdays by name. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` are understood too.
    pub fn parse(expression: &str, timezone: Tz) -> Result<Self, CronError> {
        let expression = expression::normalise(expression)?;
        let compiled = expression::compile(&expression)?;
        let schedule = Self { expression: expression.into(), timezone, compiled: Arc::new(compiled) };
        if schedule.next_after(DateTime::UNIX_EPOCH).is_none() {
            return Err(CronError(format!("\"{}\" never fires: no date fits it", schedule.expression)));
        }
        Ok(schedule)
    }

    /// The expression, with single blanks between its fields.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The time zone that the expression is read in.
    pub fn timezone(&self) -> Tz {
        self.timezone
    }

    /// The first firing after `time`.
    pub fn next_after(&self, time: Time) -> Option<Time> {
        let time = within_cron_years(time);
        let local = time.with_timezone(&self.timezone).naive_local();
        // More than one candidate is looked at only within the repeated hour of an autumn change.
        self.compiled
            .after(&local.and_utc())
            .map_while(|candidate| self.moment(candidate.naive_utc()))
            .find(|&moment| moment > time)
    }

    /// The last firing at or before `time`.
    pub fn previous_or_at(&self, time: Time) -> Option<Time> {
        let time = within_cron_years(time);
        let local = time.with_timezone(&self.timezone).naive_local();
        // In the second pass of a repeated hour, all of the first pass is past, also what the clock shows as later.
        let repeated = match self.timezone.from_local_datetime(&local) {
            LocalResult::Ambiguous(first, second) if second.to_utc() <= time => second.to_utc() - first.to_utc(),
            _ => Span::zero(),
        };
        // `rev` yields what lies strictly before its start.
        let start = local + repeated + Span::seconds(1);
        self.compiled
            .after(&start.and_utc())
            .rev()
            .map_while(|candidate| self.moment(candidate.naive_utc()))
            .find(|&moment| moment <= time)
    }

    /// The first `count` firings after `time`.
    pub fn firings(&self, time: Time, count: usize) -> Vec<Time> {
        std::iter::successors(self.next_after(time), |&last| self.next_after(last)).take(count).collect()
    }

    /// The moment at which the zone's clocks show `local`: the first such moment, or the first one after the gap that
    /// swallowed `local`.
    fn moment(&self, local: NaiveDateTime) -> Option<Time> {
        match self.timezone.from_local_datetime(&local) {
            LocalResult::Single(moment) => Some(moment.to_utc()),
            LocalResult::Ambiguous(first, second) => Some(first.to_utc().min(second.to_utc())),
            LocalResult::None => self.end_of_gap(local),
        }
    }

    /// The first moment after the gap that holds `local`.
    fn end_of_gap(&self, local: NaiveDateTime) -> Option<Time> {
        // Zone changes are aligned to the second at worst, and the largest gap ever was a whole day (Samoa left out
        // 30 December 2011): bisect between `local`, known to be inside, and the first probe that is outside.
        let exists = |offset: i64| self.timezone.from_local_datetime(&(local + Span::seconds(offset))).earliest();
        let mut inside = 0;
        let mut outside =
            [3600, 2 * 3600, 25 * 3600, 49 * 3600].into_iter().find(|&offset| exists(offset).is_some())?;
        while outside - inside > 1 {
            let middle = i64::midpoint(inside, outside);
            if exists(middle).is_some() {
                outside = middle;
            } else {
                inside = middle;
            }
        }
        exists(outside).map(|moment| moment.to_utc())
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.timezone == other.timezone
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.expression, self.timezone)
    }
}

/// Why an expression was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(pub String);

/// `time`, moved into the years that cron knows (and one around them): date arithmetic panics at the ends of chrono's
/// range, and providers do answer expiries a thousand years away.
fn within_cron_years(time: Time) -> Time {
    let clamped = |year| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).earliest().unwrap_or(time);
    match time.year() {
        ..1969 => clamped(1969),
        2102.. => clamped(2102),
        _ => time,
    }
}

#[cfg(test)]
mod tests;
