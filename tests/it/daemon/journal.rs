//! Restarts, second daemons, lost keys and disks that fail.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use patrold::clock::Span;
use patrold::daemon::StartError;
use patrold::daemon::registry::View;
use patrold::demo::{Fault, RequestRecord, Service};
use patrold::outcome::FailureCode;
use patrold::provider::Operation::{List, Mint, Revoke, Verify};
use patrold::rotation::Phase;
use patrold::rotation::reason::Reason;

use tokio::sync::Notify;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::night::Seen;
use super::world::{PATIENCE, World, token};

#[tokio::test]
async fn a_restart_asks_the_provider_for_nothing_that_was_done() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.stop().await;
    let from = world.count();
    let daemon = world.resume().await;
    daemon.steady("ci", 1).await;
    assert!(world.changes(Service::Awx, from).is_empty());
}

#[tokio::test]
async fn a_stop_waits_for_the_mint_under_way_and_the_next_start_goes_on() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    world.loopback.faults().next(Service::Awx, Mint, Fault::Slow { by: Span::milliseconds(700) });
    let daemon = world.start(&parts).await;
    daemon.until("ci", "the mint is under way", |view| matches!(view.state.phase, Phase::Intended { .. })).await;
    daemon.stop().await;
    assert_eq!(world.changes(Service::Awx, 0), [Mint], "nothing new is begun");
    let daemon = world.resume().await;
    daemon.steady("ci", 1).await;
    assert_eq!(world.changes(Service::Awx, 0), [Mint, Verify]);
}

#[tokio::test]
async fn a_second_daemon_refuses_to_start_and_names_the_first() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    let error = world.try_start().await.err().unwrap();
    assert!(matches!(error, StartError::Journal(_)), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&std::process::id().to_string()), "{message}");
    assert!(message.contains(&world.path("state").display().to_string()), "{message}");
    daemon.steady("ci", 1).await;
}

#[tokio::test]
async fn with_a_lost_sealing_key_every_token_is_rotated_once_and_nothing_is_orphaned() {
    let world = World::new().await;
    let parts = [
        world.account(Service::Awx, ""),
        token("ci", Service::Awx, "rotate-every = \"30d\""),
        token("cd", Service::Awx, "rotate-every = \"30d\""),
    ];
    let daemon = world.start(&parts).await;
    for name in ["ci", "cd"] {
        daemon.steady(name, 1).await;
    }
    daemon.stop().await;
    let key = fs::read_dir(world.path("state")).unwrap().map(|entry| entry.unwrap().path());
    let key = key.into_iter().find(|path| path.to_string_lossy().contains("key")).unwrap();
    fs::remove_file(&key).unwrap();
    let given_up = super::operator::run(&world, &["journal", "rekey", "--key-lost"], "").await;
    assert!(given_up.status.success());
    let daemon = world.resume().await;
    for name in ["ci", "cd"] {
        daemon.steady(name, 2).await;
        assert!(world.is_live(&world.stored(name)));
    }
    assert_eq!(world.live(Service::Awx).len(), 2);
    assert_eq!(world.minted(Service::Awx), 4);
    daemon.stop().await;
    let daemon = world.resume().await;
    daemon.steady("ci", 2).await;
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_made_is_a_clear_error() {
    let world = World::new().await;
    // Root may write everywhere, but nobody makes a directory below a file.
    fs::write(world.path("state"), "").unwrap();
    world.write(&[world.account(Service::Awx, "")]);
    let error = world.try_start().await.err().unwrap();
    assert!(error.to_string().contains(&world.path("state").display().to_string()), "{error}");
}

#[tokio::test]
async fn a_journal_of_which_a_part_is_gone_is_a_clear_error() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.stop().await;
    let journal = journal_of(&world);
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..bytes.len() / 2]).unwrap();
    let error = world.try_start().await.err().unwrap();
    assert!(error.to_string().contains(&journal.display().to_string()), "{error}");
}

#[tokio::test]
async fn every_command_says_why_a_token_is_set_aside_and_what_helps() {
    let world = World::new().await;
    let parts = ["ci", "cd"].map(|name| token(name, Service::Awx, "rotate-every = \"30d\""));
    let parts = [&[world.account(Service::Awx, "")], &parts[..]].concat();
    let daemon = world.start(&parts).await;
    for name in ["ci", "cd"] {
        daemon.steady(name, 1).await;
    }
    daemon.stop().await;
    // As a newer release would write it that this one was put in the place of.
    let journal = rusqlite::Connection::open(journal_of(&world)).unwrap();
    let newer = "UPDATE states SET state = json_set(state, '$.phase.\"unheard-of\"', 1) WHERE token = 'ci'";
    assert_eq!(journal.execute(newer, []).unwrap(), 1);
    drop(journal);
    let daemon = world.resume().await;
    let (from, held) = (world.count(), world.stored("ci"));
    for (arguments, well) in [
        (&["explain", "ci"][..], false),
        (&["rotate", "ci"], false),
        (&["rollback", "ci"], false),
        (&["cancel", "ci"], false),
        (&["status"], true),
        (&["plan"], true),
    ] {
        let output = super::operator::run(&world, arguments, "").await;
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        for word in ["token ci is set aside", "unheard-of", "`patrold history ci`"] {
            assert!(text.contains(word), "{arguments:?}: {word}: {text}");
        }
        assert!(well || !output.status.success(), "{arguments:?}: {text}");
    }
    daemon.rotate("cd").await;
    assert_eq!((world.stored("ci"), world.is_live(&held)), (held.clone(), true));
    assert!(!world.changes(Service::Awx, from).is_empty(), "others are rotated");
}

/// Panics at the first line about `event`, as a bug there would.
#[derive(Clone)]
struct Bug {
    event: &'static str,
    met: Arc<AtomicBool>,
    told: Arc<Notify>,
}

impl<S: Subscriber> Layer<S> for Bug {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Name<'a>(&'a str, bool);
        impl Visit for Name<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.1 |= field.name() == "event" && format!("{value:?}").trim_matches('"') == self.0;
            }
        }
        let mut name = Name(self.event, false);
        event.record(&mut name);
        if name.1 && !self.met.swap(true, Ordering::Relaxed) {
            self.told.notify_one();
            panic!("a bug that a test put there");
        }
    }
}

#[tokio::test]
async fn a_run_that_panics_is_taken_up_from_the_journal_and_mints_no_second_token() {
    // While there is one subscriber only, a line that another test's thread says first counts as one that nobody hears.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    for event in ["intended", "minted", "verified", "store-written", "activated", "revoked"] {
        let world = World::new().await;
        let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
        let daemon = world.start(&parts).await;
        daemon.steady("ci", 1).await;
        let bug = Bug { event, met: Arc::default(), told: Arc::default() };
        let logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(bug.clone()));
        daemon.request("ci").await;
        assert!(tokio::time::timeout(PATIENCE, bug.told.notified()).await.is_ok(), "{event}");
        daemon.wake("ci");
        // A mint that was intended and not sent has an unknown outcome: its number is given up.
        let replaced = |view: &View| match &view.state.phase {
            Phase::Steady { current } => current.generation.number.0 >= 2 && current.delivery.settled.is_some(),
            _ => false,
        };
        daemon.until("ci", "another generation is current, the rest is over", replaced).await;
        drop(logging);
        assert_eq!(world.live(Service::Awx).len(), 1, "{event}");
        assert!(world.is_live(&world.stored("ci")), "{event}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn while_the_journal_cannot_be_written_nothing_is_minted_and_afterwards_it_goes_on() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let (old, from) = (world.stored("ci"), world.count());
    let fault = Refusing::begin(&world);
    daemon.request("ci").await;
    let view = daemon.until("ci", "the journal is stuck", |view| view.stuck.is_some()).await;
    assert_eq!(view.rest.unwrap().reason, Reason::JournalUnwritable);
    assert_eq!(view.stuck.unwrap().code, FailureCode::Journal);
    assert!(world.changes(Service::Awx, from).is_empty());
    assert!(world.is_live(&old) && world.stored("ci") == old);
    drop(fault);
    daemon.steady("ci", 2).await;
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Revoke, Verify]);
}

#[tokio::test]
async fn a_minted_secret_that_could_not_be_noted_is_kept_and_no_second_mint_is_made() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    world.loopback.faults().next(Service::Awx, Mint, Fault::Slow { by: Span::milliseconds(800) });
    let daemon = world.start(&parts).await;
    daemon.until("ci", "the mint is under way", |view| matches!(view.state.phase, Phase::Intended { .. })).await;
    let fault = Refusing::begin(&world);
    daemon.until("ci", "the journal is stuck", |view| view.stuck.is_some()).await;
    assert_eq!(world.changes(Service::Awx, 0), [Mint], "nobody else learns of the secret");
    drop(fault);
    daemon.steady("ci", 1).await;
    assert_eq!(world.changes(Service::Awx, 0), [Mint, Verify]);
}

#[tokio::test]
async fn a_state_directory_that_is_renamed_under_the_daemon_stops_everything_until_it_is_back() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    let (old, from) = (world.stored("ci"), world.count());
    fs::rename(world.path("state"), world.path("elsewhere")).unwrap();
    daemon.request("ci").await;
    let view = daemon.until("ci", "the journal is stuck", |view| view.stuck.is_some()).await;
    assert_eq!(view.rest.unwrap().reason, Reason::JournalUnwritable);
    assert!(view.stuck.unwrap().detail.contains("was removed or renamed"));
    assert!(world.changes(Service::Awx, from).is_empty());
    assert!(world.is_live(&old) && world.stored("ci") == old);
    fs::rename(world.path("elsewhere"), world.path("state")).unwrap();
    daemon.steady("ci", 2).await;
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Revoke, Verify]);
}

#[tokio::test]
async fn a_new_journal_beside_stores_that_hold_something_mints_nothing_before_an_operator_asks() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.stop().await;
    let (old, from) = (world.stored("ci"), world.count());
    fs::remove_dir_all(world.path("state")).unwrap();
    for start in ["the first", "the second"] {
        let daemon = world.resume().await;
        let view = daemon.until("ci", "it is held back", |view| view.rest.is_some()).await;
        assert_eq!(view.rest.unwrap().reason, Reason::HeldBack, "{start}");
        assert!(world.changes(Service::Awx, from).is_empty(), "{start}");
        assert!(world.is_live(&old) && world.stored("ci") == old, "{start}");
        daemon.stop().await;
    }
    let daemon = world.resume().await;
    daemon.request("ci").await;
    daemon.steady("ci", 1).await;
    assert_ne!(world.stored("ci"), old);
}

#[tokio::test]
async fn a_new_journal_mints_no_second_token_where_another_installation_has_one() {
    let world = World::new().await;
    let parts = [world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")];
    let daemon = world.start(&parts).await;
    daemon.steady("ci", 1).await;
    daemon.stop().await;
    let (old, from) = (world.stored("ci"), world.count());
    fs::remove_dir_all(world.path("state")).unwrap();
    // The stores of another machine.
    fs::remove_file(world.path("stores/ci")).unwrap();
    let daemon = world.resume().await;
    let view = daemon.until("ci", "it is held back", |view| view.rest.is_some()).await;
    assert_eq!(view.rest.unwrap().reason, Reason::HeldBack);
    assert!(world.changes(Service::Awx, from).is_empty() && world.is_live(&old));
    let told = daemon.running.status().tokens[0].cause().expect("status says why");
    assert!(told.what.contains("the journal is new"), "{told:?}");
    daemon.stop().await;
    fs::remove_dir_all(world.path("state")).unwrap();
    let daemon = world.start_with("new-journal = \"mint\"", &parts).await;
    daemon.steady("ci", 1).await;
    assert!(world.is_live(&old) && world.is_live(&world.stored("ci")) && world.stored("ci") != old);
}

#[tokio::test]
async fn a_new_journal_asks_its_provider_before_the_first_mint() {
    let world = World::new().await;
    for _ in 0..2 {
        world.loopback.faults().next(Service::Awx, List, Fault::ServerError(503));
    }
    let daemon =
        world.start(&[world.account(Service::Awx, ""), token("ci", Service::Awx, "rotate-every = \"30d\"")]).await;
    daemon.steady("ci", 1).await;
    let minted = |it: &RequestRecord| it.operation == Some(Mint);
    let listed = |it: &RequestRecord| it.operation == Some(List) && it.status == Some(200);
    let requests = world.requests(Service::Awx, 0);
    let (listed, minted) = (requests.iter().position(listed), requests.iter().position(minted));
    assert!(listed.is_some() && listed < minted, "{requests:#?}");
}

#[tokio::test]
async fn a_state_of_a_newer_version_is_set_aside_and_the_others_run() {
    let world = World::new().await;
    let parts = [
        world.account(Service::Awx, ""),
        token("ci", Service::Awx, "rotate-every = \"30d\""),
        token("cd", Service::Awx, "rotate-every = \"30d\""),
    ];
    let daemon = world.start(&parts).await;
    for name in ["ci", "cd"] {
        daemon.steady(name, 1).await;
    }
    daemon.stop().await;
    let journal = rusqlite::Connection::open(journal_of(&world)).unwrap();
    let newer = "UPDATE states SET state = json_set(state, '$.version', 9) WHERE token = 'cd'";
    assert_eq!(journal.execute(newer, ()).unwrap(), 1);
    drop(journal);
    let from = world.count();
    let daemon = world.resume().await;
    daemon.request("ci").await;
    daemon.steady("ci", 2).await;
    assert_eq!(world.changes(Service::Awx, from), [Mint, Verify, Revoke, Verify], "nothing is done for the other");
    assert!(world.is_live(&world.stored("cd")));
    let seen = Seen::look(&daemon, "ci");
    for text in [&seen.overview, &seen.ready] {
        assert!(text.contains("token cd is set aside") && text.contains("run that version again"), "{text}");
    }
    assert!(seen.ready.starts_with("not ready\n"), "{}", seen.ready);
}

/// The database refuses every record, as long as this lives.
struct Refusing(rusqlite::Connection);

impl Refusing {
    fn begin(world: &World) -> Self {
        let other = rusqlite::Connection::open(journal_of(world)).unwrap();
        let trigger = "CREATE TRIGGER refusing BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'no'); END";
        other.execute_batch(trigger).unwrap();
        Self(other)
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.0.execute_batch("DROP TRIGGER refusing").unwrap();
    }
}

fn journal_of(world: &World) -> PathBuf {
    let files = fs::read_dir(world.path("state")).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|it| it == "db" || it == "sqlite")).unwrap()
}
