//! How urgent a token's requests to its provider are.

use crate::clock::Time;
use crate::endpoint::urgency::Urgency;
use crate::rotation::TokenState;
use crate::rotation::life::end;
use crate::rotation::reckoning::Reckoning;

/// How urgent it is what a token asks of its provider.
pub(super) fn urgency(state: &TokenState, reckoning: &Reckoning<'_>) -> Urgency {
    let end = end(state, reckoning);
    if end == Time::MAX_UTC { Urgency::Patient } else { Urgency::By(end) }
}
