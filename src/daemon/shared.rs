//! One rendering for all who ask at the same time. A status of a hundred thousand tokens takes a while and a hundred
//! megabytes: however many ask for it, one is made at a time, it is shared while it is new, and making them takes a tenth
//! of the time at most. Nothing is kept once everybody has got it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Age up to which a rendering is shared.
use crate::crash;

const FRESH: Duration = Duration::from_secs(1);

/// A rendering that took long is made anew after ten times as long; nobody waits longer than this for one.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A place for one kind of answer.
#[derive(Debug, Default)]
pub struct Shared(Mutex<Option<Last>>);

#[derive(Debug)]
struct Last {
    /// What was asked for.
    key: String,
    made: Instant,
    took: Duration,
    text: Weak<Text>,
}

#[derive(Debug)]
struct Text(String);

/// What the bytes of an answer belong to: it ends with the last of them.
struct Owner(Arc<Text>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.0.as_bytes()
    }
}

impl Shared {
    /// The text that `make` makes, or one that was just made.
    pub async fn get(&self, make: impl FnOnce() -> String + Send + 'static) -> std::io::Result<Bytes> {
        self.get_as("", make).await
    }

    /// The same where `make` makes what `key` asks for. Whoever asks for something else waits for the pause.
    pub async fn get_as(&self, key: &str, make: impl FnOnce() -> String + Send + 'static) -> std::io::Result<Bytes> {
        let mut last = self.0.lock().await;
        if let Some(Last { key: before, made, took, text }) = &*last {
            let pause = (*took * 10).min(LONGEST_PAUSE);
            match text.upgrade().filter(|_| before == key) {
                Some(text) if made.elapsed() < pause.max(FRESH) => return Ok(Bytes::from_owner(Owner(text))),
                _ => tokio::time::sleep_until(*made + pause).await,
            }
        }
        let begun = Instant::now();
        let text = tokio::task::spawn_blocking(make).await.map_err(|error| crash::as_io(&error))?;
        let text = Arc::new(Text(text));
        let key = key.to_owned();
        *last = Some(Last { key, made: Instant::now(), took: begun.elapsed(), text: Arc::downgrade(&text) });
        Ok(Bytes::from_owner(Owner(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_at_the_same_time_gets_the_same() {
        let shared = Shared::default();
        let first = shared.get(|| "one".to_owned()).await.unwrap();
        let second = shared.get(|| "two".to_owned()).await.unwrap();
        assert_eq!((&first[..], &second[..]), (&b"one"[..], &b"one"[..]));
        let other = shared.get_as("other", || "another".to_owned()).await.unwrap();
        assert_eq!(other, "another", "what somebody else asked for is not shared");
        drop((first, second));
        assert_eq!(shared.get(|| "three".to_owned()).await.unwrap(), "three", "nothing is kept");
    }
}
