//! POSIX access control lists, as the kernel writes them down: taken over byte by byte, never edited.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr, lgetxattr};
use rustix::io::Errno;

use super::error::Cause;

/// The name under which the kernel keeps the list that decides on access.
const NAME: &str = "system.posix_acl_access";

/// More than the file systems allow in a list.
const LARGEST: usize = 64 * 1024;

/// A list that says more than the mode does.
pub(super) struct Acl(Vec<u8>);

/// The list of a file that is open.
pub(super) fn of_file(file: &File) -> Result<Option<Acl>, Cause> {
    read(|buffer| fgetxattr(file, NAME, buffer))
}

/// The list of the file `name` in `directory`, which need not be readable.
pub(super) fn of(directory: &OwnedFd, name: &OsStr) -> Result<Option<Acl>, Cause> {
    // There is no call that takes a directory and a name; where /proc is missing, no list can be seen.
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    read(|buffer| lgetxattr(OsStr::from_bytes(&path), NAME, buffer))
}

/// Gives `file` the list, or takes the one away that its directory gave it.
pub(super) fn give(file: &File, acl: Option<&Acl>) -> Result<(), Cause> {
    match acl {
        Some(Acl(list)) => fsetxattr(file, NAME, list, XattrFlags::empty()).map_err(|error| {
            let error = std::io::Error::from(error);
            Cause::Refused(format!("its access control list cannot be kept ({error}): remove it by `setfacl -b`"))
        }),
        None => match fremovexattr(file, NAME) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        },
    }
}

fn read(get: impl FnOnce(&mut [u8]) -> rustix::io::Result<usize>) -> Result<Option<Acl>, Cause> {
    let mut buffer = vec![0; LARGEST];
    match get(&mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(Acl(buffer)))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
