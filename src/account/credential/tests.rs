use std::fs;

use super::*;
use crate::clock::Clock;

fn cache(source: SecretSource) -> CredentialCache {
    CredentialCache::new(&Credential::Secret(source), None, Fingerprinter::new(&[0; 32])).unwrap()
}

fn sh(script: &str) -> SecretSource {
    SecretSource::Command(["sh", "-c", script].map(str::to_owned).to_vec())
}

async fn present(cache: &CredentialCache, now: Time) -> String {
    cache.present(now).await.unwrap().identity.secret.token().expose().to_owned()
}

#[test]
fn a_secret_is_its_source_without_one_newline() {
    for (sentence, content, expected) in [
        ("as it is", &b"s3cret"[..], Ok("s3cret")),
        ("one LF is cut", b"s3cret\n", Ok("s3cret")),
        ("one CRLF is cut", b"s3cret\r\n", Ok("s3cret")),
        ("only one", b"s3cret\n\n", Ok("s3cret\n")),
        ("a lone CR stays", b"s3cret\r", Ok("s3cret\r")),
        ("blanks stay", b" s3cret ", Ok(" s3cret ")),
        ("nothing", b"", Err("it is empty")),
        ("a newline only", b"\n", Err("it is empty")),
        ("a NUL", b"s3\0cret", Err("it contains a NUL")),
        ("not text", b"s3\xffcret", Err("it is not UTF-8")),
        ("too much", &vec![b'x'; LARGEST + 1], Err("it has more than 64 KiB")),
    ] {
        let secret = parse(content);
        assert_eq!(secret.as_ref().map(Secret::expose).map_err(|reason| *reason), expected, "{sentence}");
    }
    assert!(parse(&vec![b'x'; LARGEST]).is_ok());
}

#[tokio::test]
async fn a_failure_names_the_source_and_the_remedy_but_nothing_secret() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    for (sentence, source, told) in [
        ("no such file", SecretSource::File(missing.clone()), "missing: it does not exist"),
        ("not a file", SecretSource::File(directory.path().into()), "it is a directory, not a regular file"),
        ("a device", SecretSource::File("/dev/zero".into()), "it is a device, not a regular file"),
        (
            "not set",
            SecretSource::Env("PATROLD_TEST_UNSET".into()),
            "environment variable PATROLD_TEST_UNSET: it is not set",
        ),
        ("not under systemd", SecretSource::SystemdCredential("api".into()), "LoadCredential=api:FILE"),
        ("no program", SecretSource::Command(vec![]), "it names no program"),
        ("no such program", SecretSource::Command(vec!["/nonexistent".into()]), "No such file"),
        ("prints nothing", sh("true"), "it is empty"),
        ("fails", sh("echo hunter2; echo cannot open vault >&2; exit 3"), "exit status: 3: cannot open vault"),
        ("prints without end", sh("yes"), "more than 64 KiB"),
    ] {
        let failure = read(&source).await.unwrap_err();
        assert_eq!(failure.code, FailureCode::NoCredential, "{sentence}");
        assert!(failure.detail.contains(told), "{sentence}: {failure}");
        assert!(!failure.detail.contains("hunter2"), "{sentence}: {failure}");
    }
}

#[tokio::test]
async fn what_a_command_prints_is_struck_out_of_its_complaints() {
    let failure = read(&sh("echo hunter2; echo bad token hunter2 >&2; exit 1")).await.unwrap_err();
    assert!(failure.detail.ends_with("bad token ***"), "{failure}");
}

#[tokio::test]
async fn long_complaints_hold_nobody_up_and_are_cut_at_their_beginning() {
    let failure = read(&sh("yes complaint | head -c 1000000 >&2; echo the end >&2; exit 1")).await.unwrap_err();
    assert!(failure.detail.ends_with("complaint the end"), "{failure}");
    assert!(failure.detail.chars().count() < 400, "{failure}");
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let note = directory.path().join("pid");
    // The child holds the output open although its parent is gone.
    let script = format!("sleep 1000 & echo $! > {}", note.display());
    let failure = read_within(&sh(&script), Duration::from_secs(1)).await.unwrap_err();
    assert!(failure.detail.contains("it took longer than 1s"), "{failure}");
    let child = fs::read_to_string(note).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
    let gone = status.map_or(true, |status| status.contains(") Z "));
    // A signal is delivered when the process next runs; what counts is that it has been sent.
    let pid = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    assert!(gone || rustix::process::test_kill_process(pid).is_err() || was_killed(pid), "still running");
}

/// Waits for the end of a process that is not a child of this one.
fn was_killed(pid: Pid) -> bool {
    (0..1_000_000).any(|_| {
        std::thread::yield_now();
        let status = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        status.map_or(true, |status| status.contains(") Z "))
    })
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credential");
    let cache = cache(SecretSource::File(path.clone()));
    let now = crate::clock::SystemClock.now();
    fs::write(&path, "one").unwrap();
    assert_eq!(present(&cache, now).await, "one");
    let first = cache.present(now).await.unwrap().fingerprint;
    // In place, the same size, perhaps within one tick of the file system's clock.
    fs::write(&path, "two").unwrap();
    assert_eq!(present(&cache, now).await, "one", "it was looked at just now");
    let now = now + LOOK_EVERY;
    assert_eq!(present(&cache, now).await, "two");
    // Replaced, as editors and Kubernetes do it.
    fs::write(directory.path().join("new"), "three").unwrap();
    fs::rename(directory.path().join("new"), &path).unwrap();
    // The provider refused what it held before: no waiting.
    cache.suspect().await;
    let third = cache.present(now).await.unwrap();
    assert_eq!(third.identity.secret.token().expose(), "three");
    assert_ne!(third.fingerprint, first);
    fs::remove_file(&path).unwrap();
    let now = now + LOOK_EVERY;
    assert!(cache.present(now).await.is_err(), "a credential that was taken away is not used any more");
}

#[tokio::test]
async fn a_file_that_has_not_changed_for_a_while_is_not_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credential");
    fs::write(&path, "one").unwrap();
    let later = crate::clock::SystemClock.now() + Span::seconds(60);
    let stamp = Stamp::of(&path).await;
    let latest = |read_at| Latest {
        presented: cache(SecretSource::File(path.clone())).with(SecretParts::new(Secret::new("one"))),
        read_at,
        looked_at: read_at,
        stamp,
        suspect: false,
    };
    let source = SecretSource::File(path.clone());
    assert!(latest(later).is_fresh(&source, stamp, later));
    assert!(
        !latest(crate::clock::SystemClock.now()).is_fresh(&source, stamp, later),
        "it was too young when it was read"
    );
    assert!(!latest(later).is_fresh(&source, None, later), "it is gone");
}

#[tokio::test]
async fn a_command_runs_again_when_its_secret_is_refused_or_old() {
    let directory = tempfile::tempdir().unwrap();
    let counter = directory.path().join("counter");
    let cache = cache(sh(&format!("echo x >> {0}; wc -l < {0}", counter.display())));
    let now = Time::UNIX_EPOCH;
    assert_eq!(present(&cache, now).await.trim(), "1");
    assert_eq!(present(&cache, now + Span::seconds(299)).await.trim(), "1");
    assert_eq!(present(&cache, now + Span::seconds(300)).await.trim(), "2");
    cache.suspect().await;
    assert_eq!(present(&cache, now + Span::seconds(301)).await.trim(), "3");
    assert_eq!(present(&cache, now + Span::seconds(301)).await.trim(), "3");
    assert_eq!(present(&cache, now).await.trim(), "4", "the clock was set back: the age is unknown");
}

#[tokio::test]
async fn a_managed_token_is_always_the_newest() {
    let (sender, receiver) = watch::channel(None);
    let credential = Credential::Token("gps-admin".parse().unwrap());
    let fingerprinter = Fingerprinter::new(&[0; 32]);
    assert!(CredentialCache::new(&credential, None, fingerprinter.clone()).is_err());
    let cache = CredentialCache::new(&credential, Some(receiver), fingerprinter).unwrap();
    let now = Time::UNIX_EPOCH;
    assert_eq!(cache.present(now).await.unwrap_err().code, FailureCode::NoCredential);
    for secret in ["one", "two"] {
        sender.send_replace(Some(Arc::new(SecretParts::new(Secret::new(secret)))));
        assert_eq!(present(&cache, now).await, secret);
    }
}

#[tokio::test]
async fn an_initial_secret_has_all_its_parts() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        SecretSource::File(path)
    };
    let mut token = crate::rotation::tests::policy::token();
    assert!(read_initial(&token).await.unwrap_err().detail.contains("no initial secret"));
    let mut initial = crate::rotation::tests::policy::initial();
    initial.source = Some(put("access", "a-1\n"));
    initial.parts.insert("refresh_token".into(), put("refresh", "r-1\n"));
    token.initial = Some(initial.clone());
    let secret = read_initial(&token).await.unwrap();
    assert_eq!(secret.token().expose(), "a-1");
    assert_eq!(secret.part("refresh_token").map(Secret::expose), Some("r-1"));
    initial.parts.insert("user".into(), SecretSource::File(directory.path().join("missing")));
    token.initial = Some(initial);
    assert!(read_initial(&token).await.unwrap_err().detail.contains("missing"));
}
