use std::fs;

use super::{Rig, start_of_time};
use crate::clock::Span;
use crate::demo::consumer::{Defect, RENEWAL_GAP};
use crate::demo::{Consumer, Reading, Service, State, Summary, Verdict, Why, unaccounted};
use crate::secret::Fingerprinter;

fn consumer(rig: &Rig, path: &std::path::Path, reading: Reading) -> Consumer {
    Consumer::new("gps", path, reading, rig.ledger().clone(), Fingerprinter::new(&[7; 32]))
}

#[tokio::test]
async fn a_consumer_is_content_while_its_secret_is_alive() {
    let rig = Rig::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let mut judge = consumer(&rig, &path, Reading::Whole);
    assert_eq!(judge.check(rig.now()), Verdict::NotYet);
    for name in ["one", "two"] {
        let secret = rig.loopback.issue(Service::Awx, name, Span::days(1));
        fs::write(&path, format!("{}\n", secret.token().expose())).unwrap();
        assert_eq!(judge.check(rig.now()), Verdict::Live);
        assert_eq!(judge.check(rig.now()), Verdict::Live);
    }
    assert_eq!((judge.uses(), judge.secrets_seen(), judge.dead()), (4, 2, 0));
}

#[tokio::test]
async fn every_kind_of_dead_secret_is_found() {
    let rig = Rig::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let mut judge = consumer(&rig, &path, Reading::Whole);

    let secret = rig.loopback.issue(Service::Awx, "x", Span::seconds(10));
    fs::write(&path, secret.token().expose()).unwrap();
    assert_eq!(judge.check(rig.now()), Verdict::Live);
    rig.advance(Span::seconds(10));
    let expired = Defect::Secret(State::Expired { since: rig.now() });
    assert!(matches!(judge.check(rig.now()), Verdict::Dead(finding) if finding.defect == expired));
    assert!(matches!(judge.check(rig.now()), Verdict::Dead(finding) if finding.times == 2));

    let secret = rig.loopback.issue(Service::PointOne, "x", Span::days(1));
    fs::write(&path, secret.token().expose()).unwrap();
    let id = rig.ledger().entry_of(secret.token().expose()).unwrap().id;
    assert!(rig.ledger().revoke(Service::PointOne, id, rig.now()));
    let revoked = Defect::Secret(State::Revoked { since: rig.now(), why: Why::Revoked });
    assert!(matches!(judge.check(rig.now()), Verdict::Dead(finding) if finding.defect == revoked));

    let half = &secret.token().expose()[..20];
    fs::write(&path, half).unwrap();
    assert!(
        matches!(judge.check(rig.now()), Verdict::Dead(finding) if finding.defect == Defect::Secret(State::Unknown))
    );
    fs::remove_file(&path).unwrap();
    assert!(matches!(judge.check(rig.now()), Verdict::Dead(finding) if finding.defect == Defect::Missing));
    fs::create_dir(&path).unwrap();
    assert!(
        matches!(judge.check(rig.now()), Verdict::Dead(finding) if matches!(finding.defect, Defect::Unreadable(_)))
    );

    assert_eq!((judge.findings().len(), judge.dead()), (5, 6));
    let shown = format!("{judge:?} {}", judge.findings()[0]);
    assert!(!shown.contains(half), "a judge must not print what it finds: {shown}");
}

#[tokio::test]
async fn a_secret_that_dies_after_the_read_began_was_alive() {
    let rig = Rig::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let secret = rig.loopback.issue(Service::Awx, "x", Span::days(1));
    fs::write(&path, secret.token().expose()).unwrap();
    let began = rig.now();
    rig.advance(Span::milliseconds(1));
    rig.ledger().revoke(Service::Awx, 2, rig.now());
    let mut judge = consumer(&rig, &path, Reading::Whole);
    assert_eq!(judge.check(began), Verdict::Live);
    assert!(matches!(judge.check(rig.now()), Verdict::Dead(_)));
}

#[tokio::test]
async fn an_env_file_is_read_by_its_key() {
    let rig = Rig::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gps.env");
    let secret = rig.loopback.issue(Service::Awx, "x", Span::days(1));
    let secret = secret.token().expose();
    for (file, live) in [
        (format!("A=1\nGPS_TOKEN={secret}\nB=2\n"), true),
        (format!("GPS_TOKEN=\"{secret}\"\n"), true),
        (format!("export GPS_TOKEN='{secret}'"), true),
        (format!("# GPS_TOKEN={secret}\nGPS_TOKEN=other\n"), false),
        (format!("GPS_TOKEN={secret}\nGPS_TOKEN=\n"), false),
        (format!("NOT_GPS_TOKEN={secret}\n"), false),
    ] {
        fs::write(&path, &file).unwrap();
        let mut judge = consumer(&rig, &path, Reading::EnvKey("GPS_TOKEN".into()));
        assert_eq!(judge.check(rig.now()) == Verdict::Live, live, "{}", file.replace(secret, "SECRET"));
    }
}

#[tokio::test]
async fn live_tokens_with_a_marker_must_be_accounted_for() {
    let rig = Rig::new().await;
    let marker = "patrold-1a2b3c4d-gps-g1-010203040506";
    let known = rig.loopback.issue(Service::Awx, marker, Span::days(1));
    let orphan = rig.loopback.issue(Service::Commvault, "patrold-1a2b3c4d-gps-g2-010203040507", Span::days(1));
    let expired = rig.loopback.issue(Service::PointOne, "patrold-1a2b3c4d-gps-g3-010203040508", Span::seconds(1));
    rig.advance(Span::seconds(1));
    let left = unaccounted(rig.ledger(), |entry| entry.name == marker, rig.now());
    let left: Vec<_> = left.iter().map(|entry| entry.current().secret.expose()).collect();
    assert_eq!(left, [orphan.token().expose()]);
    assert!(!left.contains(&known.token().expose()) && !left.contains(&expired.token().expose()));
    // Before it expired, the third one was an orphan, too.
    assert_eq!(unaccounted(rig.ledger(), |entry| entry.name == marker, start_of_time()).len(), 2);
}

#[tokio::test]
async fn what_ended_a_secret_first_is_what_it_died_of() {
    let rig = Rig::new().await;
    let (start, second) = (rig.now(), Span::seconds(1));
    let secret = rig.loopback.issue(Service::Awx, "x", second * 2);
    let secret = secret.token().expose();
    assert!(rig.ledger().revoke(Service::Awx, 2, start + second * 5));
    assert!(!rig.ledger().revoke(Service::Awx, 2, start + second * 6), "a token ends once");
    let expired = State::Expired { since: start + second * 2 };
    for (after, state) in [(0, State::Live), (2, expired), (9, expired)] {
        assert_eq!(rig.ledger().state_of(secret, start + second * after), state, "after {after} s");
    }
    let other = rig.loopback.issue(Service::Awx, "y", second * 5);
    rig.ledger().revoke(Service::Awx, 3, start + second);
    let revoked = State::Revoked { since: start + second, why: Why::Revoked };
    assert_eq!(rig.ledger().state_of(other.token().expose(), start + second * 9), revoked);
}

#[tokio::test]
async fn a_run_is_judged_as_a_whole() {
    let rig = Rig::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut consumers: Vec<_> = ["a", "b"].map(|name| consumer(&rig, &folder.path().join(name), Reading::Whole)).into();
    let markers = ["patrold-1a2b3c4d-a-g1-0", "patrold-1a2b3c4d-b-g1-0"];
    for (marker, file) in markers.into_iter().zip(["a", "b"]) {
        let secret = rig.loopback.issue(Service::Awx, marker, Span::days(1));
        fs::write(folder.path().join(file), secret.token().expose()).unwrap();
    }
    let known = |names: &'static [&str]| move |entry: &crate::demo::LedgerEntry| names.contains(&entry.name.as_str());
    let all: &[&str] = &["patrold-1a2b3c4d-a-g1-0", "patrold-1a2b3c4d-b-g1-0"];
    let summary = Summary::allowing(RENEWAL_GAP, &mut consumers, rig.ledger(), known(all), rig.now());
    assert!(summary.holds(), "{summary}");
    assert_eq!(summary.to_string(), "2 consumers read 2 secrets 2 times");

    let unknown = Summary::allowing(RENEWAL_GAP, &mut consumers, rig.ledger(), known(&all[..1]), rig.now());
    assert!(!unknown.holds() && unknown.dead.is_empty() && unknown.without.is_empty(), "{unknown}");

    rig.ledger().revoke(Service::Awx, 2, rig.now());
    let dead = Summary::allowing(RENEWAL_GAP, &mut consumers, rig.ledger(), known(all), rig.now());
    assert!(!dead.holds());
    assert_eq!((dead.dead.len(), &dead.without[..], dead.unaccounted.len()), (1, &["gps".to_owned()][..], 0));

    // Cured, but not forgotten.
    let secret = rig.loopback.issue(Service::Awx, all[0], Span::days(1));
    fs::write(folder.path().join("a"), secret.token().expose()).unwrap();
    let cured = Summary::allowing(RENEWAL_GAP, &mut consumers, rig.ledger(), known(all), rig.now());
    assert!(cured.without.is_empty() && !cured.holds());
}
