//! Secrets in memory: wiped when dropped, never printed, never compared, exposed by one named method.

pub mod keyring;
pub mod random;
pub mod redact;
pub mod source;

pub use redact::Redactor;
pub use source::SecretSource;

use std::collections::BTreeMap;
use std::fmt;

use ring::hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The part that consumers get where a store does not name another.
pub const TOKEN_PART: &str = "token";

/// One secret string.
///
/// Deliberately without `Display`, `Serialize` and `PartialEq`; `Debug` prints a fixed mark.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of `text`; the buffer is wiped when the secret is dropped.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret in clear. Called by request building, store writing, sealing and fingerprinting only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The secret without blanks and line ends around it.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        Self::new(self.0.trim())
    }

    /// True where nothing is left of a secret after trimming: an empty file, a lone newline.
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// A secret with its named parts. `token` is always there; Commvault adds `refresh_token`.
#[derive(Clone)]
pub struct SecretParts {
    token: Secret,
    others: BTreeMap<String, Secret>,
}

impl SecretParts {
    /// A secret of one part.
    pub fn new(token: Secret) -> Self {
        Self { token, others: BTreeMap::new() }
    }

    /// The same secret with one more named part; a part of that name is replaced.
    #[must_use]
    pub fn with(mut self, name: &str, secret: Secret) -> Self {
        if name == TOKEN_PART {
            self.token = secret;
        } else {
            self.others.insert(name.to_owned(), secret);
        }
        self
    }

    /// The main part.
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// The part called `name`.
    pub fn part(&self, name: &str) -> Option<&Secret> {
        if name == TOKEN_PART { Some(&self.token) } else { self.others.get(name) }
    }

    /// Every part with its name, `token` first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        std::iter::once((TOKEN_PART, &self.token))
            .chain(self.others.iter().map(|(name, secret)| (name.as_str(), secret)))
    }
}

impl fmt::Debug for SecretParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// A keyed hash of a secret: tells whether two secrets are the same without holding either.
///
/// The key is the journal's own, so a fingerprint in a status page or a log cannot be used to test guesses.
/// Stored state.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// In hex.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.0)
    }
}

/// Makes fingerprints under one key.
#[derive(Clone)]
pub struct Fingerprinter(hmac::Key);

impl Fingerprinter {
    /// A fingerprinter under `key`, at least 32 random bytes.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The fingerprint of `secret`: the first 16 bytes of its HMAC-SHA-256, in hex.
    pub fn of(&self, secret: &Secret) -> Fingerprint {
        let tag = hmac::sign(&self.0, secret.expose().as_bytes());
        Fingerprint(crate::names::hex(&tag.as_ref()[..16]))
    }

    /// The fingerprints of `value` as it is and without blanks and line ends around it: those are an editor's, or a
    /// script's.
    pub fn readings(&self, value: &Secret) -> [Fingerprint; 2] {
        [self.of(value), self.of(&value.trimmed())]
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_secret() {
        let parts = SecretParts::new(Secret::new("hunter2")).with("refresh_token", Secret::new("hunter3"));
        let shown = format!("{:?} {parts:?}", parts.token());
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn fingerprints_agree_only_for_equal_secrets_under_one_key() {
        let one = Fingerprinter::new(&[1; 32]);
        let other = Fingerprinter::new(&[2; 32]);
        assert_eq!(one.of(&Secret::new("a")), one.of(&Secret::new("a")));
        assert_ne!(one.of(&Secret::new("a")), one.of(&Secret::new("b")));
        assert_ne!(one.of(&Secret::new("a")), other.of(&Secret::new("a")));
    }
}
