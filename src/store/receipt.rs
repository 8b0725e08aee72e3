//! What is remembered of a write, and whose a value is that is found later. Pure.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::clock::{Span, Time};
use crate::names::{Evidence, GenerationNo, RotationId, StoreKey, TokenName, hex};
use crate::outcome::Told;
use crate::secret::{Fingerprint, SecretParts};

use super::filling::Values;

/// What a store said of a write that it acknowledged. Stored state; holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// What the slot was after the write, in the store's own words. `None`: it has none, or did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

impl Told for Receipt {}

/// One secret on its way to the stores of its token.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub token: &'a TokenName,
    pub generation: GenerationNo,
    /// Counts renewals in place.
    pub revision: u32,
    /// What the delivery belongs to: the same for every attempt.
    pub rotation: RotationId,
    /// Each store gets one of them.
    pub parts: &'a SecretParts,
    /// Values of other tokens, by the names that a template has for them.
    pub others: &'a Values,
}

impl Delivery<'_> {
    /// The same for every attempt to bring this secret to `store`, and another one for every other: an idempotency key.
    pub fn id(&self, store: &StoreKey) -> String {
        let Self { token, generation, revision, rotation, parts: _, others: _ } = self;
        let text = format!("{token}\n{generation}\n{revision}\n{rotation}\n{store}");
        hex(&digest(&SHA256, text.as_bytes()).as_ref()[..16])
    }
}

/// What the journal knows of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Of every secret that is or was a generation of the token, as far as the journal still knows: a slot that holds one
    /// of them holds nobody else's.
    pub ours: Vec<Fingerprint>,
    /// Of the last write that was acknowledged. `None`: there was none.
    pub receipt: Option<Receipt>,
    /// The same of slots that one write brings up to date with this one.
    pub beside: Vec<(StoreKey, Known)>,
    /// When a write was begun of which nobody knows whether it was done: the process was killed, or its acknowledgement
    /// was lost.
    pub begun: Option<Time>,
}

/// How far the clock of a service may be behind ours.
const BEHIND: Span = Span::minutes(5);

impl Known {
    /// Whether a write that was begun accounts for a value that the store does not show. Where what the store says of it
    /// is a time, it must not be of before the write.
    pub fn accounts_for(&self, evidence: Option<&Evidence>) -> bool {
        let told = evidence.and_then(|evidence| evidence.as_str().parse::<Time>().ok());
        self.begun.is_some_and(|begun| told.is_none_or(|told| told + BEHIND >= begun))
    }
}
