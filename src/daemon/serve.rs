//! `patrold run`: the daemon with everything around it that a service manager and an operator expect.

use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::clock::{Clock, SystemClock};
use crate::inventory::{DaemonSettings, Inventory};
use crate::telemetry::event;
use crate::text::words;

use super::config_watch::{Changed, ConfigWatcher};
use super::control::Socket;
use super::http::Front;
use super::systemd::Systemd;
use super::{StartError, start};

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every step under way was brought to its next record.
    Drained,
    /// It took too long, or a second signal came. The journal tells the next start what was under way.
    Aborted,
}

/// Signals that end a daemon.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// SIGTERM or SIGINT.
    pub(super) async fn stop(&mut self) -> &'static str {
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
    super::hardening::apply();
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

    let front = Front::start(Arc::clone(&running));
    let mut watcher = ConfigWatcher::new(&running, read).await?;
    systemd.ready(&summary(&inventory));
    let heart = Arc::clone(&running);
    let watchdog = tokio::spawn({
        let systemd = systemd.clone();
        async move { systemd.watchdog(move || heart.is_alive()).await }
    });

    let why = loop {
        let changed = tokio::select! {
            signal = signals.stop() => break signal,
            _ = hangup.recv() => Changed::Inventory,
            changed = watcher.changed() => changed,
        };
        match changed {
            Changed::Credential => {
                watcher.retry(&running);
                front.refresh();
            }
            Changed::Inventory => {
                systemd.reloading();
                let reload = watcher.reload(&running).await;
                let inventory = running.core.inventory();
                if reload.problems.is_empty() {
                    follow(&inventory.daemon);
                    systemd.ready(&summary(&inventory));
                } else {
                    systemd.ready("the changed inventory is invalid; the one before stays in force");
                }
            }
        }
    };

    let patience = running.core.inventory().daemon.drain_timeout;
    tracing::info!(event = event::STOPPING, signal = why, "stopping: steps under way are brought to their next record");
    systemd.stopping(patience);
    drop(front);
    server.abort();
    watchdog.abort();
    let drained = tokio::select! {
        drained = running.stop(patience) => drained,
        signal = signals.stop() => {
            tracing::warn!(
                event = event::STOP_FORCED,
                signal,
                "stopping at once; the journal tells the next start what was under way"
            );
            false
        }
    };
    tracing::info!(event = event::STOPPED, drained, "stopped");
    Ok(if drained { Ended::Drained } else { Ended::Aborted })
}

fn summary(inventory: &Inventory) -> String {
    let (tokens, accounts) = (inventory.tokens.len(), inventory.accounts.len());
    format!("{} at {}", words::count(tokens, "token"), words::count(accounts, "account"))
}
