//! A program that crashes tells where, and quotes no secret: whatever the words of a panic are, they reach neither the log,
//! nor the journal, nor what is shown.
//!
//! The hook for panics belongs to a whole process, so the test starts itself again and reads what the other process wrote.

use std::fs;
use std::io::stderr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use patrold::demo::Service;
use patrold::telemetry::log::{Choice, Logger};
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::http;
use super::secrets::{contains, forms, lines_with, secrets, shown};
use super::world::{PATIENCE, World, files, token};

/// Names the file into which the other process writes its secrets.
const CRASHES: &str = "PATROLD_TEST_CRASHES";

/// The steps at which it crashes, once each.
const STEPS: [&str; 4] = ["intended", "minted", "store-written", "activated"];

/// Panics at the first line about each of some steps, and quotes every secret that there is.
struct Bug {
    world: Arc<World>,
    met: AtomicUsize,
    told: Arc<Notify>,
}

impl<S: Subscriber> Layer<S> for Bug {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Name(Option<String>);
        impl Visit for Name {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "event" {
                    self.0 = Some(format!("{value:?}").trim_matches('"').to_owned());
                }
            }
        }
        let mut name = Name(None);
        event.record(&mut name);
        let bit = STEPS.iter().position(|step| Some(*step) == name.0.as_deref()).map(|at| 1 << at);
        if bit.is_some_and(|bit| self.met.fetch_or(bit, Ordering::Relaxed) & bit == 0) {
            if self.met.load(Ordering::Relaxed) == (1 << STEPS.len()) - 1 {
                self.told.notify_one();
            }
            panic!("a bug that quotes {:?}", secrets(&self.world));
        }
    }
}

#[test]
fn a_crash_tells_its_place_and_no_secret() {
    if let Some(list) = std::env::var_os(CRASHES) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(crash(&PathBuf::from(list)));
    }
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("secrets");
    let name = "daemon::crash::a_crash_tells_its_place_and_no_secret";
    let mut again = Command::new(std::env::current_exe().unwrap());
    let output = again.args(["--exact", name, "--nocapture"]).env(CRASHES, &list).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let known = fs::read_to_string(&list).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&text)));
    let known: Vec<_> = known.lines().collect();
    assert!(known.len() >= 8, "{} secrets", known.len());
    for secret in known.iter().flat_map(|secret| forms(secret)) {
        assert!(!contains(&text, &secret), "it is quoted: {}", lines_with(&text, &secret));
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.matches("a task panicked").count() >= STEPS.len(), "every crash is told: {text}");
    let told = text.lines().any(|line| line.contains("the program has a bug") && line.contains("crash.rs:"));
    assert!(told, "and its place: {text}");
}

/// In a process of its own: a life that crashes at each of some steps, and goes on.
async fn crash(list: &std::path::Path) {
    let level = Some("trace".to_owned());
    let _logger = Logger::install(Choice { level, ..Choice::default() }).unwrap();
    let world = Arc::new(World::new().await);
    let told = Arc::new(Notify::new());
    let bug = Bug { world: Arc::clone(&world), met: AtomicUsize::new(0), told: Arc::clone(&told) };
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(false);
    let logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines).with(bug));
    let more = "rotate-every = \"30d\"";
    let mut parts: Vec<_> = Service::ALL.iter().map(|service| world.account(*service, "")).collect();
    for (name, service) in [("ci", Service::Awx), ("gps", Service::PointOne), ("backup", Service::Commvault)] {
        parts.push(token(name, service, more));
    }
    let daemon = world.start_with(http::LOOPBACK, &parts).await;
    tokio::time::timeout(PATIENCE, async {
        loop {
            tokio::select! {
                () = told.notified() => return,
                // A token whose run has crashed is tried again in a minute, or when it is woken.
                () = tokio::task::yield_now() => ["ci", "gps", "backup"].iter().for_each(|name| daemon.wake(name)),
            }
        }
    })
    .await
    .expect("it crashed at every step");
    for name in ["ci", "gps", "backup"] {
        daemon.wake(name);
        daemon.current(name, 1).await;
    }
    let shown = shown(&world, &daemon).await;
    daemon.stop().await;
    // One that no line of a log was about: the hook can speak.
    let words = format!("{:?}", secrets(&world));
    let crashed: Result<(), _> = tokio::spawn(async move { panic!("{words}") }).await;
    assert!(crashed.is_err());
    drop(logging);
    let known = secrets(&world);
    fs::write(list, known.join("\n")).unwrap();
    for form in known.iter().flat_map(|secret| forms(secret)) {
        assert!(!shown.iter().any(|(_, text)| contains(text, &form)), "something that is shown quotes a secret");
        for path in files(&world.path("state")) {
            assert!(!contains(&fs::read(&path).unwrap(), &form), "{} quotes a secret", path.display());
        }
    }
}
