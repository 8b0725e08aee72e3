//! Places that secrets are written to. [`StoreKind`] names the kinds; this file hands each what is asked to the backend
//! that knows its kind.
//!
//! | backend | kinds |
//! | --- | --- |
//! | [`disk`] | files of this machine, in the formats that [`mod@format`] knows |
//! | [`directory`] | files of a directory of this machine that change all at once |
//! | [`command`] | whatever a program of the operator's reads and writes |
//! | `remote` | slots of services that a definition describes, through an account |
//!
//! A backend answers the same questions: whether it can hold a value, whether it could be written, what it holds, and it
//! writes. Writing what is there already changes nothing.

pub mod command;
pub mod directory;
pub mod disk;
pub mod document;
pub mod drift;
pub mod env_file;
mod filling;
pub mod format;
pub mod judge;
pub mod place;
mod receipt;
mod remote;
mod template;
pub mod trial;
mod turn;

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

pub use self::judge::{Found, Judge};
use self::place::Reach;
pub use self::place::{Erased, Place};
pub use self::receipt::{Delivery, Known, Receipt};
use crate::account::pool::Accounts;
use crate::account::survey::Glimpse;
use crate::clock::{Clock, Time};
use crate::crash;
use crate::inventory::{CommandPolicy, FilePolicy, HostFile, RemotePolicy, StoreKind, StorePolicy, TemplateSlot};
use crate::names::{AccountName, HostName, StoreKey};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::places::aside;
use crate::provider::Params;
use crate::secret::{Fingerprint, Fingerprinter, Secret};

/// What a store holds.
#[derive(Clone, Debug)]
pub struct Look {
    pub found: Found,
    /// Whether owner, group and mode are what the inventory asks for.
    pub attributes_ok: bool,
}

/// What serves the kind of a store, with all that it needs for it.
#[derive(Clone, Debug)]
enum Backend {
    Disk(disk::Slot),
    Directory(directory::Slot),
    Command(command::Slot),
    Remote(remote::Slot),
    /// Written by the agent of this host: only whether it can hold a value is known here.
    Elsewhere(HostName, disk::Slot),
}

impl Backend {
    fn of(policy: &StorePolicy) -> Self {
        match &policy.kind {
            StoreKind::File(file) => Self::Disk(disk::Slot { key: policy.key.clone(), file: file.clone() }),
            StoreKind::Directory(directory) => {
                Self::Directory(directory::Slot { key: policy.key.clone(), directory: directory.clone() })
            }
            StoreKind::Command(command) => {
                Self::Command(command::Slot { key: policy.key.clone(), command: CommandPolicy::clone(command) })
            }
            StoreKind::Remote(remote) => Self::Remote(remote::Slot { key: policy.key.clone(), remote: remote.clone() }),
            StoreKind::Hosted(hosted) => {
                let HostFile { path, mode, format, .. } = hosted.file.clone();
                let file = FilePolicy { path, mode, owner: None, group: None, format };
                Self::Elsewhere(hosted.host.clone(), disk::Slot { key: policy.key.clone(), file })
            }
        }
    }
}

/// Why this process does nothing with a store that another host's agent writes.
fn elsewhere(host: &HostName) -> Failure {
    Failure::new(
        FailureCode::StoreUnwritable,
        format!("only the agent of {host} reaches it, asked by a daemon of the fleet"),
    )
}

/// Whether the store can hold the secret at all; nothing is looked at.
pub fn check_value(policy: &StorePolicy, secret: &Secret) -> Result<(), Failure> {
    match Backend::of(policy) {
        Backend::Disk(slot) | Backend::Elsewhere(_, slot) => slot.check_value(secret),
        Backend::Directory(slot) => slot.check_value(secret),
        Backend::Command(slot) => slot.check_value(secret),
        Backend::Remote(slot) => slot.check_value(secret),
    }
}

/// Whether the store can hold a secret of the size of `secret`; nothing is looked at. Tokens of one kind have one size, as a
/// rule, and characters that differ: what refuses this one for its size will refuse the next.
pub fn check_size(policy: &StorePolicy, secret: &Secret) -> Result<(), Failure> {
    let StoreKind::Remote(remote) = &policy.kind else { return Ok(()) };
    remote.definition.check_size(&remote.params, secret)
}

/// Tests that the store can be written, and leaves it as it is. `judge`: what is there may be replaced, too.
pub async fn preflight<C: Clock>(
    policy: &StorePolicy,
    judge: Option<Judge>,
    accounts: &Accounts<C>,
) -> Result<(), Failure> {
    match Backend::of(policy) {
        Backend::Disk(slot) => {
            let judge = judge.filter(Judge::is_strict);
            let tested = bounded(policy.key.clone(), move || slot.preflight(judge.as_ref())).await;
            tested.and_then(|tested| tested)
        }
        Backend::Directory(slot) => {
            let judge = judge.filter(Judge::is_strict);
            let tested = bounded(policy.key.clone(), move || slot.preflight(judge.as_ref())).await;
            tested.and_then(|tested| tested)
        }
        Backend::Command(slot) => {
            let (key, programs) = (policy.key.clone(), slot.clone());
            bounded(key, move || programs.check_programs()).await.and_then(|checked| checked)?;
            aside(Box::pin(slot.preflight(judge.as_ref()))).await
        }
        Backend::Remote(slot) => aside(Box::pin(slot.preflight(judge.as_ref(), accounts))).await,
        Backend::Elsewhere(host, _) => Err(elsewhere(&host)),
    }
}

/// Writes a part of the secret and reads it back. A write that was begun is finished, also where its caller is gone.
///
/// Done: it is there. Later: it cannot be written now. Refused: the store cannot hold this value. Unknown: it may be
/// there, but that could not be confirmed; write again. The receipt is there where the next look depends on it.
pub async fn write<C: Clock>(
    policy: &StorePolicy,
    delivery: &Delivery<'_>,
    known: &Known,
    fingerprints: &Fingerprinter,
    accounts: &Accounts<C>,
) -> Outcome<Option<Receipt>> {
    let Some(secret) = delivery.parts.part(&policy.part) else {
        let detail = format!("the secret has no part `{}`", policy.part);
        return Outcome::Refused(Failure::new(FailureCode::StoreRefused, detail));
    };
    if let Err(failure) = check_value(policy, secret) {
        return Outcome::Refused(failure);
    }
    let judge = Judge::of(policy, Some(secret), known, fingerprints);
    match Backend::of(policy) {
        Backend::Disk(slot) if let Some(of) = policy.template() => {
            write_template(slot, of.clone(), policy, delivery, known, fingerprints).await
        }
        Backend::Disk(slot) => {
            let judge = Some(judge).filter(Judge::is_strict);
            let receipt = judge.is_some().then(Receipt::default);
            let secret = secret.clone();
            let written = bounded(policy.key.clone(), move || slot.write(&secret, judge.as_ref())).await;
            written.unwrap_or_else(Outcome::Unknown).map(|()| receipt)
        }
        Backend::Directory(slot) => {
            let receipt = judge.is_strict().then(Receipt::default);
            let beside = |key: &StoreKey| known.beside.iter().find(|(it, _)| it == key).map(|(_, known)| known);
            let parts = slot.parts(delivery.parts, |file, secret| {
                let known = if file.key == policy.key { known } else { beside(&file.key)? };
                Some(Judge::of(policy, Some(secret), known, fingerprints)).filter(Judge::is_strict)
            });
            let parts = match parts {
                Ok(parts) => parts,
                Err(failure) => return Outcome::Refused(failure),
            };
            let written = bounded(policy.key.clone(), move || slot.write(&parts)).await;
            written.unwrap_or_else(Outcome::Unknown).map(|()| receipt)
        }
        Backend::Command(slot) => aside(Box::pin(slot.write(secret, delivery, &judge))).await.map(Some),
        Backend::Remote(slot) => aside(Box::pin(slot.write(secret, delivery, judge, accounts))).await.map(Some),
        Backend::Elsewhere(host, _) => Outcome::later(elsewhere(&host)),
    }
}

/// Writes the values of a token in a file that a template makes.
async fn write_template(
    slot: disk::Slot,
    of: TemplateSlot,
    policy: &StorePolicy,
    delivery: &Delivery<'_>,
    known: &Known,
    fingerprints: &Fingerprinter,
) -> Outcome<Option<Receipt>> {
    let judge = |secret: &Secret, known: &Known| {
        Some(Judge::of(policy, Some(secret), known, fingerprints)).filter(Judge::is_strict)
    };
    let parts = match template::parts(&slot, &of, delivery.parts, known, judge) {
        Ok(parts) => parts,
        Err(failure) => return Outcome::Refused(failure),
    };
    let receipt = Judge::of(policy, None, known, fingerprints).is_strict().then(Receipt::default);
    let others = delivery.others.clone();
    let written = bounded(policy.key.clone(), move || template::write(&slot, &of, &parts, &others)).await;
    written.unwrap_or_else(Outcome::Unknown).map(|()| receipt)
}

/// What the store holds.
pub async fn look<C: Clock>(policy: &StorePolicy, accounts: &Accounts<C>) -> Result<Look, Failure> {
    match Backend::of(policy) {
        Backend::Disk(slot) => bounded(policy.key.clone(), move || slot.look()).await.and_then(|look| look),
        Backend::Directory(slot) => bounded(policy.key.clone(), move || slot.look()).await.and_then(|look| look),
        Backend::Command(slot) => aside(Box::pin(slot.look())).await.map(|found| Look { found, attributes_ok: true }),
        Backend::Remote(slot) => {
            aside(Box::pin(slot.look(accounts))).await.map(|found| Look { found, attributes_ok: true })
        }
        Backend::Elsewhere(host, _) => Err(elsewhere(&host)),
    }
}

/// What the slot was seen to hold at `since` or later, by a request that showed many slots at once. `None`: nothing shows it
/// so. Fails where the service does not answer now.
pub async fn glimpse<C: Clock>(
    policy: &StorePolicy,
    since: Time,
    fingerprints: &Fingerprinter,
    accounts: &Accounts<C>,
) -> Result<Option<Glimpse>, Failure> {
    let StoreKind::Remote(remote) = &policy.kind else { return Ok(None) };
    let Some(member) = accounts.get(&remote.account) else { return Ok(None) };
    aside(Box::pin(member.glimpse((&remote.params, remote.slot.as_deref()), since, fingerprints))).await
}

/// Writes a file of this machine, which may hold whatever it holds, and reads it back.
pub async fn write_file(slot: disk::Slot, secret: Secret) -> Outcome<()> {
    let written = bounded(slot.key.clone(), move || slot.write(&secret, None)).await;
    written.unwrap_or_else(Outcome::Unknown)
}

/// What a file of this machine holds.
pub async fn look_at_file(slot: disk::Slot) -> Result<Look, Failure> {
    bounded(slot.key.clone(), move || slot.look()).await.and_then(|look| look)
}

/// Tests that a file of this machine can be written, and leaves it as it is.
pub async fn rehearse_file(slot: disk::Slot) -> Result<(), Failure> {
    bounded(slot.key.clone(), move || slot.preflight(None)).await.and_then(|tested| tested)
}

/// Takes what a file of this machine holds out of it, where it is `value`.
pub async fn erase_from_file(slot: disk::Slot, value: &Secret, prints: Fingerprinter) -> Result<Erased, Failure> {
    let value = prints.of(value);
    let ours = move |found: &Found| is_value(found, &value, &prints);
    bounded(slot.key.clone(), move || slot.erase(ours)).await.and_then(|erased| erased)
}

/// Takes the value of `delivered` out of a store, where it is there still.
pub async fn erase<C: Clock>(
    key: &StoreKey,
    place: &Place,
    (delivered, receipt): (&Fingerprint, Option<&Receipt>),
    fingerprints: &Fingerprinter,
    accounts: &Accounts<C>,
) -> Outcome<Erased> {
    let owned = (delivered.clone(), fingerprints.clone());
    let ours = move |found: &Found| is_value(found, &owned.0, &owned.1);
    let erased = match place.reach() {
        Reach::File(file) => {
            let slot = disk::Slot { key: key.clone(), file };
            bounded(key.clone(), move || slot.erase(ours)).await
        }
        Reach::Entry(path, name) => {
            let slot = directory::left(key, path.clone(), name.to_owned());
            bounded(key.clone(), move || slot.erase(ours)).await
        }
        Reach::Host => {
            let why = "it is on a host, and no agent was asked";
            return Outcome::Refused(Failure::new(FailureCode::StoreUnwritable, why));
        }
        Reach::Service(account, params) => {
            return erase_remote(key, (account, params), (delivered, receipt), fingerprints, accounts).await;
        }
    };
    match erased.and_then(|erased| erased) {
        Ok(erased) => Outcome::Done(erased),
        Err(failure) => Outcome::later(failure),
    }
}

/// The same of a slot of a service.
async fn erase_remote<C: Clock>(
    key: &StoreKey,
    (account, params): (&AccountName, &Params),
    (delivered, receipt): (&Fingerprint, Option<&Receipt>),
    fingerprints: &Fingerprinter,
    accounts: &Accounts<C>,
) -> Outcome<Erased> {
    let Some(member) = accounts.get(account) else {
        return Outcome::Done(Erased::Stays(format!("was reached by the account `{account}`, which is gone")));
    };
    let remote = match RemotePolicy::new(&member.policy, params.clone()) {
        Ok((_, remote)) if remote.definition.erases() => remote,
        Ok(_) => return Outcome::Done(Erased::Stays("is of a kind now that nothing is taken out of".to_owned())),
        Err(error) => return Outcome::Refused(Failure::new(FailureCode::StoreUnwritable, error.to_string())),
    };
    let left = receipt.and_then(|receipt| receipt.evidence.clone());
    let ours = |found: &Found| match found {
        Found::Hidden(evidence) => evidence.is_some() && *evidence == left,
        found => is_value(found, delivered, fingerprints),
    };
    aside(Box::pin(remote::Slot { key: key.clone(), remote }.erase(ours, accounts))).await
}

fn is_value(found: &Found, delivered: &Fingerprint, fingerprints: &Fingerprinter) -> bool {
    let Found::Value(secret) = found else { return false };
    fingerprints.readings(secret).contains(delivered)
}

/// Whether it is known at a glance that nothing is there. Blocks for as long as a disk takes.
pub fn is_missing(policy: &StorePolicy) -> bool {
    match Backend::of(policy) {
        Backend::Disk(slot) => slot.is_missing(),
        Backend::Directory(slot) => slot.is_missing(),
        // Only a look would tell.
        Backend::Command(_) | Backend::Remote(_) | Backend::Elsewhere(..) => false,
    }
}

/// How long a disk may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What takes longer waits: its run gives up its place, and its permit.
const SOON: Duration = Duration::from_millis(100);

/// How much is done with disks at once. More of it takes threads and memory and is no faster.
static PERMITS: Semaphore = Semaphore::const_new(32);

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
    let permit = PERMITS.acquire().await;
    let end = Instant::now() + PATIENCE;
    let mut task = tokio::task::spawn_blocking(work);
    let mut ended = timeout(SOON, &mut task).await;
    drop(permit);
    if ended.is_err() {
        ended = aside(timeout_at(end, &mut task)).await;
    }
    if let Ok(ended) = ended {
        return ended
            .map_err(|error| Failure::new(FailureCode::StoreUnwritable, format!("{key}: {}", crash::told(&error))));
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

#[cfg(test)]
mod tests;
