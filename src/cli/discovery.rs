//! Which inventory a command means.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::inventory::environment::usual_places;

use super::Complaint;

/// The main file of the inventory: the one that is named, else the first that is where inventories are.
pub(super) fn find(named: Option<&Path>) -> Result<PathBuf, Complaint> {
    match named {
        Some(path) if is_missing(path) => Err(nothing_at(path)),
        Some(path) => Ok(path.to_owned()),
        None => search(&usual_places()),
    }
}

/// Where the inventory is, or would be: what is named, be it there or not.
pub(super) fn place(named: Option<&Path>) -> Option<PathBuf> {
    named.map(Path::to_owned).or_else(|| find(None).ok())
}

fn search(places: &[PathBuf]) -> Result<PathBuf, Complaint> {
    let Some(found) = places.iter().find(|place| !is_missing(place)) else {
        let looked: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        return Err(Complaint::invalid(format!("no inventory found: looked at {}", looked.join(", ")))
            .with_help("`patrold init PROVIDER` makes one here; --config FILE names one that is elsewhere"));
    };
    // An inventory names programs to run. Where somebody else put one into the directory that a command is typed in,
    // nothing of it is run unasked.
    let owner = found.metadata().ok().map(|about| about.uid());
    if found.is_relative() && owner.is_some_and(|owner| owner != 0 && owner != geteuid().as_raw()) {
        let (found, owner) = (found.display(), owner.unwrap_or_default());
        return Err(Complaint::invalid(format!("{found} belongs to user {owner}: it is used only where it is named"))
            .with_help(format!("if you trust it, name it: --config {found}")));
    }
    Ok(found.clone())
}

/// What cannot be looked at counts as there: reading it tells why.
fn is_missing(path: &Path) -> bool {
    path.try_exists().is_ok_and(|exists| !exists)
}

fn nothing_at(path: &Path) -> Complaint {
    Complaint::invalid(format!("there is no inventory at {}", path.display()))
        .with_help("check the path (--config, $PATROLD_CONFIG), or make an inventory there: `patrold init PROVIDER`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_inventory_that_is_there_is_meant() {
        let directory = tempfile::tempdir().unwrap();
        let places: Vec<_> = ["one", "two", "three"].iter().map(|name| directory.path().join(name)).collect();
        let error = search(&places).unwrap_err();
        let looked = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
        assert_eq!(error.message, format!("no inventory found: looked at {looked}"));
        for there in ["three", "two"] {
            std::fs::write(directory.path().join(there), "").unwrap();
            assert_eq!(search(&places).unwrap(), directory.path().join(there));
        }
        assert!(find(Some(&places[0])).unwrap_err().message.contains("there is no inventory at"));
        assert_eq!(place(Some(&places[0])), Some(places[0].clone()));
    }
}
