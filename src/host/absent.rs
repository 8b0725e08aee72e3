//! Files and directories that an inventory names and that are not on this machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::files::{self, ReadError};
use crate::inventory::{Inventory, StorePolicy};
use crate::secret::SecretSource;

use super::Obstacle;

/// Of the files of credentials and the directories of stores, those that do not exist. What cannot be looked at may well
/// exist. Blocks.
pub fn gather(inventory: &Inventory) -> BTreeSet<PathBuf> {
    let secrets = inventory.accounts.values().flat_map(|account| account.endpoint.secrets()).filter_map(in_file);
    let stores = inventory.tokens.values().flat_map(|token| &token.stores).filter_map(StorePolicy::directory);
    let named: BTreeSet<&Path> = secrets.chain(stores).collect();
    let is_absent = |path: &&Path| {
        let looked = files::within(path, |path| Ok(std::fs::metadata(path).map(drop)?));
        matches!(looked, Err(ReadError::Missing))
    };
    named.into_iter().filter(is_absent).map(Path::to_owned).collect()
}

/// What does not work for lack of them.
pub fn obstacles<'a>(inventory: &'a Inventory, absent: &'a BTreeSet<PathBuf>) -> impl Iterator<Item = Obstacle> + 'a {
    let of_account = inventory.accounts.values().flat_map(|account| {
        let secrets = account.endpoint.secrets().filter_map(in_file).filter(|path| absent.contains(*path));
        secrets.map(|path| Obstacle {
            about: format!("account {}", account.name),
            message: format!("{} does not exist, and nothing is sent to the provider without it", path.display()),
            help: "put the secret there, readable for the user that patrold runs as alone".to_owned(),
        })
    });
    let of_token = inventory.tokens.values().flat_map(|token| {
        let stores = token.stores.iter().filter_map(|store| Some((store, store.directory()?)));
        stores.filter(|(_, directory)| absent.contains(*directory)).map(|(store, directory)| Obstacle {
            about: format!("token {}", token.name),
            message: format!("{} of its store {} does not exist", directory.display(), store.key),
            help:
                "make the directory for the user that patrold runs as; below /run, systemd-tmpfiles does at each boot"
                    .to_owned(),
        })
    });
    of_account.chain(of_token)
}

fn in_file(source: &SecretSource) -> Option<&Path> {
    match source {
        SecretSource::File(path) => Some(path),
        SecretSource::Env(_) | SecretSource::SystemdCredential(_) | SecretSource::Command(_) => None,
    }
}
