//! Random bytes of the system: for keys, seeds, and names that must not repeat.

use ring::rand::{SecureRandom as _, SystemRandom};

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system has no random numbers")]
pub struct NoRandomness;

/// Fills `bytes`.
pub fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    SystemRandom::new().fill(bytes).map_err(|_| NoRandomness)
}

/// Random bytes for markers and spread.
///
/// Panics where the system has none: markers that repeat would make one token's orphan another's, so that stopping is
/// the only safe answer.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes).expect("the kernel has random numbers: the journal was opened with some");
    bytes
}

/// A number in `[0, 1)`, for waits that are drawn.
pub fn fraction() -> f64 {
    f64::from(u32::from_be_bytes(bytes())) / (f64::from(u32::MAX) + 1.0)
}
