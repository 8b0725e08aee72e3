//! The walk to a target's directory, one component at a time; the rules stand in the parent's documentation.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat, openat2, readlinkat, statat,
};
use rustix::io::Errno;

use super::{Cause, own_user};

/// As many hops as the kernel follows.
const MAX_LINKS: usize = 40;

/// Where a path leads.
pub(super) struct Found {
    pub(super) directory: OwnedFd,
    /// Of the directory.
    pub(super) about: Stat,
    /// The target's name in it: not a symbolic link at the time of the walk.
    pub(super) name: OsString,
}

/// What a path is expected to name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// An entry of a directory, there or not.
    Entry,
    /// A directory; its entry is then `.`.
    Directory,
}

/// One step of the way.
enum Step {
    Root,
    Up,
    /// Into this directory, or the target where nothing follows.
    Down(OsString),
}

/// Follows `path`, and fails where the rules forbid a step.
pub(super) fn walk(path: &Path, goal: Goal) -> Result<Found, Cause> {
    // Rules are about links: where the kernel meets none, it goes the whole way at once.
    match (goal, straight(path)) {
        (Goal::Entry, Some(found)) => Ok(found),
        _ => step_by_step(path, goal),
    }
}

/// Where `path` leads, if no part of it is a symbolic link and nothing else is in the way.
fn straight(path: &Path) -> Option<Found> {
    let (parent, name) = (path.parent()?, path.file_name()?);
    // `..` and `.` are told, or left out, step by step.
    let plain = path.is_absolute() && parent.join(name).as_os_str() == path.as_os_str();
    if !plain || path.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat2(CWD, parent, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).ok()?;
    match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Symlink => return None,
        Ok(_) | Err(Errno::NOENT) => {}
        Err(_) => return None,
    }
    let about = fstat(&directory).ok()?;
    Some(Found { directory, about, name: name.to_owned() })
}

fn step_by_step(path: &Path, goal: Goal) -> Result<Found, Cause> {
    if !path.is_absolute() {
        return Err(Cause::Refused("the path is not absolute".to_owned()));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Cause::Refused("the path contains \"..\"".to_owned()));
    }
    let mut rest = steps(path);
    if goal == Goal::Directory {
        rest.push_back(Step::Down(OsString::from(".")));
    }
    let mut directory = root()?;
    // The one user whose links were followed, apart from trusted ones.
    let mut guide = None;
    let mut links = 0;
    while let Some(step) = rest.pop_front() {
        let name = match step {
            Step::Root => {
                directory = root()?;
                continue;
            }
            Step::Up => {
                directory = enter(&directory, OsStr::new(".."))?;
                continue;
            }
            Step::Down(name) => name,
        };
        let found = match statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Some(found),
            Err(Errno::NOENT) if rest.is_empty() => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(link) = found.filter(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink) {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            may_follow(&name, &link, &fstat(&directory)?, &mut guide)?;
            let target = readlinkat(&directory, &name, Vec::new())?;
            let mut way = steps(Path::new(OsStr::from_bytes(target.to_bytes())));
            way.append(&mut rest);
            rest = way;
        } else if rest.is_empty() {
            return finish(&directory, name, guide);
        } else {
            directory = enter(&directory, &name)?;
        }
    }
    Err(Cause::Refused("the path ends in a directory: give the path of a file".to_owned()))
}

/// Whether root or the daemon's own user owns it.
pub(super) fn trusted(user: u32) -> bool {
    user == 0 || user == own_user()
}

fn steps(path: &Path) -> VecDeque<Step> {
    path.components()
        .filter_map(|part| match part {
            Component::RootDir => Some(Step::Root),
            Component::ParentDir => Some(Step::Up),
            Component::Normal(name) => Some(Step::Down(name.to_owned())),
            Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn root() -> Result<OwnedFd, Cause> {
    Ok(open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a directory for walking on, which needs the right to search it, not to list it.
fn enter(directory: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Cause> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?)
}

fn may_follow(name: &OsStr, link: &Stat, directory: &Stat, guide: &mut Option<u32>) -> Result<(), Cause> {
    let owner = link.st_uid;
    if trusted(owner) {
        return Ok(());
    }
    let refused = |why: &str| {
        let name = name.display();
        Err(Cause::Refused(format!("the symbolic link \"{name}\" belongs to user {owner}, {why}")))
    };
    let sticky_for_all = directory.st_mode & 0o1002 == 0o1002;
    if sticky_for_all && owner != directory.st_uid {
        return refused("who may have put it there: name the real path");
    }
    if *guide.get_or_insert(owner) != owner {
        return refused("and another user's link led there: name the real path");
    }
    Ok(())
}

fn finish(directory: &OwnedFd, name: OsString, guide: Option<u32>) -> Result<Found, Cause> {
    // Listing is needed from here on: only such a descriptor can be synced.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(directory, ".", flags, Mode::empty())?;
    let about = fstat(&directory)?;
    match guide {
        Some(user) if about.st_uid != user => Err(Cause::Refused(format!(
            "a symbolic link of user {user} leads to a directory of user {}: name the real path",
            about.st_uid
        ))),
        _ => Ok(Found { directory, about, name }),
    }
}
