//! What an account authenticates with: read from its source, and read again when the source changed, so that a
//! credential that somebody replaced by hand is noticed without a restart.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};
use zeroize::Zeroizing;

use crate::clock::{Span, Time};
use crate::files;
use crate::inventory::{Credential, SecretSource, TokenPolicy};
use crate::names::TokenName;
use crate::outcome::{Failure, FailureCode, one_line};
use crate::provider::{Identity, Redactor};
use crate::secret::{Fingerprint, Fingerprinter, Secret, SecretParts};

const LARGEST: usize = files::LARGEST_SECRET;

/// How long a command may take, its output included.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

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
pub(super) struct Presented {
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

/// Kills the process group of a command, unless it was waited for: also when the caller goes away.
struct GroupGuard(Option<Pid>);

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

    /// The newest credential.
    pub async fn present(&self, now: Time) -> Result<Presented, Failure> {
        let (source, latest) = match &self.origin {
            Origin::Managed(receiver) => {
                let secret = receiver.borrow().clone();
                let secret = secret
                    .ok_or_else(|| no_credential("there is none, or the token that it refers to has no secret yet"))?;
                return Ok(self.with(SecretParts::clone(&secret)));
            }
            Origin::Source { source, latest } => (source, latest),
        };
        let mut latest = latest.lock().await;
        if let Some(known) = latest.as_ref().filter(|known| known.was_just_looked_at(now)) {
            return Ok(known.presented.clone());
        }
        let stamp = match file_of(source)? {
            Some(path) => Stamp::of(&path).await,
            None => None,
        };
        if let Some(known) = latest.as_mut().filter(|known| known.is_fresh(source, stamp, now)) {
            known.looked_at = now;
            return Ok(known.presented.clone());
        }
        // The stamp was taken before the content: a write in between shows as a changed stamp next time.
        let presented = self.with(SecretParts::new(read(source).await?));
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

impl Drop for GroupGuard {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails only when no process of the group is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads a secret from its source.
///
/// One newline at its end (LF or CRLF) is not part of it. Refused are: nothing at all, more than 64 KiB, a NUL, and what
/// is not UTF-8. A command inherits the daemon's whole environment, because helpers need `HOME`, `PATH` and their own
/// settings; it runs in a process group of its own, which is killed after ten seconds.
pub async fn read(source: &SecretSource) -> Result<Secret, Failure> {
    read_within(source, COMMAND_TIMEOUT).await
}

/// A secret with all that `initial` names of it.
pub async fn read_initial(token: &TokenPolicy) -> Result<SecretParts, Failure> {
    let named = token.initial.as_ref().and_then(|initial| Some((initial, initial.source.as_ref()?)));
    let Some((initial, source)) = named else {
        return Err(no_credential("the inventory names no initial secret"));
    };
    let mut secret = SecretParts::new(read(source).await?);
    for (name, source) in &initial.parts {
        secret = secret.with(name, read(source).await?);
    }
    Ok(secret)
}

async fn read_within(source: &SecretSource, timeout: Duration) -> Result<Secret, Failure> {
    let content = match source {
        SecretSource::File(_) | SecretSource::SystemdCredential(_) => match file_of(source)? {
            Some(path) => read_file(&path).await,
            None => Err("it is not a file".to_owned()),
        },
        SecretSource::Env(name) => match std::env::var_os(name) {
            Some(value) => Ok(Zeroizing::new(value.into_encoded_bytes())),
            None => Err("it is not set".to_owned()),
        },
        SecretSource::Command(argv) => run(argv, timeout).await,
    };
    content.and_then(|content| parse(&content).map_err(str::to_owned)).map_err(|reason| {
        // Of a command, the program only: an argument may be none of the log's business.
        match source {
            SecretSource::Command(argv) => {
                no_credential(format!("command {}: {reason}", argv.first().map_or("", String::as_str)))
            }
            source => no_credential(format!("{source}: {reason}")),
        }
    })
}

/// The secret in the bytes of its source, or why they hold none.
pub fn parse(content: &[u8]) -> Result<Secret, &'static str> {
    if content.len() > LARGEST {
        return Err("it has more than 64 KiB");
    }
    if content.contains(&0) {
        return Err("it contains a NUL");
    }
    let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8")?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    let secret = Secret::new(text);
    if secret.is_blank() { Err("it is empty") } else { Ok(secret) }
}

/// The file behind a source, where it has one.
fn file_of(source: &SecretSource) -> Result<Option<PathBuf>, Failure> {
    match source {
        SecretSource::File(path) => Ok(Some(path.clone())),
        SecretSource::SystemdCredential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(directory) => Ok(Some(Path::new(&directory).join(name))),
            None => Err(no_credential(format!(
                "{source}: $CREDENTIALS_DIRECTORY is not set; the unit needs LoadCredential={name}:FILE"
            ))),
        },
        SecretSource::Env(_) | SecretSource::Command(_) => Ok(None),
    }
}

async fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let read = files::read_off_runtime(path, files::LARGEST_SECRET).await;
    read.map_err(|error| one_line(&format!("it {error}"), 200))
}

/// All that `input` has, or one byte more than the limit.
async fn read_capped(input: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Room for the most there can be, so that growing leaves no copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(LARGEST + 1));
    input.take(LARGEST as u64 + 1).read_to_end(&mut content).await?;
    Ok(content)
}

/// The standard output of a command that succeeded. Its standard error goes into the reason where it did not.
async fn run(argv: &[String], timeout: Duration) -> Result<Zeroizing<Vec<u8>>, String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("it names no program".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| one_line(&error.to_string(), 200))?;
    // Its process group has the number of its first process.
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut guard = GroupGuard(group);
    let finished = tokio::time::timeout(timeout, finish(&mut child)).await;
    let (output, errors, status) = match finished {
        Err(_) => return Err(format!("it took longer than {} and was killed", humantime::format_duration(timeout))),
        Ok(result) => result.map_err(|error| one_line(&error.to_string(), 200))?,
    };
    guard.0 = None;
    if status.success() { Ok(output) } else { Err(format!("it ended with {status}: {}", tail(&errors, &output))) }
}

/// Waits for the output and the end of a command. Printing too much is an error at once, without waiting for the end.
async fn finish(child: &mut Child) -> std::io::Result<(Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>, ExitStatus)> {
    let missing = || std::io::Error::other("its output is not connected");
    let mut stdout = child.stdout.take().ok_or_else(missing)?;
    let mut stderr = child.stderr.take().ok_or_else(missing)?;
    let output = async {
        let output = read_capped(&mut stdout).await?;
        if output.len() > LARGEST {
            return Err(std::io::Error::other("it printed more than 64 KiB and was killed"));
        }
        Ok(output)
    };
    let (output, errors) = tokio::try_join!(output, read_tail(&mut stderr))?;
    Ok((output, errors, child.wait().await?))
}

/// The last kilobytes that `input` has; reads on to the end, so that the writer is not held up.
async fn read_tail(input: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Zeroizing<Vec<u8>>> {
    const KEPT: usize = 4096;
    let mut tail = Zeroizing::new(Vec::with_capacity(2 * KEPT));
    let mut chunk = Zeroizing::new([0; KEPT]);
    loop {
        let count = input.read(&mut chunk[..]).await?;
        if count == 0 {
            return Ok(tail);
        }
        let surplus = (tail.len() + count).saturating_sub(2 * KEPT);
        tail.drain(..surplus);
        tail.extend_from_slice(&chunk[..count]);
    }
}

/// The end of what a command said, in one line, without anything that it printed as the secret.
fn tail(errors: &[u8], output: &[u8]) -> String {
    let mut redactor = Redactor::default();
    for line in String::from_utf8_lossy(output).lines() {
        redactor.add(&Secret::new(line.trim()));
    }
    let clean = one_line(&redactor.clean(&String::from_utf8_lossy(errors)), usize::MAX / 4);
    let skipped = clean.chars().count().saturating_sub(300);
    clean.chars().skip(skipped).collect()
}

fn no_credential(detail: impl Into<String>) -> Failure {
    Failure::new(FailureCode::NoCredential, detail)
}

#[cfg(test)]
mod tests;
