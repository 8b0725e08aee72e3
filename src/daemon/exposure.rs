//! Finds files that other users may change or read although this program relies on them, as ssh does.
//!
//! Law: a user who may write what decides is root. An inventory, a definition, a hook, a credential or a key that others may
//! write, a secret that others may read, and a state directory of another user are warned of by `check` and at the start.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid, getgroups};

use crate::inventory::{Inventory, Listen, StorePolicy};
use crate::secret::SecretSource;

/// More than these are not named: a directory of ten thousand files with one fault says one thing.
const MOST: usize = 20;

/// What a path is to this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// It decides what is run, and what is sent where.
    Decides(&'static str),
    /// It holds a secret.
    Secret(&'static str),
    StateDirectory,
}

/// A user, with every group that he is in.
#[derive(Debug)]
struct User {
    id: u32,
    groups: Vec<u32>,
    /// The user of the service, for whose inventory another user asks.
    service: Option<u32>,
}

/// Of a file or directory.
#[derive(Clone, Copy, Debug)]
struct Rights {
    owner: u32,
    group: u32,
    mode: u32,
}

impl Rights {
    fn of(about: &Metadata) -> Self {
        Self { owner: about.uid(), group: about.gid(), mode: about.mode() }
    }
}

/// Warnings about the files of `inventory`, which was read from `files`, a line each. `service` is the user that the
/// daemon runs as, where another user asks. Blocks.
pub fn warnings(inventory: &Inventory, files: &[PathBuf], service: Option<u32>) -> Vec<String> {
    let mut groups: Vec<u32> = getgroups().unwrap_or_default().iter().map(|group| group.as_raw()).collect();
    groups.push(getegid().as_raw());
    let user = User { id: geteuid().as_raw(), groups, service };
    let mut warnings = Vec::new();
    for (path, role) in relied_on(inventory, files) {
        // What is not there is told elsewhere.
        let Ok(about) = path.metadata() else { continue };
        let found = too_wide(&path, role, Rights::of(&about), &user);
        let place = path.parent().filter(|_| role != Role::StateDirectory);
        let found = found.or_else(|| too_wide_directory(&path, role, Rights::of(&place?.metadata().ok()?), &user));
        warnings.extend(found);
    }
    let more = warnings.len().saturating_sub(MOST);
    warnings.truncate(MOST);
    if more > 0 {
        warnings.push(format!("{more} more files may be changed or read by others"));
    }
    warnings
}

fn relied_on(inventory: &Inventory, files: &[PathBuf]) -> BTreeSet<(PathBuf, Role)> {
    let mut paths: BTreeSet<(PathBuf, Role)> = BTreeSet::new();
    paths.extend(files.iter().map(|path| (path.clone(), Role::Decides("the inventory"))));
    let definitions = inventory.daemon.providers.iter().filter_map(|directory| directory.read_dir().ok()).flatten();
    let definitions = definitions.flatten().map(|entry| entry.path());
    let definitions = definitions.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.extend(definitions.map(|path| (path, Role::Decides("a provider definition"))));
    for hook in inventory.tokens.values().flat_map(|token| &token.hooks) {
        let program =
            hook.command().and_then(<[String]>::first).map(PathBuf::from).filter(|program| program.is_absolute());
        paths.extend(program.map(|program| (program, Role::Decides("a hook"))));
    }
    let stores = inventory.tokens.values().flat_map(|token| &token.stores);
    let programs = stores.flat_map(StorePolicy::programs).map(PathBuf::from).filter(|program| program.is_absolute());
    paths.extend(programs.map(|program| (program, Role::Decides("the command of a store"))));
    let mut secret = |source: &SecretSource, what| match source {
        SecretSource::File(path) => drop(paths.insert((path.clone(), Role::Secret(what)))),
        SecretSource::Command(argv) => {
            let program = argv.first().map(PathBuf::from).filter(|program| program.is_absolute());
            paths.extend(program.map(|program| (program, Role::Decides("the command of a credential"))));
        }
        SecretSource::Env(_) | SecretSource::SystemdCredential(_) => {}
    };
    inventory.daemon.seal_key.iter().for_each(|key| secret(key, "the key that seals secrets"));
    inventory.daemon.listen.iter().flat_map(Listen::secrets).for_each(|it| secret(it, "a secret of `listen`"));
    for account in inventory.accounts.values() {
        account.endpoint.secrets().for_each(|source| secret(source, "a credential"));
        if let Some(client) = &account.endpoint.tls.client {
            secret(&SecretSource::File(client.key.clone()), "the key of a client certificate");
        }
    }
    paths.insert((inventory.daemon.state_dir.clone(), Role::StateDirectory));
    paths
}

/// The warning about a path with these `rights`, where they are too wide.
fn too_wide(path: &Path, role: Role, rights: Rights, user: &User) -> Option<String> {
    let shown = path.display();
    if rights.owner != 0 && rights.owner != user.id && Some(rights.owner) != user.service {
        return Some(match role {
            Role::StateDirectory => format!(
                "the state directory {shown} belongs to user {}: who owns it can replace the journal and its key: chown it to the user that patrold runs as",
                rights.owner
            ),
            Role::Decides(what) | Role::Secret(what) => {
                format!("{shown} belongs to user {}, who may change {what}: chown root {shown}", rights.owner)
            }
        });
    }
    let strange = is_strange(rights, user);
    match role {
        Role::StateDirectory if rights.mode & 0o007 != 0 || strange && rights.mode & 0o070 != 0 => Some(format!(
            "others may look into the state directory {shown} (mode {:04o}): chmod 0700 {shown}",
            rights.mode & 0o7777
        )),
        Role::Decides(what) | Role::Secret(what) if writable(rights, strange) => Some(format!(
            "{shown} may be changed by others (mode {:04o}), and with it {what}: chmod go-w {shown}",
            rights.mode & 0o7777
        )),
        Role::Secret(what) if rights.mode & 0o004 != 0 || strange && rights.mode & 0o040 != 0 => Some(format!(
            "{what} may be read by others in {shown} (mode {:04o}): chmod go-rwx {shown}",
            rights.mode & 0o7777
        )),
        Role::StateDirectory | Role::Decides(_) | Role::Secret(_) => None,
    }
}

/// The warning about the directory of `path`: a user who may write there can put another file in its place.
fn too_wide_directory(path: &Path, role: Role, rights: Rights, user: &User) -> Option<String> {
    let (Role::Decides(what) | Role::Secret(what)) = role else { return None };
    let is_sticky = rights.mode & 0o1000 != 0;
    let directory = path.parent()?.display();
    (writable(rights, is_strange(rights, user)) && !is_sticky).then(|| {
        format!(
            "{} may be replaced by others, and with it {what}: the directory {directory} has mode {:04o}: chmod go-w \
             {directory}",
            path.display(),
            rights.mode & 0o7777
        )
    })
}

fn writable(rights: Rights, strange: bool) -> bool {
    rights.mode & 0o002 != 0 || strange && rights.mode & 0o020 != 0
}

/// Whether its group may have members that neither are this user nor could become him.
fn is_strange(rights: Rights, user: &User) -> bool {
    rights.group != 0 && !user.groups.contains(&rights.group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_change_or_read_is_told() {
        let user = User { id: 990, groups: vec![990, 50], service: Some(996) };
        let rights = |owner, group, mode| Rights { owner, group, mode };
        let (decides, secret) = (Role::Decides("the inventory"), Role::Secret("a credential"));
        for (sentence, role, found, told) in [
            ("root's, as packaged", decides, rights(0, 0, 0o644), None),
            ("its own", decides, rights(990, 990, 0o664), None),
            ("everybody may write it", decides, rights(0, 0, 0o646), Some("chmod go-w")),
            ("a group of others may write it", decides, rights(0, 7, 0o664), Some("chmod go-w")),
            ("another user's", decides, rights(1000, 990, 0o600), Some("belongs to user 1000")),
            ("a secret of its own", secret, rights(990, 990, 0o600), None),
            ("a secret by a group of its own", secret, rights(0, 50, 0o640), None),
            ("a secret that everybody may read", secret, rights(0, 0, 0o644), Some("chmod go-rwx")),
            ("a secret that a group of others may read", secret, rights(0, 7, 0o640), Some("chmod go-rwx")),
            ("a secret that everybody may write", secret, rights(0, 0, 0o602), Some("chmod go-w")),
            ("a state directory as made", Role::StateDirectory, rights(990, 990, 0o700), None),
            ("one of the service, when root asks", Role::StateDirectory, rights(996, 996, 0o700), None),
            ("one that others may read", Role::StateDirectory, rights(990, 7, 0o750), Some("chmod 0700")),
            ("one of another user", Role::StateDirectory, rights(1000, 990, 0o700), Some("belongs to user 1000")),
        ] {
            let found = too_wide(Path::new("/etc/x"), role, found, &user);
            assert_eq!(found.is_some(), told.is_some(), "{sentence}: {found:?}");
            assert!(found.unwrap_or_default().contains(told.unwrap_or_default()), "{sentence}");
        }
        let place = |mode| too_wide_directory(Path::new("/etc/x/y"), decides, rights(0, 0, mode), &user);
        assert!(place(0o755).is_none());
        assert!(place(0o1777).is_none(), "nobody replaces another's file there");
        assert!(place(0o777).unwrap().contains("chmod go-w /etc/x"));
    }
}
