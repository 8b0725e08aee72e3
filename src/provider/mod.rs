//! How to talk to a service, as data: a definition says which requests mint, list, verify, renew and revoke a token,
//! and how to read the answers. This module interprets definitions that [`crate::definition`] has read; nothing here
//! opens a connection or reads a clock.

mod abilities;
mod answer;
mod classify;
mod discovery;
mod extract;
pub(crate) mod filters;
pub(crate) mod format;
mod items;
mod jwt;
pub(crate) mod lifetime;
pub mod lint;
mod login;
pub(crate) mod model;
mod moment;
pub(crate) mod naming;
mod page;
pub(crate) mod params;
pub mod putting;
pub mod question;
pub(crate) mod request;
pub(crate) mod resolved;
mod sealed_box;
mod sigv4;
pub mod slots;
mod steps;
pub mod survey;
pub(crate) mod template;
pub(crate) mod time;
mod values;

#[cfg(test)]
pub(crate) mod tests;

pub use abilities::Abilities;
pub use classify::{Limited, retry_after};
pub use discovery::Candidate;
pub use login::Session;
pub use model::{Limit, Pace, StoreRules};
#[cfg(test)]
pub(crate) use moment::shown_ahead;
pub use moment::{AGREEMENT, ProviderClock, ProviderTime, Received};
pub use params::{ParamKind, ParamSpec, Params};
pub use request::redactor;
pub use resolved::{Capabilities, Checked, Contract, DefaultPolicy, Provider, Server};
pub use time::claimed_expiry;

use std::collections::BTreeMap;
use std::fmt;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::clock::{Span, Time};
use crate::names::{Marker, RemoteId};
use crate::outcome::{Failure, Told};
use crate::secret::{Redactor, Secret, SecretParts};

/// When a token ends. Stored state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expiry {
    /// At this moment.
    At(ProviderTime),
    /// The provider says: never.
    Never,
    /// Nobody could tell so far.
    Unknown,
}

impl Expiry {
    /// At a moment of which nothing is known but what was told.
    pub fn told(time: Time) -> Self {
        Self::At(ProviderTime::told(time))
    }

    /// The moment as it was told, where there is one.
    pub fn as_told(self) -> Option<Time> {
        self.moment().map(ProviderTime::as_told)
    }

    /// The same on our clock, by what its own answer showed of the clocks.
    pub fn here(self) -> Option<Time> {
        self.moment().map(ProviderTime::here)
    }

    /// The moment, where there is one.
    pub fn moment(self) -> Option<ProviderTime> {
        match self {
            Self::At(moment) => Some(moment),
            Self::Never | Self::Unknown => None,
        }
    }
}

/// What a definition can do: the first five with tokens, the others with the slots of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Mint,
    List,
    Verify,
    Renew,
    Revoke,
    /// Tells whether a target is where it is meant to be, and changes nothing.
    Probe,
    /// Shows what a target holds.
    Read,
    /// Shows what many targets hold, so that each need not be asked for.
    Survey,
    /// Fetches what a write needs besides the value.
    Prepare,
    /// Makes a target that is not there yet.
    Create,
    /// Writes slots of a target.
    Write,
    /// Takes a slot out of a target.
    Delete,
}

impl Operation {
    /// Those of a store.
    pub const OF_STORES: [Self; 7] =
        [Self::Probe, Self::Read, Self::Survey, Self::Prepare, Self::Create, Self::Write, Self::Delete];

    /// Those of a provider.
    pub const OF_PROVIDERS: [Self; 5] = [Self::Mint, Self::List, Self::Verify, Self::Renew, Self::Revoke];

    /// The word for it, which is also the name of its table in a definition.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mint => "mint",
            Self::List => "list",
            Self::Verify => "verify",
            Self::Renew => "renew",
            Self::Revoke => "revoke",
            Self::Probe => "probe",
            Self::Read => "read",
            Self::Survey => "survey",
            Self::Prepare => "prepare",
            Self::Create => "create",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }

    /// Whether it writes to a store.
    pub fn puts(self) -> bool {
        matches!(self, Self::Create | Self::Write | Self::Delete)
    }

    /// Whether what it shows, or is answered with, may hold secrets that nobody knows yet.
    pub(crate) fn shows_secrets(self) -> bool {
        matches!(self, Self::Mint | Self::Renew | Self::Read | Self::Survey | Self::Create | Self::Write | Self::Delete)
    }
}

/// Whose secret authenticates an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The account's credential.
    Account,
    /// The token that the operation is about.
    Subject,
    /// Nobody's.
    Nobody,
}

/// What may be done after a request whose answer never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    /// Sending it again is harmless.
    Retry,
    /// Look for the marker first.
    ListFirst,
    /// Sending it again does damage: somebody has to look.
    NeverRetry,
}

/// A secret that authenticates, with the user name where it has one.
#[derive(Clone, Debug)]
pub struct Identity {
    pub username: Option<String>,
    pub secret: SecretParts,
}

/// What a mint or a renewal asks for.
#[derive(Clone, Debug)]
pub struct MintRequest {
    /// Goes into the new token's name or description.
    pub marker: Marker,
    /// The lifetime to ask for; `None` leaves it to the provider.
    pub lifetime: Option<Span>,
}

/// The token that an operation is about, as far as the provider needs to be told.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub id: Option<RemoteId>,
    /// The text that carries the marker at the provider.
    pub name: Option<String>,
    /// Further captures of the mint, such as its own URL.
    pub facts: BTreeMap<String, String>,
    /// Its secret, where the operation needs it (renew, self-revoke).
    pub secret: Option<SecretParts>,
}

/// Everything that the templates of one request may name.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// Now on the clock that judges what the request says of moments: the provider's.
    pub now: Time,
    pub base_url: &'a Url,
    pub params: &'a Params,
    /// The account's credential. Operations whose role is [`Role::Subject`] never look at it: they authenticate with
    /// the secret of `subject`.
    pub identity: Option<&'a Identity>,
    pub mint_request: Option<&'a MintRequest>,
    /// The secret that a new token is to have, where the provider lets the caller choose it.
    pub chosen: Option<&'a Secret>,
    pub subject: Option<&'a Subject>,
    /// Where a listing goes on.
    pub page: Option<&'a Cursor>,
    /// What is written to a store.
    pub putting: Option<&'a putting::Putting<'a>>,
    pub quote: Quote<'a>,
}

/// What of a provider's own words a failure quotes.
#[derive(Clone, Copy, Debug)]
pub enum Quote<'a> {
    /// None: what the answer means is all that is asked.
    Nothing,
    /// Whatever it says, but for the secrets of the request.
    Request,
    /// The same, but for these secrets as well.
    Clean(&'a Redactor),
}

/// Where a listing goes on; opaque outside of this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// The next page is at this address, already checked to be of the same origin.
    Url(Url),
    /// The number of the next page.
    Number(u64),
    /// Entries to skip.
    Offset(u64),
    /// What the provider said.
    Token(String),
}

/// A request ready to be sent.
pub struct Request {
    pub method: Method,
    pub url: Url,
    /// A form of the URL that may be logged.
    pub log_url: String,
    /// Sensitive values are marked as such.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.log_url)
    }
}

/// An answer as it came: complete, within the size limit, and not yet believed.
#[derive(Clone)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

/// A new token, as the answer to a mint told of it.
#[derive(Clone, Debug)]
pub struct Minted {
    pub secret: SecretParts,
    pub remote: Remote,
    /// What could not be read although the definition captures it: warnings, never a lost secret.
    pub unread: Vec<String>,
    /// The token exists, but must not be used: it is somebody else's, or the answer calls itself a failure. It is to be
    /// revoked.
    pub rejection: Option<crate::outcome::Failure>,
}

/// What a provider says of one token, without its secret. Stored state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    pub id: Option<RemoteId>,
    pub expires: Expiry,
    /// The last moment at which a renewal in place is possible (Commvault: refresh token's expiry).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_expires: Option<ProviderTime>,
    /// Renewals in place end here for good (Commvault: renewable until).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewable_until: Option<ProviderTime>,
    /// Further captures, such as the token's own URL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub remote: Remote,
    /// The text that would carry our marker.
    pub name: Option<String>,
    /// The definition's predicate says that it is revoked, disabled or expired although it is still listed.
    pub dead: bool,
    pub created: Option<ProviderTime>,
    pub last_used: Option<ProviderTime>,
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// These are all entries of the page. If not, they were more than it may cost to keep.
    pub whole: bool,
    pub next: Option<Cursor>,
}

/// What a provider says when a token presents itself.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is accepted; what the answer told of it besides.
    Alive { id: Option<RemoteId>, expires: Option<Expiry> },
    /// It is certainly not accepted.
    Dead(crate::outcome::Failure),
}

impl Told for Minted {
    fn rejection(&mut self) -> Option<&mut Failure> {
        self.rejection.as_mut()
    }
}

impl Told for Verdict {
    fn rejection(&mut self) -> Option<&mut Failure> {
        match self {
            Self::Dead(failure) => Some(failure),
            Self::Alive { .. } => None,
        }
    }
}

impl Told for Gone {}
impl Told for Page {}
impl Told for Session {}

/// What became of a revocation that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The provider took it back now.
    Revoked,
    /// The provider did not know it any more: its answer says so of the token itself.
    Already,
    /// The provider says that something is not there, which may as well be the place where the token is.
    Unproven,
}
