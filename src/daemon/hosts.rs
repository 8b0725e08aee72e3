//! Stores and hooks on hosts, as the owner of an account sees them: it leaves an errand for the agent of the host, and
//! waits a while for the answer.
//!
//! Law: what was not acknowledged is owed, whatever the reason. Nothing is revoked on the word of a host that is silent,
//! unless an operator has said that nobody waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::clock::Time;
use crate::inventory::{HookPolicy, HostHook, HostedPolicy, KnownHosts};
use crate::journal::Fence;
use crate::journal::fleet::errand::{Answer, Came, Content, Deed, Errand, ErrandId, HostSeal};
use crate::journal::fleet::hosts::Hosts;
use crate::journal::fleet::presence::Moment;
use crate::journal::fleet::{EngineError, FleetJournal};
use crate::names::{AccountName, GenerationNo, HostName, StoreKey, TokenName};
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::rotation::effects::Occasion;
use crate::secret::Secret;
use crate::store::{Erased, Found, Look};
use crate::text::words;

/// How long an answer is waited for before the store is owed.
const PATIENCE: Duration = Duration::from_secs(10);

/// An errand and whose it is.
type Place = (HostName, ErrandId);

/// The agents of hosts, as this replica asks them.
#[derive(Debug, Default)]
pub struct Agents {
    hosts: Mutex<Hosts>,
    /// What is known of hosts was read at least once.
    heard_of_all: AtomicBool,
    /// Held while everything is read: what was read first is noted first.
    reading: tokio::sync::Mutex<()>,
    waiting: Mutex<BTreeMap<Place, mpsc::UnboundedSender<Answer>>>,
    /// Errands that this process has left, with their revision, and whose they are.
    left: Mutex<BTreeMap<Place, (i64, TokenName)>>,
    /// Late answers for which a token was woken.
    heard: Mutex<BTreeSet<(Place, i64)>>,
}

/// Whom an errand is left for, and for which token.
#[derive(Clone, Copy, Debug)]
struct Addressee<'a> {
    host: &'a HostName,
    account: &'a AccountName,
    token: &'a TokenName,
}

impl<'a> Addressee<'a> {
    fn of(hosted: &'a HostedPolicy) -> Self {
        Self { host: &hosted.host, account: &hosted.account, token: &hosted.token }
    }
}

/// Whoever asks: the journal, and the claim of the account.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub journal: &'a FleetJournal,
    pub fence: &'a Fence,
    pub now: Time,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agents {
    /// What is known of hosts.
    pub fn hosts(&self) -> Hosts {
        lock(&self.hosts).clone()
    }

    /// Reads everything that the engine tells of hosts, and notes it. Gives the tokens of answers that came late.
    pub async fn read(&self, journal: &FleetJournal) -> Result<(Hosts, Moment, Vec<TokenName>), EngineError> {
        let _one = self.reading.lock().await;
        let (hosts, moment) = journal.hosts().await?;
        let late = self.note(&hosts);
        *lock(&self.hosts) = hosts.clone();
        self.heard_of_all.store(true, Ordering::Release);
        Ok((hosts, moment, late))
    }

    /// Notes what changed since. Gives the tokens that something has changed for: an answer came after it was waited for.
    pub fn follow(&self, hosts: &Hosts) -> Vec<TokenName> {
        let late = self.note(hosts);
        let mut known = lock(&self.hosts);
        // Everything was read anew meanwhile: this was before.
        if hosts.newest >= known.newest {
            *known = hosts.clone();
        }
        late
    }

    /// Hands on the answers that are waited for, and ends the wait for hosts that are away. Gives the tokens of those that
    /// came late.
    fn note(&self, hosts: &Hosts) -> Vec<TokenName> {
        let mut late = Vec::new();
        let mut heard = lock(&self.heard);
        heard.retain(|(place, to)| hosts.answers.get(place).is_some_and(|answer| answer.to == *to));
        for (place, answer) in &hosts.answers {
            if heard.contains(&(place.clone(), answer.to)) {
                continue;
            }
            heard.insert((place.clone(), answer.to));
            if lock(&self.waiting).get(place).is_some_and(|sender| sender.send(answer.clone()).is_ok()) {
                continue;
            }
            let left = lock(&self.left).get(place).filter(|(revision, _)| *revision == answer.to).cloned();
            late.extend(left.map(|(_, token)| token));
        }
        // A host that is gone answers nobody: whoever waits for it learns so now, however long its hook might have taken.
        lock(&self.waiting).retain(|(host, _), _| hosts.agents.contains_key(host));
        late
    }

    /// The hosts that labels may mean. `None`: nobody has told yet.
    pub fn known(&self) -> Option<KnownHosts> {
        self.heard_of_all.load(Ordering::Acquire).then(|| lock(&self.hosts).known())
    }

    /// Seals what goes between this replica and a host.
    fn seal(&self, journal: &FleetJournal, host: &HostName) -> Result<HostSeal, Failure> {
        let (labels, came_of) = {
            let hosts = lock(&self.hosts);
            (hosts.labels.get(host).cloned().unwrap_or_default(), hosts.came_of.get(host).cloned())
        };
        journal.host_seal(host, &labels, came_of.as_deref())
    }

    /// Why a host is not waited for: its agent is away. `None`: it lives.
    fn absence(&self, host: &HostName, now: Time) -> Option<Failure> {
        let hosts = lock(&self.hosts);
        if hosts.agents.contains_key(host) {
            return None;
        }
        Some(silent(host, hosts.seen.get(host).copied(), now))
    }

    /// Whether nobody waits for a host that is away.
    pub fn is_forgotten(&self, host: &HostName) -> bool {
        lock(&self.hosts).is_forgotten(host)
    }

    /// Has `secret` written to a store.
    pub async fn write(
        &self,
        asker: Asker<'_>,
        hosted: &HostedPolicy,
        store: &StoreKey,
        (generation, revision): (GenerationNo, u32),
        secret: &Secret,
    ) -> Outcome<()> {
        let (host, id) = (&hosted.host, ErrandId::of_store(&hosted.token, store));
        let seal = match self.seal(asker.journal, host) {
            Ok(seal) => seal,
            Err(failure) => return Outcome::later(failure),
        };
        let secret = match seal.seal_errand(&id, &hosted.token, secret) {
            Ok(secret) => secret,
            Err(failure) => return Outcome::Refused(failure),
        };
        let (key, file) = (store.clone(), hosted.file.clone());
        let deed = Deed::Write { store: key, file, generation, revision, secret };
        match self.ask(asker, Addressee::of(hosted), &id, deed, PATIENCE).await {
            Ok(came) => outcome(host, came),
            Err(failure) if failure.code == FailureCode::HostSilent && self.is_forgotten(host) => Outcome::Done(()),
            Err(failure) => Outcome::later(failure),
        }
    }

    /// What a store holds.
    pub async fn look(&self, asker: Asker<'_>, hosted: &HostedPolicy, store: &StoreKey) -> Result<Look, Failure> {
        let (host, id) = (&hosted.host, ErrandId::draw());
        let seal = self.seal(asker.journal, host)?;
        let deed = Deed::Look { store: store.clone(), file: hosted.file.clone() };
        match self.question(asker, Addressee::of(hosted), &id, deed, PATIENCE).await? {
            Came::Holds { content, attributes_ok } => {
                Ok(Look { found: found(&seal, &id, &hosted.token, content)?, attributes_ok })
            }
            came => Err(outcome(host, came).into_result().err().unwrap_or_else(|| {
                Failure::new(FailureCode::HostSilent, format!("{host} has answered something else"))
            })),
        }
    }

    /// Tests that a store can be written, and changes nothing.
    pub async fn rehearse(&self, asker: Asker<'_>, hosted: &HostedPolicy, store: &StoreKey) -> Result<(), Failure> {
        if self.is_forgotten(&hosted.host) {
            return Ok(());
        }
        let deed = Deed::Rehearse { store: store.clone(), file: hosted.file.clone() };
        let came = self.question(asker, Addressee::of(hosted), &ErrandId::draw(), deed, PATIENCE).await?;
        outcome(&hosted.host, came).into_result()
    }

    /// Takes a value out of a store that has left the inventory, where `ours` says so of it.
    pub async fn erase(
        &self,
        asker: Asker<'_>,
        hosted: &HostedPolicy,
        store: &StoreKey,
        ours: impl Fn(&Secret) -> bool,
    ) -> Outcome<Erased> {
        let host = &hosted.host;
        if self.is_forgotten(host) {
            return Outcome::Done(Erased::Stays(format!("is on {host}, which nobody waits for")));
        }
        let erased = async {
            // Otherwise its agent would write it again, the file being gone.
            let id = ErrandId::of_store(&hosted.token, store);
            if let Some(wanted) = asker.journal.wanted(host, &id).await.map_err(EngineError::failure)? {
                let removed = asker.journal.unwant(asker.fence, host, &id, wanted.revision).await;
                removed.map_err(EngineError::failure)?;
            }
            let secret = match self.look(asker, hosted, store).await?.found {
                Found::Absent => return Ok(Erased::Gone),
                Found::Value(secret) if ours(&secret) => secret,
                Found::Value(_) | Found::Other | Found::Hidden(_) | Found::Blind => {
                    return Ok(Erased::Stays("holds something else than was delivered".to_owned()));
                }
            };
            let id = ErrandId::draw();
            let secret = self.seal(asker.journal, host)?.seal_errand(&id, &hosted.token, &secret)?;
            let deed = Deed::Erase { store: store.clone(), file: hosted.file.clone(), secret };
            match self.question(asker, Addressee::of(hosted), &id, deed, PATIENCE).await? {
                Came::Stays(why) => Ok(Erased::Stays(why)),
                came => outcome(host, came).into_result().map(|()| Erased::Gone),
            }
        };
        erased.await.map_or_else(Outcome::later, Outcome::Done)
    }

    /// Has a hook run on `host`, for a token of `account`.
    pub async fn run(
        &self,
        asker: Asker<'_>,
        (host, hook): (&HostName, &HookPolicy),
        account: &AccountName,
        occasion: &Occasion,
    ) -> Outcome<()> {
        if self.is_forgotten(host) {
            return Outcome::Done(());
        }
        let Some(run) = HostHook::of(&hook.kind) else {
            return Outcome::Refused(Failure::new(FailureCode::HookFailed, "no agent runs hooks of its kind"));
        };
        let patience = hook.timeout + run.length() + PATIENCE;
        let deed = Deed::Run {
            hook: hook.key.clone(),
            run,
            timeout: hook.timeout,
            rotation: occasion.rotation,
            attempt: occasion.attempt,
            rolled_back: occasion.rolled_back,
        };
        let to = Addressee { host, account, token: &occasion.token };
        match self.question(asker, to, &ErrandId::draw(), deed, patience).await {
            Ok(came) => outcome(host, came),
            Err(failure) => Outcome::later(failure),
        }
    }

    /// Asks a host that lives.
    async fn question(
        &self,
        asker: Asker<'_>,
        to: Addressee<'_>,
        id: &ErrandId,
        deed: Deed,
        patience: Duration,
    ) -> Result<Came, Failure> {
        match self.absence(to.host, asker.now) {
            Some(absent) => Err(absent),
            None => self.ask(asker, to, id, deed, patience).await,
        }
    }

    /// Leaves an errand, unless the same one is there already, and waits for its answer while its host lives.
    async fn ask(
        &self,
        asker: Asker<'_>,
        to: Addressee<'_>,
        id: &ErrandId,
        deed: Deed,
        patience: Duration,
    ) -> Result<Came, Failure> {
        let (journal, host) = (asker.journal, to.host);
        let place = (host.clone(), id.clone());
        let (sender, mut answers) = mpsc::unbounded_channel();
        // Before it is left: an answer may come at once.
        lock(&self.waiting).insert(place.clone(), sender);
        let deadline = Instant::now() + patience;
        let asked = async {
            let before =
                if id.is_question() { None } else { journal.wanted(host, id).await.map_err(EngineError::failure)? };
            let mine = lock(&self.left).get(&place).map(|(revision, _)| *revision);
            let revision = match before.filter(|before| before.errand.deed.is_like(&deed)) {
                Some(before) => match before.answer {
                    Some(answer) => return Ok(Some(answer.came)),
                    // It is there, and not done yet.
                    None if mine == Some(before.revision) => before.revision,
                    None => self.leave(asker, to, id, deed).await?,
                },
                None => self.leave(asker, to, id, deed).await?,
            };
            if self.absence(host, asker.now).is_some() {
                return Ok(None);
            }
            loop {
                match timeout_at(deadline, answers.recv()).await {
                    Ok(Some(answer)) if answer.to == revision => return Ok(Some(answer.came)),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return Ok(None),
                }
            }
        };
        let asked: Result<Option<Came>, Failure> = asked.await;
        lock(&self.waiting).remove(&place);
        if id.is_question() || matches!(asked, Ok(Some(_))) {
            lock(&self.left).remove(&place);
            // An answer that stays is removed with the next errand; a question ends with this replica.
            let _ = journal.taken(host, id).await;
        }
        asked?.ok_or_else(|| silent(host, lock(&self.hosts).seen.get(host).copied(), asker.now))
    }

    async fn leave(&self, asker: Asker<'_>, to: Addressee<'_>, id: &ErrandId, deed: Deed) -> Result<i64, Failure> {
        let errand = Errand { account: to.account.clone(), token: to.token.clone(), deed };
        let revision = asker.journal.want(asker.fence, to.host, id, &errand).await?;
        lock(&self.left).insert((to.host.clone(), id.clone()), (revision, to.token.clone()));
        Ok(revision)
    }
}

fn silent(host: &HostName, seen: Option<Time>, now: Time) -> Failure {
    let seen = match seen {
        Some(seen) => format!("last seen {}", words::relative(seen.min(now), now)),
        None => "never seen".to_owned(),
    };
    Failure::new(FailureCode::HostSilent, format!("{host} has not acknowledged ({seen})"))
}

/// What an answer means here.
fn outcome(host: &HostName, came: Came) -> Outcome<()> {
    let of_host = |failure: Failure| failure.reworded(format!("{host}: {}", failure.detail));
    match came {
        Came::Done | Came::Stays(_) | Came::Holds { .. } => Outcome::Done(()),
        Came::Later(failure) => Outcome::later(of_host(failure)),
        Came::Refused(failure) => Outcome::Refused(of_host(failure)),
        Came::Unknown(failure) => Outcome::Unknown(of_host(failure)),
    }
}

fn found(seal: &HostSeal, id: &ErrandId, token: &TokenName, content: Content) -> Result<Found, Failure> {
    Ok(match content {
        Content::Nothing => Found::Absent,
        Content::Other => Found::Other,
        Content::Value(sealed) => Found::Value(seal.open_answer(id, token, &sealed)?),
    })
}

#[cfg(test)]
mod tests;
