use chrono_tz::Europe::Berlin;
use proptest::prelude::*;

use super::*;
use crate::timing::window::{Window, WindowState};

fn at(text: &str) -> Time {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn refusal(expression: &str) -> String {
    Schedule::parse(expression, Tz::UTC).unwrap_err().to_string()
}

#[test]
fn refusals_say_what_to_write_instead() {
    for (expression, remedy) in [
        ("30 3 * * *", "write \"0 30 3 * * *\""),
        ("30 3 * * 1-5", "write \"0 30 3 * * Mon-Fri\""),
        ("0 0 2 * * 1", "write \"Mon\""),
        ("0 0 2 * * 0", "write \"Sun\""),
        ("0 0 2 * * 1-5", "write \"Mon-Fri\""),
        ("0 0 2 * * 1,3,Fri", "write \"Mon,Wed,Fri\""),
        ("0 0 2 * * 5-7", "write \"Fri,Sat,Sun\""),
        ("0 0 2 * * 6-0", "write \"Sat,Sun\""),
        ("0 0 2 * * 1-5 2030", "write \"Mon-Fri\""),
        ("0 0 2 * * Sat-Sun", "write \"Sat,Sun\""),
        ("0 0 0 31 2 *", "never fires"),
        ("0 0 0 30 Feb *", "never fires"),
        ("0 0 0 L * *", "L, W and # are not"),
        ("0 0 0 * * Fri#2", "L, W and # are not"),
        ("0 0 2 1, 2 * Mon", "not a cron field"),
        ("** 0 2 * * Mon", "not a cron field"),
        ("0 0 25 * * *", "hours"),
        ("0 0 0 * * Xyz", "xyz"),
        ("0 0/0 0 * * *", "zero"),
        ("@every 5m", "six fields"),
        ("@sometimes", "not a cron expression"),
        ("", "empty"),
    ] {
        let refusal = refusal(expression);
        assert!(refusal.to_lowercase().contains(&remedy.to_lowercase()), "{expression:?}: {refusal}");
        assert!(!refusal.contains('\n'), "{refusal:?}");
    }
}

#[test]
fn accepted_expressions_fire_when_they_say() {
    for (expression, after, expected) in [
        ("0 0 2 * * Mon-Fri", "2026-05-01T02:00:00Z", "2026-05-04T02:00:00Z"),
        ("0 0 2 * * sun", "2026-05-01T02:00:00Z", "2026-05-03T02:00:00Z"),
        ("0 0 2 * * Monday,Thurs", "2026-05-01T02:00:00Z", "2026-05-04T02:00:00Z"),
        ("  0  */10 * * * *  ", "2026-05-01T02:05:00.5Z", "2026-05-01T02:10:00Z"),
        ("0 0 0 13 * Fri", "2026-01-01T00:00:00Z", "2026-02-13T00:00:00Z"),
        ("0 0 0 29 2 ?", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 0 1 1 * 2031", "2026-01-01T00:00:00Z", "2031-01-01T00:00:00Z"),
        ("@daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
    ] {
        let schedule = Schedule::parse(expression, Tz::UTC).unwrap();
        assert_eq!(schedule.next_after(at(after)), Some(at(expected)), "{expression:?}");
    }
}

#[test]
fn daylight_saving_neither_skips_nor_doubles_a_firing() {
    let schedule = Schedule::parse("0 30 2 * * *", Berlin).unwrap();
    let spring = schedule.firings(at("2026-03-28T00:00:00Z"), 3);
    // 29 March has no 02:30: the firing is at 03:00 summer time.
    assert_eq!(spring, [at("2026-03-28T01:30:00Z"), at("2026-03-29T01:00:00Z"), at("2026-03-30T00:30:00Z")]);
    let autumn = schedule.firings(at("2026-10-24T12:00:00Z"), 2);
    // 25 October has two: 02:30 summer time only.
    assert_eq!(autumn, [at("2026-10-25T00:30:00Z"), at("2026-10-26T01:30:00Z")]);
}

#[test]
fn the_second_pass_of_a_repeated_hour_looks_past_the_first() {
    let schedule = Schedule::parse("0 */15 2 * * *", Berlin).unwrap();
    let second_pass = at("2026-10-25T01:10:00Z");
    assert_eq!(schedule.previous_or_at(second_pass), Some(at("2026-10-25T00:45:00Z")));
    assert_eq!(schedule.next_after(second_pass), Some(at("2026-10-26T01:00:00Z")));
}

#[test]
fn a_gap_of_a_whole_day_ends_at_the_next_day() {
    let schedule = Schedule::parse("0 0 12 30 12 *", Tz::Pacific__Apia).unwrap();
    assert_eq!(schedule.next_after(at("2011-12-01T00:00:00Z")), Some(at("2011-12-30T10:00:00Z")));
}

#[test]
fn times_beyond_cron_do_not_panic() {
    let schedule = Schedule::parse("0 0 0 * * *", Berlin).unwrap();
    assert_eq!(schedule.next_after(Time::MAX_UTC), None);
    assert!(schedule.previous_or_at(Time::MAX_UTC).is_some());
    assert!(schedule.next_after(Time::MIN_UTC).is_some());
    assert_eq!(schedule.previous_or_at(Time::MIN_UTC), None);
    assert_eq!(schedule.next_after(at("3026-01-01T00:00:00Z")), None);
}

#[test]
fn a_window_is_open_from_its_firing_for_less_than_its_duration() {
    let opens = Schedule::parse("0 0 2 * * Mon-Fri", Berlin).unwrap();
    let window = Window { opens, duration: Span::hours(2) };
    for (now, expected) in [
        ("2026-05-04T00:00:00Z", WindowState::Open { until: at("2026-05-04T02:00:00Z") }),
        ("2026-05-04T01:59:59Z", WindowState::Open { until: at("2026-05-04T02:00:00Z") }),
        ("2026-05-04T02:00:00Z", WindowState::Closed { opens: Some(at("2026-05-05T00:00:00Z")) }),
        ("2026-05-09T12:00:00Z", WindowState::Closed { opens: Some(at("2026-05-11T00:00:00Z")) }),
    ] {
        assert_eq!(window.at(at(now)), expected, "{now}");
    }
    let past = Window { opens: Schedule::parse("0 0 0 1 1 * 1999", Tz::UTC).unwrap(), duration: Span::hours(1) };
    assert_eq!(past.at(at("2026-01-01T00:00:00Z")), WindowState::Closed { opens: None });
}

#[test]
fn a_schedule_shows_its_expression_and_zone() {
    let schedule = Schedule::parse(" 0 0  2 * * Mon ", Berlin).unwrap();
    assert_eq!(schedule.to_string(), "0 0 2 * * Mon (Europe/Berlin)");
    assert_eq!(schedule, Schedule::parse("0 0 2 * * Mon", Berlin).unwrap());
    assert_ne!(schedule, Schedule::parse("0 0 2 * * Mon", Tz::UTC).unwrap());
}

/// Every moment of the three days around `day` at which the expression fires, found minute by minute on a calendar that
/// lists local times in order and keeps the first moment of each.
fn brute_force(minute: u32, hour: u32, timezone: Tz, from: Time, to: Time) -> Vec<Time> {
    let mut day = from.with_timezone(&timezone).date_naive() - chrono::Days::new(2);
    let mut moments = Vec::new();
    while day < to.with_timezone(&timezone).date_naive() + chrono::Days::new(2) {
        let mut local = day.and_hms_opt(hour, minute, 0).unwrap();
        let moment = loop {
            match timezone.from_local_datetime(&local).earliest() {
                Some(moment) => break moment.to_utc(),
                None => local += Span::minutes(1),
            }
        };
        if moment > from && moment <= to {
            moments.push(moment);
        }
        day = day + chrono::Days::new(1);
    }
    moments
}

proptest! {
    #[test]
    fn daily_schedules_agree_with_a_calendar_in_every_zone(
        minute in 0u32..60,
        hour in 0u32..24,
        zone in 0..chrono_tz::TZ_VARIANTS.len(),
        start in 946_684_800i64..2_500_000_000,
    ) {
        let timezone = chrono_tz::TZ_VARIANTS[zone];
        let schedule = Schedule::parse(&format!("0 {minute} {hour} * * *"), timezone).unwrap();
        let from = DateTime::from_timestamp(start, 0).unwrap();
        let to = from + Span::days(400);
        let expected = brute_force(minute, hour, timezone, from, to);
        prop_assert_eq!(&schedule.firings(from, expected.len()), &expected);
        // Backwards from each firing, and from just before the next one, it finds the same moments.
        for pair in expected.windows(2) {
            prop_assert_eq!(schedule.previous_or_at(pair[0]), Some(pair[0]));
            prop_assert_eq!(schedule.previous_or_at(pair[1] - Span::milliseconds(1)), Some(pair[0]));
        }
    }

    #[test]
    fn no_text_panics(text in "[0-9*/,?@A-Za-z# -]{0,30}") {
        if let Ok(schedule) = Schedule::parse(&text, Berlin) {
            prop_assert!(schedule.next_after(DateTime::UNIX_EPOCH).is_some());
        }
    }
}
