//! A replica in its fleet: it lives, takes its share of the accounts, and hands over what is another's.
//!
//! One task keeps the lease alive, another one follows who lives and decides what to take. Both may be paused, late or
//! wrong: commits carry their fence.

mod agents;
mod claims;
mod groups;
pub mod import;
pub mod leave;
mod life;
mod replica;
mod share;
pub mod theirs;
mod view;
pub mod wishes;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::event;
use crate::inventory::FleetSettings;
use crate::journal::any::AnyJournal;
use crate::journal::fleet::{FleetError, FleetJournal, boot};
use crate::journal::key::KeySource;
use crate::names::{AccountName, TokenName};

pub use self::agents::{hosts_status, idle_selectors};
use self::replica::{PAUSE, Replica};
use self::theirs::{Reading, Theirs};
pub use self::view::{View, status};
use self::wishes::{Asked, Told, Unheard, Wishes};
use super::DaemonJournal;
use super::core::Core;
use super::scheduler::Waker;

/// A replica that runs.
#[derive(Debug)]
pub struct Fleet {
    journal: DaemonJournal,
    view: watch::Sender<View>,
    /// That of the replica, and the one that follows the hosts of consumers.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    settings: FleetSettings,
    wishes: Arc<Wishes>,
    theirs: Reading,
}

impl Fleet {
    /// Starts to take part in the fleet of `settings`.
    pub fn start<C: Clock>(core: &Arc<Core<C, DaemonJournal>>, waker: &Waker, settings: &FleetSettings) -> Self {
        let journal = Arc::clone(&core.machine.journal);
        let view: watch::Sender<View> = watch::Sender::default();
        let wishes: Arc<Wishes> = Arc::default();
        let replica = Replica {
            core: Arc::clone(core),
            waker: waker.clone(),
            journal: Arc::clone(&journal),
            view: view.clone(),
            wishes: Arc::clone(&wishes),
            started: core.clock.now(),
            not_before: Arc::default(),
            leaving: Arc::default(),
        };
        let task = tokio::spawn(async move { Box::pin(replica.run()).await });
        let hosts = tokio::spawn(agents::follow(Arc::clone(core), waker.clone(), Arc::clone(&journal)));
        Self {
            journal,
            view,
            tasks: Mutex::new(vec![task, hosts]),
            settings: settings.clone(),
            wishes,
            theirs: Reading::default(),
        }
    }

    /// What the replica knows of its fleet.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// What the inventory said of the fleet when the process was started.
    pub fn settings(&self) -> &FleetSettings {
        &self.settings
    }

    /// How long something may still be begun. `None`: nothing may.
    pub fn lease_left(&self) -> Option<Duration> {
        self.journal.fleet()?.lease().left(boot())
    }

    /// What the journal tells of the tokens of `accounts`, which other replicas look after.
    pub async fn theirs(&self, accounts: BTreeSet<AccountName>) -> Arc<Theirs> {
        match self.journal.fleet() {
            Some(journal) => self.theirs.get(journal, accounts).await,
            None => Arc::default(),
        }
    }

    /// Asks the owner of `account` for what an operator asks of `token`. Where nobody owns it now, whoever asks waits for the
    /// replica that takes it.
    pub async fn ask_owner(
        &self,
        account: &AccountName,
        token: Option<&TokenName>,
        asked: Asked,
        patience: Duration,
    ) -> Result<Told, Unheard> {
        let Some(journal) = self.journal.fleet() else {
            return Err(Unheard::Refused("this process is no replica".to_owned()));
        };
        let mut views = self.view.subscribe();
        // Out of patience: whoever asks is told that there is no owner.
        let _ = timeout(patience, views.wait_for(|view| view.presence.claims.contains_key(account))).await;
        let presence = self.view().presence;
        self.wishes.ask(journal, &presence, (account, token), asked, patience).await
    }

    /// Gives up everything at once, so that others take it.
    pub async fn leave(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.iter().for_each(JoinHandle::abort);
        if let Some(journal) = self.journal.fleet() {
            // Where the engine does not hear of it, the lease ends by itself.
            let _ = timeout(Duration::from_secs(2), journal.leave()).await;
            journal.write_marks().await;
        }
    }
}

/// Opens the journal of a fleet for a daemon: where the engine is away, it is waited for.
pub(super) async fn open(
    settings: &FleetSettings,
    key: &KeySource,
    state_dir: &Path,
) -> Result<AnyJournal, FleetError> {
    let mut told = false;
    loop {
        match FleetJournal::open_replica(settings, key, state_dir).await {
            Ok(journal) => return Ok(AnyJournal::Fleet(Box::new(journal))),
            Err(error) if error.passes() => {
                if !told {
                    tracing::error!(event = event::FLEET_AWAY, %error, "waiting for the engine of the fleet");
                    told = true;
                }
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
