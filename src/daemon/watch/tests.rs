use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, MetadataKind, ModifyKind, RemoveKind, RenameMode};
use notify::{Event, EventKind};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::clock::{Clock, Span, SystemClock, Time};

use super::Look;
use super::kernel::Kernel;
use super::reach::Reach;
use super::{Timing, Watch, Watched};

/// Guards against a signal that never comes.
const FAILURE: Duration = Duration::from_secs(30);

/// A watch in a directory of its own.
struct Scene {
    root: TempDir,
    watch: Watch,
    changes: Receiver<()>,
}

impl Scene {
    /// Prepares the directory, then watches `files` and `directories` in it.
    fn new(files: &[&str], directories: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path());
        let paths = |names: &[&str]| names.iter().map(|name| root.path().join(name)).collect::<Vec<PathBuf>>();
        let (watch, changes) = Watch::new(&paths(files), &paths(directories), later()).unwrap();
        Self { root, watch, changes }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    async fn signal(&mut self) {
        timeout(FAILURE, self.changes.recv()).await.expect("a signal").expect("a living watch");
    }

    /// That whatever happened before did not signal, or not any more: a second watch, with the same patience and woken
    /// later, signals twice, and this one says nothing meanwhile.
    async fn silence(&mut self) {
        let mut witness = Self::new(&["file"], &[], |_| {});
        for text in ["one", "two"] {
            witness.write("file", text);
            witness.signal().await;
        }
        assert!(self.changes.try_recv().is_err(), "a signal without a change");
    }

    /// One signal, and no more.
    async fn one_signal(&mut self) {
        self.signal().await;
        self.silence().await;
    }
}

/// A time that no file has: nothing that was done before the watch counts.
fn later() -> Time {
    SystemClock.now() + Span::hours(1)
}

fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).unwrap();
}

#[tokio::test]
async fn a_rename_over_the_file_signals_each_time() {
    let mut scene = Scene::new(&["patrold.toml"], &[], |root| write(root, "patrold.toml", "old"));
    for text in ["new", "newer"] {
        scene.write(".patrold.toml.swp", text);
        fs::rename(scene.path(".patrold.toml.swp"), scene.path("patrold.toml")).unwrap();
        scene.one_signal().await;
    }
}

#[tokio::test]
async fn an_editor_that_moves_the_file_to_a_backup_signals_once() {
    let mut scene = Scene::new(&["patrold.toml"], &[], |root| write(root, "patrold.toml", "old"));
    fs::rename(scene.path("patrold.toml"), scene.path("patrold.toml~")).unwrap();
    scene.write("patrold.toml", "new");
    scene.one_signal().await;
    // The watch follows the name, not the file that is now the backup.
    scene.write("patrold.toml~", "whatever");
    scene.silence().await;
    scene.write("patrold.toml", "newer");
    scene.one_signal().await;
}

#[tokio::test]
async fn kubernetes_swaps_a_link_two_steps_away() {
    let version = |root: &Path, name: &str, text: &str| {
        fs::create_dir(root.join(name)).unwrap();
        write(&root.join(name), "patrold.toml", text);
    };
    let mut scene = Scene::new(&["patrold.toml"], &["."], |root| {
        version(root, "..2026_01", "one");
        symlink("..2026_01", root.join("..data")).unwrap();
        symlink("..data/patrold.toml", root.join("patrold.toml")).unwrap();
    });
    for (old, new) in [("..2026_01", "..2026_02"), ("..2026_02", "..2026_03")] {
        version(scene.root.path(), new, new);
        symlink(new, scene.path("..data_tmp")).unwrap();
        fs::rename(scene.path("..data_tmp"), scene.path("..data")).unwrap();
        fs::remove_dir_all(scene.path(old)).unwrap();
        scene.one_signal().await;
    }
}

#[tokio::test]
async fn a_directory_is_replaced_by_another_one() {
    let mut scene = Scene::new(&["etc/patrold.toml"], &[], |root| {
        fs::create_dir(root.join("etc")).unwrap();
        write(root, "etc/patrold.toml", "old");
    });
    fs::create_dir(scene.path("next")).unwrap();
    scene.write("next/patrold.toml", "new");
    fs::rename(scene.path("etc"), scene.path("last")).unwrap();
    fs::rename(scene.path("next"), scene.path("etc")).unwrap();
    scene.one_signal().await;
    // The watch stands on the new directory, and no longer on the old one.
    scene.write("last/patrold.toml", "of no interest");
    scene.silence().await;
    scene.write("etc/patrold.toml", "newer");
    scene.one_signal().await;
}

#[tokio::test]
async fn a_directory_is_removed_and_made_anew() {
    let mut scene = Scene::new(&["a/b/patrold.toml"], &[], |root| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        write(root, "a/b/patrold.toml", "old");
    });
    for text in ["new", "newer"] {
        fs::remove_dir_all(scene.path("a")).unwrap();
        scene.signal().await;
        fs::create_dir_all(scene.path("a/b")).unwrap();
        scene.silence().await;
        scene.write("a/b/patrold.toml", text);
        scene.one_signal().await;
    }
}

#[tokio::test]
async fn a_truncated_write_and_the_full_one_are_one_burst() {
    let mut scene = Scene::new(&["patrold.toml"], &[], |root| write(root, "patrold.toml", "old"));
    scene.write("patrold.toml", "");
    scene.write("patrold.toml", "new");
    scene.one_signal().await;
}

#[tokio::test]
async fn reading_and_touching_and_writing_the_same_do_not_signal() {
    let mut scene = Scene::new(&["patrold.toml"], &[], |root| write(root, "patrold.toml", "text"));
    assert_eq!(fs::read_to_string(scene.path("patrold.toml")).unwrap(), "text");
    scene.silence().await;
    File::options()
        .append(true)
        .open(scene.path("patrold.toml"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    scene.silence().await;
    scene.write("patrold.toml", "text");
    scene.silence().await;
    scene.write("patrold.toml", "text!");
    scene.one_signal().await;
}

#[tokio::test]
async fn a_file_that_goes_and_comes_back() {
    let mut scene = Scene::new(&["credential"], &[], |root| write(root, "credential", "text"));
    fs::remove_file(scene.path("credential")).unwrap();
    scene.one_signal().await;
    scene.write("credential", "text");
    scene.one_signal().await;
}

#[tokio::test]
async fn a_new_file_in_an_included_directory() {
    let mut scene = Scene::new(&["patrold.toml"], &["tokens.d"], |root| {
        write(root, "patrold.toml", "text");
        fs::create_dir(root.join("tokens.d")).unwrap();
    });
    scene.write("tokens.d/.hidden.toml.swp", "an editor's");
    scene.silence().await;
    scene.write("tokens.d/a.toml", "one");
    scene.one_signal().await;
    // It is watched before anybody says that it was read.
    scene.write("tokens.d/a.toml", "two");
    scene.one_signal().await;
    fs::remove_file(scene.path("tokens.d/a.toml")).unwrap();
    scene.one_signal().await;
}

#[tokio::test]
async fn a_link_in_an_included_directory_leads_elsewhere() {
    let mut scene = Scene::new(&[], &["providers.d"], |root| {
        fs::create_dir(root.join("providers.d")).unwrap();
        fs::create_dir(root.join("shared")).unwrap();
        write(root, "shared/mine.toml", "one");
        symlink("../shared/mine.toml", root.join("providers.d/mine.toml")).unwrap();
    });
    scene.write("shared/mine.toml", "two");
    scene.one_signal().await;
}

#[tokio::test]
async fn a_new_target_signals_for_what_it_adds_and_not_for_what_stays() {
    let mut scene =
        Scene::new(&["a", "b"], &[], |root| ["a", "b", "c"].iter().for_each(|name| write(root, name, "one")));
    scene.watch.retarget(&[scene.path("b")], &[]);
    scene.silence().await;
    scene.write("a", "two");
    scene.silence().await;
    scene.watch.retarget(&[scene.path("b"), scene.path("c")], &[]);
    scene.one_signal().await;
    scene.write("c", "two");
    scene.one_signal().await;
    scene.write("b", "two");
    scene.one_signal().await;
}

#[tokio::test]
async fn what_changed_after_the_reading_and_before_the_watch_signals() {
    let root = tempfile::tempdir().unwrap();
    for name in ["written", "removed", "first", "second"] {
        write(root.path(), name, "text");
    }
    symlink("first", root.path().join("link")).unwrap();
    // What was done until now is further back than the file system's clock is coarse.
    let read = SystemClock.now() + Span::milliseconds(200);
    SystemClock.wait_until(read).await;
    let signals = |file: &str| Watch::new(&[root.path().join(file)], &[], read).unwrap().1.try_recv().is_ok();
    write(root.path(), "state", "of no interest, in the same directory");
    for name in ["written", "removed", "link"] {
        assert!(!signals(name), "nothing happened to {name}");
    }
    write(root.path(), "written", "changed");
    assert!(signals("written"));
    fs::remove_file(root.path().join("removed")).unwrap();
    assert!(signals("removed"));
    symlink("second", root.path().join("next")).unwrap();
    fs::rename(root.path().join("next"), root.path().join("link")).unwrap();
    assert!(signals("link"), "it leads to an old file, but has led there for a short time only");
}

#[tokio::test]
async fn the_receiver_ends_with_the_watch() {
    let Scene { root: _root, watch, mut changes } = Scene::new(&["a"], &[], |_| {});
    drop(watch);
    assert_eq!(timeout(FAILURE, changes.recv()).await.expect("an end"), None);
}

#[tokio::test]
async fn files_are_compared_now_and_then_where_the_kernel_reports_nothing() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "patrold.toml", "old");
    let timing = Timing { unaided: Duration::from_millis(20), ..super::TIMING };
    let target = Watched::new(&[root.path().join("patrold.toml")], &[], Look::Content);
    let (wake, wakes) = sync_channel(1);
    let (_watch, mut changes) = Watch::start(target, later(), timing, Kernel::broken(), wake, wakes).unwrap();
    write(root.path(), "patrold.toml", "new");
    timeout(FAILURE, changes.recv()).await.expect("a signal").expect("a living watch");
}

#[test]
fn only_events_that_can_be_changes_wake_the_thread() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    fs::create_dir(root.join("tokens.d")).unwrap();
    let reach = Reach::of(&Watched::new(&[root.join("patrold.toml")], &[root.join("tokens.d")], Look::Content));
    let check = |sentence: &str, kind: EventKind, path: &str, expected: bool| {
        assert_eq!(reach.concerns(&Event::new(kind).add_path(root.join(path))), expected, "{sentence}");
    };
    let created = EventKind::Create(CreateKind::File);
    let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    check("opening the file", EventKind::Access(AccessKind::Open(AccessMode::Any)), "patrold.toml", false);
    check("closing it", EventKind::Access(AccessKind::Close(AccessMode::Write)), "patrold.toml", false);
    check("writing it", written, "patrold.toml", true);
    check("making it", created, "patrold.toml", true);
    check("removing it", EventKind::Remove(RemoveKind::File), "patrold.toml", true);
    check("moving another over it", EventKind::Modify(ModifyKind::Name(RenameMode::To)), "patrold.toml", true);
    check("letting it be read", EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "patrold.toml", true);
    check("writing a neighbour", written, "other.toml", false);
    check("a new file in the directory", created, "tokens.d/new.toml", true);
    check("an editor's file in the directory", created, "tokens.d/.new.toml.swp", false);
    check("a file deeper down", created, "tokens.d/deep/new.toml", false);
    check("the directory itself goes", EventKind::Remove(RemoveKind::Folder), "tokens.d", true);
}

#[tokio::test]
async fn a_directory_that_is_made_anew_is_noticed_though_what_was_in_it_came_and_went_meanwhile() {
    let root = tempfile::tempdir().unwrap();
    let (directory, store) = (root.path().join("run"), root.path().join("run/token"));
    fs::create_dir(&directory).unwrap();
    let target = [directory.clone(), store.clone()];
    let (watch, mut changes) = Watch::of_presence(&target, later()).unwrap();
    fs::write(&store, "secret").unwrap();
    fs::remove_dir_all(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    timeout(FAILURE, changes.recv()).await.expect("it is noticed");
    drop(watch);
}
