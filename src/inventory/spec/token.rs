//! `[[token]]` with its stores and hooks.

use std::time::Duration;

use chrono::DateTime;
use rustix::process::Signal;

use crate::clock::Time;
use crate::document::{Found, Located, Reader, Spot};
use crate::inventory::{Dialect, Existing, OnDrift, OnFailure, OnLeave, UnitAction, Workload, values};
use crate::names::{RemoteId, TokenName};
use crate::process;
use crate::secret::SecretSource;

use super::each;
use super::format::FormatSpec;
use super::reach::SiteSpec;
use super::short::{self, UnitSpec};
use super::source::{SOURCES, argv, place_table, source};
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

/// One of `stores`.
#[derive(Debug)]
pub struct StoreSpec {
    pub part: Option<Located<String>>,
    pub existing: Option<Existing>,
    pub on_drift: Option<OnDrift>,
    pub on_leave: Option<Located<OnLeave>>,
    /// The hosts that have it, each its own.
    pub hosts: Option<Located<Vec<Located<String>>>>,
    pub kind: StoreKindSpec,
}

/// What only one kind of store has.
#[derive(Debug)]
pub enum StoreKindSpec {
    File(FileSpec),
    Command(CommandSpec),
    Remote(RemoteSpec),
}

/// A slot of a store that has an account.
#[derive(Debug)]
pub struct RemoteSpec {
    /// The table, for what it lacks.
    pub spot: Spot,
    pub account: Located<String>,
    pub params: ParamsSpec,
}

/// Programs that read and write a slot.
#[derive(Debug)]
pub struct CommandSpec {
    pub name: Located<String>,
    pub target: Option<Located<String>>,
    pub write: Located<Vec<String>>,
    pub read: Option<Located<Vec<String>>>,
    pub timeout: Option<Duration>,
    pub pass_env: Vec<String>,
}

/// A file, and the slot in it.
#[derive(Debug)]
pub struct FileSpec {
    pub path: Located<String>,
    pub mode: Option<Located<u32>>,
    pub owner: Option<Located<OwnerSpec>>,
    pub group: Option<Located<String>>,
    pub format: FormatSpec,
}

/// `user` or `user:group`, by name or number.
#[derive(Debug)]
pub struct OwnerSpec {
    pub user: String,
    pub group: Option<String>,
}

/// One of `hooks`.
#[derive(Debug)]
pub struct HookSpec {
    pub timeout: Option<Duration>,
    pub on_failure: Option<OnFailure>,
    pub kind: HookKindSpec,
    pub pace: PaceSpec,
    /// The hosts that it runs on.
    pub hosts: Option<Located<Vec<Located<String>>>>,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct PaceSpec {
    pub wave: Option<u32>,
    pub coalesce: Option<Duration>,
    pub splay: Option<Duration>,
    pub once_per: Option<Duration>,
}

/// What only one kind of hook has.
#[derive(Debug)]
pub enum HookKindSpec {
    Run(RunSpec),
    Systemd { unit: Located<String>, action: Option<UnitAction>, user: bool, steady: Option<Duration> },
    Check { run: RunSpec, within: Option<Duration>, every: Option<Duration> },
    Signal(SignalSpec),
    Http(Box<CallSpec>),
    Rollout(Box<RolloutSpec>),
}

/// A workload of Kubernetes.
#[derive(Debug)]
pub struct RolloutSpec {
    /// Of the API server.
    pub url: Located<String>,
    pub workload: (Workload, String),
    pub namespace: String,
    pub credential: Option<SecretSource>,
    pub within: Option<Duration>,
    pub every: Option<Duration>,
    pub site: SiteSpec,
}

/// A signal, and who gets it.
#[derive(Debug)]
pub struct SignalSpec {
    pub spot: Spot,
    pub signal: Option<Signal>,
    pub unit: Option<Located<String>>,
    pub user: bool,
    pub pid_file: Option<Located<String>>,
    pub exe: Option<Located<String>>,
    /// A user.
    pub of: Option<Located<String>>,
    pub may_be_absent: bool,
}

/// A request.
#[derive(Debug)]
pub struct CallSpec {
    pub url: Located<String>,
    pub method: Option<&'static str>,
    pub json: Option<serde_json::Value>,
    pub credential: Option<SecretSource>,
    pub sign: Option<SecretSource>,
    pub ok: Vec<u16>,
    pub site: SiteSpec,
}

/// A program.
#[derive(Debug)]
pub struct RunSpec {
    pub argv: Located<Vec<String>>,
    pub pass_env: Vec<String>,
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
        let mut stores = short_stores(&reader);
        stores.extend(
            reader.tables("stores", format_args!("a store of {}", reader.what())).into_iter().filter_map(store),
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
                .filter_map(hook)
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

/// `file = "PATH"` and `env = "PATH:KEY"`.
fn short_stores(reader: &Reader<'_>) -> Vec<StoreSpec> {
    let plain = |path, format| {
        let file = FileSpec { path, mode: None, owner: None, group: None, format };
        let kind = StoreKindSpec::File(file);
        StoreSpec { part: None, existing: None, on_drift: None, on_leave: None, hosts: None, kind }
    };
    let file = reader.string("file").map(|path| plain(path, FormatSpec::Whole { newline: None }));
    let env = short::env(reader).map(|(path, key)| plain(path, FormatSpec::Env { key, dialect: None }));
    file.into_iter().chain(env).collect()
}

const EXISTING: [(&str, Existing); 2] = [("refuse", Existing::Refuse), ("replace", Existing::Replace)];
const ON_DRIFT: [(&str, OnDrift); 2] = [("repair", OnDrift::Repair), ("report", OnDrift::Report)];
const ON_LEAVE: [(&str, OnLeave); 2] = [("keep", OnLeave::Keep), ("erase", OnLeave::Erase)];

fn store(reader: Reader<'_>) -> Option<StoreSpec> {
    #[derive(Clone, Copy)]
    enum Kind {
        File,
        EnvFile,
        Command,
        Format(super::format::Kind),
    }
    const KINDS: [(&str, Kind); 3] = [("file", Kind::File), ("env-file", Kind::EnvFile), ("command", Kind::Command)];
    if reader.has("account") && !reader.has("kind") {
        return remote(&reader);
    }
    reader.required("kind");
    let formats = super::format::KINDS.iter().map(|(word, kind)| (*word, Kind::Format(*kind)));
    let kinds: Vec<_> = KINDS.into_iter().chain(formats).collect();
    // Without a kind there is no telling which further keys belong here; the missing kind is the one problem to report.
    let kind = reader.choice("kind", &kinds)?.value;
    let part = reader.string("part");
    let existing = reader.choice("existing", &EXISTING).map(|existing| existing.value);
    let on_drift = reader.choice("on-drift", &ON_DRIFT).map(|on_drift| on_drift.value);
    let on_leave = reader.choice("on-leave", &ON_LEAVE);
    let hosts = reader.strings("hosts");
    let kind = match kind {
        Kind::File => {
            let newline = |reader: &Reader<'_>| reader.bool("newline").map(|newline| newline.value);
            file(&reader, |reader| Some(FormatSpec::Whole { newline: newline(reader) })).map(StoreKindSpec::File)
        }
        Kind::EnvFile => file(&reader, variable).map(StoreKindSpec::File),
        Kind::Command => program(&reader).map(StoreKindSpec::Command),
        Kind::Format(kind) => file(&reader, |reader| super::format::decode(reader, kind)).map(StoreKindSpec::File),
    };
    reader.finish();
    Some(StoreSpec { part, existing, on_drift, on_leave, hosts, kind: kind? })
}

/// A slot of a store that has an account: what else the table says are parameters of its definition.
fn remote(reader: &Reader<'_>) -> Option<StoreSpec> {
    let account = reader.string("account");
    let part = reader.string("part");
    let existing = reader.choice("existing", &EXISTING).map(|existing| existing.value);
    let on_drift = reader.choice("on-drift", &ON_DRIFT).map(|on_drift| on_drift.value);
    let on_leave = reader.choice("on-leave", &ON_LEAVE);
    let common = ["account", "part", "existing", "on-drift", "on-leave"];
    let own = reader.entries().filter(|(name, _)| !common.contains(&name.value));
    let params = own.map(|(name, found)| {
        // A file has dashes in its keys, a template has none in its names.
        let name = name.map(|name| name.replace('-', "_"));
        (name, Located { value: found.to_json(), spot: found.spot() })
    });
    let remote = RemoteSpec { spot: reader.spot(), account: account?, params: params.collect() };
    Some(StoreSpec { part, existing, on_drift, on_leave, hosts: None, kind: StoreKindSpec::Remote(remote) })
}

/// A file; `format` reads the keys of what it holds.
fn file(reader: &Reader<'_>, format: impl FnOnce(&Reader<'_>) -> Option<FormatSpec>) -> Option<FileSpec> {
    let path = reader.required_string("path");
    let mode = mode(reader);
    let owner = reader.parsed("owner", owner);
    let group = reader.string("group");
    let format = format(reader);
    Some(FileSpec { path: path?, mode, owner, group, format: format? })
}

/// A variable of an env file.
fn variable(reader: &Reader<'_>) -> Option<FormatSpec> {
    const DIALECTS: [(&str, Dialect); 4] = [
        ("systemd", Dialect::Systemd),
        ("docker", Dialect::Docker),
        ("dotenv", Dialect::Dotenv),
        ("posix-sh", Dialect::PosixSh),
    ];
    let key = reader.required_string("key");
    let dialect = reader.choice("dialect", &DIALECTS);
    key.map(|key| FormatSpec::Env { key, dialect })
}

/// Programs that read and write.
fn program(reader: &Reader<'_>) -> Option<CommandSpec> {
    let name = reader.required_string("name");
    let target = reader.string("target");
    reader.required("write");
    let write = argv(reader, "write");
    let read = argv(reader, "read");
    let timeout = reader.parsed("timeout", values::timer).map(|timeout| timeout.value);
    let pass_env = pass_env(reader);
    Some(CommandSpec { name: name?, target, write: write?, read, timeout, pass_env })
}

/// Names of the daemon's environment variables that a program may see.
pub(super) fn pass_env(reader: &Reader<'_>) -> Vec<String> {
    let names = reader.strings("pass-env").map(|names| names.value).unwrap_or_default();
    for name in names.iter().filter(|name| !values::is_variable(&name.value)) {
        let message = format!("`pass-env` of {} holds what is not the name of an environment variable", reader.what());
        reader.report().error_with_help(name.spot, message, "write names only, without values");
    }
    names.into_iter().map(|name| name.value).collect()
}

/// Octal digits in quotes: TOML's own 0o640 and a decimal 640 are too easily mixed up.
fn mode(reader: &Reader<'_>) -> Option<Located<u32>> {
    let found = reader.take("mode")?;
    if found.value().as_str().is_none() {
        reader.wrong_type("mode", found, "octal digits in quotes, such as \"0640\"");
        return None;
    }
    reader.parsed("mode", values::mode)
}

fn owner(text: &str) -> Result<OwnerSpec, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if user.is_empty() || group.is_some_and(str::is_empty) {
        return Err(format!("\"{text}\" is no owner; write \"user\" or \"user:group\""));
    }
    Ok(OwnerSpec { user: user.to_owned(), group: group.map(str::to_owned) })
}

fn hook(reader: Reader<'_>) -> Option<HookSpec> {
    #[derive(Clone, Copy)]
    enum Kind {
        Run,
        Systemd,
        Check,
        Signal,
        Http,
        Rollout,
    }
    const ANSWERS: [(&str, OnFailure); 3] =
        [("retry", OnFailure::Retry), ("rollback", OnFailure::Rollback), ("continue", OnFailure::Continue)];
    const KINDS: [(&str, Kind); 6] = [
        ("run", Kind::Run),
        ("systemd", Kind::Systemd),
        ("check", Kind::Check),
        ("signal", Kind::Signal),
        ("http", Kind::Http),
        ("rollout", Kind::Rollout),
    ];
    const ACTIONS: [(&str, UnitAction); 5] = [
        ("reload", UnitAction::Reload),
        ("restart", UnitAction::Restart),
        ("try-restart", UnitAction::TryRestart),
        ("reload-or-restart", UnitAction::ReloadOrRestart),
        ("try-reload-or-restart", UnitAction::TryReloadOrRestart),
    ];
    let span = |key| reader.parsed(key, values::timer).map(|span| span.value);
    let program = || {
        reader.required("run");
        let argv = argv(&reader, "run");
        let pass_env = pass_env(&reader);
        argv.map(|argv| RunSpec { argv, pass_env })
    };
    let kind = reader.choice("kind", &KINDS).map_or(Kind::Run, |kind| kind.value);
    let timeout = span("timeout");
    let on_failure = reader.choice("on-failure", &ANSWERS).map(|answer| answer.value);
    let kind = match kind {
        Kind::Run => program().map(HookKindSpec::Run),
        Kind::Systemd => {
            reader.required("unit");
            let unit = reader.parsed("unit", values::unit);
            let action = reader.choice("action", &ACTIONS).map(|action| action.value);
            let user = reader.bool("user").is_some_and(|user| user.value);
            let steady = span("steady");
            unit.map(|unit| HookKindSpec::Systemd { unit, action, user, steady })
        }
        Kind::Check => {
            let run = program();
            let (within, every) = (span("within"), span("every"));
            run.map(|run| HookKindSpec::Check { run, within, every })
        }
        Kind::Signal => signal(&reader).map(HookKindSpec::Signal),
        Kind::Rollout => {
            let (within, every) = (span("within"), span("every"));
            rollout(&reader, within, every).map(|rollout| HookKindSpec::Rollout(Box::new(rollout)))
        }
        Kind::Http => call(&reader).map(|call| HookKindSpec::Http(Box::new(call))),
    };
    let hosts = reader.strings("hosts");
    let pace = PaceSpec {
        wave: reader.integer("wave").and_then(|found| {
            let wave = u32::try_from(found.value).ok().filter(|wave| *wave > 0);
            if wave.is_none() {
                let message = format!("`wave` of {} must be a whole number from 1 on", reader.what());
                reader.report().error(found.spot, message);
            }
            wave
        }),
        coalesce: span("coalesce"),
        splay: span("splay"),
        once_per: span("once-per"),
    };
    reader.finish();
    Some(HookSpec { timeout, on_failure, kind: kind?, pace, hosts })
}

/// Who gets a signal: exactly one of `unit`, `pid-file` and `exe` alone.
fn signal(reader: &Reader<'_>) -> Option<SignalSpec> {
    const ABSENT: [(&str, bool); 2] = [("fail", false), ("ok", true)];
    let spec = SignalSpec {
        spot: reader.spot(),
        signal: reader.parsed("signal", process::signal::parse).map(|signal| signal.value),
        unit: reader.parsed("unit", values::unit),
        user: reader.bool("user").is_some_and(|user| user.value),
        pid_file: reader.string("pid-file"),
        exe: reader.string("exe"),
        of: reader.string("of"),
        may_be_absent: reader.choice("absent", &ABSENT).is_some_and(|absent| absent.value),
    };
    let given = [("unit", spec.unit.is_some()), ("pid-file", spec.pid_file.is_some()), ("exe", spec.exe.is_some())];
    let given: Vec<_> = given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect();
    match given[..] {
        [_] | ["pid-file", "exe"] => Some(spec),
        [] if ["unit", "pid-file", "exe"].iter().any(|key| reader.has(key)) => None,
        [] => {
            let help = "write unit = \"app.service\", pid-file = \"/run/app.pid\" or exe = \"/usr/bin/app\"";
            reader.report().error_with_help(reader.spot(), format!("{} names no process", reader.what()), help);
            None
        }
        [first, second, ..] => {
            let message = format!("{} has both `{first}` and `{second}`", reader.what());
            reader.report().error_with_help(reader.key_spot(second), message, "remove one of the two");
            None
        }
    }
}

/// A workload of Kubernetes.
fn rollout(reader: &Reader<'_>, within: Option<Duration>, every: Option<Duration>) -> Option<RolloutSpec> {
    let url = reader.required_string("url");
    for key in ["workload", "namespace"] {
        reader.required(key);
    }
    let workload = reader.parsed("workload", Workload::named);
    let namespace = reader.parsed("namespace", values::kubernetes_name);
    let credential = super::source::secret(reader, "credential", &SOURCES).map(|found| found.value);
    let site = SiteSpec::decode(reader);
    let (workload, namespace) = (workload?.value, namespace?.value);
    Some(RolloutSpec { url: url?, workload, namespace, credential, within, every, site })
}

/// A request.
fn call(reader: &Reader<'_>) -> Option<CallSpec> {
    let url = reader.required_string("url");
    let methods = ["POST", "PUT", "PATCH"].map(|word| (word, word));
    let method = reader.choice("method", &methods).map(|method| method.value);
    let json = reader.take("json").map(|found| found.to_json());
    let mut ok = Vec::new();
    for found in reader.array("ok").unwrap_or_default() {
        match found.to_json().as_u64().and_then(|status| u16::try_from(status).ok()) {
            Some(status) if (200..600).contains(&status) => ok.push(status),
            _ => reader.report().error(found.spot(), "`ok` is a list of HTTP statuses"),
        }
    }
    let secret = |key| super::source::secret(reader, key, &SOURCES).map(|found| found.value);
    let (credential, sign) = (secret("credential"), secret("sign"));
    Some(CallSpec { url: url?, method, json, credential, sign, ok, site: SiteSpec::decode(reader) })
}
