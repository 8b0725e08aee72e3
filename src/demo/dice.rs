//! Repeatable randomness: the faults of a run can be drawn again from its seed.

/// The splitmix64 generator. Not for secrets that protect anything: the loopback provider's tokens open nothing.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "there is no end of them")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True in `rate` of all cases, 0 to 1.
    pub fn hits(&mut self, rate: f64) -> bool {
        // The top 53 bits fill the mantissa of an f64 exactly.
        #[allow(clippy::cast_precision_loss)]
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        share < rate
    }

    /// An element of `choices`, if there is any.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(choices.len()).ok()?;
        let index = self.next().checked_rem(count)?;
        choices.get(usize::try_from(index).ok()?)
    }

    /// `length` letters and digits.
    pub fn text(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).filter_map(|_| self.pick(LETTERS)).map(|letter| char::from(*letter)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_dice() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        assert_eq!(one.text(40), other.text(40));
        assert_ne!(one.text(40), Dice::new(8).text(40));
    }

    #[test]
    fn a_rate_is_kept_roughly() {
        let mut dice = Dice::new(1);
        let hits = (0..10_000).filter(|_| dice.hits(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!(!dice.hits(0.0));
        assert!(dice.hits(1.0));
    }
}
