//! `[account.NAME]`.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::definition;
use crate::document::{Located, NoPath, Reader, Spot};
use crate::inventory::spec::{AccountSpec, ConnectToSpec, CredentialSpec, RateLimitSpec, SiteSpec, TlsSpec, TokenSpec};
use crate::inventory::values::is_loopback;
use crate::inventory::{
    AccountPolicy, ConnectTo, Credential, EndpointPolicy, ProxyPolicy, RateLimit, SitePolicy, Timeouts, defaults,
};
use crate::names::AccountName;
use crate::provider::{Pace, Provider};
use crate::secret::SecretSource;

use crate::trust::{ClientCertificate, TlsPolicy};

use super::{Accounts, Context, params};

/// Every account.
pub(super) fn resolve(
    specs: Vec<AccountSpec<'_>>,
    tokens: &HashMap<&str, &TokenSpec>,
    context: &Context<'_>,
) -> Accounts {
    let mut accounts = Accounts::new();
    let mut places: HashMap<AccountName, Spot> = HashMap::new();
    for spec in specs {
        let name = spec.name.clone();
        if let Some(first) = places.get(&name.value) {
            context.twice(name.spot, &format!("account \"{}\"", name.value), *first);
            continue;
        }
        places.insert(name.value.clone(), name.spot);
        accounts.insert(name.value, account(spec, tokens, context).map(Arc::new));
    }
    accounts
}

/// Finds the credentials that are where they are by convention: `credentials/ACCOUNT` beside the file of an account that
/// does not say where its credential is.
pub(super) fn find_kept(specs: &mut [AccountSpec<'_>], context: &Context<'_>) {
    for spec in specs.iter_mut().filter(|spec| !spec.has_credential) {
        let needs = |name: &Located<String>| context.around.definitions.get(&name.value);
        let needs = spec.provider.as_ref().and_then(needs).is_some_and(|provider| provider.needs_credential());
        let Some(path) = spec.kept.clone().filter(|path| needs && (context.around.is_file)(path)) else { continue };
        let source = SecretSource::File(path);
        spec.credential = Some(Located { value: CredentialSpec::Secret(source), spot: spec.spot });
        spec.has_credential = true;
    }
}

fn account(
    mut spec: AccountSpec<'_>,
    tokens: &HashMap<&str, &TokenSpec>,
    context: &Context<'_>,
) -> Option<AccountPolicy> {
    let what = format!("account \"{}\"", spec.name.value);
    let connect_to = spec.connect_to.as_ref().map(|to| connect_to(to, &spec, &what, context));
    let safe = connect_to.as_ref().map(|to| to.as_ref().is_none_or(ConnectTo::is_local));
    let url = spec.url.as_ref().map(|text| url(text, (spec.allow_plaintext, safe), &what, context));
    let credential = spec.credential.as_ref().map(|credential| self::credential(credential, tokens, &what, context));
    let tls = tls(&spec.tls, &what, context);
    let operations = spec.operations.take();
    let provider = provider(&spec, operations, &what, context);
    if let Some(provider) = &provider {
        params::check(&spec.params, provider, &what, context);
        let own = spec.params.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect();
        let gives = |name: &str| spec.params.iter().any(|(given, _)| given.value == name);
        params::check_bonds(&spec.params, &own, gives, provider, &what, context);
    }
    if !spec.has_credential && provider.as_ref().is_none_or(|provider| provider.needs_credential()) {
        let help = format!("keep it in credentials/{} beside this file, or say where it is", spec.name.value);
        context.report.error_with_help(spec.spot, format!("{what} lacks `credential`"), help);
    }
    let provider = provider?;
    let credential = match credential {
        None if !spec.has_credential => Some(Credential::Nothing),
        credential => credential.flatten(),
    };
    let url = match url {
        Some(url) => url?,
        None => default_url(&provider, &what, spec.spot, context)?,
    };
    let connect_to = match connect_to {
        Some(to) => Some(fitting(to?, &url, &spec, &what, context)?),
        None => None,
    };
    // What the vendor of a store tells, where the inventory says nothing else.
    let pace = provider.store().and_then(|store| store.pace).map(|Pace { requests, per }| RateLimit { requests, per });
    Some(AccountPolicy {
        name: spec.name.value,
        settle: spec.settle.unwrap_or(provider.mint_settle()),
        provider,
        endpoint: EndpointPolicy {
            connect_to,
            url: without_slash(url),
            credential: credential?,
            rate_limit: spec.rate_limit.map(|RateLimitSpec { requests, per }| RateLimit { requests, per }).or(pace),
            tls,
            proxy: spec.proxy.unwrap_or_default(),
            headers: spec.dress.into_iter().collect(),
            timeouts: Timeouts {
                connect: spec.connect.unwrap_or(defaults::CONNECT_TIMEOUT),
                headers: spec.headers.unwrap_or(defaults::HEADERS_TIMEOUT),
                body: spec.body.unwrap_or(defaults::BODY_TIMEOUT),
            },
            max_response: spec.max_response.map_or(defaults::MAX_RESPONSE, |bytes| bytes.value),
            max_in_flight: spec.max_in_flight.unwrap_or(defaults::MAX_IN_FLIGHT),
        },
        params: spec.params.into_iter().map(|(name, value)| (name.value, value.value)).collect(),
        poll_every: spec.poll_every.unwrap_or(defaults::POLL_EVERY),
    })
}

/// How a single request reaches an address.
pub(super) fn site(spec: &SiteSpec, timeout: Duration, what: &str, context: &Context<'_>) -> SitePolicy {
    SitePolicy {
        tls: tls(&spec.tls, what, context),
        proxy: spec.proxy.clone().unwrap_or_default(),
        headers: spec.dress.iter().cloned().collect(),
        timeout,
    }
}

/// `tls`, whose files are read once to see that they can be used. What is wrong with one is told, and leaves it out.
pub fn tls(spec: &TlsSpec, what: &str, context: &Context<'_>) -> TlsPolicy {
    let path = |text: &Option<Located<String>>, key: &str| {
        text.as_ref().and_then(|text| absolute(text, format_args!("`{key}` of {what}"), context))
    };
    let (certificate, key) =
        (path(&spec.client_certificate, "client-certificate"), path(&spec.client_key, "client-key"));
    let policy = TlsPolicy {
        ca_file: path(&spec.ca_file, "ca-file"),
        system_roots: spec.system_roots,
        client: certificate.zip(key).map(|(certificate, key)| ClientCertificate { certificate, key }),
        pins: spec.pins.clone(),
        only_1_3: spec.only_1_3,
    };
    let own = TlsPolicy { client: None, ..policy.clone() };
    for (place, key, part) in
        [(&spec.ca_file, "ca-file", own), (&spec.client_certificate, "client-certificate", policy.clone())]
    {
        let Some(text) = place else { continue };
        let usable = key == "ca-file" || policy.client.is_some();
        if let Err(error) = if usable { (context.around.roots)(&part) } else { Ok(()) } {
            context.report.error_with_help(text.spot, format!("`{key}` of {what}: {error}"), error.remedy);
            break;
        }
    }
    policy
}

/// The definition that the account names, with the operations that the inventory adds.
fn provider(
    spec: &AccountSpec<'_>,
    operations: Option<Reader<'_>>,
    what: &str,
    context: &Context<'_>,
) -> Option<Arc<Provider>> {
    let name = spec.provider.as_ref()?;
    let Some(provider) = context.around.definitions.get(&name.value) else {
        let names: Vec<&str> = context.around.definitions.names_of(spec.stores).collect();
        let word = if spec.stores { "store" } else { "provider" };
        let message = format!("{what} names an unknown {word} \"{}\"", name.value);
        context.report.error_with_help(name.spot, message, context.hint(&name.value, names.into_iter()));
        return None;
    };
    if provider.store().is_some() != spec.stores {
        let (found, key) = if spec.stores { ("a provider of tokens", "provider") } else { ("a store", "store") };
        let message = format!("{what}: \"{}\" is {found}", name.value);
        context.report.error_with_help(name.spot, message, format!("write {key} = \"{}\"", name.value));
        return None;
    }
    let Some(table) = operations else { return Some(provider) };
    let supplied = definition::with_operations(&provider, &table).map(Arc::new);
    table.finish();
    supplied
}

fn credential(
    spec: &Located<CredentialSpec>,
    tokens: &HashMap<&str, &TokenSpec>,
    what: &str,
    context: &Context<'_>,
) -> Option<Credential> {
    match &spec.value {
        CredentialSpec::Secret(source) => Some(Credential::Secret(source.clone())),
        CredentialSpec::Basic { username, password } => {
            Some(Credential::Basic { username: username.clone(), password: password.clone() })
        }
        CredentialSpec::Token(name) => {
            if let Some(token) = tokens.get(name.value.as_str()).and_then(|token| token.name.as_ref()) {
                return Some(Credential::Token(token.value.clone()));
            }
            // Not repeated, and hidden in the line: it may be the secret itself.
            context.report.conceal(name.spot);
            let help = match context.nearest(&name.value, tokens.keys().copied()) {
                Some(token) => format!("did you mean \"{token}\"?"),
                None => {
                    "`token` takes the name of a [[token]] of this inventory; a secret itself never stands here".into()
                }
            };
            let message = format!("`credential` of {what} names no token of this inventory");
            context.report.error_with_help(name.spot, message, help);
            None
        }
    }
}

fn default_url(provider: &Provider, what: &str, spot: Spot, context: &Context<'_>) -> Option<Url> {
    let url = provider.default_url().cloned();
    if url.is_none() {
        let message = format!("{what} lacks `url`");
        let help = format!("provider \"{}\" has no address of its own; write url = \"https://…\"", provider.name);
        context.report.error_with_help(spot, message, help);
    }
    url
}

/// `connect-to`. A proxy would decide itself where connections go.
fn connect_to(
    to: &Located<ConnectToSpec>,
    spec: &AccountSpec<'_>,
    what: &str,
    context: &Context<'_>,
) -> Option<ConnectTo> {
    if let Some(ProxyPolicy::Through { .. }) = spec.proxy {
        let message = format!("{what} has `connect-to` and `proxy`");
        context.report.error_with_help(to.spot, message, "remove one: a proxy finds the host itself");
        return None;
    }
    Some(match &to.value {
        ConnectToSpec::Host { host, port } => ConnectTo::Host { host: host.clone(), port: *port },
        ConnectToSpec::Socket(path) => {
            let text = Located { value: path.clone(), spot: to.spot };
            ConnectTo::Socket(absolute(&text, format_args!("`connect-to` of {what}"), context)?)
        }
    })
}

/// `to`, where it can be had with `url`.
fn fitting(to: ConnectTo, url: &Url, spec: &AccountSpec<'_>, what: &str, context: &Context<'_>) -> Option<ConnectTo> {
    let refuse = |message: String, help: &str| {
        let spot = spec.connect_to.as_ref().map_or(spec.spot, |to| to.spot);
        context.report.error_with_help(spot, message, help);
        None
    };
    match &to {
        ConnectTo::Host { .. } if url.domain().is_none() => refuse(
            format!("{what} has `connect-to`, and its `url` has an address"),
            "write the name that the server proves into `url`",
        ),
        ConnectTo::Host { port: Some(_), .. } if url.port().is_some() => {
            refuse(format!("`connect-to` and `url` of {what} both name a port"), "leave the port out of one of them")
        }
        _ => Some(to),
    }
}

/// The address of an account: HTTPS, or HTTP where nobody else can listen. `plaintext`: whether HTTP is allowed in any case,
/// and whether what connections go to instead is this machine itself.
pub(super) fn url(
    text: &Located<String>,
    (allow_plaintext, local): (bool, Option<bool>),
    what: &str,
    context: &Context<'_>,
) -> Option<Url> {
    let refuse = |message: &str, help: &str| {
        context.report.error_with_help(text.spot, format!("`url` of {what} {message}"), help);
        None
    };
    let Ok(url) = Url::parse(&text.value) else {
        return refuse("is not a URL", "write for example \"https://api.example.com\"");
    };
    if !url.username().is_empty() || url.password().is_some() {
        context.report.conceal(text.spot);
        return refuse("holds a user name or password", "leave them out and give the account a `credential`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("has a query or a fragment", "end it before \"?\" and \"#\"");
    }
    match url.scheme() {
        "https" => Some(url),
        "http" if allow_plaintext || local.unwrap_or_else(|| is_loopback(&url)) => Some(url),
        "http" => refuse(
            "is plain http: credentials would cross the network unencrypted",
            "use https, or write allow-plaintext = true",
        ),
        _ => refuse("is neither https nor http", "write for example \"https://api.example.com\""),
    }
}

/// Templates put their own slash after `base_url`. A path of nothing but a slash cannot be taken off an HTTP URL.
fn without_slash(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url
}

/// The absolute path that `text` means; `what` says whose it is.
pub(super) fn absolute(text: &Located<String>, what: impl fmt::Display, context: &Context<'_>) -> Option<PathBuf> {
    match context.report.path(text.spot, &text.value) {
        Ok(path) => Some(path),
        Err(NoPath { problem, help }) => {
            context.report.error_with_help(text.spot, format!("{what}, {:?}, {problem}", text.value), help);
            None
        }
    }
}
