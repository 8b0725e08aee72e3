//! A hook of a token.

use std::time::Duration;

use rustix::process::Signal;

use crate::document::{Located, Reader, Spot};
use crate::inventory::{OnFailure, UnitAction, Workload, values};
use crate::process;
use crate::secret::SecretSource;

use super::reach::SiteSpec;
use super::source::{SOURCES, argv, pass_env};

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

pub(super) fn hook(reader: Reader<'_>) -> Option<HookSpec> {
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
