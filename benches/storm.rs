//! A storm: ten thousand tokens of fifty accounts that are due at once, after a month without the daemon.
//!
//! Each account has a credential of its own. One may send twenty requests a second, one provider is dead, one takes a second for each answer; the others are
//! well. The daemon is the shipped binary. In the middle it is killed, and started again. Printed is how long the accounts that
//! are well take, whether each served the nearest deadline first, how soon after the kill the next token is minted, and the
//! most memory that it took.

mod measure;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

use patrold::clock::{Span, SystemClock};
use patrold::demo::{Loopback, Options, Service};
use patrold::names::Marker;
use patrold::provider::Operation;
use tokio::runtime::Runtime;

use measure::{Daemon, Life, Site, fill, heading, mib, now, options, token_name, whole};

const TOKENS: usize = 10_000;
const ACCOUNTS: usize = 50;
/// Runs of one account at once: so many may overtake each other.
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(900);

/// What becomes of an account, by its number.
const LIMITED: usize = 0;
const DEAD: usize = 1;
const SLOW: usize = 2;

fn main() {
    let runtime = Runtime::new().expect("threads can be started");
    let start = |delay| {
        let options = Options { answer_delay: Span::milliseconds(delay), ..options(ACCOUNTS) };
        runtime.block_on(Loopback::start(SystemClock, options)).expect("a port is free")
    };
    let (well, slow) = (start(0), start(1000));
    let dead = TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound");
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let site = Site {
        directory: directory.path(),
        loopback: &well,
        accounts: ACCOUNTS,
        tokens: TOKENS,
        in_flight: 4,
        plain: true,
    };
    let config = site.write();
    let url = |loopback: &Loopback| loopback.url(Service::Awx).as_str().trim_end_matches('/').to_owned();
    let text = fs::read_to_string(&config).expect("it was just written");
    let mut parts: Vec<String> = text.split("\n[account.").map(str::to_owned).collect();
    parts[LIMITED + 1] += "rate-limit = { requests = 20, per = \"1s\" }\n";
    parts[DEAD + 1] = parts[DEAD + 1].replace(&url(&well), &format!("http://{dead}"));
    parts[SLOW + 1] = parts[SLOW + 1].replace(&url(&well), &url(&slow));
    fs::write(&config, parts.join("\n[account.")).expect("the directory is ours");
    // Their month is over; they end within the next hour, in no order that their names have.
    let life = |number: usize| {
        let end = i64::try_from(number * 7919 % 3000).unwrap_or(0);
        Life { minted: whole(now()) - Span::days(31), expires: whole(now()) + Span::seconds(600 + end) }
    };
    // Where the dead one's are, nobody will ask.
    runtime.block_on(fill(&site, &config, TOKENS, life, |account| if account == SLOW { &slow } else { &well }));

    heading(&format!("A storm: {TOKENS} tokens of {ACCOUNTS} accounts due at once"), "storm");
    // Those of the accounts that are well.
    let wanted: BTreeSet<String> = (0..TOKENS).filter(|it| it % ACCOUNTS > SLOW).map(token_name).collect();
    let minted = || {
        let requests = well.requests().into_iter().filter(|it| it.operation == Some(Operation::Mint));
        let names =
            requests.filter_map(|it| Some(Marker::token(it.about.as_deref().and_then(Marker::within)?)?.to_string()));
        names.collect::<Vec<_>>()
    };
    let begun = Instant::now();
    let daemon = Daemon::start(&config);
    wait_for(|| minted().len() >= wanted.len() / 2);
    let highest = daemon.status("VmHWM:");
    daemon.kill();
    let before = minted().len();
    let killed = Instant::now();
    let daemon = Daemon::start(&config);
    wait_for(|| minted().len() > before);
    let recovered = killed.elapsed();
    wait_for(|| minted().into_iter().collect::<BTreeSet<_>>().is_superset(&wanted));
    let drained = begun.elapsed();
    let highest = highest.max(daemon.status("VmHWM:"));
    let order = minted();
    daemon.stop();
    println!("{:<58} {:>10.1} s", "the accounts that are well are drained within", drained.as_secs_f64());
    println!("{:<58} {:>10.2} s", "after the kill, the next token is minted within", recovered.as_secs_f64());
    println!("{:<58} {:>10}", "tokens that were overtaken by more than runs at once", overtaken(&order));
    println!("{:<58} {:>8.1} MiB", "memory at the highest", mib(highest));
}

/// How many tokens came later than a token of their account whose consumers had more time, beyond those that run at once.
fn overtaken(order: &[String]) -> usize {
    let number = |name: &String| name.rsplit('-').next().and_then(|digits| digits.parse::<usize>().ok()).unwrap_or(0);
    let mut accounts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for token in order.iter().filter(|name| seen.insert(*name)).map(number) {
        accounts.entry(token % ACCOUNTS).or_default().push(token * 7919 % 3000);
    }
    let late = |deadlines: &Vec<usize>| {
        let places = deadlines.iter().enumerate();
        let late = places.filter(|(at, own)| deadlines[..*at].iter().filter(|before| before > own).count() > AT_ONCE);
        late.count()
    };
    accounts.values().map(late).sum()
}

fn wait_for(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "the storm is over within {} s", PATIENCE.as_secs());
        sleep(Duration::from_millis(50));
    }
}
