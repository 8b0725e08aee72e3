//! The user that a command acts as.
//!
//! Law: as root, a command that writes to the journal acts as the owner of the state directory, or not at all. What root
//! made there, or in the place of a store, the daemon could not use afterwards.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::inventory::DaemonSettings;

use super::Complaint;

/// Where root works: takes over user and group of whom the state directory belongs to, or of whom it would be made for.
///
/// Called before any other thread works: those that begin later have the same rights. What root alone may read has to be
/// read before.
pub(super) fn act_as_owner(settings: &DaemonSettings) -> Result<(), Complaint> {
    let state_dir = &settings.state_dir;
    if !geteuid().is_root() {
        return Ok(());
    }
    if !settings.state_dir_named && !state_dir.exists() {
        let complaint = Complaint::failed(format!(
            "there is no journal in {}, and the inventory names no `state-dir`",
            state_dir.display()
        ));
        return Err(complaint.with_help(
            "the daemon may keep its journal elsewhere: name `state-dir` in [daemon], or run this as the daemon's user \
             by `runuser -u USER -- patrold ...`",
        ));
    }
    let Some(owner) = owner_of(state_dir).filter(|owner| owner.uid() != 0) else { return Ok(()) };
    let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    let changed = set_thread_groups(&[gid])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid));
    changed.map_err(|error| {
        let (place, uid) = (state_dir.display(), owner.uid());
        Complaint::failed(format!("{place} belongs to user {uid}, and this cannot work as that user: {error}"))
            .with_help("run it by `runuser -u USER -- patrold ...`")
    })
}

/// Of `directory`, or of the one that it would be made in.
fn owner_of(directory: &Path) -> Option<Metadata> {
    directory.ancestors().find_map(|place| place.metadata().ok())
}
