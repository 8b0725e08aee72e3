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
