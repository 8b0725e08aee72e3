//! `[[token]]`.

use chrono::DateTime;

use crate::clock::Time;
use crate::document::{Found, Located, Reader, Spot};
use crate::names::{RemoteId, TokenName};
use crate::secret::SecretSource;

use super::each;
use super::hook::{self, HookSpec};
use super::short::{self, UnitSpec};
use super::source::{SOURCES, place_table, source};
use super::store::{self, StoreSpec};
use super::{AccountSpec, ParamsSpec, PolicySpec, params};

/// One token.
#[derive(Debug)]
pub struct TokenSpec {
    /// The table, for problems of all of it.
    pub spot: Spot,
    pub name: Option<Located<TokenName>>,
    pub account: Option<Located<String>>,
    pub policy: PolicySpec,
    pub paused: bool,
    pub params: ParamsSpec,
    pub initial: Option<InitialSpec>,
    pub stores: Vec<StoreSpec>,
    pub hooks: Vec<HookSpec>,
    /// Services that are told, before the hooks.
    pub units: Vec<UnitSpec>,
    /// Nothing of it was misunderstood: advice about what it lacks makes sense.
    pub sound: bool,
}

/// `initial = { file, id, name, expires }`.
#[derive(Debug)]
pub struct InitialSpec {
    pub spot: Spot,
    pub source: Option<SecretSource>,
    pub parts: Vec<(Located<String>, SecretSource)>,
    pub id: Option<Located<RemoteId>>,
    pub name: Option<Located<String>>,
    pub expires: Option<Located<Time>>,
}

impl TokenSpec {
    /// Takes a token apart, and the account that it has alone, where one stands in it.
    pub fn decode(name: Option<Located<TokenName>>, reader: Reader<'_>) -> (Self, Option<AccountSpec<'_>>) {
        let errors = reader.report().errors();
        let reader = match &name {
            Some(name) => reader.named(format!("token \"{}\"", name.value)),
            None => reader,
        };
        // What it says was done before: each of its names has a table of its own.
        reader.take(each::KEY);
        let (account, own) = short::account(&reader, name.as_ref());
        let mut stores = store::short(&reader);
        stores.extend(
            reader.tables("stores", format_args!("a store of {}", reader.what())).into_iter().filter_map(store::store),
        );
        let mut spec = Self {
            spot: reader.spot(),
            name,
            account,
            policy: PolicySpec::decode(&reader),
            paused: reader.bool("paused").is_some_and(|paused| paused.value),
            params: params(&reader),
            initial: initial(&reader),
            stores,
            units: short::units(&reader),
            hooks: reader
                .tables("hooks", format_args!("a hook of {}", reader.what()))
                .into_iter()
                .filter_map(hook::hook)
                .collect(),
            sound: false,
        };
        let report = reader.report();
        reader.finish();
        spec.sound = report.errors() == errors;
        (spec, own)
    }
}

/// A name of tokens; reports what is none.
pub(super) fn name(reader: &Reader<'_>, text: &Located<String>) -> Option<Located<TokenName>> {
    match text.value.parse() {
        Ok(value) => Some(Located { value, spot: text.spot }),
        Err(error) => {
            reader.report().error(text.spot, format!("\"{}\" is not a valid token name: {error}", text.value));
            None
        }
    }
}

fn initial(reader: &Reader<'_>) -> Option<InitialSpec> {
    let table = place_table(reader, "initial", reader.take("initial")?)?;
    let spot = table.spot();
    let id = table.parsed("id", str::parse::<RemoteId>);
    let name = table.string("name");
    let expires = expires(&table);
    let parts = parts(&table);
    // A token that is only watched needs no secret; a key that nobody knows may be a misspelt source.
    let marks = ["id", "name", "expires"];
    let secretless = table.entries().next().is_some() && table.entries().all(|(key, _)| marks.contains(&key.value));
    let source = if secretless { None } else { source(&table, &SOURCES, &[]) };
    table.finish();
    (secretless || source.is_some()).then_some(InitialSpec { spot, source, parts, id, name, expires })
}

/// `parts = { refresh_token = { file = "/path" } }`.
fn parts(table: &Reader<'_>) -> Vec<(Located<String>, SecretSource)> {
    let Some(named) = table.table("parts", format_args!("`parts` of {}", table.what())) else { return Vec::new() };
    let part = |(name, found): (Located<&str>, Found<'_>)| {
        let place = place_table(&named, "a part", found)?;
        let source = source(&place, &SOURCES, &[]);
        place.finish();
        Some((name.map(str::to_owned), source?))
    };
    named.entries().filter_map(part).collect()
}

/// RFC 3339, as text or as TOML's own date.
fn expires(table: &Reader<'_>) -> Option<Located<Time>> {
    let found = table.take("expires")?;
    let text = found.to_json();
    let time = text.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    if time.is_none() {
        let message = format!("`expires` of {} is not a time with a zone", table.what());
        table.report().error_with_help(found.spot(), message, "write for example 2027-01-31T00:00:00Z");
    }
    time.map(|time| Located { value: time.to_utc(), spot: found.spot() })
}
