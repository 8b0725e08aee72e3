//! `[[token.hooks]]`, and the units that a token names: how its consumers are told.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::Method;

use crate::document::{Located, Spot};
use crate::inventory::spec::{HookKindSpec, HookSpec, PaceSpec, RunSpec, SignalSpec, TokenSpec, UnitSpec, UnitVerb};
use crate::inventory::{
    CallPolicy, CheckPolicy, HookKind, HookPolicy, Pace, RolloutPolicy, RunPolicy, Selected, SelectedHook,
    SignalPolicy, SignalTarget, UnitAction, UnitPolicy, defaults,
};
use crate::names::HostName;

use super::Context;
use super::account;
use super::hosts::{self, On};
use super::program::cannot_start;

/// Turns hook specs into policies.
pub(super) struct Hooks<'c> {
    pub(super) context: &'c Context<'c>,
}

impl Hooks<'_> {
    /// The hooks of a token; those of hosts by their labels go into `selected`.
    pub(super) fn of(&self, token: &TokenSpec, selected: &mut Selected, what: &str) -> Vec<HookPolicy> {
        let units: Vec<_> = token.units.iter().map(|unit| self.unit_hook(unit)).collect();
        let mut seen = HashSet::with_capacity(units.len() + token.hooks.len());
        let mut hooks = Vec::with_capacity(units.len() + token.hooks.len());
        for spec in units.iter().chain(&token.hooks) {
            let timeout = spec.timeout.unwrap_or(defaults::HOOK_TIMEOUT);
            let Some((kind, spot)) = self.hook_kind(&spec.kind, timeout, what) else { continue };
            let on = match &spec.hosts {
                Some(named) => match hosts::of_hook(&kind, named, what, self.context) {
                    Some(On::Named(hosts)) => hosts.into_iter().map(Some).collect(),
                    Some(On::Selected(hosts)) => {
                        let policy = hook_policy(spec, kind, timeout, None);
                        selected.hooks.push(SelectedHook { hosts, policy });
                        continue;
                    }
                    None => continue,
                },
                None => vec![None],
            };
            if spec.hosts.is_none()
                && self.context.fleet.is_some()
                && !matches!(kind, HookKind::Http(_) | HookKind::Rollout(_))
            {
                let unit = matches!(kind, HookKind::Systemd(_) | HookKind::Signal(_));
                self.check_reach(unit, spot, what);
            }
            for host in on {
                let hook = hook_policy(spec, kind.clone(), timeout, host);
                if !seen.insert(hook.key.clone()) {
                    let message = format!("{what} runs this command twice after each rotation");
                    self.context.report.error_with_help(spot, message, "remove one of the two hooks");
                    continue;
                }
                hooks.push(hook);
            }
        }
        hooks
    }

    /// A hook of a fleet runs where the account is owned, which is no consumer's host in particular.
    fn check_reach(&self, unit: bool, spot: Spot, what: &str) {
        let report = self.context.report;
        if unit {
            let message = format!("a hook of {what} reaches what runs on whichever replica owns its account");
            let help = "name the hosts whose agents run it, `hosts = [\"web-1\", …]` of the hook; or tell the consumers through \
                        something that all replicas reach (run = [\"ssh\", …])";
            report.error_with_help(spot, message, help);
        } else {
            let message = format!("a hook of {what} runs on the replica that owns its account, and on no other");
            report.warning(spot, message, "see that it reaches its consumers from every replica");
        }
    }

    fn hook_kind(&self, spec: &HookKindSpec, timeout: Duration, what: &str) -> Option<(HookKind, Spot)> {
        Some(match spec {
            HookKindSpec::Run(run) => (HookKind::Run(self.program(run, what)), run.argv.spot),
            HookKindSpec::Systemd { unit, action, user, steady } => {
                let action = action.unwrap_or(defaults::UNIT_ACTION);
                let steady = steady.unwrap_or(defaults::STEADY);
                (HookKind::Systemd(UnitPolicy::new(&unit.value, action, *user, steady)), unit.spot)
            }
            HookKindSpec::Check { run, within, every } => {
                let check = CheckPolicy {
                    run: self.program(run, what),
                    within: within.unwrap_or(defaults::CHECK_WITHIN),
                    every: every.unwrap_or(defaults::CHECK_EVERY),
                };
                (HookKind::Check(check), run.argv.spot)
            }
            HookKindSpec::Signal(spec) => (HookKind::Signal(self.signal(spec, what)?), spec.spot),
            HookKindSpec::Rollout(spec) => {
                let about = format!("a hook of {what}");
                let site = account::site(&spec.site, timeout, &about, self.context);
                let mut url = account::url(&spec.url, (spec.site.allow_plaintext, None), &about, self.context)?;
                let (workload, name) = spec.workload.clone();
                let path = format!(
                    "{}/apis/apps/v1/namespaces/{}/{}s/{name}",
                    url.path().trim_end_matches('/'),
                    spec.namespace,
                    workload.word()
                );
                url.set_path(&path);
                let rollout = RolloutPolicy {
                    url,
                    workload,
                    namespace: spec.namespace.clone(),
                    name,
                    credential: spec.credential.clone(),
                    within: spec.within.unwrap_or(defaults::ROLLOUT_WITHIN),
                    every: spec.every.unwrap_or(defaults::CHECK_EVERY),
                    site,
                };
                (HookKind::Rollout(Box::new(rollout)), spec.url.spot)
            }
            HookKindSpec::Http(spec) => {
                let about = format!("a hook of {what}");
                let site = account::site(&spec.site, timeout, &about, self.context);
                let call = CallPolicy {
                    url: account::url(&spec.url, (spec.site.allow_plaintext, None), &about, self.context)?,
                    method: spec.method.and_then(|word| word.parse().ok()).unwrap_or(Method::POST),
                    json: spec.json.clone(),
                    credential: spec.credential.clone(),
                    sign: spec.sign.clone(),
                    ok: spec.ok.clone(),
                    site,
                };
                (HookKind::Http(Box::new(call)), spec.url.spot)
            }
        })
    }

    fn signal(&self, spec: &SignalSpec, what: &str) -> Option<SignalPolicy> {
        let context = self.context;
        let path = |text: &Located<String>, key: &str| {
            account::absolute(text, format_args!("`{key}` of a hook of {what}"), context)
        };
        let of = match &spec.of {
            Some(name) => {
                let number = name.value.parse().ok().or_else(|| (context.around.user)(&name.value));
                if number.is_none() {
                    let message = format!("`of` of a hook of {what}: there is no user \"{}\"", name.value);
                    context.report.error_with_help(name.spot, message, "name a user of this machine");
                    return None;
                }
                number
            }
            None => None,
        };
        let signal = spec.signal.unwrap_or(defaults::HOOK_SIGNAL);
        let target = match (&spec.unit, &spec.pid_file, &spec.exe) {
            (Some(unit), ..) => SignalTarget::unit(&unit.value, spec.user, signal),
            (None, Some(pid_file), exe) => SignalTarget::PidFile {
                pid_file: path(pid_file, "pid-file")?,
                exe: match exe {
                    Some(exe) => Some(path(exe, "exe")?),
                    None => None,
                },
            },
            (None, None, exe) => SignalTarget::Program { exe: path(exe.as_ref()?, "exe")?, of },
        };
        Some(SignalPolicy { signal, target, may_be_absent: spec.may_be_absent })
    }

    fn program(&self, spec: &RunSpec, what: &str) -> RunPolicy {
        if let Some((why, help)) = spec.argv.value.first().and_then(|program| cannot_start(program)) {
            let message = format!("the hook {:?} of {what} can never be started: {why}", spec.argv.value[0]);
            self.context.report.error_with_help(spec.argv.spot, message, help);
        }
        RunPolicy { argv: spec.argv.value.clone(), pass_env: spec.pass_env.clone() }
    }

    /// What tells the service manager of a new secret; a unit that does not run is left alone.
    fn unit_hook(&self, spec: &UnitSpec) -> HookSpec {
        let action = match spec.verb {
            UnitVerb::Restart => UnitAction::TryRestart,
            UnitVerb::Reload => UnitAction::TryReloadOrRestart,
        };
        let user = self.context.around.user_services;
        let kind = HookKindSpec::Systemd { unit: spec.name.clone(), action: Some(action), user, steady: None };
        HookSpec { timeout: None, on_failure: None, kind, pace: PaceSpec::default(), hosts: None }
    }
}

/// One hook, on `host` or where the account is owned.
fn hook_policy(spec: &HookSpec, kind: HookKind, timeout: Duration, host: Option<HostName>) -> HookPolicy {
    HookPolicy {
        key: kind.key(host.as_ref()),
        kind,
        timeout,
        on_failure: spec.on_failure.unwrap_or(defaults::ON_FAILURE),
        pace: Pace {
            wave: spec.pace.wave.unwrap_or(Pace::default().wave),
            coalesce: spec.pace.coalesce,
            splay: spec.pace.splay,
            once_per: spec.pace.once_per,
        },
        host,
    }
}
