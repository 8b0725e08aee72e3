//! The task of a replica: it lives, follows who else does, and lives again whenever its lease was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::clock::{Clock, Time};
use crate::daemon::DaemonJournal;
use crate::daemon::core::Core;
use crate::daemon::deadlines::Key;
use crate::daemon::scheduler::Waker;
use crate::event;
use crate::journal::fleet::presence::{Joined, Presence};
use crate::journal::fleet::{EngineError, FleetJournal, Member, boot};
use crate::names::{AccountName, ReplicaName};
use crate::outcome::{Failure, FailureCode};

use super::claims::is_behind;
use super::grants::granted;
use super::groups::{digest_of, groups};
use super::life::keep;
use super::view::View;
use super::wishes::{Told, Wishes};

/// How long it is waited before an engine that is away is asked again.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// How often everything is read anew that the watch tells: a connection that died in silence tells nothing.
const FOLLOWED: Duration = Duration::from_secs(30);

/// The longest answer to a wish, in bytes: engines take requests of a megabyte and a half.
const LONGEST_ANSWER: usize = 1 << 20;

/// How often the engine is asked how it is.
const HEALTH_EVERY: Duration = Duration::from_secs(60);

/// The task of a replica.
pub(super) struct Replica<C> {
    pub core: Arc<Core<C, DaemonJournal>>,
    pub waker: Waker,
    pub journal: DaemonJournal,
    pub view: watch::Sender<View>,
    pub wishes: Arc<Wishes>,
    pub started: Time,
    /// Accounts that could not be taken up, and when they are tried again.
    pub not_before: Arc<Mutex<BTreeMap<AccountName, Duration>>>,
    /// Accounts that are being handed over.
    pub leaving: Arc<Mutex<BTreeSet<AccountName>>>,
}

impl<C: Clock> Replica<C> {
    pub(super) fn look<T: Default>(&self, look: impl FnOnce(&mut View) -> T) -> T {
        let mut seen = T::default();
        self.view.send_modify(|view| seen = look(view));
        seen
    }

    /// Lives, and lives again whenever the lease was lost.
    pub(super) async fn run(&self) {
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
        let digest = digest_of(&groups(&self.core.written()));
        let joined = async {
            let member = Member {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: self.started,
                rank: journal.rank(&digest).await?,
                inventory: digest.clone(),
                keys: journal.key_ids(),
            };
            if !journal.look_for_key().await? {
                let what = "the fleet seals its secrets with a key that this replica was not given: name it in \
                            `next-seal-key` of [fleet], and start it again";
                return Err(EngineError::Refused(Failure::new(FailureCode::Journal, what)));
            }
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
        let mut inventory = self.core.written();
        let mut all = groups(&inventory);
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
                let now_in_force = self.core.written();
                if !Arc::ptr_eq(&inventory, &now_in_force) {
                    all = groups(&now_in_force);
                    inventory = now_in_force;
                }
                let digest = digest_of(&all);
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
                if let Some(key) = presence.seal_key.clone()
                    && !self.follow_key(journal, &key)
                {
                    // Which is told when it joins again.
                    let _ = journal.leave().await;
                    return;
                }
                let behind = is_behind(&presence, journal.replica());
                if behind && behind_since.is_none() {
                    tracing::warn!(
                        event = event::FLEET_BEHIND,
                        "another replica has a newer inventory; this one keeps what it owns and takes nothing more"
                    );
                }
                behind_since = if behind { behind_since.or(Some(now)) } else { None };
                let again = self.decide(journal, &presence, &all, (quiet.1, behind_since)).await;
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

    /// Another key seals from now on: every account that is owned is sealed anew with it. False: it is not there.
    fn follow_key(&self, journal: &FleetJournal, key: &str) -> bool {
        if self.look(|view| view.seal_key.as_deref() == Some(key)) {
            return true;
        }
        if !journal.adopt_key(key) {
            return false;
        }
        self.look(|view| view.seal_key = Some(key.to_owned()));
        tracing::info!(event = event::FLEET_KEY, key, "another key seals the secrets of the fleet from now on");
        for account in self.core.machine.effects.ownership.owned() {
            self.reseal(&account);
        }
        true
    }

    /// Seals the secrets of an account that is owned with the key in force, aside.
    pub(super) fn reseal(&self, account: &AccountName) {
        let Some(fence) = self.core.machine.effects.ownership.fence(account) else { return };
        let journal = Arc::clone(&self.journal);
        tokio::spawn(async move {
            let Some(journal) = journal.fleet() else { return };
            match journal.reseal(&fence).await {
                Ok(0) => {}
                Ok(secrets) => {
                    tracing::info!(event = event::FLEET_KEY, account = %fence.account, secrets, "secrets are sealed anew");
                }
                // `patrold fleet rekey --finish` tells what is left; the next owner does it, too.
                Err(failure) => {
                    tracing::warn!(event = event::FLEET_KEY, account = %fence.account, code = failure.code.code(), error = %failure, "secrets are not sealed anew");
                }
            }
        });
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

    /// Does what operators ask of this replica through others, and answers them.
    pub(super) fn grant(&self, presence: &Presence, owned: &BTreeSet<AccountName>) {
        for (id, wish) in self.wishes.sort(presence, owned) {
            let (core, waker, journal) = (Arc::clone(&self.core), self.waker.clone(), Arc::clone(&self.journal));
            tokio::spawn(async move {
                let Some(journal) = journal.fleet() else { return };
                let told = match granted(&core, &waker, journal, (&id, &wish)).await {
                    Ok(Some(told)) => told,
                    Ok(None) => return,
                    Err(error) => {
                        tracing::warn!(event = event::FLEET_WISH, by = %wish.by, %error, "a wish could not be taken");
                        return;
                    }
                };
                let mut text = serde_json::to_string(&told).unwrap_or_default();
                if text.len() > LONGEST_ANSWER {
                    let told = Told::Refused(format!(
                        "the answer is too long for the engine: ask on host {}",
                        journal.replica()
                    ));
                    text = serde_json::to_string(&told).unwrap_or_default();
                }
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
}
