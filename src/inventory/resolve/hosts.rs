//! `hosts` of stores and hooks: machines that have a file each, or run a program, by the agent there.

use std::collections::BTreeSet;

use crate::document::{Located, Spot};
use crate::inventory::spec::{StoreKindSpec, StoreSpec};
use crate::inventory::{CheckPolicy, Existing, HookKind, HostHook, HostSelector, OnDrift};
use crate::names::{HostName, Label};

use super::Context;

/// The hosts that something is on.
pub(super) enum On {
    Named(Vec<HostName>),
    Selected(HostSelector),
}

/// The hosts of a store of the token that messages call `what`. `None` where something is wrong.
pub(super) fn of_store(
    spec: &StoreSpec,
    hosts: &Located<Vec<Located<String>>>,
    what: &str,
    context: &Context<'_>,
) -> Option<On> {
    let refuse = |spot: Spot, why: String, help: &str| context.report.error_with_help(spot, why, help);
    let errors = context.report.errors();
    if context.fleet.is_none() {
        let help = "several hosts are written by agents of a fleet: docs/fleet.md; alone, patrold writes files of its own \
                    machine, without `hosts`";
        refuse(hosts.spot, format!("a store of {what} has `hosts`, and the inventory has no [fleet]"), help);
    }
    if !matches!(spec.kind, StoreKindSpec::File(_)) {
        let help = match spec.kind {
            StoreKindSpec::Directory(_) => {
                "an agent writes single files: write a store of kind \"file\" for each of them"
            }
            _ => "only files are of a host; a program runs on the replica that owns the account",
        };
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
    let named = names(hosts, &format!("a store of {what}"), context);
    named.filter(|_| context.report.errors() == errors)
}

/// The hosts of a hook of the token that messages call `what`. `None` where something is wrong.
pub(super) fn of_hook(
    kind: &HookKind,
    hosts: &Located<Vec<Located<String>>>,
    what: &str,
    context: &Context<'_>,
) -> Option<On> {
    let refuse = |why: String, help: &str| context.report.error_with_help(hosts.spot, why, help);
    let errors = context.report.errors();
    if context.fleet.is_none() {
        let help = "several hosts have agents of a fleet: docs/fleet.md; alone, patrold runs hooks on its own machine, \
                    without `hosts`";
        refuse(format!("a hook of {what} has `hosts`, and the inventory has no [fleet]"), help);
    }
    if HostHook::of(kind).is_none() {
        if let HookKind::Signal(_) = kind {
            let help = "leave `of` out, or name a unit or a pid-file: users have other numbers on other machines";
            refuse(format!("a hook of {what} has `hosts` and `of`"), help);
        } else {
            let help =
                "hooks of kind run, check, systemd and signal can be of hosts; an address is called from the replica";
            refuse(format!("a hook of {what} has `hosts`, and is of a kind that no agent runs"), help);
        }
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

/// What `hosts` of what messages call `what` means: names, or what the hosts are.
fn names(hosts: &Located<Vec<Located<String>>>, what: &str, context: &Context<'_>) -> Option<On> {
    let refuse = |spot: Spot, why: String, help: &str| context.report.error_with_help(spot, why, help);
    let errors = context.report.errors();
    if hosts.value.is_empty() {
        let help = "write hosts = [\"web-1\", …], or leave it out";
        refuse(hosts.spot, format!("`hosts` of {what} names none"), help);
    }
    let is_selector = |text: &str| text == "*" || text.contains('=');
    let selects = hosts.value.iter().any(|text| is_selector(&text.value));
    let every = hosts.value.iter().any(|text| text.value == "*");
    let (mut names, mut labels, mut seen) = (Vec::with_capacity(hosts.value.len()), BTreeSet::new(), BTreeSet::new());
    for text in &hosts.value {
        if !seen.insert(text.value.as_str()) {
            refuse(text.spot, format!("`hosts` of {what} names {} twice", text.value), "remove one of the two");
        } else if selects && !is_selector(&text.value) {
            let help = "give that host the label, too: `labels` of its [agent]";
            refuse(text.spot, format!("`hosts` of {what} mixes labels with the name {}", text.value), help);
        } else if every && text.value != "*" {
            let help = "\"*\" means every host: leave the others out";
            refuse(text.spot, format!("`hosts` of {what} has {} besides \"*\"", text.value), help);
        } else if selects && !every {
            match text.value.parse::<Label>() {
                Ok(label) => drop(labels.insert(label)),
                Err(error) => {
                    let message = format!("\"{}\" in `hosts` of {what} is no label: {error}", text.value);
                    refuse(text.spot, message, "write what `labels` of [agent] says on those machines");
                }
            }
        } else if !selects {
            match text.value.parse::<HostName>() {
                Ok(name) => names.push(name),
                Err(error) => {
                    let message =
                        format!("\"{}\" in `hosts` of {what} is not a valid name of a host: {error}", text.value);
                    refuse(text.spot, message, "write what `host` of [agent] says on that machine");
                }
            }
        }
    }
    let on = match (every, selects) {
        (true, _) => On::Selected(HostSelector::Every),
        (false, true) => On::Selected(HostSelector::Labelled(labels)),
        (false, false) => On::Named(names),
    };
    (context.report.errors() == errors).then_some(on)
}
