//! The directories to watch, so that no change of a path's meaning goes unnoticed.
//!
//! A file is never watched itself: a watch follows the inode, and a file that is replaced by a rename is another inode.
//! What decides is every name on the way to it, symbolic links included: Kubernetes swaps a link (`..data`) two
//! directories away from the name that the inventory gives, and a directory may be moved away and made anew.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use chrono::DateTime;
use notify::EventKind;

use crate::clock::{Span, Time};

use super::Watched;

/// Links followed on the way to one path; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// The directories to watch, by their real paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach(BTreeMap<PathBuf, Interest>);

/// What matters in one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    names: BTreeSet<OsString>,
    /// Every name that does not begin with a dot matters.
    all: bool,
    /// A change goes unnoticed where this directory cannot be watched. False for the directories above: they matter
    /// only when a whole branch of the tree is moved, and the daemon's user often may not read them.
    pub(super) required: bool,
}

impl Reach {
    /// Looks at the file system as it is now.
    pub(super) fn of(target: &Watched) -> Self {
        let mut tracer = Tracer::default();
        for file in &target.files {
            tracer.trace(file);
        }
        for directory in &target.directories {
            if let Some(real) = tracer.trace(directory) {
                tracer.reach.entry(real).or_default().all = true;
                for link in children(directory).unwrap_or_default().iter().filter(|child| child.is_symlink()) {
                    tracer.trace(link);
                }
            }
        }
        Self(tracer.reach)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &Interest)> {
        self.0.iter().map(|(path, interest)| (path.as_path(), interest))
    }

    pub(super) fn contains(&self, directory: &Path) -> bool {
        self.0.contains_key(directory)
    }

    /// Whether `event` may have changed what a watched path means.
    ///
    /// Opening, reading and closing never count: comparing and loading read the files themselves, and would wake the
    /// watch for ever.
    pub(super) fn concerns(&self, event: &notify::Event) -> bool {
        if event.need_rescan() {
            return true;
        }
        let changes = match event.kind {
            EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => true,
            EventKind::Any | EventKind::Access(_) | EventKind::Other => false,
        };
        changes && event.paths.iter().any(|path| self.matters(path))
    }

    /// Whether a file or link that decides about a path may have changed since `time`, by the times that the file system
    /// keeps. A directory on the way tells nothing: its times change with everything in it.
    pub(super) fn changed_since(&self, time: Time) -> bool {
        // The kernel takes its times from a clock that ticks every few milliseconds.
        let time = time - Span::milliseconds(100);
        let late = |path: &Path| match fs::symlink_metadata(path) {
            Ok(found) => !found.is_dir() && changed(&found) >= Some(time),
            // Removed, perhaps.
            Err(_) => path.parent().is_some_and(|directory| directory_changed(directory) >= Some(time)),
        };
        self.iter().any(|(directory, interest)| {
            let named = || interest.names.iter().any(|name| late(&directory.join(name)));
            let any = || children(directory).unwrap_or_default().iter().any(|path| late(path));
            named() || (interest.all && (directory_changed(directory) >= Some(time) || any()))
        })
    }

    fn matters(&self, path: &Path) -> bool {
        // The directory itself was moved or removed.
        if self.0.contains_key(path) {
            return true;
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.0.get(directory).is_some_and(|interest| interest.covers(name))
    }
}

/// Follows paths, and notes every name on the way.
#[derive(Default)]
struct Tracer {
    reach: BTreeMap<PathBuf, Interest>,
    /// Directories traced already and their real paths: an inventory may have thousands of files in one.
    known: HashMap<PathBuf, Option<PathBuf>>,
}

impl Tracer {
    /// The real path of `path`, which is absolute, where that is a directory.
    fn trace(&mut self, path: &Path) -> Option<PathBuf> {
        let root = || PathBuf::from("/");
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return self.walk(root(), parts(path).collect());
        };
        let known = self.known.get(directory).cloned();
        let real = known.unwrap_or_else(|| {
            let real = self.walk(root(), parts(directory).collect());
            self.known.insert(directory.to_owned(), real.clone());
            real
        });
        self.walk(real?, VecDeque::from([name.to_owned()]))
    }

    /// Goes on from the real directory `here` along the names `ahead`.
    fn walk(&mut self, mut here: PathBuf, mut ahead: VecDeque<OsString>) -> Option<PathBuf> {
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            self.note(&here, &name);
            let next = here.join(&name);
            match fs::symlink_metadata(&next) {
                Ok(found) if found.is_dir() => here = next,
                Ok(found) if found.is_symlink() && links < MAX_LINKS => {
                    links += 1;
                    self.require(&here);
                    let goal = fs::read_link(&next).ok()?;
                    if goal.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    for part in parts(&goal).rev() {
                        ahead.push_front(part);
                    }
                }
                // A file, or nothing yet: what `here` holds decides.
                _ => {
                    self.require(&here);
                    return None;
                }
            }
        }
        self.require(&here);
        Some(here)
    }

    fn note(&mut self, directory: &Path, name: &OsStr) {
        match self.reach.get_mut(directory) {
            Some(interest) if interest.names.contains(name) => {}
            Some(interest) => drop(interest.names.insert(name.to_owned())),
            None => {
                let names = BTreeSet::from([name.to_owned()]);
                self.reach.insert(directory.to_owned(), Interest { names, ..Interest::default() });
            }
        }
    }

    fn require(&mut self, directory: &Path) {
        if let Some(interest) = self.reach.get_mut(directory) {
            interest.required = true;
        } else {
            self.reach.insert(directory.to_owned(), Interest { required: true, ..Interest::default() });
        }
    }
}

impl Interest {
    fn covers(&self, name: &OsStr) -> bool {
        self.names.contains(name) || (self.all && !is_hidden(name))
    }
}

/// The paths directly in `directory`, without those that begin with a dot: editors and Kubernetes keep their own files
/// there.
pub(super) fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !is_hidden(&entry.file_name()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn directory_changed(directory: &Path) -> Option<Time> {
    changed(&fs::metadata(directory).ok()?)
}

fn changed(found: &Metadata) -> Option<Time> {
    DateTime::from_timestamp(found.ctime(), u32::try_from(found.ctime_nsec()).ok()?)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// The names that `path` consists of, `..` among them.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    })
}
