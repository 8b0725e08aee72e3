//! A replica in its fleet: it lives, takes its share of the accounts, and hands over what is another's.
//!
//! One task keeps the lease alive, another one follows who lives and decides what to take. Both may be paused, late or
//! wrong: commits carry their fence.

mod agents;
mod claims;
mod grants;
mod groups;
pub mod import;
pub mod leave;
mod life;
mod limits;
pub mod loss;
mod replica;
mod share;
pub mod theirs;
mod view;
pub mod wishes;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::clock::{Clock, Time};
use crate::event;
use crate::inventory::{FleetSettings, Inventory};
use crate::journal::any::AnyJournal;
use crate::journal::fleet::presence::Joined;
use crate::journal::fleet::{EngineError, FleetError, FleetJournal, Member, boot};
use crate::journal::key::KeySource;
use crate::names::{AccountName, ReplicaName, TokenName};
use crate::outcome::Failure;
use crate::text::words;

pub use self::agents::{hosts_status, idle_selectors};
use self::replica::{PAUSE, Replica};
use self::theirs::{Reading, Theirs};
pub use self::view::{View, status};
use self::wishes::{Asked, Told, Unheard, Wishes};
use super::DaemonJournal;
use super::core::Core;
use super::scheduler::Waker;

/// How long a replica that stops tells the limits of its accounts.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Accounts that are told of at once.
const AT_ONCE: usize = 16;

/// The most replicas that are named in one line.
const NAMED: usize = 5;

/// A replica that runs.
#[derive(Debug)]
pub struct Fleet {
    journal: DaemonJournal,
    view: watch::Sender<View>,
    /// That of the replica, the one that follows the hosts of consumers, and the one that tells limits.
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
        let told = tokio::spawn(limits::follow(Arc::clone(core), Arc::clone(&journal)));
        Self {
            journal,
            view,
            tasks: Mutex::new(vec![task, hosts, told]),
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
        let until = boot() + patience;
        let mut views = self.view.subscribe();
        // The claim that was asked for in vain: it had ended, and nothing was begun.
        let mut over = 0;
        loop {
            let left = until.saturating_sub(boot());
            let owner = |view: &View| view.presence.claims.get(account).is_some_and(|claim| claim.epoch > over);
            let owned = timeout(left, views.wait_for(owner)).await.is_ok();
            if !owned && over > 0 {
                return Err(Unheard::Refused(
                    "its account has changed hands meanwhile, and nobody has taken it so far; nothing was begun: ask again"
                        .to_owned(),
                ));
            }
            // Out of patience: whoever asks is told that there is no owner.
            let presence = self.view().presence;
            let asked_of = presence.claims.get(account).map_or(0, |claim| claim.epoch);
            let left = until.saturating_sub(boot());
            match self.wishes.ask(journal, &presence, (account, token), asked.clone(), left).await? {
                Told::Moved => over = asked_of,
                told => return Ok(told),
            }
        }
    }

    /// The account that the journal of `token` is kept under. `None`: the fleet knows no such token.
    pub async fn account_of(&self, token: &TokenName) -> Result<Option<AccountName>, Failure> {
        match self.journal.fleet() {
            Some(journal) => journal.home(token).await.map_err(EngineError::failure),
            None => Ok(None),
        }
    }

    /// Gives up everything at once, so that others take it.
    pub async fn leave<C: Clock>(&self, core: &Core<C, DaemonJournal>) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.iter().for_each(JoinHandle::abort);
        if let Some(journal) = self.journal.fleet() {
            let ownership = &core.machine.effects.ownership;
            let fences: Vec<_> = ownership.owned().iter().filter_map(|account| ownership.fence(account)).collect();
            // Made before the first is awaited: what outlives an await must not borrow the closure that made it.
            let last: Vec<_> = fences.iter().map(|fence| limits::hand_over(core, journal, fence)).collect();
            let last = stream::iter(last).buffer_unordered(AT_ONCE).collect::<()>();
            let _ = timeout(LAST_WORDS, last).await;
            // Where the engine does not hear of it, the lease ends by itself.
            let _ = timeout(Duration::from_secs(2), journal.leave()).await;
            journal.write_marks().await;
        }
    }
}

/// Joins the fleet for the length of a command. The name that lives already, where one does.
async fn join_briefly(journal: &FleetJournal, now: Time) -> Result<Option<ReplicaName>, EngineError> {
    let member = Member {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: now,
        // Older than any inventory: nobody waits for it to take anything.
        rank: 0,
        inventory: String::new(),
        keys: journal.key_ids(),
    };
    let joined = journal.join(&member).await?;
    Ok(matches!(joined, Joined::NameTaken(_)).then(|| journal.replica().clone()))
}

/// The replicas that live, in words. `None`: none does.
async fn who_lives(journal: &FleetJournal) -> Result<Option<String>, EngineError> {
    let (presence, _) = journal.presence().await?;
    let names: Vec<_> = presence.members.keys().collect();
    Ok((!names.is_empty()).then(|| words::some(&names, NAMED)))
}

/// The accounts that the journal has tokens of, and those of the inventory.
async fn every_account(journal: &FleetJournal, inventory: &Inventory) -> Result<BTreeSet<AccountName>, Failure> {
    let tokens = journal.tokens().await?;
    Ok(tokens.into_iter().map(|(_, account)| account).chain(inventory.accounts.keys().cloned()).collect())
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
