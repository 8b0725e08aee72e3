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
//! with ten seconds left within a second. Once the token is dead a minute bounds the wait; there is no giving up.
//!
//! Law: nobody's wait, and no provider's `Retry-After`, goes past the last tenth of the life that is left without one more
//! try; while consumers have nothing that works, no wait is longer than a minute. A success of the account ends the wait
//! of its tokens: see [`crate::rotation::decide`].

use crate::clock::{Span, Time};

/// The ceiling after the first failure.
const BASE: Span = Span::seconds(1);
/// No wait is longer.
pub const LONGEST: Span = Span::hours(1);
/// No wait is longer while consumers have nothing that works.
pub const LONGEST_OVER: Span = Span::minutes(1);
/// No wait is shorter: a token in its last second must not become a flood of requests.
const SHORTEST: Span = Span::milliseconds(500);

/// Requests that stops of our own broke off count as at most so many failures in a row, which is a ceiling of four seconds:
/// they say nothing of the provider.
pub const STOPS: u32 = 3;

/// How long consumers hold something that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// They hold nothing that works.
    Over,
    /// For so long, which is more than nothing.
    For(Span),
    /// Nobody knows of an end.
    Endless,
}

impl Life {
    /// The life that is over in `left`.
    pub fn of(left: Span) -> Self {
        if left > Span::zero() { Self::For(left) } else { Self::Over }
    }
}

/// The wait before the next attempt, after `attempts` failures in a row (at least one). `draw` is a random number in
/// `[0, 1)`.
pub fn next(attempts: u32, life: Life, draw: f64) -> Span {
    let cap = match life {
        Life::Over => LONGEST_OVER,
        Life::For(left) => (left / 10).clamp(SHORTEST, LONGEST),
        Life::Endless => LONGEST,
    };
    // 2^12 seconds exceed the longest wait.
    let doublings = attempts.saturating_sub(1).min(12);
    let ceiling = (BASE * (1 << doublings)).min(cap);
    share(ceiling, draw).max(SHORTEST)
}

/// How much of a wait that somebody else asks for is granted.
pub fn granted(asked: Span, life: Life) -> Span {
    let cap = match life {
        Life::Over => LONGEST_OVER,
        Life::For(left) => (left - left / 10).clamp(SHORTEST, LONGEST),
        Life::Endless => LONGEST,
    };
    asked.min(cap)
}

/// When the next attempt is, after one that failed `now`. `not_before`: the provider wants none before.
pub fn until(now: Time, attempts: u32, life: Life, not_before: Option<Time>, draw: f64) -> Time {
    let own = next(attempts, life, draw);
    let asked = not_before.map_or(Span::zero(), |not_before| granted(not_before - now, life));
    now + own.max(asked)
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
    fn ceiling(attempts: u32, life: Life) -> i64 {
        (next(attempts, life, 0.999_999_9) + Span::milliseconds(1)).num_seconds()
    }

    #[test]
    fn ceilings_double_up_to_an_hour() {
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600];
        for (attempts, expected) in (1..).zip(expected) {
            assert_eq!(ceiling(attempts, Life::Endless), expected, "after {attempts} failures");
        }
        assert_eq!(ceiling(u32::MAX, Life::Endless), 3600);
        assert_eq!(ceiling(0, Life::Endless), 1);
    }

    #[test]
    fn the_life_that_is_left_lowers_the_ceiling() {
        for (sentence, left, expected) in [
            ("ten days leave the hour", Span::days(10), 3600),
            ("an hour leaves six minutes", Span::hours(1), 360),
            ("ten seconds leave one", Span::seconds(10), 1),
            ("death leaves a minute", Span::zero(), 60),
            ("so does long death", Span::days(-3), 60),
        ] {
            assert_eq!(ceiling(20, Life::of(left)), expected, "{sentence}");
        }
        assert_eq!(next(20, Life::For(Span::milliseconds(1)), 0.9), SHORTEST, "no flood in the last second");
    }

    #[test]
    fn what_a_provider_asks_for_is_granted_up_to_the_last_tenth() {
        let now = Time::UNIX_EPOCH;
        for (sentence, asked, life, expected) in [
            ("a day with 20 s of life left", 86_400, Life::For(Span::seconds(20)), 18),
            ("a day with nothing that works", 86_400, Life::Over, 60),
            ("a day of one that never ends", 86_400, Life::Endless, 3600),
            ("ten minutes with an hour left", 600, Life::For(Span::hours(1)), 600),
            ("ten seconds with nothing that works", 10, Life::Over, 10),
            ("a moment that has passed", -10, Life::Endless, 1),
        ] {
            let next = until(now, 1, life, Some(now + Span::seconds(asked)), 0.999_999_9);
            assert_eq!((next - now + Span::milliseconds(1)).num_seconds(), expected, "{sentence}");
        }
    }

    proptest! {
        #[test]
        fn waits_stay_within_bounds(attempts: u32, left in proptest::option::of(any::<i32>()), draw in 0.0..1.0f64) {
            let life = left.map_or(Life::Endless, |left| Life::of(Span::seconds(left.into())));
            let wait = next(attempts, life, draw);
            prop_assert!(wait >= SHORTEST && wait <= LONGEST);
            let asked = granted(Span::days(400), life);
            match life {
                Life::Over => prop_assert!(wait <= LONGEST_OVER && asked <= LONGEST_OVER),
                Life::For(left) if left > SHORTEST => prop_assert!(asked <= left && wait <= left),
                Life::For(_) | Life::Endless => prop_assert!(asked <= LONGEST),
            }
        }
    }
}
