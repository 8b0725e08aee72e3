use std::fs;

use super::{Rig, start_of_time};
use crate::clock::Span;
use crate::demo::consumer::Defect;
use crate::demo::{Consumer, Reading, Service, State, Verdict, Why, unaccounted};
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
