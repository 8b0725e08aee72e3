//! `[agent]`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::document::Located;
use crate::inventory::agent::{AgentSettings, PathPattern};
use crate::inventory::spec::AgentSpec;
use crate::names::{HostName, Label};
use crate::secret::SecretSource;

use super::Context;
use super::account::absolute;
use super::fleet::{self, engine};
use super::program::cannot_start;

/// The settings of the agent whose file is at `file`. `None` where something is wrong with them.
pub(super) fn resolve(spec: &AgentSpec, file: &Path, context: &Context<'_>) -> Option<AgentSettings> {
    let report = context.report;
    let fleet = spec.fleet.as_ref().and_then(|text| fleet::name(text, context));
    let host = host(spec, context);
    let labels = labels(spec, context);
    let state_dir = match &spec.state_dir {
        Some(text) => absolute(text, "`state-dir` of [agent]", context),
        None => context.around.state_dir.map(Path::to_owned),
    };
    if spec.state_dir.is_none() && state_dir.is_none() {
        let message = "there is no state directory: neither $STATE_DIRECTORY nor $XDG_STATE_HOME nor $HOME is set";
        report.error_with_help(spec.spot, message, "write state-dir = \"/var/lib/patrold\" in [agent]");
    }
    let pattern = |text: &Located<String>| match PathPattern::parse(&text.value) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let message = format!("\"{}\" in `paths` of [agent] is no pattern: {error}", text.value);
            report.error_with_help(text.spot, message, "write for example \"/run/gps/*\"");
            None
        }
    };
    let paths: Vec<_> = spec.paths.iter().filter_map(pattern).collect();
    if spec.paths.is_empty() {
        let message = "`paths` of [agent] names nothing, so that nothing is written";
        report.warning(spec.spot, message, "write for example paths = [\"/run/gps/*\"]");
    }
    for command in &spec.hooks {
        if let Some((why, help)) = command.first().and_then(|program| cannot_start(program)) {
            let message = format!("{:?} in `hooks` of [agent] can never be started: {why}", command[0]);
            report.error_with_help(spec.spot, message, help);
        }
    }
    let key = spec.key.as_ref().map(|key| key.value.clone());
    let own: Vec<PathBuf> = match &key {
        Some(SecretSource::File(key)) => vec![file.to_owned(), key.clone()],
        _ => vec![file.to_owned()],
    };
    let lease = fleet::lease(spec.lease.as_ref(), "[agent]", context);
    let engine = spec.engine.as_ref().and_then(|spec| engine(spec, "`engine` of [agent]", context));
    Some(AgentSettings {
        fleet: fleet?,
        host: host?,
        labels,
        key: key?,
        state_dir: state_dir?,
        lease,
        paths,
        hooks: spec.hooks.clone(),
        engine: engine?,
        own,
    })
}

fn labels(spec: &AgentSpec, context: &Context<'_>) -> BTreeSet<Label> {
    let label = |text: &Located<String>| match text.value.parse() {
        Ok(label) => Some(label),
        Err(error) => {
            let message = format!("\"{}\" in `labels` of [agent] is no label: {error}", text.value);
            context.report.error_with_help(text.spot, message, "write for example labels = [\"role=web\"]");
            None
        }
    };
    spec.labels.iter().filter_map(label).collect()
}

fn host(spec: &AgentSpec, context: &Context<'_>) -> Option<HostName> {
    let (text, spot) = match &spec.host {
        Some(host) => (host.value.clone(), host.spot),
        None => (context.around.host.map(str::to_owned).unwrap_or_default(), spec.spot),
    };
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("\"{text}\" cannot be the name of a host: {error}");
            context.report.error_with_help(spot, message, "write host = \"web-1\" in [agent]");
            None
        }
    }
}
