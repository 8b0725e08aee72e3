use std::fs;
use std::os::unix::fs::{lchown, symlink};

use super::*;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn put(home: &Path, name: &str, bytes: &[u8]) -> Result<(), DurableError> {
    let switched = Switched::open(home)?;
    let current = switched.current()?;
    let change = Change::Put { bytes, attributes: Attributes::PRIVATE };
    switched.publish(current.as_ref(), &[(name, change)], &mut |_| Ok(()))
}

#[test]
fn a_sweep_touches_what_only_this_module_makes_and_nobody_needs() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    put(home.path(), "token", b"one").unwrap();
    let data = fs::read_link(at("..data")).unwrap();
    let others = ["..others", "..patrold-short", "..patrold-TOOBIG", "..patrold-abcdef.bak", "..2026_12_01"];
    for name in others {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("..patrold-aaaaaa"), "a file").unwrap();
    fs::create_dir(at("..patrold-bbbbbb")).unwrap();
    fs::write(at("..patrold-bbbbbb/token"), "secret").unwrap();
    symlink("..patrold-bbbbbb", at(".patrold-cccccc.tmp")).unwrap();
    let being_written = {
        let switched = Switched::open(home.path()).unwrap();
        let fresh = Fresh::create(&switched.directory).unwrap();
        let name = fresh.name.clone();
        assert_eq!(sweep(&switched.directory, |_| false).unwrap(), 2);
        assert!(at(&name).is_dir(), "its writer lives");
        name
    };
    let mut expected: Vec<_> = others.map(str::to_owned).into();
    expected.extend(["..data", "..patrold-aaaaaa", "token"].map(str::to_owned));
    expected.push(data.display().to_string());
    expected.sort();
    assert_eq!(names(home.path()), expected, "without {being_written}, which its writer removed");
    assert_eq!(fs::read(at("token")).unwrap(), b"one");
}

#[test]
fn what_another_user_put_there_decides_nothing() {
    if super::super::own_user() != 0 {
        eprintln!("SKIPPED: it needs root to make files of another user");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("theirs")).unwrap();
    symlink("theirs", at("..data")).unwrap();
    put(home.path(), "token", b"one").unwrap();
    assert!(at("theirs").is_dir(), "a directory that somebody else made stays");
    lchown(at("..data"), Some(64_321), None).unwrap();
    let error = put(home.path(), "token", b"two").unwrap_err();
    assert!(error.to_string().contains("a link of another user"), "{error}");
    lchown(at("..data"), Some(0), None).unwrap();
    fs::remove_file(at("..data")).unwrap();
    lchown(at("theirs"), Some(64_321), None).unwrap();
    symlink("theirs", at("..data")).unwrap();
    let error = put(home.path(), "token", b"two").unwrap_err();
    assert!(error.to_string().contains("a directory of another user"), "{error}");
}

#[test]
fn a_change_that_was_made_for_other_files_is_not_made() {
    let home = tempfile::tempdir().unwrap();
    put(home.path(), "token", b"one").unwrap();
    let switched = Switched::open(home.path()).unwrap();
    let current = switched.current().unwrap();
    put(home.path(), "token", b"two").unwrap();
    let change = Change::Put { bytes: b"three", attributes: Attributes::PRIVATE };
    let error = switched.publish(current.as_ref(), &[("token", change)], &mut |_| Ok(())).unwrap_err();
    assert!(error.is_changed(), "{error}");
    assert_eq!(fs::read(home.path().join("token")).unwrap(), b"two");
}
