//! Applying a changed inventory: load, compare, swap. An invalid one changes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::clock::{Clock, Time};
use crate::event;
use crate::inventory::Loaded;
use crate::inventory::diff::Change;
use crate::journal::fleet::EngineError;
use crate::outcome::Failure;

use super::account_news::log_roots;
use super::core::Core;
use super::deadlines::Key;
use super::scheduler::Waker;
use super::{DaemonJournal, read_inventory};

/// Reloads one inventory.
#[derive(Debug)]
pub struct Reloader<C> {
    core: Arc<Core<C, DaemonJournal>>,
    waker: Waker,
    config: PathBuf,
    /// Held for the length of a reload: one at a time.
    busy: tokio::sync::Mutex<()>,
    last: watch::Sender<Reload>,
    watched: Mutex<Watched>,
}

/// The files that the inventory came from.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    pub files: Vec<PathBuf>,
    pub directories: Vec<PathBuf>,
}

/// What the last reload led to.
#[derive(Clone, Debug, Default)]
pub struct Reload {
    /// None: there was none since the start.
    pub at: Option<Time>,
    /// What changed, a line each.
    pub changes: Vec<String>,
    /// Why the inventory on disk is not in effect, as `file:line:column: sentence` each. Empty: it is.
    pub problems: Vec<String>,
    /// When a reload last applied an inventory. None: the one read at the start is in effect.
    pub in_force_since: Option<Time>,
}

impl<C: Clock> Reloader<C> {
    /// A reloader of the inventory at `config`, which was read from these files.
    pub fn new(
        core: Arc<Core<C, DaemonJournal>>,
        waker: Waker,
        config: &Path,
        files: Vec<PathBuf>,
        directories: Vec<PathBuf>,
    ) -> Self {
        let watched = Watched { files, directories };
        Self {
            core,
            waker,
            config: config.to_owned(),
            busy: tokio::sync::Mutex::default(),
            last: watch::Sender::default(),
            watched: Mutex::new(watched),
        }
    }

    /// What the last reload led to.
    pub fn last(&self) -> Reload {
        self.last.borrow().clone()
    }

    /// Tells of every reload.
    pub fn follow(&self) -> watch::Receiver<Reload> {
        self.last.subscribe()
    }

    /// The files that the inventory on disk consists of.
    pub fn watched(&self) -> Watched {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the inventory again and puts it in effect where it is valid.
    pub async fn reload(&self) -> Reload {
        let _busy = self.busy.lock().await;
        let at = self.core.clock.now();
        let mut reload = match read_inventory(&self.config, &self.core.clock).await {
            Ok(loaded) => self.take(loaded, at).await,
            Err(error) => Reload { at: Some(at), problems: vec![error.to_string()], ..Reload::default() },
        };
        if !reload.problems.is_empty() {
            for problem in &reload.problems {
                tracing::error!(event = event::INVENTORY_PROBLEM, "{problem}");
            }
            tracing::error!(
                event = event::INVENTORY_REFUSED,
                problems = reload.problems.len(),
                "the changed inventory is invalid; the one before stays in use"
            );
        }
        reload.in_force_since = reload.in_force_since.or(self.last.borrow().in_force_since);
        self.last.send_replace(reload.clone());
        reload
    }

    async fn take(&self, loaded: Loaded, at: Time) -> Reload {
        let Loaded { inventory, report, files, directories, .. } = loaded;
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Watched { files, directories };
        let lines: Vec<String> = report.problems().iter().map(|problem| report.line(problem)).collect();
        let Some(inventory) = inventory else {
            // Trust that was taken back ends all the same.
            log_roots(&self.core.accounts.update(&self.core.inventory()).await);
            return Reload { at: Some(at), problems: lines, ..Reload::default() };
        };
        for line in &lines {
            tracing::warn!(event = event::INVENTORY_NOTE, "{line}");
        }
        if inventory.selects_hosts()
            && let Err(failure) = self.learn_hosts().await
        {
            let problem = format!("the hosts that `hosts` means by labels cannot be read: {failure}");
            return Reload { at: Some(at), problems: vec![problem], ..Reload::default() };
        }
        let inventory = Arc::new(inventory);
        let expected = Arc::clone(&inventory);
        // Ends abnormally only with the runtime.
        let _ = tokio::task::spawn_blocking(move || super::sweep::expect(&expected)).await;
        let changes = self.core.apply(inventory).await;
        self.core.machine.effects.observers.credentials.supply().await;
        for change in &changes {
            tracing::info!(event = event::INVENTORY_CHANGED, "inventory reloaded: {change}");
        }
        if changes.is_empty() {
            tracing::info!(event = event::INVENTORY_UNCHANGED, "inventory reloaded: nothing changed");
        }
        self.waker.wake(self.affected(&changes));
        let changes = changes.iter().map(ToString::to_string).collect();
        Reload { at: Some(at), changes, in_force_since: Some(at), ..Reload::default() }
    }

    /// Law: an inventory that means hosts by labels takes effect only with all of them. Without, a host that was named until
    /// now would be none of its hosts for a moment, and what it holds would be revoked.
    async fn learn_hosts(&self) -> Result<(), Failure> {
        let Some(journal) = self.core.machine.journal.fleet() else { return Ok(()) };
        let agents = &self.core.machine.effects.agents;
        let (_, _, late) = agents.read(journal).await.map_err(EngineError::failure)?;
        self.waker.wake(late.into_iter().map(Key::Token).collect());
        Ok(())
    }

    /// What has something new to look at, or owes something; nothing else is touched.
    fn affected(&self, changes: &[Change]) -> Vec<Key> {
        // An operator who mended a store or a hook often reloads then.
        let owing = self.core.tokens.all().into_iter().filter(|(_, token)| token.state().owes());
        let mut keys: Vec<_> = owing.map(|(name, _)| Key::Token(name)).collect();
        for change in changes {
            match change {
                Change::Daemon { .. }
                | Change::AccountRemoved(_)
                | Change::ChannelAdded(_)
                | Change::ChannelChanged(_)
                | Change::ChannelRemoved(_) => {}
                Change::AccountAdded(name) => keys.push(Key::Poll(name.clone())),
                Change::AccountChanged(name, _) => {
                    keys.push(Key::Poll(name.clone()));
                    keys.extend(self.core.tokens.of(name).into_iter().map(|(token, _)| Key::Token(token)));
                }
                Change::TokenAdded(name) | Change::TokenChanged(name, _) | Change::TokenRemoved(name) => {
                    keys.push(Key::Token(name.clone()));
                }
            }
        }
        keys
    }
}
