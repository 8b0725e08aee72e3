//! `patrold run`: the daemon with everything around it that a service manager and an operator expect.
//!
//! Orders from outside come first, whatever else is going on: a start that waits for a disk, a reload that reads a file
//! system that hangs, can be stopped at any time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::clock::{Clock, SystemClock};
use crate::crash;
use crate::event;
use crate::inventory::DaemonSettings;

use super::condition_line::{PATIENCE, Told, condition_line, stores_looked_at};
use super::config_watch::{Changed, ConfigWatcher};
use super::control::Socket;
use super::http::{Front, FrontHandle};
use super::notifier;
use super::reload::Reload;
use super::systemd::Systemd;
use super::{Running, StartError, start};

/// How long messages may take that are on their way when the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every step under way was brought to its next record.
    Drained,
    /// It took too long, or a second signal came. The journal tells the next start what was under way.
    Aborted,
}

/// What somebody outside of the process tells the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGTERM or SIGINT, by its name.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

/// What the daemon depends on besides its files, so that tests run the daemon itself and not a copy of it.
#[derive(Debug)]
pub struct Host<F> {
    pub orders: mpsc::UnboundedReceiver<Order>,
    pub systemd: Systemd,
    /// Told the settings of every inventory that takes effect.
    pub follow: F,
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

    /// Every signal as an order. They are taken from now on.
    fn orders(mut self) -> std::io::Result<mpsc::UnboundedReceiver<Order>> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (sender, orders) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let order = tokio::select! {
                    name = self.stop() => Order::Stop(name),
                    _ = hangup.recv() => Order::Reload,
                };
                if sender.send(order).is_err() {
                    return;
                }
            }
        });
        Ok(orders)
    }
}

/// Runs the daemon on the inventory at `config` until a signal ends it. `follow` is told the settings of every
/// inventory that takes effect.
pub async fn serve(config: &Path, follow: impl Fn(&DaemonSettings)) -> Result<Ended, StartError> {
    let systemd = Systemd::of_process();
    super::hardening::apply();
    // Before anything slow, so that no signal is lost.
    let orders = Signals::new()?.orders()?;
    host(config, SystemClock, Host { orders, systemd, follow }, |_, _| ()).await
}

/// Runs the daemon under the orders of `host`. `started` gets it once it serves.
pub async fn host<C: Clock, F: Fn(&DaemonSettings)>(
    config: &Path,
    clock: C,
    mut host: Host<F>,
    started: impl FnOnce(&Arc<Running<C>>, &FrontHandle),
) -> Result<Ended, StartError> {
    // What changes after this is noticed by the watches, although they begin later.
    let read = clock.now();
    let running = tokio::select! {
        biased;
        signal = stop(&mut host.orders) => {
            tracing::info!(event = event::STOPPING, signal, "stopping before the start is over: nothing is under way");
            tracing::info!(event = event::STOPPED, drained = true, "stopped");
            return Ok(Ended::Drained);
        }
        running = start(config, clock) => Arc::new(running?),
    };
    let inventory = running.core.inventory();
    (host.follow)(&inventory.daemon);
    let control = inventory.daemon.control.clone();
    let socket = Socket::bind(&control).await.map_err(|source| StartError::Control { path: control, source })?;
    // Ends with the daemon, however that ends.
    let mut beside = JoinSet::new();
    beside.spawn(async { drop(super::reaper::run().await) });
    beside.spawn({
        let served = socket.serve(Arc::clone(&running));
        async move { drop(served.await) }
    });
    beside.spawn({
        let (systemd, running, told) = (host.systemd.clone(), Arc::clone(&running), Arc::<Told>::default());
        let notices = systemd.clone();
        let beats = move |patience: Duration| {
            let (systemd, running, told) = (notices.clone(), Arc::clone(&running), Arc::clone(&told));
            async move {
                let alive = running.waker.heartbeat(patience).await.1;
                // The status of many tokens takes its time, and no ping waits for it.
                drop(tokio::task::spawn_blocking(move || {
                    if let Some(line) = told.news(&running) {
                        systemd.status(&line);
                    }
                }));
                alive
            }
        };
        async move { systemd.watchdog(beats).await }
    });
    let front = Front::start(Arc::clone(&running));
    let mut beginning = JoinSet::new();
    beginning.spawn({
        let running = Arc::clone(&running);
        async move { ConfigWatcher::new(&running, read).await }
    });
    // A directory that hangs is waited for in the background.
    let watched = timeout(PATIENCE, beginning.join_next());
    let watcher = tokio::select! {
        biased;
        signal = stop(&mut host.orders) => return end(running, front, beside, &mut host, signal).await,
        ((), begun) = join(stores_looked_at(&running, PATIENCE), watched) => begun.ok().flatten(),
    };
    let watcher = watcher.map(begun).transpose()?;
    host.systemd.ready(&condition_line(&running.status()));
    started(&running, front.handle());
    // Not before stores were looked at: what is not known yet is not told.
    let mut telling = JoinSet::new();
    telling.spawn(notifier::run(Arc::clone(&running)));

    let signal = attend(&running, &mut host, front.handle(), (watcher, beginning)).await?;
    running.notifier.close();
    let ended = end(running, front, beside, &mut host, signal).await;
    // What was told and is not written down would be told again.
    let _ = timeout(LAST_WORDS, telling.join_next()).await;
    ended
}

/// Ends the daemon in good order, after the order `signal`.
async fn end<C: Clock, F: Fn(&DaemonSettings)>(
    running: Arc<Running<C>>,
    front: Front,
    beside: JoinSet<()>,
    host: &mut Host<F>,
    signal: &'static str,
) -> Result<Ended, StartError> {
    let patience = running.core.inventory().daemon.drain_timeout;
    tracing::info!(event = event::STOPPING, signal, "stopping: steps under way are brought to their next record");
    host.systemd.stopping(patience);
    drop(front);
    drop(beside);
    let drained = tokio::select! {
        drained = running.stop(patience) => drained,
        signal = stop(&mut host.orders) => {
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

/// Waits for the order to stop.
async fn stop(orders: &mut mpsc::UnboundedReceiver<Order>) -> &'static str {
    loop {
        match orders.recv().await {
            Some(Order::Stop(signal)) => return signal,
            Some(Order::Reload) => {}
            None => std::future::pending().await,
        }
    }
}

/// What was noticed and is not dealt with yet.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    reload: bool,
    retry: bool,
    mend: bool,
}

/// Follows orders and changes on disk until the order to stop comes. What reads files runs beside this loop, one thing at
/// a time, and ends with it.
async fn attend<C: Clock, F: Fn(&DaemonSettings)>(
    running: &Arc<Running<C>>,
    host: &mut Host<F>,
    front: &FrontHandle,
    (mut watcher, mut beginning): (Option<ConfigWatcher>, JoinSet<std::io::Result<ConfigWatcher>>),
) -> Result<&'static str, StartError> {
    let mut owed = Owed::default();
    let mut work: JoinSet<Option<Reload>> = JoinSet::new();
    let mut deaf = false;
    loop {
        if work.is_empty() {
            let running = Arc::clone(running);
            if std::mem::take(&mut owed.reload) {
                host.systemd.reloading();
                work.spawn(async move { Some(running.reloader.reload().await) });
            } else if std::mem::take(&mut owed.retry) {
                work.spawn(async move {
                    running.retry().await;
                    None
                });
            } else if std::mem::take(&mut owed.mend) {
                work.spawn(async move {
                    running.mend().await;
                    None
                });
            }
        }
        tokio::select! {
            biased;
            order = host.orders.recv(), if !deaf => match order {
                Some(Order::Stop(signal)) => return Ok(signal),
                Some(Order::Reload) => owed.reload = true,
                // No orders can come any more; changes on disk are followed all the same.
                None => deaf = true,
            },
            Some(late) = beginning.join_next() => {
                let begun = begun(late)?;
                // The inventory may have changed since it began.
                begun.follow(running);
                watcher = Some(begun);
            }
            Some(done) = work.join_next() => {
                if let Some(watcher) = &watcher {
                    watcher.follow(running);
                }
                match done {
                    Ok(None) => front.refresh(),
                    Ok(Some(reload)) => {
                        let inventory = running.core.inventory();
                        if reload.problems.is_empty() {
                            (host.follow)(&inventory.daemon);
                        }
                        host.systemd.ready(&condition_line(&running.status()));
                    }
                    Err(error) => {
                        tracing::error!(event = event::TASK_DIED, %error, "a reload ended abnormally");
                        host.systemd.ready("a reload ended abnormally; see the log");
                    }
                }
            }
            changed = changed(watcher.as_mut()) => match changed {
                Changed::Inventory => owed.reload = true,
                Changed::Credential => owed.retry = true,
                Changed::Store => owed.mend = true,
            },
        }
    }
}

fn begun(watcher: Result<std::io::Result<ConfigWatcher>, JoinError>) -> std::io::Result<ConfigWatcher> {
    watcher.map_err(|error| crash::as_io(&error))?
}

async fn changed(watcher: Option<&mut ConfigWatcher>) -> Changed {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
    }
}
