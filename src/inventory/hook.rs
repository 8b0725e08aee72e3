//! How the consumers of a token are told of a new secret.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::names::{HookKey, HostName, hex};
use crate::process::signal::word;
use crate::secret::SecretSource;

use super::{SitePolicy, values};

/// One hook of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookPolicy {
    /// Of the kind: hooks of one key share runs, whichever token they belong to.
    pub key: HookKey,
    pub kind: HookKind,
    pub timeout: Duration,
    pub on_failure: OnFailure,
    pub pace: Pace,
    /// The host whose agent runs it. `None`: this process does.
    pub host: Option<HostName>,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Hooks of a wave run once all of the waves before have succeeded.
    pub wave: u32,
    /// How long a run waits for other tokens that want the same one.
    pub coalesce: Option<Duration>,
    /// It runs up to so much later, drawn anew each time.
    pub splay: Option<Duration>,
    /// One run begins at most in this time, whoever asks.
    pub once_per: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { wave: 1, coalesce: None, splay: None, once_per: None }
    }
}

impl HookPolicy {
    /// Program and arguments of what is started on this machine; `None` where nothing is.
    pub fn command(&self) -> Option<&[String]> {
        if self.host.is_some() {
            return None;
        }
        match &self.kind {
            HookKind::Run(run) | HookKind::Check(CheckPolicy { run, .. }) => Some(&run.argv),
            HookKind::Systemd(unit) => Some(&unit.argv),
            HookKind::Signal(SignalPolicy { target: SignalTarget::Unit { argv, .. }, .. }) => Some(argv),
            HookKind::Signal(_) | HookKind::Http(_) | HookKind::Rollout(_) => None,
        }
    }

    /// Everything secret that it refers to.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        let (own, site) = match &self.kind {
            HookKind::Http(call) => ([call.credential.as_ref(), call.sign.as_ref()], Some(&call.site)),
            HookKind::Rollout(rollout) => ([rollout.credential.as_ref(), None], Some(&rollout.site)),
            HookKind::Run(_) | HookKind::Systemd(_) | HookKind::Check(_) | HookKind::Signal(_) => ([None, None], None),
        };
        own.into_iter().flatten().chain(site.into_iter().flat_map(SitePolicy::secrets))
    }

    /// Whether it proves that consumers have the new secret, instead of telling them of it: it runs after those that tell.
    pub fn proves(&self) -> bool {
        match self.kind {
            HookKind::Check(_) => true,
            HookKind::Run(_)
            | HookKind::Systemd(_)
            | HookKind::Signal(_)
            | HookKind::Http(_)
            | HookKind::Rollout(_) => false,
        }
    }
}

/// The kinds of hooks, each with all that a run needs. Closed, so that an unhandled kind does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// A program is run.
    Run(RunPolicy),
    /// A unit of systemd is reloaded or restarted, and must stay up.
    Systemd(UnitPolicy),
    /// A program proves that the consumers work with the new secret.
    Check(CheckPolicy),
    /// A process gets a signal.
    Signal(SignalPolicy),
    /// An address is called.
    Http(Box<CallPolicy>),
    /// A workload of Kubernetes starts its pods anew, and all of them must come to work.
    Rollout(Box<RolloutPolicy>),
}

/// A workload of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutPolicy {
    /// Of the workload, at the API server.
    pub url: Url,
    pub workload: Workload,
    pub namespace: String,
    pub name: String,
    /// Sent as `Authorization: Bearer`.
    pub credential: Option<SecretSource>,
    /// How long it may take before that counts as a failure of the hook.
    pub within: Duration,
    /// How long after a look the next one begins.
    pub every: Duration,
    pub site: SitePolicy,
}

impl RolloutPolicy {
    /// The workload as `kubectl` names it.
    pub fn workload_name(&self) -> String {
        format!("{}/{} in {}", self.workload.word(), self.name, self.namespace)
    }
}

/// What starts pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl Workload {
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];

    /// Reads a workload and its name as `kubectl` writes them: `deployment/app`.
    pub fn named(text: &str) -> Result<(Self, String), String> {
        let wrong =
            || format!("\"{text}\" is no workload; write for example \"deployment/app\", statefulset or daemonset");
        let (word, name) = text.split_once('/').ok_or_else(wrong)?;
        let workload = Self::ALL.into_iter().find(|it| it.word() == word).ok_or_else(wrong)?;
        Ok((workload, values::kubernetes_name(name)?))
    }

    /// As `kubectl` spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
        }
    }
}

/// A signal, and who gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalPolicy {
    pub signal: Signal,
    pub target: SignalTarget,
    /// Where no such process runs, there is nobody to tell: it reads the stores when it starts.
    pub may_be_absent: bool,
}

/// Who gets a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalTarget {
    /// The main process of a unit of systemd, which sends it.
    Unit { unit: String, user: bool, argv: Vec<String> },
    /// The process whose number a file holds; with `exe`, only if that is its program.
    PidFile { pid_file: PathBuf, exe: Option<PathBuf> },
    /// Every process of a program; with `of`, only those of this user.
    Program { exe: PathBuf, of: Option<u32> },
}

impl SignalTarget {
    /// The main process of a unit.
    pub fn unit(name: &str, user: bool, signal: Signal) -> Self {
        let unit = full_unit_name(name);
        let signal = format!("--signal={}", word(signal));
        let user_flag = user.then_some("--user");
        let words = ["systemctl", "--no-ask-password"].into_iter().chain(user_flag);
        let words = words.chain(["kill", "--kill-who=main", &signal, &unit]);
        let argv = words.map(str::to_owned).collect();
        Self::Unit { unit, user, argv }
    }
}

/// A request that tells a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPolicy {
    pub url: Url,
    pub method: Method,
    /// The body; `None`: what happened to which tokens.
    pub json: Option<serde_json::Value>,
    /// Sent as `Authorization: Bearer`.
    pub credential: Option<SecretSource>,
    /// The key that the body is signed with.
    pub sign: Option<SecretSource>,
    /// The statuses that mean success; empty: any 2xx.
    pub ok: Vec<u16>,
    pub site: SitePolicy,
}

/// What is asked of systemd for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitAction {
    Reload,
    Restart,
    TryRestart,
    ReloadOrRestart,
    TryReloadOrRestart,
}

impl UnitAction {
    /// As `systemctl` spells it.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Restart => "restart",
            Self::TryRestart => "try-restart",
            Self::ReloadOrRestart => "reload-or-restart",
            Self::TryReloadOrRestart => "try-reload-or-restart",
        }
    }
}

/// A unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitPolicy {
    /// With its suffix.
    pub unit: String,
    pub action: UnitAction,
    /// Of the daemon's user, and not of the system.
    pub user: bool,
    /// How long it must stay up after its job was done.
    pub steady: Duration,
    /// The call of `systemctl` that begins the job.
    pub argv: Vec<String>,
}

impl UnitPolicy {
    /// With the call that it needs.
    pub fn new(name: &str, action: UnitAction, user: bool, steady: Duration) -> Self {
        let unit = full_unit_name(name);
        let user_flag = user.then_some("--user");
        let words = ["systemctl", "--no-ask-password"].into_iter().chain(user_flag).chain([action.verb(), &unit]);
        let argv = words.map(str::to_owned).collect();
        Self { unit, action, user, steady, argv }
    }
}

/// Suffixes of units (`systemd.unit(5)`).
const UNIT_SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".target",
    ".timer",
    ".path",
    ".mount",
    ".automount",
    ".swap",
    ".device",
    ".slice",
    ".scope",
];

/// The name of a unit with its suffix, as `systemctl` completes it: one without is a service.
pub fn full_unit_name(name: &str) -> String {
    let named = UNIT_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    if named { name.to_owned() } else { format!("{name}.service") }
}

/// A program that succeeds once consumers work with the new secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPolicy {
    pub run: RunPolicy,
    /// How long it is run again after it did not succeed, before that counts as a failure of the hook.
    pub within: Duration,
    /// How long after a run that did not succeed the next one begins.
    pub every: Duration,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPolicy {
    /// Program and arguments, never through a shell.
    pub argv: Vec<String>,
    /// Names of the daemon's environment variables that it may see.
    pub pass_env: Vec<String>,
}

impl HookKind {
    /// What is affected, in one line: the command as people would type it, or the unit; and the host where it is.
    pub fn key(&self, host: Option<&HostName>) -> HookKey {
        let there = host.map(|host| format!("@{host}")).unwrap_or_default();
        let text = match self {
            Self::Run(run) => typed(&run.argv),
            Self::Systemd(UnitPolicy { unit, action, user, .. }) => {
                format!("systemd{}: {} {unit}", if *user { " --user" } else { "" }, action.verb())
            }
            Self::Check(check) => format!("check: {}", typed(&check.run.argv)),
            Self::Signal(SignalPolicy { signal, target, .. }) => {
                let signal = word(*signal);
                match target {
                    SignalTarget::Unit { unit, user: false, .. } => format!("signal {signal}: {unit}"),
                    SignalTarget::Unit { unit, user: true, .. } => format!("signal {signal} --user: {unit}"),
                    SignalTarget::PidFile { pid_file, .. } => format!("signal {signal}: {:?}", pid_file.display()),
                    SignalTarget::Program { exe, of: None } => {
                        format!("signal {signal}: processes of {:?}", exe.display())
                    }
                    SignalTarget::Program { exe, of: Some(user) } => {
                        format!("signal {signal}: processes of {:?} of user {user}", exe.display())
                    }
                }
            }
            Self::Rollout(rollout) => {
                format!("rollout {} at {}", rollout.workload_name(), rollout.url.host_str().unwrap_or_default())
            }
            Self::Http(call) => {
                let body = call.json.as_ref().map(|json| format!(" {json}")).unwrap_or_default();
                format!("http {} {}{body}", call.method, call.url)
            }
        };
        let key = shortened(text) + &there;
        key.parse().expect("not empty, at most 1065 bytes, and Debug escapes control characters")
    }
}

/// The command as people would type it, with words quoted that need it.
fn typed(argv: &[String]) -> String {
    let plain = |word: &String| {
        !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\'))
    };
    let words: Vec<String> =
        argv.iter().map(|word| if plain(word) { word.clone() } else { format!("{word:?}") }).collect();
    words.join(" ")
}

/// A very long text by its beginning and digest.
fn shortened(text: String) -> String {
    const LONGEST: usize = 1000;
    if text.len() <= LONGEST {
        return text;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let start: String = text.chars().take(60).collect();
    format!("{start}… {}", hex(digest.as_ref()))
}

/// What becomes of a rotation whose hook does not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Keep trying; the old generation is not revoked meanwhile.
    Retry,
    /// Old secret back into all stores, hooks again, new generation revoked.
    Rollback,
    /// Note it and go on.
    Continue,
}
