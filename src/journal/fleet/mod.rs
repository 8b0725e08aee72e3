//! The journal of a fleet, in an engine that all replicas reach.
//!
//! Law: every commit carries its claim and its head in the transaction that writes it. Neither a lease nor a clock is the
//! reason why something is safe: they only decide who tries.
//!
//! What a key is called and what it holds is said in `layout`; how an engine is spoken to, in `engine`.

mod engine;
mod layout;
mod lease;
mod marks;
pub mod presence;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use self::engine::{Compare, Done, Engine, Look, Pair, Step};
pub use self::engine::{EngineError, Health};
use self::layout::{FORMAT, HeadValue, Layout, RecordValue};
pub use self::layout::{Member, Meta, Owned};
pub use self::lease::{Lease, boot};
use self::marks::Marks;
use super::key::{KeyError, KeySource};
use super::record::{Chain, Record};
use super::seal::Sealer;
use super::{Change, Commit, CommitError, Fence, Head, Journal, SecretChange, SecretSlot, Settled, Stored, settled};
use crate::inventory::FleetSettings;
use crate::names::{AccountName, InstanceId, ReplicaName, TokenName, hex, unhex};
use crate::outcome::{Failure, FailureCode};
use crate::secret::{Fingerprinter, SecretParts, random};

/// So many of the last records of a token are kept: about three rotations.
const KEPT: i64 = 32;

/// How long the names of all tokens are believed.
const NAMES_KEPT: Duration = Duration::from_secs(60);

/// Why a replica cannot take part in its fleet.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Waiting may help: the engine cannot be reached, or has no majority.
    #[error("the journal of fleet `{fleet}`: {failure}")]
    Away { fleet: String, failure: Failure },
    #[error("the journal of fleet `{fleet}`: {failure}")]
    Refused { fleet: String, failure: Failure },
    #[error("fleet `{0}` does not exist in this engine")]
    Missing(String),
    #[error("fleet `{0}` exists already")]
    Exists(String),
    #[error("fleet `{fleet}` was written by a newer patrold (format {found}, this one knows {FORMAT})")]
    Newer { fleet: String, found: u32 },
    #[error("fleet `{fleet}` seals its secrets with the key {theirs}, and this replica was given the key {ours}")]
    OtherKey { fleet: String, ours: String, theirs: String },
    #[error("a fleet needs one seal key that every replica is given")]
    NoKey,
    #[error("{key} in the engine holds what patrold did not write")]
    Damaged { key: String },
}

impl FleetError {
    /// How to go on.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => Some(
                "`patrold fleet init` makes it, once; if it was made, the engine is another one, or was restored without it",
            ),
            Self::Exists(_) => Some("replicas join it by themselves: start `patrold run`"),
            Self::Newer { .. } => Some("run that version on this host, too"),
            Self::OtherKey { .. } => Some("give this replica the key that the others have (`seal-key` in [daemon])"),
            Self::NoKey => Some(
                "make one (head -c 32 /dev/urandom | base64), put it on every host, and name it: seal-key = { file = \
                 \"/etc/patrold/seal.key\" } in [daemon], or the systemd credential patrold-seal-key",
            ),
            Self::Damaged { .. } => Some("restore a backup of the engine, or name another fleet"),
            Self::Key(_) | Self::Away { .. } | Self::Refused { .. } => None,
        }
    }

    /// Whether the same may work later, without anybody's help.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    fn of(fleet: &FleetSettings, error: EngineError) -> Self {
        let fleet = fleet.name.to_string();
        match error {
            EngineError::Refused(failure) => Self::Refused { fleet, failure },
            EngineError::Away(failure) | EngineError::Unknown(failure) => Self::Away { fleet, failure },
        }
    }
}

/// Tokens, each with the account that its journal is kept under.
type Names = Vec<(TokenName, AccountName)>;

/// Where the journal of a token ends, so far as this process knows.
#[derive(Clone, Debug)]
struct End {
    account: AccountName,
    head: Head,
    chain: Chain,
    /// The number of the last record that the whole state knows of.
    state_seq: i64,
}

/// The journal of a fleet, as one replica sees it.
#[derive(Debug)]
pub struct FleetJournal {
    engine: Engine,
    layout: Layout,
    sealer: Sealer,
    instance: InstanceId,
    replica: ReplicaName,
    lease: Arc<Lease>,
    ends: Mutex<HashMap<TokenName, End>>,
    marks: Marks,
    /// The names of all tokens, and when they were read.
    tokens: tokio::sync::Mutex<Option<(Duration, Names)>>,
}

/// The seal key of a fleet. None is ever made: each replica would make its own.
fn sealer(key: &KeySource) -> Result<Sealer, FleetError> {
    if *key == KeySource::StateDirectory {
        return Err(FleetError::NoKey);
    }
    Ok(key.existing(Path::new("/"))?)
}

impl FleetJournal {
    /// Joins what was made by [`FleetJournal::found`]. Nothing is owned yet.
    pub async fn open(settings: &FleetSettings, key: &KeySource) -> Result<Self, FleetError> {
        let sealer = sealer(key)?;
        let engine = Engine::new(&settings.engine).await.map_err(|failure| Self::unusable(settings, failure))?;
        let layout = Layout::new(&settings.name);
        let found = engine.get(layout.meta()).await.map_err(|error| FleetError::of(settings, error))?;
        let Some(found) = found else { return Err(FleetError::Missing(settings.name.to_string())) };
        let meta: Meta = found.read().ok_or(FleetError::Damaged { key: found.key })?;
        if meta.format > FORMAT {
            return Err(FleetError::Newer { fleet: settings.name.to_string(), found: meta.format });
        }
        let ours = hex(&sealer.key_id());
        if ours != meta.seal_key {
            return Err(FleetError::OtherKey { fleet: settings.name.to_string(), ours, theirs: meta.seal_key });
        }
        Ok(Self {
            engine,
            layout,
            sealer,
            instance: meta.instance,
            replica: settings.host.clone(),
            lease: Arc::new(Lease::new(settings.lease)),
            ends: Mutex::default(),
            marks: Marks::new(meta.incarnation),
            tokens: tokio::sync::Mutex::default(),
        })
    }

    /// The same, for a replica whose state directory tells how far it has seen the journals come.
    pub async fn open_replica(settings: &FleetSettings, key: &KeySource, state_dir: &Path) -> Result<Self, FleetError> {
        let mut journal = Self::open(settings, key).await?;
        journal.marks = Marks::open(journal.marks.incarnation(), state_dir).await;
        Ok(journal)
    }

    /// Writes down how far the journals have come. To be called every few seconds.
    pub async fn write_marks(&self) {
        self.marks.write().await;
    }

    /// Whether an operator has said since that what the engine tells is to be believed, although it ran back.
    pub async fn recovered(&self) -> Result<bool, EngineError> {
        let meta = self.engine.get(self.layout.meta()).await?.as_ref().and_then(Pair::read::<Meta>);
        Ok(meta.is_some_and(|meta| self.marks.begin_anew(&meta.incarnation)))
    }

    /// From now on every replica believes what the engine tells, although it ran back.
    pub async fn recover(&self) -> Result<(), EngineError> {
        let key = self.layout.meta();
        let damaged = || EngineError::Refused(failure(format!("{key} in the engine holds what patrold did not write")));
        let pair = self.engine.get(key.clone()).await?.ok_or_else(damaged)?;
        let meta: Meta = pair.read().ok_or_else(damaged)?;
        let meta = Meta { incarnation: hex(&random::bytes::<8>()), ..meta };
        let put = Step::Put { key: key.clone(), value: json(&meta), lease: 0 };
        match self.engine.transact(&[Compare::Modified(key, pair.modified)], &[put], &[]).await? {
            Done::Held(_) => Ok(()),
            Done::Denied(_) => {
                Err(EngineError::Refused(failure("somebody else has recovered the fleet at the same time")))
            }
        }
    }

    /// Makes the fleet that `settings` name. `instance`: what its markers carry, where it goes on from another journal.
    pub async fn found(
        settings: &FleetSettings,
        key: &KeySource,
        instance: Option<InstanceId>,
    ) -> Result<Meta, FleetError> {
        let sealer = sealer(key)?;
        let engine = Engine::new(&settings.engine).await.map_err(|failure| Self::unusable(settings, failure))?;
        let layout = Layout::new(&settings.name);
        let meta = Meta {
            format: FORMAT,
            instance: instance.unwrap_or_else(|| InstanceId::new(random::bytes())),
            incarnation: hex(&random::bytes::<8>()),
            seal_key: hex(&sealer.key_id()),
        };
        let key = layout.meta();
        let put = Step::Put { key: key.clone(), value: json(&meta), lease: 0 };
        let absent = [Compare::Created(key.clone(), 0)];
        engine.prepare().await.map_err(|error| FleetError::of(settings, error))?;
        let done = engine.transact(&absent, &[put], &[key.clone()]).await;
        let made = match done {
            Ok(Done::Held(_)) => return Ok(meta),
            Ok(Done::Denied(found)) => found.into_iter().flatten().next(),
            Err(EngineError::Unknown(_)) => {
                let again = async {
                    engine.pass().await?;
                    engine.get(key).await
                };
                again.await.map_err(|error| FleetError::of(settings, error))?
            }
            Err(error) => return Err(FleetError::of(settings, error)),
        };
        match made.and_then(|pair| pair.read::<Meta>()) {
            // An answer was lost, and it is ours.
            Some(found) if found == meta => Ok(meta),
            _ => Err(FleetError::Exists(settings.name.to_string())),
        }
    }

    fn unusable(settings: &FleetSettings, failure: Failure) -> FleetError {
        FleetError::Refused { fleet: settings.name.to_string(), failure }
    }

    /// What the markers of the fleet's tokens carry.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Makes fingerprints under the fleet's key.
    pub fn fingerprinter(&self) -> &Fingerprinter {
        self.sealer.fingerprinter()
    }

    /// What this replica is called.
    pub fn replica(&self) -> &ReplicaName {
        &self.replica
    }

    /// The sign of life of this replica.
    pub fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// How the engine is.
    pub async fn health(&self) -> Result<Health, EngineError> {
        self.engine.health().await
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<TokenName, End>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account that the journal of `token` is kept under. `None`: it has no journal.
    async fn home(&self, token: &TokenName) -> Result<Option<AccountName>, EngineError> {
        if let Some(end) = self.ends().get(token) {
            return Ok(Some(end.account.clone()));
        }
        let found = self.engine.get(self.layout.home(token)).await?;
        Ok(found.and_then(|pair| String::from_utf8(pair.value).ok()).and_then(|name| name.parse().ok()))
    }

    /// Reads where the journal of a token ends, and what it tells.
    async fn read(&self, account: &AccountName, token: &TokenName) -> Result<Option<Stored>, Failure> {
        let looks = [
            Look::At(self.layout.head(account, token)),
            Look::At(self.layout.state(account, token)),
            Look::Below(self.layout.records(account, token)),
        ];
        let mut found = self.engine.read(&looks).await.map_err(EngineError::failure)?.into_iter();
        let (head, state) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
        let (Some(head), Some(state)) = (head.first(), state.first()) else { return Ok(None) };
        let records = found.next().unwrap_or_default();
        self.stored_from(account, token, head, state, &records).map(Some)
    }

    /// Puts together what the journal tells of a token, and remembers where it ends.
    fn stored_from(
        &self,
        account: &AccountName,
        token: &TokenName,
        head: &Pair,
        state: &Pair,
        records: &[Pair],
    ) -> Result<Stored, Failure> {
        let damaged = |pair: &Pair| failure(format!("{} in the engine holds what patrold did not write", pair.key));
        let value: HeadValue = head.read().ok_or_else(|| damaged(head))?;
        let hash = unhex(&value.hash).and_then(|hash| hash.try_into().ok()).ok_or_else(|| damaged(head))?;
        self.marks.see(account, token, value.seq, &value.hash)?;
        let mut stored = Stored {
            state: String::from_utf8(state.value.clone()).map_err(|_| damaged(state))?,
            since: Vec::new(),
            newest: 0,
            head: Head(head.modified),
        };
        for (seq, record) in numbered(records).map_err(damaged)? {
            if seq > value.state_seq {
                stored.newest = stored.newest.max(record.version);
                stored.since.push(record.body);
            }
        }
        let end = End {
            account: account.clone(),
            head: stored.head,
            chain: Chain { seq: value.seq, hash },
            state_seq: value.state_seq,
        };
        self.ends().insert(token.clone(), end);
        Ok(stored)
    }

    /// The records of a token that are kept, oldest first.
    pub async fn history(&self, token: &TokenName) -> Result<Vec<Record>, Failure> {
        let Some(account) = self.home(token).await.map_err(EngineError::failure)? else { return Ok(Vec::new()) };
        let pairs = self.engine.all(&self.layout.records(&account, token)).await.map_err(EngineError::failure)?;
        let damaged = |pair: &Pair| failure(format!("{} in the engine holds what patrold did not write", pair.key));
        let records = numbered(&pairs).map_err(damaged)?;
        let record = |(seq, value): (i64, RecordValue)| Record {
            seq,
            at_micros: value.at_micros,
            token: token.to_string(),
            kind: value.kind,
            version: value.version,
            body: value.body,
            hash: unhex(&value.hash).and_then(|hash| hash.try_into().ok()).unwrap_or_default(),
        };
        Ok(records.into_iter().map(record).collect())
    }

    /// The names of all tokens that the fleet knows, with the account of each.
    pub async fn tokens(&self) -> Result<Vec<(TokenName, AccountName)>, Failure> {
        let prefix = self.layout.homes();
        let pairs = self.engine.all(&prefix).await.map_err(EngineError::failure)?;
        let home = |pair: Pair| {
            let token = pair.key.strip_prefix(&prefix)?.parse().ok()?;
            Some((token, String::from_utf8(pair.value).ok()?.parse().ok()?))
        };
        Ok(pairs.into_iter().filter_map(home).collect())
    }

    /// What the journal tells of every token of `account`.
    pub async fn load_account(&self, account: &AccountName) -> Result<Vec<(TokenName, Stored)>, Failure> {
        let heads_prefix = self.layout.heads(account);
        let heads = self.engine.all(&heads_prefix).await.map_err(EngineError::failure)?;
        let states_prefix = self.layout.states(account);
        let states = self.engine.all(&states_prefix).await.map_err(EngineError::failure)?;
        let states: HashMap<String, Pair> = states.into_iter().map(|pair| (pair.key.clone(), pair)).collect();
        let mut all = Vec::with_capacity(heads.len());
        for head in heads {
            let name = head.key.strip_prefix(&heads_prefix).unwrap_or_default();
            let Ok(token) = name.parse::<TokenName>() else { continue };
            let whole = head.read::<HeadValue>().is_some_and(|value| value.seq == value.state_seq);
            let state = states.get(&self.layout.state(account, &token)).filter(|_| whole);
            let stored = match state {
                Some(state) => Some(self.stored_from(account, &token, &head, state, &[])?),
                // In the middle of a rotation its records tell the rest.
                None => self.read(account, &token).await?,
            };
            all.extend(stored.map(|stored| (token, stored)));
        }
        self.marks.see_all(account, all.iter().map(|(token, _)| token))?;
        Ok(all)
    }

    /// Where the journal of a token ends that is to be followed after `follows`. `None`: it ends elsewhere.
    async fn end_at(&self, fence: &Fence, change: &Change) -> Result<Option<End>, CommitError> {
        if change.follows == Head::default() {
            let chain = Chain::of_token(self.instance, &change.token);
            return Ok(Some(End { account: fence.account.clone(), head: change.follows, chain, state_seq: 0 }));
        }
        let known = |ends: &HashMap<TokenName, End>| {
            ends.get(&change.token).filter(|end| end.head == change.follows && end.account == fence.account).cloned()
        };
        if let Some(end) = known(&self.ends()) {
            return Ok(Some(end));
        }
        self.read(&fence.account, &change.token).await.map_err(CommitError::Refused)?;
        Ok(known(&self.ends()))
    }

    /// The steps that make `change` durable after `end`, and where the journal of the token ends then.
    fn steps(&self, fence: &Fence, change: &Change, end: &End) -> Result<(Vec<Step>, End), Failure> {
        let (account, token) = (&fence.account, &change.token);
        let mut chain = end.chain.clone();
        let records: Vec<_> =
            change.records.iter().map(|draft| value_of(&chain.append(change.at, token, draft))).collect();
        let mut steps = Vec::new();
        let mut put = |key: String, value: Vec<u8>| steps.push(Step::Put { key, value, lease: 0 });
        if change.follows == Head::default() {
            put(self.layout.home(token), account.as_str().as_bytes().to_vec());
        }
        if !records.is_empty() {
            put(self.layout.record(account, token, end.chain.seq + 1), json(&records));
        }
        let mut state_seq = end.state_seq;
        if let Some(state) = &change.state {
            state_seq = chain.seq;
            put(self.layout.state(account, token), state.clone().into_bytes());
        }
        let head = HeadValue {
            seq: chain.seq,
            hash: hex(&chain.hash),
            state_seq,
            by: self.replica.clone(),
            epoch: fence.epoch,
        };
        put(self.layout.head(account, token), json(&head));
        if change.state.is_some() && chain.seq > KEPT {
            let from = self.layout.record(account, token, 0);
            let to = self.layout.record(account, token, chain.seq - KEPT);
            steps.push(Step::DeleteRange(from, to));
        }
        for secret in &change.secrets {
            steps.push(match secret {
                SecretChange::Keep { slot, parts } => {
                    let sealed = self.sealer.seal(slot, parts);
                    let value = sealed.map_err(|error| failure(format!("the secret was not sealed: {error}")))?;
                    Step::Put { key: self.layout.secret(account, slot), value, lease: 0 }
                }
                SecretChange::Erase { slot } => Step::Delete(self.layout.secret(account, slot)),
            });
        }
        Ok((steps, End { account: account.clone(), head: end.head, chain, state_seq }))
    }

    /// Why a commit was denied: what its transaction read instead.
    async fn denial(&self, fence: &Fence, change: &Change, found: Vec<Option<Pair>>) -> CommitError {
        let mut found = found.into_iter();
        if found.next().flatten().is_none_or(|claim| claim.created.cast_unsigned() != fence.epoch) {
            return CommitError::Fenced;
        }
        let home = found.next().flatten();
        let home = home.as_ref().and_then(|pair| std::str::from_utf8(&pair.value).ok());
        if let Some(home) = home.filter(|home| *home != fence.account.as_str()) {
            return CommitError::Refused(moved(&change.token, home, &fence.account));
        }
        match self.read(&fence.account, &change.token).await {
            Ok(stored) => CommitError::Overtaken(Box::new(stored.unwrap_or_default())),
            // Nothing was written; what is there instead is read by the next try.
            Err(failure) => CommitError::Refused(failure),
        }
    }
}

/// The journal of a token is kept under another account than the one that it is to have now.
fn moved(token: &TokenName, home: &str, account: &AccountName) -> Failure {
    failure(format!(
        "the journal of {token} is kept under account {home}, and a fleet cannot move a token to another account: give it \
         another name under {account}, and take this one out of the inventory once the new one is delivered"
    ))
}

/// The records in these pairs, each with its number. `Err`: the pair that holds none.
fn numbered(pairs: &[Pair]) -> Result<Vec<(i64, RecordValue)>, &Pair> {
    let mut all = Vec::new();
    for pair in pairs {
        let first = pair.key.rsplit('/').next().and_then(|seq| seq.parse::<i64>().ok());
        let (Some(first), Some(records)) = (first, pair.read::<Vec<RecordValue>>()) else { return Err(pair) };
        all.extend((first..).zip(records));
    }
    Ok(all)
}

fn value_of(record: &Record) -> RecordValue {
    RecordValue {
        at_micros: record.at_micros,
        kind: record.kind.clone(),
        version: record.version,
        body: record.body.clone(),
        hash: hex(&record.hash),
    }
}

/// The values of keys are names, numbers and texts: always JSON.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn failure(detail: impl Into<String>) -> Failure {
    Failure::new(FailureCode::Journal, detail)
}

impl Journal for FleetJournal {
    /// Takes a claim that nobody has.
    async fn claim(&self, account: &AccountName) -> Result<Fence, Failure> {
        self.take_claim(account).await
    }

    async fn commit(&self, commit: Commit) -> Result<Head, CommitError> {
        let Commit { fence, change } = commit;
        let Some(end) = self.end_at(&fence, &change).await? else {
            if let Some(home) = self.home(&change.token).await.map_err(|error| CommitError::Refused(error.failure()))?
                && home != fence.account
            {
                return Err(CommitError::Refused(moved(&change.token, home.as_str(), &fence.account)));
            }
            // Whoever moved it may have been this process.
            let stored = self.stored(&change.token).await.map_err(CommitError::Refused)?;
            return Err(CommitError::Overtaken(Box::new(stored.unwrap_or_default())));
        };
        let (steps, mut next) = self.steps(&fence, &change, &end).map_err(CommitError::Refused)?;
        let mut conditions = vec![
            Compare::Created(self.layout.claim(&fence.account), fence.epoch.cast_signed()),
            Compare::Modified(self.layout.head(&fence.account, &change.token), change.follows.0),
        ];
        if change.follows == Head::default() {
            conditions.push(Compare::Created(self.layout.home(&change.token), 0));
        }
        let otherwise = [self.layout.claim(&fence.account), self.layout.home(&change.token)];
        match self.engine.transact(&conditions, &steps, &otherwise).await {
            Ok(Done::Held(revision)) => {
                next.head = Head(revision);
                // It goes on from what was seen.
                let _ = self.marks.see(&fence.account, &change.token, next.chain.seq, &hex(&next.chain.hash));
                self.ends().insert(change.token, next);
                Ok(Head(revision))
            }
            Ok(Done::Denied(found)) => Err(self.denial(&fence, &change, found).await),
            Err(EngineError::Unknown(failure)) => Err(CommitError::Unknown(failure)),
            Err(EngineError::Away(failure) | EngineError::Refused(failure)) => Err(CommitError::Refused(failure)),
        }
    }

    async fn settle(&self, token: &TokenName, after: Head) -> Result<Settled, Failure> {
        self.engine.pass().await.map_err(EngineError::failure)?;
        Ok(settled(self.stored(token).await?, after))
    }

    fn reachable(&self) -> Result<(), Failure> {
        if self.lease.left(boot()).is_some() {
            return Ok(());
        }
        Err(failure(
            "the engine has not acknowledged a sign of life of this replica in time; nothing is begun until it does",
        ))
    }

    async fn stored(&self, token: &TokenName) -> Result<Option<Stored>, Failure> {
        match self.home(token).await.map_err(EngineError::failure)? {
            Some(account) => self.read(&account, token).await,
            None => Ok(None),
        }
    }

    async fn load(&self, account: &AccountName) -> Result<Option<Vec<(TokenName, Stored)>>, Failure> {
        self.load_account(account).await.map(Some)
    }

    async fn shared_tokens(&self) -> Result<Names, Failure> {
        let mut known = self.tokens.lock().await;
        if let Some((at, tokens)) = known.as_ref()
            && boot().saturating_sub(*at) < NAMES_KEPT
        {
            return Ok(tokens.clone());
        }
        let tokens = self.tokens().await?;
        *known = Some((boot(), tokens.clone()));
        Ok(tokens)
    }

    async fn secret(&self, slot: &SecretSlot) -> Result<Option<SecretParts>, Failure> {
        let Some(account) = self.home(&slot.token).await.map_err(EngineError::failure)? else { return Ok(None) };
        let found = self.engine.get(self.layout.secret(&account, slot)).await.map_err(EngineError::failure)?;
        let Some(found) = found else { return Ok(None) };
        self.sealer.open(slot, &found.value).map(Some).map_err(|error| {
            let what = format!("{} generation {}: {error}", slot.token, slot.generation);
            Failure::new(FailureCode::SecretUnreadable, what)
        })
    }
}
