//! What a unit and its drop-ins say of what their service may do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::files;

/// Where systemd looks for units, the first that has one wins (`systemd.unit(5)`).
const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Longer files are not unit files.
const LARGEST: usize = 1 << 20;

/// The settings of a service that stores, hooks and credentials depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub user: Option<String>,
    pub group: Option<String>,
    pub supplementary_groups: BTreeSet<String>,
    /// `ReadWritePaths=`, and the directories that systemd makes for the service.
    pub writable: BTreeSet<PathBuf>,
    /// Names of `LoadCredential=` and its kind.
    pub credentials: BTreeSet<String>,
    /// `ProtectHome=` keeps the service out of home directories.
    pub no_home: bool,
    pub private_users: bool,
}

impl Settings {
    /// Reads `unit` of this machine with its drop-ins, but not those that are called `except`. `None`: there is no such
    /// unit. Blocks.
    pub fn gather(unit: &str, except: Option<&str>) -> Option<Self> {
        let template =
            unit.split_once('@').and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
        let names: Vec<&str> = std::iter::once(unit).chain(template.as_deref()).collect();
        let mut texts = vec![
            names
                .iter()
                .find_map(|name| DIRECTORIES.iter().find_map(|directory| text(&Path::new(directory).join(name))))?,
        ];
        texts.extend(drop_ins(&names, except).iter().filter_map(|path| text(path)));
        let instance =
            unit.split_once('@').and_then(|(_, rest)| rest.rsplit_once('.')).map_or("", |(instance, _)| instance);
        Some(Self::parse(texts.iter().map(String::as_str), instance))
    }

    /// Of the texts of a unit and its drop-ins, in the order in which they apply. `instance` stands for `%i`.
    pub fn parse<'a>(texts: impl Iterator<Item = &'a str>, instance: &str) -> Self {
        let mut found = Self::default();
        for text in texts {
            let mut section = "";
            for line in text.replace("\\\n", " ").lines().map(str::trim) {
                if line.starts_with('[') {
                    section = if line == "[Service]" { "Service" } else { "" };
                } else if let Some((key, value)) = line.split_once('=').filter(|_| section == "Service")
                    && !line.starts_with(['#', ';'])
                {
                    found.set(key.trim(), &value.trim().replace("%i", instance));
                }
            }
        }
        found
    }

    fn set(&mut self, key: &str, value: &str) {
        let yes = || matches!(value, "yes" | "true" | "on" | "1");
        match key {
            "User" => self.user = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "Group" => self.group = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "PrivateUsers" => self.private_users = !matches!(value, "no" | "false" | "off" | "0"),
            "ProtectHome" => self.no_home = yes() || value == "tmpfs",
            // An empty value takes back what was said before.
            "SupplementaryGroups" if value.is_empty() => self.supplementary_groups.clear(),
            "SupplementaryGroups" => self.supplementary_groups.extend(words(value)),
            "ReadWritePaths" if value.is_empty() => self.writable.clear(),
            "ReadWritePaths" => {
                let paths = words(value).into_iter();
                self.writable.extend(paths.map(|path| PathBuf::from(path.trim_start_matches(['-', '+']))));
            }
            "StateDirectory" | "RuntimeDirectory" | "CacheDirectory" | "LogsDirectory" => {
                let parent = match key {
                    "StateDirectory" => "/var/lib",
                    "RuntimeDirectory" => "/run",
                    "CacheDirectory" => "/var/cache",
                    _ => "/var/log",
                };
                self.writable.extend(words(value).iter().map(|name| Path::new(parent).join(name)));
            }
            "LoadCredential" | "LoadCredentialEncrypted" | "SetCredential" | "SetCredentialEncrypted" => {
                let name = value.split(':').next().unwrap_or_default();
                if value.is_empty() {
                    self.credentials.clear();
                } else {
                    self.credentials.insert(name.to_owned());
                }
            }
            _ => {}
        }
    }

    /// Whether the service may write in `directory`, as far as its unit says. `/run` is taken out of
    /// `ProtectSystem=strict` by the protection of the kernel's interfaces (seen on systemd 252 and 257).
    pub fn writes(&self, directory: &Path) -> bool {
        directory.starts_with("/run") || self.writable.iter().any(|path| directory.starts_with(path))
    }
}

/// The words of a list; double quotes hold blanks together.
fn words(value: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in value.chars() {
        match letter {
            '"' => quoted = !quoted,
            blank if blank.is_whitespace() && !quoted => words.push(String::new()),
            other => words.last_mut().into_iter().for_each(|word| word.push(other)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The drop-ins of a unit that is called by all of `names`, in the order in which they apply: by their file names, and of
/// those with one name only the first.
fn drop_ins(names: &[&str], except: Option<&str>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for directory in DIRECTORIES {
        for name in names {
            let Ok(entries) = std::fs::read_dir(Path::new(directory).join(format!("{name}.d"))) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                let named = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let known = found.iter().any(|known| known.file_name() == path.file_name());
                if path.extension().is_some_and(|extension| extension == "conf") && except != Some(named) && !known {
                    found.push(path);
                }
            }
        }
    }
    found.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    found
}

fn text(path: &Path) -> Option<String> {
    String::from_utf8(files::read(path, LARGEST).ok()?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "\
[Unit]
User=nobody
[Service]
User=patrold
StateDirectory=patrold/%i
ReadWritePaths=-/run/tokens \\
  /etc/gps
# ReadWritePaths=/etc/other
LoadCredential=awx:/etc/patrold.credentials/awx
ProtectHome=yes
PrivateUsers=yes
";

    #[test]
    fn drop_ins_add_to_the_unit_and_take_back_by_an_empty_value() {
        let unit = Settings::parse([UNIT].into_iter(), "team");
        assert_eq!(unit.user.as_deref(), Some("patrold"), "the section counts");
        assert!(unit.no_home && unit.private_users);
        for (directory, writes) in [
            ("/etc/gps", true),
            ("/etc/gps/deep", true),
            ("/etc/gpsd", false),
            ("/etc/other", false),
            ("/var/lib/patrold/team", true),
            ("/run/anything", true),
        ] {
            assert_eq!(unit.writes(Path::new(directory)), writes, "{directory}");
        }
        let drop_in = "[Service]\nReadWritePaths=\nReadWritePaths=/opt/a\nLoadCredential=\nPrivateUsers=no\nProtectHome=read-only\n";
        let both = Settings::parse([UNIT, drop_in].into_iter(), "team");
        assert!(both.credentials.is_empty() && !both.private_users && !both.no_home);
        assert!(both.writes(Path::new("/opt/a")) && !both.writes(Path::new("/etc/gps")));
    }

    #[test]
    fn a_unit_that_is_not_there_has_no_settings() {
        assert_eq!(Settings::gather("no-such-unit-anywhere.service", None), None);
    }
}
