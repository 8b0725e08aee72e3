//! A fleet beside what its engine could do: commits of the journal beside those of a bare client, takeovers beside the lease,
//! what a token takes in etcd, and what an idle replica asks of it.
//!
//! The bare client makes the same transaction over the same gateway with the same HTTP library: two conditions, two puts of
//! the same size. Both sides talk to one member on this machine and take turns. `cargo bench --bench fleet -- 40` takes over
//! forty accounts in place of three hundred. Needs etcd.

mod measure;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt as _, stream};
use patrold::clock::{Clock as _, SystemClock};
use patrold::demo::engine::{EngineOptions, LoopbackEngine, installed};
use patrold::demo::{Loopback, Options, Service};
use patrold::inventory::{EngineKind, Environment, FleetSettings, load};
use patrold::journal::fleet::presence::Joined;
use patrold::journal::fleet::{FleetJournal, Member};
use patrold::journal::key::KeySource;
use patrold::journal::{Change, Commit, Fence, Head, Journal as _};
use patrold::rotation::stored::draft;
use patrold::rotation::{Event, TokenState};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};

use measure::{heading, middle};

const ACCOUNTS: usize = 300;
/// That of the replicas.
const LEASE: Duration = Duration::from_secs(5);
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const CONCURRENCIES: [usize; 3] = [1, 8, 32];
/// About the size of a record and of a head.
const RECORD: usize = 260;
const HEAD: usize = 150;
/// How long it is counted what an idle fleet asks.
const IDLE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("nobody else has installed one");
    if !installed().contains(&EngineKind::Etcd) {
        println!("there is no etcd on this machine (etcd-server, etcd-client)");
        return;
    }
    let accounts = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(ACCOUNTS);
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        commits().await;
        Box::pin(replicas(accounts)).await;
    });
}

/// Commits a second.
async fn commits() {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = LoopbackEngine::start(EngineKind::Etcd, EngineOptions::default()).await.expect("etcd starts");
    let config = write_inventory(directory.path(), "bench", &engine.place(), None);
    let settings = settings(&config);
    let key = KeySource::File(directory.path().join("seal.key"));
    FleetJournal::found(&settings, &key, None).await.expect("a fleet is made");
    let journal = FleetJournal::open(&settings, &key).await.expect("it opens");
    let now = SystemClock.now();
    let member = Member { version: String::new(), started: now, rank: 0, inventory: String::new(), keys: Vec::new() };
    assert_eq!(journal.join(&member).await.expect("it joins"), Joined::Yes);
    let fence = journal.claim(&"bench".parse().expect("a name")).await.expect("nobody has it");
    let mut heads = vec![Head::default(); CONCURRENCIES[2]];
    for (number, head) in heads.iter_mut().enumerate() {
        *head = commit(&journal, &fence, number, *head).await;
    }
    let bare = Bare::new(&engine, CONCURRENCIES[2]).await;

    heading("Commits to etcd per second: medians of 5 rounds of 2 s", "fleet");
    println!("{:>12} {:>12} {:>12} {:>8}", "concurrency", "bare client", "patrold", "of bare");
    for concurrency in CONCURRENCIES {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(rate(concurrency, |slot| bare.commit(slot)).await);
            let moved = &tokio::sync::Mutex::new(std::mem::take(&mut heads));
            let (journal, fence) = (&journal, &fence);
            let one = |slot: usize| async move {
                let head = moved.lock().await[slot];
                let head = commit(journal, fence, slot, head).await;
                moved.lock().await[slot] = head;
            };
            ours.push(rate(concurrency, one).await);
            heads = std::mem::take(&mut *moved.lock().await);
            journal.keep_alive(Duration::from_secs(2)).await.expect("the lease lives");
        }
        let (theirs, ours) = (middle(theirs), middle(ours));
        println!("{concurrency:>12} {theirs:>12.0} {ours:>12.0} {:>7.0}%", 100.0 * ours / theirs);
    }
}

/// How often a second `act` is done, by so many at once.
async fn rate<F: Future<Output = ()>>(concurrency: usize, act: impl Fn(usize) -> F) -> f64 {
    let begun = Instant::now();
    let act = &act;
    let one = |slot: usize| async move {
        let mut count = 0_u32;
        while begun.elapsed() < ROUND {
            act(slot).await;
            count += 1;
        }
        count
    };
    let counts: Vec<u32> = stream::iter((0..concurrency).map(one)).buffer_unordered(concurrency).collect().await;
    f64::from(counts.iter().sum::<u32>()) / begun.elapsed().as_secs_f64()
}

/// One record of the token `number`.
async fn commit(journal: &FleetJournal, fence: &Fence, number: usize, follows: Head) -> Head {
    let now = SystemClock.now();
    let first = follows == Head::default();
    let change = Change {
        token: measure::token_name(number).parse().expect("a name"),
        follows,
        at: now,
        records: vec![draft(now, &Event::BackoffEnded {}).expect("it is JSON")],
        state: first.then(|| serde_json::to_string(&TokenState::default()).expect("it is JSON")),
        secrets: Vec::new(),
    };
    journal.commit(Commit { fence: fence.clone(), change }).await.expect("it is written")
}

/// The same transaction without a journal.
struct Bare {
    client: reqwest::Client,
    url: String,
    claim: i64,
    /// Where each slot's head was last written.
    revisions: Vec<tokio::sync::Mutex<i64>>,
}

impl Bare {
    async fn new(engine: &LoopbackEngine, slots: usize) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut bare = Self { client, url: engine.url(), claim: 0, revisions: Vec::new() };
        let put = |key: &str| json!({ "request_put": { "key": text(key), "value": text("x") } });
        bare.claim = bare.transact(&json!({ "success": [put("/bare/claim")] })).await;
        for slot in 0..slots {
            let revision = bare.transact(&json!({ "success": [put(&format!("/bare/head/{slot:04}"))] })).await;
            bare.revisions.push(tokio::sync::Mutex::new(revision));
        }
        bare
    }

    async fn commit(&self, slot: usize) {
        let mut revision = self.revisions[slot].lock().await;
        let head = format!("/bare/head/{slot:04}");
        let (record, state) = (text(&"r".repeat(RECORD)), text(&"h".repeat(HEAD)));
        let body = json!({
            "compare": [
                { "key": text("/bare/claim"), "target": "CREATE", "create_revision": self.claim.to_string() },
                { "key": text(&head), "target": "MOD", "mod_revision": revision.to_string() },
            ],
            "success": [
                { "request_put": { "key": text(&format!("/bare/record/{slot:04}/{revision:016}")), "value": record } },
                { "request_put": { "key": text(&head), "value": state } },
            ],
        });
        *revision = self.transact(&body).await;
    }

    /// Gives the revision.
    async fn transact(&self, body: &serde_json::Value) -> i64 {
        let answer = self.client.post(format!("{}/v3/kv/txn", self.url)).body(body.to_string()).send().await;
        let answer = answer.expect("it answers").text().await.expect("a text");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("in JSON");
        assert_eq!(answer["succeeded"], true, "{answer}");
        answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision")
    }
}

fn text(text: &str) -> String {
    STANDARD.encode(text)
}

/// Takeovers, what tokens take, and what an idle fleet asks.
async fn replicas(accounts: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let engine = LoopbackEngine::start(EngineKind::Etcd, EngineOptions::default()).await.expect("etcd starts");
    let loopback = Loopback::start(SystemClock, Options::default()).await.expect("a port is free");
    let site = Some((&loopback, accounts));
    let watching = write_inventory(root, "watcher", &engine.place(), None);
    let (settings, key) = (settings(&watching), KeySource::File(root.join("seal.key")));
    FleetJournal::found(&settings, &key, None).await.expect("a fleet is made");
    let watcher = FleetJournal::open(&settings, &key).await.expect("it opens");
    let before = in_use(&engine).await;
    let names = ["r1", "r2", "r3"];
    for name in names {
        write_inventory(root, name, &engine.place(), site);
    }
    let mut running: BTreeMap<&str, Child> = names.iter().map(|name| (*name, start(root, name))).collect();
    let begun = Instant::now();
    until(&watcher, |owned, _| owned == accounts).await;
    let all = begun.elapsed();
    while fs::read_dir(root.join("stores")).map_or(0, Iterator::count) < accounts {
        assert!(begun.elapsed() < PATIENCE, "not every token is delivered");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    heading("A fleet of three replicas", "fleet");
    println!("{accounts} accounts, a token each; lease {LEASE:?}");
    println!("all owned {all:.1?} after the start, all delivered after {:.1?}", begun.elapsed());
    // Until all have a share.
    tokio::time::sleep(Duration::from_secs(30)).await;

    compact(&engine).await;
    let at_rest = (in_use(&engine).await - before) / u64::try_from(accounts).unwrap_or(1);
    println!("etcd at rest: {at_rest} bytes a token, {:.1} times the 2.2 kB that it may take", per(at_rest, 2200));

    let counted = requests(&engine).await;
    tokio::time::sleep(IDLE).await;
    println!("asked of etcd by three idle replicas in {IDLE:?}:");
    for (method, count) in requests(&engine).await {
        let count = count - counted.get(&method).copied().unwrap_or_default();
        if count > 0.0 {
            println!("{method:>28} {count:>6.0}");
        }
    }

    for (how, signal, limit) in
        [("kill -9", Signal::KILL, LEASE + Duration::from_secs(2)), ("SIGTERM", Signal::TERM, Duration::from_secs(3))]
    {
        for name in ["r1", "r2"] {
            let Some(mut process) = running.remove(name) else { continue };
            let owned = owned(&watcher, name).await;
            let begun = Instant::now();
            let pid = process.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
            kill_process(pid, signal).expect("it is ours");
            until(&watcher, |all, claims| all == accounts && !claims.contains_key(name)).await;
            let took = begun.elapsed();
            println!(
                "{how}: {owned} accounts of {name} taken over after {took:.1?}, {:.2} times the {limit:?} that it may take",
                took.as_secs_f64() / limit.as_secs_f64()
            );
            process.wait().await.expect("it ends");
            running.insert(name, start(root, name));
            // Until it has its share again.
            until(&watcher, |all, claims| all == accounts && claims.get(name).is_some_and(|count| *count > 0)).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn per(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

fn start(root: &Path, name: &str) -> Child {
    let log = File::options().create(true).append(true).open(root.join(format!("{name}.log"))).expect("a log");
    Command::new(env!("CARGO_BIN_EXE_patrold"))
        .arg("--config")
        .arg(root.join(format!("{name}.toml")))
        .arg("run")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("it starts")
}

/// How many accounts each replica owns.
async fn claims(watcher: &FleetJournal) -> BTreeMap<String, usize> {
    let mut claims = BTreeMap::new();
    if let Ok((presence, _)) = watcher.presence().await {
        for claim in presence.claims.into_values() {
            *claims.entry(claim.replica.to_string()).or_default() += 1;
        }
    }
    claims
}

async fn owned(watcher: &FleetJournal, name: &str) -> usize {
    claims(watcher).await.get(name).copied().unwrap_or_default()
}

async fn until(watcher: &FleetJournal, fine: impl Fn(usize, &BTreeMap<String, usize>) -> bool) {
    let begun = Instant::now();
    loop {
        let claims = claims(watcher).await;
        if fine(claims.values().sum(), &claims) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "not in time: {claims:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn status(engine: &LoopbackEngine) -> serde_json::Value {
    let output = engine.tool("etcdctl").args(["endpoint", "status", "-w", "json"]).output().await.expect("it answers");
    serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("in JSON")[0]["Status"].clone()
}

/// The bytes that its database uses.
async fn in_use(engine: &LoopbackEngine) -> u64 {
    let status = status(engine).await;
    status["dbSizeInUse"].as_u64().or_else(|| status["dbSize"].as_u64()).expect("a size")
}

/// Forgets every revision but the last, and gives the room back.
async fn compact(engine: &LoopbackEngine) {
    let revision = status(engine).await["header"]["revision"].as_i64().expect("a revision").to_string();
    for arguments in [&["compact", "--physical", &revision][..], &["defrag"]] {
        let output = engine.tool("etcdctl").args(arguments).output().await.expect("it answers");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// How often each of its methods was called.
async fn requests(engine: &LoopbackEngine) -> BTreeMap<String, f64> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.get(format!("{}/metrics", engine.url())).send().await.expect("it answers");
    let text = answer.text().await.expect("in text");
    let mut calls = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("grpc_server_started_total")) {
        let method = line.split("grpc_method=\"").nth(1).and_then(|rest| rest.split('"').next());
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
        if let (Some(method), Some(count)) = (method, count) {
            *calls.entry(method.to_owned()).or_default() += count;
        }
    }
    calls
}

fn settings(config: &Path) -> FleetSettings {
    let loaded = load(config, &Environment::of_process(config), SystemClock.now());
    let report = loaded.report.render();
    loaded.inventory.and_then(|inventory| inventory.fleet).unwrap_or_else(|| panic!("{report}"))
}

/// The inventory of a replica; with a provider and so many accounts, where it has any.
fn write_inventory(root: &Path, name: &str, place: &str, site: Option<(&Loopback, usize)>) -> PathBuf {
    fs::create_dir_all(root.join("stores")).expect("the directory is ours");
    fs::write(root.join("seal.key"), "0123456789abcdef0123456789abcdef\n").expect("the directory is ours");
    let here = root.display();
    let mut text = format!(
        "[daemon]\nstate-dir = \"{here}/{name}\"\ncontrol = \"{here}/{name}.sock\"\nlog-level = \"warn\"\n\
         seal-key = {{ file = \"{here}/seal.key\" }}\n\n[fleet]\nname = \"bench\"\nhost = \"{name}\"\nlease = \"{}s\"\n\
         engine = {{ {place} }}\nshared-paths = [\"{here}/stores\"]\n\n[defaults]\ngrace = \"0s\"\njitter = \"0s\"\n\
         drift-every = \"1d\"\n",
        LEASE.as_secs()
    );
    if let Some((loopback, accounts)) = site {
        let operator = loopback.operator().expect("there is one");
        fs::write(root.join("password"), operator.password.expose()).expect("the directory is ours");
        let url = loopback.url(Service::Awx);
        for number in 0..accounts {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n[account.awx-{number}]\nprovider = \"awx\"\nurl = \"{}\"\nparams = {{ user_id = {} }}\n\
                 credential = {{ username = \"{}\", password = {{ file = \"{here}/password\" }} }}\npoll-every = \"1d\"\n\
                 [[token]]\nname = \"token-{number}\"\naccount = \"awx-{number}\"\nrotate-every = \"30d\"\n\
                 stores = [{{ kind = \"file\", path = \"{here}/stores/token-{number}\" }}]\n",
                url.as_str().trim_end_matches('/'),
                operator.id,
                operator.name,
            );
        }
    }
    let path = root.join(format!("{name}.toml"));
    fs::write(&path, text).expect("the directory is ours");
    path
}
