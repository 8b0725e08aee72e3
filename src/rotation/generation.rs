//! One generation of a token, and what failed about it. Stored state.

use serde::{Deserialize, Serialize};

use crate::clock::{Span, Time};
use crate::few::Few;
use crate::journal::SecretSlot;
use crate::names::{AccountName, GenerationNo, Marker, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Params, Remote};
use crate::secret::Fingerprint;

/// One minted instance of a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Its number; the first is 1, one that was adopted 0.
    pub number: GenerationNo,
    /// The account that minted it, and that can revoke it, whatever the inventory says later.
    pub account: AccountName,
    /// What it was minted with. None for an adopted secret.
    pub params: Option<Params>,
    /// Counts renewals in place.
    pub revision: u32,
    /// None for an adopted secret.
    pub marker: Option<Marker>,
    /// What the provider said of it.
    pub remote: Remote,
    /// When it was minted, or adopted.
    pub minted_at: Time,
    /// When the present secret was issued: `minted_at`, or the last renewal.
    pub issued_at: Time,
    /// Keyed hashes of its secret's parts, by part.
    pub fingerprints: Few<String, Fingerprint>,
    /// An operator said then that others have its secret: it is replaced, and revoked without grace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised: Option<Time>,
    /// A renewal, or a mint that gave this token again, had no known outcome then: the token may have another secret, which
    /// nobody holds, and a new life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reissue_unknown: Option<Time>,
}

/// A request may still take effect so long after its answer was given up.
const LATE: Span = Span::hours(1);

impl Generation {
    /// Where the journal keeps its secret; `token` is whose generation it is.
    pub fn slot(&self, token: &TokenName) -> SecretSlot {
        SecretSlot { token: token.clone(), generation: self.number, revision: self.revision }
    }

    /// Whether there is a secret of it at all: a token that is only watched may be known by its id alone.
    pub fn has_secret(&self) -> bool {
        self.params.is_some() || !self.fingerprints.is_empty()
    }

    /// Whether anybody knows when its secret was issued: of one that was adopted, nobody does.
    pub fn knows_issue(&self) -> bool {
        self.params.is_some() || self.revision > 0
    }

    /// Whether the death of its secret in the journal is the death of the token.
    ///
    /// Law: after a reissue of unknown outcome the token may live with a secret that nobody holds. It is gone by a dead entry
    /// in a listing, by proven absence, or by the end of the longest life that it may have; never by its old secret.
    pub fn secret_tells(&self) -> bool {
        self.reissue_unknown.is_none()
    }

    /// How much later than told it may end: a secret that a reissue of unknown outcome made lives as long as the one before,
    /// from then on.
    pub fn may_outlive(&self) -> Span {
        self.reissue_unknown.map_or(Span::zero(), |at| (at - self.issued_at).max(Span::zero()) + LATE)
    }
}

/// Failed attempts, and when the next one is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Consecutive failures.
    pub attempts: u32,
    /// When the first of them was.
    pub since: Time,
    /// Why it failed last.
    pub failure: Failure,
    /// When it is tried again.
    pub next: Time,
    /// When the last of them was. Journals of older versions do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

impl Retry {
    /// Whether the last failure was before `time`.
    pub fn failed_before(&self, time: Time) -> bool {
        self.at.unwrap_or(self.since) < time
    }

    /// Whether a better credential, or better trust roots, may help. An attempt that a stop withdrew tells nothing: the one
    /// before it may have lacked them.
    pub fn lacked_credential(&self) -> bool {
        use FailureCode::{AccountLocked, Forbidden, NoCredential, SecretRefused, Unauthorized, Withdrawn};
        let code = self.failure.code;
        matches!(code, Unauthorized | SecretRefused | AccountLocked | Forbidden | NoCredential | Withdrawn)
            || code.is_of_tls()
    }
}

/// A failure with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noted {
    /// When it happened.
    pub at: Time,
    /// What failed.
    pub failure: Failure,
}
