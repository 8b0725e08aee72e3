//! What an inventory needs of the service's unit: `patrold systemd` writes it, `check` compares.
//!
//! [`Seen::gather`] looks at the machine; what is derived from it is pure.

mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::files;
use crate::inventory::{self, Inventory};
use crate::names::TokenName;
use crate::secret::SecretSource;

use super::Obstacle;
use super::unit::{PERMITTED, asked};

pub use settings::Settings;

/// The drop-in's name; what it says is derived anew, whatever it said before.
const DROP_IN: &str = "inventory.conf";

/// Where the credentials of the package's examples are.
const CREDENTIALS: &str = "/etc/patrold.credentials";

/// The first line of files that may be written anew.
pub const MADE: &str = "# Made by `patrold systemd --write` from the inventory, which writes it anew.";

/// What the inventory needs of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Directories of stores.
    directories: BTreeMap<PathBuf, Directory>,
    /// Numbers of the groups that stores are given to.
    groups: BTreeSet<u32>,
    /// Tokens with a store that is given to a user.
    gives: BTreeSet<TokenName>,
    /// Names of systemd credentials.
    credentials: BTreeSet<String>,
    /// Units that hooks reload or restart.
    units: BTreeSet<String>,
    /// Something is read from a home directory, or written to one.
    home: bool,
}

/// A directory of stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Directory {
    tokens: BTreeSet<TokenName>,
    /// Units that are told when a store in it changes: its consumers.
    units: BTreeSet<String>,
}

impl Needs {
    /// The same without directories that no unit can make useful.
    #[must_use]
    pub fn without(mut self, useless: impl Fn(&Path) -> bool) -> Self {
        self.directories.retain(|directory, _| !useless(directory));
        self
    }

    /// What `inventory` needs.
    pub fn of(inventory: &Inventory) -> Self {
        let mut needs = Self::default();
        for token in inventory.tokens.values() {
            let asked = token.hooks.iter().filter_map(|hook| asked(hook.command()?));
            let units: BTreeSet<String> =
                asked.filter(|asked| PERMITTED.contains(&asked.verb)).flat_map(|asked| asked.units).collect();
            for store in &token.stores {
                let Some(directory) = store.directory() else { continue };
                let directory = needs.directories.entry(directory.to_owned()).or_default();
                directory.tokens.insert(token.name.clone());
                directory.units.extend(units.iter().cloned());
                let (owner, group) = store.given_to();
                needs.groups.extend(group);
                if owner.is_some() {
                    needs.gives.insert(token.name.clone());
                }
            }
            needs.units.extend(units);
        }
        for source in inventory.secret_sources() {
            match source {
                SecretSource::SystemdCredential(name) => drop(needs.credentials.insert(name.clone())),
                SecretSource::File(path) => needs.home |= is_home(path),
                SecretSource::Env(_) | SecretSource::Command(_) => {}
            }
        }
        needs.home |= needs.directories.keys().any(|directory| is_home(directory));
        needs
    }
}

fn is_home(path: &Path) -> bool {
    ["/home", "/root", "/run/user"].iter().any(|home| path.starts_with(home))
}

/// What was seen of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The daemon's unit, without the drop-in that is derived.
    pub unit: Settings,
    /// Units of consumers, by name.
    pub consumers: BTreeMap<String, Settings>,
    /// Directories of stores that are there, with the numbers of their owners.
    pub owners: BTreeMap<PathBuf, u32>,
    /// The number of the daemon's user, where the machine knows him.
    pub user: Option<u32>,
    /// The content of [`HOOK_UNITS`](super::HOOK_UNITS).
    pub hook_units: String,
}

impl Seen {
    /// Looks at what concerns `needs`. `None`: this machine has no such unit. Blocks.
    pub fn gather(needs: &Needs, unit: &str) -> Option<Self> {
        let settings = Settings::gather(unit, Some(DROP_IN))?;
        let consumers = needs.units.iter().filter_map(|unit| Some((unit.clone(), Settings::gather(unit, None)?)));
        let owner = |path: &Path| files::within(path, |path| Ok(std::fs::metadata(path)?.uid())).ok();
        let owners = needs.directories.keys().filter_map(|path| Some((path.clone(), owner(path)?)));
        Some(Self {
            consumers: consumers.collect(),
            owners: owners.collect(),
            user: number_of(&settings),
            hook_units: super::hook_units().unwrap_or_default(),
            unit: settings,
        })
    }
}

/// The unit of the package that runs the inventory `main`, if one does.
pub fn unit_of(main: &Path) -> Option<String> {
    let name = main.strip_prefix("/etc/patrold").ok()?.to_str()?.strip_suffix(".toml")?;
    match name {
        "patrold" => Some("patrold.service".to_owned()),
        name if name.contains('/') => None,
        instance => Some(format!("patrold@{instance}.service")),
    }
}

/// The number of the user that the package's unit runs the inventory `main` as. `None`: no such unit, or the machine does
/// not know him. Blocks.
pub fn user_of(main: &Path) -> Option<u32> {
    number_of(&Settings::gather(&unit_of(main)?, None)?)
}

fn number_of(unit: &Settings) -> Option<u32> {
    inventory::number_of_user(unit.user.as_deref().unwrap_or("root"))
}

/// A file that the machine needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub path: PathBuf,
    pub text: String,
}

/// Everything that is derived from an inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// Files that are written whole.
    pub files: Vec<Wanted>,
    /// Lines that [`HOOK_UNITS`](super::HOOK_UNITS) lacks.
    pub hook_units: Vec<String>,
    /// What a person has to do or decide.
    pub notes: Vec<String>,
}

/// What `unit` lacks for `needs`.
pub fn derive(needs: &Needs, seen: &Seen, unit: &str) -> Derived {
    let mut derived = Derived::default();
    let user = seen.unit.user.as_deref().unwrap_or("root");
    let mut drop_in = String::new();
    // Writing to a String cannot fail.
    for directory in needs.directories.keys().filter(|directory| !seen.unit.writes(directory)) {
        let _ = writeln!(drop_in, "ReadWritePaths={}", quoted("-", directory));
    }
    if needs.home && seen.unit.no_home {
        drop_in.push_str("ProtectHome=read-only\n");
    }
    for name in needs.credentials.difference(&seen.unit.credentials) {
        let _ = writeln!(drop_in, "LoadCredential={name}:{CREDENTIALS}/{name}");
        derived.notes.push(format!("put the credential {name} into {CREDENTIALS}/{name}, readable for root only"));
    }
    if !needs.groups.is_empty() {
        let groups: Vec<String> = needs.groups.iter().map(u32::to_string).collect();
        let _ = writeln!(drop_in, "SupplementaryGroups={}", groups.join(" "));
    }
    if seen.unit.private_users && (!needs.groups.is_empty() || !needs.gives.is_empty()) {
        drop_in.push_str("PrivateUsers=no\n");
    }
    if !drop_in.is_empty() {
        let path = PathBuf::from(format!("/etc/systemd/system/{unit}.d/{DROP_IN}"));
        derived.files.push(Wanted { path, text: format!("{MADE}\n[Service]\n{drop_in}") });
    }
    for token in &needs.gives {
        derived.notes.push(format!(
            "`owner` of a store of {token} needs capabilities (stores.conf.example, part 3): a setgid directory needs none"
        ));
    }
    derive_directories(needs, seen, user, unit, &mut derived);
    let listed: BTreeSet<&str> = seen.hook_units.lines().collect();
    derived.hook_units = needs.units.iter().filter(|unit| !listed.contains(unit.as_str())).cloned().collect();
    derived
}

/// A line of `tmpfiles.d(5)` for each directory that is patrold's own, or not there yet.
fn derive_directories(needs: &Needs, seen: &Seen, user: &str, unit: &str, derived: &mut Derived) {
    let mut lines = String::new();
    for (path, directory) in &needs.directories {
        let made_by_unit = seen.unit.writable.iter().any(|known| path == known && known.starts_with("/var/lib"));
        if made_by_unit || path.starts_with("/run/patrold") {
            continue;
        }
        let tokens = words(&directory.tokens);
        if let Some(owner) = seen.owners.get(path).filter(|owner| Some(**owner) != seen.user) {
            derived.notes.push(format!(
                "{0} belongs to user {owner}, not to {user}: give the store of {tokens} a directory of its own, such as {0}/tokens",
                path.display(),
            ));
            continue;
        }
        let groups: BTreeSet<&str> = directory
            .units
            .iter()
            .filter_map(|unit| seen.consumers.get(unit))
            .filter_map(|consumer| consumer.group.as_deref().or(consumer.user.as_deref()))
            .collect();
        let line = |group: &str| format!("d {} 2750 {user} {group} -\n", quoted("", path));
        if let (Some(group), 1) = (groups.first(), groups.len()) {
            let _ = write!(lines, "# The units that hooks tell run as {group}.\n{}", line(group));
        } else {
            derived.notes.push(format!(
                "name the group of the consumers of {tokens} in the line for {}: no unit that a hook tells says it",
                path.display()
            ));
            lines.push_str(&line(user));
        }
    }
    if !lines.is_empty() {
        let name = unit.trim_end_matches(".service").replace('@', "-");
        let path = PathBuf::from(format!("/etc/tmpfiles.d/{name}-stores.conf"));
        derived.files.push(Wanted { path, text: format!("{MADE}\n{lines}") });
    }
}

fn words(tokens: &BTreeSet<TokenName>) -> String {
    crate::text::words::some(&tokens.iter().collect::<Vec<_>>(), 3)
}

/// A path as systemd reads it in lists: blanks need quotes, and `%` stands for itself when it is doubled.
fn quoted(before: &str, path: &Path) -> String {
    let text = format!("{before}{}", path.display()).replace('%', "%%");
    if text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text }
}

/// What will not work because `unit`, as it is with all of its drop-ins, does not allow it.
pub fn obstacles(needs: &Needs, unit: &Settings) -> Vec<Obstacle> {
    let help = || "run `patrold systemd`: it shows the drop-in that the inventory needs".to_owned();
    let mut found = Vec::new();
    for (path, directory) in needs.directories.iter().filter(|(path, _)| !unit.writes(path)) {
        found.push(Obstacle {
            about: format!("token {}", words(&directory.tokens)),
            message: format!(
                "the service may not write to {}: no ReadWritePaths= of its unit covers it",
                path.display()
            ),
            help: help(),
        });
    }
    for name in needs.credentials.difference(&unit.credentials) {
        found.push(Obstacle {
            about: "daemon".to_owned(),
            message: format!("the service has no credential {name}: its unit lacks LoadCredential={name}:FILE"),
            help: help(),
        });
    }
    if needs.home && unit.no_home {
        found.push(Obstacle {
            about: "daemon".to_owned(),
            message: "the service sees no home directory: ProtectHome= of its unit".to_owned(),
            help: help(),
        });
    }
    if unit.private_users && (!needs.groups.is_empty() || !needs.gives.is_empty()) {
        found.push(Obstacle {
            about: "daemon".to_owned(),
            message: "the service knows no other users and groups, but stores name some: PrivateUsers= of its unit"
                .to_owned(),
            help: help(),
        });
    }
    found
}

#[cfg(test)]
mod tests;
