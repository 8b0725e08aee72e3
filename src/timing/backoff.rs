//! How long to wait after a failure: exponential with full jitter, and never so long that the token dies waiting.
//!
//! The ceilings, with at least ten hours left, and the time gone by when each is reached (the waits themselves are
//! drawn between nothing and the ceiling, so on average half of that time has gone by):
//!
//! | failures | ceiling | gone by | failures | ceiling | gone by |
//! | --- | --- | --- | --- | --- | --- |
//! | 1 | 1 s | 1 s | 8 | 2 min 8 s | 4 min 15 s |
//! | 2 | 2 s | 3 s | 9 | 4 min 16 s | 8 min 31 s |
//! | 3 | 4 s | 7 s | 10 | 8 min 32 s | 17 min 3 s |
//! | 4 | 8 s | 15 s | 11 | 17 min 4 s | 34 min 7 s |
//! | 5 | 16 s | 31 s | 12 | 34 min 8 s | 1 h 8 min |
//! | 6 | 32 s | 1 min 3 s | 13 | 1 h | 2 h 8 min |
//! | 7 | 1 min 4 s | 2 min 7 s | 14 and more | 1 h | one more hour each |
//!
//! Less time left lowers the ceiling to a tenth of it: a token with an hour left is tried again within six minutes, one
//! with ten seconds left within a second. Once the token is dead only the hour bounds the wait; there is no giving up.

use crate::clock::Span;

/// The ceiling after the first failure.
const BASE: Span = Span::seconds(1);
/// No wait is longer.
const LONGEST: Span = Span::hours(1);
/// No wait is shorter: a token in its last second must not become a flood of requests.
const SHORTEST: Span = Span::milliseconds(100);

/// The wait before the next attempt, after `attempts` failures in a row (at least one).
///
/// `time_left` is how long the current token still lives; `None`, nothing or less: unknown, for ever, or dead. `draw`
/// is a random number in `[0, 1)`.
pub fn next(attempts: u32, time_left: Option<Span>, draw: f64) -> Span {
    let cap = match time_left {
        Some(left) if left > Span::zero() => (left / 10).clamp(SHORTEST, LONGEST),
        _ => LONGEST,
    };
    // 2^12 seconds exceed the longest wait.
    let doublings = attempts.saturating_sub(1).min(12);
    let ceiling = (BASE * (1 << doublings)).min(cap);
    share(ceiling, draw).max(SHORTEST)
}

/// The part `draw` of `span`, in whole milliseconds.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an hour has 3.6e6 milliseconds")]
fn share(span: Span, draw: f64) -> Span {
    Span::milliseconds((span.num_milliseconds() as f64 * draw.clamp(0.0, 1.0)) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The longest wait that can be drawn, to the second.
    fn ceiling(attempts: u32, time_left: Option<Span>) -> i64 {
        (next(attempts, time_left, 0.999_999_9) + Span::milliseconds(1)).num_seconds()
    }

    #[test]
    fn ceilings_double_up_to_an_hour() {
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600];
        for (attempts, expected) in (1..).zip(expected) {
            assert_eq!(ceiling(attempts, None), expected, "after {attempts} failures");
        }
        assert_eq!(ceiling(u32::MAX, None), 3600);
        assert_eq!(ceiling(0, None), 1);
    }

    #[test]
    fn the_time_left_lowers_the_ceiling() {
        for (sentence, left, expected) in [
            ("ten days leave the hour", Some(Span::days(10)), 3600),
            ("an hour leaves six minutes", Some(Span::hours(1)), 360),
            ("ten seconds leave one", Some(Span::seconds(10)), 1),
            ("death lifts it again", Some(Span::zero()), 3600),
            ("so does long death", Some(Span::days(-3)), 3600),
        ] {
            assert_eq!(ceiling(20, left), expected, "{sentence}");
        }
        assert_eq!(next(20, Some(Span::milliseconds(1)), 0.9), SHORTEST);
    }

    proptest! {
        #[test]
        fn waits_stay_within_bounds(attempts: u32, left in proptest::option::of(any::<i32>()), draw in 0.0..1.0f64) {
            let wait = next(attempts, left.map(|left| Span::seconds(left.into())), draw);
            prop_assert!(wait >= SHORTEST && wait <= LONGEST);
        }
    }
}
