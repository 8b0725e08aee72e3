//! The place of the journal: how it is made, and whether its path still leads to the open database.
//!
//! Law: before each commit, it does. A database that was removed or renamed takes commits without an error, and no start
//! ever finds them again.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::outcome::{Failure, FailureCode};

/// A file or directory, whatever it is called.
type Identity = (u64, u64);

/// The open database and its directory.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Directory and file, each with what it was when the database was opened.
    known: [(PathBuf, Identity); 2],
}

impl Place {
    /// What the paths lead to now.
    pub(super) fn of(state_dir: &Path, database: &Path) -> io::Result<Self> {
        let known = |path: &Path| Ok::<_, io::Error>((path.to_owned(), identity(path)?));
        Ok(Self { known: [known(state_dir)?, known(database)?] })
    }

    /// Fails where a path leads elsewhere, or nowhere.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for (path, known) in &self.known {
            let what = match identity(path) {
                Ok(found) if found == *known => continue,
                Ok(_) => "was replaced",
                Err(error) if error.kind() == io::ErrorKind::NotFound => "was removed or renamed",
                Err(_) => "cannot be reached any more",
            };
            let detail = format!(
                "{} {what} while patrold runs: put the same one back and it goes on, or stop the daemon and restore a \
                 backup",
                path.display()
            );
            return Err(Failure::new(FailureCode::Journal, detail));
        }
        Ok(())
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    let about = path.metadata()?;
    Ok((about.dev(), about.ino()))
}

/// Makes the state directory, private whatever the umask is. One that is there keeps its mode, since somebody chose it;
/// the database in it is private anyway.
pub(super) fn prepare_directory(state_dir: &Path) -> io::Result<Vec<String>> {
    match state_dir.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
            std::fs::set_permissions(state_dir, Permissions::from_mode(0o700))?;
            Ok(Vec::new())
        }
        Err(error) => Err(error),
        Ok(about) if about.permissions().mode() & 0o002 != 0 => Ok(vec![format!(
            "every user of this machine may replace files in the state directory {0}: chmod 0700 {0}",
            state_dir.display()
        )]),
        Ok(_) => Ok(Vec::new()),
    }
}

/// Makes the database file private before SQLite opens it; its log and index get the same mode.
pub(super) fn prepare_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_was_moved_away_is_missed_until_the_same_one_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (dir.path().join("journal.db"), dir.path().join("elsewhere"));
        std::fs::write(&path, "records").unwrap();
        let place = Place::of(dir.path(), &path).unwrap();
        assert_eq!(place.check(), Ok(()));
        std::fs::rename(&path, &elsewhere).unwrap();
        assert!(place.check().unwrap_err().detail.contains("was removed or renamed"));
        std::fs::copy(&elsewhere, &path).unwrap();
        assert!(place.check().unwrap_err().detail.contains("was replaced"));
        std::fs::rename(&elsewhere, &path).unwrap();
        assert_eq!(place.check(), Ok(()));
    }
}
