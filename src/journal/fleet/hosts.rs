//! Hosts of consumers as replicas see them: whose agent lives, what is asked of it, what it answers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::engine::{Change, Compare, Done, EngineError, Look, Pair, Step};
use super::errand::{Answer, Errand, ErrandId, HostSeal};
use super::layout::OfHost;
use super::presence::{Following, Moment};
use super::wishes::Sealed;
use super::{FleetJournal, failure, json};
use crate::clock::Time;
use crate::inventory::KnownHosts;
use crate::journal::Fence;
use crate::journal::seal::Sealer;
use crate::names::{HostName, Label, hex};
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

/// When an agent was last seen, and what its host is. Stored state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub at: Time,
    pub labels: BTreeSet<Label>,
    /// That it has the key that was made for these labels.
    pub proof: Sealed,
}

/// What the engine tells of hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Agents that live.
    pub agents: BTreeMap<HostName, Agent>,
    /// When each was last seen, a minute old at most.
    pub seen: BTreeMap<HostName, Time>,
    /// What each is, of those whose agents have proven to have the key that was made for that.
    pub labels: KnownHosts,
    /// Hosts whose agents say what their keys were not made for.
    pub unproven: BTreeSet<HostName>,
    /// Nobody waits for these until they are back.
    pub forgotten: BTreeSet<HostName>,
    /// Hosts whose agents have keys that came of another seal key than the one in force.
    pub outdated: BTreeSet<HostName>,
    /// The id of the seal key that the key of each agent came of: whatever is in force by now, it opens what is sealed with that.
    pub came_of: BTreeMap<HostName, String>,
    /// The newest revision of all that was read.
    pub newest: i64,
    /// Answers that nobody has taken yet.
    pub answers: BTreeMap<(HostName, ErrandId), Answer>,
}

impl Hosts {
    /// Whether nobody waits for a host that is away.
    pub fn is_forgotten(&self, host: &HostName) -> bool {
        self.forgotten.contains(host) && !self.agents.contains_key(host)
    }

    /// The hosts that labels may mean: they were seen once, and are not forgotten.
    pub fn known(&self) -> KnownHosts {
        let known = self.labels.iter().filter(|(host, _)| !self.is_forgotten(host));
        known.map(|(host, labels)| (host.clone(), labels.clone())).collect()
    }
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
    pub fn host_key(&self, host: &HostName, labels: &BTreeSet<Label>) -> Secret {
        self.keys.sealer().host_key(host, labels)
    }

    /// Seals what goes between the fleet and a host with these labels. `came_of`: the id of the seal key that its agent's key
    /// came of, where it has told that.
    pub fn host_seal(
        &self,
        host: &HostName,
        labels: &BTreeSet<Label>,
        came_of: Option<&str>,
    ) -> Result<HostSeal, Failure> {
        let theirs = self.keys.all().find(|sealer| came_of == Some(hex(&sealer.key_id()).as_str()));
        self.host_seal_of(theirs.unwrap_or(self.keys.sealer()), host, labels)
    }

    fn host_seal_of(&self, of: &Sealer, host: &HostName, labels: &BTreeSet<Label>) -> Result<HostSeal, Failure> {
        let sealer = of.for_host(host, labels).map_err(|error| failure(format!("the key of {host}: {error}")))?;
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
        hosts.newest = pair.as_ref().map_or(hosts.newest, |pair| hosts.newest.max(pair.modified));
        match (self.layout.told_of_host(&key), pair) {
            (Some(OfHost::Agent(host)), Some(pair)) => hosts.agents.extend(pair.read().map(|agent| (host, agent))),
            (Some(OfHost::Agent(host)), None) => drop(hosts.agents.remove(&host)),
            (Some(OfHost::Seen(host)), Some(pair)) => {
                let Some(Seen { at, labels, proof }) = pair.read() else { return };
                hosts.seen.insert(host.clone(), at);
                let proves =
                    |of: &Sealer| self.host_seal_of(of, &host, &labels).is_ok_and(|seal| seal.proves(&labels, &proof));
                // The place of the key that it came of; the first is in force.
                if let Some((place, of)) = self.keys.all().enumerate().find(|(_, of)| proves(of)) {
                    hosts.came_of.insert(host.clone(), hex(&of.key_id()));
                    hosts.unproven.remove(&host);
                    hosts.outdated.retain(|it| *it != host || place > 0);
                    hosts.outdated.extend((place > 0).then(|| host.clone()));
                    hosts.labels.insert(host, labels);
                } else {
                    hosts.labels.remove(&host);
                    hosts.outdated.remove(&host);
                    hosts.came_of.remove(&host);
                    hosts.unproven.insert(host);
                }
            }
            (Some(OfHost::Seen(host)), None) => {
                hosts.seen.remove(&host);
                hosts.labels.remove(&host);
                hosts.unproven.remove(&host);
                hosts.outdated.remove(&host);
                hosts.came_of.remove(&host);
            }
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
        let ours = [self.stands(fence)];
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
        let ours = [self.stands(fence), Compare::Modified(at.clone(), revision)];
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
