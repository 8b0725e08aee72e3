//! Rotations per second: the whole machine beside the least that any program could do.
//!
//! The machine is the daemon as it ships: scheduler, accounts, SQLite journal with synced commits, file stores. The
//! bare loop makes the same requests in the same order (mint, verify, revoke, and one that proves the old token dead)
//! with the same HTTP library, and replaces the same file as durably (temporary file, sync, rename, sync of the
//! directory); it remembers nothing, so that a crash at any point of it loses a secret or leaves a token behind.
//!
//! Three moments of a rotation must be on disk before what follows them: the intent before the mint, the new secret before
//! anybody learns of it, the end of the handover before the revocation. The noting loop is the bare one with these three as
//! synced commits in SQLite, which one thread makes for all who wait, as the journal does. What it costs beside the bare loop
//! no implementation can save that keeps its promises in SQLite; what lies between it and the daemon is the daemon's own.
//!
//! Provider, bare loop and daemon have a runtime each, in one process; both sides talk to the same provider. The sides
//! take turns, so that whatever else the machine does hits both. Processor time per rotation is that of both ends, the
//! provider's part included. `cargo bench --bench rotations -- 32` measures one concurrency alone.

mod measure;

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use patrold::clock::{Span, SystemClock};
use patrold::daemon::deadlines::Key;
use patrold::daemon::rotate::OperatorRequest;
use patrold::daemon::{self, Running};
use patrold::demo::{Loopback, Options, Service};
use patrold::names::TokenName;
use patrold::rotation::Phase;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use measure::{Site, heading, middle, processor_time, token_name};

const CONCURRENCIES: [usize; 3] = [1, 8, 32];
/// Milliseconds that the provider takes for an answer: none, which nobody's does, and what a fast one on the same network
/// takes.
const DELAYS: [i64; 2] = [0, 10];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("nobody else has installed one");
    let provider = Runtime::new().expect("threads can be started");
    heading("Rotations per second: mint, verify, store, revoke, prove; medians of 5 rounds of 2 s", "rotations");
    println!(
        "{:>13} {:>12} {:>24} {:>24} {:>24} {:>8} {:>10}",
        "answers after",
        "concurrency",
        "bare loop (CPU each)",
        "with three commits",
        "patrold (CPU each)",
        "of bare",
        "of noting"
    );
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let concurrencies = if asked.is_empty() { CONCURRENCIES.to_vec() } else { asked };
    for delay in DELAYS {
        for concurrency in &concurrencies {
            // One that knows nothing of the tokens of the comparison before: a new journal would hold its own back for them.
            let options = Options { answer_delay: Span::milliseconds(delay), ..Options::default() };
            let loopback = provider.block_on(Loopback::start(SystemClock, options)).expect("a port is free");
            let [bare, noting, machine] = compare(&loopback, *concurrency);
            let ratio = |to: Rate| 100.0 * machine.per_second / to.per_second;
            println!(
                "{:>13} {concurrency:>12} {:>24} {:>24} {:>24} {:>7.0}% {:>9.0}%",
                format!("{delay} ms"),
                bare.to_string(),
                noting.to_string(),
                machine.to_string(),
                ratio(bare),
                ratio(noting)
            );
        }
    }
}

/// What one side did in one round.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Rate {
    per_second: f64,
    /// Milliseconds of processor time for each rotation.
    cost: f64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}/s ({:.2} ms)", self.per_second, self.cost)
    }
}

/// The rates of the bare loop, of the one that notes, and of the machine.
fn compare(loopback: &Loopback, concurrency: usize) -> [Rate; 3] {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let runtime = Runtime::new().expect("threads can be started");
    let bare = Bare::new(directory.path(), loopback, None);
    let noting = Bare::new(directory.path(), loopback, Some(Notes::open(directory.path())));
    let machine = Runtime::new().expect("threads can be started");
    let running = machine.block_on(start(directory.path(), loopback, concurrency));
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        rates[0].push(runtime.block_on(rate(concurrency, |number| worker(Arc::clone(&bare), number))));
        rates[1].push(runtime.block_on(rate(concurrency, |number| worker(Arc::clone(&noting), number))));
        rates[2].push(machine.block_on(rate(concurrency, |number| rotate(Arc::clone(&running), number))));
    }
    assert!(machine.block_on(running.stop(Duration::from_secs(10))), "the daemon stops in time");
    rates.map(middle)
}

/// Lets as many workers as `concurrency` says work for one round, and tells how much they did per second.
async fn rate<F: Future<Output = usize> + Send + 'static>(concurrency: usize, worker: impl Fn(usize) -> F) -> Rate {
    let (begun, used) = (Instant::now(), processor_time());
    let workers: Vec<_> = (0..concurrency).map(|number| tokio::spawn(worker(number))).collect();
    let mut done = 0;
    for worker in workers {
        done += worker.await.expect("workers do not panic");
    }
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let done = done as f64;
    let cost = processor_time().saturating_sub(used).as_secs_f64() * 1000.0 / done;
    Rate { per_second: done / begun.elapsed().as_secs_f64(), cost }
}

async fn start(directory: &Path, loopback: &Loopback, tokens: usize) -> Arc<Running<SystemClock>> {
    let site = Site { directory, loopback, accounts: 1, tokens, in_flight: tokens, plain: true };
    let running = daemon::start(&site.write(), SystemClock).await.expect("the daemon starts");
    for (_, token) in running.core.tokens.all() {
        let mut view = token.follow();
        let steady = view.wait_for(|view| matches!(view.state.phase, Phase::Steady { .. }) && view.rest.is_some());
        drop(steady.await.expect("the daemon runs"));
    }
    Arc::new(running)
}

/// Rotates one token over and over, each time until its old generation is proven dead.
async fn rotate(running: Arc<Running<SystemClock>>, number: usize) -> usize {
    let name: TokenName = token_name(number).parse().expect("it is a name");
    let token = running.core.tokens.get(&name).expect("the inventory has it");
    let mut view = token.follow();
    let end = Instant::now() + ROUND;
    let mut done = 0;
    while Instant::now() < end {
        let before = generation(&view.borrow_and_update().state.phase);
        assert_eq!(running.core.begin(&token, OperatorRequest::Rotate).await, Ok(()));
        running.waker.wake(vec![Key::Token(name.clone())]);
        let over = view.wait_for(|view| {
            let phase = &view.state.phase;
            matches!(phase, Phase::Steady { .. }) && view.rest.is_some() && generation(phase) != before
        });
        drop(over.await.expect("the daemon runs"));
        done += 1;
    }
    done
}

fn generation(phase: &Phase) -> Option<u32> {
    phase.current().map(|current| current.generation.number.0)
}

/// What the bare loop needs.
struct Bare {
    client: reqwest::Client,
    directory: PathBuf,
    base: String,
    user: String,
    password: String,
    id: u64,
    notes: Option<Notes>,
}

/// What a loop notes before it goes on, in a database of its own.
struct Notes(mpsc::Sender<(String, oneshot::Sender<()>)>);

impl Notes {
    fn open(directory: &Path) -> Self {
        let connection = rusqlite::Connection::open(directory.join("notes.db")).expect("the directory is ours");
        let prepare = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE notes (note TEXT);";
        connection.execute_batch(prepare).expect("the database is ours");
        let (sender, waiting) = mpsc::channel::<(String, oneshot::Sender<()>)>();
        std::thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                let all: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
                connection.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
                for (note, _) in &all {
                    let insert = connection.prepare_cached("INSERT INTO notes VALUES (?1)");
                    insert.and_then(|mut insert| insert.execute([note])).expect("the table is there");
                }
                connection.execute_batch("COMMIT").expect("there is room");
                for (_, done) in all {
                    done.send(()).expect("it waits");
                }
            }
        });
        Self(sender)
    }
}

/// A token as the provider answered it.
struct Minted {
    id: u64,
    secret: String,
}

impl Bare {
    fn new(directory: &Path, loopback: &Loopback, notes: Option<Notes>) -> Arc<Self> {
        let user = loopback.operator().expect("the default options have users");
        let directory = directory.join(if notes.is_some() { "noting" } else { "bare" });
        fs::create_dir(&directory).expect("the directory is ours");
        Arc::new(Self {
            client: reqwest::Client::builder().no_proxy().http1_only().build().expect("plain settings"),
            directory,
            base: loopback.url(Service::Awx).as_str().trim_end_matches('/').to_owned(),
            user: user.name.clone(),
            password: user.password.expose().to_owned(),
            id: user.id,
            notes,
        })
    }

    /// Goes on once `note` is on disk, where this loop notes anything.
    async fn note(&self, note: impl FnOnce() -> String) {
        let Some(Notes(notes)) = &self.notes else { return };
        let (done, noted) = oneshot::channel();
        notes.send((note(), done)).expect("the thread runs");
        noted.await.expect("the thread runs");
    }

    async fn mint(&self) -> Minted {
        let url = format!("{}/api/v2/users/{}/personal_tokens/", self.base, self.id);
        let request = self.client.post(url).basic_auth(&self.user, Some(&self.password));
        let request = request.header("content-type", "application/json");
        let answer = request.body(r#"{"description":"bare","scope":"write"}"#).send().await.expect("an answer");
        let body = answer.bytes().await.expect("a body");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let secret = body["token"].as_str().expect("the secret").to_owned();
        Minted { id: body["id"].as_u64().expect("the id"), secret }
    }

    /// Whether the provider accepts `secret`.
    async fn verify(&self, secret: &str) -> bool {
        let request = self.client.get(format!("{}/api/v2/me/", self.base)).bearer_auth(secret);
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        answer.bytes().await.expect("a body");
        status.is_success()
    }

    async fn revoke(&self, id: u64) {
        let request = self.client.delete(format!("{}/api/v2/tokens/{id}/", self.base));
        let answer = request.basic_auth(&self.user, Some(&self.password)).send().await.expect("an answer");
        assert_eq!(answer.status(), 204);
    }
}

async fn worker(bare: Arc<Bare>, number: usize) -> usize {
    let mut old = bare.mint().await;
    let end = Instant::now() + ROUND;
    let mut done = 0;
    while Instant::now() < end {
        bare.note(|| format!("{number} is about to be minted, to replace {}", old.id)).await;
        let new = bare.mint().await;
        bare.note(|| format!("{number} is now {}: {}", new.id, new.secret)).await;
        assert!(bare.verify(&new.secret).await);
        let (directory, secret) = (bare.directory.clone(), new.secret.clone());
        let stored = tokio::task::spawn_blocking(move || store(&directory, number, &secret)).await;
        stored.expect("it does not panic").expect("the directory is ours");
        bare.note(|| format!("{number} has replaced {}", old.id)).await;
        bare.revoke(old.id).await;
        assert!(!bare.verify(&old.secret).await);
        old = new;
        done += 1;
    }
    done
}

fn store(directory: &Path, number: usize, secret: &str) -> std::io::Result<()> {
    let temporary = directory.join(format!("{number}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(token_name(number)))?;
    File::open(directory)?.sync_all()
}
