//! The journal of a fleet, in an engine that all replicas reach.
//!
//! Law: every commit carries its claim and its head in the transaction that writes it. Neither a lease nor a clock is the
//! reason why something is safe: they only decide who tries.
//!
//! What a key is called and what it holds is said in `layout`; how an engine is spoken to, in `engine`.

pub mod agent;
mod begin;
mod commit;
mod depart;
mod engine;
pub mod errand;
pub mod hosts;
pub mod keys;
mod layout;
mod lease;
mod limits;
mod marks;
pub mod presence;
mod sealed;
pub mod tally;
pub mod wishes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

pub use self::begin::FleetError;
use self::engine::{Compare, Engine, Look, Pair};
pub use self::engine::{EngineError, Health};
use self::keys::Keys;
use self::layout::{HeadValue, Layout, RecordValue};
pub use self::layout::{Member, Meta, Owned, WishId};
pub use self::lease::{Lease, boot};
use self::marks::Marks;
use self::tally::Commits;
use super::record::{Chain, Record};
use super::{Fence, Head, Stored};
use crate::names::{AccountName, InstanceId, ReplicaName, TokenName, unhex};
use crate::outcome::{Failure, FailureCode};
use crate::secret::Fingerprinter;

/// How long the names of all tokens are believed.
const NAMES_KEPT: Duration = Duration::from_secs(60);

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
    keys: Keys,
    instance: InstanceId,
    replica: ReplicaName,
    lease: Arc<Lease>,
    ends: Mutex<HashMap<TokenName, End>>,
    marks: Marks,
    commits: Mutex<Commits>,
    /// The names of all tokens, and when they were read.
    tokens: tokio::sync::Mutex<Option<(Duration, Names)>>,
}

impl FleetJournal {
    /// Writes down how far the journals have come. To be called every few seconds.
    pub async fn write_marks(&self) {
        self.marks.write().await;
    }

    /// What the markers of the fleet's tokens carry.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Makes fingerprints under the fleet's key.
    pub fn fingerprinter(&self) -> &Fingerprinter {
        self.keys.fingerprints()
    }

    /// What this replica is called.
    pub fn replica(&self) -> &ReplicaName {
        &self.replica
    }

    /// The sign of life of this replica.
    pub fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// The commits of this process.
    pub fn commits(&self) -> Commits {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How the engine is.
    pub async fn health(&self) -> Result<Health, EngineError> {
        self.engine.health().await
    }

    /// That a claim stands: nothing is written to an account under one that another has taken over.
    fn stands(&self, fence: &Fence) -> Compare {
        Compare::Created(self.layout.claim(&fence.account), fence.epoch.cast_signed())
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<TokenName, End>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account that the journal of `token` is kept under. `None`: it has no journal.
    pub async fn home(&self, token: &TokenName) -> Result<Option<AccountName>, EngineError> {
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

/// The values of keys are names, numbers and texts: always JSON.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn failure(detail: impl Into<String>) -> Failure {
    Failure::new(FailureCode::Journal, detail)
}
