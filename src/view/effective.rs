//! The inventory as it is meant: every key with its value, and where the value comes from.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::Span;
use crate::inventory::origin::{Origins, Part};
use crate::inventory::{
    AccountPolicy, ChannelPolicy, Credential, CredentialAddress, DaemonSettings, Dialect, Existing, FilePolicy, Format,
    HookKind, HookPolicy, IniReader, Inventory, ListenAuth, LogFormat, OnDrift, OnFailure, OnLeave, ProxyPolicy,
    RenewBefore, RunPolicy, SignalTarget, SitePolicy, StoreKind, StorePolicy, Syntax, TokenPolicy, Via, When, Wrap,
    is_loopback,
};
use crate::secret::SecretSource;
use crate::text::Paint;
use crate::timing::cron::Schedule;
use crate::trust::TlsPolicy;

/// Every part of an inventory. Part of `config show --json`: names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Effective {
    pub parts: Vec<Section>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Section {
    /// As its header spells it, without brackets.
    pub table: String,
    pub keys: Vec<Entry>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    pub key: &'static str,
    pub value: Value,
    /// The place in a file, or `default`, or whose default it is.
    pub from: String,
}

/// Comments of longer lines follow directly.
const COLUMN: usize = 60;

impl Effective {
    /// Everything that `inventory` says, which was written where `origins` tell.
    pub fn new(inventory: &Inventory, origins: &Origins) -> Self {
        let mut parts = vec![daemon(&inventory.daemon, origins)];
        parts.extend(inventory.accounts.values().map(|policy| account(policy, origins)));
        parts.extend(inventory.tokens.values().map(|policy| token(policy, origins)));
        parts.extend(inventory.channels.values().map(|policy| channel(policy, origins)));
        Self { parts }
    }

    /// Writes it as TOML that means the same, with the origins as comments.
    pub fn write(&self, paint: Paint, out: &mut impl Write) -> io::Result<()> {
        for (number, part) in self.parts.iter().enumerate() {
            let gap = if number > 0 { "\n" } else { "" };
            writeln!(out, "{gap}{}", paint.bold(&format!("[{}]", part.table)))?;
            for entry in &part.keys {
                let line = format!("{} = {}", entry.key, toml(&entry.value));
                let from = format!("# {}", entry.from);
                writeln!(out, "{line:<COLUMN$}  {}", paint.dim(&from))?;
            }
        }
        Ok(())
    }
}

/// Collects the keys of one table.
struct Keys<'o> {
    origins: &'o Origins,
    part: Part,
    name: String,
    #[expect(clippy::struct_field_names, reason = "they are the keys")]
    keys: Vec<Entry>,
}

impl<'o> Keys<'o> {
    fn new(origins: &'o Origins, part: Part, name: &str) -> Self {
        Self { origins, part, name: name.to_owned(), keys: Vec::new() }
    }

    /// A value that stands under one of `spellings`, the first of which is its key; else it is what `otherwise` says.
    fn add(&mut self, spellings: &[&'static str], value: Option<Value>, otherwise: &str) {
        let (Some(value), Some(key)) = (value, spellings.first().copied()) else { return };
        let shared = || {
            let policy = self.part == Part::Token;
            policy.then(|| self.origins.place(Part::Defaults, "", &[key])).flatten()
        };
        let own = self.origins.place(self.part, &self.name, spellings);
        let from = own.or_else(shared).unwrap_or(otherwise).to_owned();
        self.keys.push(Entry { key, value, from });
    }

    fn plain(&mut self, key: &'static str, value: impl Into<Option<Value>>) {
        self.add(&[key], value.into(), "default");
    }

    fn section(self, table: String) -> Section {
        Section { table, keys: self.keys }
    }
}

fn daemon(settings: &DaemonSettings, origins: &Origins) -> Section {
    let mut keys = Keys::new(origins, Part::Daemon, "");
    keys.plain("state-dir", path(&settings.state_dir));
    keys.plain("control", path(&settings.control));
    if let Some(listen) = &settings.listen {
        keys.plain("listen", json!(listen.address.to_string()));
        keys.plain("listen-tls", listen.tls.as_ref().map(|tls| json!({ "cert": tls.cert, "key": source(&tls.key) })));
        keys.plain(
            "listen-auth",
            listen.auth.as_ref().map(|auth| match auth {
                ListenAuth::Bearer(bearer) => json!({ "bearer": source(bearer) }),
                ListenAuth::Basic { username, password } => {
                    json!({ "username": username, "password": source(password) })
                }
            }),
        );
    }
    keys.plain("log-level", json!(settings.log_level));
    let format = match settings.log_format {
        LogFormat::Auto => "auto",
        LogFormat::Pretty => "pretty",
        LogFormat::Json => "json",
    };
    keys.plain("log-format", json!(format));
    keys.plain("seal-key", settings.seal_key.as_ref().map(source));
    keys.plain("providers", settings.providers.as_deref().map(path));
    keys.plain("drain-timeout", std_span(settings.drain_timeout));
    keys.section("daemon".to_owned())
}

fn account(policy: &AccountPolicy, origins: &Origins) -> Section {
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

fn channel(policy: &ChannelPolicy, origins: &Origins) -> Section {
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
            put("sendmail", Some(json!(mail.sendmail)));
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
fn put_site(site: &SitePolicy, put: &mut impl FnMut(&str, Option<Value>)) {
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

fn token(policy: &TokenPolicy, origins: &Origins) -> Section {
    let name = policy.name.as_str();
    let definition = &policy.account.provider.default_policy;
    let of_definition = format!("definition {}", policy.account.provider.name);
    let otherwise = |by_definition: bool| if by_definition { of_definition.as_str() } else { "default" };
    let mut keys = Keys::new(origins, Part::Token, name);
    keys.plain("account", json!(policy.account.name.as_str()));
    keys.plain("lifetime", policy.lifetime.map(span));
    let renew_before = match policy.renew_before {
        RenewBefore::Span(lead) => span(lead),
        RenewBefore::Share(share) => json!(percent(share)),
    };
    keys.plain("renew-before", renew_before);
    let by_definition = policy.rotate_every.is_some() && policy.rotate_every == definition.rotate_every;
    keys.add(&["rotate-every"], policy.rotate_every.map(span), otherwise(by_definition));
    keys.plain("schedule", policy.schedule.as_ref().map(|schedule| Value::Object(cron(schedule))));
    keys.plain(
        "window",
        policy.window.as_ref().map(|window| {
            let mut table = cron(&window.opens);
            table.insert("duration".to_owned(), span(window.duration));
            Value::Object(table)
        }),
    );
    keys.add(&["grace"], Some(span(policy.grace)), otherwise(definition.grace == Some(policy.grace)));
    keys.plain("grace-cap", span(policy.grace_cap));
    keys.plain("jitter", span(policy.jitter));
    keys.plain("verify-timeout", span(policy.verify_timeout));
    keys.plain("drift-every", span(policy.drift_every));
    keys.plain("paused", json!(policy.paused));
    let params = policy.params.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    keys.add(&["params"], some(params), "its account");
    keys.plain(
        "initial",
        policy.initial.as_ref().map(|initial| {
            let mut table = initial.source.as_ref().map(source_table).unwrap_or_default();
            let parts: Map<_, _> = initial.parts.iter().map(|(name, it)| (name.clone(), source(it))).collect();
            let more = [
                ("parts", some(parts)),
                ("id", initial.id.as_ref().map(|id| json!(id.as_str()))),
                ("name", initial.name.as_ref().map(|name| json!(name))),
                ("expires", initial.expires.map(|at| json!(at.to_rfc3339()))),
            ];
            table.extend(more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
            Value::Object(table)
        }),
    );
    let stores: Vec<_> = policy.stores.iter().map(store).collect();
    keys.add(&["stores", "file", "env"], Some(stores).filter(|it| !it.is_empty()).map(Value::Array), "default");
    let hooks: Vec<_> = policy.hooks.iter().map(hook).collect();
    keys.add(&["hooks", "restart", "reload"], Some(hooks).filter(|it| !it.is_empty()).map(Value::Array), "default");
    keys.section(format!("token.{}", quoted(name)))
}

fn store(policy: &StorePolicy) -> Value {
    let existing = match policy.existing {
        Existing::Refuse => "refuse",
        Existing::Replace => "replace",
    };
    let on_drift = match policy.on_drift {
        OnDrift::Repair => "repair",
        OnDrift::Report => "report",
    };
    let on_leave = match policy.on_leave {
        OnLeave::Keep => "keep",
        OnLeave::Erase => "erase",
    };
    let common = [
        ("part", json!(policy.part)),
        ("existing", json!(existing)),
        ("on-drift", json!(on_drift)),
        ("on-leave", json!(on_leave)),
    ];
    let own = match &policy.kind {
        StoreKind::File(policy) => file(policy),
        StoreKind::Remote(remote) => {
            let params = remote.params.iter().map(|(name, value)| (name.clone(), value.clone()));
            let own = [("account".to_owned(), json!(remote.account))];
            let common = common.map(|(key, value)| (key.to_owned(), value));
            return Value::Object(own.into_iter().chain(params).chain(common).collect());
        }
        StoreKind::Command(command) => {
            // Its key is the text that the inventory has, after the word for the kind.
            let target = command.target.as_str().trim_start_matches("command:");
            vec![
                ("kind", Some(json!("command"))),
                ("name", Some(json!(command.name))),
                ("target", Some(json!(target))),
                ("write", Some(json!(command.write))),
                ("read", command.read.as_ref().map(|argv| json!(argv))),
                ("timeout", Some(json!(std_span(command.timeout)))),
                ("pass-env", Some(json!(command.pass_env))),
            ]
        }
    };
    let common = common.map(|(key, value)| (key, Some(value)));
    let table = own.into_iter().chain(common).filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(table.collect())
}

fn file(file: &FilePolicy) -> Vec<(&'static str, Option<Value>)> {
    let (kind, mut own) = match file.format.bare() {
        Format::Whole { newline } => ("file", vec![("newline", json!(newline))]),
        Format::Env { key, dialect } => {
            let dialect = match dialect {
                Dialect::Systemd => "systemd",
                Dialect::Docker => "docker",
                Dialect::Dotenv => "dotenv",
                Dialect::PosixSh => "posix-sh",
            };
            ("env-file", vec![("key", json!(key)), ("dialect", json!(dialect))])
        }
        Format::Document { syntax, pointer } => {
            let kind = match syntax {
                Syntax::Json => "json",
                Syntax::Yaml => "yaml",
                Syntax::Toml => "toml",
            };
            (kind, vec![("pointer", json!(pointer.to_string()))])
        }
        Format::Properties { key } => ("properties", vec![("key", json!(key))]),
        Format::Ini { section, key, reader } => {
            let reader = match reader {
                IniReader::Python => "python",
                IniReader::Npm => "npm",
            };
            ("ini", vec![("section", json!(section)), ("key", json!(key)), ("reader", json!(reader))])
        }
        Format::Netrc { machine, login } => ("netrc", vec![("machine", json!(machine)), ("login", json!(login))]),
        Format::GitCredentials { address: CredentialAddress { protocol, username, host, path } } => {
            let url = format!("{protocol}://{host}{path}");
            ("git-credentials", vec![("url", json!(url)), ("username", json!(username))])
        }
        Format::Xml { path } => ("xml", vec![("pointer", json!(path.to_string()))]),
        // What is bare is not wrapped.
        Format::Wrapped { .. } => ("", Vec::new()),
    };
    if let Format::Wrapped { wrap, .. } = &file.format {
        own.push(match wrap {
            Wrap::Prefix(prefix) => ("prefix", json!(prefix)),
            Wrap::Basic { username } => ("basic", json!(username)),
            Wrap::Address { before, after } => {
                ("address", json!(format!("{}{after}", before.strip_suffix(':').unwrap_or(before))))
            }
        });
    }
    let mut keys = vec![
        ("kind", Some(json!(kind))),
        ("path", Some(path(&file.path))),
        ("mode", file.mode.map(|mode| json!(format!("{mode:04o}")))),
        ("owner", file.owner.map(|owner| json!(owner.to_string()))),
        ("group", file.group.map(|group| json!(group.to_string()))),
    ];
    keys.extend(own.into_iter().map(|(key, value)| (key, Some(value))));
    keys
}

fn hook(policy: &HookPolicy) -> Value {
    let on_failure = match policy.on_failure {
        OnFailure::Retry => "retry",
        OnFailure::Rollback => "rollback",
        OnFailure::Continue => "continue",
    };
    let program = |kind: &str, run: &RunPolicy| {
        vec![("kind", json!(kind)), ("run", json!(run.argv)), ("pass-env", json!(run.pass_env))]
    };
    let mut keys = match &policy.kind {
        HookKind::Run(run) => program("run", run),
        HookKind::Systemd(unit) => vec![
            ("kind", json!("systemd")),
            ("unit", json!(unit.unit)),
            ("action", json!(unit.action.verb())),
            ("user", json!(unit.user)),
            ("steady", json!(std_span(unit.steady))),
        ],
        HookKind::Check(check) => {
            let times = [("within", json!(std_span(check.within))), ("every", json!(std_span(check.every)))];
            program("check", &check.run).into_iter().chain(times).collect()
        }
        HookKind::Signal(policy) => {
            let target = match &policy.target {
                SignalTarget::Unit { unit, user, .. } => vec![("unit", json!(unit)), ("user", json!(user))],
                SignalTarget::PidFile { pid_file, exe } => vec![("pid-file", path(pid_file)), ("exe", json!(exe))],
                SignalTarget::Program { exe, of } => {
                    vec![("exe", path(exe)), ("of", json!(of.map(|user| user.to_string())))]
                }
            };
            let own = [("kind", json!("signal")), ("signal", json!(crate::process::signal::word(policy.signal)))];
            own.into_iter()
                .chain(target)
                .chain([("absent", json!(if policy.may_be_absent { "ok" } else { "fail" }))])
                .collect()
        }
        HookKind::Rollout(rollout) => {
            let base = rollout.url.as_str().split("/apis/apps/v1/").next().unwrap_or_default();
            let mut keys = vec![
                ("kind", json!("rollout")),
                ("url", json!(base)),
                ("allow-plaintext", json!(rollout.url.scheme() == "http" && !is_loopback(&rollout.url))),
                ("workload", json!(format!("{}/{}", rollout.workload.word(), rollout.name))),
                ("namespace", json!(rollout.namespace)),
                ("within", json!(std_span(rollout.within))),
                ("every", json!(std_span(rollout.every))),
            ];
            keys.extend(rollout.credential.as_ref().map(|credential| ("credential", source(credential))));
            let mut put = |key: &str, value: Option<Value>| {
                let known = ["tls", "proxy", "headers"].into_iter().find(|known| *known == key);
                keys.extend(known.zip(value));
            };
            put_site(&rollout.site, &mut put);
            keys
        }
        HookKind::Http(call) => {
            let mut keys = vec![("kind", json!("http")), ("url", json!(call.url.as_str()))];
            let plaintext = call.url.scheme() == "http" && !is_loopback(&call.url);
            keys.push(("allow-plaintext", json!(plaintext)));
            keys.push(("method", json!(call.method.as_str())));
            let optional = [
                ("json", call.json.clone()),
                ("credential", call.credential.as_ref().map(source)),
                ("sign", call.sign.as_ref().map(source)),
            ];
            keys.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
            if !call.ok.is_empty() {
                keys.push(("ok", json!(call.ok)));
            }
            let mut put = |key: &str, value: Option<Value>| {
                let known = ["tls", "proxy", "headers"].into_iter().find(|known| *known == key);
                keys.extend(known.zip(value));
            };
            put_site(&call.site, &mut put);
            keys
        }
    };
    keys.extend([("timeout", json!(std_span(policy.timeout))), ("on-failure", json!(on_failure))]);
    keys.push(("wave", json!(policy.pace.wave)));
    let spans = [("coalesce", policy.pace.coalesce), ("splay", policy.pace.splay), ("once-per", policy.pace.once_per)];
    keys.extend(spans.into_iter().filter_map(|(key, span)| Some((key, json!(std_span(span?))))));
    Value::Object(keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn cron(schedule: &Schedule) -> Map<String, Value> {
    let table = [("cron", json!(schedule.expression())), ("timezone", json!(schedule.timezone().name()))];
    table.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn source(source: &SecretSource) -> Value {
    Value::Object(source_table(source))
}

fn source_table(source: &SecretSource) -> Map<String, Value> {
    let (key, value) = match source {
        SecretSource::File(file) => ("file", path(file)),
        SecretSource::Env(name) => ("env", json!(name)),
        SecretSource::SystemdCredential(name) => ("systemd-credential", json!(name)),
        SecretSource::Command(argv) => ("command", json!(argv)),
    };
    Map::from_iter([(key.to_owned(), value)])
}

fn some(table: Map<String, Value>) -> Option<Value> {
    Some(table).filter(|table| !table.is_empty()).map(Value::Object)
}

fn path(path: &std::path::Path) -> Value {
    json!(path.to_string_lossy())
}

fn span(span: Span) -> Value {
    std_span(span.to_std().unwrap_or_default())
}

/// Every unit that it needs: `1h 30m`.
fn std_span(span: std::time::Duration) -> Value {
    const UNITS: [(&str, u128); 6] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("ns", 1),
    ];
    let mut rest = span.as_nanos();
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        if rest >= length {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    json!(if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") })
}

/// A share as people write it, without the tail that binary fractions have.
fn percent(share: f64) -> String {
    let text = format!("{:.6}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn quoted(name: &str) -> String {
    let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if bare { name.to_owned() } else { format!("\"{name}\"") }
}

/// `value` in TOML, on one line. What is absent has no spelling there, and is left out.
fn toml(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter(|item| !item.is_null()).map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{} = {}", quoted(key), toml(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Environment, load, load_text};

    fn at() -> crate::clock::Time {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_is_shown_means_the_same_as_what_was_written() {
        let environment = Environment { state_dir: Some("/var/lib/patrold".into()), ..Environment::default() };
        for file in ["short-forms", "every-form", "listen", "channels"] {
            let path = std::path::PathBuf::from(format!("tests/data/inventories/valid/{file}.toml"));
            let loaded = load(&path, &environment, at());
            let inventory = loaded.inventory.unwrap_or_else(|| panic!("{file}: {}", loaded.report.render()));
            let mut shown = Vec::new();
            let effective = Effective::new(&inventory, &Origins::of(&loaded.report));
            effective.write(Paint::Plain, &mut shown).unwrap();
            let shown = String::from_utf8(shown).unwrap();
            let again = load_text(&path, &shown, &environment, at());
            let again = again.inventory.unwrap_or_else(|| panic!("{file}: {}\n{shown}", again.report.render()));
            // What an account adds to its definition is not shown.
            let whole = |account: &AccountPolicy| account.name.as_str() != "gps" || file != "every-form";
            for (name, account) in inventory.accounts.iter().filter(|(_, account)| whole(account)) {
                assert_eq!(&again.accounts[name], account, "{file}\n{shown}");
            }
            assert_eq!(again.channels, inventory.channels, "{file}\n{shown}");
            for (name, token) in inventory.tokens.iter().filter(|(_, token)| whole(&token.account)) {
                // Once it is written down it is no default any more.
                let token = TokenPolicy { grace_by_default: false, ..token.as_ref().clone() };
                assert_eq!(*again.tokens[name], token, "{file}\n{shown}");
            }
        }
    }

    #[test]
    fn each_value_says_where_it_comes_from() {
        const TEXT: &str = "[defaults]\ngrace = \"2h\"\n[account.a]\nprovider = \"awx\"\nurl = \"https://a.example.com\"\n\
                            username = \"x\"\nparams = { user_id = 7 }\n[token.t]\naccount = \"a\"\nenv = \"t.env:T\"\n";
        let environment = Environment { state_dir: Some("/s".into()), ..Environment::default() };
        let loaded = load_text(std::path::Path::new("/i/patrold.toml"), TEXT, &environment, at());
        let inventory = loaded.inventory.unwrap_or_else(|| panic!("{}", loaded.report.render()));
        let effective = Effective::new(&inventory, &Origins::of(&loaded.report));
        let from = |table: &str, key: &str| {
            let part = effective.parts.iter().find(|part| part.table == table).unwrap();
            part.keys.iter().find(|entry| entry.key == key).unwrap().from.clone()
        };
        for (table, key, expected) in [
            ("token.t", "grace", "/i/patrold.toml:2:1"),
            ("token.t", "account", "/i/patrold.toml:9:1"),
            ("token.t", "stores", "/i/patrold.toml:10:1"),
            ("token.t", "rotate-every", "definition awx"),
            ("token.t", "jitter", "default"),
            ("token.t", "params", "its account"),
            ("account.a", "credential", "/i/patrold.toml:6:1"),
            ("account.a", "settle", "definition"),
            ("daemon", "state-dir", "default"),
        ] {
            assert_eq!(from(table, key), expected, "{table} {key}");
        }
    }
}
