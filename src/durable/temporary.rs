//! The temporary file beside a target: private until it is renamed, gone if it is not.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, fchmod, fchown, flock, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::error::Cause;
use super::{Attributes, Former, acl};
use crate::secret::random;

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const RANDOM: usize = 6;

/// A name with a random part.
pub(super) fn random_name(prefix: &str, suffix: &str) -> io::Result<String> {
    let mut bytes = [0; RANDOM];
    random::fill(&mut bytes).map_err(io::Error::other)?;
    let letters = bytes.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    Ok(format!("{prefix}{}{suffix}", String::from_iter(letters)))
}

/// A temporary file that goes away unless it was renamed.
pub(super) struct Temporary<'a> {
    directory: &'a OwnedFd,
    pub(super) name: Option<String>,
    pub(super) file: File,
}

impl<'a> Temporary<'a> {
    const PREFIX: &'static str = ".patrold-";
    const SUFFIX: &'static str = ".tmp";

    /// An empty file of mode 0600 under a name that nothing else has.
    pub(super) fn create(directory: &'a OwnedFd) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut attempts = 0;
        loop {
            let name = Self::random()?;
            match openat(directory, &name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => {
                    // Tells `sweep` that its writer lives; where locks are unknown, sweeping is for a start only.
                    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
                    return Ok(Self { directory, name: Some(name), file: file.into() });
                }
                Err(Errno::EXIST) if attempts < 16 => attempts += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// An empty file of mode 0600 that is called `name`, in a directory where nothing is yet.
    pub(super) fn named(directory: &'a OwnedFd, name: &str) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self { directory, name: Some(name.to_owned()), file: file.into() })
    }

    /// It stays under its name.
    pub(super) fn keep(mut self) {
        self.name = None;
    }

    /// A name that only this module makes.
    pub(super) fn random() -> io::Result<String> {
        random_name(Self::PREFIX, Self::SUFFIX)
    }

    /// Gives it the owner, mode and access control list that the target will have. The mode first: a system that lets
    /// files be given away may not let those of others be changed.
    pub(super) fn own(&self, attributes: Attributes, former: Option<&Former>) -> Result<(), Cause> {
        if let Some(former) = former {
            acl::give(&self.file, former.acl.as_ref())?;
        }
        let mode = Mode::from_raw_mode(attributes.mode & 0o7777);
        fchmod(&self.file, mode)?;
        let found = fstat(&self.file)?;
        let (owner, group) = former.and_then(|former| former.ids).unzip();
        // Both at once, else the group alone: a user may give a file to a group of his own, but to no other user.
        for (owner, group) in [(owner, group), (None, group)] {
            let owner = owner.filter(|id| attributes.owner.is_none() && *id != found.st_uid).map(Uid::from_raw);
            let group = group.filter(|id| attributes.group.is_none() && *id != found.st_gid).map(Gid::from_raw);
            if owner.is_none() && group.is_none() {
                continue;
            }
            match fchown(&self.file, owner, group) {
                Ok(()) => break,
                Err(Errno::PERM | Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let owner = attributes.owner.filter(|owner| *owner != found.st_uid).map(Uid::from_raw);
        let group = attributes.group.filter(|group| *group != found.st_gid).map(Gid::from_raw);
        if owner.is_some() || group.is_some() {
            fchown(&self.file, owner, group)?;
        }
        // A change of owner clears bits of the mode.
        let now = fstat(&self.file)?.st_mode & 0o7777;
        if now != attributes.mode & 0o7777 {
            fchmod(&self.file, mode)?;
        }
        Ok(())
    }

    /// Puts it in the place of `target`.
    pub(super) fn rename(&mut self, target: &OsStr) -> io::Result<()> {
        if let Some(name) = &self.name {
            renameat(self.directory, name, self.directory, target)?;
        }
        self.name = None;
        Ok(())
    }

    /// Whether only this module makes such a name.
    pub(super) fn is_name(name: &[u8]) -> bool {
        name.strip_prefix(Self::PREFIX.as_bytes())
            .and_then(|rest| rest.strip_suffix(Self::SUFFIX.as_bytes()))
            .is_some_and(Self::is_random)
    }

    /// Whether it can be the random part of such a name.
    pub(super) fn is_random(part: &[u8]) -> bool {
        part.len() == RANDOM && part.iter().all(|c| LETTERS.contains(c))
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // What cannot be removed now is removed by the next sweep.
            let _ = unlinkat(self.directory, name, AtFlags::empty());
        }
    }
}
