//! Whether the program of a hook or of a store can be started on this machine.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::files;
use crate::inventory::{Inventory, StorePolicy};
use crate::process::DEFAULT_PATH;

/// Why a program cannot be started, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstartable {
    pub why: String,
    pub help: String,
}

/// The programs of hooks and stores that cannot be started here, by their names in the inventory. Blocks.
pub fn unstartable(inventory: &Inventory) -> BTreeMap<String, Unstartable> {
    let tokens = inventory.tokens.values();
    let hooks = tokens.clone().flat_map(|token| &token.hooks).filter_map(|hook| hook.command()?.first());
    let stores = tokens.flat_map(|token| &token.stores).flat_map(StorePolicy::programs);
    let mut looked: BTreeMap<&str, Option<Unstartable>> = BTreeMap::new();
    for program in hooks.map(String::as_str).chain(stores) {
        looked.entry(program).or_insert_with(|| problem_of(program));
    }
    looked.into_iter().filter_map(|(program, problem)| Some((program.to_owned(), problem?))).collect()
}

/// Why `program` cannot be started here; `None` where it can. Blocks.
pub fn problem_of(program: &str) -> Option<Unstartable> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    problem(program, &path)
}

fn problem(program: &str, path: &OsStr) -> Option<Unstartable> {
    if program.contains('/') {
        return in_place(Path::new(program)).map(|why| Unstartable {
            why,
            help: if program.contains(char::is_whitespace) {
                "write each word as an item of its own: no shell takes it apart".to_owned()
            } else {
                "correct the path, and make the file executable for the user that patrold runs as".to_owned()
            },
        });
    }
    let directories: Vec<PathBuf> = std::env::split_paths(path).collect();
    if directories.iter().any(|directory| in_place(&directory.join(program)).is_none()) {
        return None;
    }
    Some(Unstartable {
        why: format!("no directory of PATH has it ({})", path.display()),
        help: "install it, or write its absolute path; a service has a PATH of its own".to_owned(),
    })
}

fn in_place(program: &Path) -> Option<String> {
    let looked = files::within(program, |program| {
        let found = std::fs::metadata(program)?;
        Ok((found.is_file(), found.permissions().mode()))
    });
    match looked {
        Ok((false, _)) => Some("it is not a regular file".to_owned()),
        Ok((true, mode)) if mode & 0o111 == 0 => Some("it is not executable".to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("it {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_started_is_told_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(at("plain"), "").unwrap();
        std::fs::write(at("runs"), "").unwrap();
        std::fs::set_permissions(at("runs"), std::fs::Permissions::from_mode(0o755)).unwrap();
        for (program, told) in [
            (at("runs"), None),
            ("runs".to_owned(), None),
            (at("plain"), Some("it is not executable")),
            ("plain".to_owned(), Some("no directory of PATH has it")),
            (at("missing"), Some("it does not exist")),
            (at(""), Some("it is not a regular file")),
            (at("runs reload"), Some("it does not exist")),
        ] {
            let problem = problem(&program, directory.path().as_os_str());
            let why = problem.as_ref().map(|problem| problem.why.as_str());
            assert_eq!(why.is_some(), told.is_some(), "{program}: {why:?}");
            assert!(why.unwrap_or_default().contains(told.unwrap_or_default()), "{program}: {why:?}");
        }
    }
}
