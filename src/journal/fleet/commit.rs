//! Commits: the claim, the head and the change in one transaction.

use std::collections::HashMap;
use std::sync::PoisonError;

use super::engine::{Compare, Done, EngineError, Pair, Step};
use super::layout::{HeadValue, RecordValue};
use super::lease::boot;
use super::{End, FleetJournal, NAMES_KEPT, Names, failure, json};
use crate::journal::record::{Chain, Record};
use crate::journal::{
    Change, Commit, CommitError, Fence, Head, Journal, SecretChange, SecretSlot, Settled, Stored, settled,
};
use crate::names::{AccountName, TokenName, hex};
use crate::outcome::{Failure, FailureCode};
use crate::secret::SecretParts;

/// So many of the last records of a token are kept: about three rotations.
const KEPT: i64 = 32;

impl FleetJournal {
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

    /// Writes a commit: the claim, the head and the change in one transaction.
    async fn write(&self, commit: Commit) -> Result<Head, CommitError> {
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
            self.stands(&fence),
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
                    let sealed = self.keys.sealer().seal(slot, parts);
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

fn value_of(record: &Record) -> RecordValue {
    RecordValue {
        at_micros: record.at_micros,
        kind: record.kind.clone(),
        version: record.version,
        body: record.body.clone(),
        hash: hex(&record.hash),
    }
}

impl Journal for FleetJournal {
    /// Takes a claim that nobody has.
    async fn claim(&self, account: &AccountName) -> Result<Fence, Failure> {
        self.take_claim(account).await
    }

    async fn commit(&self, commit: Commit) -> Result<Head, CommitError> {
        let (begun, at) = (boot(), commit.change.at);
        let result = self.write(commit).await;
        let took = boot().saturating_sub(begun);
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).note(&result, took, at);
        result
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
        self.keys.open(slot, &found.value).map(Some).map_err(|error| {
            let what = format!("{} generation {}: {error}", slot.token, slot.generation);
            Failure::new(FailureCode::SecretUnreadable, what)
        })
    }
}
