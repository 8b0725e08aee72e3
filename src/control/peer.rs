//! Checks which user listens on the control socket.
//!
//! Law: nothing is said over the control socket, no secret above all, to anybody but the daemon: who listens there is the
//! owner of the state directory, root, or the user of the command itself. The socket that was looked at is the one that is
//! spoken to, whatever takes its place meanwhile.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use super::ClientError;

/// Holds what is at `socket`, if a daemon listens there. Nothing where nobody does, or where nobody can tell: asking then
/// tells why.
pub(super) fn pin(socket: &Path, state_dir: &Path) -> Result<Option<OwnedFd>, ClientError> {
    let Ok(pinned) = rustix::fs::open(socket, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { return Ok(None) };
    let Ok(stream) = UnixStream::connect(way(socket, Some(&pinned))) else { return Ok(None) };
    let owner = state_dir.metadata().ok().map(|about| about.uid());
    let listener = socket_peercred(&stream).map_err(|error| untold(socket, &error.into()))?.uid.as_raw();
    if is_daemon(listener, owner, geteuid().as_raw()) {
        return Ok(Some(pinned));
    }
    let complaint = ClientError::failed(format!(
        "user {listener} listens on {}, who is neither the owner of {} nor root: nothing was sent",
        socket.display(),
        state_dir.display()
    ));
    Err(complaint.with_help("find out what that process is (`ss -xlp`), and name another `control` in [daemon]"))
}

/// The path that leads to what is pinned.
pub(super) fn way(socket: &Path, pinned: Option<&OwnedFd>) -> PathBuf {
    let way = pinned.map(|pinned| PathBuf::from(format!("/proc/self/fd/{}", pinned.as_raw_fd())));
    way.filter(|way| way.exists()).unwrap_or_else(|| socket.to_owned())
}

fn is_daemon(listener: u32, owner: Option<u32>, own: u32) -> bool {
    listener == 0 || listener == own || Some(listener) == owner
}

fn untold(socket: &Path, error: &io::Error) -> ClientError {
    ClientError::failed(format!("cannot tell which user listens on {}: {error}", socket.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_daemon_is_its_owner_root_or_oneself() {
        for (sentence, listener, owner, own, expected) in [
            ("root", 0, Some(990), 1000, true),
            ("the owner of the state directory", 990, Some(990), 0, true),
            ("oneself", 1000, None, 1000, true),
            ("somebody else, asked by root", 1000, Some(990), 0, false),
            ("somebody else, the owner unknown", 1000, None, 0, false),
        ] {
            assert_eq!(is_daemon(listener, owner, own), expected, "{sentence}");
        }
    }

    #[test]
    fn nothing_is_said_to_a_stranger_nor_to_what_takes_the_place_of_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        assert!(pin(&socket, directory.path()).unwrap().is_none(), "nobody is there");
        let listener = UnixListener::bind(&socket).unwrap();
        let pinned = pin(&socket, directory.path()).unwrap();
        assert!(pinned.is_some());
        std::fs::remove_file(&socket).unwrap();
        let other = UnixListener::bind(&socket).unwrap();
        other.set_nonblocking(true).unwrap();
        drop(UnixStream::connect(way(&socket, pinned.as_ref())).unwrap());
        assert_eq!(other.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "the other one was spoken to");
        drop(listener);
    }
}
