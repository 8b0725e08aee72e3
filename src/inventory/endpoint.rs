//! Where requests go, with which credential, and what they are held to: what accounts have in common, whatever they are
//! for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::inventory::values::{is_loopback, is_name_of_loopback};
use crate::names::TokenName;
use crate::secret::SecretSource;
use crate::trust::TlsPolicy;

/// The part of an `[account.NAME]` that says nothing of what is asked there.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointPolicy {
    /// The address that templates call `base_url`, without a slash at its end.
    pub url: Url,
    /// Where connections go, where that is not where `url` says.
    pub connect_to: Option<ConnectTo>,
    pub credential: Credential,
    pub rate_limit: Option<RateLimit>,
    /// How both sides of an encrypted connection prove themselves.
    pub tls: TlsPolicy,
    pub proxy: ProxyPolicy,
    /// Headers that every request carries besides, by name, with the source of their value.
    pub headers: BTreeMap<String, SecretSource>,
    pub timeouts: Timeouts,
    /// Answers with more bytes are refused.
    pub max_response: usize,
    /// Requests under way at once.
    pub max_in_flight: usize,
}

impl EndpointPolicy {
    /// Whether requests reach this machine itself, and nothing on a network.
    pub fn is_local(&self) -> bool {
        self.connect_to.as_ref().map_or_else(|| is_loopback(&self.url), ConnectTo::is_local)
    }

    /// How both sides prove themselves. None: the connection is not encrypted.
    pub fn tls(&self) -> Option<&TlsPolicy> {
        (self.url.scheme() == "https").then_some(&self.tls)
    }

    /// Every source of a secret that its requests need.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        let credential = match &self.credential {
            Credential::Secret(source) | Credential::Basic { password: source, .. } => Some(source),
            Credential::Token(_) | Credential::Nothing => None,
        };
        credential.into_iter().chain(self.proxy.login()).chain(self.headers.values())
    }
}

/// Where connections go in place of the host of a URL, whose name the server still proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectTo {
    /// This name or address; the port is the URL's unless it is given.
    Host { host: String, port: Option<u16> },
    /// A socket of this machine.
    Socket(PathBuf),
}

impl ConnectTo {
    /// Whether nobody else can listen there or on the way.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Host { host, .. } => {
                host.parse::<IpAddr>().map_or_else(|_| is_name_of_loopback(host), |address| address.is_loopback())
            }
            Self::Socket(_) => true,
        }
    }
}

impl fmt::Display for ConnectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port: None } => f.write_str(host),
            Self::Host { host, port: Some(port) } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port: Some(port) } => write!(f, "{host}:{port}"),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

/// How a single request reaches an address that is no account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SitePolicy {
    pub tls: TlsPolicy,
    pub proxy: ProxyPolicy,
    /// Headers that it carries besides, by name, with the source of their value.
    pub headers: BTreeMap<String, SecretSource>,
    /// How long each of connection, answer's head and body may take.
    pub timeout: Duration,
}

/// Which proxy requests go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyPolicy {
    /// The one that `HTTPS_PROXY` and its like name, if any.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Never,
    /// This one, which may want a user name and a password.
    Through { url: Url, login: Option<(String, SecretSource)> },
}

impl SitePolicy {
    /// Every source of a secret that it needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        self.proxy.login().into_iter().chain(self.headers.values())
    }
}

impl ProxyPolicy {
    /// The password that it wants.
    pub fn login(&self) -> Option<&SecretSource> {
        match self {
            Self::Through { login: Some((_, password)), .. } => Some(password),
            Self::Through { .. } | Self::Environment | Self::Never => None,
        }
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
