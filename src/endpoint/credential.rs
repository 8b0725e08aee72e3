//! What an account authenticates with: read from its source, and read again when the source changed, so that a
//! credential that somebody replaced by hand is noticed without a restart.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use crate::clock::{Span, Time};
use crate::files;
use crate::inventory::Credential;
use crate::names::TokenName;
use crate::outcome::{Failure, FailureCode};
use crate::provider::Identity;
use crate::secret::{Fingerprint, Fingerprinter, Secret, SecretParts, SecretSource, source};

/// The output of a command is used this long, unless the provider refuses it earlier.
const COMMAND_MAX_AGE: Span = Span::minutes(5);

/// A file that was written this recently may be written again without its times telling: they tick coarsely.
const SETTLED: Span = Span::seconds(2);

/// The times of a file are looked at this often at most, unless the provider refuses what it held: each look takes its
/// turn on another thread, and all requests of the account wait for it.
const LOOK_EVERY: Span = Span::milliseconds(100);

/// An account's credential with the latest secret known.
pub(super) struct CredentialCache {
    username: Option<String>,
    origin: Origin,
    fingerprinter: Fingerprinter,
}

/// A credential as one request uses it.
#[derive(Clone, Debug)]
pub struct Presented {
    pub identity: Arc<Identity>,
    /// Of what is presented.
    pub fingerprint: Fingerprint,
    /// Of the credential that it was got with, which is itself as a rule; tells whether that changed since.
    pub root: Fingerprint,
}

#[expect(clippy::large_enum_variant, reason = "there is one for each account")]
enum Origin {
    Source { source: SecretSource, latest: Mutex<Option<Latest>> },
    Managed(watch::Receiver<Option<Arc<SecretParts>>>),
}

struct Latest {
    presented: Presented,
    read_at: Time,
    looked_at: Time,
    stamp: Option<Stamp>,
    suspect: bool,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl CredentialCache {
    /// A cache that has read nothing yet. `managed` carries the secret of a managed token; the error is the name of the
    /// one that the credential is, where `managed` is missing.
    pub fn new(
        credential: &Credential,
        managed: Option<watch::Receiver<Option<Arc<SecretParts>>>>,
        fingerprinter: Fingerprinter,
    ) -> Result<Self, TokenName> {
        let source = |source: &SecretSource| Origin::Source { source: source.clone(), latest: Mutex::new(None) };
        let (username, origin) = match credential {
            Credential::Secret(secret) => (None, source(secret)),
            Credential::Basic { username, password } => (Some(username.clone()), source(password)),
            Credential::Nothing => (None, Origin::Managed(watch::channel(None).1)),
            Credential::Token(name) => (None, Origin::Managed(managed.ok_or_else(|| name.clone())?)),
        };
        Ok(Self { username, origin, fingerprinter })
    }

    /// A cache of another secret, whose fingerprints are made alike; none for a token of the inventory.
    pub fn beside(&self, credential: &Credential) -> Option<Self> {
        Self::new(credential, None, self.fingerprinter.clone()).ok()
    }

    /// The newest credential.
    pub async fn present(&self, now: Time) -> Result<Presented, Failure> {
        let (source, latest) = match &self.origin {
            Origin::Managed(receiver) => {
                let secret = receiver.borrow().clone();
                let none = "there is none, or the token that it refers to has no secret yet";
                let secret = secret.ok_or_else(|| Failure::new(FailureCode::NoCredential, none))?;
                return Ok(self.with(SecretParts::clone(&secret)));
            }
            Origin::Source { source, latest } => (source, latest),
        };
        let mut latest = latest.lock().await;
        if let Some(known) = latest.as_ref().filter(|known| known.was_just_looked_at(now)) {
            return Ok(known.presented.clone());
        }
        let stamp = match source.file()? {
            Some(path) => Stamp::of(&path).await,
            None => None,
        };
        if let Some(known) = latest.as_mut().filter(|known| known.is_fresh(source, stamp, now)) {
            known.looked_at = now;
            return Ok(known.presented.clone());
        }
        // The stamp was taken before the content: a write in between shows as a changed stamp next time.
        let presented = self.with(SecretParts::new(source::read(source).await?));
        *latest = Some(Latest { presented: presented.clone(), read_at: now, looked_at: now, stamp, suspect: false });
        Ok(presented)
    }

    /// The provider refused what was last presented: it is read again where reading costs something.
    pub async fn suspect(&self) {
        if let Origin::Source { latest, .. } = &self.origin
            && let Some(latest) = latest.lock().await.as_mut()
        {
            latest.suspect = true;
        }
    }

    /// The fingerprint of a secret that was got with this credential.
    pub fn fingerprint(&self, secret: &Secret) -> Fingerprint {
        self.fingerprinter.of(secret)
    }

    fn with(&self, secret: SecretParts) -> Presented {
        let fingerprint = self.fingerprinter.of(secret.token());
        let root = fingerprint.clone();
        Presented { identity: Arc::new(Identity { username: self.username.clone(), secret }), fingerprint, root }
    }
}

impl Latest {
    fn was_just_looked_at(&self, now: Time) -> bool {
        let age = now - self.looked_at;
        !self.suspect && age >= Span::zero() && age < LOOK_EVERY
    }

    fn is_fresh(&self, source: &SecretSource, stamp: Option<Stamp>, now: Time) -> bool {
        match source {
            SecretSource::File(_) | SecretSource::SystemdCredential(_) => {
                self.stamp == stamp && stamp.is_some_and(|stamp| stamp.had_settled(self.read_at))
            }
            // The environment of a process does not change.
            SecretSource::Env(_) => true,
            SecretSource::Command(_) => {
                let age = now - self.read_at;
                !self.suspect && age >= Span::zero() && age < COMMAND_MAX_AGE
            }
        }
    }
}

impl Stamp {
    /// The stamp of the file that `path` leads to.
    async fn of(path: &Path) -> Option<Self> {
        let data = files::off_runtime(path, |path| Ok(std::fs::metadata(path)?)).await.ok()?;
        Some(Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }

    /// Whether a write after `read` would certainly have got other times than these.
    fn had_settled(&self, read: Time) -> bool {
        let last = self.modified.max(self.changed);
        chrono::DateTime::from_timestamp(last.0, 0).is_some_and(|last| read - last > SETTLED)
    }
}

#[cfg(test)]
mod tests;
