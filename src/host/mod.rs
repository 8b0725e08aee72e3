//! What the machine around the daemon lets it do: directories that only the daemon sees, units that its hooks may reload.
//!
//! [`Facts::gather`] looks; everything else is pure. `check` tells what cannot work before the first mint, and stores ask
//! [`mount`] before each write.

mod absent;
pub mod mount;
pub mod program;
pub mod service;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::program::Unstartable;
use self::service::{Needs, Settings};
use crate::inventory::{HookPolicy, Inventory};

/// The name of this machine, as `hostname` prints it. Blocks for as long as a small file takes.
pub fn name() -> String {
    // The kernel's own file: it cannot hang, and a container has its own.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// The units that hooks may reload, one a line: `packaging/polkit/50-patrold.rules` reads it.
pub const HOOK_UNITS: &str = "/etc/patrold/hook-units";

/// What was seen of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `/proc/self/mountinfo`; empty where it cannot be read.
    pub mounts: String,
    /// The content of [`HOOK_UNITS`]. `None` where there is no such file: the package of a distribution made none, so
    /// that other rules than ours decide.
    pub hook_units: Option<String>,
    /// Programs of hooks and stores that cannot be started, by their names.
    pub unstartable: BTreeMap<String, Unstartable>,
    /// Files of credentials and directories of stores that do not exist.
    pub absent: BTreeSet<PathBuf>,
    /// The unit that runs the inventory, with all of its drop-ins. `None`: it is not one of the package's.
    pub unit: Option<Settings>,
}

/// Something that cannot work on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// `daemon`, or `token NAME`.
    pub about: String,
    pub message: String,
    pub help: String,
}

impl Facts {
    /// Looks at the machine, as far as it concerns `inventory`, whose main file is `main`. Blocks for as long as a few
    /// small files take.
    pub fn gather(main: &Path, inventory: Option<&Inventory>) -> Self {
        Self {
            mounts: mount::table().to_string(),
            hook_units: hook_units(),
            unstartable: inventory.map(program::unstartable).unwrap_or_default(),
            absent: inventory.map(absent::gather).unwrap_or_default(),
            unit: service::unit_of(main).and_then(|unit| Settings::gather(&unit, None)),
        }
    }
}

/// The content of [`HOOK_UNITS`], where it can be read. Blocks.
fn hook_units() -> Option<String> {
    std::fs::read_to_string(HOOK_UNITS).ok()
}

/// What of `inventory` cannot work here. A service of the system (its state is below /var/lib) has a /tmp of its own and
/// needs leave to reload units; whoever runs patrold by hand has neither problem.
pub fn obstacles(inventory: &Inventory, facts: &Facts) -> Vec<Obstacle> {
    let service = inventory.daemon.state_dir.starts_with("/var/lib");
    let hidden = |directory: &Path| {
        let temporary = service && ["/tmp", "/var/tmp"].iter().any(|tmp| directory.starts_with(tmp));
        let hidden = mount::of_path(&facts.mounts, directory);
        hidden.or(temporary.then_some(mount::Hidden::PrivateTmp)).map(mount::Hidden::sentence)
    };
    // What nobody sees need not be writable: it is told once.
    let needs = Needs::of(inventory).without(|directory| hidden(directory).is_some());
    let mut found: Vec<Obstacle> = facts.unit.iter().flat_map(|unit| service::obstacles(&needs, unit)).collect();
    found.extend(absent::obstacles(inventory, &facts.absent));
    for token in inventory.tokens.values() {
        let about = format!("token {}", token.name);
        for store in &token.stores {
            let broken = store.programs().filter_map(|program| Some((program, facts.unstartable.get(program)?)));
            found.extend(broken.map(|(program, problem)| Obstacle {
                about: about.clone(),
                message: format!("`{program}` of its store {} cannot be started here: {}", store.key, problem.why),
                help: problem.help.clone(),
            }));
            let Some(directory) = store.directory() else { continue };
            let Some(why) = hidden(directory) else { continue };
            found.push(Obstacle {
                about: about.clone(),
                message: format!("no consumer sees {}: {why}", store.key),
                help: "choose a directory that is not below /tmp, such as one of /run/tokens".to_owned(),
            });
        }
        for hook in &token.hooks {
            let Some(program) = hook.command().and_then(<[String]>::first) else { continue };
            found.extend(facts.unstartable.get(program).map(|problem| Obstacle {
                about: about.clone(),
                message: format!("its hook `{program}` cannot be started here: {}", problem.why),
                help: problem.help.clone(),
            }));
        }
        if service {
            found.extend(token.hooks.iter().filter_map(|hook| denied(hook, facts)).map(|(message, help)| Obstacle {
                about: about.clone(),
                message,
                help,
            }));
        }
    }
    found
}

/// Why the service manager will refuse what a hook asks of it, and the remedy.
fn denied(hook: &HookPolicy, facts: &Facts) -> Option<(String, String)> {
    let listed = facts.hook_units.as_deref()?;
    let command = hook.command()?;
    let asked = unit::asked(command)?;
    let command = command.join(" ");
    if !unit::PERMITTED.contains(&asked.verb) {
        let message =
            format!("`{command}` will be denied: the rule of the package permits {}", unit::PERMITTED.join(", "));
        return Some((message, "use one of these, or write a polkit rule of your own".to_owned()));
    }
    let missing: Vec<_> =
        asked.units.iter().filter(|unit| !listed.lines().any(|line| line == unit.as_str())).cloned().collect();
    if missing.is_empty() {
        return None;
    }
    let units = missing.join(", ");
    let message =
        format!("`{command}` will be denied, unless a polkit rule of your own permits it: {units} not in {HOOK_UNITS}");
    Some((message, format!("add to {HOOK_UNITS}, one a line: {units}; polkitd must be installed")))
}

/// What helps where the service manager refused a hook, told by what the hook said.
pub fn remedy_of_denied(said: &str) -> Option<String> {
    let denied = ["Access denied", "nteractive authentication required"].iter().any(|text| said.contains(text));
    denied.then(|| format!("name the unit in {HOOK_UNITS}; polkitd must be installed"))
}

/// Whether `directory` is where this process alone sees it. Asked before each write.
pub fn hides(directory: &Path) -> Option<mount::Hidden> {
    mount::of_path(&mount::table(), directory)
}

#[cfg(test)]
mod tests;
