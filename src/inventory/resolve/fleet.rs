//! `[fleet]`.

use std::time::Duration;

use url::Url;

use crate::document::Located;
use crate::inventory::spec::{EngineSpec, FleetSpec, PlaceSpec};
use crate::inventory::values::is_loopback;
use crate::inventory::{EnginePlace, EngineSettings, FleetSettings, defaults};
use crate::names::{FleetName, NameError, ReplicaName};

use super::Context;
use super::account::{absolute, tls};
use super::postgres;

/// The shortest lease, and the longest. Below, a slow disk of the engine takes accounts away; above, tokens wait long.
const LEASE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// The settings of the fleet. `None` where something is wrong with them.
pub(super) fn resolve(spec: &FleetSpec, context: &Context<'_>) -> Option<FleetSettings> {
    let name = spec.name.as_ref().and_then(|text| name(text, context));
    let lease = lease(spec.lease.as_ref(), "[fleet]", context);
    let shared = |text: &Located<String>| absolute(text, "`shared-paths` of [fleet]", context);
    Some(FleetSettings {
        host: host(spec, context)?,
        lease,
        next_seal_key: spec.next_seal_key.clone(),
        shared_paths: spec.shared_paths.iter().filter_map(shared).collect(),
        engine: engine(spec.engine.as_ref()?, "`engine` of [fleet]", context)?,
        name: name?,
    })
}

/// The name of a fleet.
pub(super) fn name(text: &Located<String>, context: &Context<'_>) -> Option<FleetName> {
    let invalid = |error| format!("\"{}\" is not a valid fleet name: {error}", text.value);
    text.value.parse().map_err(|error: NameError| context.report.error(text.spot, invalid(error))).ok()
}

/// The lease that stands in the table `what`.
pub(super) fn lease(given: Option<&Located<Duration>>, what: &str, context: &Context<'_>) -> Duration {
    let lease = given.map_or(defaults::LEASE, |lease| lease.value);
    if let Some(given) = given.filter(|_| lease < LEASE.0 || lease > LEASE.1) {
        let help = format!("15s suits most; the shortest is {}s", LEASE.0.as_secs());
        context.report.error_with_help(given.spot, format!("`lease` of {what} must be from 2s to 60s"), help);
    }
    lease
}

fn host(spec: &FleetSpec, context: &Context<'_>) -> Option<ReplicaName> {
    let (text, spot) = match &spec.host {
        Some(host) => (host.value.clone(), host.spot),
        None => (context.around.host.map(str::to_owned).unwrap_or_default(), spec.spot),
    };
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("\"{text}\" cannot be the name of a replica: {error}");
            let help = "write host = \"web-1\" in [fleet], another one on each host";
            context.report.error_with_help(spot, message, help);
            None
        }
    }
}

/// The engine that messages call `what`.
pub(super) fn engine(spec: &EngineSpec, what: &str, context: &Context<'_>) -> Option<EngineSettings> {
    let tls = tls(&spec.tls, what, context);
    let place = match &spec.place {
        PlaceSpec::Etcd(urls) => EnginePlace::Etcd(members(urls, spec.allow_plaintext, what, context)?),
        PlaceSpec::Postgres(url) => {
            let mut database = postgres::database(url, context)?;
            // What is written about TLS is meant, also where nobody else could listen.
            let near = !spec.has_tls && database.servers.iter().all(postgres::is_near);
            database.encrypted = !near && !spec.allow_plaintext;
            EnginePlace::Postgres(database)
        }
    };
    Some(EngineSettings { place, login: spec.login.clone(), tls })
}

/// The addresses of the members of a cluster.
fn members(
    members: &Located<Vec<Located<String>>>,
    allow_plaintext: bool,
    what: &str,
    context: &Context<'_>,
) -> Option<Vec<Url>> {
    if members.value.is_empty() {
        let help = "write etcd = [\"https://etcd-1.example.com:2379\", …], every member of the cluster";
        context.report.error_with_help(members.spot, format!("`etcd` of {what} names no member"), help);
        return None;
    }
    let urls: Vec<_> = members.value.iter().filter_map(|text| member(text, allow_plaintext, what, context)).collect();
    (urls.len() == members.value.len()).then_some(urls)
}

/// The address of one member.
fn member(text: &Located<String>, allow_plaintext: bool, what: &str, context: &Context<'_>) -> Option<Url> {
    let refuse = |message: &str, help: &str| {
        context.report.error_with_help(text.spot, format!("a member of {what} {message}"), help);
        None
    };
    let form = "write for example \"https://etcd-1.example.com:2379\"";
    let Ok(url) = Url::parse(&text.value) else { return refuse("is not a URL", form) };
    if !url.username().is_empty() || url.password().is_some() {
        context.report.conceal(text.spot);
        return refuse("holds a user name or password", "leave them out and write a `credential`");
    }
    if url.host_str().is_none() || url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return refuse("is more than a scheme, a host and a port", form);
    }
    match url.scheme() {
        "https" => Some(url),
        "http" if allow_plaintext || is_loopback(&url) => Some(url),
        "http" => refuse(
            "is plain http: whoever listens there learns the password of the engine, and may change the journal",
            "use https, or write allow-plaintext = true",
        ),
        _ => refuse("is neither https nor http", form),
    }
}
