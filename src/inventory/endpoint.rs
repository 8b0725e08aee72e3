//! Where requests go, with which credential, and what they are held to: what accounts have in common, whatever they are
//! for.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::names::TokenName;
use crate::secret::SecretSource;
use crate::trust::RootSource;

/// The part of an `[account.NAME]` that says nothing of what is asked there.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointPolicy {
    /// The address that templates call `base_url`, without a slash at its end.
    pub url: Url,
    pub credential: Credential,
    pub rate_limit: Option<RateLimit>,
    /// Trust roots in PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
    pub timeouts: Timeouts,
    /// Answers with more bytes are refused.
    pub max_response: usize,
    /// Requests under way at once.
    pub max_in_flight: usize,
}

impl EndpointPolicy {
    /// What its server proves itself with. None: the connection is not encrypted.
    pub fn roots(&self) -> Option<RootSource> {
        let source = || self.ca_file.clone().map_or(RootSource::System, RootSource::File);
        (self.url.scheme() == "https").then(source)
    }
}

/// What an account authenticates with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A secret from outside.
    Secret(SecretSource),
    /// A user name and a password from outside.
    Basic { username: String, password: SecretSource },
    /// A token that patrold itself keeps fresh.
    Token(TokenName),
    /// Nothing: the provider's definition has no request that the account makes itself.
    Nothing,
}

/// At most `requests` in any span of `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub requests: u32,
    pub per: Duration,
}

/// How long each phase of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection, TLS included, stands.
    pub connect: Duration,
    /// From the request's last byte to the answer's head.
    pub headers: Duration,
    /// From the answer's head to its last byte.
    pub body: Duration,
}
