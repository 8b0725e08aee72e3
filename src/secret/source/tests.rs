use std::fs;

use rustix::process::Pid;

use super::*;

fn sh(script: &str) -> SecretSource {
    SecretSource::Command(["sh", "-c", script].map(str::to_owned).to_vec())
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
    let script = format!("sleep 1000 & echo $! > {}; wait", note.display());
    let failure = read_within(&sh(&script), Duration::from_secs(1)).await.unwrap_err();
    assert!(failure.detail.contains("it took longer than 1s"), "{failure}");
    let child = fs::read_to_string(note).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
    let gone = status.map_or(true, |status| status.contains(") Z "));
    // A signal is delivered when the process next runs; what counts is that it has been sent.
    let pid = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    assert!(gone || rustix::process::test_kill_process(pid).is_err() || was_killed(pid), "still running");
}

#[tokio::test]
async fn a_child_that_keeps_the_output_open_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let note = directory.path().join("pid");
    let start = std::time::Instant::now();
    let secret = read(&sh(&format!("sleep 1000 & echo $! > {}; echo s3cret", note.display()))).await;
    assert!(start.elapsed() < COMMAND_TIMEOUT);
    assert_eq!(secret.unwrap().expose(), "s3cret");
    let child = Pid::from_raw(fs::read_to_string(note).unwrap().trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL)
        .expect("it may live on: a helper caches logins");
}

#[tokio::test]
async fn the_whole_of_a_large_secret_is_read_although_a_child_keeps_the_output_open() {
    let secret = read(&sh("sleep 3 & head -c 65000 /dev/zero | tr '\\0' x")).await.unwrap();
    assert_eq!(secret.expose().len(), 65000);
}

/// Waits for the end of a process that is not a child of this one.
fn was_killed(pid: Pid) -> bool {
    (0..1_000_000).any(|_| {
        std::thread::yield_now();
        let status = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        status.map_or(true, |status| status.contains(") Z "))
    })
}
