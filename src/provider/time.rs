//! Moments as providers write them.
//!
//! Each service has its own form, and some have several; the forms here are those that were seen. Years up to 9999 are
//! read: with its default settings AWX answers the year 3026, beyond what 64 bits of nanoseconds hold.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Timelike as _, Utc};
use serde_json::Value;

use super::ProviderTime;
use crate::clock::{Span, Time};
use crate::secret::Secret;

/// How an answer writes a moment. The variants are the words of `format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `2030-01-02T03:04:05Z`, with up to nine digits of a fraction and any offset, also `+0000`.
    Rfc3339,
    /// `2030-01-02T03:04:05`, meant in UTC.
    NaiveUtc,
    /// `2030-01-02 03:04:05 UTC` or `+0000`.
    UtcText,
    /// `2030-01-02`: the beginning of that day in UTC.
    Date,
    /// `Wed, 02 Jan 2030 03:04:05 +0000` or `GMT`.
    Rfc2822,
    /// Seconds since 1970.
    Epoch,
    /// Milliseconds since 1970.
    EpochMs,
    /// Seconds from now on.
    Seconds,
    /// Milliseconds from now on.
    Milliseconds,
    /// RFC 3339, else a moment without offset, else seconds or milliseconds since 1970.
    Auto,
}

impl Format {
    /// Every format with its word.
    pub(crate) const WORDS: &'static [(&'static str, Self)] = &[
        ("rfc3339", Self::Rfc3339),
        ("naive_utc", Self::NaiveUtc),
        ("utc_text", Self::UtcText),
        ("date", Self::Date),
        ("rfc2822", Self::Rfc2822),
        ("epoch", Self::Epoch),
        ("epoch_ms", Self::EpochMs),
        ("seconds", Self::Seconds),
        ("milliseconds", Self::Milliseconds),
        ("auto", Self::Auto),
    ];

    /// Whether it counts from the answer on, so that no clock of the provider's is part of it.
    pub(super) fn is_relative(self) -> bool {
        matches!(self, Self::Seconds | Self::Milliseconds)
    }

    /// The moment that `value` stands for, or `None` where it is not of this form.
    pub(crate) fn read(self, value: &Value, now: Time) -> Option<Time> {
        let text = value.as_str().map(str::trim);
        match self {
            Self::Rfc3339 => rfc3339(text?),
            Self::NaiveUtc => naive(text?),
            Self::UtcText => utc_text(text?),
            Self::Date => midnight(text?),
            Self::Rfc2822 => DateTime::parse_from_rfc2822(text?).ok().map(|time| time.to_utc()),
            Self::Epoch => DateTime::from_timestamp(integer(value)?, 0),
            Self::EpochMs => DateTime::from_timestamp_millis(integer(value)?),
            Self::Seconds => now.checked_add_signed(Span::try_seconds(integer(value)?)?),
            Self::Milliseconds => now.checked_add_signed(Span::try_milliseconds(integer(value)?)?),
            Self::Auto => match text {
                Some(text) => rfc3339(text).or_else(|| naive(text)).or_else(|| guess_epoch(integer(value)?)),
                None => guess_epoch(integer(value)?),
            },
        }
    }
}

/// Integers of an `auto` format from here on are milliseconds: as seconds this would be the year 5138, as milliseconds
/// it is 1973.
const FIRST_MILLISECONDS: u64 = 100_000_000_000;

fn guess_epoch(number: i64) -> Option<Time> {
    if number.unsigned_abs() < FIRST_MILLISECONDS {
        DateTime::from_timestamp(number, 0)
    } else {
        DateTime::from_timestamp_millis(number)
    }
}

/// A whole number, also one in quotes; a fraction is cut off.
#[allow(clippy::cast_possible_truncation, reason = "a cast from f64 saturates, and a range check follows")]
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|number| number.trunc() as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn rfc3339(text: &str) -> Option<Time> {
    // %.f is none to nine digits; %#z is Z, +00:00, +0000 and +00.
    ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"]
        .iter()
        .find_map(|form| DateTime::parse_from_str(text, form).ok())
        .map(|time| time.to_utc())
}

fn naive(text: &str) -> Option<Time> {
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|time| time.and_utc())
}

fn utc_text(text: &str) -> Option<Time> {
    match text.strip_suffix("UTC") {
        Some(front) => naive(front.trim_end()),
        None => DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f %z").ok().map(|time| time.to_utc()),
    }
}

fn midnight(text: &str) -> Option<Time> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| date.and_time(NaiveTime::MIN).and_utc())
}

/// An HTTP date, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7, the form that senders must use).
pub(crate) fn http_date(text: &str) -> Option<Time> {
    NaiveDateTime::parse_from_str(text.trim(), "%a, %d %b %Y %H:%M:%S GMT").ok().map(|time| time.and_utc())
}

/// RFC 3339 in UTC with `digits` digits of a fraction, cut, not rounded.
pub(crate) fn to_rfc3339(time: Time, digits: u32) -> String {
    let whole = time.to_rfc3339_opts(SecondsFormat::Secs, true);
    if digits == 0 {
        return whole;
    }
    // A leap second is written as a fraction beyond 999,999,999; it is cut to the last moment of the second.
    let fraction = format!("{:09}", time.nanosecond().min(999_999_999));
    let digits = digits.min(9) as usize;
    format!("{}.{}Z", whole.trim_end_matches('Z'), &fraction[..digits])
}

/// When `secret` expires by its own account, where it is a JSON web token.
pub fn claimed_expiry(secret: &Secret) -> Option<ProviderTime> {
    jwt_claims(secret.expose()).map(|claims| ProviderTime::told(claims.expires))
}

/// The moments that a JSON web token claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) expires: Time,
    pub(super) issued: Option<Time>,
}

/// The claims `exp` and `iat` of a JSON web token, where `token` is one that decodes cleanly and has the former (RFC 7519).
/// The signature is not looked at: this is the provider's own token, read for its dates.
pub(super) fn jwt_claims(token: &str) -> Option<Claimed> {
    use base64::Engine as _;
    let mut parts = token.split('.');
    let (header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let decode = |part: &str| {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes).ok()
    };
    decode(header)?.contains_key("alg").then_some(())?;
    let claims = decode(claims)?;
    let moment = |name: &str| DateTime::<Utc>::from_timestamp(integer(claims.get(name)?)?, 0);
    Some(Claimed { expires: moment("exp")?, issued: moment("iat") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn time(text: &str) -> Time {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn moments_are_read_as_providers_write_them() {
        let now = time("2030-01-02T03:04:05Z");
        let rows = [
            ("six digits, year 3026", "rfc3339", json!("3026-03-24T18:15:39.262783Z"), "3026-03-24T18:15:39.262783Z"),
            ("no fraction", "rfc3339", json!("2026-11-21T18:15:39Z"), "2026-11-21T18:15:39Z"),
            ("nine digits", "rfc3339", json!("2026-11-21T18:15:39.123456789Z"), "2026-11-21T18:15:39.123456789Z"),
            ("offset with colon", "rfc3339", json!("2026-11-21T19:15:39+01:00"), "2026-11-21T18:15:39Z"),
            ("offset without colon", "rfc3339", json!("2026-11-21T18:15:39.000+0000"), "2026-11-21T18:15:39Z"),
            ("end of time", "rfc3339", json!("9999-12-31T23:59:59Z"), "9999-12-31T23:59:59Z"),
            ("naive", "naive_utc", json!("2030-02-03T04:05:06"), "2030-02-03T04:05:06Z"),
            ("text with UTC", "utc_text", json!("2030-02-03 04:05:06 UTC"), "2030-02-03T04:05:06Z"),
            ("text with offset", "utc_text", json!("2030-02-03 04:05:06 -0100"), "2030-02-03T05:05:06Z"),
            ("date", "date", json!("2030-02-03"), "2030-02-03T00:00:00Z"),
            ("mail date", "rfc2822", json!("Sun, 03 Feb 2030 04:05:06 -0000"), "2030-02-03T04:05:06Z"),
            ("epoch", "epoch", json!(1_893_553_445), "2030-01-02T03:04:05Z"),
            ("epoch in quotes", "epoch", json!("1893553445"), "2030-01-02T03:04:05Z"),
            ("epoch with fraction", "epoch", json!(1_893_553_445.9), "2030-01-02T03:04:05Z"),
            ("epoch beyond 2262", "epoch", json!(33_325_337_739_i64), "3026-01-14T22:15:39Z"),
            ("epoch in ms", "epoch_ms", json!(1_893_553_445_000_i64), "2030-01-02T03:04:05Z"),
            ("seconds from now", "seconds", json!(3600), "2030-01-02T04:04:05Z"),
            ("milliseconds from now", "milliseconds", json!(600_500), "2030-01-02T03:14:05.5Z"),
            ("auto with offset", "auto", json!("2030-01-02T03:04:05.5Z"), "2030-01-02T03:04:05.5Z"),
            ("auto without offset", "auto", json!("2030-01-02T03:04:05"), "2030-01-02T03:04:05Z"),
            ("auto seconds", "auto", json!(1_893_553_445), "2030-01-02T03:04:05Z"),
            ("auto milliseconds", "auto", json!("1893553445000"), "2030-01-02T03:04:05Z"),
        ];
        for (what, word, value, wanted) in rows {
            let (_, format) = Format::WORDS.iter().find(|(name, _)| *name == word).unwrap();
            assert_eq!(format.read(&value, now), Some(time(wanted)), "{what}");
        }
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        let now = time("2030-01-02T03:04:05Z");
        for value in [json!(null), json!(""), json!("soon"), json!({}), json!([1]), json!(true), json!("2030-13-01")] {
            for (word, format) in Format::WORDS {
                assert_eq!(format.read(&value, now), None, "{word} of {value}");
            }
        }
        for (word, format) in Format::WORDS {
            // Beyond every calendar: no panic, no moment.
            assert_eq!(format.read(&json!(i64::MAX), now), None, "{word}");
            assert_eq!(format.read(&json!(i64::MIN), now), None, "{word}");
            assert_eq!(format.read(&json!(1e300), now), None, "{word}");
        }
    }

    #[test]
    fn fractions_are_cut() {
        let moment = time("2030-01-02T03:04:05.6789Z");
        assert_eq!(to_rfc3339(moment, 0), "2030-01-02T03:04:05Z");
        assert_eq!(to_rfc3339(moment, 3), "2030-01-02T03:04:05.678Z");
        assert_eq!(to_rfc3339(moment, 40), "2030-01-02T03:04:05.678900000Z");
    }

    #[test]
    fn a_clean_json_web_token_tells_its_end() {
        // {"alg":"none"} . {"exp":1893553445}
        let claims = jwt_claims("eyJhbGciOiJub25lIn0.eyJleHAiOjE4OTM1NTM0NDV9.x");
        assert_eq!(claims, Some(Claimed { expires: time("2030-01-02T03:04:05Z"), issued: None }));
        // {"alg":"none"} . {"exp":1893553445,"iat":1893549845}
        let claims = jwt_claims("eyJhbGciOiJub25lIn0.eyJleHAiOjE4OTM1NTM0NDUsImlhdCI6MTg5MzU0OTg0NX0.x").unwrap();
        assert_eq!(claims.issued, Some(time("2030-01-02T02:04:05Z")));
        for text in ["", "a.b.c", "eyJhbGciOiJub25lIn0.eyJleHAiOjE4OTM1NTM0NDV9", "eyJhbGciOiJub25lIn0.bm90anNvbg.x"] {
            assert_eq!(jwt_claims(text), None, "{text}");
        }
    }
}
