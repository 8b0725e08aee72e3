//! A fleet as the agent of a host sees it: what it is asked, and where it answers. It holds the key of its host and no
//! other, reads what is meant for its host, and writes nothing but its answers and its sign of life.

use std::collections::BTreeSet;
use std::time::Duration;

use super::begin::{self, FleetError};
use super::engine::{Change, Compare, Engine, EngineError, Step};
use super::errand::{Answer, Errand, ErrandId, HostSeal};
use super::hosts::{Agent, Seen};
use super::json;
use super::layout::Layout;
use super::lease::Lease;
use super::presence::{Following, Moment};
use super::wishes::Sealed;
use crate::clock::Time;
use crate::inventory::AgentSettings;
use crate::journal::key::KeyError;
use crate::journal::seal::Sealer;
use crate::names::{HostName, Label};
use crate::secret::Secret;

/// The fleet, and this host in it.
#[derive(Debug)]
pub struct Post {
    engine: Engine,
    layout: Layout,
    host: HostName,
    seal: HostSeal,
    lease: Lease,
    incarnation: String,
    labels: BTreeSet<Label>,
    /// That the key was made for them.
    proof: Sealed,
}

/// How an agent took up its post, or did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It lives from now on.
    Yes,
    /// Another agent of this host lives, or lived a moment ago.
    Taken(Agent),
}

/// Something that happened to an errand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It is to be done. `None`: it cannot be read, or is meant for a newer program.
    Wanted { id: ErrandId, revision: i64, errand: Option<Box<Errand>> },
    /// It is there no more.
    Gone(ErrandId),
}

/// The labels stand behind the key that was made for them. Were the file of the agent to say others, nobody would wait for
/// this host, and its consumers would be left with dead tokens.
fn check_labels<'a>(made_for: impl Iterator<Item = &'a str>, said: &BTreeSet<Label>) -> Result<(), FleetError> {
    let made_for: BTreeSet<&str> = made_for.collect();
    if made_for == said.iter().map(Label::as_str).collect() {
        return Ok(());
    }
    let told = |labels: Vec<&str>| if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
    Err(FleetError::Labels {
        made_for: told(made_for.into_iter().collect()),
        said: told(said.iter().map(Label::as_str).collect()),
    })
}

impl Post {
    /// Finds the fleet of `settings`, as the holder of the key of its host.
    pub async fn open(settings: &AgentSettings, key: &Secret) -> Result<Self, FleetError> {
        let unusable = |source| KeyError::Unusable { place: format!("the key of host {}", settings.host), source };
        let text = key.trimmed();
        let mut words = text.expose().split_whitespace();
        let sealer = Sealer::new(words.next().unwrap_or_default().as_bytes()).map_err(unusable)?;
        check_labels(words, &settings.labels)?;
        let (engine, layout, meta) = begin::find(&settings.fleet, &settings.engine).await?;
        let host = settings.host.clone();
        let seal = HostSeal::new(sealer, meta.instance.to_string(), host.clone());
        let labels = settings.labels.clone();
        let proof = seal.prove(&labels).map_err(|failure| FleetError::unusable(&settings.fleet, failure))?;
        let (lease, incarnation) = (Lease::new(settings.lease), meta.incarnation);
        Ok(Self { engine, layout, host, seal, lease, incarnation, labels, proof })
    }

    /// What tells this fleet from another one under the same name, and from itself before it was recovered.
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// Seals what goes between the fleet and this host.
    pub fn seal(&self) -> &HostSeal {
        &self.seal
    }

    /// The sign of life of this agent.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Takes a lease, and tells the fleet that this agent lives. Whoever waits for its host no longer waits again.
    pub async fn join(&self, agent: &Agent, now: Time) -> Result<Posted, EngineError> {
        let sign = (self.layout.agent(&self.host), json(agent));
        let more = [self.seen(now), Step::Delete(self.layout.forgotten(&self.host))];
        let holder = self.lease.take(&self.engine, sign, &more, "host").await?;
        Ok(holder.map_or(Posted::Yes, Posted::Taken))
    }

    /// Gives a sign of life. False: the lease has ended.
    pub async fn keep_alive(&self, patience: Duration) -> Result<bool, EngineError> {
        self.lease.keep(&self.engine, patience).await
    }

    /// Notes that this agent was seen at `now`.
    pub async fn tell_seen(&self, now: Time) -> Result<(), EngineError> {
        self.engine.transact(&[], &[self.seen(now)], &[]).await.map(drop)
    }

    fn seen(&self, at: Time) -> Step {
        let seen = Seen { at, labels: self.labels.clone(), proof: self.proof.clone() };
        Step::Put { key: self.layout.seen(&self.host), value: json(&seen), lease: 0 }
    }

    /// Leaves the post.
    pub async fn leave(&self) -> Result<(), EngineError> {
        self.lease.give_up(&self.engine).await
    }

    /// Every errand of this host, and the moment from which on [`Post::follow`] tells what changes.
    pub async fn errands(&self) -> Result<(Vec<News>, Moment), EngineError> {
        let (pairs, since) = self.engine.snapshot(&self.layout.wanted(&self.host)).await?;
        let news = pairs.into_iter().filter_map(|pair| self.news(Change::Put(pair)));
        Ok((news.collect(), Moment(since)))
    }

    /// Follows what changes from `moment` on.
    pub async fn follow(&self, moment: Moment) -> Result<Following, EngineError> {
        self.engine.watch(&self.layout.wanted(&self.host), moment.0).await.map(Following)
    }

    /// Waits for the next changes. `None`: there will be none, and everything is to be read anew.
    pub async fn next(&self, following: &mut Following) -> Option<Vec<News>> {
        let changes = following.0.next().await?;
        Some(changes.into_iter().filter_map(|change| self.news(change)).collect())
    }

    fn news(&self, change: Change) -> Option<News> {
        let prefix = self.layout.wanted(&self.host);
        let id = |key: &str| Some(ErrandId(key.strip_prefix(&prefix)?.to_owned()));
        match change {
            Change::Put(pair) => {
                Some(News::Wanted { id: id(&pair.key)?, revision: pair.modified, errand: pair.read().map(Box::new) })
            }
            Change::Deleted(key) => id(&key).map(News::Gone),
        }
    }

    /// Answers an errand, where it still is the one that is answered. An answer to a question ends with this agent.
    pub async fn answer(&self, id: &ErrandId, answer: &Answer) -> Result<(), EngineError> {
        let lease = if id.is_question() { self.lease.id() } else { 0 };
        let wanted = format!("{}{}", self.layout.wanted(&self.host), id.0);
        let put = Step::Put { key: self.answer_at(id), value: json(answer), lease };
        self.engine.transact(&[Compare::Modified(wanted, answer.to)], &[put], &[]).await.map(drop)
    }

    /// Takes back the answer to an errand that is there no more.
    pub async fn withdraw(&self, id: &ErrandId) -> Result<(), EngineError> {
        self.engine.transact(&[], &[Step::Delete(self.answer_at(id))], &[]).await.map(drop)
    }

    fn answer_at(&self, id: &ErrandId) -> String {
        format!("{}{}", self.layout.answers(&self.host), id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_the_file_of_its_agent_say_the_same_labels() {
        for (sentence, key, file, fine) in [
            ("none", "", &[][..], true),
            ("the same, in another order", "site=fra role=web", &["role=web", "site=fra"], true),
            ("the file says more", "", &["role=web"], false),
            ("the file says less", "role=web", &[], false),
        ] {
            let said = file.iter().map(|label| label.parse().unwrap()).collect();
            assert_eq!(check_labels(key.split_whitespace(), &said).is_ok(), fine, "{sentence}");
        }
    }
}
