//! Files that are replaced whole or not at all. The only place of the daemon that renames files.
//!
//! New content goes to a temporary file beside its target, gets its owner and mode, is synced, and is renamed over
//! the target; then the directory is synced. A reader sees the old content or the new, and a power loss keeps one of
//! the two.
//!
//! The daemon often runs as root and writes into directories of other users, so a path is not handed to the kernel
//! in one piece. [`Target::open`] walks it and keeps the parent directory open; everything after that is relative to
//! that descriptor, so a parent that is swapped meanwhile redirects nothing. The rules ("trusted" means owned by root
//! or by the daemon's own user):
//!
//! * The path is absolute and has no `..` of its own. Directories are never created.
//! * A symbolic link is followed only where nobody can use it to point the daemon at something that he could not
//!   write himself: a trusted link always; a link of another user only if the directory that it leads to belongs to
//!   the same user; and in a directory that everybody may write to and that is sticky (`/tmp`), only a trusted link
//!   or one of the directory's owner (the kernel's `protected_symlinks`). That holds for every hop and for the last
//!   component.
//! * The target is absent or a regular file. A directory, pipe, socket or device is refused, and is never opened
//!   in a way that waits.
//! * In a directory that everybody may write to, an existing target must belong to a trusted user, to the
//!   directory's owner or to the owner that is asked for: otherwise it is somebody's bait.
//! * The new content is never written through the old inode: hard links to the old file keep the old content. A file
//!   whose content is read in order to be edited must have no second link, or a link to somebody's private file would
//!   have that file copied ([`Target::read_sole`]).
//! * Law: who could read a file before it was replaced can read it afterwards, and nobody else can. Its POSIX access
//!   control list is taken over whole, or the replacement is refused; a list that a directory gives to new files does
//!   not widen an existing one.
//! * The temporary file is created exclusively with mode 0600 and gets owner and mode through its descriptor, before
//!   the rename; a user who owns the directory can at most put a file of his own in its place.

mod acl;
mod error;
mod path;
mod switched;
mod temporary;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, Stat, StatxAttributes, StatxFlags, fallocate,
    flock, fstat, fstatvfs, openat, statat, statx, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

pub use self::error::{Cause, DurableError, Phase};
use self::path::Goal;
pub use self::switched::{Change, Current, Shown, Switched};
use self::temporary::Temporary;

/// Permissions and ownership of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, as in `chmod`.
    pub mode: u32,
    /// User id; `None`: the daemon's own.
    pub owner: Option<u32>,
    /// Group id; `None`: what the directory gives to a new file.
    pub group: Option<u32>,
    /// Where owner and group are not given: whether the new file takes over those of the one that it replaces, as far as
    /// the system allows.
    pub inherit: bool,
}

impl Attributes {
    /// Mode 0600, owned by the daemon.
    pub const PRIVATE: Self = Self { mode: 0o600, owner: None, group: None, inherit: false };
}

/// What a target held when it was read.
pub struct Content {
    /// Wiped when dropped: it may hold secrets.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Owner, group and mode at that time; all three are given.
    pub attributes: Attributes,
    /// Others than owner and group may use it, by a POSIX access control list.
    pub has_acl: bool,
    links: u64,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("bytes", &self.bytes.len())
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

/// How files are opened for reading. `NONBLOCK`: opening a pipe must not wait for its writer; what kind of file it is
/// shows afterwards.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A file to be read or replaced: its directory, held open, and its name there.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    directory: OwnedFd,
    /// Of the directory.
    about: Stat,
    name: OsString,
}

/// Tells apart targets that are different files, however their paths are written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    name: OsString,
}

impl Target {
    /// Walks to the directory of `path` and holds it open. The target itself need not exist.
    pub fn open(path: &Path) -> Result<Self, DurableError> {
        Self::walk(path, Goal::Entry)
    }

    fn walk(path: &Path, goal: Goal) -> Result<Self, DurableError> {
        let found = path::walk(path, goal).map_err(|cause| DurableError::new(path, Phase::Resolve, cause))?;
        Ok(Self { path: path.to_owned(), directory: found.directory, about: found.about, name: found.name })
    }

    /// Which file this is.
    pub fn identity(&self) -> Identity {
        Identity { device: self.about.st_dev, inode: self.about.st_ino, name: self.name.clone() }
    }

    /// The content, at most `limit` bytes of it; `None` where there is no such file.
    pub fn read(&self, limit: usize) -> Result<Option<Content>, DurableError> {
        self.read_content(limit).map_err(|cause| DurableError::new(&self.path, Phase::Inspect, cause))
    }

    /// As [`Self::read`], for content that will be edited: refuses a file with a second hard link.
    pub fn read_sole(&self, limit: usize) -> Result<Option<Content>, DurableError> {
        let content = self.read(limit)?;
        match &content {
            Some(Content { links, .. }) if *links > 1 => {
                let why = format!("it has {links} hard links, which replacing it would part: remove the others");
                Err(DurableError::new(&self.path, Phase::Inspect, Cause::Refused(why)))
            }
            _ => Ok(content),
        }
    }

    /// Replaces the content; see the module's documentation.
    pub fn replace(&self, bytes: &[u8], attributes: Attributes) -> Result<(), DurableError> {
        self.replace_checked(bytes, attributes, |_| Ok(()))
    }

    /// As [`Self::replace`], asking `check` before each phase from [`Phase::Inspect`] on.
    ///
    /// A check that fails ends the replacement there: up to and including [`Phase::Rename`] nothing has changed then.
    pub fn replace_checked(
        &self,
        bytes: &[u8],
        attributes: Attributes,
        mut check: impl FnMut(Phase) -> Result<(), Cause>,
    ) -> Result<(), DurableError> {
        let former = self.step(Phase::Inspect, &mut check, || self.inspect(attributes))?;
        let mut temporary = self.step(Phase::Create, &mut check, || Ok(Temporary::create(&self.directory)?))?;
        self.step(Phase::Own, &mut check, || temporary.own(attributes, former.as_ref()))?;
        self.step(Phase::Write, &mut check, || Ok(temporary.file.write_all(bytes)?))?;
        self.step(Phase::Sync, &mut check, || Ok(temporary.file.sync_all()?))?;
        self.step(Phase::Rename, &mut check, || Ok(temporary.rename(&self.name)?))?;
        self.step(Phase::SyncDirectory, &mut check, || Ok(sync_directory(&self.directory)?))
    }

    fn step<T>(
        &self,
        phase: Phase,
        check: &mut impl FnMut(Phase) -> Result<(), Cause>,
        action: impl FnOnce() -> Result<T, Cause>,
    ) -> Result<T, DurableError> {
        check(phase).and_then(|()| action()).map_err(|cause| DurableError::new(&self.path, phase, cause))
    }

    /// Does everything that a replacement by `size` bytes does, except for the rename; leaves nothing behind.
    pub fn rehearse(&self, size: usize, attributes: Attributes) -> Result<(), DurableError> {
        let at = |phase, cause| DurableError::new(&self.path, phase, cause);
        let space = fstatvfs(&self.directory).map_err(|error| at(Phase::Inspect, error.into()))?;
        if space.f_blocks > 0 && space.f_bavail.saturating_mul(space.f_frsize) < size as u64 {
            return Err(at(Phase::Write, Errno::NOSPC.into()));
        }
        self.check_replaceable().map_err(|cause| at(Phase::Rename, cause))?;
        let former = self.inspect(attributes).map_err(|cause| at(Phase::Inspect, cause))?;
        let mut temporary = Temporary::create(&self.directory).map_err(|error| at(Phase::Create, error.into()))?;
        temporary.own(attributes, former.as_ref()).map_err(|cause| at(Phase::Own, cause))?;
        match fallocate(&temporary.file, FallocateFlags::empty(), 0, size as u64) {
            Ok(()) => Ok(()),
            // Where space cannot be reserved, it is used. Zeros can be written as a hole by some file systems; these
            // bytes need their blocks, and some file systems look for those when the file is synced.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let written = temporary.file.write_all(&vec![b'#'; size]);
                written.map_err(|error| at(Phase::Write, error.into()))?;
                temporary.file.sync_all().map_err(|error| at(Phase::Sync, error.into()))
            }
            Err(error) => Err(at(Phase::Write, error.into())),
        }
    }

    /// Brings to the disk what is there already: a replacement that was cut short may have been visible only.
    pub fn settle(&self) -> Result<(), DurableError> {
        let at = |phase| move |cause| DurableError::new(&self.path, phase, cause);
        if let Some(file) = self.open_regular().map_err(at(Phase::Inspect))? {
            file.sync_all().map_err(Cause::Io).map_err(at(Phase::Sync))?;
        }
        sync_directory(&self.directory).map_err(Cause::Io).map_err(at(Phase::SyncDirectory))
    }

    /// Removes the file; one that is not there is removed already.
    pub fn remove(&self) -> Result<(), DurableError> {
        let at = |phase, cause| DurableError::new(&self.path, phase, cause);
        match unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(at(Phase::Rename, error.into())),
        }
        sync_directory(&self.directory).map_err(|error| at(Phase::SyncDirectory, Cause::Io(error)))
    }

    /// Removes the temporary files that a killed daemon left beside the target, and directories and links that a [`Switched`]
    /// needs no more; says how many they were.
    ///
    /// Touches nothing but what has a name that only this module makes, and of those none that is being written.
    pub fn sweep(&self) -> Result<usize, DurableError> {
        let at = |error: Errno| DurableError::new(&self.path, Phase::Inspect, error.into());
        let mut removed = 0;
        for entry in Dir::read_from(&self.directory).map_err(at)? {
            let entry = entry.map_err(at)?;
            if !Temporary::is_name(entry.file_name().to_bytes()) {
                continue;
            }
            let Ok(file) = openat(&self.directory, entry.file_name(), READ, Mode::empty()) else { continue };
            let idle = flock(&file, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK);
            if idle && regular(&fstat(&file).map_err(at)?).is_ok() {
                unlinkat(&self.directory, entry.file_name(), AtFlags::empty()).map_err(at)?;
                removed += 1;
            }
        }
        Ok(removed + switched::sweep(&self.directory, |_| false).map_err(at)?)
    }

    /// What forbids a rename over the target and can be known before.
    fn check_replaceable(&self) -> Result<(), Cause> {
        let found = match statx(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
            Ok(found) => found,
            // ENOSYS: a kernel or sandbox without statx; the rename itself will tell.
            Err(Errno::NOENT | Errno::NOSYS) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Err(Errno::BUSY.into());
        }
        if found.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
            return Err(Cause::Refused("it is immutable or append-only: chattr -i -a".to_owned()));
        }
        Ok(())
    }

    /// What the target is now; nothing where it is absent.
    fn look(&self) -> Result<Option<Stat>, Cause> {
        match statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses what must not be replaced, and tells what of it the new file takes over.
    fn inspect(&self, attributes: Attributes) -> Result<Option<Former>, Cause> {
        let Some(found) = self.look()? else { return Ok(None) };
        regular(&found)?;
        let owner = found.st_uid;
        let open_to_all = self.about.st_mode & 0o002 != 0;
        if open_to_all && !path::trusted(owner) && owner != self.about.st_uid && Some(owner) != attributes.owner {
            return Err(Cause::Refused(format!(
                "it belongs to user {owner} in a directory that everybody may write to: remove it, or name that owner"
            )));
        }
        // Where a group may write, a member could put a file of his own there and be given the secret.
        let placed_by_owner = self.about.st_mode & 0o022 == 0 || path::trusted(owner) || owner == self.about.st_uid;
        let ids = (attributes.inherit && placed_by_owner).then_some((owner, found.st_gid));
        Ok(Some(Former { ids, acl: acl::of(&self.directory, &self.name)? }))
    }

    fn open_regular(&self) -> Result<Option<File>, Cause> {
        let file = match openat(&self.directory, &self.name, READ, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(Cause::Refused("it became a symbolic link meanwhile".to_owned())),
            // A socket.
            Err(Errno::NXIO) => return Err(Cause::Refused("it is not a regular file".to_owned())),
            Err(error) => return Err(error.into()),
        };
        regular(&fstat(&file)?)?;
        Ok(Some(file))
    }

    fn read_content(&self, limit: usize) -> Result<Option<Content>, Cause> {
        let Some(file) = self.open_regular()? else { return Ok(None) };
        let found = fstat(&file)?;
        let too_large = || Cause::Refused(format!("it has more than {limit} bytes"));
        let size = usize::try_from(found.st_size).ok().filter(|size| *size <= limit).ok_or_else(too_large)?;
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
        (&file).take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(too_large());
        }
        let has_acl = acl::of_file(&file)?.is_some();
        // Its width differs between architectures.
        #[allow(clippy::useless_conversion)]
        let links = u64::from(found.st_nlink);
        Ok(Some(Content { bytes, attributes: attributes_of(&found), has_acl, links }))
    }
}

/// Replaces the content of `path`; see the module's documentation.
pub fn replace(path: &Path, bytes: &[u8], attributes: Attributes) -> Result<(), DurableError> {
    Target::open(path)?.replace(bytes, attributes)
}

/// Removes the temporary files that a killed daemon left in `directory`; see [`Target::sweep`].
pub fn sweep(directory: &Path) -> Result<usize, DurableError> {
    Target::walk(directory, Goal::Directory)?.sweep()
}

/// What a new file takes over from the one that it replaces.
struct Former {
    /// Owner and group, where they are taken over.
    ids: Option<(u32, u32)>,
    acl: Option<acl::Acl>,
}

fn attributes_of(found: &Stat) -> Attributes {
    let (owner, group) = (Some(found.st_uid), Some(found.st_gid));
    Attributes { mode: found.st_mode & 0o7777, owner, group, inherit: false }
}

fn regular(found: &Stat) -> Result<(), Cause> {
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Cause::Refused("it is a directory: give the path of a file".to_owned())),
        _ => Err(Cause::Refused("it is not a regular file".to_owned())),
    }
}

fn sync_directory(directory: &OwnedFd) -> io::Result<()> {
    match rustix::fs::fsync(directory.as_fd()) {
        // The file system has no notion of syncing a directory (some network and FUSE file systems).
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The user that the daemon acts as.
fn own_user() -> u32 {
    geteuid().as_raw()
}
