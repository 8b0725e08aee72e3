//! A daemon that has nothing to do: how often its threads wake up, and how much memory it holds.
//!
//! The daemon is the shipped binary in a process of its own, with the environment that the shipped unit gives it; the
//! provider runs in this one. The daemon watches the directories above its inventory, so set `TMPDIR` to a place where
//! nobody else creates files: `/tmp` itself is none. Packages are built with the profile `dist`: so is what they hold in
//! memory measured, with `cargo bench --profile dist --bench idle`.

mod measure;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use patrold::clock::SystemClock;
use patrold::demo::{Loopback, Options};

use measure::{Site, heading, token_name};

const UNIT: &str = include_str!("../systemd/patrold.service");
const TOKENS: usize = 1000;

/// Connections and helper threads that idle are given up within this.
const SETTLE: Duration = Duration::from_secs(15);
const WATCH: Duration = Duration::from_secs(20);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let loopback = runtime.block_on(Loopback::start(SystemClock, Options::default())).expect("a port is free");
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let site = Site {
        directory: directory.path(),
        loopback: &loopback,
        accounts: 1,
        tokens: TOKENS,
        in_flight: 8,
        plain: true,
    };
    let config = site.write();
    heading(&format!("An idle daemon of {TOKENS} tokens, watched for {} s", WATCH.as_secs()), "idle");
    println!("{:<34} {:>10} {:>10} {:>10}", "", "memory", "threads", "wake-ups");
    let mut daemon = Daemon::start(&config);
    let begun = Instant::now();
    let delivered = || (0..TOKENS).all(|number| site.stores(0).join(token_name(number)).exists());
    while !delivered() {
        assert!(begun.elapsed() < Duration::from_secs(300), "every token is delivered within five minutes");
        sleep(Duration::from_millis(100));
    }
    daemon.watch("after the first issue of all tokens");
    daemon.stop();
    let mut daemon = Daemon::start(&config);
    daemon.watch("after a restart");
    daemon.stop();
}

/// A process of the shipped binary.
struct Daemon(Child);

impl Daemon {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patrold"));
        let environment = UNIT.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
        let command = command.envs(environment).arg("--config").arg(config).arg("run");
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary was built"))
    }

    /// Lets it settle, and then prints what it does while it has nothing to do.
    fn watch(&mut self, what: &str) {
        sleep(SETTLE);
        let before = self.wake_ups();
        sleep(WATCH);
        let after = self.wake_ups();
        assert!(self.0.try_wait().is_ok_and(|ended| ended.is_none()), "the daemon still runs");
        let memory = f64::from(self.status("VmRSS:")) / 1024.0;
        let threads = self.status("Threads:");
        println!("{what:<34} {memory:>6.1} MiB {threads:>10} {:>10}", after - before);
    }

    /// How often all of its threads together have gone to sleep so far.
    fn wake_ups(&self) -> u32 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("the daemon runs");
        // A thread that ends meanwhile has nothing more to tell.
        let statuses = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
        statuses.map(|status| field(&status, "voluntary_ctxt_switches:")).sum()
    }

    fn status(&self, name: &str) -> u32 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("the daemon runs");
        field(&status, name)
    }

    /// As a service manager does it.
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is our child");
        self.0.wait().expect("it is our child");
    }
}

/// The first number behind `name`, at the beginning of a line.
fn field(status: &str, name: &str) -> u32 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
