//! The text of a cron expression: checked field by field before the cron crate sees it, so that every refusal says
//! what to write instead.

use super::CronError;

/// Names in the order of crontab, where 0 and 7 are Sunday.
const CRONTAB_DAYS: [&str; 8] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Six or seven fields with one blank between them, each of them complete in itself.
pub(super) fn normalise(expression: &str) -> Result<String, CronError> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let weekday = match fields.as_slice() {
        [shorthand] if shorthand.starts_with('@') => return Ok((*shorthand).to_owned()),
        [] => return refuse("the cron expression is empty"),
        [minute, hour, day, month, weekday] => {
            let weekday = named(weekday);
            return refuse(format!(
                "a cron expression has six fields here, seconds first: write \"0 {minute} {hour} {day} {month} {weekday}\""
            ));
        }
        [_, _, _, _, _, weekday] | [_, _, _, _, _, weekday, _] => *weekday,
        _ => {
            return refuse(format!(
                "a cron expression has six fields (second, minute, hour, day of month, month, weekday) or seven \
                 (year); this one has {}",
                fields.len()
            ));
        }
    };
    // The crate's parser lets blanks stand inside a list and needs none between fields: what it would count as a
    // field must be what was counted here.
    if let Some(field) = fields.iter().find(|field| !field.split(',').all(is_item)) {
        return refuse(format!(
            "\"{field}\" is not a cron field: *, numbers, names, a-b, */n and a-b/n are understood, and lists of them \
             with commas; L, W and # are not"
        ));
    }
    check_weekday(weekday)?;
    Ok(fields.join(" "))
}

/// Compiles a normalised expression.
pub(super) fn compile(expression: &str) -> Result<cron::Schedule, CronError> {
    expression.parse().map_err(|error: cron::error::Error| {
        // The crate's text repeats the expression and points into it on several lines; the last one says what is wrong.
        let text = error.to_string();
        let reason = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it cannot be read").trim();
        CronError(format!("\"{expression}\" is not a cron expression: {reason}"))
    })
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CronError> {
    Err(CronError(text.into()))
}

/// One item of a list: `*`, `?`, `a` or `a-b`, each with an optional step.
fn is_item(item: &str) -> bool {
    let (body, step) = item.split_once('/').map_or((item, None), |(body, step)| (body, Some(step)));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Names have three letters at least: a lone L or W is the syntax of other dialects.
    let is_name = |text: &str| text.len() >= 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_body = match body.split_once('-') {
        None => matches!(body, "*" | "?") || is_number(body) || is_name(body),
        Some((from, to)) => (is_number(from) && is_number(to)) || (is_name(from) && is_name(to)),
    };
    is_body && step.is_none_or(is_number)
}

/// Refuses weekday numbers, and ranges across the end of the week, which the crate does not understand.
fn check_weekday(field: &str) -> Result<(), CronError> {
    if field
        .split(',')
        .any(|item| item.split('/').next().is_some_and(|body| body.contains(|c: char| c.is_ascii_digit())))
    {
        return refuse(format!(
            "weekdays are written by name, because cron dialects number them differently: instead of \"{field}\" write \
             \"{}\" if Monday is meant by 1, as in crontab",
            named(field)
        ));
    }
    let spelled = named(field);
    if spelled != field && field.contains('-') {
        return refuse(format!("weeks begin on Sunday here: instead of \"{field}\" write \"{spelled}\""));
    }
    Ok(())
}

/// A weekday field with names instead of crontab's numbers, and lists instead of ranges across the end of the week.
fn named(field: &str) -> String {
    field.split(',').map(named_item).collect::<Vec<_>>().join(",")
}

fn named_item(item: &str) -> String {
    let (body, step) = match item.split_once('/') {
        Some((body, step)) => (body, format!("/{step}")),
        None => (item, String::new()),
    };
    let (from, to) = body.split_once('-').unwrap_or((body, body));
    match (day(from), day(to)) {
        // The last day of a range may be Sunday as 7: after Saturday.
        (Some(from), Some(to)) if from != to && from % 7 > to % 7 => {
            let to = if to < from { to + 7 } else { to };
            (from..=to).map(|day| CRONTAB_DAYS[day % 7]).collect::<Vec<_>>().join(",")
        }
        (Some(_), Some(_)) if body.bytes().any(|byte| byte.is_ascii_digit()) => {
            let name = |text| day(text).map_or(text, |day| CRONTAB_DAYS[day]);
            if body.contains('-') {
                format!("{}-{}{step}", name(from), name(to))
            } else {
                format!("{}{step}", name(from))
            }
        }
        _ => item.to_owned(),
    }
}

/// The crontab number of a weekday given by number or by name.
fn day(text: &str) -> Option<usize> {
    if let Ok(number) = text.parse::<usize>() {
        return (number < CRONTAB_DAYS.len()).then_some(number);
    }
    let short = text.get(..3)?;
    CRONTAB_DAYS.iter().position(|name| name.eq_ignore_ascii_case(short))
}
