//! A directory whose files change all at once.
//!
//! ```text
//! token   -> ..data/token            what consumers open; made once
//! refresh -> ..data/refresh
//! ..data  -> ..patrold-k3v7qa        the one name that changes
//! ..patrold-k3v7qa/token, refresh    the files; nothing in here is changed once `..data` leads here
//! ..patrold-b2mzpd/token, refresh    what was valid before, for readers that were under way
//! ```
//!
//! It is the layout of the volumes that Kubernetes projects. New files go into a directory of their own, are synced with it,
//! and then `..data` is renamed over the old link: a process that is killed between any two steps leaves the old files or the
//! new ones, whole. What it leaves besides has a name that only this module makes, and is removed by the next change or by
//! [`Target::sweep`](super::Target::sweep).
//!
//! Law: every file of the directory is in the new one as well. What is not changed is the same file under another link: its
//! owner, mode and access control list stay.

mod fresh;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FallocateFlags, FileType, Mode, OFlags, Stat, fallocate, fstat, fstatvfs, linkat, openat, readlinkat,
    renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use self::fresh::Fresh;
pub(super) use self::fresh::sweep;
use super::path::{self, Goal};
use super::temporary::Temporary;
use super::{Attributes, Cause, Content, DurableError, Identity, Phase, Target, regular, sync_directory};
use crate::inventory::DATA_LINK;

const ENTER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory whose files change all at once, held open.
#[derive(Debug)]
pub struct Switched {
    path: PathBuf,
    directory: OwnedFd,
    about: Stat,
}

/// The files that are valid at one moment.
#[derive(Debug)]
pub struct Current {
    path: PathBuf,
    name: OsString,
    directory: OwnedFd,
    about: Stat,
}

/// What consumers find under the name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Nothing,
    /// The link that leads to the file that is valid now.
    Linked,
    /// A file that somebody put there, or that was there before.
    File,
}

/// What a file becomes.
#[derive(Debug)]
pub enum Change<'a> {
    Put {
        bytes: &'a [u8],
        attributes: Attributes,
    },
    /// What consumers find under its name, which is a [`Shown::File`].
    TakeOver,
    Remove,
}

impl Switched {
    /// Walks to the directory and holds it open; the rules stand in the parent's documentation.
    pub fn open(path: &Path) -> Result<Self, DurableError> {
        let found =
            path::walk(path, Goal::Directory).map_err(|cause| DurableError::new(path, Phase::Resolve, cause))?;
        Ok(Self { path: path.to_owned(), directory: found.directory, about: found.about })
    }

    /// Which directory this is.
    pub fn identity(&self) -> Identity {
        Identity { device: self.about.st_dev, inode: self.about.st_ino, name: OsString::from(DATA_LINK) }
    }

    /// The files that are valid now; `None` where there are none yet.
    pub fn current(&self) -> Result<Option<Current>, DurableError> {
        self.find_current().map_err(|cause| self.error(Phase::Inspect, cause))
    }

    fn find_current(&self) -> Result<Option<Current>, Cause> {
        let Some(name) = self.data_name()? else { return Ok(None) };
        let about = statat(&self.directory, DATA_LINK, AtFlags::SYMLINK_NOFOLLOW)?;
        let refused = |what: &str| Err(Cause::Refused(format!("{DATA_LINK} in it {what}")));
        if Path::new(&name).components().count() != 1 || name == ".." || name == "." || name.as_bytes().contains(&b'/')
        {
            return refused("leads out of the directory: remove it");
        }
        if !self.trusts(about.st_uid) {
            return refused("is a link of another user: remove it");
        }
        let directory = match openat(&self.directory, &name, ENTER, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => return refused("leads to something that is no directory: remove it"),
            Err(error) => return Err(error.into()),
        };
        let about = fstat(&directory)?;
        if !self.trusts(about.st_uid) {
            return refused("leads to a directory of another user: remove it");
        }
        Ok(Some(Current { path: self.path.join(DATA_LINK), name, directory, about }))
    }

    /// Whether something of this user may decide which files are valid.
    fn trusts(&self, user: u32) -> bool {
        path::trusted(user) || user == self.about.st_uid
    }

    /// Where `..data` leads.
    fn data_name(&self) -> Result<Option<OsString>, Cause> {
        match readlinkat(&self.directory, DATA_LINK, Vec::new()) {
            Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::INVAL) => Err(Cause::Refused(format!("{DATA_LINK} in it is no symbolic link: move it away"))),
            Err(error) => Err(error.into()),
        }
    }

    /// What consumers find under `name`. Fails where it is something that is not replaced.
    pub fn shown(&self, name: &str) -> Result<Shown, DurableError> {
        self.find_shown(name).map_err(|cause| self.error(Phase::Inspect, cause))
    }

    fn find_shown(&self, name: &str) -> Result<Shown, Cause> {
        let found = match statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(Shown::Nothing),
            Err(error) => return Err(error.into()),
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Ok(Shown::File),
            FileType::Symlink => {
                let target = readlinkat(&self.directory, name, Vec::new())?;
                if target.as_bytes() == visible(name).as_bytes() {
                    return Ok(Shown::Linked);
                }
                let leads = OsStr::from_bytes(target.as_bytes()).display().to_string();
                Err(Cause::Refused(format!("\"{name}\" in it is a symbolic link to {leads}: move it away")))
            }
            _ => Err(Cause::Refused(format!("\"{name}\" in it is neither a file nor a link: move it away"))),
        }
    }

    /// The file that stands under `name` itself, in place of a link.
    pub fn own_file(&self, name: &str) -> Result<Target, DurableError> {
        let directory = self.directory.try_clone().map_err(|error| self.error(Phase::Inspect, error.into()))?;
        Ok(Target { path: self.path.join(name), directory, about: self.about, name: name.into() })
    }

    /// Makes `changes`, all at once: a reader finds the files of before or those of afterwards. `check` is asked before each
    /// step; one that fails ends it there. Until the last [`Phase::Rename`] nothing has changed that consumers read.
    ///
    /// `current`: the files that the changes were made for. Where others are valid by then, nothing is changed, and the error
    /// says so ([`DurableError::is_changed`]).
    pub fn publish(
        &self,
        current: Option<&Current>,
        changes: &[(&str, Change<'_>)],
        check: &mut dyn FnMut(Phase) -> Result<(), Cause>,
    ) -> Result<(), DurableError> {
        let step = |phase, cause| self.error(phase, cause);
        check(Phase::Create).map_err(|cause| step(Phase::Create, cause))?;
        let mut fresh = Fresh::create(&self.directory).map_err(|error| step(Phase::Create, error.into()))?;
        for (name, change) in changes {
            match change {
                Change::Put { bytes, attributes } => self.put(&fresh, current, name, bytes, *attributes, check)?,
                Change::TakeOver => {
                    check(Phase::Create).map_err(|cause| step(Phase::Create, cause))?;
                    self.take_over(&fresh, name).map_err(|cause| step(Phase::Create, cause))?;
                }
                Change::Remove => {}
            }
        }
        check(Phase::Create).map_err(|cause| step(Phase::Create, cause))?;
        let kept = current.map_or(Ok(0), |current| carry(current, &fresh, changes));
        let kept = kept.map_err(|cause| step(Phase::Create, cause))?;
        check(Phase::Sync).map_err(|cause| step(Phase::Sync, cause))?;
        sync_directory(&fresh.directory).map_err(|error| step(Phase::Sync, error.into()))?;
        // Links that lead nowhere yet show nothing: with the switch all of them do.
        for (name, change) in changes {
            let wanted = !matches!(change, Change::Remove);
            if wanted && self.shown(name)? == Shown::Nothing {
                check(Phase::Rename).map_err(|cause| step(Phase::Rename, cause))?;
                self.link(&visible(name), name).map_err(|error| step(Phase::Rename, error.into()))?;
            }
        }
        check(Phase::Sync).map_err(|cause| step(Phase::Sync, cause))?;
        sync_directory(&self.directory).map_err(|error| step(Phase::Sync, error.into()))?;
        check(Phase::Rename).map_err(|cause| step(Phase::Rename, cause))?;
        let now = self.data_name().map_err(|cause| step(Phase::Inspect, cause))?;
        if now.as_deref() != current.map(|current| &*current.name) && self.find_current().is_ok_and(|it| it.is_some()) {
            return Err(step(Phase::Rename, Cause::Changed));
        }
        let puts = changes.iter().any(|(_, change)| !matches!(change, Change::Remove));
        if puts || kept > 0 {
            self.link(&fresh.name, DATA_LINK).map_err(|error| step(Phase::Rename, error.into()))?;
            fresh.stays();
        } else {
            // No file is left: neither are the places for them.
            match unlinkat(&self.directory, DATA_LINK, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(step(Phase::Rename, error.into())),
            }
        }
        // What is removed is gone from everywhere: only what was changed is kept a while for readers that were under way.
        let removes = changes.iter().any(|(_, change)| matches!(change, Change::Remove));
        let before = current.filter(|_| !removes).map(|current| &*current.name);
        self.tidy(changes, &[before, Some(OsStr::new(&fresh.name))]);
        check(Phase::SyncDirectory).map_err(|cause| step(Phase::SyncDirectory, cause))?;
        sync_directory(&self.directory).map_err(|error| step(Phase::SyncDirectory, error.into()))
    }

    fn put(
        &self,
        fresh: &Fresh<'_>,
        current: Option<&Current>,
        name: &str,
        bytes: &[u8],
        attributes: Attributes,
        check: &mut dyn FnMut(Phase) -> Result<(), Cause>,
    ) -> Result<(), DurableError> {
        let step = |phase, cause| self.error(phase, cause);
        let former = match current {
            Some(current) => {
                let file = current.file(name).map_err(|error| step(Phase::Inspect, error.into()))?;
                file.inspect(attributes).map_err(|cause| step(Phase::Inspect, cause))?
            }
            None => None,
        };
        check(Phase::Create).map_err(|cause| step(Phase::Create, cause))?;
        let created = Temporary::named(&fresh.directory, name);
        let mut file = created.map_err(|error| step(Phase::Create, error.into()))?;
        check(Phase::Own).map_err(|cause| step(Phase::Own, cause))?;
        file.own(attributes, former.as_ref()).map_err(|cause| step(Phase::Own, cause))?;
        check(Phase::Write).map_err(|cause| step(Phase::Write, cause))?;
        io::Write::write_all(&mut file.file, bytes).map_err(|error| step(Phase::Write, error.into()))?;
        check(Phase::Sync).map_err(|cause| step(Phase::Sync, cause))?;
        file.file.sync_all().map_err(|error| step(Phase::Sync, error.into()))?;
        file.keep();
        Ok(())
    }

    /// The file under the visible name, whatever it is, becomes one of those that are valid.
    fn take_over(&self, fresh: &Fresh<'_>, name: &str) -> Result<(), Cause> {
        regular(&statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?)?;
        match linkat(&self.directory, name, &fresh.directory, name, AtFlags::empty()) {
            Err(Errno::PERM) => {
                Err(Cause::Refused(format!("\"{name}\" in it is a file of another user: move it away")))
            }
            linked => Ok(linked?),
        }
    }

    /// Puts the link to the file that is valid under the visible name, over a file that stands there.
    pub fn show(&self, name: &str) -> Result<(), DurableError> {
        self.link(&visible(name), name).map_err(|error| self.error(Phase::Rename, error.into()))?;
        sync_directory(&self.directory).map_err(|error| self.error(Phase::SyncDirectory, error.into()))
    }

    /// A symbolic link under `name`, in place of whatever stands there.
    fn link(&self, target: &str, name: &str) -> io::Result<()> {
        let mut attempts = 0;
        loop {
            let temporary = Temporary::random()?;
            match symlinkat(target, &self.directory, &temporary) {
                Ok(()) => {
                    let renamed = renameat(&self.directory, &temporary, &self.directory, name);
                    if renamed.is_err() {
                        // What cannot be removed now is removed by the next sweep.
                        let _ = unlinkat(&self.directory, &temporary, AtFlags::empty());
                    }
                    return Ok(renamed?);
                }
                Err(Errno::EXIST) if attempts < 16 => attempts += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes links of files that are gone, and directories of earlier moments but for those in `kept`. What cannot be
    /// removed now is removed by the next change, or by a sweep.
    fn tidy(&self, changes: &[(&str, Change<'_>)], kept: &[Option<&OsStr>]) {
        for (name, change) in changes {
            if matches!(change, Change::Remove) && self.find_shown(name).is_ok_and(|shown| shown == Shown::Linked) {
                let _ = unlinkat(&self.directory, *name, AtFlags::empty());
            }
        }
        let _ = sweep(&self.directory, |name| kept.contains(&Some(name)));
    }

    /// Does everything that a change to `size` bytes does, except for what consumers see; leaves nothing behind.
    pub fn rehearse(&self, size: usize, attributes: Attributes) -> Result<(), DurableError> {
        let at = |phase, cause| self.error(phase, cause);
        let space = fstatvfs(&self.directory).map_err(|error| at(Phase::Inspect, error.into()))?;
        if space.f_blocks > 0 && space.f_bavail.saturating_mul(space.f_frsize) < size as u64 {
            return Err(at(Phase::Write, Errno::NOSPC.into()));
        }
        let fresh = Fresh::create(&self.directory).map_err(|error| at(Phase::Create, error.into()))?;
        let file = Temporary::named(&fresh.directory, "rehearsal").map_err(|error| at(Phase::Create, error.into()))?;
        file.own(attributes, None).map_err(|cause| at(Phase::Own, cause))?;
        match fallocate(&file.file, FallocateFlags::empty(), 0, size as u64) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(error) => return Err(at(Phase::Write, error.into())),
        }
        let link = Temporary::random().map_err(|error| at(Phase::Create, error.into()))?;
        symlinkat(&*fresh.name, &self.directory, &link).map_err(|error| at(Phase::Create, error.into()))?;
        unlinkat(&self.directory, &link, AtFlags::empty()).map_err(|error| at(Phase::Rename, error.into()))
    }

    /// Brings to the disk what is there already: a change that was cut short may have been visible only.
    pub fn settle(&self) -> Result<(), DurableError> {
        if let Some(current) = self.current()? {
            for name in current.names().map_err(|cause| self.error(Phase::Inspect, cause))? {
                let file = current.file(&name).map_err(|error| self.error(Phase::Inspect, error.into()))?;
                file.settle()?;
            }
        }
        sync_directory(&self.directory).map_err(|error| self.error(Phase::SyncDirectory, error.into()))
    }

    fn error(&self, phase: Phase, cause: Cause) -> DurableError {
        DurableError::new(&self.path, phase, cause)
    }
}

impl Current {
    /// One of the files, there or not.
    pub fn file(&self, name: impl AsRef<OsStr>) -> io::Result<Target> {
        let name = name.as_ref();
        let directory = self.directory.try_clone()?;
        Ok(Target { path: self.path.join(name), directory, about: self.about, name: name.to_owned() })
    }

    /// What one of the files holds, at most `limit` bytes; `None` where there is no such file.
    pub fn read(&self, name: &str, limit: usize) -> Result<Option<Content>, DurableError> {
        let file = self.file(name);
        file.map_err(|error| DurableError::new(&self.path, Phase::Inspect, error.into()))?.read(limit)
    }

    fn names(&self) -> Result<Vec<OsString>, Cause> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

/// Links the files that are not changed into the new directory, and says how many they are.
fn carry(current: &Current, fresh: &Fresh<'_>, changes: &[(&str, Change<'_>)]) -> Result<usize, Cause> {
    let mut kept = 0;
    for name in current.names()?.iter().filter(|name| changes.iter().all(|(changed, _)| *name != changed)) {
        let found = statat(&current.directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(Cause::Refused(format!("\"{}\" below {DATA_LINK} is no file: move it away", name.display())));
        }
        match linkat(&current.directory, name, &fresh.directory, name, AtFlags::empty()) {
            Ok(()) => kept += 1,
            Err(Errno::PERM) => {
                let why = format!("\"{}\" below {DATA_LINK} belongs to another user: move it away", name.display());
                return Err(Cause::Refused(why));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(kept)
}

/// What the link of a visible name leads to.
fn visible(name: &str) -> String {
    format!("{DATA_LINK}/{name}")
}

#[cfg(test)]
mod tests;
