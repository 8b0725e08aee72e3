//! A daemon that has nothing to do: how often its threads wake up, and how much memory it holds.
//!
//! The daemon is the shipped binary in a process of its own, with the environment that the shipped unit gives it; the
//! provider runs in this one. The daemon watches the directories above its inventory, so set `TMPDIR` to a place where
//! nobody else creates files: `/tmp` itself is none. Packages are built with the profile `dist`: so is what they hold in
//! memory measured, with `cargo bench --profile dist --bench idle`.

mod measure;

use std::thread::sleep;
use std::time::{Duration, Instant};

use patrold::clock::SystemClock;
use patrold::demo::{Loopback, Options};

use measure::{Daemon, Site, heading, mib, token_name};

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
    watch(&mut daemon, "after the first issue of all tokens");
    daemon.stop();
    let mut daemon = Daemon::start(&config);
    watch(&mut daemon, "after a restart");
    daemon.stop();
}

/// Lets it settle, and then prints what it does while it has nothing to do.
fn watch(daemon: &mut Daemon, what: &str) {
    sleep(SETTLE);
    let before = daemon.wake_ups();
    sleep(WATCH);
    let after = daemon.wake_ups();
    assert!(daemon.runs(), "the daemon still runs");
    let (memory, threads) = (mib(daemon.status("VmRSS:")), daemon.status("Threads:"));
    println!("{what:<34} {memory:>6.1} MiB {threads:>10} {:>10}", after - before);
}
