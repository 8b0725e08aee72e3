//! How everything grows with the number of tokens: each step is ten times as many, and its ratio should stay near ten.
//!
//! Loaded are tokens as people have them: a third has an env file beside its file, others have hooks, windows, parameters. Run
//! are tokens with a file each, which have a generation, delivered, listed by the provider, and weeks from its end. Times are of this process; memory is of the shipped binary in a process
//! of its own, which is measured as packages are built with `cargo bench --profile dist --bench growth`. Sizes may be named:
//! `cargo bench --bench growth -- 1000 10000 100000 1000000`. A size named `vacant` lets six of ten tokens have no generation.

mod measure;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use patrold::clock::SystemClock;
use patrold::daemon;
use patrold::demo::Loopback;
use patrold::view::metrics;
use patrold::view::page::{self, Place};
use tokio::runtime::Runtime;

use measure::{Daemon, Life, Site, fill, heading, inventory, median, mib, now, options, processor_time};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const RUNS: usize = 3;
const ACCOUNTS: usize = 100;

/// A figure, and what it is a figure of.
type Figure = (&'static str, f64, &'static str);

fn main() {
    let runtime = Runtime::new().expect("threads can be started");
    heading("Growth, by number of tokens", "growth");
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let vacant = std::env::args().any(|argument| argument == "vacant");
    let sizes = if asked.is_empty() { SIZES.to_vec() } else { asked };
    let columns: Vec<Vec<Figure>> = sizes.iter().map(|tokens| measure_all(&runtime, *tokens, vacant)).collect();
    print!("{:<46}", "");
    for tokens in &sizes {
        print!(" {tokens:>12}         ");
    }
    println!();
    for row in 0..columns[0].len() {
        let (what, _, unit) = columns[0][row];
        print!("{:<46}", format!("{what} ({unit})"));
        let mut before = None;
        for column in &columns {
            let value = column[row].1;
            let ratio = before.map(|before: f64| format!("{:.1}x", value / before)).unwrap_or_default();
            print!(" {value:>12.1} {ratio:>8}");
            before = Some(value);
        }
        println!();
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

fn measure_all(provider: &Runtime, tokens: usize, vacant: bool) -> Vec<Figure> {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let accounts = ACCOUNTS.min(tokens / 10).max(1);
    let loopback = &provider.block_on(Loopback::start(SystemClock, options(accounts))).expect("a port is free");
    let site = Site { directory: directory.path(), loopback, accounts, tokens, in_flight: 4, plain: false };
    let config = site.write();
    let text = std::fs::read_to_string(&config).expect("it was just written");
    let parse = median(RUNS, || drop(black_box(toml::from_str::<toml::Table>(&text).expect("it is TOML"))));
    let load = median(RUNS, || drop(black_box(inventory(&config))));
    let mut figures = vec![
        ("the toml crate parses it into tables", millis(parse), "ms"),
        ("load and validate", millis(load), "ms"),
        ("of that, for each of the parse", load.as_secs_f64() / parse.as_secs_f64(), "times"),
    ];
    drop((text, directory));
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let site = Site { directory: directory.path(), loopback, accounts, tokens, in_flight: 4, plain: true };
    let config = site.write();
    let load = median(RUNS, || drop(black_box(inventory(&config))));
    let runtime = Runtime::new().expect("threads can be started");
    let delivered = if vacant { tokens * 4 / 10 } else { tokens };
    runtime.block_on(fill(&site, &config, delivered, Life::fresh, |_| loopback));
    if !vacant {
        figures.extend(runtime.block_on(run(&config, load)));
    }
    drop(runtime);
    figures.extend(memory(&config));
    figures
}

/// What a running daemon takes, in this process.
#[expect(clippy::cast_precision_loss, reason = "sizes of texts")]
async fn run(config: &Path, load: Duration) -> Vec<Figure> {
    let (begun, used) = (Instant::now(), processor_time());
    let running = daemon::start(config, SystemClock).await.expect("the daemon starts");
    let tokens = running.core.tokens.all();
    // Looked at without waiting for each: nobody follows a hundred thousand tokens.
    while !tokens.iter().all(|(_, token)| token.view().rest.is_some()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (started, used) = (begun.elapsed(), processor_time().saturating_sub(used));
    while running.core.polls().len() < running.core.inventory().accounts.len() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = median(RUNS, || drop(black_box(running.status())));
    let seen = running.status();
    let measures = running.measures(now(), Vec::new());
    let text = metrics::render(&seen, &measures);
    let metrics = median(RUNS, || drop(black_box(metrics::render(&seen, &measures))));
    let inventory = running.core.inventory();
    let overview = || page::render(&seen, &inventory, Place { host: "" }, [].iter());
    let shown = overview();
    let page = median(RUNS, || drop(black_box(overview())));
    let figures = vec![
        ("start, until every token was looked at", millis(started), "ms"),
        ("of that, processor time", millis(used), "ms"),
        ("start, for each of load and validate", started.as_secs_f64() / load.as_secs_f64(), "times"),
        ("status", millis(status), "ms"),
        ("metrics of a status", millis(metrics), "ms"),
        ("metrics, size", text.len() as f64 / 1024.0, "KiB"),
        ("page of a status", millis(page), "ms"),
        ("page, size", shown.len() as f64 / 1024.0, "KiB"),
    ];
    assert!(running.stop(Duration::from_secs(60)).await, "the daemon stops in time");
    figures
}

/// What the shipped binary holds, at rest after a start.
fn memory(config: &Path) -> Vec<Figure> {
    let mut daemon = Daemon::start(config);
    daemon.settle(Duration::from_secs(4));
    let figures = vec![
        ("memory at rest", mib(daemon.status("VmRSS:")), "MiB"),
        ("of that, not of files", mib(daemon.status("RssAnon:")), "MiB"),
        ("memory at the highest", mib(daemon.status("VmHWM:")), "MiB"),
        ("processor time until it rests", millis(daemon.used()), "ms"),
    ];
    daemon.stop();
    figures
}
