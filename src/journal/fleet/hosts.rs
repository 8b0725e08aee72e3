//! Hosts of consumers as replicas see them: whose agent lives, what is asked of it, what it answers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::engine::{Change, Compare, Done, EngineError, Look, Pair, Step};
use super::errand::{Answer, Errand, ErrandId, HostSeal};
use super::layout::OfHost;
use super::presence::{Following, Moment};
use super::{FleetJournal, failure, json};
use crate::clock::Time;
use crate::journal::Fence;
use crate::names::HostName;
use crate::outcome::Failure;
use crate::secret::Secret;

/// What an agent tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The version of its program.
    pub version: String,
    /// When it was started, by its own clock.
    pub started: Time,
}

/// What the engine tells of hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Agents that live.
    pub agents: BTreeMap<HostName, Agent>,
    /// When each was last seen, a minute old at most.
    pub seen: BTreeMap<HostName, Time>,
    /// Nobody waits for these until they are back.
    pub forgotten: BTreeSet<HostName>,
    /// Answers that nobody has taken yet.
    pub answers: BTreeMap<(HostName, ErrandId), Answer>,
}

/// An errand as the engine has it.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub errand: Errand,
    pub revision: i64,
    /// What its agent has answered to it, where it has.
    pub answer: Option<Answer>,
}

impl FleetJournal {
    /// The key of a host, for its agent.
    pub fn host_key(&self, host: &HostName) -> Secret {
        self.sealer.host_key(host)
    }

    /// Seals what goes between the fleet and a host.
    pub fn host_seal(&self, host: &HostName) -> Result<HostSeal, Failure> {
        let sealer = self.sealer.for_host(host).map_err(|error| failure(format!("the key of {host}: {error}")))?;
        Ok(HostSeal::new(sealer, self.instance.to_string(), host.clone()))
    }

    /// What is told of hosts now, and the moment from which on [`FleetJournal::follow_hosts`] tells what changes.
    pub async fn hosts(&self) -> Result<(Hosts, Moment), EngineError> {
        let (pairs, since) = self.engine.snapshot(&self.layout.hosts()).await?;
        let mut hosts = Hosts::default();
        for pair in pairs {
            self.note_host(&mut hosts, Change::Put(pair));
        }
        Ok((hosts, Moment(since)))
    }

    /// Follows what changes from `moment` on.
    pub async fn follow_hosts(&self, moment: Moment) -> Result<Following, EngineError> {
        self.engine.watch(&self.layout.hosts(), moment.0).await.map(Following)
    }

    /// Waits for the next changes and notes them. False: there will be none, and everything is to be read anew.
    pub async fn next_of_hosts(&self, following: &mut Following, hosts: &mut Hosts) -> bool {
        let Some(changes) = following.0.next().await else { return false };
        for change in changes {
            self.note_host(hosts, change);
        }
        true
    }

    fn note_host(&self, hosts: &mut Hosts, change: Change) {
        let (key, pair) = change.into_parts();
        match (self.layout.told_of_host(&key), pair) {
            (Some(OfHost::Agent(host)), Some(pair)) => hosts.agents.extend(pair.read().map(|agent| (host, agent))),
            (Some(OfHost::Agent(host)), None) => drop(hosts.agents.remove(&host)),
            (Some(OfHost::Seen(host)), Some(pair)) => hosts.seen.extend(pair.read().map(|at| (host, at))),
            (Some(OfHost::Seen(host)), None) => drop(hosts.seen.remove(&host)),
            (Some(OfHost::Forgotten(host)), Some(_)) => drop(hosts.forgotten.insert(host)),
            (Some(OfHost::Forgotten(host)), None) => drop(hosts.forgotten.remove(&host)),
            (Some(OfHost::Answer(host, id)), Some(pair)) => {
                hosts.answers.extend(pair.read().map(|answer| ((host, ErrandId(id)), answer)));
            }
            (Some(OfHost::Answer(host, id)), None) => drop(hosts.answers.remove(&(host, ErrandId(id)))),
            (None, _) => {}
        }
    }

    /// What the agent of `host` is to do under `id`, and its answer. `None`: nothing.
    pub async fn wanted(&self, host: &HostName, id: &ErrandId) -> Result<Option<Wanted>, EngineError> {
        let looks = [Look::At(self.wanted_at(host, id)), Look::At(self.answer_at(host, id))];
        let mut found = self.engine.read(&looks).await?.into_iter();
        let (wanted, answer) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
        // What cannot be read is written anew.
        let errand = wanted.first().and_then(|pair| Some((pair.read::<Errand>()?, pair.modified)));
        let answer = answer.first().and_then(Pair::read::<Answer>);
        Ok(errand.map(|(errand, revision)| {
            let answer = answer.filter(|answer| answer.to == revision);
            Wanted { errand, revision, answer }
        }))
    }

    /// Leaves an errand for the agent of `host`, under the claim of the account; gives its revision. What was answered to
    /// the one before is removed.
    pub async fn want(&self, fence: &Fence, host: &HostName, id: &ErrandId, errand: &Errand) -> Result<i64, Failure> {
        // A question ends with this replica.
        let lease = if id.is_question() { self.lease.id() } else { 0 };
        if id.is_question() && lease == 0 {
            return Err(failure("this replica takes no part in its fleet now"));
        }
        let put = Step::Put { key: self.wanted_at(host, id), value: json(errand), lease };
        let steps = [put, Step::Delete(self.answer_at(host, id))];
        let ours = [Compare::Created(self.layout.claim(&fence.account), fence.epoch.cast_signed())];
        match self.engine.transact(&ours, &steps, &[]).await.map_err(EngineError::failure)? {
            Done::Held(revision) => Ok(revision),
            Done::Denied(_) => Err(failure("another replica has taken the account")),
        }
    }

    /// An answer was taken: removes it, and a question with it.
    pub async fn taken(&self, host: &HostName, id: &ErrandId) -> Result<(), EngineError> {
        let mut steps = vec![Step::Delete(self.answer_at(host, id))];
        steps.extend(id.is_question().then(|| Step::Delete(self.wanted_at(host, id))));
        self.engine.transact(&[], &steps, &[]).await.map(drop)
    }

    /// Every errand of every host that can be read.
    pub async fn all_wanted(&self) -> Result<Vec<(HostName, ErrandId, Wanted)>, EngineError> {
        let prefix = self.layout.all_wanted();
        let wanted = |pair: Pair| {
            let (host, id) = pair.key.strip_prefix(&prefix)?.split_once('/')?;
            let wanted = Wanted { errand: pair.read()?, revision: pair.modified, answer: None };
            Some((host.parse().ok()?, ErrandId(id.to_owned()), wanted))
        };
        Ok(self.engine.all(&prefix).await?.into_iter().filter_map(wanted).collect())
    }

    /// Removes an errand that is not wanted any more, under the claim of its account, where it still is the one of this
    /// revision.
    pub async fn unwant(
        &self,
        fence: &Fence,
        host: &HostName,
        id: &ErrandId,
        revision: i64,
    ) -> Result<(), EngineError> {
        let at = self.wanted_at(host, id);
        let ours = [
            Compare::Created(self.layout.claim(&fence.account), fence.epoch.cast_signed()),
            Compare::Modified(at.clone(), revision),
        ];
        let steps = [Step::Delete(at), Step::Delete(self.answer_at(host, id))];
        self.engine.transact(&ours, &steps, &[]).await.map(drop)
    }

    /// Ends the wait for a host until its agent is back. What it is to have stays, for then.
    pub async fn forget_host(&self, host: &HostName) -> Result<(), EngineError> {
        let put = Step::Put { key: self.layout.forgotten(host), value: Vec::new(), lease: 0 };
        self.engine.transact(&[], &[put], &[]).await.map(drop)
    }

    fn wanted_at(&self, host: &HostName, id: &ErrandId) -> String {
        format!("{}{}", self.layout.wanted(host), id.0)
    }

    fn answer_at(&self, host: &HostName, id: &ErrandId) -> String {
        format!("{}{}", self.layout.answers(host), id.0)
    }
}
