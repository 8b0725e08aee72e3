//! What a running daemon notices on disk, and what it does about it: a changed inventory is applied, a changed
//! credential gives what was refused another try.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use crate::clock::{Clock, Time};
use crate::crash;
use crate::event;
use crate::inventory::{Inventory, StorePolicy};
use crate::secret::SecretSource;

use super::Running;
use super::account_news::log_roots;
use super::deadlines::Key;
use super::watch::Watch;

/// What changed on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// A file of the inventory.
    Inventory,
    /// A file that holds a credential, a certificate or trust roots.
    Credential,
    /// A store appeared or vanished, or the directory that it is in.
    Store,
}

/// Watches the files that a daemon depends on.
#[derive(Debug)]
pub struct ConfigWatcher {
    inventory: Watch,
    inventory_changed: mpsc::Receiver<()>,
    credentials: Watch,
    credential_changed: mpsc::Receiver<()>,
    stores: Watch,
    store_changed: mpsc::Receiver<()>,
}

impl ConfigWatcher {
    /// Watches what `running` was started from; what changed after `since` is noticed, too.
    pub async fn new<C: Clock>(running: &Running<C>, since: Time) -> std::io::Result<Self> {
        let watched = running.reloader.watched();
        let (inventory, inventory_changed) = watch(watched.files, watched.directories, since).await?;
        let (credentials, credential_changed) =
            watch(credential_files(&running.core.inventory()), Vec::new(), since).await?;
        let files = store_files(&running.core.inventory());
        let begun = tokio::task::spawn_blocking(move || Watch::of_presence(&files, since)).await;
        let (stores, store_changed) = begun.map_err(|error| crash::as_io(&error))??;
        Ok(Self { inventory, inventory_changed, credentials, credential_changed, stores, store_changed })
    }

    /// Waits until something changes on disk. Nothing is lost where the wait is given up.
    pub async fn changed(&mut self) -> Changed {
        tokio::select! {
            Some(()) = self.inventory_changed.recv() => Changed::Inventory,
            Some(()) = self.credential_changed.recv() => Changed::Credential,
            Some(()) = self.store_changed.recv() => Changed::Store,
            // Both watches have ended: there is nothing left to notice.
            else => std::future::pending().await,
        }
    }

    /// Watches what the inventory consists of now.
    pub fn follow<C: Clock>(&self, running: &Running<C>) {
        let watched = running.reloader.watched();
        self.inventory.retarget(&watched.files, &watched.directories);
        self.credentials.retarget(&credential_files(&running.core.inventory()), &[]);
        self.stores.retarget(&store_files(&running.core.inventory()), &[]);
    }
}

impl<C: Clock> Running<C> {
    /// A credential or CA file changed: reads trust roots anew, and gives every token and every account another try.
    pub async fn retry(&self) {
        tracing::info!(event = event::CREDENTIAL_CHANGED, "a credential or CA file changed");
        let inventory = self.core.inventory();
        log_roots(&self.core.accounts.update(&inventory).await);
        self.core.look_again();
        self.notifier.retry();
        self.core.stirred.notify_one();
        let accounts = inventory.accounts.keys().cloned().map(Key::Poll).collect::<Vec<_>>();
        let tokens = self.core.tokens.all().into_iter().map(|(name, _)| Key::Token(name));
        self.waker.wake(accounts.into_iter().chain(tokens).collect());
    }

    /// Looks at the stores that are gone or owed. A service that makes its directory anew waits for what was in it.
    pub async fn mend(&self) {
        let owing = self.core.suspect_stores().await;
        self.waker.wake(owing.into_iter().map(Key::Token).collect());
    }
}

/// Every store that is a file, and the directory that it is in.
fn store_files(inventory: &Inventory) -> Vec<PathBuf> {
    let stores = inventory.tokens.values().flat_map(|token| &token.stores).filter_map(StorePolicy::replaces);
    let mut files: Vec<_> =
        stores.flat_map(|path| path.parent().map(Path::to_owned).into_iter().chain([path.into_owned()])).collect();
    files.sort();
    files.dedup();
    files
}

/// A watch, set up where blocking is allowed.
async fn watch(
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    since: Time,
) -> std::io::Result<(Watch, mpsc::Receiver<()>)> {
    let watch = tokio::task::spawn_blocking(move || Watch::new(&files, &directories, since)).await;
    watch.map_err(|error| crash::as_io(&error))?
}

/// Files that hold credentials or trust roots: when one changes, accounts that were refused may be accepted. Those of the
/// HTTP server, too.
fn credential_files(inventory: &Inventory) -> Vec<PathBuf> {
    let sources = inventory.credential_sources().filter_map(|source| match source {
        SecretSource::File(path) => Some(path.as_path()),
        SecretSource::Env(_) | SecretSource::SystemdCredential(_) | SecretSource::Command(_) => None,
    });
    let trusted = inventory.accounts.values().flat_map(|account| account.endpoint.tls.files());
    let shown = inventory.daemon.listen.iter().filter_map(|listen| Some(listen.tls.as_ref()?.cert.as_path()));
    let mut files: Vec<PathBuf> = sources.chain(trusted).chain(shown).map(Path::to_owned).collect();
    files.sort();
    files.dedup();
    files
}
