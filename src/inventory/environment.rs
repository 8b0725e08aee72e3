//! What the process's environment says about places: where an inventory is looked for, and where its daemon keeps its
//! journal and its socket.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::names::hex;

/// The name of an inventory's main file.
pub const MAIN_FILE: &str = "patrold.toml";

/// The inventory of the machine.
const SYSTEM_FILE: &str = "/etc/patrold/patrold.toml";

/// Where systemd puts the socket of a unit with `RuntimeDirectory=patrold`.
const SYSTEM_RUNTIME: &str = "/run/patrold";

/// The longest part of a directory's name that says whose it is; sockets have 107 bytes for their whole path.
const LONGEST_LABEL: usize = 20;

/// Where a daemon keeps its things, unless its inventory says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Where the journal lives.
    pub state_dir: Option<PathBuf>,
    /// The service manager gave it, so that everybody means the same.
    pub state_dir_named: bool,
    /// Where the control socket goes.
    pub runtime_dir: Option<PathBuf>,
    /// This process is the first of a container, which has seconds when it is to stop.
    pub first_process: bool,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    /// Services that are restarted belong to the user's own service manager.
    pub user_services: bool,
    /// What the machine calls itself.
    pub host: Option<String>,
}

/// The users of people begin here, by the convention of `login.defs` and of systemd's `SYSTEM_UID_MAX`: below are the users
/// of services, whose units the machine's service manager runs.
const FIRST_PERSON: u32 = 1000;

impl Environment {
    /// Of the inventory whose main file is `main`: `$STATE_DIRECTORY` and `$RUNTIME_DIRECTORY` as systemd sets them, else
    /// directories below the XDG directories of the user.
    ///
    /// Law: two inventories never share a journal by default. The user's and the machine's own inventory, those that are
    /// found where nobody names one, have `patrold`; any other has a directory below it, named after its file.
    pub fn of_process(main: &Path) -> Self {
        let places = Self::from_variables(main, |name| env::var_os(name), Path::exists);
        Self {
            user_services: rustix::process::geteuid().as_raw() >= FIRST_PERSON,
            first_process: std::process::id() == 1,
            host: fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned()),
            ..places
        }
    }

    fn from_variables(main: &Path, get: impl Fn(&str) -> Option<OsString>, exists: impl Fn(&Path) -> bool) -> Self {
        // systemd separates several directories by colons; the first is ours.
        let systemd = |name| env::split_paths(&get(name)?).next().and_then(absolute);
        let usual = shared_places(&get);
        let (main, own) = (identity(main), |place: &PathBuf| identity(place) == identity(main));
        let label = (!usual.iter().any(own)).then(|| label(&main));
        let below = |base: PathBuf| label.as_ref().map_or_else(|| base.clone(), |label| base.join(label));
        let home = || Some(variable(&get, "HOME")?.join(".local/state"));
        let state = variable(&get, "XDG_STATE_HOME").or_else(home).map(|base| base.join("patrold"));
        // Versions before kept the journal of any inventory there. One that is there, and cannot be that of the user's own
        // inventory, goes on being used: nothing would know its tokens otherwise.
        let left = state.as_ref().is_some_and(|base| {
            exists(&base.join("journal.db"))
                && !exists(&below(base.clone()))
                && !usual.iter().any(|place| exists(place))
        });
        let below = |base: PathBuf| if left { base } else { below(base) };
        Self {
            user_services: false,
            first_process: false,
            host: None,
            home: variable(&get, "HOME"),
            state_dir_named: systemd("STATE_DIRECTORY").is_some(),
            state_dir: systemd("STATE_DIRECTORY").or_else(|| state.map(below)),
            runtime_dir: systemd("RUNTIME_DIRECTORY")
                .or_else(|| Some(below(variable(&get, "XDG_RUNTIME_DIR")?.join("patrold")))),
        }
    }
}

/// Where an inventory is looked for where nobody names one, in this order.
pub fn usual_places() -> Vec<PathBuf> {
    let mut places = vec![Path::new(".").join(MAIN_FILE)];
    places.extend(shared_places(&|name: &str| env::var_os(name)));
    places
}

/// Where a daemon of the user or of the machine has its runtime directory.
pub fn usual_runtime_dirs() -> Vec<PathBuf> {
    let of_user = variable(&|name: &str| env::var_os(name), "XDG_RUNTIME_DIR").map(|base| base.join("patrold"));
    of_user.into_iter().chain([PathBuf::from(SYSTEM_RUNTIME)]).collect()
}

/// The inventories that are the same from every directory: the user's and the machine's.
fn shared_places(get: &impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let home = || Some(variable(get, "HOME")?.join(".config"));
    let user = variable(get, "XDG_CONFIG_HOME").or_else(home).map(|base| base.join("patrold").join(MAIN_FILE));
    user.into_iter().chain([PathBuf::from(SYSTEM_FILE)]).collect()
}

/// A variable that names a directory. Relative values are to be ignored, says the XDG base directory specification.
fn variable(get: &impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    get(name).map(PathBuf::from).and_then(absolute)
}

fn absolute(path: PathBuf) -> Option<PathBuf> {
    path.is_absolute().then_some(path)
}

/// One path for one main file, from whatever directory and through whatever link to its directory it was named. The file
/// itself may be a link that moves: Kubernetes swaps it when its content changes.
fn identity(main: &Path) -> PathBuf {
    let main = std::path::absolute(main).unwrap_or_else(|_| main.to_owned());
    let directory = main.parent().and_then(|directory| fs::canonicalize(directory).ok());
    match (directory, main.file_name()) {
        (Some(directory), Some(name)) => directory.join(name),
        _ => main,
    }
}

/// A name that says whose it is, and that no other inventory has.
fn label(main: &Path) -> String {
    let stem = main.file_name().filter(|name| *name != MAIN_FILE).and_then(|_| main.file_stem());
    let named = stem.or_else(|| main.parent()?.file_name()).unwrap_or(OsStr::new("root"));
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let named: String = named.to_string_lossy().chars().take(LONGEST_LABEL).map(plain).collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, main.as_os_str().as_bytes());
    format!("{named}-{}", hex(&digest.as_ref()[..4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(main: &str, set: &[(&str, &str)], there: &[&str]) -> Environment {
        let get = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        Environment::from_variables(Path::new(main), get, |path| there.iter().any(|it| Path::new(it) == path))
    }

    #[test]
    fn the_environment_says_where_things_go() {
        const OWN: &str = "/home/x/.config/patrold/patrold.toml";
        for (sentence, main, set, state_dir, runtime_dir) in [
            ("nothing is known", OWN, &[][..], None, None),
            ("the machine's", SYSTEM_FILE, &[("HOME", "/home/x")], Some("/home/x/.local/state/patrold"), None),
            ("the user's", OWN, &[("HOME", "/home/x")], Some("/home/x/.local/state/patrold"), None),
            (
                "the user's, elsewhere",
                "/c/patrold/patrold.toml",
                &[("XDG_STATE_HOME", "/s"), ("XDG_CONFIG_HOME", "/c"), ("XDG_RUNTIME_DIR", "/r")],
                Some("/s/patrold"),
                Some("/r/patrold"),
            ),
            (
                "relative values count for nothing",
                OWN,
                &[("XDG_STATE_HOME", "relative"), ("HOME", "/home/x")],
                Some("/home/x/.local/state/patrold"),
                None,
            ),
            (
                "any other has its own",
                "/srv/ci work/patrold.toml",
                &[("XDG_STATE_HOME", "/s"), ("XDG_RUNTIME_DIR", "/r")],
                Some("/s/patrold/ci-work-0946ec5f"),
                Some("/r/patrold/ci-work-0946ec5f"),
            ),
            (
                "the service manager",
                "/srv/any.toml",
                &[("STATE_DIRECTORY", "/var/lib/p:/var/lib/o"), ("RUNTIME_DIRECTORY", "/run/p"), ("HOME", "/h")],
                Some("/var/lib/p"),
                Some("/run/p"),
            ),
        ] {
            let state_dir_named = set.iter().any(|(name, _)| *name == "STATE_DIRECTORY");
            let expected = Environment {
                state_dir: state_dir.map(Into::into),
                state_dir_named,
                runtime_dir: runtime_dir.map(Into::into),
                home: set.iter().find(|(name, _)| *name == "HOME").map(|(_, value)| value.into()),
                user_services: false,
                first_process: false,
                host: None,
            };
            assert_eq!(environment(main, set, &[]), expected, "{sentence}");
        }
    }

    #[test]
    fn inventories_share_nothing_and_the_way_to_one_does_not_matter() {
        let set = [("HOME", "/h")];
        let of = |main: &str| environment(main, &set, &[]).state_dir.unwrap();
        assert_ne!(of("/a/patrold.toml"), of("/b/patrold.toml"));
        assert_ne!(of("/a/one.toml"), of("/a/two.toml"));
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let main = |directory: PathBuf| of(directory.join("patrold.toml").to_str().unwrap());
        assert_eq!(main(real), main(link));
    }

    #[test]
    fn a_journal_of_a_version_before_goes_on_being_used() {
        const OLD: &str = "/h/.local/state/patrold/journal.db";
        let fresh = environment("/a/patrold.toml", &[("HOME", "/h")], &[]).state_dir.unwrap();
        let state = |there: &[&str]| environment("/a/patrold.toml", &[("HOME", "/h")], there).state_dir.unwrap();
        for (sentence, there, old) in [
            ("it can be nobody else's", &[OLD][..], true),
            ("it is that of the user's own inventory", &[OLD, "/h/.config/patrold/patrold.toml"], false),
            ("there is a newer one", &[OLD, fresh.to_str().unwrap()], false),
        ] {
            assert_eq!(state(there) == Path::new("/h/.local/state/patrold"), old, "{sentence}");
        }
    }
}
