use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::process::Command;

use super::*;

/// A user and group id that nobody here has.
const STRANGER: u32 = 64_321;

fn is_root(test: &str) -> bool {
    let root = own_user() == 0;
    if !root {
        eprintln!("SKIPPED {test}: it needs root to make files of another user");
    }
    root
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn content_and_attributes_are_replaced_and_nothing_is_left() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    replace(&path, b"one", Attributes::PRIVATE).unwrap();
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o600));
    let link = home.path().join("hard");
    fs::hard_link(&path, &link).unwrap();
    let group = fs::metadata(&path).unwrap().gid();
    replace(&path, b"two", Attributes { mode: 0o640, owner: Some(own_user()), group: Some(group), inherit: false })
        .unwrap();
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o640));
    assert_eq!(fs::read(&link).unwrap(), b"one", "the old inode was written to");
    assert_eq!(names(home.path()), ["hard", "token"]);
}

#[test]
fn a_failure_in_any_phase_leaves_the_old_content_and_no_temporary_file() {
    let phases =
        [Phase::Inspect, Phase::Create, Phase::Own, Phase::Write, Phase::Sync, Phase::Rename, Phase::SyncDirectory];
    for failing in phases {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        fs::write(&path, "old").unwrap();
        let mut seen = Vec::new();
        let error = Target::open(&path)
            .unwrap()
            .replace_checked(b"new", Attributes::PRIVATE, |phase| {
                seen.push(phase);
                if phase == failing { Err(Errno::NOSPC.into()) } else { Ok(()) }
            })
            .unwrap_err();
        assert_eq!(seen, phases[..seen.len()], "phases in another order");
        assert_eq!(error.phase(), failing);
        assert_eq!(error.may_be_visible(), failing == Phase::SyncDirectory);
        let expected = if error.may_be_visible() { "new" } else { "old" };
        assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{failing:?}");
        assert_eq!(names(home.path()), ["token"], "{failing:?}");
        assert!(error.to_string().contains("No space left"), "{error}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let home = tempfile::tempdir().unwrap();
    let pipe = home.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let socket = home.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let directory = home.path().join("directory");
    fs::create_dir(&directory).unwrap();
    let below = home.path().join("file/below");
    fs::write(home.path().join("file"), "").unwrap();
    for (path, sentence) in [
        (pipe.as_path(), "it is not a regular file"),
        (&socket, "it is not a regular file"),
        (&directory, "it is a directory: give the path of a file"),
        (Path::new("/dev/full"), "it is not a regular file"),
        (&below, "Not a directory"),
        (&home.path().join("missing/token"), "directories are not created"),
        (Path::new("relative"), "the path is not absolute"),
        (&home.path().join("directory/../token"), "the path contains \"..\""),
        (Path::new("/"), "the path ends in a directory"),
    ] {
        let replaced = replace(path, b"x", Attributes::PRIVATE).unwrap_err().to_string();
        assert!(replaced.contains(sentence), "{replaced}");
        if let Ok(target) = Target::open(path) {
            let read = target.read(10).unwrap_err().to_string();
            assert!(read.contains(sentence), "{read}");
        }
    }
}

#[test]
fn reading_is_bounded_and_knows_a_missing_file() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    let target = Target::open(&path).unwrap();
    assert!(target.read(4).unwrap().is_none());
    fs::write(&path, "1234").unwrap();
    assert_eq!(*target.read(4).unwrap().unwrap().bytes, b"1234");
    let error = target.read(3).unwrap_err().to_string();
    assert!(error.contains("it has more than 3 bytes"), "{error}");
    assert!(target.read_sole(4).is_ok());
    fs::hard_link(&path, home.path().join("other")).unwrap();
    let error = target.read_sole(4).unwrap_err().to_string();
    assert!(error.contains("2 hard links"), "{error}");
}

#[test]
fn links_of_trusted_users_are_followed_to_the_last_hop() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("real/v1")).unwrap();
    symlink("v1", home.path().join("real/..data")).unwrap();
    symlink("real/..data/../v1/token", home.path().join("token")).unwrap();
    replace(&home.path().join("token"), b"x", Attributes::PRIVATE).unwrap();
    assert_eq!(names(&home.path().join("real/v1")), ["token"]);
    assert!(home.path().join("token").is_symlink(), "the link itself was replaced");
    let through = Target::open(&home.path().join("token")).unwrap();
    let direct = Target::open(&home.path().join("real/v1/token")).unwrap();
    assert_eq!(through.identity(), direct.identity());

    symlink("loop", home.path().join("loop")).unwrap();
    let error = replace(&home.path().join("loop"), b"x", Attributes::PRIVATE).unwrap_err().to_string();
    assert!(error.contains("symbolic links"), "{error}");
}

#[test]
fn a_stranger_cannot_point_the_daemon_at_what_is_not_his() {
    if !is_root("a_stranger_cannot_point_the_daemon_at_what_is_not_his") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    for (name, mode, owner) in [
        ("precious", 0o700, 0),
        ("his", 0o755, STRANGER),
        ("his/inner", 0o755, STRANGER),
        ("third", 0o755, STRANGER + 1),
        ("tmp", 0o1777, 0),
    ] {
        fs::DirBuilder::new().mode(0o700).create(at(name)).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        lchown(at(name), Some(owner), Some(owner)).unwrap();
    }
    for (name, target, owner) in [
        ("his/directory", at("precious"), STRANGER),
        ("his/file", at("precious/token"), STRANGER),
        ("his/home", at("his/inner"), STRANGER),
        ("his/chain", at("third/chain"), STRANGER),
        ("third/chain", at("third"), STRANGER + 1),
        ("tmp/squatted", at("his"), STRANGER),
        ("tmp/ours", at("his"), 0),
    ] {
        symlink(target, at(name)).unwrap();
        lchown(at(name), Some(owner), Some(owner)).unwrap();
    }
    fs::write(at("tmp/bait"), "").unwrap();
    lchown(at("tmp/bait"), Some(STRANGER), None).unwrap();
    let open = |name: &str| replace(&at(name), b"x", Attributes::PRIVATE);
    for (name, sentence) in [
        ("his/directory/token", "leads to a directory of user 0"),
        ("his/file", "leads to a directory of user 0"),
        ("his/chain/token", "another user's link led there"),
        ("tmp/squatted/token", "who may have put it there"),
        ("tmp/bait", "in a directory that everybody may write to"),
    ] {
        let error = open(name).unwrap_err().to_string();
        assert!(error.contains(sentence), "{name}: {error}");
    }
    assert_eq!(names(&at("precious")), Vec::<String>::new());
    for name in ["his/token", "his/home/token", "tmp/ours/token", "tmp/fresh"] {
        open(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let his = Attributes { mode: 0o400, owner: Some(STRANGER), group: Some(STRANGER), inherit: false };
    replace(&at("tmp/bait"), b"x", his).expect("the owner that the inventory names may be there already");
    let found = fs::metadata(at("tmp/bait")).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (STRANGER, STRANGER, 0o400));
}

#[test]
fn a_parent_that_is_swapped_after_the_walk_redirects_nothing() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("app")).unwrap();
    fs::create_dir(at("precious")).unwrap();
    let target = Target::open(&at("app/token")).unwrap();
    target
        .replace_checked(b"x", Attributes::PRIVATE, |phase| {
            if phase == Phase::Rename {
                fs::rename(at("app"), at("moved"))?;
                symlink(at("precious"), at("app"))?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(names(&at("precious")), Vec::<String>::new());
    assert_eq!(names(&at("moved")), ["token"]);
}

#[test]
fn a_sweep_removes_left_over_temporary_files_only() {
    let home = tempfile::tempdir().unwrap();
    let kept = [".patrold-abc.tmp", ".patrold-ABCDEF.tmp", ".patrold-abcdef.tmpx", "patrold-abcdef.tmp", "token"];
    for name in kept {
        fs::write(home.path().join(name), "").unwrap();
    }
    fs::write(home.path().join(".patrold-abcdef.tmp"), "left over").unwrap();
    fs::create_dir(home.path().join(".patrold-bbbbbb.tmp")).unwrap();
    symlink("token", home.path().join(".patrold-cccccc.tmp")).unwrap();
    let directory = File::open(home.path()).unwrap().into();
    let being_written = Temporary::create(&directory).unwrap();
    assert_eq!(sweep(home.path()).unwrap(), 1);
    let mut expected: Vec<String> = kept.iter().map(|name| (*name).to_owned()).collect();
    expected.extend([".patrold-bbbbbb.tmp".to_owned(), ".patrold-cccccc.tmp".to_owned()]);
    expected.extend(being_written.name.clone());
    expected.sort();
    assert_eq!(names(home.path()), expected);
}

#[test]
fn a_rehearsal_leaves_nothing_and_finds_what_a_write_would_find() {
    let home = tempfile::tempdir().unwrap();
    let target = Target::open(&home.path().join("token")).unwrap();
    target.rehearse(4096, Attributes::PRIVATE).unwrap();
    assert_eq!(names(home.path()), Vec::<String>::new());
    let error = Target::open(Path::new("/proc/token")).unwrap().rehearse(1, Attributes::PRIVATE).unwrap_err();
    assert_eq!(error.phase(), Phase::Create, "{error}");
}

/// Runs one test of this file again in a mount namespace that `script` prepares; `$D` is an empty directory.
/// False in the namespace, where the caller goes on with the directory.
fn in_namespace(test: &str, script: &str) -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os("PATROLD_TEST_NAMESPACE") {
        return Some(directory.into());
    }
    let home = tempfile::tempdir().unwrap();
    let run = |script: String| {
        Command::new("unshare")
            .args(["-m", "sh", "-ec", &script])
            .env("PATROLD_TEST_NAMESPACE", home.path())
            .env("D", home.path())
            .env("TEST", std::env::current_exe().unwrap())
            .output()
    };
    match run("mount -t tmpfs none \"$D\"".to_owned()) {
        Ok(output) if output.status.success() => {
            let output = run(format!("{script}\n\"$TEST\" --exact durable::tests::{test}")).unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
        }
        _ => eprintln!("SKIPPED {test}: mount namespaces are not permitted here"),
    }
    None
}

#[test]
fn a_file_that_is_a_mount_point_is_refused_with_a_remedy() {
    let script = "touch \"$D/source\" \"$D/token\"; mount --bind \"$D/source\" \"$D/token\"";
    let Some(directory) = in_namespace("a_file_that_is_a_mount_point_is_refused_with_a_remedy", script) else { return };
    let target = Target::open(&directory.join("token")).unwrap();
    for error in
        [target.replace(b"x", Attributes::PRIVATE).unwrap_err(), target.rehearse(1, Attributes::PRIVATE).unwrap_err()]
    {
        assert!(error.to_string().contains("mount its directory instead"), "{error}");
        assert!(!error.may_be_visible());
    }
    assert_eq!(names(&directory), ["source", "token"]);
}

#[test]
fn a_full_disk_keeps_the_old_content() {
    let script = "mount -t tmpfs -o size=64k none \"$D\"; echo old > \"$D/token\"";
    let Some(directory) = in_namespace("a_full_disk_keeps_the_old_content", script) else { return };
    let target = Target::open(&directory.join("token")).unwrap();
    let much = vec![b'x'; 100_000];
    for error in [
        target.replace(&much, Attributes::PRIVATE).unwrap_err(),
        target.rehearse(much.len(), Attributes::PRIVATE).unwrap_err(),
    ] {
        assert_eq!(error.io().unwrap().kind(), io::ErrorKind::StorageFull, "{error}");
        assert_eq!(error.phase(), Phase::Write);
    }
    assert_eq!(fs::read(directory.join("token")).unwrap(), b"old\n");
    assert_eq!(names(&directory), ["token"]);
}

#[test]
fn a_read_only_file_system_is_named_with_a_remedy() {
    let script = "mount -t tmpfs none \"$D\"; echo old > \"$D/token\"; mount -o remount,ro \"$D\"";
    let Some(directory) = in_namespace("a_read_only_file_system_is_named_with_a_remedy", script) else { return };
    let error = replace(&directory.join("token"), b"x", Attributes::PRIVATE).unwrap_err().to_string();
    assert!(error.contains("ReadWritePaths="), "{error}");
}
