//! The share of a replica: accounts that it takes, and those that it hands over.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use crate::clock::Clock;
use crate::daemon::deadlines::Key;
use crate::event;
use crate::journal::Fence;
use crate::journal::fleet::presence::Presence;
use crate::journal::fleet::{EngineError, FleetJournal, Owned, boot};
use crate::names::AccountName;
use crate::outcome::Failure;

use super::agents::end_wait;
use super::claims::{Duty, Scene, duties};
use super::groups::{self, Group};
use super::limits;
use super::replica::{PAUSE, Replica};

/// Accounts that are taken up at once.
const AT_ONCE: usize = 16;

/// How long an account that could not be taken up is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How long an account that was handed over is left to the others.
const AFTER_HANDOVER: Duration = Duration::from_secs(2);

impl<C: Clock> Replica<C> {
    /// Does what is to be done now; tells when to look again.
    pub(super) async fn decide(
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
                        let fence = Fence { account, epoch: claim.epoch };
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
            let taken_up = async {
                self.learn_hosts(journal, &account).await?;
                limits::take(&self.core, journal, &account).await?;
                self.core.take_up(fence.clone()).await
            };
            if let Err(failure) = taken_up.await {
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
        if self.look(|view| {
            view.taken += 1;
            view.presence.seal_key.is_some()
        }) {
            self.reseal(&account);
        }
        self.not_before.lock().unwrap_or_else(PoisonError::into_inner).remove(&account);
        let tokens = self.core.tokens.all().into_iter();
        let tokens = tokens.filter(|(_, token)| token.policy().account.name == account);
        let mut keys: Vec<_> = tokens.map(|(name, _)| Key::Token(name)).collect();
        keys.push(Key::Poll(account));
        self.waker.wake(keys);
        None
    }

    /// Law: who takes an account knows every host that its tokens may be on before anything of them is begun. What was heard
    /// may be old; nobody writes to a host under an older claim once this one is had.
    async fn learn_hosts(&self, journal: &FleetJournal, account: &AccountName) -> Result<(), Failure> {
        if !self.core.tokens.of(account).iter().any(|(_, token)| token.policy().selected.is_some()) {
            return Ok(());
        }
        let (_, _, late) = self.core.machine.effects.agents.read(journal).await.map_err(EngineError::failure)?;
        self.core.apply_hosts().await;
        for name in late {
            end_wait(&self.core, &self.waker, name);
        }
        Ok(())
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
            if let Some(journal) = journal.fleet() {
                limits::hand_over(&core, journal, &fence).await;
            }
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
