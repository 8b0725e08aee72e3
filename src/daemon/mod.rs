//! The running process: start order, what runs side by side, stop order.

mod account_news;
pub mod agent;
mod anywhere;
pub mod audit;
pub mod checkup;
mod condition_line;
mod config_watch;
pub mod control;
pub mod core;
pub mod deadlines;
pub mod exposure;
pub mod fleet;
pub mod hardening;
mod hold_back;
pub mod hosts;
pub mod http;
pub mod notifier;
pub mod observe;
pub mod once;
pub mod orphans;
pub mod ownership;
pub mod real;
pub mod reaper;
pub mod registry;
pub mod rekey;
pub mod reload;
mod report;
pub mod retire;
pub mod rotate;
pub mod scheduler;
pub mod serve;
mod shared;
mod sweep;
pub mod systemd;
mod urgency;
mod vault;
mod wakes;
pub mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::clock::{Clock, Time};
use crate::crash;
use crate::endpoint::Workshop;
use crate::endpoint::limits::Limits;
use crate::endpoint::single::Caller;
use crate::event;
use crate::hook::HookRunner;
use crate::host;
use crate::inventory::{Environment, FleetSettings, Inventory, Loaded, load};
use crate::journal::any::AnyJournal;
use crate::journal::archive::{Archive, DirectoryLock, OpenError, Opened};
use crate::journal::fleet::FleetError;
use crate::journal::key::{KeyError, KeySource};
use crate::journal::{SecretSlot, Stored};
use crate::names::{InstanceId, TokenName};
use crate::notice::Source;
use crate::notify::Sender;
use crate::process;
use crate::rotation::run::Machine;
use crate::rotation::stored::{RestoreError, restore};
use crate::secret::Fingerprinter;

use self::core::Core;
use self::fleet::Fleet;
use self::notifier::Notifier;
use self::observe::Observers;
use self::ownership::{Manner, Ownership};
use self::real::Real;
use self::registry::Registry;
use self::rekey::RekeyError;
use self::scheduler::{Scheduler, Waker};
use self::vault::Vault;
use crate::account::pool::Accounts;

/// The journal of a real daemon.
pub type DaemonJournal = Arc<AnyJournal>;

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The inventory is invalid; the report, rendered.
    #[error("the inventory is invalid:\n{0}")]
    Inventory(String),
    /// The sealing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The journal, or the lock on its directory.
    #[error(transparent)]
    Journal(OpenError),
    /// The journal could not be sealed under the key that the daemon was given since.
    #[error("the journal cannot be sealed under the new key: {0}")]
    Reseal(RekeyError),
    /// The journal of the fleet.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The state directory holds the journal of a daemon that was alone.
    #[error("{} holds the journal of this host, and the inventory says that it is a replica of a fleet", .0.display())]
    Alone(PathBuf),
    /// The journal in the state directory was moved into a fleet.
    #[error("the journal in {} was moved into fleet {fleet}, and tells of what was before", state_dir.display())]
    Imported { state_dir: PathBuf, fleet: String },
    /// Nothing but a replica may act for a fleet.
    #[error("this inventory is a fleet's, whose tokens are handled by the replicas alone")]
    OnlyReplicas,
    /// The control socket.
    #[error("control socket {path}: {source}")]
    Control { path: PathBuf, source: std::io::Error },
    /// A thread or task that could not be started.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

impl StartError {
    /// How to go on, where the message itself does not say so.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Journal(error) => error.help(),
            Self::Fleet(error) => error.help(),
            Self::Alone(_) => Some(
                "`patrold fleet import` moves it into the fleet; or name another `state-dir`, if its tokens are none of the \
                 fleet's",
            ),
            Self::Imported { .. } => Some(
                "put [fleet] back into the inventory; if the fleet is given up for good, `patrold fleet leave` then moves the \
                 journal back",
            ),
            Self::OnlyReplicas => Some("start `patrold run` on this host, and ask again"),
            _ => None,
        }
    }
}

impl From<RekeyError> for StartError {
    fn from(error: RekeyError) -> Self {
        match error {
            RekeyError::Journal(error) => Self::Journal(error),
            RekeyError::Key(error) => Self::Key(error),
            error => Self::Reseal(error),
        }
    }
}

/// Everything of a process but its scheduler: what single commands need, too.
#[derive(Debug)]
pub struct Opening<C> {
    pub core: Arc<Core<C, DaemonJournal>>,
    pub stopping: Arc<AtomicBool>,
    /// What messages to people leave with.
    pub sender: Sender<C>,
    /// Of the state directory of a replica.
    lock: Option<DirectoryLock>,
}

/// What a process opens its journal for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// To run until it is stopped.
    Serve,
    /// To do one thing, while no daemon runs.
    Once,
}

/// A journal with what it tells at the start.
struct Found {
    journal: AnyJournal,
    instance: InstanceId,
    fingerprinter: Fingerprinter,
    states: Vec<(TokenName, Stored)>,
    unreadable: Vec<SecretSlot>,
    /// It is new; `bereft`: and there was another one.
    blank: bool,
    bereft: bool,
    manner: Manner,
    /// Held by a replica of a fleet, whose state directory is nobody else's either.
    lock: Option<DirectoryLock>,
}

/// Opens the journal in the state directory.
async fn open_local(inventory: &Inventory, key: &KeySource, now: Time) -> Result<Found, StartError> {
    let settings = &inventory.daemon;
    let place = Archive::of(&settings.state_dir);
    let imported = tokio::task::spawn_blocking(move || place.imported()).await.map_err(|error| crash::as_io(&error))?;
    if let Some(fleet) = imported {
        return Err(StartError::Imported { state_dir: settings.state_dir.clone(), fleet });
    }
    let (journal, opened, resealed) = rekey::open_current(&settings.state_dir, key, now).await?;
    if let Some(secrets) = resealed {
        tracing::warn!(
            event = event::JOURNAL_RESEALED,
            secrets,
            "the daemon was given another key: the journal is sealed under it, and the key that was made is removed"
        );
    }
    let Opened { instance, states, fingerprinter, unreadable, bereft, notes, .. } = opened;
    for note in notes {
        tracing::warn!(event = event::JOURNAL_NOTE, "{note}");
    }
    let blank = states.is_empty();
    let (journal, manner) = (AnyJournal::Local(Box::new(journal)), Manner::All);
    Ok(Found { journal, instance, fingerprinter, states, unreadable, blank, bereft, manner, lock: None })
}

/// Opens the journal of a fleet. Nothing of it is owned yet.
async fn open_fleet(
    inventory: &Inventory,
    fleet: &FleetSettings,
    key: &KeySource,
    now: Time,
) -> Result<Found, StartError> {
    let place = Archive::of(&inventory.daemon.state_dir);
    let lock = tokio::task::spawn_blocking(move || (place.exists(), place.lock(now))).await;
    let (is_alone, lock) = lock.map_err(|error| crash::as_io(&error))?;
    if is_alone {
        return Err(StartError::Alone(inventory.daemon.state_dir.clone()));
    }
    let lock = Some(lock.map_err(StartError::Journal)?);
    let journal = fleet::open(fleet, key, &inventory.daemon.state_dir).await?;
    let (instance, fingerprinter) = match &journal {
        AnyJournal::Fleet(journal) => (journal.instance(), journal.fingerprinter().clone()),
        AnyJournal::Local(_) => return Err(StartError::OnlyReplicas),
    };
    let (states, unreadable, manner) = (Vec::new(), Vec::new(), Manner::Share);
    Ok(Found { journal, instance, fingerprinter, states, unreadable, blank: false, bereft: false, manner, lock })
}

/// Opens the journal and brings it together with `inventory`. Takes the lock on the state directory.
pub async fn open<C: Clock>(inventory: Arc<Inventory>, clock: C, errand: Errand) -> Result<Opening<C>, StartError> {
    let key = KeySource::resolve(inventory.daemon.seal_key.as_ref(), |name| std::env::var_os(name))?;
    let found = match (&inventory.fleet, errand) {
        (None, _) => open_local(&inventory, &key, clock.now()).await?,
        (Some(fleet), Errand::Serve) => open_fleet(&inventory, fleet, &key, clock.now()).await?,
        (Some(_), Errand::Once) => return Err(StartError::OnlyReplicas),
    };
    let Found { journal, instance, fingerprinter, states, unreadable, blank, bereft, manner, lock } = found;
    for ended in process::abandoned::end().await {
        tracing::warn!(
            event = event::PROGRAM_ENDED,
            pid = ended.pid,
            "{} was started by a patrold that was killed, and still ran: it was ended with its process group",
            ended.program
        );
    }
    let tokens = Arc::new(Registry::default());
    let mut readable = BTreeMap::new();
    for (name, stored) in states {
        match restore(&stored) {
            Ok(restored) => drop(readable.insert(name, restored)),
            Err(error) => {
                let why = unreadable_state(&name, &error);
                tracing::error!(event = event::STATE_UNREADABLE, token = %name, "{why}");
                tokens.set_aside(name, why);
            }
        }
    }
    let journal = Arc::new(journal);
    let (limits, unreadable_limits) = Limits::open(&inventory.daemon.state_dir).await;
    if let Some(reason) = unreadable_limits {
        tracing::warn!(
            event = event::LIMITS_UNREADABLE,
            "limits of accounts that were written down cannot be read, and are set aside: {reason}"
        );
    }
    tokio::spawn(account_news::log_limits(limits.trouble()));
    let workshop = Workshop::new(fingerprinter.clone(), limits);
    let accounts = Arc::new(Accounts::new(clock.clone(), workshop.clone()));
    accounts.keyring().open_with(Arc::new(Vault::new(Arc::clone(&tokens), Arc::clone(&journal))));
    let keyring = Arc::clone(accounts.keyring());
    let caller = Caller { workshop, fingerprinter: fingerprinter.clone(), keyring };
    let sender =
        Sender { clock: clock.clone(), caller: caller.clone(), source: Source { instance, host: host::name() } };
    let stopping = Arc::new(AtomicBool::new(false));
    let observers = Observers::new(Arc::clone(&accounts), Arc::clone(&tokens), Arc::clone(&journal));
    let effects = Real {
        accounts,
        tokens,
        ownership: Ownership::new(Arc::clone(&journal), manner),
        hooks: HookRunner::new(caller),
        fingerprinter,
        observers,
        stopping: Arc::clone(&stopping),
        agents: Arc::default(),
    };
    let machine = Machine { effects, journal, clock, instance };
    let core = Core::new(machine, inventory, readable, &unreadable).await;
    if blank {
        core.hold_back(None, bereft).await;
    }
    let swept = core.inventory();
    if let Err(error) = tokio::task::spawn_blocking(move || sweep::sweep(&swept)).await {
        tracing::error!(event = event::SWEEP_FAILED, error = crash::told(&error), "sweeping ended abnormally");
    }
    Ok(Opening { core: Arc::new(core), stopping, sender, lock })
}

/// Why a token is set aside, with the remedy: one sentence for log, status, plan, explain and rotate.
pub fn unreadable_state(name: &TokenName, error: &RestoreError) -> String {
    let remedy = match error {
        RestoreError::Newer { .. } => "run that version again".to_owned(),
        RestoreError::Unreadable(_) | RestoreError::Misfit(_) => format!(
            "run the version that wrote it, or restore the journal from a backup; `patrold history {name}` shows what happened"
        ),
    };
    format!(
        "token {name} is set aside: the journal's state of token {name} cannot be read: {error}. Until then its stores \
         keep the secret they have, and nothing of it is rotated or revoked: {remedy}"
    )
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Running<C> {
    pub core: Arc<Core<C, DaemonJournal>>,
    /// Where this process is a replica of a fleet.
    pub fleet: Option<Fleet>,
    pub waker: Waker,
    pub reloader: Arc<reload::Reloader<C>>,
    pub notifier: Notifier<C>,
    started: Time,
    stopping: Arc<AtomicBool>,
    stop: Arc<Notify>,
    /// None once the daemon was stopped.
    scheduler: Mutex<Option<JoinHandle<()>>>,
    _lock: Option<DirectoryLock>,
}

/// Reads the inventory at `config`.
pub async fn read_inventory<C: Clock>(config: &Path, clock: &C) -> Result<Loaded, StartError> {
    let (config, now) = (config.to_owned(), clock.now());
    let loaded = tokio::task::spawn_blocking(move || load(&config, &Environment::of_process(&config), now)).await;
    Ok(loaded.map_err(|error| crash::as_io(&error))?)
}

/// Warns of files that others may change or read.
async fn tell_exposure(inventory: &Inventory, files: &[PathBuf]) {
    let (inventory, files) = (inventory.clone(), files.to_owned());
    let found = tokio::task::spawn_blocking(move || exposure::warnings(&inventory, &files, None)).await;
    for warning in found.unwrap_or_default() {
        tracing::warn!(event = event::EXPOSED, "{warning}");
    }
}

/// Starts a daemon on the inventory at `config`.
pub async fn start<C: Clock>(config: &Path, clock: C) -> Result<Running<C>, StartError> {
    let Loaded { inventory, report, files, directories, .. } = read_inventory(config, &clock).await?;
    let Some(inventory) = inventory else { return Err(StartError::Inventory(report.render())) };
    for problem in report.problems() {
        tracing::warn!(event = event::INVENTORY_NOTE, "{}", report.line(&problem));
    }
    tell_exposure(&inventory, &files).await;
    let Opening { core, stopping, sender, lock } = Box::pin(open(Arc::new(inventory), clock, Errand::Serve)).await?;
    let notifier = Notifier::open(sender, &core.inventory().daemon.state_dir).await;
    let scheduler = Scheduler::new(Arc::clone(&core));
    let waker = scheduler.waker();
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let scheduler = tokio::spawn(scheduler.run(async move { stopped.notified().await }));
    let reloader = Arc::new(reload::Reloader::new(Arc::clone(&core), waker.clone(), config, files, directories));
    let inventory = core.inventory();
    let fleet = inventory.fleet.as_ref().map(|settings| Fleet::start(&core, &waker, settings));
    tracing::info!(
        event = event::STARTED,
        tokens = inventory.tokens.len(),
        accounts = inventory.accounts.len(),
        state_dir = %inventory.daemon.state_dir.display(),
        "patrold {} has started",
        env!("CARGO_PKG_VERSION")
    );
    let started = core.clock.now();
    let scheduler = Mutex::new(Some(scheduler));
    Ok(Running { core, fleet, waker, reloader, notifier, started, stopping, stop, scheduler, _lock: lock })
}

impl<C: Clock> Running<C> {
    /// Brings what is under way to its next record and stops. True where everything ended within `patience`.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.stopping.store(true, Ordering::Release);
        self.core.accounts.hang_up();
        self.stop.notify_one();
        let scheduler = self.scheduler.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut scheduler) = scheduler else { return true };
        let drained = tokio::time::timeout(patience, &mut scheduler).await;
        if drained.is_err() {
            scheduler.abort();
        }
        if let Some(fleet) = &self.fleet {
            fleet.leave(&self.core).await;
        }
        self.core.machine.effects.hooks.close(Duration::from_secs(1)).await;
        self.core.accounts.write_limits().await;
        drained.is_ok()
    }
}
