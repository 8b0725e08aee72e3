//! How the consumers of a token are told of a new secret.

use std::time::Duration;

use crate::names::{HookKey, hex};

/// One hook of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookPolicy {
    /// Of the kind: hooks of one key share runs, whichever token they belong to.
    pub key: HookKey,
    pub kind: HookKind,
    pub timeout: Duration,
    pub on_failure: OnFailure,
}

impl HookPolicy {
    /// Program and arguments of what is started on this machine; `None` where nothing is.
    pub fn command(&self) -> Option<&[String]> {
        match &self.kind {
            HookKind::Run(run) | HookKind::Check(CheckPolicy { run, .. }) => Some(&run.argv),
            HookKind::Systemd(unit) => Some(&unit.argv),
        }
    }

    /// Whether it proves that consumers have the new secret, instead of telling them of it: it runs after those that tell.
    pub fn proves(&self) -> bool {
        match self.kind {
            HookKind::Check(_) => true,
            HookKind::Run(_) | HookKind::Systemd(_) => false,
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
}

/// What is asked of systemd for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// What is affected, in one line: the command as people would type it, or the unit.
    pub fn key(&self) -> HookKey {
        let text = match self {
            Self::Run(run) => typed(&run.argv),
            Self::Systemd(UnitPolicy { unit, action, user, .. }) => {
                format!("systemd{}: {} {unit}", if *user { " --user" } else { "" }, action.verb())
            }
            Self::Check(check) => format!("check: {}", typed(&check.run.argv)),
        };
        shortened(text).parse().expect("not empty, at most 1000 bytes, and Debug escapes control characters")
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
