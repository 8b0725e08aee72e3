//! How far a provider's clock is from ours, told from the `Date` headers of its answers. Pure.
//!
//! Expiries are set by the provider's clock and watched with ours; a wrong clock on either side would let a token die
//! early. One `Date` header is good for about a second, so samples are smoothed. The header may be a proxy's, or that of
//! one node of many: it is one witness among several, and [`crate::provider::ProviderClock`] weighs them.

use reqwest::header::{AGE, DATE, HeaderMap};

use crate::clock::{Span, Time};

/// A difference beyond this deserves a warning.
pub const WORRYING: Span = Span::seconds(30);

/// Samples further than this from the estimate are not noise: a clock was set, or another machine answered.
const NOISE: Span = Span::seconds(5);

/// So long must answers agree on another time before it is believed that a clock was set.
const CONFIRMED: Span = Span::minutes(1);

/// Slower answers say too little about the moment at which their head was written.
const SLOWEST: Span = Span::seconds(20);

/// The estimate: the provider's clock minus ours. Positive where the provider is ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew {
    estimate: Option<Span>,
    /// A sample beyond the noise, and when it was seen first; believed when others agree with it for long enough.
    outlier: Option<(Span, Time)>,
}

impl Skew {
    /// The best estimate, once there was a usable answer.
    pub fn span(self) -> Option<Span> {
        self.estimate
    }

    /// Whether the difference is large enough to warn.
    pub fn is_worrying(self) -> bool {
        self.estimate.is_some_and(|skew| skew.abs() > WORRYING)
    }

    /// The estimate after one more sample, taken at `now`.
    #[must_use]
    pub fn with(self, sample: Span, now: Time) -> Self {
        let near = |other: Span| (sample - other).abs() <= NOISE;
        match (self.estimate, self.outlier) {
            (Some(estimate), _) if near(estimate) => {
                Self { estimate: Some(estimate + (sample - estimate) / 4), outlier: None }
            }
            (Some(_), Some((outlier, since))) if near(outlier) && since <= now => {
                let believed = now - since >= CONFIRMED;
                if believed { Self { estimate: Some(sample), outlier: None } } else { self }
            }
            (Some(_), _) => Self { outlier: Some((sample, now)), ..self },
            (None, _) => Self { estimate: Some(sample), outlier: None },
        }
    }
}

/// What the head of one answer says, between `sent` and `received` on our clock; `None` where it says nothing usable.
pub fn sample(headers: &HeaderMap, sent: Time, received: Time) -> Option<Span> {
    // An answer out of a cache carries the date at which the cache got it.
    if headers.contains_key(AGE) || received < sent || received - sent > SLOWEST {
        return None;
    }
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = chrono::DateTime::parse_from_rfc2822(date).ok()?.to_utc();
    // The header cuts the fraction of the second off: on average half of one.
    let theirs = date + Span::milliseconds(500);
    let ours = sent + (received - sent) / 2;
    Some(theirs - ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Time {
        Time::UNIX_EPOCH + Span::milliseconds(millis)
    }

    #[test]
    fn a_date_header_is_compared_with_the_middle_of_the_exchange() {
        for (sentence, date, age, sent, received, millis) in [
            ("same clock", "Thu, 01 Jan 1970 00:00:10 GMT", false, 10_400, 10_600, Some(0)),
            ("they are ahead", "Thu, 01 Jan 1970 00:01:10 GMT", false, 10_400, 10_600, Some(60_000)),
            ("they are behind", "Thu, 01 Jan 1970 00:00:00 GMT", false, 10_000, 11_000, Some(-10_000)),
            ("too slow to tell", "Thu, 01 Jan 1970 00:00:10 GMT", false, 0, 21_000, None),
            ("our clock was set meanwhile", "Thu, 01 Jan 1970 00:00:10 GMT", false, 10_600, 10_400, None),
            ("out of a cache", "Thu, 01 Jan 1970 00:00:10 GMT", true, 10_400, 10_600, None),
            ("not a date", "yesterday", false, 10_400, 10_600, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.parse().unwrap());
            if age {
                headers.insert(AGE, "3".parse().unwrap());
            }
            let told = sample(&headers, at(sent), at(received));
            assert_eq!(told, millis.map(Span::milliseconds), "{sentence}");
        }
        assert_eq!(sample(&HeaderMap::new(), at(0), at(0)), None, "no header");
    }

    #[test]
    fn samples_are_smoothed_and_a_set_clock_is_believed_after_a_minute() {
        for (sentence, samples, expected) in [
            ("nothing seen", &[][..], None),
            ("the first one counts", &[(0, 400)], Some(400)),
            ("noise is damped", &[(0, 0), (1, 400)], Some(100)),
            ("one stray answer changes nothing", &[(0, 0), (1, 90_000)], Some(0)),
            ("nor do two in a row", &[(0, 0), (1, 90_000), (2, 90_000)], Some(0)),
            ("nor do two that disagree", &[(0, 0), (1, 90_000), (100, -90_000)], Some(0)),
            ("nor one now and one later", &[(0, 0), (1, 90_000), (2, 0), (100, 90_000)], Some(0)),
            ("answers that agree for a minute do", &[(0, 0), (1, 90_000), (2, 90_100), (61, 90_400)], Some(90_400)),
            ("our clock was set back meanwhile", &[(0, 0), (99, 90_000), (1, 90_000), (62, 90_400)], Some(90_400)),
        ] {
            let skew = samples.iter().fold(Skew::default(), |skew, (second, millis)| {
                skew.with(Span::milliseconds(*millis), at(second * 1000))
            });
            assert_eq!(skew.span(), expected.map(Span::milliseconds), "{sentence}");
        }
    }

    #[test]
    fn half_a_minute_is_worrying_in_both_directions() {
        for (seconds, worrying) in [(0, false), (30, false), (31, true), (-31, true)] {
            assert_eq!(Skew::default().with(Span::seconds(seconds), at(0)).is_worrying(), worrying, "{seconds}");
        }
        assert!(!Skew::default().is_worrying());
    }
}
