//! `hosts` of stores and hooks: machines that have a file each, or run a program, by the agent there.

use std::collections::BTreeSet;

use crate::document::{Located, Spot};
use crate::inventory::spec::{StoreKindSpec, StoreSpec};
use crate::inventory::{CheckPolicy, Existing, HookKind, HostHook, OnDrift, OnLeave};
use crate::names::HostName;

use super::Context;

/// The hosts of a store of the token that messages call `what`. `None` where something is wrong.
pub(super) fn of_store(
    spec: &StoreSpec,
    hosts: &Located<Vec<Located<String>>>,
    what: &str,
    context: &Context<'_>,
) -> Option<Vec<HostName>> {
    let refuse = |spot: Spot, why: String, help: &str| context.report.error_with_help(spot, why, help);
    let errors = context.report.errors();
    if context.fleet.is_none() {
        let help = "several hosts are written by agents of a fleet: docs/fleet.md; alone, patrold writes files of its own \
                    machine, without `hosts`";
        refuse(hosts.spot, format!("a store of {what} has `hosts`, and the inventory has no [fleet]"), help);
    }
    if !matches!(spec.kind, StoreKindSpec::File(_)) {
        let help = "only files are of a host; a program runs on the replica that owns the account";
        refuse(hosts.spot, format!("a store of {what} has `hosts`, and is no file"), help);
    }
    if spec.existing == Some(Existing::Refuse) {
        let help = "write existing = \"replace\", or leave it out: an agent cannot tell patrold's values from others";
        refuse(hosts.spot, format!("a store of {what} has `hosts` and existing = \"refuse\""), help);
    }
    if spec.on_drift == Some(OnDrift::Report) {
        let help = "write on-drift = \"repair\", or leave it out: an agent cannot tell patrold's values from others";
        refuse(hosts.spot, format!("a store of {what} has `hosts` and on-drift = \"report\""), help);
    }
    if let Some(Located { value: OnLeave::Erase, spot }) = &spec.on_leave {
        let help = "write on-leave = \"keep\", or leave it out: an agent removes nothing";
        refuse(*spot, format!("a store of {what} has `hosts` and on-leave = \"erase\""), help);
    }
    let named = names(hosts, &format!("a store of {what}"), context);
    named.filter(|_| context.report.errors() == errors)
}

/// The hosts of a hook of the token that messages call `what`. `None` where something is wrong.
pub(super) fn of_hook(
    kind: &HookKind,
    hosts: &Located<Vec<Located<String>>>,
    what: &str,
    context: &Context<'_>,
) -> Option<Vec<HostName>> {
    let refuse = |why: String, help: &str| context.report.error_with_help(hosts.spot, why, help);
    let errors = context.report.errors();
    if context.fleet.is_none() {
        let help = "several hosts have agents of a fleet: docs/fleet.md; alone, patrold runs hooks on its own machine, \
                    without `hosts`";
        refuse(format!("a hook of {what} has `hosts`, and the inventory has no [fleet]"), help);
    }
    if HostHook::of(kind).is_none() {
        let help = "hooks of kind run, check and systemd can be of hosts; an address is called from the replica";
        refuse(format!("a hook of {what} has `hosts`, and is of a kind that no agent runs"), help);
    }
    if let HookKind::Run(run) | HookKind::Check(CheckPolicy { run, .. }) = kind
        && !run.pass_env.is_empty()
    {
        let help = "remove it: an agent passes none of its variables on";
        refuse(format!("a hook of {what} has `hosts` and `pass-env`"), help);
    }
    let named = names(hosts, &format!("a hook of {what}"), context);
    named.filter(|_| context.report.errors() == errors)
}

/// The names in `hosts` of what messages call `what`.
fn names(hosts: &Located<Vec<Located<String>>>, what: &str, context: &Context<'_>) -> Option<Vec<HostName>> {
    let errors = context.report.errors();
    if hosts.value.is_empty() {
        let help = "write hosts = [\"web-1\", …], or leave it out";
        context.report.error_with_help(hosts.spot, format!("`hosts` of {what} names none"), help);
    }
    let (mut names, mut seen) = (Vec::with_capacity(hosts.value.len()), BTreeSet::new());
    for text in &hosts.value {
        match text.value.parse::<HostName>() {
            Ok(name) if seen.insert(name.clone()) => names.push(name),
            Ok(name) => {
                let message = format!("`hosts` of {what} names {name} twice");
                context.report.error_with_help(text.spot, message, "remove one of the two");
            }
            Err(error) => {
                let message = format!("\"{}\" in `hosts` of {what} is not a valid name of a host: {error}", text.value);
                let help = "write what `host` of [agent] says on that machine";
                context.report.error_with_help(text.spot, message, help);
            }
        }
    }
    (context.report.errors() == errors).then_some(names)
}
