//! Cron expressions, and whether a token can live with the gaps between their firings.

use std::collections::HashMap;

use chrono_tz::Tz;

use crate::clock::{Span, Time};
use crate::document::{Located, Spot};
use crate::inventory::spec::{ScheduleSpec, WindowSpec};
use crate::inventory::values::show;
use crate::inventory::{RenewBefore, defaults};
use crate::timing::cron::{CronError, Schedule};
use crate::timing::window::Window;

use super::Context;

/// How far ahead gaps are looked for: every yearly pattern shows once.
const HORIZON: Span = Span::days(366);

/// How many places of the horizon are looked at: a full year for tokens that live longer than some hours, a month for
/// those that live an hour.
const PROBES: usize = 10_000;

/// What a token says about time, as far as gaps matter.
pub(super) struct Life<'s> {
    pub(super) what: &'s str,
    pub(super) lifetime: Option<Span>,
    pub(super) renew_before: RenewBefore,
    /// `renew-before` was written down, not filled in.
    pub(super) renews_explicitly: bool,
    pub(super) rotate_every: Option<Span>,
}

impl Life<'_> {
    /// How long before its expiry the token is due, where its lifetime is known.
    pub(super) fn lead(&self) -> Option<Span> {
        let lifetime = self.lifetime?;
        Some(match self.renew_before {
            RenewBefore::Span(span) => span,
            RenewBefore::Share(share) => share_of(lifetime, share),
        })
    }

    /// The time between two rotations, where it is known.
    pub(super) fn period(&self) -> Option<Span> {
        let by_expiry = self.lifetime.zip(self.lead()).map(|(lifetime, lead)| lifetime - lead);
        by_expiry.into_iter().chain(self.rotate_every).min()
    }
}

/// `share` of `span`, to the second.
pub(super) fn share_of(span: Span, share: f64) -> Span {
    // Lifetimes are below 1000 years: exact in an f64, and far from the end of an i64.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "see above")]
    Span::seconds((span.num_seconds() as f64 * share) as i64)
}

/// A span in which an expression does not fire; `to` is `None` where it never does again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    from: Time,
    to: Option<Time>,
}

impl Gap {
    fn length(self) -> Span {
        self.to.map_or(Span::MAX, |to| to - self.from)
    }

    /// How long and when, to follow "it does not open".
    fn describe(self) -> String {
        let day = |time: Time| time.format("%Y-%m-%d %H:%M UTC").to_string();
        match self.to {
            Some(to) => format!("for {} ({} to {})", show(to - self.from), day(self.from), day(to)),
            None => format!("again after {}", day(self.from)),
        }
    }
}

/// Cron expressions of an inventory, each read once and measured once.
pub(super) struct Crons<'c> {
    context: &'c Context<'c>,
    parsed: HashMap<(String, Tz), Result<Schedule, CronError>>,
    gaps: HashMap<(String, Tz, Span), Option<Gap>>,
}

impl<'c> Crons<'c> {
    pub(super) fn new(context: &'c Context<'c>) -> Self {
        Self { context, parsed: HashMap::new(), gaps: HashMap::new() }
    }

    /// The schedule that `spec` spells; problems are reported as those of `key`.
    pub(super) fn schedule(&mut self, spec: &ScheduleSpec, key: &str) -> Option<Schedule> {
        let now = self.context.around.now;
        let timezone = spec.timezone.unwrap_or(defaults::TIMEZONE);
        let parsed = self.parsed.entry((spec.cron.value.clone(), timezone)).or_insert_with(|| {
            let schedule = Schedule::parse(&spec.cron.value, timezone)?;
            match schedule.next_after(now) {
                Some(_) => Ok(schedule),
                None => Err(CronError(format!("\"{}\" never fires again", spec.cron.value))),
            }
        });
        match parsed {
            Ok(schedule) => Some(schedule.clone()),
            Err(error) => {
                self.context.report.error(spec.cron.spot, format!("{key}: {error}"));
                None
            }
        }
    }

    /// The window that `spec` spells, if the token can live with it.
    pub(super) fn window(&mut self, spec: &WindowSpec, life: &Life<'_>) -> Option<Window> {
        const SHORT: Span = Span::minutes(1);
        let key = format!("`window` of {}", life.what);
        let opens = self.schedule(&spec.opens, &key)?;
        let duration = spec.duration.value;
        if duration < SHORT {
            let message = format!("{key} is open for {} only", show(duration));
            let help = "a restart or one failed attempt is enough to miss it; open it for some minutes";
            self.context.report.warning(spec.duration.spot, message, help);
        }
        self.check_window(spec, &opens, life, &key);
        Some(Window { opens, duration })
    }

    /// Between falling due and its deadline (half of what `renew-before` leaves) a token must see the window open,
    /// whenever it was minted: no closed span may be longer than that. A token without an expiry must not fall due
    /// again before the window opens.
    fn check_window(&mut self, spec: &WindowSpec, opens: &Schedule, life: &Life<'_>, key: &str) {
        let (patience, remedy) = match (life.lead(), life.rotate_every) {
            (Some(lead), _) => (lead / 2, "open it more often or for longer, or raise `renew-before`"),
            (None, Some(every)) => (every, "open it more often or for longer, or raise `rotate-every`"),
            (None, None) => return,
        };
        let Some(gap) = self.gap(opens, patience + spec.duration.value) else { return };
        let closed = Gap { from: gap.from + spec.duration.value, to: gap.to };
        let message = format!(
            "{key} does not open {}, but the token can wait for {} at most once it is due",
            closed.describe(),
            show(patience)
        );
        self.context.report.error_with_help(spec.spot, message, remedy);
    }

    /// A schedule that is the only rule of a token must fire within its lifetime.
    pub(super) fn check_schedule(&mut self, spot: Spot, schedule: &Schedule, life: &Life<'_>) {
        let Some(lifetime) = life.lifetime else { return };
        if life.renews_explicitly || life.rotate_every.is_some() {
            return;
        }
        let Some(gap) = self.gap(schedule, lifetime) else { return };
        let message = format!(
            "`schedule` of {} does not fire {}, longer than the token's lifetime of {}",
            life.what,
            gap.describe(),
            show(lifetime)
        );
        let help = "fire more often, or add `renew-before` so that the token's expiry counts too";
        self.context.report.error_with_help(spot, message, help);
    }

    /// The largest gap of `schedule` that is longer than `limit`.
    fn gap(&mut self, schedule: &Schedule, limit: Span) -> Option<Gap> {
        let now = self.context.around.now;
        let key = (schedule.expression().to_owned(), schedule.timezone(), limit);
        *self.gaps.entry(key).or_insert_with(|| largest_gap(schedule, now, limit))
    }
}

/// The largest gap between two firings in the year after `now` that is longer than `limit`.
///
/// A gap longer than `limit` cannot slip between two places that are `limit` apart, so there is no need to visit every
/// firing of an expression that fires each second.
fn largest_gap(schedule: &Schedule, now: Time, limit: Span) -> Option<Gap> {
    let end = now + HORIZON;
    let mut largest: Option<Gap> = None;
    let mut at = now;
    for _ in 0..PROBES {
        if at > end {
            break;
        }
        let gap = Gap { from: schedule.previous_or_at(at).unwrap_or(now), to: schedule.next_after(at) };
        if gap.length() > limit && largest.is_none_or(|known| gap.length() > known.length()) {
            largest = Some(gap);
        }
        let Some(next) = gap.to else { break };
        at = next.max(at + limit);
    }
    largest
}

/// Reports a span that leaves no room in the time between two rotations.
pub(super) fn check_fits(spec: Option<&Located<Span>>, key: &str, life: &Life<'_>, context: &Context<'_>) {
    let Some(spec) = spec else { return };
    if let Some(period) = life.period().filter(|period| spec.value >= *period) {
        let message = format!(
            "`{key}` of {} ({}) is not shorter than the time between two rotations ({})",
            life.what,
            show(spec.value),
            show(period)
        );
        context.report.error_with_help(spec.spot, message, format!("lower `{key}`, or let the token live longer"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(cron: &str, limit: Span) -> Option<String> {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let schedule = Schedule::parse(cron, chrono_tz::UTC).unwrap();
        largest_gap(&schedule, now, limit).map(|gap| show(gap.length()))
    }

    #[test]
    fn the_largest_gap_is_found_whatever_the_density() {
        for (sentence, cron, limit, expected) in [
            ("workdays leave the weekend out", "0 0 2 * * Mon-Fri", Span::days(2), Some("3d")),
            ("a gap as long as the limit is fine", "0 0 2 * * Mon-Fri", Span::days(3), None),
            ("daily fits into two days", "0 0 2 * * *", Span::days(2), None),
            ("every second, but never in summer", "* * * * Jan-May,Sep-Dec *", Span::days(10), Some("92d 1s")),
            ("every second has no gap", "* * * * * *", Span::days(1), None),
            ("a leap day is years away", "0 0 0 29 2 *", Span::days(30), Some("1461d")),
            ("monthly, for a month of 30 days", "0 0 0 1 * *", Span::days(30), Some("31d")),
        ] {
            assert_eq!(gap(cron, limit).as_deref(), expected, "{sentence}");
        }
    }
}
