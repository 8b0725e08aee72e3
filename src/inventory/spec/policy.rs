//! The policy keys: what a token may set, and `[defaults]` for all of them.

use chrono_tz::{TZ_VARIANTS, Tz};

use crate::clock::Span;
use crate::document::{Located, Reader, Spot, nearest};
use crate::inventory::{RenewBefore, values};

/// Policy keys, each absent where the file does not give it.
#[derive(Debug, Default)]
pub struct PolicySpec {
    pub lifetime: Option<Located<Span>>,
    pub renew_before: Option<Located<RenewBefore>>,
    pub rotate_every: Option<Located<Span>>,
    pub schedule: Option<ScheduleSpec>,
    pub window: Option<WindowSpec>,
    pub grace: Option<Located<Span>>,
    pub grace_cap: Option<Located<Span>>,
    pub jitter: Option<Located<Span>>,
    pub verify_timeout: Option<Located<Span>>,
    pub drift_every: Option<Located<Span>>,
}

/// A cron expression that was not read yet.
#[derive(Debug)]
pub struct ScheduleSpec {
    pub cron: Located<String>,
    pub timezone: Option<Tz>,
}

/// A window whose cron expression was not read yet.
#[derive(Debug)]
pub struct WindowSpec {
    pub spot: Spot,
    pub opens: ScheduleSpec,
    pub duration: Located<Span>,
}

impl PolicySpec {
    /// Takes the policy keys out of `reader`.
    pub fn decode(reader: &Reader<'_>) -> Self {
        Self {
            lifetime: reader.parsed("lifetime", values::positive),
            renew_before: reader.parsed("renew-before", values::renew_before),
            rotate_every: reader.parsed("rotate-every", values::positive),
            schedule: schedule(reader),
            window: window(reader),
            grace: reader.parsed("grace", values::duration),
            grace_cap: reader.parsed("grace-cap", values::duration),
            jitter: reader.parsed("jitter", values::duration),
            verify_timeout: reader.parsed("verify-timeout", values::positive),
            drift_every: reader.parsed("drift-every", values::positive),
        }
    }
}

/// `schedule = "cron"` or `schedule = { cron, timezone }`.
fn schedule(reader: &Reader<'_>) -> Option<ScheduleSpec> {
    let found = reader.take("schedule")?;
    if let Some(text) = found.value().as_str() {
        let cron = Located { value: text.to_owned(), spot: found.spot() };
        return Some(ScheduleSpec { cron, timezone: None });
    }
    let table = reader.table("schedule", format_args!("`schedule` of {}", reader.what()))?;
    let spec = cron(&table);
    table.finish();
    spec
}

/// `window = { cron, duration, timezone }`.
fn window(reader: &Reader<'_>) -> Option<WindowSpec> {
    let table = reader.table("window", format_args!("`window` of {}", reader.what()))?;
    let opens = cron(&table);
    table.required("duration");
    let duration = table.parsed("duration", values::positive);
    let spot = table.spot();
    table.finish();
    Some(WindowSpec { spot, opens: opens?, duration: duration? })
}

fn cron(table: &Reader<'_>) -> Option<ScheduleSpec> {
    let cron = table.required_string("cron");
    let timezone = table.parsed("timezone", timezone);
    Some(ScheduleSpec { cron: cron?, timezone: timezone.map(|zone| zone.value) })
}

fn timezone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| {
        // A zone is mostly given by its city alone.
        let city = TZ_VARIANTS.iter().map(|zone| zone.name()).find(|name| {
            name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&text.replace(' ', "_")))
        });
        match city.or_else(|| nearest(text, TZ_VARIANTS.iter().map(|zone| zone.name()))) {
            Some(name) => format!("\"{text}\" is not a time zone; did you mean \"{name}\"?"),
            None => format!("\"{text}\" is not a time zone; write for example \"Europe/Berlin\""),
        }
    })
}
