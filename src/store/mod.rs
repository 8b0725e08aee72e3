//! Places that secrets are written to: files that hold one secret, and keys of env files.
//!
//! Writes are atomic, read back, and idempotent: writing what is there already changes nothing. Two tokens may own keys
//! of one env file, and people edit such files; so edits of one file take turns in this process, and an edit by anybody
//! else between reading and replacing is noticed and taken into account.
//!
//! The functions block; [`write_async`] and its siblings run them on the blocking pool.

pub mod drift;
pub mod env_file;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use zeroize::Zeroizing;

use self::env_file::Read;
use crate::durable::{Attributes, Cause, Content, DurableError, Identity, Phase, Target};
use crate::inventory::{FilePolicy, StoreKind, StorePolicy, defaults};
use crate::names::StoreKey;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::secret::Secret;

/// Larger files are not stores of ours.
const MAX_FILE: usize = 1024 * 1024;

/// How often an edit begins anew because somebody else changed the file meanwhile.
const EDITS: u32 = 5;

/// What a store holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// `None`: something is there, but readers differ about what.
    pub secret: Option<Secret>,
    /// Whether owner, group and mode are what the inventory asks for.
    pub attributes_ok: bool,
}

/// Whether the store's format can hold the secret at all; no file is looked at.
pub fn check_value(policy: &StorePolicy, secret: &Secret) -> Result<(), Failure> {
    let refused = |why: String| Err(Failure::new(FailureCode::StoreRefused, format!("{}: {why}", policy.key)));
    if secret.is_blank() {
        return refused("the value is empty".to_owned());
    }
    match &policy.kind {
        StoreKind::File(_) => Ok(()),
        StoreKind::EnvFile { key, .. } if !env_file::is_key(key) => {
            refused(format!("\"{key}\" is no name of an environment variable"))
        }
        StoreKind::EnvFile { dialect, .. } => env_file::encode(secret.expose(), *dialect).map(drop).or_else(refused),
    }
}

/// Tests that the store can be written, with the owner and mode asked for, and leaves it as it is.
pub fn preflight(policy: &StorePolicy) -> Result<(), Failure> {
    let target = open_shared(policy)?;
    let existing = read_existing(policy, &target)?;
    if let StoreKind::EnvFile { key, dialect, .. } = &policy.kind {
        if !env_file::is_key(key) {
            let detail = format!("{}: \"{key}\" is no name of an environment variable", policy.key);
            return Err(Failure::new(FailureCode::StoreRefused, detail));
        }
        let document = existing.as_ref().map_or(&[][..], |content| &content.bytes);
        env_file::get(document, key, *dialect).map_err(|problem| unwritable(policy, problem))?;
    }
    let attributes = attributes(policy, existing.as_ref())?;
    // Some more than is there, for a value that is longer than the old one.
    let size = existing.map_or(0, |content| content.bytes.len()) + 4096;
    target.rehearse(size, attributes).map_err(|error| unwritable(policy, error))
}

/// Writes the secret and reads it back.
///
/// Done: it is there, on the disk. Later: the file, its directory or its content do not allow it now. Refused: the
/// format cannot hold this value. Unknown: it may be visible, but that could not be confirmed; write again.
pub fn write(policy: &StorePolicy, secret: &Secret) -> Outcome<()> {
    if let Err(failure) = check_value(policy, secret) {
        return Outcome::Refused(failure);
    }
    match write_checked(policy, secret) {
        Ok(outcome) => outcome,
        Err(failure) => Outcome::later(failure),
    }
}

/// What the store holds; `None` where there is no file, or no such key in it.
pub fn read(policy: &StorePolicy) -> Result<Option<Held>, Failure> {
    let target = match Target::open(&file(policy).path) {
        Err(error) if error.io().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound) => return Ok(None),
        target => target.map_err(|error| unwritable(policy, error))?,
    };
    let content = match (target.read(MAX_FILE), &policy.kind) {
        // It holds something that is not known; that is no reason not to replace it.
        (Err(error), StoreKind::File(_)) if error.is_denied() => {
            return Ok(Some(Held { secret: None, attributes_ok: false }));
        }
        (content, _) => content.map_err(|error| unwritable(policy, error))?,
    };
    let Some(content) = content else { return Ok(None) };
    let secret = match &policy.kind {
        StoreKind::File(file) => {
            let bytes = &content.bytes[..];
            let bytes = if file.newline { bytes.strip_suffix(b"\n").unwrap_or(bytes) } else { bytes };
            // A secret is text: bytes that are none are something else.
            str::from_utf8(bytes).ok().map(Secret::new)
        }
        StoreKind::EnvFile { key, dialect, .. } => {
            match env_file::get(&content.bytes, key, *dialect).map_err(|problem| unwritable(policy, problem))? {
                Read::Missing => return Ok(None),
                Read::Value(value) => str::from_utf8(&value).ok().map(Secret::new),
                Read::Disputed => None,
            }
        }
    };
    let attributes_ok = match attributes(policy, Some(&content)) {
        Ok(wanted) => fits(wanted, content.attributes),
        Err(_) => false,
    };
    Ok(Some(Held { secret, attributes_ok }))
}

/// Whether nothing is there, without a look at what is.
pub fn is_missing(policy: &StorePolicy) -> bool {
    std::fs::metadata(&file(policy).path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// [`preflight`] on the blocking pool.
pub async fn preflight_async(policy: &StorePolicy) -> Result<(), Failure> {
    let policy = policy.clone();
    bounded(policy.key.clone(), move || preflight(&policy)).await.and_then(|tested| tested)
}

/// [`write()`] on the blocking pool. A write that was begun is finished, also where its caller is gone.
pub async fn write_async(policy: &StorePolicy, secret: &Secret) -> Outcome<()> {
    let (policy, secret) = (policy.clone(), secret.clone());
    bounded(policy.key.clone(), move || write(&policy, &secret)).await.unwrap_or_else(Outcome::Unknown)
}

/// [`read`] on the blocking pool.
pub async fn read_async(policy: &StorePolicy) -> Result<Option<Held>, Failure> {
    let policy = policy.clone();
    bounded(policy.key.clone(), move || read(&policy)).await.and_then(|held| held)
}

/// How long a disk may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stores with something under way that has taken longer.
static HANGING: LazyLock<Mutex<HashSet<StoreKey>>> = LazyLock::new(Mutex::default);

/// Does `work` on the blocking pool, and waits for it so long as a disk may take.
///
/// Law: a store that hangs (a network file system whose server is gone) holds up no other store, and no token for ever.
/// What was begun goes on meanwhile, and nothing else is begun with this store until it has ended: it must neither fill the
/// pool nor come after a newer write.
async fn bounded<T: Send + 'static>(key: StoreKey, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let hanging = || HANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let hangs = |key: &StoreKey| {
        let detail = format!("{key}: the file system has not answered for {} s", PATIENCE.as_secs());
        Failure::new(FailureCode::StoreUnwritable, detail)
    };
    if hanging().contains(&key) {
        return Err(hangs(&key));
    }
    let mut task = tokio::task::spawn_blocking(work);
    if let Ok(ended) = tokio::time::timeout(PATIENCE, &mut task).await {
        return ended.map_err(|error| Failure::new(FailureCode::StoreUnwritable, format!("{key}: {error}")));
    }
    hanging().insert(key.clone());
    let failure = hangs(&key);
    tokio::spawn(async move {
        // However it ended, it hangs no longer.
        let _ = task.await;
        hanging().remove(&key);
    });
    Err(failure)
}

fn write_checked(policy: &StorePolicy, secret: &Secret) -> Result<Outcome<()>, Failure> {
    let target = open_shared(policy)?;
    let turn = turn(target.identity());
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..EDITS {
        let existing = read_existing(policy, &target)?;
        let wanted = attributes(policy, existing.as_ref())?;
        let bytes = render(policy, existing.as_ref(), secret)?;
        if existing.as_ref().is_some_and(|content| content.bytes == bytes && fits(wanted, content.attributes)) {
            return Ok(match target.settle() {
                Ok(()) => Outcome::Done(()),
                Err(error) => Outcome::Unknown(unwritable(policy, error)),
            });
        }
        let unchanged = |phase| match (&policy.kind, phase) {
            (StoreKind::EnvFile { .. }, Phase::Rename) => still(&target, existing.as_ref()),
            _ => Ok(()),
        };
        match target.replace_checked(&bytes, wanted, unchanged) {
            Ok(()) => return Ok(confirm(policy, secret)),
            Err(error) if error.is_changed() => {}
            Err(error) if error.may_be_visible() => return Ok(Outcome::Unknown(unwritable(policy, error))),
            Err(error) => return Err(unwritable(policy, error)),
        }
    }
    Err(unwritable(policy, "somebody else changed the file each time that it was edited"))
}

/// Whether the target still holds what was read.
fn still(target: &Target, existing: Option<&Content>) -> Result<(), Cause> {
    let Ok(now) = target.read_sole(MAX_FILE) else { return Err(Cause::Changed) };
    let same = match (&now, existing) {
        (Some(now), Some(existing)) => now.bytes == existing.bytes && now.attributes == existing.attributes,
        (None, None) => true,
        _ => false,
    };
    if same { Ok(()) } else { Err(Cause::Changed) }
}

/// Reads back what was written.
fn confirm(policy: &StorePolicy, secret: &Secret) -> Outcome<()> {
    let mismatch = |why: &str| {
        Outcome::Unknown(Failure::new(FailureCode::StoreMismatch, format!("{}: {why} after the write", policy.key)))
    };
    match read(policy) {
        Ok(Some(Held { secret: Some(found), attributes_ok })) if found.expose() == secret.expose() => {
            if attributes_ok {
                Outcome::Done(())
            } else {
                mismatch("owner, group or mode differ from what was asked for")
            }
        }
        Ok(Some(_)) => mismatch("it holds something else"),
        Ok(None) => mismatch("it holds nothing"),
        Err(failure) => Outcome::Unknown(failure),
    }
}

/// The whole content that the file is to have.
fn render(policy: &StorePolicy, existing: Option<&Content>, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match &policy.kind {
        StoreKind::File(file) => {
            let mut bytes = Zeroizing::new(Vec::with_capacity(secret.expose().len() + 1));
            bytes.extend_from_slice(secret.expose().as_bytes());
            if file.newline {
                bytes.push(b'\n');
            }
            Ok(bytes)
        }
        StoreKind::EnvFile { key, dialect, .. } => {
            let document = existing.map_or(&[][..], |content| &content.bytes);
            env_file::set(document, key, secret.expose(), *dialect).map_err(|problem| unwritable(policy, problem))
        }
    }
}

/// The owner, group and mode that the file is to have. It keeps what the inventory does not name: an env file everything,
/// a file that holds a secret alone its owner and group, and its mode where an access control list depends on it.
fn attributes(policy: &StorePolicy, existing: Option<&Content>) -> Result<Attributes, Failure> {
    let file = file(policy);
    let env = matches!(policy.kind, StoreKind::EnvFile { .. });
    let mode = file.mode.unwrap_or(defaults::STORE_MODE);
    let asked = Attributes { mode, owner: file.owner, group: file.group, inherit: !env };
    let Some(Content { attributes: found, has_acl, .. }) = existing else { return Ok(asked) };
    if *has_acl && file.mode.is_some() && found.mode & 0o070 & !mode != 0 {
        // The group's bits of the mode are the mask of the list: they bound what it gives to anybody.
        let why = format!(
            "it has a POSIX access control list, which mode {mode:04o} would cut: remove `mode` from the inventory, or \
             the list by `setfacl -b`"
        );
        return Err(unwritable(policy, why));
    }
    if !env {
        let mode = if *has_acl && file.mode.is_none() { mode | found.mode & 0o070 } else { mode };
        return Ok(Attributes { mode, ..asked });
    }
    if file.mode.is_none() && found.mode & 0o006 != 0 {
        let why =
            format!("its mode {:04o} opens it to every user: chmod o-rw, or set mode in the inventory", found.mode);
        return Err(unwritable(policy, why));
    }
    Ok(Attributes {
        mode: file.mode.unwrap_or(found.mode),
        owner: asked.owner.or(found.owner),
        group: asked.group.or(found.group),
        inherit: false,
    })
}

fn fits(wanted: Attributes, found: Attributes) -> bool {
    let agree = |wanted: Option<u32>, found| wanted.is_none() || wanted == found;
    wanted.mode == found.mode && agree(wanted.owner, found.owner) && agree(wanted.group, found.group)
}

fn file(policy: &StorePolicy) -> &FilePolicy {
    match &policy.kind {
        StoreKind::File(file) | StoreKind::EnvFile { file, .. } => file,
    }
}

fn open(policy: &StorePolicy) -> Result<Target, Failure> {
    Target::open(&file(policy).path).map_err(|error| unwritable(policy, error))
}

/// As [`open`], where others than this process see what is written.
fn open_shared(policy: &StorePolicy) -> Result<Target, Failure> {
    match crate::host::hides(policy.directory()) {
        Some(hidden) => Err(unwritable(policy, hidden.sentence())),
        None => open(policy),
    }
}

fn read_existing(policy: &StorePolicy, target: &Target) -> Result<Option<Content>, Failure> {
    let content = match &policy.kind {
        StoreKind::File(_) => {
            target.read(MAX_FILE).or_else(|error| if error.is_denied() { Ok(None) } else { Err(error) })
        }
        // Its other lines are copied into the new file.
        StoreKind::EnvFile { .. } => target.read_sole(MAX_FILE),
    };
    content.map_err(|error| unwritable(policy, error))
}

fn unwritable(policy: &StorePolicy, why: impl Into<Why>) -> Failure {
    let path = file(policy).path.display();
    let detail = match why.into() {
        // Names the path itself.
        Why::File(error) => error.to_string(),
        Why::Content(problem) => format!("{path} {problem}"),
        Why::Other(why) => format!("{path}: {why}"),
    };
    Failure::new(FailureCode::StoreUnwritable, detail)
}

/// What keeps a store from being written.
enum Why {
    File(DurableError),
    Content(env_file::Problem),
    Other(String),
}

impl From<DurableError> for Why {
    fn from(error: DurableError) -> Self {
        Self::File(error)
    }
}

impl From<env_file::Problem> for Why {
    fn from(problem: env_file::Problem) -> Self {
        Self::Content(problem)
    }
}

impl From<&str> for Why {
    fn from(why: &str) -> Self {
        Self::Other(why.to_owned())
    }
}

impl From<String> for Why {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

/// The lock of one file: writes of the same file take turns, whatever path leads to it.
fn turn(identity: Identity) -> Arc<Mutex<()>> {
    static TURNS: LazyLock<Mutex<HashMap<Identity, Weak<Mutex<()>>>>> = LazyLock::new(Mutex::default);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(&identity).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Arc::default();
    turns.insert(identity, Arc::downgrade(&turn));
    turn
}
