//! A thousand slots in one project of a GitLab look-alike, and five hundred rotations into it at once.
//!
//! Printed is what comparing costs where nothing changed, and whether a storm of rotations keeps to the store's rate limit while
//! no variable ever holds a token that its provider does not accept any more.

#[path = "../tests/it/lookalike/mod.rs"]
#[allow(dead_code, unused_imports, clippy::unwrap_used, reason = "what tests have, of which this uses a part")]
mod lookalike;
mod measure;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use patrold::clock::{Clock as _, SystemClock};
use patrold::daemon;
use patrold::demo::{Loopback, Options, Service, State};
use patrold::names::TokenName;
use tokio::time::sleep;

use lookalike::{Gitlab, Lookalike};
use measure::{heading, token_name};

const SLOTS: usize = 1000;
const ROTATIONS: usize = 500;
/// Of the store's account, a second.
const PACE: usize = 200;
const DRIFT_EVERY: Duration = Duration::from_secs(5);
const PERIODS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() {
    let loopback = Loopback::start(SystemClock, Options::default()).await.expect("a port is free");
    let gitlab = Lookalike::start(Gitlab::new("group/app", "NONE")).await;
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let config = directory.path().join("patrold.toml");
    std::fs::write(&config, inventory(directory.path(), &loopback, &gitlab.url)).expect("the directory is ours");
    heading(&format!("{SLOTS} slots of one account, {ROTATIONS} rotations at once"), "stores");

    let running = daemon::start(&config, SystemClock).await.expect("the inventory is sound");
    let begun = Instant::now();
    wait_for(|| gitlab.writes() >= SLOTS).await;
    print("all of them are delivered within", format!("{:.1} s", begun.elapsed().as_secs_f64()));
    // The listing of the account and the first comparison are over.
    sleep(DRIFT_EVERY * 2).await;

    let (from, writes) = (gitlab.requests().len(), gitlab.writes());
    sleep(DRIFT_EVERY * PERIODS).await;
    let asked = gitlab.requests().split_off(from);
    let listings = asked.iter().filter(|asked| asked.path.ends_with("/variables")).count();
    let listed = u32::try_from(listings).unwrap_or(u32::MAX);
    print("listings in a `drift-every`", format!("{:.2}", f64::from(listed) / f64::from(PERIODS)));
    print("other requests to the store meanwhile", asked.len() - listings);
    print("writes meanwhile", gitlab.writes() - writes);

    let names: Vec<TokenName> = (0..ROTATIONS).map(|number| token_name(number).parse().expect("a name")).collect();
    let from = gitlab.requests().len();
    let begun = Instant::now();
    let rotating = running.core.rotate(&running.waker, &names, PATIENCE);
    tokio::pin!(rotating);
    let (mut counts, mut dead) = (Vec::new(), 0);
    loop {
        tokio::select! {
            _ = &mut rotating => break,
            () = sleep(Duration::from_millis(20)) => {
                counts.push((Instant::now(), gitlab.requests().len() - from));
                dead += dead_values(&loopback, &gitlab);
            }
        }
    }
    wait_for(|| gitlab.writes() >= SLOTS + ROTATIONS).await;
    print("rotations are done within", format!("{:.1} s", begun.elapsed().as_secs_f64()));
    print(&format!("most requests in a second, of {PACE} that are allowed"), busiest(&counts));
    print("variables that were seen to hold a dead token", dead);
    running.stop(Duration::from_secs(10)).await;
}

fn inventory(directory: &std::path::Path, loopback: &Loopback, gitlab: &str) -> String {
    let operator = loopback.operator().expect("the default options have users");
    let at = |name: &str| directory.join(name).display().to_string();
    std::fs::write(at("password"), operator.password.expose()).expect("the directory is ours");
    std::fs::write(at("gitlab"), "gitlab-writer").expect("the directory is ours");
    let mut text = format!(
        "[daemon]\nstate-dir = \"{state}\"\ncontrol = \"{control}\"\n\
         [defaults]\ngrace = \"0s\"\njitter = \"0s\"\ndrift-every = \"{drift}s\"\nrotate-every = \"30d\"\n\
         [account.awx]\nprovider = \"awx\"\nurl = \"{awx}\"\nmax-in-flight = 32\npoll-every = \"1d\"\n\
         credential = {{ username = \"{user}\", password = {{ file = \"{password}\" }} }}\nparams = {{ user_id = {id} }}\n\
         [account.gitlab]\nstore = \"gitlab-variable\"\nurl = \"{gitlab}\"\ncredential = {{ file = \"{token}\" }}\n\
         max-in-flight = 32\nrate-limit = {{ requests = {PACE}, per = \"1s\" }}\n",
        state = at("state"),
        control = at("control.sock"),
        drift = DRIFT_EVERY.as_secs(),
        awx = loopback.url(Service::Awx).as_str().trim_end_matches('/'),
        user = operator.name,
        password = at("password"),
        id = operator.id,
        token = at("gitlab"),
    );
    for number in 0..SLOTS {
        let name = token_name(number);
        let key = name.replace('-', "_").to_uppercase();
        let _ = write!(
            text,
            "[[token]]\nname = \"{name}\"\naccount = \"awx\"\n\
             stores = [{{ account = \"gitlab\", project = \"group/app\", key = \"{key}\" }}]\n"
        );
    }
    text
}

/// How many variables hold a token now that is not alive.
fn dead_values(loopback: &Loopback, gitlab: &Lookalike<Gitlab>) -> usize {
    let now = SystemClock.now();
    let values: BTreeMap<_, _> = gitlab.api(|api| api.values());
    values.values().filter(|value| loopback.ledger().state_of(value, now) != State::Live).count()
}

/// The most requests in any second.
fn busiest(counts: &[(Instant, usize)]) -> usize {
    let within = |from: usize| {
        let (begun, before) = counts[from];
        let last = counts.iter().rev().find(|(at, _)| *at <= begun + Duration::from_secs(1));
        last.map_or(0, |(_, count)| count - before)
    };
    (0..counts.len()).map(within).max().unwrap_or(0)
}

fn print(what: &str, figure: impl std::fmt::Display) {
    println!("{what:<58} {figure:>10}");
}

async fn wait_for(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "it does not come to that within {} s", PATIENCE.as_secs());
        sleep(Duration::from_millis(50)).await;
    }
}
