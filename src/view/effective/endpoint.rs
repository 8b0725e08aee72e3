//! The tables of accounts and channels.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::value::{quoted, some, source, span, std_span};
use super::{Keys, Section};
use crate::inventory::origin::{Origins, Part};
use crate::inventory::{
    AccountPolicy, ChannelPolicy, Credential, Encryption, MailServer, Post, ProxyPolicy, SitePolicy, Via, When,
    is_loopback,
};
use crate::secret::SecretSource;
use crate::trust::TlsPolicy;

pub(super) fn account(policy: &AccountPolicy, origins: &Origins) -> Section {
    let (name, endpoint) = (policy.name.as_str(), &policy.endpoint);
    let mut keys = Keys::new(origins, Part::Account, name);
    keys.plain("provider", json!(policy.provider.name.as_str()));
    keys.add(&["url"], Some(json!(endpoint.url.as_str())), "definition");
    keys.plain("connect-to", endpoint.connect_to.as_ref().map(|to| json!(to.to_string())));
    let plaintext = endpoint.url.scheme() == "http" && !endpoint.is_local();
    keys.plain("allow-plaintext", plaintext.then_some(Value::Bool(true)));
    let credential = match &endpoint.credential {
        Credential::Secret(secret) => Some(source(secret)),
        Credential::Basic { username, password } => Some(json!({ "username": username, "password": source(password) })),
        Credential::Token(token) => Some(json!({ "token": token.as_str() })),
        Credential::Nothing => None,
    };
    keys.add(&["credential", "username"], credential, "credentials/ beside the inventory");
    keys.plain("params", some(policy.params.iter().map(|(name, value)| (name.clone(), value.clone())).collect()));
    keys.plain("poll-every", span(policy.poll_every));
    keys.add(&["settle"], Some(span(policy.settle)), "definition");
    keys.plain(
        "rate-limit",
        endpoint.rate_limit.map(|limit| json!({ "requests": limit.requests, "per": std_span(limit.per) })),
    );
    keys.plain("tls", some(tls(&endpoint.tls)));
    keys.plain("proxy", proxy(&endpoint.proxy));
    keys.plain("headers", headers(&endpoint.headers));
    let timeouts = &endpoint.timeouts;
    let timeouts = json!({
        "connect": std_span(timeouts.connect), "headers": std_span(timeouts.headers), "body": std_span(timeouts.body),
    });
    keys.plain("timeouts", timeouts);
    keys.plain("max-response", json!(endpoint.max_response));
    keys.plain("max-in-flight", json!(endpoint.max_in_flight));
    keys.section(format!("account.{}", quoted(name)))
}

pub(super) fn channel(policy: &ChannelPolicy, origins: &Origins) -> Section {
    let name = policy.name.as_str();
    let mut keys = Keys::new(origins, Part::Channel, name);
    let When { severity, lasting, kinds, accounts, tokens } = &policy.when;
    let mut when =
        Map::from_iter([("severity".to_owned(), json!(severity.word())), ("for".to_owned(), span(*lasting))]);
    let kinds: Vec<_> = kinds.iter().map(|kind| kind.word()).collect();
    for (key, list) in [("conditions", json!(kinds)), ("accounts", json!(accounts)), ("tokens", json!(tokens))] {
        when.extend((list != json!([])).then(|| (key.to_owned(), list)));
    }
    keys.plain("when", Value::Object(when));
    keys.plain("via", Value::Object(via(&policy.via)));
    let of_form = matches!(&policy.via, Via::Http(web) if web.form.repeat == policy.repeat);
    keys.add(&["repeat"], policy.repeat.map(span), if of_form { "definition" } else { "default" });
    keys.plain("gather", span(policy.gather));
    keys.plain("limit", policy.limit.map(|limit| json!({ "messages": limit.requests, "per": std_span(limit.per) })));
    keys.section(format!("notify.{}", quoted(name)))
}

/// How messages leave.
fn via(via: &Via) -> Map<String, Value> {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Option<Value>| drop(value.map(|value| keys.insert(key.to_owned(), value)));
    match via {
        Via::Http(web) => {
            let own = web.form.own();
            put("definition", own.is_none().then(|| json!(web.form.name)));
            put("form", own);
            put("url", web.url.as_ref().map(|url| json!(url.as_str())));
            let plaintext = web.url.as_ref().is_some_and(|url| url.scheme() == "http" && !is_loopback(url));
            put("allow-plaintext", plaintext.then_some(Value::Bool(true)));
            put("credential", web.credential.as_ref().map(source));
            put("params", (!web.params.is_empty()).then(|| json!(web.params)));
            put_site(&web.site, &mut put);
        }
        Via::Mail(mail) => {
            put("mail", Some(json!(mail.to)));
            put("from", Some(json!(mail.from)));
            match &mail.post {
                Post::Program(argv) => put("sendmail", Some(json!(argv))),
                Post::Server(server) => {
                    put("smtp", Some(json!(server.url())));
                    let local = MailServer::is_local(&server.bracketed());
                    let plaintext = server.encryption == Encryption::WhereOffered && !local;
                    put("allow-plaintext", plaintext.then_some(Value::Bool(true)));
                    put("username", server.login.as_ref().map(|(username, _)| json!(username)));
                    put("password", server.login.as_ref().map(|(_, password)| source(password)));
                    put("tls", some(tls(&server.tls)));
                }
            }
            put("timeout", Some(std_span(mail.timeout)));
        }
        Via::Command(command) => {
            put("command", Some(json!(command.argv)));
            put("pass-env", (!command.pass_env.is_empty()).then(|| json!(command.pass_env)));
            put("timeout", Some(std_span(command.timeout)));
        }
    }
    keys
}

/// How single requests reach an address.
pub(super) fn put_site(site: &SitePolicy, put: &mut impl FnMut(&str, Option<Value>)) {
    put("tls", some(tls(&site.tls)));
    put("proxy", proxy(&site.proxy));
    put("headers", headers(&site.headers));
    put("timeout", Some(std_span(site.timeout)));
}

fn proxy(policy: &ProxyPolicy) -> Option<Value> {
    match policy {
        ProxyPolicy::Environment => None,
        ProxyPolicy::Never => Some(json!("none")),
        ProxyPolicy::Through { url, login: None } => Some(json!(url.as_str())),
        ProxyPolicy::Through { url, login: Some((username, password)) } => {
            Some(json!({ "url": url.as_str(), "username": username, "password": source(password) }))
        }
    }
}

fn headers(headers: &BTreeMap<String, SecretSource>) -> Option<Value> {
    some(headers.iter().map(|(name, value)| (name.clone(), source(value))).collect())
}

fn tls(policy: &TlsPolicy) -> Map<String, Value> {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Option<Value>| drop(value.map(|value| keys.insert(key.to_owned(), value)));
    put("ca-file", policy.ca_file.as_ref().map(|file| json!(file)));
    put("system-roots", policy.system_roots.then_some(Value::Bool(true)));
    put("client-certificate", policy.client.as_ref().map(|client| json!(client.certificate)));
    put("client-key", policy.client.as_ref().map(|client| json!(client.key)));
    let pins: Vec<_> = policy.pins.iter().map(ToString::to_string).collect();
    put("pins", (!pins.is_empty()).then(|| json!(pins)));
    put("min-version", policy.only_1_3.then(|| json!("1.3")));
    keys
}
