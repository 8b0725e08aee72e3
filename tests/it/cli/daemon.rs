//! The command line beside a running daemon.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::Duration;

use patrold::process::table::Process;
use rustix::process::{Pid, Signal, kill_process};

use super::world::{self, World};

/// A daemon that was started and is ready.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    pub fn start(world: &World) -> Self {
        // The daemon tells a service manager when it is ready: no need to guess.
        let path = world.path().join("notify");
        // Left by a daemon of this world before.
        let _ = std::fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut command = world.command(&["run", "--log-format", "json"]);
        let child = command.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let daemon = Self { child };
        let mut buffer = [0; 1024];
        loop {
            let length = manager.recv(&mut buffer).unwrap();
            if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") {
                return daemon;
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as the kernel does when memory is short.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop; gives exit status and log.
    pub fn stop(mut self) -> (Option<i32>, String) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let log = std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Stopped already, unless the test failed.
        let _ = self.child.kill();
    }
}

#[test]
fn under_systemd_each_line_begins_with_its_priority() {
    let world = World::new(world::TWO_TOKENS);
    let file = world.path().join("journal");
    let journal = std::fs::File::options().create(true).append(true).open(&file).unwrap();
    let stat = rustix::fs::fstat(&journal).unwrap();
    // Both tokens lack their credential: there is something to complain about.
    for (stream, expected) in [(format!("{}:{}", stat.st_dev, stat.st_ino), true), ("8:1".to_owned(), false)] {
        journal.set_len(0).unwrap();
        let mut command = world.command(&["run", "--once", "--timeout", "1s"]);
        let status = command.env("JOURNAL_STREAM", stream).stderr(journal.try_clone().unwrap()).status().unwrap();
        assert_eq!(status.code(), Some(1));
        let log = std::fs::read_to_string(&file).unwrap();
        assert!(log.contains("{\"timestamp\""), "{log}");
        for line in log.lines() {
            let level = ["<3>{", "<4>{", "<6>{"].iter().find(|prefix| line.starts_with(**prefix));
            assert_eq!(level.is_some(), expected, "{line}");
        }
        assert_eq!(log.lines().last().unwrap().starts_with("<3>"), expected, "the last line is an error: {log}");
    }
}

#[test]
fn a_running_daemon_answers() {
    let world = World::new(world::TWO_TOKENS);
    let daemon = Daemon::start(&world);

    let status = world.json(&["status", "--json"], 0);
    assert_eq!(status["daemon"]["pid"], daemon.child.id());
    assert_eq!(status["tokens"].as_array().unwrap().len(), 2);
    let text = String::from_utf8(world.run(&["status"]).stdout).unwrap();
    assert!(text.starts_with("patrold "), "{text}");

    let ready = world.run(&["status", "--ready"]);
    let text = String::from_utf8(ready.stdout).unwrap();
    assert_eq!(ready.status.code(), Some(1), "{text}");
    assert!(text.contains("not ready\nreason: 2 tokens without a first secret"), "{text}");

    let explained = world.json(&["explain", "ci", "--json"], 0);
    assert_eq!((&explained["daemon"], &explained["rules"][0]["rule"]), (&true.into(), &"first-issue".into()));
    assert_eq!(world.run(&["explain", "nobody"]).status.code(), Some(2));

    let output = world.run(&["rotate", "ci", "--timeout", "30s"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("ci     failed") && text.contains("PATROLD_TEST_CREDENTIAL"), "{text}");

    let second = world.run(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains(&format!("process {}", daemon.child.id())), "{text}");

    // Who breaks the inventory still sees how the daemon fares.
    let inventory = std::fs::read(world.config()).unwrap();
    std::fs::write(world.config(), "nonsense").unwrap();
    let status = world.json(&["status", "--json"], 0);
    assert_eq!(status["daemon"]["pid"], daemon.child.id());
    std::fs::write(world.config(), inventory).unwrap();

    let (exit, log) = daemon.stop();
    assert_eq!(exit, Some(0), "{log}");
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["timestamp"].is_string() && line["message"].is_string(), "{line}");
    }
    let output = world.run(&["status"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no daemon is running; showing the journal"));
    let output = world.run(&["status", "--ready"]);
    assert_eq!(output.status.code(), Some(1), "nobody who is not running is ready");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no daemon is running"), "{output:?}");
}

#[test]
fn a_command_that_asks_the_daemon_needs_no_valid_inventory() {
    let world = World::new(world::TWO_TOKENS);
    let daemon = Daemon::start(&world);
    let valid = std::fs::read_to_string(world.config()).unwrap();
    for (sentence, text) in [
        ("a key that nobody knows", format!("{valid}\nmistake = 1\n")),
        ("no TOML at all", format!("{valid}\n[[token\n")),
    ] {
        std::fs::write(world.config(), text).unwrap();
        for args in [&["status"][..], &["status", "ci"], &["explain", "ci"]] {
            let output = world.run(args);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{sentence}: {args:?}: {errors}");
            assert!(errors.contains("the inventory on disk is invalid"), "{sentence}: {args:?}: {errors}");
        }
        // Whether the rotation gets anywhere is another matter: nobody answers at the provider's address.
        let rotate = String::from_utf8(world.run(&["rotate", "ci", "--no-wait"]).stdout).unwrap();
        assert!(rotate.contains("\nci "), "{sentence}: the daemon was asked: {rotate}");
        for args in [&["history", "ci"][..], &["history", "--verify"], &["journal", "export"]] {
            assert_eq!(world.run(args).status.code(), Some(0), "{sentence}: {args:?}");
        }
        let reload = world.run(&["reload"]);
        let errors = String::from_utf8_lossy(&reload.stderr);
        assert_eq!(reload.status.code(), Some(2), "{sentence}: {errors}");
        assert!(errors.contains("the one before stays in use"), "{sentence}: {errors}");
    }
    std::fs::remove_file(world.config()).unwrap();
    let status = world.run(&["status"]);
    assert!(status.status.success(), "the daemon is found that names the file as its own: {status:?}");
    std::fs::write(world.config(), valid).unwrap();
    let output = world.run(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_program_that_hangs_outlives_a_killed_daemon_only_until_the_next_start() {
    let world = World::new(world::TWO_TOKENS);
    let pipe = world.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let inventory = std::fs::read_to_string(world.config()).unwrap();
    let command = format!("{{ command = [\"sh\", \"-c\", \"echo $$ > {}; exec sleep 1000\"] }}", pipe.display());
    let source = "{ env = \"PATROLD_TEST_CREDENTIAL\" }";
    std::fs::write(world.config(), inventory.replacen(source, &command, 1)).unwrap();
    let daemon = Daemon::start(&world);
    let hangs: i32 = std::fs::read_to_string(&pipe).unwrap().trim().parse().unwrap();
    let there = || Process::read(hangs).is_some_and(|process| !process.is_zombie);
    daemon.kill();
    assert!(there(), "nobody is left who could end it");
    let daemon = Daemon::start(&world);
    assert!(!there(), "the next start ends it");
    let (_, log) = daemon.stop();
    assert!(log.contains("\"program-ended\""), "{log}");
}
