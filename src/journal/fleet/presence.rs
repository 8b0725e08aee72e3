//! Who lives, and who owns what: what replicas tell each other through the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::engine::{Change, Compare, Done, EngineError, Pair, Since, Step, Watch};
use super::layout::{ClaimValue, Subject};
use super::wishes::Wish;
use super::{FleetJournal, Member, Owned, WishId, failure, json};
use crate::journal::Fence;
use crate::names::{AccountName, ReplicaName};
use crate::outcome::Failure;

/// A claim in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub replica: ReplicaName,
    pub epoch: u64,
}

/// What the engine tells of replicas and claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    pub members: BTreeMap<ReplicaName, Member>,
    pub claims: BTreeMap<AccountName, Claim>,
    /// Replicas that are to own nothing.
    pub drained: BTreeSet<ReplicaName>,
    /// The key that seals secrets, while keys are exchanged.
    pub seal_key: Option<String>,
    /// What operators ask of owners.
    pub wishes: BTreeMap<WishId, Wish>,
    /// What owners have answered.
    pub answers: BTreeMap<WishId, String>,
}

/// How a replica entered its fleet, or did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It lives from now on.
    Yes,
    /// Another process of this name lives, or lived a moment ago.
    NameTaken(Member),
}

/// From where on changes in a [`Presence`] are told.
#[derive(Clone, Debug)]
pub struct Moment(pub(super) Since);

/// Follows what changes in a [`Presence`].
pub struct Following(pub(super) Watch);

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Following")
    }
}

impl FleetJournal {
    /// Takes a lease, and tells the others that this replica lives.
    pub async fn join(&self, member: &Member) -> Result<Joined, EngineError> {
        let sign = (self.layout.member(&self.replica), json(member));
        let holder = self.lease.take(&self.engine, sign, &[], "replica").await?;
        Ok(holder.map_or(Joined::Yes, Joined::NameTaken))
    }

    /// Tells the others something new of this replica, which lives.
    pub async fn tell(&self, member: &Member) -> Result<(), EngineError> {
        let put = Step::Put { key: self.layout.member(&self.replica), value: json(member), lease: self.lease.id() };
        self.engine.transact(&[], &[put], &[]).await.map(drop)
    }

    /// Gives a sign of life. False: the lease has ended, and every claim with it.
    pub async fn keep_alive(&self, patience: Duration) -> Result<bool, EngineError> {
        self.lease.keep(&self.engine, patience).await
    }

    /// Gives up everything at once: others may take it from now on.
    pub async fn leave(&self) -> Result<(), EngineError> {
        self.lease.give_up(&self.engine).await
    }

    /// What there is now, and the moment from which on [`FleetJournal::follow`] tells what changes.
    pub async fn presence(&self) -> Result<(Presence, Moment), EngineError> {
        let (pairs, since) = self.engine.snapshot(&self.layout.presence()).await?;
        let mut presence = Presence::default();
        for pair in pairs {
            self.note(&mut presence, Change::Put(pair));
        }
        Ok((presence, Moment(since)))
    }

    /// Follows what changes from `moment` on.
    pub async fn follow(&self, moment: Moment) -> Result<Following, EngineError> {
        self.engine.watch(&self.layout.presence(), moment.0).await.map(Following)
    }

    /// Waits for the next changes and notes them. False: there will be none, and everything is to be read anew.
    pub async fn next(&self, following: &mut Following, presence: &mut Presence) -> bool {
        let Some(changes) = following.0.next().await else { return false };
        for change in changes {
            self.note(presence, change);
        }
        true
    }

    fn note(&self, presence: &mut Presence, change: Change) {
        let (key, pair) = change.into_parts();
        match (self.layout.subject(&key), pair) {
            (Some(Subject::Member(replica)), Some(pair)) => {
                presence.members.extend(pair.read().map(|member| (replica, member)));
            }
            (Some(Subject::Member(replica)), None) => drop(presence.members.remove(&replica)),
            (Some(Subject::Claim(account)), Some(pair)) => {
                let claim = |value: ClaimValue| Claim { replica: value.replica, epoch: pair.created.cast_unsigned() };
                presence.claims.extend(pair.read().map(|value| (account, claim(value))));
            }
            (Some(Subject::Claim(account)), None) => drop(presence.claims.remove(&account)),
            (Some(Subject::Drained(replica)), Some(_)) => drop(presence.drained.insert(replica)),
            (Some(Subject::Drained(replica)), None) => drop(presence.drained.remove(&replica)),
            (Some(Subject::Key), pair) => presence.seal_key = pair.and_then(|pair| pair.read()),
            (Some(Subject::Wish(id)), Some(pair)) => {
                let wish = |wish: Wish| Wish { left: pair.created, ..wish };
                presence.wishes.extend(pair.read().map(|told| (id, wish(told))));
            }
            (Some(Subject::Wish(id)), None) => drop(presence.wishes.remove(&id)),
            (Some(Subject::Answer(id)), Some(pair)) => {
                presence.answers.extend(String::from_utf8(pair.value).ok().map(|text| (id, text)));
            }
            (Some(Subject::Answer(id)), None) => drop(presence.answers.remove(&id)),
            (None, _) => {}
        }
    }

    /// Takes a claim that nobody has.
    pub(super) async fn take_claim(&self, account: &AccountName) -> Result<Fence, Failure> {
        let lease = self.lease.id();
        if lease == 0 {
            return Err(failure("this replica has no lease"));
        }
        let key = self.layout.claim(account);
        let value = json(&ClaimValue { replica: self.replica.clone(), lease });
        let put = Step::Put { key: key.clone(), value, lease };
        let free = [Compare::Created(key.clone(), 0)];
        let claim = match self.engine.transact(&free, &[put], &[key]).await.map_err(EngineError::failure)? {
            Done::Held(revision) => return Ok(Fence { account: account.clone(), epoch: revision.cast_unsigned() }),
            Done::Denied(found) => found.into_iter().flatten().next(),
        };
        let holder = claim.as_ref().and_then(Pair::read::<ClaimValue>);
        match (claim, holder) {
            // An answer was lost: it is ours.
            (Some(pair), Some(holder)) if holder.replica == self.replica && holder.lease == lease => {
                Ok(Fence { account: account.clone(), epoch: pair.created.cast_unsigned() })
            }
            (_, Some(holder)) => Err(failure(format!("replica {} owns it", holder.replica))),
            _ => Err(failure("it is owned by a replica that cannot be read")),
        }
    }

    /// Gives a claim back. One that another has by now stays.
    pub async fn release(&self, fence: &Fence) -> Result<(), EngineError> {
        let gone = Step::Delete(self.layout.claim(&fence.account));
        self.engine.transact(&[self.stands(fence)], &[gone], &[]).await.map(drop)
    }

    /// Tells a replica to own nothing, or ends that.
    pub async fn drain(&self, replica: &ReplicaName, drained: bool) -> Result<(), EngineError> {
        let key = self.layout.drained(replica);
        let step = if drained { Step::Put { key, value: Vec::new(), lease: 0 } } else { Step::Delete(key) };
        self.engine.transact(&[], &[step], &[]).await.map(drop)
    }

    /// Where an inventory with this digest stands in the order in which they were first seen.
    pub async fn rank(&self, digest: &str) -> Result<i64, EngineError> {
        let key = self.layout.inventory(digest);
        let put = Step::Put { key: key.clone(), value: Vec::new(), lease: 0 };
        match self.engine.transact(&[Compare::Created(key.clone(), 0)], &[put], &[key]).await? {
            Done::Held(revision) => Ok(revision),
            Done::Denied(found) => Ok(found.into_iter().flatten().next().map_or(0, |pair| pair.created)),
        }
    }

    /// The inventory that an account was last owned under. `None`: nobody owned it yet.
    pub async fn owned_under(&self, account: &AccountName) -> Result<Option<Owned>, EngineError> {
        Ok(self.engine.get(self.layout.account(account)).await?.as_ref().and_then(Pair::read))
    }

    /// Notes the inventory that an account is owned under.
    pub async fn note_owned(&self, fence: &Fence, owned: &Owned) -> Result<(), EngineError> {
        let ours = [self.stands(fence)];
        let put = Step::Put { key: self.layout.account(&fence.account), value: json(owned), lease: 0 };
        self.engine.transact(&ours, &[put], &[]).await.map(drop)
    }
}
