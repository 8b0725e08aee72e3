//! What is shipped beside the program: the unit, its drop-in, the inventory of a fresh installation.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The exposure that `systemd-analyze security` may report at most, times ten.
const EXPOSURE: &str = "12";

/// The daemon's unit in a directory of its own, with programs that exist on every machine.
fn unit(drop_in: Option<&str>) -> (TempDir, PathBuf) {
    let (directory, path) = unit_of("patrold.service", "patrold.service");
    assert!(shipped("systemd/patrold.service").contains("=/usr/bin/patrold run\n"), "the unit starts the daemon");
    if let Some(drop_in) = drop_in {
        let folder = directory.path().join("patrold.service.d");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("stores.conf"), drop_in).unwrap();
    }
    (directory, path)
}

/// The shipped unit `name` as `instance`.
fn unit_of(name: &str, instance: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_patrold");
    let text = shipped(&format!("systemd/{name}"));
    let text = text.replace("=/usr/bin/patrold", &format!("={program}")).replace("=/bin/kill", &format!("={program}"));
    let path = directory.path().join(instance);
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// `None` where systemd is not installed.
fn analyze(arguments: &[&str], unit: &Path) -> Option<Output> {
    match Command::new("systemd-analyze").args(arguments).arg(unit).env("SYSTEMD_PAGER", "").output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            crate::skipped("systemd-analyze is not installed: nobody has verified the unit");
            None
        }
        Err(error) => panic!("systemd-analyze cannot be started: {error}"),
    }
}

/// What systemd complains about. Its exit status is 0 even for keys that it does not know.
fn complaints(unit: &Path) -> Option<String> {
    let output = analyze(&["verify", "--man=no", "--recursive-errors=no"], unit)?;
    let said = String::from_utf8(output.stderr).unwrap();
    Some(if output.status.success() { said } else { format!("{}\n{said}", output.status) })
}

#[test]
fn systemd_has_nothing_to_say_about_the_unit() {
    let (_directory, unit) = unit(None);
    if let Some(said) = complaints(&unit) {
        assert_eq!(said, "");
    }
}

#[test]
fn systemd_has_nothing_to_say_about_the_drop_in() {
    let example = shipped("systemd/patrold.service.d/stores.conf.example");
    // Commented settings have no space after their "#".
    let everything: String = example
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_uppercase)).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_ne!(everything, example, "the example holds settings that are commented out");
    for drop_in in [example, everything] {
        let (_directory, unit) = unit(Some(&drop_in));
        if let Some(said) = complaints(&unit) {
            assert_eq!(said, "", "{drop_in}");
        }
    }
}

#[test]
fn a_misspelt_key_is_noticed() {
    let (_directory, unit) = unit(Some("[Service]\nReadWritePath=/etc/gps\n"));
    if let Some(said) = complaints(&unit) {
        assert!(said.contains("ReadWritePath"), "{said}");
    }
}

#[test]
fn systemd_has_nothing_to_say_about_the_units_without_a_daemon() {
    let (directory, service) = unit_of("patrold-once@.service", "patrold-once@team.service");
    let timer = directory.path().join("patrold-once@team.timer");
    fs::write(&timer, shipped("systemd/patrold-once@.timer")).unwrap();
    let (_instance, instance) = unit_of("patrold@.service", "patrold@team.service");
    let (_user, user) = unit_of("user/patrold.service", "patrold.service");
    let (_agent, agent) = unit_of("patrold-agent.service", "patrold-agent.service");
    for unit in [service, timer, instance, user, agent] {
        if let Some(said) = complaints(&unit) {
            assert_eq!(said, "", "{}", unit.display());
        }
    }
}

/// Units cannot include each other's settings: what is tightened in one must be tightened in all.
#[test]
fn the_system_units_share_one_sandbox() {
    let sandbox = |name: &str| -> Vec<String> {
        let text = shipped(name);
        let from = text.find("CapabilityBoundingSet=").expect("the sandbox begins with it");
        let settings = text[from..].lines().take_while(|line| !line.starts_with('['));
        settings.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
    };
    let daemon = sandbox("systemd/patrold.service");
    assert!(daemon.len() > 20, "{daemon:?}");
    for other in ["systemd/patrold-agent.service", "systemd/patrold-once@.service", "systemd/patrold@.service"] {
        assert_eq!(sandbox(other), daemon, "{other}");
    }
}

/// The rule of the package is evaluated as polkit does it, with a list of our own.
#[test]
fn the_polkit_rule_permits_what_the_list_names_and_nothing_else() {
    let etc = tempfile::tempdir().unwrap();
    let list = etc.path().join("hook-units");
    fs::write(&list, format!("{}gps-ingest.service\n", shipped("packaging/polkit/hook-units"))).unwrap();
    let rule = shipped("packaging/polkit/50-patrold.rules");
    let at_the_package = "/etc/patrold/hook-units\"]";
    assert!(rule.contains(at_the_package), "the rule reads the list of the package");
    let rule = rule.replace(at_the_package, &format!("{}\"]", list.display()));
    let asked = r#"
        const { execFileSync } = require("child_process");
        let asked;
        const polkit = {
            Result: { YES: "yes", NOT_HANDLED: "not handled" },
            addRule: rule => { asked = rule; },
            spawn: argv => execFileSync(argv[0], argv.slice(1)),
        };
    "#;
    let questions = r#"
        const ask = (user, verb, unit, id = "org.freedesktop.systemd1.manage-units") =>
            asked({ id, lookup: key => ({ verb, unit })[key] }, { user });
        console.log([
            ask("patrold", "reload", "gps-ingest.service"),
            ask("patrold", "reload-or-try-restart", "gps-ingest.service"),
            ask("patrold", "stop", "gps-ingest.service"),
            ask("patrold", "reload", "ssh.service"),
            ask("patrold", "reload", "gps-ingest"),
            ask("patrold", "reload", undefined),
            ask("nobody", "reload", "gps-ingest.service"),
            ask("patrold", "reload", "gps-ingest.service", "org.freedesktop.login1.reboot"),
        ].join("\n"));
    "#;
    match Command::new("node").arg("-e").arg(format!("{asked}{rule}{questions}")).output() {
        Ok(output) => {
            let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let answers: Vec<_> = said.lines().collect();
            assert_eq!(answers[..2], ["yes", "yes"], "{wrong}");
            assert_eq!(answers[2..], ["not handled"; 6].map(String::from), "{said}{wrong}");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            crate::skipped("node is not installed: nobody has evaluated the polkit rule");
        }
        Err(error) => panic!("node cannot be started: {error}"),
    }
}

#[test]
fn reloads_are_waited_for_where_systemd_can() {
    let example = shipped("systemd/patrold.service.d/notify-reload.conf.example");
    let (_directory, unit) = unit(Some(&example));
    let Some(said) = complaints(&unit) else { return };
    // Debian 12 has 252.
    if version().is_some_and(|version| version >= 253) {
        assert_eq!(said, "");
    } else {
        // It refuses the type, and with it the unit.
        let expected = ["notify-reload", "ReloadSignal", "exit status"];
        let others: Vec<_> = said.lines().filter(|line| !expected.iter().any(|known| line.contains(known))).collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

/// The version of systemd.
fn version() -> Option<u32> {
    let output = Command::new("systemd-analyze").arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1)?.split('~').next()?.parse().ok()
}

#[test]
fn the_units_are_hardened() {
    for (name, instance) in [
        ("patrold.service", "patrold.service"),
        ("patrold-agent.service", "patrold-agent.service"),
        ("patrold-once@.service", "patrold-once@team.service"),
        ("patrold@.service", "patrold@team.service"),
    ] {
        let (_directory, unit) = unit_of(name, instance);
        let arguments = ["security", "--offline=true", "--threshold", EXPOSURE];
        let Some(output) = analyze(&arguments, &unit) else { return };
        let said = String::from_utf8_lossy(&output.stdout);
        if let Some(exposure) = said.lines().find(|line| line.contains("Overall exposure")) {
            // Not by a macro: what those print is swallowed unless the test fails.
            let _ = writeln!(io::stderr(), "{exposure}");
        }
        let open: Vec<_> = said.lines().filter(|line| line.starts_with(['✗', '→'])).collect();
        assert!(output.status.success(), "{}\n{}", open.join("\n"), String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn user_and_directories_are_as_systemd_wants_them() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let run = |program: &str, arguments: &[&str], file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file);
        let root = format!("--root={}", root.path().display());
        match Command::new(program).args(arguments).arg(root).arg(path).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{program}: {said}");
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => panic!("{program} cannot be started: {error}"),
        }
    };
    if run("systemd-sysusers", &[], "sysusers.d/patrold.conf") {
        let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
        let user = users.lines().find(|line| line.starts_with("patrold:")).unwrap();
        assert!(user.ends_with("/nologin"), "{user}");
    }
    // Elsewhere, nobody can give a directory to root.
    if rustix::process::geteuid().is_root() && run("systemd-tmpfiles", &["--create"], "tmpfiles.d/patrold.conf") {
        let mode = fs::metadata(root.path().join("etc/patrold.credentials")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(root.path().join("etc/patrold/tokens.d").is_dir());
    }
}

#[test]
fn the_inventory_of_a_fresh_installation_is_valid() {
    let etc = tempfile::tempdir().unwrap();
    let config = etc.path().join("patrold.toml");
    fs::write(&config, shipped("config/patrold.system.toml")).unwrap();
    let checked =
        Command::new(env!("CARGO_BIN_EXE_patrold")).arg("--config").arg(config).arg("check").output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn the_inventories_in_the_readme_are_valid() {
    let readme = shipped("README.md");
    let examples: Vec<_> = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty(), "the README shows an inventory");
    for example in examples {
        let etc = tempfile::tempdir().unwrap();
        let config = etc.path().join("patrold.toml");
        fs::write(&config, example).unwrap();
        let checked =
            Command::new(env!("CARGO_BIN_EXE_patrold")).arg("--config").arg(config).arg("check").output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn two_builds_that_differ_are_told_apart() {
    let compare = |change: fn(&Path)| {
        let home = tempfile::tempdir().unwrap();
        for side in ["one", "other"] {
            let directory = home.path().join(side);
            fs::create_dir_all(directory.join("below")).unwrap();
            fs::write(directory.join("patrold-1.tar.gz"), [0x1f, 0x8b, 0, 7]).unwrap();
            fs::write(directory.join("below/patrold.1"), "page").unwrap();
            // Says nothing of what the files hold.
            fs::write(directory.join("SHA256SUMS"), "as built").unwrap();
        }
        change(&home.path().join("other"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/compare");
        Command::new(script).arg(home.path().join("one")).arg(home.path().join("other")).output().unwrap()
    };
    let same = compare(|_| {});
    assert!(same.status.success(), "{same:?}");
    for (sentence, change, named) in [
        (
            "one byte differs",
            (|other| fs::write(other.join("patrold-1.tar.gz"), [0x1f, 0x8b, 0, 8]).unwrap()) as fn(&Path),
            "patrold-1.tar.gz",
        ),
        ("a file below differs", |other| fs::write(other.join("below/patrold.1"), "pages").unwrap(), "below/patrold.1"),
        ("a file is missing", |other| fs::remove_file(other.join("patrold-1.tar.gz")).unwrap(), "patrold-1.tar.gz"),
        ("a file is there besides", |other| fs::write(other.join("patrold-1.deb"), "").unwrap(), "patrold-1.deb"),
        ("a file has another name", |other| fs::rename(other.join("SHA256SUMS"), other.join("SUMS")).unwrap(), "SUMS"),
        ("nothing was built", |other| fs::remove_dir_all(other).unwrap(), "other"),
    ] {
        let told = compare(change);
        let words = String::from_utf8_lossy(&told.stderr);
        assert!(!told.status.success() && words.contains(named), "{sentence}: {told:?}");
    }
}

/// A build that fails leaves no release of what an earlier one built.
#[test]
fn a_release_ends_where_its_build_fails() {
    let home = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = home.path().join("cargo");
    fs::write(&cargo, "#!/bin/sh\necho \"no such luck\" >&2\nexit 101\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let output = home.path().join("output");
    let path = format!("{}:{}", home.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(root.join("packaging/release"));
    let told = command.arg(&output).arg("--verify").env("PATH", path).env_remove("PROGRAM").output().unwrap();
    let words = String::from_utf8_lossy(&told.stderr);
    assert!(!told.status.success() && words.contains("no such luck") && !words.contains("same bytes"), "{told:?}");
    assert!(!output.exists(), "something was packed");
}
