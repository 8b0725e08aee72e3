//! The tables of tokens, with their stores and hooks.

use serde_json::{Map, Value, json};

use super::endpoint::put_site;
use super::value::{cron, path, percent, quoted, some, source, source_table, span, std_span};
use super::{Keys, Section};
use crate::inventory::origin::{Origins, Part};
use crate::inventory::{
    CredentialAddress, Dialect, DirectoryFile, DirectoryPolicy, Existing, FilePolicy, Format, HookKind, HookPolicy,
    HostFile, HostSelector, IniReader, OnDrift, OnFailure, OnLeave, RenewBefore, RunPolicy, SignalTarget, StoreKind,
    StorePolicy, Syntax, TokenPolicy, Wrap, is_loopback,
};

pub(super) fn token(policy: &TokenPolicy, origins: &Origins) -> Section {
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
    // The files of one directory stand in one table, and the values of a template in its own.
    let tables = policy.stores.iter().filter(|store| match &store.kind {
        StoreKind::Directory(directory) => directory.files.first().is_none_or(|first| first.key == store.key),
        _ => store.template().is_none(),
    });
    let selected = policy.selected.as_deref();
    let on = |mut value: Value, hosts: &HostSelector| {
        if let Some(keys) = value.as_object_mut() {
            keys.insert("hosts".to_owned(), json!(hosts.words()));
        }
        value
    };
    let of_hosts = selected.into_iter().flat_map(|it| &it.stores).map(|it| on(store(&it.policy), &it.hosts));
    let stores: Vec<_> = tables.map(store).chain(of_hosts).collect();
    keys.add(&["stores", "file", "env"], Some(stores).filter(|it| !it.is_empty()).map(Value::Array), "default");
    let of_hosts = selected.into_iter().flat_map(|it| &it.hooks).map(|it| on(hook(&it.policy), &it.hosts));
    let hooks: Vec<_> = policy.hooks.iter().map(hook).chain(of_hosts).collect();
    keys.add(&["hooks", "restart", "reload"], Some(hooks).filter(|it| !it.is_empty()).map(Value::Array), "default");
    keys.section(format!("token.{}", quoted(name)))
}

pub(super) fn existing(policy: &StorePolicy) -> &'static str {
    match policy.existing {
        Existing::Refuse => "refuse",
        Existing::Replace => "replace",
    }
}

pub(super) fn on_drift(policy: &StorePolicy) -> &'static str {
    match policy.on_drift {
        OnDrift::Repair => "repair",
        OnDrift::Report => "report",
    }
}

fn store(policy: &StorePolicy) -> Value {
    let on_leave = match policy.on_leave {
        OnLeave::Keep => "keep",
        OnLeave::Erase => "erase",
    };
    let common = [
        ("part", json!(policy.part)),
        ("existing", json!(existing(policy))),
        ("on-drift", json!(on_drift(policy))),
        ("on-leave", json!(on_leave)),
    ];
    let own = match &policy.kind {
        StoreKind::File(policy) => file(policy),
        StoreKind::Directory(policy) => directory(policy),
        StoreKind::Hosted(hosted) => {
            let HostFile { path, mode, owner, group, format } = hosted.file.clone();
            let mut keys = file(&FilePolicy { path, mode, owner: None, group: None, format });
            keys.retain(|(key, _)| !matches!(*key, "owner" | "group"));
            let owners = [("owner", owner.map(|it| json!(it))), ("group", group.map(|it| json!(it)))];
            keys.into_iter().chain(owners).chain([("hosts", Some(json!([hosted.host])))]).collect()
        }
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
    // Each file of a directory has a part of its own.
    let parts = matches!(policy.kind, StoreKind::Directory(_));
    let common = common.map(|(key, value)| (key, Some(value).filter(|_| !parts || key != "part")));
    let table = own.into_iter().chain(common).filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(table.collect())
}

fn directory(directory: &DirectoryPolicy) -> Vec<(&'static str, Option<Value>)> {
    let entry = |it: &DirectoryFile| {
        let newline = matches!(it.format.bare(), Format::Whole { newline: true });
        let keys = [("part", json!(it.part)), ("newline", json!(newline))].into_iter().chain(wrap(&it.format));
        (it.name.clone(), Value::Object(keys.map(|(key, value)| (key.to_owned(), value)).collect()))
    };
    let files: Map<_, _> = directory.files.iter().map(entry).collect();
    vec![
        ("kind", Some(json!("directory"))),
        ("path", Some(path(&directory.path))),
        ("mode", directory.mode.map(|mode| json!(format!("{mode:04o}")))),
        ("owner", directory.owner.map(|owner| json!(owner.to_string()))),
        ("group", directory.group.map(|group| json!(group.to_string()))),
        ("files", Some(Value::Object(files))),
    ]
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
        // What is bare is not wrapped, and templates have tables of their own.
        Format::Wrapped { .. } | Format::Template(_) => ("", Vec::new()),
    };
    own.extend(wrap(&file.format));
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

/// What a file says besides the secret.
fn wrap(format: &Format) -> Option<(&'static str, Value)> {
    let Format::Wrapped { wrap, .. } = format else { return None };
    Some(match wrap {
        Wrap::Prefix(prefix) => ("prefix", json!(prefix)),
        Wrap::Basic { username } => ("basic", json!(username)),
        Wrap::Address { before, after } => {
            ("address", json!(format!("{}{after}", before.strip_suffix(':').unwrap_or(before))))
        }
    })
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
    keys.extend(policy.host.as_ref().map(|host| ("hosts", json!([host]))));
    let spans = [("coalesce", policy.pace.coalesce), ("splay", policy.pace.splay), ("once-per", policy.pace.once_per)];
    keys.extend(spans.into_iter().filter_map(|(key, span)| Some((key, json!(std_span(span?))))));
    Value::Object(keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
