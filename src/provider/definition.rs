//! A definition after its names were bound and its templates compiled: what the rest of patrold asks of it.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::HeaderMap;
use url::Url;

use super::{Gone, Minted, Operation, Page, Redactor, Request, Response, Role, Values, Verdict};
use crate::clock::{Span, Time};
use crate::document::Reader;
use crate::names::ProviderName;
use crate::outcome::{Failure, Outcome};

/// How far a definition was proven. Also the words of `checked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Written from the vendor's documents.
    Docs,
    /// Run against recorded or imitated answers.
    Mock,
    /// Run against the service itself.
    Live,
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

/// What a provider can do, for `provider show` and for plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, each shown as one line of a table")]
pub struct Capabilities {
    /// The caller chooses how long a new token lives.
    pub chooses_lifetime: bool,
    /// Tokens can be listed.
    pub lists: bool,
    /// A listing shows the marker, so a token whose secret was lost can be found.
    pub marks: bool,
    /// A new token comes with an id.
    pub has_id: bool,
    pub verifies: bool,
    pub revokes: bool,
    /// A token can be renewed in place.
    pub renews: bool,
    /// The account must not have two tokens of one name.
    pub unique_name: bool,
    /// Old and new live side by side after a mint.
    pub overlap: bool,
    /// Old and new secret live side by side after a renewal.
    pub renewal_overlaps: bool,
    /// Some answer tells when a token expires.
    pub expiry_known: bool,
    /// A listing tells when a token was last used.
    pub last_used: bool,
}

/// What kind of value a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    Url,
    String,
    Integer,
    Bool,
    List,
    Json,
}

/// A parameter that a definition declares.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    pub kind: ParamKind,
    /// `None`: the inventory must give it, unless it is optional.
    pub default: Option<serde_json::Value>,
    /// May be left out without a default; its template key is then dropped.
    pub optional: bool,
    /// The only values allowed, where the definition lists them.
    pub choices: Vec<serde_json::Value>,
    /// One sentence for `provider show`.
    pub about: String,
    pub example: Option<serde_json::Value>,
}

impl ParamSpec {
    /// Whether the inventory may give `value`; the error completes "parameter `x` …".
    pub fn accept(&self, value: &serde_json::Value) -> Result<(), String> {
        let _ = value;
        unimplemented!()
    }
}

/// A definition after its names were bound and its templates compiled.
#[derive(Debug)]
pub struct Provider {
    pub name: ProviderName,
    pub title: String,
    /// Addresses of the vendor's pages that the definition was written from.
    pub docs: Vec<String>,
    pub checked: Checked,
    /// What the account's credential must be allowed to do.
    pub credential: String,
    /// What becomes of the old token when a new one is minted or renewed.
    pub old_token: String,
    /// Further things to know.
    pub notes: Vec<String>,
    pub params: BTreeMap<String, ParamSpec>,
}

impl PartialEq for Provider {
    /// Two definitions are the same when their sources are.
    fn eq(&self, _other: &Self) -> bool {
        unimplemented!()
    }
}

impl Provider {
    /// The address used where the inventory gives none.
    pub fn default_url(&self) -> Option<&Url> {
        unimplemented!()
    }

    /// Whether the definition describes `operation`.
    pub fn has(&self, operation: Operation) -> bool {
        let _ = operation;
        unimplemented!()
    }

    /// Whose secret authenticates `operation`.
    pub fn role(&self, operation: Operation) -> Role {
        let _ = operation;
        unimplemented!()
    }

    /// What the provider can do, as far as the definition says.
    pub fn capabilities(&self) -> Capabilities {
        unimplemented!()
    }

    /// The names of the parts of a secret, `token` first.
    pub fn secret_parts(&self) -> Vec<&str> {
        unimplemented!()
    }

    /// The parameters that a listing depends on: tokens that agree in them share one listing.
    pub fn listing_params(&self) -> BTreeSet<String> {
        unimplemented!()
    }

    /// How long after its request a lost mint may still come to appear in listings.
    pub fn mint_settle(&self) -> Span {
        unimplemented!()
    }

    /// How long to wait after a mint before the new token is tried.
    pub fn verify_settle(&self) -> Span {
        unimplemented!()
    }

    /// How long before its expiry a token is best renewed in place, where the definition has a hint.
    pub fn renew_lead(&self) -> Option<Span> {
        unimplemented!()
    }

    /// What may be done after `operation` got no answer.
    pub fn on_timeout(&self, operation: Operation) -> OnTimeout {
        let _ = operation;
        unimplemented!()
    }

    /// The text of the definition.
    pub fn source(&self) -> &str {
        unimplemented!()
    }

    /// This definition with the operations of `table` (`[revoke]`, `[list]`, …) added or put in place of its own.
    /// `None` where something is wrong with them; the report of `table` then says what.
    pub fn with_operations(&self, table: &Reader<'_>) -> Option<Self> {
        let _ = table;
        unimplemented!()
    }

    /// The request of `operation`.
    pub fn render(&self, operation: Operation, values: &Values<'_>) -> Result<Request, Failure> {
        let _ = (operation, values);
        unimplemented!()
    }

    /// What the answer to a mint says.
    pub fn read_mint(&self, values: &Values<'_>, response: &Response, now: Time) -> Outcome<Minted> {
        let _ = (values, response, now);
        unimplemented!()
    }

    /// What one page of a listing says; `values.page` is the cursor that it was asked for with.
    pub fn read_page(&self, values: &Values<'_>, response: &Response, now: Time) -> Outcome<Page> {
        let _ = (values, response, now);
        unimplemented!()
    }

    /// What the answer to a token that presented itself says.
    pub fn read_verify(&self, values: &Values<'_>, response: &Response, now: Time) -> Outcome<Verdict> {
        let _ = (values, response, now);
        unimplemented!()
    }

    /// What the answer to a renewal in place says. Parts that the answer leaves out keep the subject's values.
    pub fn read_renew(&self, values: &Values<'_>, response: &Response, now: Time) -> Outcome<Minted> {
        let _ = (values, response, now);
        unimplemented!()
    }

    /// What the answer to a revocation says.
    pub fn read_revoke(&self, values: &Values<'_>, response: &Response, now: Time) -> Outcome<Gone> {
        let _ = (values, response, now);
        unimplemented!()
    }
}

/// The secrets of a request, in the forms in which an answer may echo them.
pub fn redactor(values: &Values<'_>) -> Redactor {
    let _ = values;
    unimplemented!()
}

/// The moment before which the provider does not want to be asked again: `Retry-After` in seconds or as an HTTP date,
/// at most 24 hours from `now`.
pub fn retry_after(headers: &HeaderMap, now: Time) -> Option<Time> {
    let _ = (headers, now);
    unimplemented!()
}
