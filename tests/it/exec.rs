//! `patrold exec`, as the program that it is: a script on its other side tells what it got.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    directory: tempfile::TempDir,
}

/// A running `patrold exec`, and what its program prints.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Stage {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a file, as a store does.
    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(".new"), content).unwrap();
        fs::rename(self.path(".new"), self.path(name)).unwrap();
    }

    fn start(&self, options: &[&str], script: &str) -> Running {
        let file = format!("{}=T", self.path("token").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
        command.args(["exec", "--file", &file, "--coalesce", "50ms"]).args(options).args(["--", "sh", "-c", script]);
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Running {
        command.env("PATROLD_LOG", "info").env("D", self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(self.path("log")).unwrap());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

impl Running {
    /// The next line that the program prints; empty at its end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    fn status(mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("it ends by itself");
            }
            assert!(Instant::now() < deadline, "it never ended");
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVE: &str = "echo $T; exec sleep 600";

#[test]
fn a_program_starts_once_its_value_is_there_and_again_with_each_new_one() {
    let stage = Stage::new();
    let mut running = stage.start(&[], SERVE);
    stage.write("token", "one\n");
    assert_eq!(running.line(), "one");
    // What is the same disturbs nobody.
    stage.write("token", "one\n");
    stage.write("token", "two");
    assert_eq!(running.line(), "two");
    running.signal(Signal::TERM);
    assert_eq!(running.status(), 143);
    assert!(!stage.log().contains("two"), "no value is logged: {}", stage.log());
}

#[test]
fn files_that_change_at_once_restart_a_program_once() {
    let stage = Stage::new();
    let (directory, token) = (stage.path("app"), format!("{}=T", stage.path("app/token").display()));
    let switch = |number: &str| {
        let data = directory.join(format!("..{number}"));
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("token"), format!("tok-{number}")).unwrap();
        fs::write(data.join("refresh"), format!("ref-{number}")).unwrap();
        symlink(format!("..{number}"), directory.join("..next")).unwrap();
        fs::rename(directory.join("..next"), directory.join("..data")).unwrap();
    };
    switch("one");
    for name in ["token", "refresh"] {
        symlink(format!("..data/{name}"), directory.join(name)).unwrap();
    }
    let refresh = format!("{}=R", directory.join("refresh").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
    command.args(["exec", "--file", &token, "--file", &refresh, "--coalesce", "50ms"]);
    command.args(["--", "sh", "-c", "echo $T $R; exec sleep 600"]);
    let mut running = stage.spawn(command);
    assert_eq!(running.line(), "tok-one ref-one");
    switch("two");
    assert_eq!(running.line(), "tok-two ref-two");
}

#[test]
fn a_program_can_be_told_instead() {
    let stage = Stage::new();
    stage.write("token", "one");
    let script = "trap 'echo told $(cat $D/token)' HUP; echo ready; while :; do sleep 600 & wait; done";
    let mut running = stage.start(&["--on-change", "signal:HUP"], script);
    assert_eq!(running.line(), "ready");
    stage.write("token", "two");
    assert_eq!(running.line(), "told two");
    running.signal(Signal::HUP);
    assert_eq!(running.line(), "told two", "it is passed on");
    running.signal(Signal::KILL);
}

#[test]
fn a_change_can_end_it_for_whoever_starts_it_again() {
    let stage = Stage::new();
    stage.write("token", "one");
    let mut running = stage.start(&["--on-change", "exit"], SERVE);
    assert_eq!(running.line(), "one");
    stage.write("token", "two");
    assert_eq!(running.status(), 75);
}

#[test]
fn it_ends_with_the_status_of_its_program() {
    let stage = Stage::new();
    stage.write("token", "one");
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137)] {
        assert_eq!(stage.start(&[], script).status(), status, "{script}");
    }
    let mut nothing = Command::new(env!("CARGO_BIN_EXE_patrold"));
    nothing.args(["exec", "--watch", "/etc/hostname", "--", "/no/such/program"]);
    assert_eq!(stage.spawn(nothing).status(), 127);
    fs::remove_file(stage.path("token")).unwrap();
    assert_eq!(stage.start(&["--wait", "100ms"], "exit 0").status(), 1);
    assert!(stage.log().contains("T: "), "it says what is missing: {}", stage.log());
}

#[test]
fn a_program_that_a_change_ended_gets_its_old_value_back_once() {
    let stage = Stage::new();
    stage.write("token", "good");
    let script = "echo $T; [ $T = good ] || exit 3; exec sleep 600";
    let mut running = stage.start(&["--fallback"], script);
    assert_eq!(running.line(), "good");
    stage.write("token", "bad");
    assert_eq!((running.line(), running.line()), ("bad".to_owned(), "good".to_owned()));
    assert!(stage.log().contains("it is started again"), "{}", stage.log());
    stage.write("token", "worse");
    assert_eq!((running.line(), running.line()), ("worse".to_owned(), "good".to_owned()), "after each change");
}

#[test]
fn what_ignores_the_stop_is_killed_with_all_that_it_started() {
    let stage = Stage::new();
    stage.write("token", "one");
    let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > $D/inner; sleep 600' & while [ ! -s $D/inner ]; do :; done; echo $T; wait";
    let mut running = stage.start(&["--stop-timeout", "100ms"], script);
    assert_eq!(running.line(), "one");
    let inner = fs::read_to_string(stage.path("inner")).unwrap();
    fs::remove_file(stage.path("inner")).unwrap();
    stage.write("token", "two");
    assert_eq!(running.line(), "two");
    let status = fs::read_to_string(Path::new("/proc").join(inner.trim()).join("status")).unwrap_or_default();
    assert!(status.is_empty() || status.contains("State:\tZ"), "{status}");
    running.signal(Signal::TERM);
}

#[test]
fn a_token_of_the_inventory_is_read_from_its_store_and_may_be_passed_in_memory() {
    let stage = Stage::new();
    fs::write(
        stage.path("patrold.toml"),
        "[daemon]\nstate-dir = \"state\"\n[account.a]\nprovider = \"pointone\"\ncredential = { env = \"A\" }\n\
         [[token]]\nname = \"gps\"\naccount = \"a\"\nlifetime = \"30d\"\nstores = [{ kind = \"env-file\", path = \"env\", key = \"K\" }]\n",
    )
    .unwrap();
    stage.write("env", "OTHER=1\nK=\"in the env file\"\n");
    let start = |options: &[&str], script: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
        command.args(["exec", "--config", stage.path("patrold.toml").to_str().unwrap()]);
        command.args(options).args(["--", "sh", "-c", script]);
        stage.spawn(command)
    };
    let mut running = start(&["--token", "gps=V"], "echo $V");
    assert_eq!(running.line(), "in the env file");
    let mut running = start(&["--token-file", "gps=V"], "cat $V; echo; env | grep -c 'in the env'");
    assert_eq!((running.line(), running.line()), ("in the env file".to_owned(), "0".to_owned()));
    assert_eq!(start(&["--token", "gsp=V"], "true").status(), 2);
    assert!(stage.log().contains("did you mean \"gps\"?"), "{}", stage.log());
}
