//! Removes temporary files that a kill left beside stores.
//!
//! Law: a temporary file may hold a live secret, so that none stays where nobody looks. Before anything is written, the
//! state directory knows every place that is written to; it is forgotten once it was swept and nothing goes there any more.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::durable::{self, Attributes, DurableError, Target};
use crate::event;
use crate::inventory::{Inventory, StorePolicy};

/// In the state directory: a JSON list of paths, one for each directory.
const FILE: &str = "store-paths.json";

/// patrold never writes a larger list.
const LARGEST: usize = 64 * 1024 * 1024;

/// Sweeps every place that was or will be written to. Blocks.
pub(super) fn sweep(inventory: &Inventory) {
    let state_dir = &inventory.daemon.state_dir;
    let wanted = places(inventory);
    let mut kept = wanted.clone();
    for path in recall(state_dir).union(&wanted) {
        let directory = path.parent().unwrap_or(path).display();
        match Target::open(path).and_then(|target| target.sweep()) {
            Ok(0) => {}
            Ok(count) => {
                tracing::info!(event = event::SWEPT, %directory, count, "removed temporary files of an earlier run");
            }
            Err(error) => {
                // Looked at again at the next start: what is not there may only not be mounted.
                kept.insert(path.clone());
                tracing::debug!(event = event::SWEEP_FAILED, %directory, %error, "not swept");
            }
        }
    }
    tell(remember(state_dir, &kept));
}

/// Notes the places of an inventory that is about to take effect beside those of before. Blocks.
pub(super) fn expect(inventory: &Inventory) {
    let state_dir = &inventory.daemon.state_dir;
    let known = recall(state_dir);
    let all: BTreeSet<_> = known.union(&places(inventory)).cloned().collect();
    if all.len() != known.len() {
        tell(remember(state_dir, &all));
    }
}

/// A store in each directory that has some, and every one that is a link into another.
fn places(inventory: &Inventory) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let stores = inventory.tokens.values().flat_map(|token| &token.stores).filter_map(StorePolicy::replaces);
    let mut new = |path: &Path| path.is_symlink() || directories.insert(path.parent().map(Path::to_owned));
    stores.map(Cow::into_owned).filter(|path| new(path)).collect()
}

fn recall(state_dir: &Path) -> BTreeSet<PathBuf> {
    let content = Target::open(&state_dir.join(FILE)).and_then(|target| target.read(LARGEST));
    let content = content.ok().flatten().map(|content| content.bytes);
    content.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn remember(state_dir: &Path, places: &BTreeSet<PathBuf>) -> Result<(), DurableError> {
    if *places == recall(state_dir) {
        return Ok(());
    }
    // Paths of an inventory are text.
    let text = serde_json::to_vec_pretty(places).unwrap_or_default();
    durable::replace(&state_dir.join(FILE), &text, Attributes::PRIVATE)
}

fn tell(remembered: Result<(), DurableError>) {
    if let Err(error) = remembered {
        tracing::warn!(event = event::SWEEP_FAILED, %error, "the places of stores could not be noted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Environment, load};

    #[test]
    fn a_place_is_swept_after_its_store_has_moved() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for name in ["state", "old", "new"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let inventory = |store: &str| {
            let text = format!(
                "[daemon]\nstate-dir = \"{}\"\n[account.a]\nprovider = \"awx\"\nurl = \"https://h.example\"\n\
                 credential = {{ env = \"X\" }}\nparams = {{ user_id = 1 }}\n[[token]]\nname = \"t\"\naccount = \"a\"\nrotate-every = \"1d\"\n\
                 stores = [{{ kind = \"file\", path = \"{}\" }}]\n",
                at("state").display(),
                at(store).display()
            );
            let path = at("patrold.toml");
            std::fs::write(&path, text).unwrap();
            let loaded = load(&path, &Environment::default(), chrono::DateTime::UNIX_EPOCH);
            loaded.inventory.unwrap_or_else(|| panic!("{}", loaded.report.render()))
        };
        let left = at("old/.patrold-aaaaaa.tmp");
        sweep(&inventory("old/token"));
        std::fs::write(&left, "secret").unwrap();
        sweep(&inventory("new/token"));
        assert!(!left.exists(), "it lies where no store is any more");
        assert_eq!(recall(&at("state")), [at("new/token")].into(), "a place that was swept is forgotten");
        expect(&inventory("old/token"));
        assert_eq!(recall(&at("state")).len(), 2, "a kill after a reload leaves files in the old and the new place");
    }
}
