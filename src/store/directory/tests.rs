use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::inventory::{Existing, Format, OnDrift, Wrap};
use crate::secret::{Fingerprinter, TOKEN_PART};
use crate::store::drift::{Drift, compare};
use crate::store::{Known, Receipt};

/// A directory with a file for each of two parts.
struct Home {
    home: tempfile::TempDir,
    policy: DirectoryPolicy,
}

fn key(name: &str) -> StoreKey {
    format!("directory:/x#{name}").parse().unwrap()
}

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str, part: &str, format| DirectoryFile {
            key: key(name),
            name: name.to_owned(),
            part: part.to_owned(),
            format,
        };
        let bearer = Format::Wrapped {
            within: Box::new(Format::Whole { newline: true }),
            wrap: Wrap::Prefix("Bearer ".to_owned()),
        };
        let files =
            [file("token", TOKEN_PART, Format::Whole { newline: false }), file("refresh", "refresh_token", bearer)];
        let path = home.path().join("app");
        fs::create_dir(&path).unwrap();
        let policy = DirectoryPolicy { path, mode: None, owner: None, group: None, files: files.into() };
        Self { home, policy }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.policy.path.join(name)
    }

    fn slot(&self, name: &str) -> Slot {
        Slot { key: key(name), directory: self.policy.clone() }
    }

    /// As a consumer reads it.
    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.at(name)).ok()
    }

    fn parts(&self, number: u32) -> Vec<Part> {
        self.slot("token").parts(&secret(number), |_, _| None).unwrap()
    }

    fn write(&self, number: u32) {
        if let Err(failure) = self.slot("token").write(&self.parts(number)).into_result() {
            panic!("{failure}");
        }
        assert_eq!(self.content(), [Some(format!("tok-{number}")), Some(format!("Bearer ref-{number}\n"))]);
    }

    fn content(&self) -> [Option<String>; 2] {
        [self.read("token"), self.read("refresh")]
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.policy.path).unwrap().map(|entry| entry.unwrap().file_name().into_string());
        let mut names: Vec<_> = names.map(Result::unwrap).collect();
        names.sort();
        names
    }

    fn look(&self, name: &str) -> Drift {
        let fingerprints = Fingerprinter::new(&[1; 32]);
        let delivered = if name == "token" { "tok-1" } else { "ref-1" };
        let look = self.slot(name).look().unwrap();
        compare(&fingerprints.of(&Secret::new(delivered)), &look, &Known::default(), &fingerprints)
    }
}

fn secret(number: u32) -> SecretParts {
    SecretParts::new(Secret::new(format!("tok-{number}"))).with("refresh_token", Secret::new(format!("ref-{number}")))
}

fn sweep(path: &Path) -> usize {
    crate::durable::sweep(path).unwrap()
}

#[test]
fn files_change_at_once_behind_links_that_stay() {
    let home = Home::new();
    home.slot("token").preflight(None).unwrap();
    assert_eq!(home.names(), [""; 0], "a rehearsal leaves nothing");
    assert_eq!(home.look("token"), Drift::Missing);
    home.write(1);
    assert_eq!(fs::read_link(home.at("token")).unwrap(), Path::new("..data/token"));
    let first = fs::read_link(home.at("..data")).unwrap();
    assert_eq!(fs::metadata(home.at("token")).unwrap().mode() & 0o777, 0o600);
    assert_eq!((home.look("token"), home.look("refresh")), (Drift::Same, Drift::Same));
    let link = fs::symlink_metadata(home.at("token")).unwrap().ino();

    home.write(1);
    assert_eq!(fs::read_link(home.at("..data")).unwrap(), first, "written again without need");

    home.write(2);
    let second = fs::read_link(home.at("..data")).unwrap();
    assert_eq!(fs::symlink_metadata(home.at("token")).unwrap().ino(), link, "a watcher of the link would lose it");
    assert_eq!(
        fs::read_to_string(home.at("").join(&first).join("token")).unwrap(),
        "tok-1",
        "for who reads it just now"
    );
    home.slot("refresh").preflight(None).unwrap();
    home.write(3);
    let third = fs::read_link(home.at("..data")).unwrap();
    assert!(!home.at("").join(&first).exists() && home.at("").join(&second).exists());
    let names = home.names();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(sweep(&home.policy.path), 1, "at a start nobody reads the former ones any more");
    assert_eq!(home.names(), ["..data", third.to_str().unwrap(), "refresh", "token"]);
}

#[test]
fn a_kill_between_any_two_steps_leaves_the_old_files_or_the_new_ones() {
    /// How things are before the write.
    type Before = (&'static str, fn(&Home), [Option<&'static str>; 2]);
    let befores: [Before; 4] = [
        ("nothing is there", |_| {}, [None, None]),
        ("the generation before is", |home| home.write(1), [Some("tok-1"), Some("Bearer ref-1\n")]),
        (
            "plain files are, of another store",
            |home| {
                fs::write(home.at("token"), "tok-1").unwrap();
                fs::write(home.at("refresh"), "Bearer ref-1\n").unwrap();
            },
            [Some("tok-1"), Some("Bearer ref-1\n")],
        ),
        (
            "somebody put a file in the place of a link",
            |home| {
                home.write(1);
                fs::remove_file(home.at("token")).unwrap();
                fs::write(home.at("token"), "edited").unwrap();
            },
            [Some("edited"), Some("Bearer ref-1\n")],
        ),
    ];
    for (sentence, before, old) in befores {
        let home = Home::new();
        before(&home);
        let old = old.map(|text| text.map(str::to_owned));
        let new = [Some("tok-2".to_owned()), Some("Bearer ref-2\n".to_owned())];
        assert_eq!(home.content(), old, "{sentence}");
        let (mut steps, mut switched) = (0, false);
        let mut at_each = |phase: Phase| {
            steps += 1;
            let content = home.content();
            assert!(content == old || content == new, "{sentence}, step {steps} ({phase:?}): {content:?}");
            assert!(!switched || content == new, "{sentence}, step {steps}: it was new already");
            switched = content == new;
            // What a kill here leaves, as the next start finds it.
            let left = tempfile::tempdir().unwrap();
            let copied =
                Command::new("cp").args(["-a", &format!("{}/.", home.policy.path.display())]).arg(left.path()).status();
            assert!(copied.unwrap().success());
            sweep(left.path());
            let policy = DirectoryPolicy { path: left.path().to_owned(), ..home.policy.clone() };
            let after = Home { home: tempfile::tempdir().unwrap(), policy };
            assert_eq!(after.content(), content, "{sentence}, step {steps}: after the sweep");
            let directories = after.names().iter().filter(|name| name.starts_with("..patrold-")).count();
            assert!(directories <= 1, "{sentence}, step {steps}: {:?}", after.names());
            assert!(!after.names().iter().any(|name| name.contains(".tmp")), "{sentence}: {:?}", after.names());
            after.write(2);
            Ok(())
        };
        let written = home.slot("token").write_checked(&home.parts(2), &mut at_each).unwrap();
        assert!(matches!(written, Outcome::Done(())), "{sentence}: {written:?}");
        assert!(steps > 10, "{sentence}: {steps} steps");
        assert_eq!(home.content(), new, "{sentence}");
    }
}

#[test]
fn a_step_that_fails_leaves_the_old_files_and_nothing_else() {
    for failing in 1..=30 {
        let home = Home::new();
        home.write(1);
        let names = home.names();
        let mut steps = 0;
        let mut phases = Vec::new();
        let written = home.slot("token").write_checked(&home.parts(2), &mut |phase| {
            steps += 1;
            phases.push(phase);
            if steps == failing { Err(Cause::Refused("the disk is full".to_owned())) } else { Ok(()) }
        });
        if steps < failing {
            assert!(failing > 10, "{phases:?}");
            return;
        }
        match (phases.last(), written) {
            (Some(Phase::SyncDirectory), Ok(Outcome::Unknown(_))) => {
                assert_eq!(home.read("token").as_deref(), Some("tok-2"));
            }
            (Some(_), Err(failure)) => {
                assert!(failure.to_string().contains("the disk is full"), "{failure}");
                assert_eq!((home.read("token").as_deref(), home.names()), (Some("tok-1"), names), "{phases:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it takes more than 30 steps");
}

#[test]
fn what_others_have_in_the_directory_stays() {
    let home = Home::new();
    home.write(1);
    // Another token's, and a file that somebody put beside the links.
    let other = DirectoryFile {
        key: key("other"),
        name: "other".to_owned(),
        part: TOKEN_PART.to_owned(),
        format: Format::Whole { newline: false },
    };
    let policy = DirectoryPolicy { mode: Some(0o640), files: [other].into(), ..home.policy.clone() };
    let slot = Slot { key: key("other"), directory: policy };
    let parts = slot.parts(&SecretParts::new(Secret::new("theirs")), |_, _| None).unwrap();
    assert!(matches!(slot.write(&parts), Outcome::Done(())));
    fs::write(home.at("README"), "do not touch").unwrap();
    home.write(2);
    assert_eq!(home.read("other").as_deref(), Some("theirs"));
    assert_eq!(fs::metadata(home.at("other")).unwrap().mode() & 0o777, 0o640);
    assert_eq!(home.read("README").as_deref(), Some("do not touch"));
}

#[test]
fn drift_of_each_file_is_seen_and_mended() {
    let home = Home::new();
    home.write(1);
    for (sentence, drift, spoil) in [
        ("another value", Drift::Different, (|home| fs::write(home.at("token"), "x").unwrap()) as fn(&Home)),
        ("the link is gone", Drift::Missing, |home| fs::remove_file(home.at("token")).unwrap()),
        ("a file is in the place of the link", Drift::AttributesDiffer, |home| {
            fs::remove_file(home.at("token")).unwrap();
            fs::write(home.at("token"), "tok-1").unwrap();
            fs::set_permissions(home.at("token"), fs::Permissions::from_mode(0o600)).unwrap();
        }),
        ("another mode", Drift::AttributesDiffer, |home| {
            fs::set_permissions(home.at("token"), fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("..data leads nowhere", Drift::Missing, |home| {
            fs::remove_file(home.at("..data")).unwrap();
            symlink("..gone", home.at("..data")).unwrap();
        }),
    ] {
        spoil(&home);
        assert_eq!(home.look("token"), drift, "{sentence}");
        home.write(1);
        assert_eq!((home.look("token"), home.look("refresh")), (Drift::Same, Drift::Same), "{sentence}");
    }
}

#[test]
fn what_cannot_be_changed_at_once_is_told_before() {
    for (sentence, spoil, words) in [
        (
            "a link that leads elsewhere",
            (|home| symlink("/etc/hostname", home.at("token")).unwrap()) as fn(&Home),
            "is a symbolic link to /etc/hostname: move it away",
        ),
        ("a directory", |home| fs::create_dir(home.at("token")).unwrap(), "is neither a file nor a link"),
        ("..data is a directory", |home| fs::create_dir(home.at("..data")).unwrap(), "is no symbolic link"),
        ("..data leads out", |home| symlink("/etc", home.at("..data")).unwrap(), "leads out of the directory"),
        (
            "..data leads to a file",
            |home| {
                fs::write(home.at("file"), "").unwrap();
                symlink("file", home.at("..data")).unwrap();
            },
            "no directory",
        ),
        ("no directory", |home| fs::remove_dir(home.at("")).unwrap(), "directories are not created"),
    ] {
        let home = Home::new();
        spoil(&home);
        let failure = home.slot("token").preflight(None).unwrap_err();
        assert!(failure.to_string().contains(words), "{sentence}: {failure}");
        let Outcome::Later { failure, .. } = home.slot("token").write(&home.parts(1)) else { panic!("{sentence}") };
        assert!(failure.to_string().contains(words), "{sentence}: {failure}");
    }
    let home = Home::new();
    let lacks = home.slot("token").parts(&SecretParts::new(Secret::new("tok-1")), |_, _| None).err().unwrap();
    assert_eq!(
        (lacks.code, lacks.detail.as_str()),
        (FailureCode::StoreRefused, "the secret has no part `refresh_token`")
    );
}

#[test]
fn a_strangers_value_in_one_file_stops_all_of_them() {
    let home = Home::new();
    home.write(1);
    let fingerprints = Fingerprinter::new(&[1; 32]);
    let strict = |ours: &str| {
        let ours = vec![fingerprints.of(&Secret::new(ours))];
        let known = Known { ours, receipt: Some(Receipt::default()), beside: Vec::new(), begun: None };
        Judge {
            new: None,
            known,
            existing: Existing::Refuse,
            on_drift: OnDrift::Report,
            fingerprints: fingerprints.clone(),
        }
    };
    let judged = |file: &DirectoryFile, _: &Secret| Some(strict(if file.name == "token" { "tok-1" } else { "ref-1" }));
    let parts = home.slot("token").parts(&secret(2), judged).unwrap();
    fs::write(home.at("refresh"), "Bearer somebody's\n").unwrap();
    let Outcome::Later { failure, .. } = home.slot("token").write(&parts) else { panic!("a stranger's was replaced") };
    assert_eq!(failure.code, FailureCode::StoreForeign, "{failure}");
    assert_eq!(home.content(), [Some("tok-1".to_owned()), Some("Bearer somebody's\n".to_owned())]);
    fs::write(home.at("refresh"), "Bearer ref-1\n").unwrap();
    assert!(matches!(home.slot("token").write(&parts), Outcome::Done(())));

    // What somebody writes at the last moment is noticed as well.
    let parts = home
        .slot("token")
        .parts(&secret(3), |file, _| Some(strict(if file.name == "token" { "tok-2" } else { "ref-2" })));
    let mut steps = 0;
    let written = home.slot("token").write_checked(&parts.unwrap(), &mut |phase| {
        steps += usize::from(phase == Phase::Rename);
        if steps == 1 {
            fs::write(home.at("token"), "at the last moment").unwrap();
        }
        Ok(())
    });
    assert_eq!(written.unwrap_err().code, FailureCode::StoreForeign);
    assert_eq!(home.read("token").as_deref(), Some("at the last moment"));
}

#[test]
fn files_are_taken_out_one_by_one() {
    let home = Home::new();
    home.write(1);
    home.write(2);
    let slot = |name: &str| left(&key(name), home.policy.path.clone(), name.to_owned());
    let is = |text: &'static str| move |found: &Found| matches!(found, Found::Value(it) if it.expose() == text);
    assert_eq!(slot("token").erase(is("tok-1")).unwrap(), Erased::Stays(ELSE.to_owned()));
    assert_eq!(slot("token").erase(is("tok-2")).unwrap(), Erased::Gone);
    assert_eq!(home.content(), [None, Some("Bearer ref-2\n".to_owned())]);
    let holding = Command::new("grep").args(["-r", "tok-"]).arg(&home.policy.path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&holding.stdout), "", "no former file holds it either");
    assert_eq!(slot("token").erase(is("tok-2")).unwrap(), Erased::Gone, "a second time");
    assert_eq!(slot("refresh").erase(|_| true).unwrap(), Erased::Gone);
    assert_eq!(home.names(), [""; 0]);
    drop(home.home);
}
