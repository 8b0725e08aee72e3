use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use chrono::DateTime;
use rusqlite::params;
use tempfile::TempDir;

use super::lease::LockError;
use super::writer::{Failed, Sealed, Written};
use super::*;
use crate::journal::key;
use crate::journal::record::{Chain, Record};
use crate::journal::{Draft, SecretChange};
use crate::secret::Secret;

const NOW: Time = DateTime::UNIX_EPOCH;

fn open(dir: &Path) -> (SqliteJournal, Opened) {
    SqliteJournal::open(dir, &KeySource::StateDirectory, NOW).unwrap()
}

fn refused(dir: &Path) -> String {
    SqliteJournal::open(dir, &KeySource::StateDirectory, NOW).unwrap_err().to_string()
}

fn token(n: usize) -> TokenName {
    format!("token-{n}").parse().unwrap()
}

fn slot(n: usize, generation: u32) -> SecretSlot {
    SecretSlot { token: token(n), generation: GenerationNo(generation), revision: 0 }
}

fn keep(n: usize, generation: u32, secret: &str) -> SecretChange {
    SecretChange::Keep { slot: slot(n, generation), parts: SecretParts::new(Secret::new(secret)) }
}

/// The first change of a token.
fn change(n: usize, kind: &'static str, secrets: Vec<SecretChange>) -> Change {
    let records = vec![Draft { kind, body: format!("{{\"kind\":\"{kind}\"}}") }];
    Change { token: token(n), follows: Head::default(), at: NOW, records, state: Some(format!("\"{kind}\"")), secrets }
}

/// The same in the middle of a rotation, without a state.
fn step(n: usize, kind: &'static str) -> Change {
    Change { state: None, ..change(n, kind, vec![]) }
}

/// Commits `change` after whatever the journal knows.
async fn put(journal: &SqliteJournal, change: Change) -> Result<Head, CommitError> {
    let follows = journal.stored(&change.token).await.unwrap().unwrap_or_default().head;
    let fence = journal.claim(&"a".parse().unwrap()).await.unwrap();
    journal.commit(Commit { fence, change: Change { follows, ..change } }).await
}

/// The same, and it was refused for certain.
async fn refusal(journal: &SqliteJournal, change: Change) -> Failure {
    match put(journal, change).await {
        Err(CommitError::Refused(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// States without what the next commit follows.
fn headless(mut states: Vec<(TokenName, Stored)>) -> Vec<(TokenName, Stored)> {
    for (_, stored) in &mut states {
        stored.head = Head::default();
    }
    states
}

/// What is known of a token after `kind`, and the records of `since`.
fn stored(n: usize, kind: &str, since: &[&str]) -> (TokenName, Stored) {
    let newest = if since.is_empty() { 0 } else { crate::journal::record::VERSION };
    let since = since.iter().map(|kind| format!("{{\"kind\":\"{kind}\"}}")).collect();
    (token(n), Stored { state: format!("\"{kind}\""), since, newest, head: Head::default() })
}

async fn secret(journal: &SqliteJournal, slot: &SecretSlot) -> Option<String> {
    journal.secret(slot).await.unwrap().map(|parts| parts.token().expose().to_owned())
}

/// What a power cut at this moment leaves: the files without the index of the log, which lives in memory.
fn power_cut(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in [DATABASE, "journal.db-wal", key::FILE] {
        if dir.join(name).exists() {
            fs::copy(dir.join(name), copy.path().join(name)).unwrap();
        }
    }
    copy
}

fn tamper(journal: &SqliteJournal, sql: &'static str) {
    journal.send(Job::Tamper(Box::new(move |connection| {
        connection.execute_batch(sql).unwrap();
    })));
}

#[tokio::test]
async fn every_commit_survives_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, first) = open(dir.path());
    assert!(first.states.is_empty() && first.notes.is_empty(), "{first:?}");
    let steps = ["intended", "minted", "verified", "delivered", "active", "retired"];
    for (done, kind) in (1..).zip(steps) {
        let secrets = match kind {
            "minted" => vec![keep(0, 1, "hunter2")],
            "retired" => vec![SecretChange::Erase { slot: slot(0, 1) }],
            _ => vec![],
        };
        put(&journal, change(0, kind, secrets)).await.unwrap();

        let copy = power_cut(dir.path());
        let (restarted, opened) = open(copy.path());
        assert_eq!(headless(opened.states), [stored(0, kind, &[])]);
        assert_eq!(opened.instance, first.instance);
        let expected = (2..6).contains(&done).then(|| "hunter2".to_owned());
        assert_eq!(secret(&restarted, &slot(0, 1)).await, expected, "after {kind}");
        assert_eq!(ReadOnly::open(copy.path()).unwrap().verify_chain().unwrap(), done);
        put(&restarted, change(1, "intended", vec![])).await.unwrap();
    }
    drop(journal);
    let read = ReadOnly::open(dir.path()).unwrap();
    let kinds: Vec<_> = read.history(&token(0)).unwrap().into_iter().map(|record| record.kind).collect();
    assert_eq!(kinds, steps);
    assert_eq!(read.states().unwrap(), open(dir.path()).1.states);
    assert_eq!(read.instance(), first.instance);
}

#[tokio::test]
async fn what_was_committed_without_a_state_is_there_to_be_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    put(&journal, change(0, "steady", vec![])).await.unwrap();
    put(&journal, change(1, "steady", vec![])).await.unwrap();
    put(&journal, step(0, "intended")).await.unwrap();
    put(&journal, step(0, "minted")).await.unwrap();
    let known = || headless(ReadOnly::open(dir.path()).unwrap().states().unwrap());
    assert_eq!(known(), [stored(0, "steady", &["intended", "minted"]), stored(1, "steady", &[])]);

    // However old: without them the state would be lost.
    let pruned = journal.prune(NOW + crate::clock::Span::days(1)).await.unwrap();
    assert_eq!((pruned.removed, pruned.first), (2, Some(3)));
    assert_eq!(known(), [stored(0, "steady", &["intended", "minted"]), stored(1, "steady", &[])]);
    put(&journal, change(0, "retired", vec![])).await.unwrap();
    assert_eq!(known(), [stored(0, "retired", &[]), stored(1, "steady", &[])]);
    drop(journal);
    let (journal, opened) = open(dir.path());
    assert_eq!(headless(opened.states), known());
    assert_eq!(journal.prune(NOW + crate::clock::Span::days(1)).await.unwrap().first, Some(5));
}

#[tokio::test]
async fn commits_that_wait_together_share_a_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let journal = Arc::new(journal);
    // The writer is kept busy until all of them are waiting.
    let (go, wait) = mpsc::channel::<()>();
    journal.send(Job::Tamper(Box::new(move |_| wait.recv().unwrap())));
    let commits: Vec<_> = (0..100)
        .map(|n| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move { put(&journal, change(n, "intended", vec![])).await })
        })
        .collect();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    // Each of them alone would write three pages at least.
    let pages = dir.path().join("journal.db-wal").metadata().unwrap().len() / 4096;
    assert!(pages < 100, "{pages} pages for 100 commits");
    drop(journal);
    assert_eq!(ReadOnly::open(dir.path()).unwrap().verify_chain().unwrap(), 100);
}

#[tokio::test]
async fn one_commit_that_cannot_be_written_does_not_take_the_others_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    tamper(
        &journal,
        "CREATE TEMP TRIGGER t BEFORE INSERT ON main.records WHEN new.kind = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    let (go, wait) = mpsc::channel::<()>();
    journal.send(Job::Tamper(Box::new(move |_| wait.recv().unwrap())));
    let (one, bad, other, ()) = tokio::join!(
        put(&journal, change(1, "intended", vec![])),
        put(&journal, change(2, "bad", vec![keep(2, 1, "hunter2")])),
        put(&journal, change(3, "intended", vec![])),
        async { go.send(()).unwrap() },
    );
    assert!(one.is_ok() && other.is_ok());
    assert!(matches!(bad, Err(CommitError::Refused(failure)) if failure.code == FailureCode::Journal));
    assert_eq!(secret(&journal, &slot(2, 1)).await, None, "nothing of a failed commit is written");
    drop(journal);
    let read = ReadOnly::open(dir.path()).unwrap();
    assert_eq!(read.verify_chain().unwrap(), 2);
    assert_eq!(read.states().unwrap().len(), 2);
}

#[tokio::test]
async fn a_full_or_read_only_disk_fails_commits_until_it_is_mended() {
    for (fault, remedy, text) in [
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", "no space is left"),
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "cannot be written"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open(dir.path());
        put(&journal, change(0, "intended", vec![])).await.unwrap();
        tamper(&journal, fault);
        let failure = refusal(&journal, change(0, "minted", vec![keep(0, 1, &"x".repeat(10_000))])).await;
        assert_eq!(failure.code, FailureCode::Journal);
        assert!(failure.detail.contains(text) && failure.detail.contains(DATABASE), "{failure}");
        assert_eq!(secret(&journal, &slot(0, 1)).await, None);
        tamper(&journal, remedy);
        put(&journal, change(0, "minted", vec![keep(0, 1, "hunter2")])).await.unwrap();
        assert_eq!(secret(&journal, &slot(0, 1)).await.as_deref(), Some("hunter2"));
        drop(journal);
        assert_eq!(ReadOnly::open(dir.path()).unwrap().verify_chain().unwrap(), 2);
    }
}

#[tokio::test]
async fn an_older_copy_and_another_journal_are_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(DATABASE);
    let (journal, opened) = open(dir.path());
    put(&journal, change(0, "steady", vec![])).await.unwrap();
    drop(journal);
    let older = fs::read(&path).unwrap();
    let (journal, reopened) = open(dir.path());
    put(&journal, change(0, "intended", vec![])).await.unwrap();
    drop(journal);
    assert!(opened.notes.is_empty() && reopened.notes.is_empty(), "{:?} {:?}", opened.notes, reopened.notes);
    let notes = || open(dir.path()).1.notes;
    assert!(notes().is_empty(), "the journal goes on");
    fs::write(&path, older).unwrap();
    let told = notes();
    assert!(matches!(&told[..], [note] if note.contains("older copy: it ends with record 1")), "{told:?}");
    assert!(notes().is_empty(), "it is the journal now");
    let other = tempfile::tempdir().unwrap();
    drop(open(other.path()));
    fs::copy(other.path().join(DATABASE), &path).unwrap();
    let told = notes();
    assert!(matches!(&told[..], [note] if note.contains("not the journal that was there before")), "{told:?}");
}

#[tokio::test]
async fn a_lock_of_another_process_is_waited_for_and_then_told() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    tamper(&journal, "PRAGMA busy_timeout = 10");
    let mut other = Connection::open(dir.path().join(DATABASE)).unwrap();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let failure = refusal(&journal, change(0, "intended", vec![])).await;
    assert!(failure.detail.contains("locked by another process"), "{failure}");
    drop(lock);
    put(&journal, change(0, "intended", vec![])).await.unwrap();
}

#[tokio::test]
async fn what_is_done_rarely_looks_at_the_place_of_the_journal_too() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    put(&journal, change(0, "steady", vec![])).await.unwrap();
    put(&journal, change(1, "steady", vec![])).await.unwrap();
    fs::rename(dir.path().join(DATABASE), dir.path().join("elsewhere")).unwrap();
    let before = NOW + crate::clock::Span::days(1);
    let failures = [journal.prune(before).await.map(drop), journal.revise(vec![change(2, "steady", vec![])]).await];
    for failure in failures {
        assert!(failure.unwrap_err().detail.contains("was removed or renamed"));
    }
    fs::rename(dir.path().join("elsewhere"), dir.path().join(DATABASE)).unwrap();
    assert_eq!(journal.prune(before).await.unwrap().removed, 1);
}

#[test]
fn an_error_from_commit_is_checked_against_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, opened) = open(dir.path());
    drop(journal);
    let path = dir.path().join(DATABASE);
    let place = super::place::Place::of(dir.path(), &path).unwrap();
    let mut writer = Writer::new(Connection::open(&path).unwrap(), path, place, opened.instance);
    let draft = Draft { kind: "intended", body: "{}".into() };
    let before = Chain::new(opened.instance);
    let mut after = before.clone();
    after.append(NOW, &token(0), &draft);
    let mut later = after.clone();
    later.append(NOW, &token(0), &draft);
    let (epoch, follows) = (1, Head::default());
    let (records, state, secrets) = (vec![draft], Some("{}".into()), vec![]);
    let sealed = Sealed { epoch, token: token(0), follows, at: NOW, records, state, secrets };
    assert_eq!(writer.commit(&[sealed]), [Ok(Head(1))]);
    let settle = |writer: &Writer, before, after| {
        writer.settle(Written::InDoubt(vec![Ok(Head(1))], rusqlite::Error::InvalidQuery), before, after)
    };
    assert!(settle(&writer, &before, &after).is_ok(), "it was committed after all");
    let not = settle(&writer, &after, &later);
    assert!(matches!(not, Err(Failed::Undone(_))), "it was not: {not:?}");
    let bare = settle(&writer, &after, &after);
    assert!(matches!(bare, Err(Failed::Undone(_))), "without records the chain does not tell, and again does no harm");
    Connection::open(dir.path().join(DATABASE)).unwrap().execute_batch("DROP TABLE records").unwrap();
    let unknown = settle(&writer, &before, &after);
    assert!(matches!(unknown, Err(Failed::Unknown(_))), "the database does not tell: {unknown:?}");
}

#[tokio::test]
async fn a_commit_that_follows_another_head_is_told_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let fence = journal.claim(&"a".parse().unwrap()).await.unwrap();
    let send = |follows, it: Change| journal.commit(Commit { fence: fence.clone(), change: Change { follows, ..it } });
    let first = send(Head::default(), change(0, "steady", vec![])).await.unwrap();
    let other = send(Head::default(), change(1, "steady", vec![])).await.unwrap();
    assert_ne!(first, other, "each token has its own");
    let second = send(first, step(0, "intended")).await.unwrap();
    for follows in [Head::default(), first, other] {
        let Err(CommitError::Overtaken(stored)) = send(follows, change(0, "minted", vec![keep(0, 1, "x")])).await
        else {
            panic!("{follows:?}");
        };
        assert_eq!((stored.head, &stored.since[..]), (second, &["{\"kind\":\"intended\"}".to_owned()][..]));
    }
    assert_eq!(secret(&journal, &slot(0, 1)).await, None, "nothing of it is written");
    // Records that are removed take nothing away from where a journal ends, nor does a start.
    send(second, change(0, "retired", vec![])).await.unwrap();
    send(other, change(1, "retired", vec![])).await.unwrap();
    journal.prune(NOW + crate::clock::Span::days(1)).await.unwrap();
    let head = journal.stored(&token(0)).await.unwrap().unwrap().head;
    let settled = journal.settle(&token(0), head).await.unwrap();
    assert_eq!(settled, Settled::Unwritten);
    assert!(matches!(journal.settle(&token(0), second).await.unwrap(), Settled::Moved(stored) if stored.head == head));
    drop(journal);
    let (journal, opened) = open(dir.path());
    assert_eq!(opened.states[0].1.head, head);
    put(&journal, step(0, "intended")).await.unwrap();
    assert_eq!(ReadOnly::open(dir.path()).unwrap().states().unwrap()[0].1.head, Head(6));
}

#[tokio::test]
async fn a_lease_that_began_later_refuses_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    put(&journal, change(0, "steady", vec![])).await.unwrap();
    // As a daemon does that found no lock: some file systems keep none.
    let second = power_cut(dir.path());
    let lock = Lock::acquire(second.path(), NOW).unwrap();
    lock.begin(&Connection::open(dir.path().join(DATABASE)).unwrap()).unwrap();
    assert_eq!(put(&journal, change(0, "intended", vec![keep(0, 1, "x")])).await, Err(CommitError::Fenced));
    assert!(journal.revise(vec![change(1, "intended", vec![])]).await.is_err());
    assert_eq!(secret(&journal, &slot(0, 1)).await, None, "nothing of it is written");
    drop(journal);
    let (journal, opened) = open(dir.path());
    assert_eq!(headless(opened.states), [stored(0, "steady", &[])]);
    put(&journal, change(0, "intended", vec![])).await.unwrap();
}

#[tokio::test]
async fn all_changes_are_made_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    put(&journal, change(0, "steady", vec![])).await.unwrap();
    let changes = || vec![change(1, "steady", vec![]), change(0, "retired", vec![])];
    assert!(journal.revise(changes()).await.is_err(), "one of them follows nothing that is there");
    assert_eq!(headless(ReadOnly::open(dir.path()).unwrap().states().unwrap()), [stored(0, "steady", &[])]);
    let mut changes = changes();
    changes[1].follows = Head(1);
    journal.revise(changes).await.unwrap();
    assert_eq!(ReadOnly::open(dir.path()).unwrap().verify_chain().unwrap(), 3);
}

#[tokio::test]
async fn a_writer_that_has_died_leaves_an_unknown_outcome_that_reading_settles() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let head = put(&journal, change(0, "steady", vec![])).await.unwrap();
    journal.send(Job::Tamper(Box::new(|_| panic!("as a bug would"))));
    let unknown = put(&journal, change(0, "intended", vec![])).await.unwrap_err();
    assert!(matches!(unknown, CommitError::Unknown(_)), "{unknown}");
    assert_eq!(journal.settle(&token(0), head).await.unwrap(), Settled::Unwritten);
}

#[tokio::test]
async fn a_journal_of_each_earlier_version_goes_on() {
    for version in 1..schema::STEPS.len() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DATABASE);
        let old = Connection::open(&path).unwrap();
        old.execute_batch(&schema::STEPS[..version].concat()).unwrap();
        old.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
        old.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
        let instance = schema::instance(&old, &path).unwrap();
        let mut chain = Chain::new(instance);
        for n in 0..2 {
            let record = chain.append(NOW, &token(n), &change(n, "steady", vec![]).records[0]);
            let Record { seq, at_micros, token, kind, version, body, hash } = record;
            let row = params![seq, at_micros, token, kind, version, body, hash];
            old.execute("INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row).unwrap();
            old.execute("INSERT INTO states VALUES (?1, '\"steady\"', ?2)", params![token, seq]).unwrap();
        }
        drop(old);
        assert_eq!(ReadOnly::open(dir.path()).unwrap().verify_chain().unwrap(), 2, "it is read as it is");
        let (journal, opened) = open(dir.path());
        assert_eq!((opened.instance, opened.states[1].1.head), (instance, Head(2)), "version {version}");
        assert_eq!(headless(opened.states), [stored(0, "steady", &[]), stored(1, "steady", &[])]);
        put(&journal, change(0, "intended", vec![])).await.unwrap();
        drop(journal);
        assert_eq!(ReadOnly::open(dir.path()).unwrap().verify_chain().unwrap(), 3);
    }
}

#[tokio::test]
async fn a_lost_key_leaves_everything_but_the_secrets_to_an_operator_who_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, first) = open(dir.path());
    assert_eq!(first.key, KeyOrigin::Made);
    put(&journal, change(0, "active", vec![keep(0, 1, "hunter2")])).await.unwrap();
    drop(journal);
    fs::remove_file(dir.path().join(key::FILE)).unwrap();

    let refused = SqliteJournal::open(dir.path(), &KeySource::StateDirectory, NOW).unwrap_err();
    assert!(matches!(refused, OpenError::KeyLost { secrets: 1, .. }), "{refused}");
    assert!(!dir.path().join(key::FILE).exists(), "no key is made that opens nothing");
    let other = dir.path().join("other");
    fs::write(&other, "a key that nobody can guess, of enough bytes").unwrap();
    let refused = SqliteJournal::open(dir.path(), &KeySource::File(other.clone()), NOW).unwrap_err();
    assert!(matches!(refused, OpenError::KeyLost { secrets: 1, .. }), "{refused}");
    fs::remove_file(other).unwrap();

    let (journal, opened) =
        SqliteJournal::open_with(dir.path(), &KeySource::StateDirectory, key::IfLost::GoOn, NOW).unwrap();
    assert_eq!(opened.key, KeyOrigin::MadeAnew);
    assert_eq!(opened.unreadable, [slot(0, 1)]);
    assert_eq!((opened.states.len(), opened.instance), (1, first.instance));
    assert!(opened.notes.iter().any(|note| note.contains("key that sealed the journal is lost")), "{:?}", opened.notes);
    assert_eq!(journal.secret(&slot(0, 1)).await.unwrap_err().code, FailureCode::SecretUnreadable);
    let same = Secret::new("hunter2");
    assert_ne!(opened.fingerprinter.of(&same), first.fingerprinter.of(&same));
    let erase = SecretChange::Erase { slot: slot(0, 1) };
    put(&journal, change(0, "active", vec![keep(0, 2, "hunter3"), erase])).await.unwrap();
    assert_eq!(secret(&journal, &slot(0, 2)).await.as_deref(), Some("hunter3"));
    drop(journal);
    let (_journal, opened) = open(dir.path());
    assert_eq!((opened.key, opened.unreadable.len(), opened.notes.len()), (KeyOrigin::Found, 0, 0));
}

#[tokio::test]
async fn an_erased_secret_leaves_no_bytes_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    put(&journal, change(0, "active", vec![keep(0, 1, "hunter2")])).await.unwrap();
    let sealed = journal.sealed(&slot(0, 1)).unwrap().unwrap();
    let remains = || {
        fs::read_dir(dir.path()).unwrap().any(|entry| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(sealed.len()).any(|window| window == sealed)
        })
    };
    assert!(remains(), "the search finds it while it is there");
    put(&journal, change(0, "retired", vec![SecretChange::Erase { slot: slot(0, 1) }])).await.unwrap();
    drop(journal);
    assert!(!remains());
}

#[tokio::test]
async fn a_damaged_record_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..5 {
        put(&journal, change(n, "intended", vec![])).await.unwrap();
    }
    drop(journal);
    let damage = |sql: &str| {
        let copy = power_cut(dir.path());
        let connection = Connection::open(copy.path().join(DATABASE)).unwrap();
        connection.execute_batch("DROP TRIGGER records_are_not_changed; DROP TRIGGER records_are_not_deleted").unwrap();
        connection.execute_batch(sql).unwrap();
        ReadOnly::open(copy.path()).unwrap().verify_chain().unwrap_err().to_string()
    };
    for (sql, seq) in [
        ("UPDATE records SET body = replace(body, 'intended', 'intendee') WHERE seq = 3", 3),
        ("UPDATE records SET hash = zeroblob(32) WHERE seq = 2", 2),
        ("UPDATE records SET hash = x'00' WHERE seq = 2", 2),
        ("DELETE FROM records WHERE seq = 4", 4),
        ("DELETE FROM records WHERE seq = 5", 5),
    ] {
        let error = damage(sql);
        assert!(error.contains(&format!("record {seq} is missing, or is not what was written")), "{sql}: {error}");
    }
    let connection = Connection::open(dir.path().join(DATABASE)).unwrap();
    for sql in ["UPDATE records SET body = ''", "DELETE FROM records"] {
        assert!(connection.execute(sql, ()).unwrap_err().to_string().contains("append-only"), "{sql}");
    }
}

#[test]
fn a_journal_that_cannot_be_used_says_why() {
    type Spoil = fn(&Path);
    let sql = |path: &Path, sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    let newer: Spoil = |path| Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let foreign: Spoil = |path| {
        fs::remove_file(path).unwrap();
        Connection::open(path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    };
    let garbage: Spoil = |path| fs::write(path, [b'x'; 8192]).unwrap();
    let torn: Spoil = |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[4096..].fill(0xff);
        fs::write(path, bytes).unwrap();
    };
    for (spoil, text) in [
        (newer, "newer patrold (version 99"),
        (foreign, "database of another program"),
        (garbage, "is damaged"),
        (torn, "is damaged"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        spoil(&dir.path().join(DATABASE));
        for refused in [refused(dir.path()), read_only_refused(dir.path())] {
            assert!(refused.contains(text) && refused.contains(DATABASE), "{text}: {refused}");
        }
    }
    // A token whose name is none is damage too.
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    sql(&dir.path().join(DATABASE), "INSERT INTO states VALUES ('no name!', '{}', 0)");
    assert!(refused(dir.path()).contains("the token name \"no name!\""));
}

fn read_only_refused(dir: &Path) -> String {
    match ReadOnly::open(dir) {
        Err(error) => error.to_string(),
        Ok(read) => read.states().unwrap_err().to_string(),
    }
}

#[test]
fn a_second_daemon_is_told_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    match SqliteJournal::open(dir.path(), &KeySource::StateDirectory, NOW).unwrap_err() {
        OpenError::Lock(LockError::Held { holder, .. }) => assert!(holder.starts_with("process "), "{holder}"),
        other => panic!("{other}"),
    }
    assert!(ReadOnly::open(dir.path()).is_ok(), "looking is free");
    drop(journal);
    drop(open(dir.path()));
}

#[test]
fn files_are_private_whatever_the_umask_is() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("deep/state");
    let journal = open(&state).0;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&state), 0o700);
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(journal);
    fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
    assert!(open(&state).1.notes[0].contains("chmod 0700"));
}

#[test]
fn a_directory_that_cannot_be_made_or_has_no_journal_is_named() {
    let refused = refused(Path::new("/proc/no/state"));
    assert!(refused.contains("the state directory /proc/no/state cannot be used"), "{refused}");
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(ReadOnly::open(dir.path()), Err(OpenError::Missing(_))));
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "looking makes nothing");
}

#[test]
fn the_writing_connection_syncs_every_commit_and_overwrites_what_it_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let (answer, settings) = mpsc::channel();
    journal.send(Job::Tamper(Box::new(move |connection| {
        for name in ["journal_mode", "synchronous", "secure_delete"] {
            let value =
                connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
            answer.send(format!("{name} {value:?}")).unwrap();
        }
    })));
    let settings: Vec<_> = settings.iter().collect();
    assert_eq!(settings, ["journal_mode Text(\"wal\")", "synchronous Integer(2)", "secure_delete Integer(1)"]);
}

#[test]
fn a_first_start_that_ends_before_its_key_is_made_leaves_nothing_that_looks_lost() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = KeySource::File(dir.path().join("nobody-made-it"));
    assert!(SqliteJournal::open(dir.path(), &nowhere, NOW).is_err());
    assert!(fs::metadata(dir.path().join(DATABASE)).unwrap().len() > 0, "the journal is there before its key");
    let (_, opened) = open(dir.path());
    assert!(!opened.bereft && opened.notes.is_empty(), "{:?}", opened.notes);
}
