//! A credential that was refused, and when it is tried again.

use serde::{Deserialize, Serialize};

use super::patience::{LONGEST_BLOCK, backoff};
use crate::clock::{Span, Time};
use crate::outcome::Failure;
use crate::secret::Fingerprint;

/// A login that was refused is tried again so much later at first. Services lock a user after a few wrong passwords, with
/// all that this user does elsewhere.
const LOGIN_BACKOFF: Span = Span::minutes(5);

/// And so much later at most: unlocking a user changes nothing that could be noticed here.
pub(super) const LONGEST_LOGIN_BACKOFF: Span = LONGEST_BLOCK;

/// What a provider said against a credential.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub credential: Fingerprint,
    /// It is a user's password, with which a login was tried.
    pub guarded: bool,
    /// When it may be tried again, where the provider told.
    pub until: Option<Time>,
    /// In which words.
    pub failure: Failure,
}

/// A credential that the provider refused. Stored state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RefusedCredential {
    pub which: Fingerprint,
    guarded: bool,
    failures: u32,
    pub next_try: Time,
    pub failure: Failure,
}

impl RefusedCredential {
    /// A credential after `refusal`, which was the first one or came after `before`.
    pub fn after(before: Option<&Self>, refusal: Refusal, now: Time) -> Self {
        let Refusal { credential: which, guarded, until, failure } = refusal;
        let failures = match before {
            Some(before) if before.which == which => before.failures.saturating_add(1),
            _ => 1,
        };
        let mut refused = Self { which, guarded, failures, next_try: now, failure };
        let until = until.map_or(now, |until| until.min(now + LONGEST_BLOCK));
        refused.next_try = until.max(now + refused.backoff());
        refused
    }

    /// One request tries it at `slot`; the others keep waiting for what becomes of that.
    pub fn try_at(&mut self, slot: Time) {
        self.next_try = slot + self.backoff();
    }

    /// How long after a failure it is tried again.
    fn backoff(&self) -> Span {
        if self.guarded { login_backoff(self.failures) } else { backoff(self.failures) }
    }
}

/// 5 min, 10 min, 20 min, 40 min, and [`LONGEST_LOGIN_BACKOFF`] in the end: three attempts in half an hour.
fn login_backoff(failures: u32) -> Span {
    (LOGIN_BACKOFF * (1 << failures.clamp(1, 8).saturating_sub(1))).min(LONGEST_LOGIN_BACKOFF)
}
