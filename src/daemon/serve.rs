//! `patrold run`: the daemon with everything around it that a service manager and an operator expect.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::clock::{Clock, SystemClock, Time};
use crate::inventory::{Credential, DaemonSettings, Inventory, SecretSource};

use super::scheduler::Key;
use super::server::Socket;
use super::systemd::Systemd;
use super::watch::Watch;
use super::{Running, StartError, start};

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every step under way was brought to its next record.
    Drained,
    /// It took too long, or a second signal came. The journal tells the next start what was under way.
    Aborted,
}

/// Signals that end a daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// SIGTERM or SIGINT.
    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Runs the daemon on the inventory at `config` until a signal ends it. `follow` is told the settings of every
/// inventory that comes into force.
pub async fn serve(config: &Path, follow: impl Fn(&DaemonSettings)) -> Result<Ended, StartError> {
    let systemd = Systemd::of_process();
    super::shelter::take();
    // Before anything slow, so that no signal is lost.
    let mut signals = Signals::new()?;
    let mut hangup = signal(SignalKind::hangup())?;
    // What changes after this is noticed by the watches, although they begin later.
    let read = SystemClock.now();
    let running = Arc::new(start(config, SystemClock).await?);
    let inventory = running.core.inventory();
    follow(&inventory.daemon);
    let control = inventory.daemon.control.clone();
    let socket = Socket::bind(&control).await.map_err(|source| StartError::Control { path: control, source })?;
    let server = tokio::spawn(socket.serve(Arc::clone(&running)));

    let watched = running.reloader.watched();
    let (config_watch, mut changed) = watch(watched.files, watched.directories, read).await?;
    let (credential_watch, mut credentials) = watch(credential_files(&inventory), Vec::new(), read).await?;
    systemd.ready(&summary(&inventory));
    let heart = Arc::clone(&running);
    let watchdog = tokio::spawn({
        let systemd = systemd.clone();
        async move { systemd.watchdog(move || heart.is_alive()).await }
    });

    let why = loop {
        let reload = tokio::select! {
            signal = signals.stop() => break signal,
            _ = hangup.recv() => true,
            Some(()) = changed.recv() => true,
            Some(()) = credentials.recv() => {
                tracing::info!("a credential or CA file changed");
                running.waker.wake(everything(&running));
                false
            }
        };
        if reload {
            systemd.reloading();
            let result = running.reloader.reload().await;
            let inventory = running.core.inventory();
            if result.problems.is_empty() {
                follow(&inventory.daemon);
                systemd.ready(&summary(&inventory));
            } else {
                systemd.ready("the changed inventory is invalid; the one before stays in force");
            }
            let watched = running.reloader.watched();
            config_watch.retarget(&watched.files, &watched.directories);
            credential_watch.retarget(&credential_files(&inventory), &[]);
        }
    };

    let patience = running.core.inventory().daemon.drain_timeout;
    tracing::info!(signal = why, "stopping: steps under way are brought to their next record");
    systemd.stopping(patience);
    server.abort();
    watchdog.abort();
    let drained = tokio::select! {
        drained = running.stop(patience) => drained,
        signal = signals.stop() => {
            tracing::warn!(signal, "stopping at once; the journal tells the next start what was under way");
            false
        }
    };
    tracing::info!(drained, "stopped");
    Ok(if drained { Ended::Drained } else { Ended::Aborted })
}

/// A watch, set up where blocking is allowed.
async fn watch(
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    since: Time,
) -> std::io::Result<(Watch, mpsc::Receiver<()>)> {
    let watch = tokio::task::spawn_blocking(move || Watch::new(&files, &directories, since)).await;
    watch.map_err(std::io::Error::other)?
}

/// Every token and every account.
fn everything<C: Clock>(running: &Running<C>) -> Vec<Key> {
    let accounts = running.core.inventory().accounts.keys().cloned().map(Key::Poll).collect::<Vec<_>>();
    let tokens = running.core.tokens.all().into_iter().map(|(name, _)| Key::Token(name));
    accounts.into_iter().chain(tokens).collect()
}

/// Files that hold credentials or trust roots: when one changes, accounts that were refused may be accepted.
fn credential_files(inventory: &Inventory) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for account in inventory.accounts.values() {
        let source = match &account.credential {
            Credential::Secret(source) | Credential::Basic { password: source, .. } => Some(source),
            Credential::Token(_) => None,
        };
        if let Some(SecretSource::File(path)) = source {
            files.push(path.clone());
        }
        files.extend(account.ca_file.clone());
    }
    for token in inventory.tokens.values() {
        if let Some(SecretSource::File(path)) = token.initial.as_ref().map(|initial| &initial.source) {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    files
}

fn summary(inventory: &Inventory) -> String {
    format!("{} tokens at {} accounts", inventory.tokens.len(), inventory.accounts.len())
}
