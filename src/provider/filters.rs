//! The engine that evaluates expressions, and its filters.

use std::sync::LazyLock;

use minijinja::value::Value as Dynamic;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};

use super::sealed_box::seal;
use super::time::to_rfc3339;
use crate::clock::{Span, Time};

/// The one engine: it has the filters of the vocabulary and nothing else.
pub(crate) static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::empty();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.add_filter("rfc3339", |value: Dynamic, digits: Option<u32>| {
        moment(&value, |time| to_rfc3339(time, digits.unwrap_or(0)))
    });
    engine.add_filter("date", |value: Dynamic| moment(&value, |time| time.format("%Y-%m-%d").to_string()));
    engine
        .add_filter("naive_utc", |value: Dynamic| moment(&value, |time| time.format("%Y-%m-%dT%H:%M:%S").to_string()));
    engine.add_filter("utc_text", |value: Dynamic| {
        moment(&value, |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
    });
    engine.add_filter("epoch", |value: Dynamic| moment(&value, |time| time.timestamp()));
    engine.add_filter("epoch_ms", |value: Dynamic| moment(&value, |time| time.timestamp_millis()));
    engine.add_filter("plus_days", |value: Dynamic, days: Option<i64>| plus_days(&value, days));
    engine.add_filter("seconds", |value: Dynamic| whole(&value, 1));
    engine.add_filter("hours", |value: Dynamic| whole(&value, 3600));
    engine.add_filter("days", |value: Dynamic| whole(&value, 86_400));
    engine.add_filter("b64", |value: Dynamic| text(&value, |text| encode(text, false)));
    engine.add_filter("b64url", |value: Dynamic| text(&value, |text| encode(text, true)));
    engine.add_filter("json", |value: Dynamic| {
        serde_json::to_string(&value).map_err(|error| wrong(format!("cannot be written as JSON: {error}")))
    });
    engine.add_filter("line", |value: Dynamic, number: usize| line(&value, number));
    engine.add_filter("last_segment", |value: Dynamic| {
        text(&value, |text| text.rsplit('/').next().unwrap_or_default().to_owned())
    });
    // Each segment of a path encoded, its slashes kept. Nothing of it may lead upwards.
    engine.add_filter("path", |value: Dynamic| path(&value));
    // For services that take secrets sealed to a key of theirs.
    engine.add_filter("sealed_box", |value: Dynamic, key: String| sealed_box(&value, &key));
    // As SQL wants them: the quote is doubled within.
    engine.add_filter("sql_ident", |value: Dynamic| text(&value, |text| format!("\"{}\"", text.replace('"', "\"\""))));
    engine.add_filter("sql_string", |value: Dynamic| text(&value, |text| format!("'{}'", text.replace('\'', "''"))));
    // What begins a tag or an entity in services that read a little HTML.
    engine.add_filter("angles", |value: Dynamic| {
        text(&value, |text| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
    });
    engine.add_filter("raw", |value: Dynamic| text(&value, |text| Dynamic::from_safe_string(text.to_owned())));
    engine
});

/// Every filter.
pub(crate) const FILTERS: &[&str] = &[
    "rfc3339",
    "date",
    "naive_utc",
    "utc_text",
    "epoch",
    "epoch_ms",
    "plus_days",
    "seconds",
    "hours",
    "days",
    "b64",
    "b64url",
    "json",
    "line",
    "last_segment",
    "path",
    "sealed_box",
    "sql_ident",
    "sql_string",
    "angles",
    "raw",
];

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Moments are RFC 3339 text inside of templates.
pub(crate) fn dynamic_time(time: Time) -> Dynamic {
    Dynamic::from(to_rfc3339(time, 9))
}

/// Applies `f` to a moment; null passes through, so that a key without a value is dropped.
fn moment<T: Into<Dynamic>>(value: &Dynamic, f: impl FnOnce(Time) -> T) -> Result<Dynamic, Error> {
    if value.is_none() {
        return Ok(value.clone());
    }
    let time = value.as_str().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    time.map(|time| f(time.to_utc()).into()).ok_or_else(|| wrong("is no moment"))
}

fn plus_days(value: &Dynamic, days: Option<i64>) -> Result<Dynamic, Error> {
    let Some(days) = days else { return Ok(Dynamic::from(())) };
    let span = Span::try_days(days).ok_or_else(|| wrong("too many days"))?;
    let mut late = false;
    let moved = moment(value, |time| {
        time.checked_add_signed(span).map_or_else(
            || {
                late = true;
                Dynamic::from(())
            },
            dynamic_time,
        )
    })?;
    if late { Err(wrong("too many days")) } else { Ok(moved) }
}

/// Seconds in units of `unit` seconds: rounded down, so that no limit is passed, but never to 0, which some services
/// take for "for ever".
fn whole(value: &Dynamic, unit: i64) -> Result<Dynamic, Error> {
    if value.is_none() {
        return Ok(value.clone());
    }
    let seconds = value.as_i64().ok_or_else(|| wrong("is not a number of seconds"))?;
    Ok(Dynamic::from((seconds / unit).max(1)))
}

fn text<T: Into<Dynamic>>(value: &Dynamic, f: impl FnOnce(&str) -> T) -> Dynamic {
    if value.is_none() {
        return value.clone();
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    f(&text).into()
}

/// One line of a text, counted from 1: credentials of two secrets have one on each.
fn line(value: &Dynamic, number: usize) -> Result<Dynamic, Error> {
    let Some(text) = value.as_str() else { return Ok(value.clone()) };
    let line = number.checked_sub(1).and_then(|index| text.lines().nth(index));
    line.map(|line| Dynamic::from(line.trim())).ok_or_else(|| wrong(format!("has no line {number}")))
}

/// The text sealed to a public key in base64 (X25519), so that only the holder of its secret half can read it, as base64.
fn sealed_box(value: &Dynamic, key: &str) -> Result<Dynamic, Error> {
    let Some(text) = value.as_str() else { return Ok(value.clone()) };
    seal(text.as_bytes(), key).map(|sealed| Dynamic::from(encode_bytes(&sealed))).map_err(wrong)
}

/// A path with its slashes; every other character that is not unreserved is encoded.
fn path(value: &Dynamic) -> Result<Dynamic, Error> {
    let Some(text) = value.as_str() else { return Ok(value.clone()) };
    if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(wrong("is no path: its segments are separated by single slashes, and none is `.` or `..`"));
    }
    let mut encoded = String::with_capacity(text.len());
    for (number, segment) in text.split('/').enumerate() {
        encoded.extend((number > 0).then_some('/'));
        percent_encode(&mut encoded, segment);
    }
    Ok(Dynamic::from_safe_string(encoded))
}

fn encode_bytes(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn encode(text: &str, url: bool) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    if url { URL_SAFE_NO_PAD.encode(text) } else { STANDARD.encode(text) }
}

/// Everything but the unreserved characters of RFC 3986 section 2.3.
pub(super) fn percent_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(byte.into());
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)].into());
            out.push(DIGITS[usize::from(byte & 15)].into());
        }
    }
}
