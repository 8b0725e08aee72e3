//! Large inventories: loading, planning, and a reload that changes one token of a hundred thousand.

mod measure;

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use patrold::clock::SystemClock;
use patrold::daemon;
use patrold::demo::Loopback;
use patrold::inventory::Inventory;
use patrold::inventory::diff::diff;
use patrold::names::InstanceId;
use patrold::rotation::reason::Reason;
use patrold::secret::{Fingerprinter, Secret};
use patrold::text::Paint;
use patrold::view::plan::Plan;

use measure::{Life, Site, fill, heading, inventory, median, millis, now, options, ratio, settled};

const SMALL: usize = 10_000;
const LARGE: usize = 100_000;
const ACCOUNTS: usize = 100;
const RUNS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let loopback = runtime.block_on(Loopback::start(SystemClock, options(ACCOUNTS))).expect("a port is free");
    heading("Inventories: medians of 5 runs, by number of tokens", "plan");
    let small = sizes(&loopback, SMALL);
    let large = sizes(&loopback, LARGE);
    println!("{:<44} {SMALL:>12} {LARGE:>12} {:>8}", "", "ratio");
    for ((what, small), (_, large)) in small.iter().zip(&large) {
        println!("{what:<44} {:>12} {:>12} {:>7.1}x", millis(*small), millis(*large), ratio(*large, *small));
    }
    runtime.block_on(reload(&loopback));
}

/// How long each step takes for an inventory of this size.
fn sizes(loopback: &Loopback, tokens: usize) -> Vec<(&'static str, Duration)> {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let site = Site { directory: directory.path(), loopback, accounts: ACCOUNTS, tokens, in_flight: 4, plain: false };
    let config = site.write();
    let loaded = inventory(&config);
    assert_eq!(loaded.tokens.len(), tokens);
    let fingerprint = Fingerprinter::new(&[7; 32]).of(&Secret::new("secret"));
    let instance = InstanceId::new([7; 4]);
    let state = |(number, token): (usize, &std::sync::Arc<patrold::inventory::TokenPolicy>)| {
        settled(token, number as u64, instance, &fingerprint, Life::fresh(number))
    };
    let states = loaded.tokens.values().enumerate().map(|it| (it.1.name.clone(), state(it))).collect();
    let at = now();
    let plan = Plan::new(&loaded, &states, at);
    vec![
        ("load and validate", median(RUNS, || drop(black_box(inventory(&config))))),
        ("compare with another of the same content", compare(&config, &loaded)),
        ("plan", median(RUNS, || drop(black_box(Plan::new(&loaded, &states, at))))),
        ("print the plan as JSON", median(RUNS, || drop(black_box(serde_json::to_vec(&plan))))),
        ("print the plan as a table", median(RUNS, || plan.write(Paint::Plain, &mut Vec::new()).expect("memory"))),
    ]
}

fn compare(config: &Path, loaded: &Inventory) -> Duration {
    let again = inventory(config);
    median(RUNS, || assert!(diff(black_box(loaded), black_box(&again)).is_empty()))
}

/// Lets a running daemon of a hundred thousand tokens reload an inventory in which one token differs.
async fn reload(loopback: &Loopback) {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let site =
        Site { directory: directory.path(), loopback, accounts: ACCOUNTS, tokens: LARGE, in_flight: 4, plain: true };
    let config = site.write();
    fill(&site, &config, LARGE, Life::fresh, |_| loopback).await;
    let begun = Instant::now();
    let running = daemon::start(&config, SystemClock).await.expect("the daemon starts");
    let tokens = running.core.tokens.all();
    let mut views: Vec<_> = tokens.iter().map(|(_, token)| token.follow()).collect();
    for view in &mut views {
        // Ends as soon as the token has been looked at for the first time.
        let at_rest = view.wait_for(|view| view.rest.is_some_and(|rest| rest.reason == Reason::NotDue)).await;
        drop(at_rest.expect("the daemon runs"));
    }
    // The listing of each account, and the look at it, are part of the start.
    while running.core.polls().len() < ACCOUNTS {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let started = begun.elapsed();
    // What a poll wakes is looked at within this, however busy the machine is.
    loop {
        for view in &mut views {
            view.mark_unchanged();
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        if views.iter().all(|view| view.has_changed().is_ok_and(|changed| !changed)) {
            break;
        }
    }
    let requests = loopback.requests().len();

    let changed = fs::read_to_string(&config).expect("it was just written");
    let changed = changed.replacen("rotate-every = \"30d\"", "rotate-every = \"31d\"", 1);
    fs::write(&config, changed).expect("it was just written");
    let before = running.core.inventory();
    let after = inventory(&config);
    let comparing = median(RUNS, || assert_eq!(diff(&before, black_box(&after)).len(), 1));
    let begun = Instant::now();
    let reload = Box::pin(running.reloader.reload()).await;
    let whole = begun.elapsed();
    // Long enough for whatever the reload has set going.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let woken = views.iter().filter(|view| view.has_changed().unwrap_or(true)).count();
    let requests = loopback.requests().len() - requests;

    println!("\nA reload of {LARGE} tokens in a running daemon\n");
    for (what, value) in [
        ("start, until every token was looked at", millis(started)),
        ("reload in all: read, validate, compare, swap", millis(whole)),
        ("of that: compare", millis(comparing)),
        ("changes", reload.changes.join("; ")),
        ("tokens that were looked at again", woken.to_string()),
        ("requests to providers", requests.to_string()),
    ] {
        println!("{what:<46} {value}");
    }
    running.stop(Duration::from_secs(10)).await;
}
