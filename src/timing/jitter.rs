//! Spreads due times, so that a thousand tokens minted together do not fall due together.
//!
//! The offset comes from the token's name alone: a restart, another machine or another version does not change it.

use ring::digest;

use crate::clock::Span;
use crate::names::TokenName;

/// How much earlier than its due time the token `name` is rotated: in `[0, spread)`, in whole milliseconds. A spread
/// of nothing or less gives nothing.
pub fn jitter(name: &TokenName, spread: Span) -> Span {
    let digest = digest::digest(&digest::SHA256, name.as_str().as_bytes());
    let hash = digest.as_ref().iter().take(8).fold(0u64, |hash, &byte| (hash << 8) | u64::from(byte));
    let spread = u128::try_from(spread.num_milliseconds()).unwrap_or(0);
    // The high half of the product: as even as the hash, without the bias of a remainder.
    let offset = (u128::from(hash) * spread) >> 64;
    i64::try_from(offset).map_or(Span::zero(), Span::milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, spread: Span) -> Span {
        jitter(&name.parse().unwrap(), spread)
    }

    #[test]
    fn the_offset_of_a_name_never_changes() {
        // A changed value here would move every token of every installation at an upgrade.
        assert_eq!(of("gps-ingest", Span::hours(1)), Span::milliseconds(3_263_120));
        assert_ne!(of("gps-ingest", Span::hours(1)), of("gps-admin", Span::hours(1)));
    }

    #[test]
    fn offsets_lie_within_the_spread_and_use_all_of_it() {
        let spread = Span::hours(1);
        let offsets: Vec<_> = (0..1000).map(|n| of(&format!("token-{n}"), spread)).collect();
        assert!(offsets.iter().all(|&offset| offset >= Span::zero() && offset < spread));
        for tenth in 0..10 {
            let from = Span::minutes(6 * tenth);
            let within = offsets.iter().filter(|&&offset| offset >= from && offset < from + Span::minutes(6)).count();
            assert!((60..140).contains(&within), "{within} of 1000 in tenth {tenth}");
        }
    }

    #[test]
    fn no_spread_gives_no_offset() {
        for spread in [Span::zero(), Span::seconds(-5)] {
            assert_eq!(of("gps-ingest", spread), Span::zero());
        }
        assert!(of("gps-ingest", Span::MAX) >= Span::zero());
    }
}
