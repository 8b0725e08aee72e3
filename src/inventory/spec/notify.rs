//! `[[notify]]`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Span;
use crate::document::{Found, Located, Reader, Spot};
use crate::inventory::values;
use crate::names::ChannelName;
use crate::notice::{self, Form, Kind, Severity, read_own};
use crate::secret::SecretSource;

use super::RateLimitSpec;
use super::reach::{SiteSpec, TlsSpec};
use super::source;
use super::source::{argv, pass_env};

/// One channel.
#[derive(Debug)]
pub struct ChannelSpec {
    pub name: Option<Located<ChannelName>>,
    pub when: WhenSpec,
    pub via: Option<ViaSpec>,
    pub repeat: Option<Span>,
    pub gather: Option<Span>,
    pub limit: Option<RateLimitSpec>,
}

/// `when`.
#[derive(Debug, Default)]
pub struct WhenSpec {
    pub severity: Option<Severity>,
    pub lasting: Option<Span>,
    pub kinds: BTreeSet<Kind>,
    pub accounts: Vec<Located<String>>,
    pub tokens: Vec<Located<String>>,
}

/// `via`.
#[derive(Debug)]
pub enum ViaSpec {
    Http(Box<WebSpec>),
    Mail(Box<MailSpec>),
    Command { argv: Located<Vec<String>>, pass_env: Vec<String>, timeout: Option<Duration> },
}

/// Mail.
#[derive(Debug)]
pub struct MailSpec {
    pub spot: Spot,
    pub to: Vec<Located<String>>,
    pub from: Option<Located<String>>,
    pub sendmail: Option<Located<Vec<String>>>,
    pub server: Option<ServerSpec>,
    pub timeout: Option<Duration>,
}

/// A mail server.
#[derive(Debug)]
pub struct ServerSpec {
    pub url: Located<String>,
    pub allow_plaintext: bool,
    pub username: Option<String>,
    pub password: Option<SecretSource>,
    pub tls: TlsSpec,
}

/// A service.
#[derive(Debug)]
pub struct WebSpec {
    pub spot: Spot,
    pub form: Arc<Form>,
    pub url: Option<Located<String>>,
    pub credential: Option<Located<SecretSource>>,
    /// There is one, be it understood or not.
    pub has_credential: bool,
    pub params: Vec<(Located<String>, String)>,
    pub site: SiteSpec,
    pub timeout: Option<Duration>,
}

impl ChannelSpec {
    /// Takes a channel apart.
    pub fn decode(name: Option<Located<ChannelName>>, reader: Reader<'_>) -> Self {
        let reader = match &name {
            Some(name) => reader.named(format!("channel \"{}\"", name.value)),
            None => reader,
        };
        reader.required("via");
        let spec = Self {
            when: when(&reader),
            via: reader.table("via", format_args!("`via` of {}", reader.what())).and_then(via),
            repeat: reader.parsed("repeat", values::positive).map(|found| found.value),
            gather: reader.parsed("gather", values::duration).map(|found| found.value),
            limit: limit(&reader),
            name,
        };
        reader.finish();
        spec
    }
}

/// The name of a channel, where it can be one.
pub(super) fn name(reader: &Reader<'_>, text: &Located<String>) -> Option<Located<ChannelName>> {
    match text.value.parse() {
        Ok(value) => Some(Located { value, spot: text.spot }),
        Err(error) => {
            reader.report().error(text.spot, format!("\"{}\" is not a valid name of a channel: {error}", text.value));
            None
        }
    }
}

fn when(reader: &Reader<'_>) -> WhenSpec {
    let Some(table) = reader.table("when", format_args!("`when` of {}", reader.what())) else {
        return WhenSpec::default();
    };
    let list = |key| table.strings(key).map(|list| list.value).unwrap_or_default();
    let mut kinds = BTreeSet::new();
    for word in list("conditions") {
        if let Some((_, kind)) = Kind::WORDS.iter().find(|(known, _)| *known == word.value) {
            kinds.insert(*kind);
            continue;
        }
        let known: Vec<_> = Kind::WORDS.iter().map(|(word, _)| *word).collect();
        let help = match crate::document::nearest(&word.value, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("valid: {}", known.join(", ")),
        };
        table.report().error_with_help(word.spot, format!("there is no condition \"{}\"", word.value), help);
    }
    let spec = WhenSpec {
        severity: table.choice("severity", &Severity::WORDS).map(|severity| severity.value),
        lasting: table.parsed("for", values::duration).map(|found| found.value),
        kinds,
        accounts: list("accounts"),
        tokens: list("tokens"),
    };
    table.finish();
    spec
}

fn limit(reader: &Reader<'_>) -> Option<RateLimitSpec> {
    let table = reader.table("limit", format_args!("`limit` of {}", reader.what()))?;
    table.required("messages");
    let messages = table.integer("messages").and_then(|found| {
        let count = u32::try_from(found.value).ok().filter(|count| *count > 0);
        if count.is_none() {
            let message = format!("`messages` of {} must be a whole number from 1 on", table.what());
            table.report().error(found.spot, message);
        }
        count
    });
    table.required("per");
    let per = table.parsed("per", values::timer);
    table.finish();
    Some(RateLimitSpec { requests: messages?, per: per?.value })
}

fn via(table: Reader<'_>) -> Option<ViaSpec> {
    let ways = ["definition", "form", "mail", "command"];
    let given: Vec<_> = ways.into_iter().filter(|way| table.has(way)).collect();
    let timeout = table.parsed("timeout", values::timer).map(|timeout| timeout.value);
    let way = match given[..] {
        [way] => way,
        [] => {
            let help = "write for example { definition = \"slack\", credential = { file = \"/etc/patrold/slack\" } }, \
                        { mail = [\"ops@example.com\"] } or { command = [\"/usr/local/bin/page\"] }";
            table.report().error_with_help(table.spot(), format!("{} names no way", table.what()), help);
            return None;
        }
        [first, second, ..] => {
            let message = format!("{} has both `{first}` and `{second}`", table.what());
            table.report().error_with_help(table.key_spot(second), message, "give exactly one of them");
            return None;
        }
    };
    let via = match way {
        "mail" => mail(&table, timeout),
        "command" => argv(&table, "command").map(|argv| ViaSpec::Command { argv, pass_env: pass_env(&table), timeout }),
        way => web(&table, way, timeout).map(|web| ViaSpec::Http(Box::new(web))),
    };
    table.finish();
    via
}

fn mail(table: &Reader<'_>, timeout: Option<Duration>) -> Option<ViaSpec> {
    let address = |text: &Located<String>| {
        let message = format!("\"{}\" is not an address of mail", text.value);
        let sound = values::is_mail_address(&text.value);
        if !sound {
            table.report().error_with_help(text.spot, message, "write for example \"ops@example.com\"");
        }
        sound
    };
    let to = table.strings("mail")?;
    if to.value.is_empty() {
        let message = format!("`mail` of {} names nobody", table.what());
        table.report().error_with_help(to.spot, message, "write for example mail = [\"ops@example.com\"]");
    }
    let to = to.value.into_iter().filter(address).collect();
    let from = table.string("from").filter(address);
    let sendmail = if table.has("sendmail") { argv(table, "sendmail") } else { table.take("sendmail").and(None) };
    if table.has("sendmail") && table.has("smtp") {
        let message = format!("{} has both `sendmail` and `smtp`", table.what());
        table.report().error_with_help(table.key_spot("smtp"), message, "give exactly one of them");
    }
    let server = server(table);
    Some(ViaSpec::Mail(Box::new(MailSpec { spot: table.spot(), to, from, sendmail, server, timeout })))
}

fn server(table: &Reader<'_>) -> Option<ServerSpec> {
    let own = ["username", "password", "tls", "allow-plaintext"];
    if let Some(key) = own.into_iter().find(|key| table.has(key) && !table.has("smtp")) {
        let message = format!("`{key}` of {} is about a mail server, and there is none", table.what());
        table.report().error_with_help(
            table.key_spot(key),
            message,
            "write for example smtp = \"smtps://mail.example.com\"",
        );
    }
    for (given, missing) in [("username", "password"), ("password", "username")] {
        if table.has(given) && !table.has(missing) {
            let message = format!("{} has `{given}` and lacks `{missing}`", table.what());
            table.report().error(table.key_spot(given), message);
        }
    }
    let url = table.string("smtp");
    let (allow, tls) = (table.bool("allow-plaintext"), TlsSpec::decode(table));
    let username = table.string("username").map(|found| found.value);
    let password = source::secret(table, "password", &source::SOURCES).map(|found| found.value);
    let allow_plaintext = allow.is_some_and(|allow| allow.value);
    url.map(|url| ServerSpec { url, allow_plaintext, username, password, tls })
}

fn web(table: &Reader<'_>, way: &str, timeout: Option<Duration>) -> Option<WebSpec> {
    let form = if way == "form" {
        table
            .take("form")
            .and_then(|found| read_own(table.report(), found, format!("`form` of {}", table.what())).map(Arc::new))
    } else {
        table.string("definition").and_then(|name| {
            let form = notice::get(&name.value);
            if form.is_none() {
                let known: Vec<_> = notice::names().collect();
                let message = format!("{} names an unknown definition \"{}\"", table.what(), name.value);
                let help = format!("valid: {}; or describe the request yourself with `form`", known.join(", "));
                table.report().error_with_help(name.spot, message, help);
            }
            form
        })
    };
    let params = table.table("params", format_args!("`params` of {}", table.what()));
    let params = params.map(|params| {
        let entry = |(name, found): (Located<&str>, Found<'_>)| {
            let text = match found.to_json() {
                Value::String(text) => text,
                Value::Array(_) | Value::Object(_) => {
                    params.wrong_type(name.value, found, "text, a number, or true or false");
                    return None;
                }
                other => other.to_string(),
            };
            Some((name.map(str::to_owned), text))
        };
        params.entries().filter_map(entry).collect()
    });
    let spec = WebSpec {
        spot: table.spot(),
        url: table.string("url"),
        has_credential: table.has("credential"),
        credential: source::secret(table, "credential", &source::SOURCES),
        params: params.unwrap_or_default(),
        site: SiteSpec::decode(table),
        timeout,
        form: form?,
    };
    Some(spec)
}
