//! A hook as the agent of a host is told: what of a hook travels there, and what the agent makes of it.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::process::signal::{parse, word};

use super::hook::{CheckPolicy, HookKind, RunPolicy, SignalPolicy, SignalTarget, UnitAction, UnitPolicy};

/// A hook as the agent of a host is told. Stored state: agents of other versions read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HostHook {
    Run {
        argv: Vec<String>,
    },
    Check {
        argv: Vec<String>,
        within: Duration,
        every: Duration,
    },
    Systemd {
        unit: String,
        action: UnitAction,
        user: bool,
        steady: Duration,
    },
    Signal {
        /// By its name, without `SIG`.
        #[serde(serialize_with = "write_signal", deserialize_with = "read_signal")]
        signal: Signal,
        target: HostProcess,
        may_be_absent: bool,
    },
}

/// Who gets a signal on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HostProcess {
    /// The main process of a unit of systemd.
    Unit { unit: String, user: bool },
    /// The process whose number a file holds; with `exe`, only if that is its program.
    PidFile { pid_file: PathBuf, exe: Option<PathBuf> },
    /// Every process of a program.
    Program { exe: PathBuf },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn write_signal<S: Serializer>(signal: &Signal, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(word(*signal))
}

fn read_signal<'de, D: Deserializer<'de>>(from: D) -> Result<Signal, D::Error> {
    let name = String::deserialize(from)?;
    parse(&name).map_err(serde::de::Error::custom)
}

impl HostHook {
    /// What the agent of a host is told of `kind`. `None`: a hook of this kind is none of a host.
    pub fn of(kind: &HookKind) -> Option<Self> {
        match kind {
            HookKind::Run(run) => Some(Self::Run { argv: run.argv.clone() }),
            HookKind::Check(CheckPolicy { run, within, every }) => {
                Some(Self::Check { argv: run.argv.clone(), within: *within, every: *every })
            }
            HookKind::Systemd(UnitPolicy { unit, action, user, steady, .. }) => {
                Some(Self::Systemd { unit: unit.clone(), action: *action, user: *user, steady: *steady })
            }
            HookKind::Signal(SignalPolicy { signal, target, may_be_absent }) => {
                let target = match target {
                    SignalTarget::Unit { unit, user, .. } => HostProcess::Unit { unit: unit.clone(), user: *user },
                    SignalTarget::PidFile { pid_file, exe } => {
                        HostProcess::PidFile { pid_file: pid_file.clone(), exe: exe.clone() }
                    }
                    SignalTarget::Program { exe, of: None } => HostProcess::Program { exe: exe.clone() },
                    // The number of a user here is another's there.
                    SignalTarget::Program { of: Some(_), .. } => return None,
                };
                Some(Self::Signal { signal: *signal, target, may_be_absent: *may_be_absent })
            }
            HookKind::Http(_) | HookKind::Rollout(_) => None,
        }
    }

    /// What the machine runs that it is told to; no variable of its environment is passed.
    pub fn kind(&self) -> HookKind {
        let run = |argv: &[String]| RunPolicy { argv: argv.to_vec(), pass_env: Vec::new() };
        match self {
            Self::Run { argv } => HookKind::Run(run(argv)),
            Self::Check { argv, within, every } => {
                HookKind::Check(CheckPolicy { run: run(argv), within: *within, every: *every })
            }
            Self::Systemd { unit, action, user, steady } => {
                HookKind::Systemd(UnitPolicy::new(unit, *action, *user, *steady))
            }
            Self::Signal { signal, target, may_be_absent } => {
                let target = match target {
                    HostProcess::Unit { unit, user } => SignalTarget::unit(unit, *user, *signal),
                    HostProcess::PidFile { pid_file, exe } => {
                        SignalTarget::PidFile { pid_file: pid_file.clone(), exe: exe.clone() }
                    }
                    HostProcess::Program { exe } => SignalTarget::Program { exe: exe.clone(), of: None },
                };
                HookKind::Signal(SignalPolicy { signal: *signal, target, may_be_absent: *may_be_absent })
            }
        }
    }

    /// Program and arguments as the file of the agent has to name them.
    pub fn command(&self) -> Vec<String> {
        match self {
            Self::Run { argv } | Self::Check { argv, .. } => argv.clone(),
            Self::Systemd { unit, action, user, .. } => {
                let words = ["systemctl"].into_iter().chain(user.then_some("--user"));
                words.chain([action.verb(), unit]).map(str::to_owned).collect()
            }
            Self::Signal { signal, target, .. } => {
                let (signal, exe) = (word(*signal), |exe: &PathBuf| format!("--exe={}", exe.display()));
                let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
                match target {
                    HostProcess::Unit { unit, user: false } => {
                        words(&["systemctl", "kill", &format!("--signal={signal}"), unit])
                    }
                    HostProcess::Unit { unit, user: true } => {
                        words(&["systemctl", "--user", "kill", &format!("--signal={signal}"), unit])
                    }
                    HostProcess::PidFile { pid_file, exe: of } => {
                        let mut line = words(&["kill", &format!("-{signal}")]);
                        line.push(format!("--pid-file={}", pid_file.display()));
                        line.extend(of.as_ref().map(exe));
                        line
                    }
                    HostProcess::Program { exe: of } => words(&["kill", &format!("-{signal}"), &exe(of)]),
                }
            }
        }
    }

    /// How long a run may take beyond the time of one program.
    pub fn length(&self) -> Duration {
        match self {
            Self::Run { .. } | Self::Signal { .. } => Duration::ZERO,
            Self::Check { within, .. } => *within,
            Self::Systemd { steady, .. } => *steady,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_on_a_host_is_told_in_words_that_its_agent_allows() {
        let signal = |target| HookKind::Signal(SignalPolicy { signal: Signal::HUP, target, may_be_absent: true });
        let unit = |user| SignalTarget::unit("gps", user, Signal::HUP);
        let pid_file =
            |exe: Option<&str>| SignalTarget::PidFile { pid_file: "/run/gps.pid".into(), exe: exe.map(Into::into) };
        let program = |of| SignalTarget::Program { exe: "/usr/bin/gps".into(), of };
        for (target, words) in [
            (unit(false), Some("systemctl kill --signal=HUP gps.service")),
            (unit(true), Some("systemctl --user kill --signal=HUP gps.service")),
            (pid_file(None), Some("kill -HUP --pid-file=/run/gps.pid")),
            (pid_file(Some("/usr/bin/gps")), Some("kill -HUP --pid-file=/run/gps.pid --exe=/usr/bin/gps")),
            (program(None), Some("kill -HUP --exe=/usr/bin/gps")),
            (program(Some(1000)), None),
        ] {
            let kind = signal(target);
            let hook = HostHook::of(&kind);
            assert_eq!(hook.as_ref().map(|hook| hook.command().join(" ")).as_deref(), words, "{kind:?}");
            let Some(hook) = hook else { continue };
            assert_eq!(hook.kind(), kind, "the agent does what the inventory says");
            let text = serde_json::to_string(&hook).unwrap();
            assert_eq!(serde_json::from_str::<HostHook>(&text).unwrap(), hook, "{text}");
        }
    }
}
