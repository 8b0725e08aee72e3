use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use super::*;
use crate::inventory::{Dialect, Existing, Format, OnDrift};
use crate::secret::Fingerprinter;
use crate::store::drift::{Drift, compare};
use crate::store::{Known, Receipt};

fn slot(path: &Path, key: &str, format: Format) -> Slot {
    let file = FilePolicy { path: path.to_owned(), mode: None, owner: None, group: None, format };
    Slot { key: key.parse().unwrap(), file }
}

fn file_store(path: &Path) -> Slot {
    slot(path, &format!("file:{}", path.display()), Format::Whole { newline: true })
}

fn env_store(path: &Path, key: &str, dialect: Dialect) -> Slot {
    let format = Format::Env { key: key.to_owned(), dialect };
    slot(path, &format!("env-file:{}#{key}", path.display()), format)
}

fn with(mut slot: Slot, change: impl FnOnce(&mut FilePolicy)) -> Slot {
    change(&mut slot.file);
    slot
}

fn is_nothing(slot: &Slot) -> bool {
    matches!(slot.look().unwrap().found, Found::Absent)
}

fn value(slot: &Slot) -> String {
    match slot.look().unwrap().found {
        Found::Value(secret) => secret.expose().to_owned(),
        found => panic!("{found:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn done(outcome: Outcome<()>) {
    if let Err(failure) = outcome.into_result() {
        panic!("{failure}");
    }
}

#[test]
fn a_file_is_written_once_and_then_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    let policy = file_store(&path);
    policy.preflight(None).unwrap();
    assert!(is_nothing(&policy));
    done(policy.write(&Secret::new("tok-1"), None));
    assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("tok-1\n", 0o600));
    let inode = fs::metadata(&path).unwrap().ino();
    done(policy.write(&Secret::new("tok-1"), None));
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "written again without need");
    done(policy.write(&Secret::new("tok-2"), None));
    assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
    assert_eq!(value(&policy), "tok-2");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "a temporary file was left");
}

#[test]
fn drift_of_content_and_attributes_is_seen_and_mended_by_a_write() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    let policy = with(file_store(&path), |file| file.mode = Some(0o640));
    let fingerprints = Fingerprinter::new(&[1; 32]);
    let secret = Secret::new("tok-1");
    let drift = || compare(&fingerprints.of(&secret), &policy.look().unwrap(), &Known::default(), &fingerprints);
    assert_eq!(drift(), Drift::Missing);
    done(policy.write(&secret, None));
    assert_eq!(drift(), Drift::Same);
    set_mode(&path, 0o644);
    assert_eq!(drift(), Drift::AttributesDiffer);
    done(policy.write(&secret, None));
    assert_eq!((drift(), mode(&path)), (Drift::Same, 0o640));
    fs::write(&path, "tok-1").unwrap();
    assert_eq!(drift(), Drift::Same, "a newline that is asked for may be missing");
    fs::write(&path, b"\xff\xfe").unwrap();
    assert_eq!(drift(), Drift::Different);
    let elsewhere = file_store(&home.path().join("missing/token"));
    assert!(is_nothing(&elsewhere));
}

#[test]
fn an_env_file_keeps_its_mode_and_everything_else() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.env");
    fs::write(&path, "# mine\r\nA='x\r\nKEY=no'\r\nKEY=old\r\nB=2").unwrap();
    set_mode(&path, 0o640);
    let policy = env_store(&path, "KEY", Dialect::Systemd);
    policy.preflight(None).unwrap();
    done(policy.write(&Secret::new("a b"), None));
    assert_eq!(fs::read_to_string(&path).unwrap(), "# mine\r\nA='x\r\nKEY=no'\r\nKEY=\"a b\"\r\nB=2");
    assert_eq!(mode(&path), 0o640);
    assert_eq!((value(&policy).as_str(), policy.look().unwrap().attributes_ok), ("a b", true));
    assert!(is_nothing(&env_store(&path, "OTHER", Dialect::Systemd)));

    let fresh = home.path().join("new.env");
    done(env_store(&fresh, "KEY", Dialect::Docker).write(&Secret::new("v"), None));
    assert_eq!((fs::read_to_string(&fresh).unwrap().as_str(), mode(&fresh)), ("KEY=v\n", 0o600));
}

#[test]
fn owners_are_kept_or_set() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.env");
    fs::write(&path, "KEY=old\n").unwrap();
    set_mode(&path, 0o600);
    if chown(&path, Some(64_321), Some(64_321)).is_err() {
        eprintln!("SKIPPED owners_are_kept_or_set: it needs root to give files away");
        return;
    }
    let policy = env_store(&path, "KEY", Dialect::Docker);
    done(policy.write(&Secret::new("v"), None));
    let owner = || fs::metadata(&path).map(|found| (found.uid(), found.gid())).unwrap();
    assert_eq!(owner(), (64_321, 64_321));
    let policy = with(policy, |file| (file.owner, file.mode) = (Some(64_322), Some(0o400)));
    assert!(!policy.look().unwrap().attributes_ok);
    policy.preflight(None).unwrap();
    done(policy.write(&Secret::new("v"), None));
    assert_eq!((owner(), mode(&path)), ((64_322, 64_321), 0o400));
    assert!(policy.look().unwrap().attributes_ok);
}

#[test]
fn what_forbids_a_write_is_found_before_and_named() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    fs::write(at("twice.env"), "KEY=1\nKEY=2\n").unwrap();
    fs::write(at("broken.env"), "A='1\n").unwrap();
    fs::write(at("linked.env"), "KEY=1\n").unwrap();
    fs::hard_link(at("linked.env"), at("other.env")).unwrap();
    fs::write(at("huge.env"), vec![b'\n'; MAX_FILE + 1]).unwrap();
    for name in ["twice.env", "broken.env", "linked.env", "huge.env"] {
        set_mode(&at(name), 0o600);
    }
    fs::write(at("open.env"), "KEY=1\n").unwrap();
    set_mode(&at("open.env"), 0o644);
    symlink("/proc/token", at("kernel")).unwrap();
    let env = |name: &str| env_store(&at(name), "KEY", Dialect::Systemd);
    for (policy, sentence) in [
        (file_store(&at("missing/token")), "directories are not created"),
        (file_store(&at("directory")), "it is a directory"),
        (file_store(Path::new("/dev/full")), "not a regular file"),
        (file_store(&at("kernel")), "cannot create a temporary file"),
        (file_store(&at("twice.env/token")), "Not a directory"),
        (env("twice.env"), "line 2: KEY stands on line 1 already"),
        (env("broken.env"), "line 1: the value's quotes are not closed"),
        (env("linked.env"), "2 hard links"),
        (env("huge.env"), "more than 1048576 bytes"),
        (env("open.env"), "chmod o-rw"),
    ] {
        let before = policy.preflight(None).map_or_else(|failure| failure.to_string(), |()| "fine".to_owned());
        let Outcome::Later { failure, .. } = policy.write(&Secret::new("tok"), None) else {
            panic!("{}: written, or given up", policy.key);
        };
        assert_eq!(failure.code, FailureCode::StoreUnwritable);
        assert!(before.contains(sentence), "{}: {before}", policy.key);
        assert!(failure.detail.contains(sentence), "{failure}");
    }
    let named = with(env("open.env"), |file| file.mode = Some(0o644));
    done(named.write(&Secret::new("tok"), None));
}

#[test]
fn what_the_format_cannot_hold_is_refused_for_good() {
    let path = Path::new("/nowhere/app.env");
    for (policy, secret, sentence) in [
        (env_store(path, "KEY", Dialect::Docker), "a\nb", "docker"),
        (env_store(path, "KEY", Dialect::Dotenv), "it's", "dotenv"),
        (env_store(path, "MY-KEY", Dialect::Docker), "v", "\"MY-KEY\" is not a name"),
        (file_store(path), " \n", "empty"),
    ] {
        let failure = policy.check_value(&Secret::new(secret)).unwrap_err();
        assert_eq!(failure.code, FailureCode::StoreRefused);
        assert!(failure.detail.contains(sentence), "{failure}");
        assert!(secret.len() < 3 || !failure.detail.contains(secret), "{failure}");
        assert!(matches!(policy.write(&Secret::new(secret), None), Outcome::Refused(_)));
    }
}

#[test]
fn tokens_that_share_an_env_file_do_not_lose_each_other() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.env");
    symlink("app.env", home.path().join("alias.env")).unwrap();
    let alias = home.path().join("alias.env");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let path = if writer % 2 == 0 { &path } else { &alias };
            scope.spawn(move || {
                let policy = env_store(path, &format!("KEY_{writer}"), Dialect::Systemd);
                for round in 0..10 {
                    done(policy.write(&Secret::new(format!("v{round}")), None));
                }
            });
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..8).map(|writer| format!("KEY_{writer}=v9")).collect::<Vec<_>>());
}

#[test]
fn an_edit_by_somebody_else_is_noticed_before_the_rename() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.env");
    fs::write(&path, "A=1\n").unwrap();
    let target = Target::open(&path).unwrap();
    let existing = target.read_sole(MAX_FILE).unwrap();
    assert!(still(&target, existing.as_ref()).is_ok());
    fs::write(&path, "A=2\n").unwrap();
    assert!(matches!(still(&target, existing.as_ref()), Err(Cause::Changed)));
    fs::remove_file(&path).unwrap();
    assert!(matches!(still(&target, existing.as_ref()), Err(Cause::Changed)));
    assert!(still(&target, None).is_ok());
}

#[test]
fn left_over_temporary_files_beside_a_linked_store_are_swept() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("real")).unwrap();
    symlink("real/token", home.path().join("token")).unwrap();
    fs::write(home.path().join("real/.patrold-aaaaaa.tmp"), "tok").unwrap();
    assert_eq!(Target::open(&home.path().join("token")).unwrap().sweep().unwrap(), 1);
    assert_eq!(fs::read_dir(home.path().join("real")).unwrap().count(), 0);
}

/// The list that `setfacl -m u:1:r` makes of mode 0600, as the kernel writes it down: the owner rw, user 1 r, the group
/// nothing, the mask r, others nothing.
fn reader_by_list() -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in [(1_u16, 6_u16, NO_ID), (2, 4, 1), (4, 0, NO_ID), (16, 4, NO_ID), (32, 0, NO_ID)] {
        list.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    list
}

fn list_of(path: &Path) -> Option<Vec<u8>> {
    let mut list = vec![0; 1024];
    let length = rustix::fs::getxattr(path, "system.posix_acl_access", &mut list).ok()?;
    list.truncate(length);
    Some(list)
}

#[test]
fn an_access_control_list_is_kept_and_gives_nobody_more() {
    let home = tempfile::tempdir().unwrap();
    for (sentence, policy) in [
        ("a file", file_store(&home.path().join("token"))),
        ("an env file", env_store(&home.path().join("app.env"), "KEY", Dialect::Docker)),
    ] {
        let path = policy.file.path.clone();
        fs::write(&path, "KEY=old\n").unwrap();
        set_mode(&path, 0o600);
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(&path, "system.posix_acl_access", &reader_by_list(), flags).is_err() {
            eprintln!("SKIPPED an_access_control_list_is_kept_and_gives_nobody_more: no lists on this file system");
            return;
        }
        policy.preflight(None).unwrap();
        for secret in ["v1", "v2"] {
            done(policy.write(&Secret::new(secret), None));
            assert_eq!(list_of(&path), Some(reader_by_list()), "{sentence}, after {secret}");
        }
        assert!(policy.look().unwrap().attributes_ok, "{sentence}");
        let cut = with(policy, |file| file.mode = Some(0o600));
        let refused = cut.preflight(None).unwrap_err();
        assert!(refused.detail.contains("setfacl -b"), "{sentence}: {refused}");
        assert_eq!(list_of(&path), Some(reader_by_list()), "{sentence}");
    }
}

#[test]
fn a_file_keeps_the_owner_and_group_that_the_inventory_does_not_name() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    fs::write(&path, "old").unwrap();
    if chown(&path, Some(64_321), Some(64_322)).is_err() {
        eprintln!("SKIPPED a_file_keeps_the_owner_and_group_that_the_inventory_does_not_name: it needs root");
        return;
    }
    let owner = || fs::metadata(&path).map(|found| (found.uid(), found.gid())).unwrap();
    done(file_store(&path).write(&Secret::new("v"), None));
    assert_eq!(owner(), (64_321, 64_322));
    done(with(file_store(&path), |file| file.group = Some(64_323)).write(&Secret::new("w"), None));
    assert_eq!(owner(), (64_321, 64_323), "what is named is done, and the rest is kept");
    set_mode(home.path(), 0o770);
    done(file_store(&path).write(&Secret::new("x"), None));
    assert_eq!(owner().0, 0, "in a directory that a group may write to, a stranger's file may be bait");
}

#[test]
fn a_file_that_may_not_be_read_is_replaced_where_its_directory_allows_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    fs::write(&path, "old").unwrap();
    set_mode(&path, 0o600);
    set_mode(home.path(), 0o755);
    if chown(home.path(), Some(64_321), Some(64_321)).is_err() {
        eprintln!("SKIPPED a_file_that_may_not_be_read_is_replaced_where_its_directory_allows_it: it needs root");
        return;
    }
    let policy = file_store(&path);
    // The rights of this one thread, which ends here.
    let daemon = std::thread::spawn(move || {
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(64_321)).unwrap();
        let fingerprints = Fingerprinter::new(&[1; 32]);
        let secret = Secret::new("v");
        let drift = || compare(&fingerprints.of(&secret), &policy.look().unwrap(), &Known::default(), &fingerprints);
        assert_eq!(drift(), Drift::Different);
        policy.preflight(None).unwrap();
        done(policy.write(&secret, None));
        assert_eq!(drift(), Drift::Same);
    });
    daemon.join().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().uid(), 64_321);
}

#[test]
fn a_strangers_value_stays_where_the_inventory_says_so() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    let fingerprints = Fingerprinter::new(&[1; 32]);
    let (old, new) = (Secret::new("old"), Secret::new("new"));
    let judge = |receipt: Option<Receipt>, existing, on_drift| Judge {
        new: Some(fingerprints.of(&new)),
        known: Known { ours: vec![fingerprints.of(&old)], receipt, beside: Vec::new(), begun: None },
        existing,
        on_drift,
        fingerprints: fingerprints.clone(),
    };
    let first = judge(None, Existing::Refuse, OnDrift::Repair);
    let later = judge(Some(Receipt::default()), Existing::Refuse, OnDrift::Report);
    for (sentence, there, judge, stays) in [
        ("a stranger's value at first contact", "stranger", &first, true),
        ("a value of ours at first contact", "old", &first, false),
        ("the new value", "new", &first, false),
        ("a stranger's value over ours", "stranger", &later, true),
        ("a value of ours", "old", &later, false),
    ] {
        for slot in [file_store(&path), env_store(&path, "KEY", Dialect::Docker)] {
            let text = if slot.file.format.is_shared() { format!("KEY={there}\n") } else { format!("{there}\n") };
            fs::write(&path, &text).unwrap();
            set_mode(&path, 0o600);
            let before = slot.preflight(Some(judge)).map_err(|failure| failure.code);
            let outcome = slot.write(&new, Some(judge)).into_result().map_err(|failure| failure.code);
            let expected = if stays { Err(FailureCode::StoreForeign) } else { Ok(()) };
            assert_eq!((before, outcome), (expected, expected), "{sentence}");
            assert_eq!(value(&slot), if stays { there } else { "new" }, "{sentence}");
        }
    }
}

#[test]
fn what_is_no_text_is_a_strangers() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    let fingerprints = Fingerprinter::new(&[1; 32]);
    let judge = Judge {
        new: None,
        known: Known::default(),
        existing: Existing::Refuse,
        on_drift: OnDrift::Repair,
        fingerprints,
    };
    fs::write(&path, b"\xff\xfe").unwrap();
    let failure = file_store(&path).preflight(Some(&judge)).unwrap_err();
    assert_eq!(failure.code, FailureCode::StoreForeign);
}

#[test]
fn a_variable_is_taken_out_of_a_file_that_others_use() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("env");
    fs::write(&path, "A=1\nTOKEN=tok-1\nB=2\n").unwrap();
    set_mode(&path, 0o644);
    let store = env_store(&path, "TOKEN", Dialect::Systemd);
    let ours = |found: &Found| matches!(found, Found::Value(secret) if secret.expose() == "tok-1");
    assert_eq!(store.erase(ours).unwrap(), Erased::Gone);
    assert_eq!(fs::read_to_string(&path).unwrap(), "A=1\nB=2\n");
    assert_eq!(mode(&path), 0o644, "whatever it is, it is not ours to change");
    assert_eq!(store.erase(ours).unwrap(), Erased::Gone, "and once more");

    fs::write(&path, "A=1\nTOKEN=somebody's\n").unwrap();
    assert!(matches!(store.erase(ours).unwrap(), Erased::Stays(_)));
    fs::write(&path, "A=1\nTOKEN=tok-1\nTOKEN=tok-1\n").unwrap();
    assert!(store.erase(ours).is_err(), "somebody has to look at it");
    assert_eq!(fs::read_to_string(&path).unwrap(), "A=1\nTOKEN=tok-1\nTOKEN=tok-1\n");
    fs::remove_file(&path).unwrap();
    assert_eq!(store.erase(ours).unwrap(), Erased::Gone);
}
