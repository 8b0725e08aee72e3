//! Whether the path of the journal still leads to the open database.
//!
//! Law: before each commit, it does. A database that was removed or renamed takes commits without an error, and no start
//! ever finds them again.

use std::io;
use std::os::unix::fs::MetadataExt as _;
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
