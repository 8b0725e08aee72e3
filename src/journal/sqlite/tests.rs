use std::fs;
use std::sync::Arc;

use chrono::DateTime;
use tempfile::TempDir;

use super::*;
use crate::journal::Draft;
use crate::journal::key;
use crate::journal::lock::LockError;
use crate::journal::record::Chain;
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

fn commit(n: usize, kind: &'static str, secrets: Vec<SecretChange>) -> Commit {
    let records = vec![Draft { kind, body: format!("{{\"kind\":\"{kind}\"}}") }];
    Commit { token: token(n), at: NOW, records, state: Some(format!("\"{kind}\"")), secrets }
}

/// The same in the middle of a rotation, without a state.
fn step(n: usize, kind: &'static str) -> Commit {
    Commit { state: None, ..commit(n, kind, vec![]) }
}

/// What is known of a token after `kind`, and the records of `since`.
fn stored(n: usize, kind: &str, since: &[&str]) -> (TokenName, Stored) {
    let newest = if since.is_empty() { 0 } else { crate::journal::record::VERSION };
    let since = since.iter().map(|kind| format!("{{\"kind\":\"{kind}\"}}")).collect();
    (token(n), Stored { state: format!("\"{kind}\""), since, newest })
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
        journal.commit(commit(0, kind, secrets)).await.unwrap();

        let copy = power_cut(dir.path());
        let (restarted, opened) = open(copy.path());
        assert_eq!(opened.states, [stored(0, kind, &[])]);
        assert_eq!(opened.instance, first.instance);
        let expected = (2..6).contains(&done).then(|| "hunter2".to_owned());
        assert_eq!(secret(&restarted, &slot(0, 1)).await, expected, "after {kind}");
        assert_eq!(ReadOnly::open(copy.path()).unwrap().verify_chain().unwrap(), done);
        restarted.commit(commit(1, "intended", vec![])).await.unwrap();
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
    journal.commit(commit(0, "steady", vec![])).await.unwrap();
    journal.commit(commit(1, "steady", vec![])).await.unwrap();
    journal.commit(step(0, "intended")).await.unwrap();
    journal.commit(step(0, "minted")).await.unwrap();
    let known = || ReadOnly::open(dir.path()).unwrap().states().unwrap();
    assert_eq!(known(), [stored(0, "steady", &["intended", "minted"]), stored(1, "steady", &[])]);

    // However old: without them the state would be lost.
    let pruned = journal.prune(NOW + crate::clock::Span::days(1)).await.unwrap();
    assert_eq!((pruned.removed, pruned.first), (2, Some(3)));
    assert_eq!(known(), [stored(0, "steady", &["intended", "minted"]), stored(1, "steady", &[])]);
    journal.commit(commit(0, "retired", vec![])).await.unwrap();
    assert_eq!(known(), [stored(0, "retired", &[]), stored(1, "steady", &[])]);
    drop(journal);
    let (journal, opened) = open(dir.path());
    assert_eq!(opened.states, known());
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
            tokio::spawn(async move { journal.commit(commit(n, "intended", vec![])).await })
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
        journal.commit(commit(1, "intended", vec![])),
        journal.commit(commit(2, "bad", vec![keep(2, 1, "hunter2")])),
        journal.commit(commit(3, "intended", vec![])),
        async { go.send(()).unwrap() },
    );
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(bad.unwrap_err().code, FailureCode::Journal);
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
        journal.commit(commit(0, "intended", vec![])).await.unwrap();
        tamper(&journal, fault);
        let failure = journal.commit(commit(0, "minted", vec![keep(0, 1, &"x".repeat(10_000))])).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::Journal);
        assert!(failure.detail.contains(text) && failure.detail.contains(DATABASE), "{failure}");
        assert_eq!(secret(&journal, &slot(0, 1)).await, None);
        tamper(&journal, remedy);
        journal.commit(commit(0, "minted", vec![keep(0, 1, "hunter2")])).await.unwrap();
        assert_eq!(secret(&journal, &slot(0, 1)).await.as_deref(), Some("hunter2"));
        drop(journal);
        assert_eq!(ReadOnly::open(dir.path()).unwrap().verify_chain().unwrap(), 2);
    }
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
    let sealed = Sealed { token: token(0), at: NOW, records: vec![draft], state: Some("{}".into()), secrets: vec![] };
    assert_eq!(writer.commit(&[sealed]), [Ok(())]);
    let settle = |before, after| writer.settle(Err(rusqlite::Error::InvalidQuery), before, after);
    assert!(settle(&before, &after).is_ok(), "it was committed after all");
    assert!(settle(&after, &later).is_err(), "it was not");
    assert!(settle(&after, &after).is_err(), "nobody knows: without records the chain does not tell");
}

#[tokio::test]
async fn a_lost_key_leaves_everything_but_the_secrets_to_an_operator_who_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, first) = open(dir.path());
    assert_eq!(first.key, KeyOrigin::Made);
    journal.commit(commit(0, "active", vec![keep(0, 1, "hunter2")])).await.unwrap();
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
    journal.commit(commit(0, "active", vec![keep(0, 2, "hunter3"), erase])).await.unwrap();
    assert_eq!(secret(&journal, &slot(0, 2)).await.as_deref(), Some("hunter3"));
    drop(journal);
    let (_journal, opened) = open(dir.path());
    assert_eq!((opened.key, opened.unreadable.len(), opened.notes.len()), (KeyOrigin::Found, 0, 0));
}

#[tokio::test]
async fn an_erased_secret_leaves_no_bytes_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.commit(commit(0, "active", vec![keep(0, 1, "hunter2")])).await.unwrap();
    let sealed = journal.sealed(&slot(0, 1)).unwrap().unwrap();
    let remains = || {
        fs::read_dir(dir.path()).unwrap().any(|entry| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(sealed.len()).any(|window| window == sealed)
        })
    };
    assert!(remains(), "the search finds it while it is there");
    journal.commit(commit(0, "retired", vec![SecretChange::Erase { slot: slot(0, 1) }])).await.unwrap();
    drop(journal);
    assert!(!remains());
}

#[tokio::test]
async fn a_damaged_record_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..5 {
        journal.commit(commit(n, "intended", vec![])).await.unwrap();
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
