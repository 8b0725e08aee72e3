//! Directories of files that are not valid yet, and the removal of those that are so no more.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, fchmod, flock, mkdirat, openat, readlinkat, statat, unlinkat,
};
use rustix::io::Errno;

use super::super::temporary::{Temporary, random_name};
use super::{DATA_LINK, ENTER};

/// What stands before the random part of their names.
const PREFIX: &str = "..patrold-";

/// Their mode: who may look into the directory around them may look into them; the files have modes of their own.
const MODE: u32 = 0o755;

/// A directory for files that are not valid yet: it goes away unless it stays.
pub(super) struct Fresh<'a> {
    parent: &'a OwnedFd,
    pub(super) name: String,
    /// Locked while it is held: tells sweeps that its writer lives.
    pub(super) directory: OwnedFd,
    stays: bool,
}

impl<'a> Fresh<'a> {
    pub(super) fn create(parent: &'a OwnedFd) -> io::Result<Self> {
        let mut attempts = 0;
        let name = loop {
            let name = random_name(PREFIX, "")?;
            match mkdirat(parent, &name, Mode::RWXU) {
                Ok(()) => break name,
                Err(Errno::EXIST) if attempts < 16 => attempts += 1,
                Err(error) => return Err(error.into()),
            }
        };
        let directory = openat(parent, &name, ENTER, Mode::empty())?;
        let _ = flock(&directory, FlockOperation::NonBlockingLockExclusive);
        fchmod(&directory, Mode::from_raw_mode(MODE))?;
        Ok(Self { parent, name, directory, stays: false })
    }

    /// It is valid now.
    pub(super) fn stays(&mut self) {
        self.stays = true;
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        if !self.stays {
            // What cannot be removed now is removed by the next sweep.
            let _ = remove(self.parent, OsStr::new(&self.name));
        }
    }
}

/// Removes a directory of files.
fn remove(parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let directory = openat(parent, name, ENTER, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            unlinkat(&directory, entry.file_name(), AtFlags::empty())?;
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes directories and links that a killed process left in `parent`, and those of earlier moments, but for what is `kept`
/// and for what `..data` leads to; says how many they were. Touches nothing whose name is not one that only this module makes,
/// and no directory that is being written.
pub fn sweep(parent: &OwnedFd, kept: impl Fn(&OsStr) -> bool) -> Result<usize, Errno> {
    let mut removed = 0;
    let data = readlinkat(parent, DATA_LINK, Vec::new()).ok();
    for entry in Dir::read_from(parent)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let about = |kind| {
            let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
            found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == kind)
        };
        if Temporary::is_name(name.as_bytes()) && about(FileType::Symlink) && is_ours(parent, name) {
            unlinkat(parent, name, AtFlags::empty())?;
            removed += 1;
            continue;
        }
        let random = name.as_bytes().strip_prefix(PREFIX.as_bytes());
        let stale = random.is_some_and(Temporary::is_random) && !kept(name);
        if !stale || data.as_ref().is_some_and(|data| data.as_bytes() == name.as_bytes()) || !about(FileType::Directory)
        {
            continue;
        }
        let Ok(directory) = openat(parent, name, ENTER, Mode::empty()) else { continue };
        let idle = flock(&directory, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK);
        if idle && remove(parent, name).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether a link that was to take another's place leads to where only this module leads.
fn is_ours(parent: &OwnedFd, name: &OsStr) -> bool {
    let target = readlinkat(parent, name, Vec::new());
    target.is_ok_and(|target| {
        let target = target.as_bytes();
        target.starts_with(PREFIX.as_bytes()) || target.starts_with(DATA_LINK.as_bytes())
    })
}
