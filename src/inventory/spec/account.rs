//! `[account.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Span;
use crate::document::{Located, Reader, Spot};
use crate::inventory::{ProxyPolicy, values};
use crate::names::AccountName;
use crate::secret::SecretSource;

use super::reach::{self, ConnectToSpec, TlsSpec};
use super::source::{self, CredentialSpec};
use super::{ParamsSpec, params};

/// One account.
#[derive(Debug)]
pub struct AccountSpec<'d> {
    pub name: Located<AccountName>,
    /// The table, for problems of all of it.
    pub spot: Spot,
    /// The definition, of a provider or of a store.
    pub provider: Option<Located<String>>,
    /// It is one of a store.
    pub stores: bool,
    pub url: Option<Located<String>>,
    pub connect_to: Option<Located<ConnectToSpec>>,
    pub allow_plaintext: bool,
    pub credential: Option<Located<CredentialSpec>>,
    /// There is one, be it understood or not.
    pub has_credential: bool,
    /// Where the credential is by convention.
    pub kept: Option<PathBuf>,
    pub params: ParamsSpec,
    pub poll_every: Option<Span>,
    pub settle: Option<Span>,
    pub rate_limit: Option<RateLimitSpec>,
    pub tls: TlsSpec,
    pub proxy: Option<ProxyPolicy>,
    /// Headers with the sources of their values.
    pub dress: Vec<(String, SecretSource)>,
    pub connect: Option<Duration>,
    pub headers: Option<Duration>,
    pub body: Option<Duration>,
    pub max_response: Option<Located<usize>>,
    pub max_in_flight: Option<usize>,
    /// Operations in the vocabulary of provider definitions, read by whoever knows it.
    pub operations: Option<Reader<'d>>,
}

/// `rate-limit = { requests, per }`.
#[derive(Clone, Copy, Debug)]
pub struct RateLimitSpec {
    pub requests: u32,
    pub per: Duration,
}

impl<'d> AccountSpec<'d> {
    /// Takes an account apart.
    pub fn decode(name: Located<AccountName>, reader: Reader<'d>) -> Self {
        let timeouts = reader.table("timeouts", format_args!("`timeouts` of {}", reader.what()));
        let timeout = |key| timeouts.as_ref()?.parsed(key, values::timer).map(|found| found.value);
        let (connect, headers, body) = (timeout("connect"), timeout("headers"), timeout("body"));
        let directory = reader.report().directory(reader.spot().source());
        let kept = directory.map(|directory| directory.join("credentials").join(name.value.as_str()));
        let (provider, stores) = definition(&reader);
        let spec = Self {
            name,
            spot: reader.spot(),
            provider,
            stores,
            url: reader.string("url"),
            connect_to: reach::connect_to(&reader),
            allow_plaintext: reader.bool("allow-plaintext").is_some_and(|allow| allow.value),
            has_credential: ["credential", "username", "password"].iter().any(|key| reader.has(key)),
            credential: source::credential(&reader, kept.as_deref()),
            kept,
            params: params(&reader),
            poll_every: reader.parsed("poll-every", values::positive).map(|found| found.value),
            settle: reader.parsed("settle", values::positive).map(|found| found.value),
            rate_limit: rate_limit(&reader),
            tls: TlsSpec::decode(&reader),
            proxy: reach::proxy(&reader),
            dress: reach::headers(&reader),
            connect,
            headers,
            body,
            max_response: max_response(&reader),
            max_in_flight: count(&reader, "max-in-flight").and_then(|n| usize::try_from(n).ok()),
            operations: reader.table("operations", format_args!("`operations` of {}", reader.what())),
        };
        timeouts.into_iter().for_each(Reader::finish);
        reader.finish();
        spec
    }
}

/// The definition that the account names, and whether it is one of a store.
fn definition(reader: &Reader<'_>) -> (Option<Located<String>>, bool) {
    let store = reader.string("store");
    if !reader.has("store") {
        return (reader.required_string("provider"), false);
    }
    if reader.has("provider") {
        let message = format!("{} has both `provider` and `store`", reader.what());
        let help = "give each an account of its own; both may have the same credential";
        reader.report().error_with_help(reader.key_spot("store"), message, help);
        reader.take("provider");
    }
    (store, true)
}

fn rate_limit(reader: &Reader<'_>) -> Option<RateLimitSpec> {
    let table = reader.table("rate-limit", format_args!("`rate-limit` of {}", reader.what()))?;
    table.required("requests");
    let requests = count(&table, "requests");
    table.required("per");
    let per = table.parsed("per", values::timer);
    table.finish();
    Some(RateLimitSpec { requests: requests?, per: per?.value })
}

/// A number of bytes, as a whole number or with a unit.
fn max_response(reader: &Reader<'_>) -> Option<Located<usize>> {
    const KEY: &str = "max-response";
    let found = reader.take(KEY)?;
    let bytes = if found.value().as_str().is_some() {
        reader.parsed(KEY, values::size)?
    } else if found.value().as_integer().is_some() {
        reader.integer(KEY)?.map(|n| usize::try_from(n).unwrap_or_default())
    } else {
        reader.wrong_type(KEY, found, "a number of bytes or a size such as \"8MiB\"");
        return None;
    };
    if bytes.value == 0 {
        reader.report().error(bytes.spot, format!("`{KEY}` of {} must be more than nothing", reader.what()));
        return None;
    }
    Some(bytes)
}

/// A whole number from 1 on.
fn count(reader: &Reader<'_>, key: &'static str) -> Option<u32> {
    let found = reader.integer(key)?;
    let count = u32::try_from(found.value).ok().filter(|count| *count > 0);
    if count.is_none() {
        reader.report().error(found.spot, format!("`{key}` of {} must be a whole number from 1 on", reader.what()));
    }
    count
}
