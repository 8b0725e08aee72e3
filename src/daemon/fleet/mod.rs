//! A replica in its fleet: it lives, takes its share of the accounts, and hands over what is another's.
//!
//! One task keeps the lease alive, another one follows who lives and decides what to take. Both may be paused, late or
//! wrong: commits carry their fence.

mod agents;
mod claims;
mod groups;
pub mod import;
pub mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::clock::{Clock, Time};
use crate::event;
use crate::inventory::FleetSettings;
use crate::journal::any::AnyJournal;
use crate::journal::fleet::presence::{Joined, Presence};
use crate::journal::fleet::wishes::Wish;
use crate::journal::fleet::{EngineError, FleetJournal, Health, Member, Owned, boot};
use crate::names::{AccountName, FleetName, ReplicaName, TokenName};
use crate::outcome::Failure;
use crate::report::status::{EngineStatus, FleetStatus, ReplicaStatus};

pub use self::agents::hosts_status;
use self::claims::{Duty, Scene, duties, is_behind};
use self::groups::{Group, digest_of, groups};
use self::wishes::{Asked, Told, Unheard, Wishes};
use super::DaemonJournal;
use super::core::Core;
use super::deadlines::Key;
use super::scheduler::Waker;

/// Accounts that are taken up at once.
const AT_ONCE: usize = 16;

/// How long it is waited before an engine that is away is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long an account that could not be taken up is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How long an account that was handed over is left to the others.
const AFTER_HANDOVER: Duration = Duration::from_secs(2);

/// How often everything is read anew that the watch tells: a connection that died in silence tells nothing.
const FOLLOWED: Duration = Duration::from_secs(30);

/// How often the engine is asked how it is.
const HEALTH_EVERY: Duration = Duration::from_secs(60);

/// What a replica knows of its fleet, for those who look.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub presence: Presence,
    /// Why this replica takes no part, where it does not.
    pub trouble: Option<String>,
    /// Another replica has a newer inventory.
    pub behind: bool,
    /// Since when nobody owns an account of the inventory, on the clock of [`boot`].
    pub free_since: BTreeMap<AccountName, Duration>,
    pub health: Option<Health>,
    /// How often the lease was lost, and accounts were taken, since the start.
    pub leases_lost: u64,
    pub taken: u64,
}

/// A replica that runs.
#[derive(Debug)]
pub struct Fleet {
    journal: DaemonJournal,
    view: Arc<Mutex<View>>,
    /// That of the replica, and the one that follows the hosts of consumers.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    settings: FleetSettings,
    wishes: Arc<Wishes>,
}

impl Fleet {
    /// Starts to take part in the fleet of `settings`.
    pub fn start<C: Clock>(core: &Arc<Core<C, DaemonJournal>>, waker: &Waker, settings: &FleetSettings) -> Self {
        let journal = Arc::clone(&core.machine.journal);
        let view: Arc<Mutex<View>> = Arc::default();
        let wishes: Arc<Wishes> = Arc::default();
        let replica = Replica {
            core: Arc::clone(core),
            waker: waker.clone(),
            journal: Arc::clone(&journal),
            view: Arc::clone(&view),
            wishes: Arc::clone(&wishes),
            started: core.clock.now(),
            not_before: Arc::default(),
            leaving: Arc::default(),
        };
        let task = tokio::spawn(async move { Box::pin(replica.run()).await });
        let hosts = tokio::spawn(agents::follow(Arc::clone(core), waker.clone(), Arc::clone(&journal)));
        Self { journal, view, tasks: Mutex::new(vec![task, hosts]), settings: settings.clone(), wishes }
    }

    /// What the replica knows of its fleet.
    pub fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the inventory said of the fleet when the process was started.
    pub fn settings(&self) -> &FleetSettings {
        &self.settings
    }

    /// How long something may still be begun. `None`: nothing may.
    pub fn lease_left(&self) -> Option<Duration> {
        self.journal.fleet()?.lease().left(boot())
    }

    /// Asks the owner of `account` for what an operator asks of `token`.
    pub async fn ask_owner(
        &self,
        account: &AccountName,
        token: &TokenName,
        asked: Asked,
        patience: Duration,
    ) -> Result<Told, Unheard> {
        let Some(journal) = self.journal.fleet() else {
            return Err(Unheard::Refused("this process is no replica".to_owned()));
        };
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

/// The task of a replica.
struct Replica<C> {
    core: Arc<Core<C, DaemonJournal>>,
    waker: Waker,
    journal: DaemonJournal,
    view: Arc<Mutex<View>>,
    wishes: Arc<Wishes>,
    started: Time,
    /// Accounts that could not be taken up, and when they are tried again.
    not_before: Arc<Mutex<BTreeMap<AccountName, Duration>>>,
    /// Accounts that are being handed over.
    leaving: Arc<Mutex<BTreeSet<AccountName>>>,
}

impl<C: Clock> Replica<C> {
    fn look<T>(&self, look: impl FnOnce(&mut View) -> T) -> T {
        look(&mut self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lives, and lives again whenever the lease was lost.
    async fn run(&self) {
        let Some(journal) = self.journal.fleet() else { return };
        loop {
            let Some(member) = self.join(journal).await else { continue };
            tracing::info!(event = event::FLEET_JOINED, replica = %journal.replica(), "this replica lives in its fleet");
            let lost = tokio::select! {
                lost = keep(journal, || self.wake_stuck()) => lost,
                () = self.take_part(journal, member) => false,
            };
            for account in self.core.machine.effects.ownership.owned() {
                self.core.drop_account(&account);
            }
            if lost {
                let times = self.look(|view| {
                    view.leases_lost += 1;
                    view.leases_lost
                });
                if times < 3 {
                    tracing::info!(event = event::FLEET_LEASE_LOST, times, "the lease has ended; a new one is taken");
                } else {
                    tracing::warn!(event = event::FLEET_LEASE_LOST, times, "the lease has ended; a new one is taken");
                }
            }
        }
    }

    /// Notes why this replica takes no part. True: it is news.
    fn trouble(&self, what: &str) -> bool {
        self.look(|view| view.trouble.replace(what.to_owned()).as_deref() != Some(what))
    }

    /// Takes a lease under the name of this replica. None: it is to be tried again.
    async fn join(&self, journal: &FleetJournal) -> Option<Member> {
        let digest = digest_of(&groups(&self.core.inventory()));
        let joined = async {
            let member = Member {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: self.started,
                rank: journal.rank(&digest).await?,
                inventory: digest.clone(),
            };
            Ok::<_, EngineError>((journal.join(&member).await?, member))
        };
        match joined.await {
            Ok((Joined::Yes, member)) => {
                self.look(|view| view.trouble = None);
                Some(member)
            }
            Ok((Joined::NameTaken(other), _)) => {
                // A process that was killed lives on for the length of a lease.
                let since = other.started;
                let what = format!("a replica called {} lives already, started at {since}", journal.replica());
                if self.trouble(&what) {
                    tracing::error!(
                        event = event::FLEET_NAME_TAKEN,
                        "{what}; this one owns nothing until that one is gone"
                    );
                }
                sleep(PAUSE).await;
                None
            }
            Err(error) => {
                if self.trouble(&error.to_string()) {
                    tracing::error!(event = event::FLEET_AWAY, %error, "this replica takes no part in its fleet");
                }
                sleep(PAUSE).await;
                None
            }
        }
    }

    /// Follows who lives, and does what is to be done. Returns only with a need to begin anew.
    async fn take_part(&self, journal: &FleetJournal, mut member: Member) {
        let mut quiet = (BTreeSet::new(), boot());
        let mut behind_since = None;
        // Of a large inventory, they take their time.
        let mut inventory = self.core.inventory();
        let mut groups = groups(&inventory);
        let mut checked: Option<Duration> = None;
        loop {
            let begun = async {
                let (presence, revision) = journal.presence().await?;
                Ok::<_, EngineError>((presence, journal.follow(revision).await?))
            };
            let (mut presence, mut following) = match begun.await {
                Ok(begun) => {
                    self.wake_stuck();
                    begun
                }
                Err(error) => {
                    tracing::debug!(event = event::FLEET_AWAY, %error, "the engine cannot be followed; tried again");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let fresh_until = boot() + FOLLOWED;
            while boot() < fresh_until {
                let now_in_force = self.core.inventory();
                if !Arc::ptr_eq(&inventory, &now_in_force) {
                    groups = groups::groups(&now_in_force);
                    inventory = now_in_force;
                }
                let digest = digest_of(&groups);
                if digest != member.inventory
                    && let Ok(rank) = journal.rank(&digest).await
                {
                    member = Member { rank, inventory: digest, ..member };
                    // Told again with the next change of the inventory, or when the lease is taken anew.
                    let _ = journal.tell(&member).await;
                    presence.members.insert(journal.replica().clone(), member.clone());
                }
                let now = boot();
                let members: BTreeSet<ReplicaName> = presence.members.keys().cloned().collect();
                if members != quiet.0 {
                    quiet = (members, now);
                }
                let behind = is_behind(&presence, journal.replica());
                if behind && behind_since.is_none() {
                    tracing::warn!(
                        event = event::FLEET_BEHIND,
                        "another replica has a newer inventory; this one keeps what it owns and takes nothing more"
                    );
                }
                behind_since = if behind { behind_since.or(Some(now)) } else { None };
                let again = self.decide(journal, &presence, &groups, (quiet.1, behind_since)).await;
                if checked.is_none_or(|at| at + HEALTH_EVERY < now) {
                    checked = Some(now);
                    self.check_health(journal).await;
                }
                let wait = again.map_or(HEALTH_EVERY, |at| at.saturating_sub(boot())).min(HEALTH_EVERY);
                tokio::select! {
                    more = journal.next(&mut following, &mut presence) => if !more { break },
                    // An inventory that was reloaded is seen within a second.
                    () = sleep(wait.clamp(Duration::from_millis(50), Duration::from_secs(1))) => {}
                }
            }
        }
    }

    async fn check_health(&self, journal: &FleetJournal) {
        let Ok(health) = journal.health().await else { return };
        let (first, raised) = self.look(|view| {
            let before = view.health.replace(health.clone());
            let known = before.as_ref().map(|health| health.alarms.clone()).unwrap_or_default();
            (before.is_none_or(|before| before.version != health.version), known != health.alarms)
        });
        for risk in health.risks.iter().filter(|_| first) {
            tracing::warn!(event = event::FLEET_RISK, "{risk}");
        }
        let raised = raised && !health.alarms.is_empty();
        if raised {
            let alarms = health.alarms.join(", ");
            tracing::error!(
                event = event::FLEET_RISK,
                alarms,
                "the engine has raised an alarm; with NOSPACE it takes no writes: compact and defragment it, or raise its \
                 quota, then disarm the alarm"
            );
        }
    }

    /// Does what is to be done now; tells when to look again.
    async fn decide(
        &self,
        journal: &FleetJournal,
        presence: &Presence,
        groups: &[Group],
        (quiet_since, behind_since): (Duration, Option<Duration>),
    ) -> Option<Duration> {
        let now = boot();
        // What another has by now is not ours, whatever we believe.
        let ownership = &self.core.machine.effects.ownership;
        for account in ownership.owned() {
            let claim = presence.claims.get(&account);
            let fence = ownership.fence(&account);
            if claim.is_some_and(|claim| fence.as_ref().is_some_and(|fence| fence.epoch < claim.epoch)) {
                tracing::warn!(event = event::FLEET_FENCED, %account, "another replica has taken the account");
                self.core.drop_account(&account);
            }
        }
        let free_since = self.look(|view| {
            let before = std::mem::take(&mut view.free_since);
            let free = groups::accounts(groups).into_iter().filter(|account| !presence.claims.contains_key(*account));
            view.free_since =
                free.map(|account| (account.clone(), before.get(account).copied().unwrap_or(now))).collect();
            view.presence = presence.clone();
            view.behind = behind_since.is_some();
            view.free_since.clone()
        });
        let owned: BTreeSet<_> = ownership.owned().into_iter().collect();
        self.grant(presence, &owned);
        let scene = Scene {
            me: journal.replica(),
            presence,
            owned: &owned,
            free_since: &free_since,
            quiet_since,
            behind_since,
            lease: journal.lease().ttl(),
            now,
        };
        let (duties, mut again) = duties(&scene, groups);
        // Nothing is taken that could not be held.
        if journal.lease().left(now).is_none() {
            return Some(now + PAUSE);
        }
        let mut take = Vec::new();
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for duty in duties {
            match duty {
                Duty::Take(account) if leaving.contains(&account) => {}
                Duty::Take(account) => {
                    let not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
                    match not_before.get(&account).filter(|time| **time > now) {
                        Some(time) => again = Some(again.map_or(*time, |again| again.min(*time))),
                        None => take.push(account),
                    }
                }
                Duty::HandOver(account) => self.hand_over(&account),
                Duty::Release(account) => {
                    self.core.drop_account(&account);
                    if let Some(claim) = presence.claims.get(&account) {
                        let fence = crate::journal::Fence { account, epoch: claim.epoch };
                        // The next look tells whether it is gone.
                        let _ = journal.release(&fence).await;
                    }
                }
            }
        }
        let group_of = |account: &AccountName| groups.iter().find(|group| group.accounts.contains(account));
        let rank = presence.members.get(journal.replica()).map_or(0, |member| member.rank);
        let taking = take.into_iter().map(|account| {
            let owned =
                Owned { digest: group_of(&account).map(|group| group.digest.clone()).unwrap_or_default(), rank };
            let since = free_since.get(&account).copied().unwrap_or(now);
            async move { self.take(journal, account, owned, since).await }
        });
        let failed = stream::iter(taking).buffer_unordered(AT_ONCE).filter_map(|at| async move { at });
        let failed: Vec<Duration> = failed.collect().await;
        again.into_iter().chain(failed).min()
    }

    /// Does what operators ask of this replica through others, and answers them.
    fn grant(&self, presence: &Presence, owned: &BTreeSet<AccountName>) {
        for (id, wish) in self.wishes.sort(presence, owned) {
            let (core, waker, journal) = (Arc::clone(&self.core), self.waker.clone(), Arc::clone(&self.journal));
            tokio::spawn(async move {
                let Some(journal) = journal.fleet() else { return };
                let told = granted(&core, &waker, journal, &wish).await;
                let text = serde_json::to_string(&told).unwrap_or_default();
                // Whoever asked is told by its own patience.
                if let Err(error) = journal.answer(&id, &text).await {
                    tracing::warn!(event = event::FLEET_WISH, by = %wish.by, %error, "a wish could not be answered");
                }
            });
        }
    }

    /// The engine answers: wakes every token whose journal could not be written.
    fn wake_stuck(&self) {
        let tokens = self.core.tokens.all().into_iter().filter(|(_, token)| token.view().stuck.is_some());
        self.waker.wake(tokens.map(|(name, _)| Key::Token(name)).collect());
    }

    /// Takes one account, and wakes what belongs to it. Gives the time of the next try, where it failed.
    async fn take(
        &self,
        journal: &FleetJournal,
        account: AccountName,
        owned: Owned,
        since: Duration,
    ) -> Option<Duration> {
        if self.core.machine.effects.ownership.owns(&account) {
            return None;
        }
        let taken = async {
            let last = journal.owned_under(&account).await.map_err(EngineError::failure)?.unwrap_or_default();
            let older = owned.rank < last.rank && owned.digest != last.digest;
            // Whoever has the inventory that it was last owned under may come back. Nobody does: it was taken back.
            let patience = since + journal.lease().ttl() * 2;
            if older && patience > boot() {
                return Ok(Some(patience));
            }
            let ownership = &self.core.machine.effects.ownership;
            let fence = ownership.claim(&account).await?;
            if let Err(failure) = self.core.take_up(fence.clone()).await {
                self.core.drop_account(&account);
                let _ = journal.release(&fence).await;
                // Where the data of the engine ran back, an operator may have said meanwhile that they are believed.
                return match journal.recovered().await {
                    Ok(true) => Ok(Some(boot())),
                    _ => Err(failure),
                };
            }
            // Without it the next owner does not know which inventory is the newest that it was owned under.
            let _ = journal.note_owned(&fence, &owned).await;
            Ok::<_, Failure>(None)
        };
        match taken.await {
            Ok(Some(later)) => return Some(later),
            Ok(None) => {}
            Err(failure) => {
                tracing::warn!(
                    event = event::FLEET_NOT_TAKEN,
                    %account,
                    code = failure.code.code(),
                    error = %failure,
                    "the account cannot be taken up"
                );
                let later = boot() + AFTER_FAILURE;
                self.not_before.lock().unwrap_or_else(PoisonError::into_inner).insert(account, later);
                return Some(later);
            }
        }
        let after = boot().saturating_sub(since);
        tracing::info!(event = event::FLEET_TAKEN, %account, after = ?after, "this replica owns the account");
        self.look(|view| view.taken += 1);
        self.not_before.lock().unwrap_or_else(PoisonError::into_inner).remove(&account);
        let tokens = self.core.tokens.all().into_iter();
        let tokens = tokens.filter(|(_, token)| token.policy().account.name == account);
        let mut keys: Vec<_> = tokens.map(|(name, _)| Key::Token(name)).collect();
        keys.push(Key::Poll(account));
        self.waker.wake(keys);
        None
    }

    /// Gives an account to the replica whose it is by now: steps under way are brought to their next record first, while
    /// this one goes on with others.
    fn hand_over(&self, account: &AccountName) {
        let Some(fence) = self.core.machine.effects.ownership.fence(account) else { return };
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone());
        self.core.drop_account(account);
        let (core, journal, leaving) = (Arc::clone(&self.core), Arc::clone(&self.journal), Arc::clone(&self.leaving));
        let not_before = Arc::clone(&self.not_before);
        tokio::spawn(async move {
            let account = fence.account.clone();
            core.settle_account(&account).await;
            if let Some(journal) = journal.fleet()
                && journal.release(&fence).await.is_ok()
            {
                tracing::info!(event = event::FLEET_HANDED_OVER, %account, "the account is handed over");
            }
            // Until the one whose it is has taken it.
            let later = boot() + AFTER_HANDOVER;
            not_before.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), later);
            leaving.lock().unwrap_or_else(PoisonError::into_inner).remove(&account);
        });
    }
}

/// What presence tells of a fleet, for those who look. What only a replica knows is left out.
pub fn status(name: &FleetName, presence: &Presence, health: Option<&Health>) -> FleetStatus {
    let replica = |(name, member): (&ReplicaName, &Member)| ReplicaStatus {
        name: name.clone(),
        version: member.version.clone(),
        started: member.started,
        accounts: presence.claims.values().filter(|claim| claim.replica == *name).count(),
        behind: is_behind(presence, name),
        drained: presence.drained.contains(name),
    };
    FleetStatus {
        name: name.clone(),
        replica: None,
        lease_left_ms: None,
        trouble: None,
        replicas: presence.members.iter().map(replica).collect(),
        engine: health.map(|health| EngineStatus {
            kind: health.kind,
            version: health.version.clone(),
            size_bytes: health.size_bytes,
            has_leader: health.has_leader,
            alarms: health.alarms.clone(),
            risks: health.risks.clone(),
        }),
        unowned: Vec::new(),
        elsewhere: Vec::new(),
        hosts: Vec::new(),
        leases_lost: 0,
        accounts_taken: 0,
    }
}

/// Does what a wish asks.
async fn granted<C: Clock>(core: &Core<C, DaemonJournal>, waker: &Waker, journal: &FleetJournal, wish: &Wish) -> Told {
    let fence = core.machine.effects.ownership.fence(&wish.account);
    if fence.is_none_or(|fence| fence.epoch != wish.epoch) {
        return Told::Refused("its account has changed hands meanwhile; nothing was begun: ask again".to_owned());
    }
    let (token, asked, patience) = match wishes::read(journal, wish) {
        Ok(read) => read,
        Err(failure) => return Told::Refused(failure.to_string()),
    };
    tracing::info!(event = event::FLEET_WISH, %token, by = %wish.by, "an operator asks for it at another replica");
    match asked {
        Asked::Operator(asked) => Told::Result(core.execute(Some(waker), &token, asked, patience).await.report()),
        Asked::Cancel => {
            let withdrawn = core.cancel(&token).await;
            waker.wake(vec![Key::Token(token)]);
            Told::Cancelled(withdrawn.err())
        }
    }
}

/// Keeps the lease alive until the engine has ended it: true. `back`: called when the engine answers again.
async fn keep(journal: &FleetJournal, back: impl Fn()) -> bool {
    let third = journal.lease().ttl() / 3;
    let (mut warned, mut failed) = (false, false);
    loop {
        sleep(third).await;
        journal.write_marks().await;
        loop {
            match journal.keep_alive(third.min(Duration::from_millis(1500))).await {
                Ok(true) => {
                    if warned {
                        tracing::info!(event = event::FLEET_JOINED, "the engine answers again");
                    }
                    if std::mem::take(&mut failed) {
                        back();
                    }
                    warned = false;
                    break;
                }
                Ok(false) => return true,
                Err(error) => {
                    failed = true;
                    if !warned && journal.lease().left(boot()).is_none() {
                        warned = true;
                        tracing::error!(
                            event = event::FLEET_AWAY,
                            %error,
                            "the engine does not answer; nothing is begun until it does, and consumers keep what they have"
                        );
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

/// Opens the journal of a fleet for a daemon: where the engine is away, it is waited for.
pub(super) async fn open(
    settings: &FleetSettings,
    key: &crate::journal::key::KeySource,
    state_dir: &std::path::Path,
) -> Result<AnyJournal, crate::journal::fleet::FleetError> {
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
