//! Moves the journal of a fleet back into the state directory of one host, for a daemon that is alone: the reverse of
//! [`super::import`].
//!
//! Law: the id of the journal moves along, so that the names of its tokens at their providers stay ours. No replica owns
//! anything from the first step on, and none ever will: what was left is never taken up again.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Time;
use crate::daemon::rekey;
use crate::daemon::{StartError, unreadable_state};
use crate::few::Few;
use crate::inventory::{FleetSettings, Inventory};
use crate::journal::archive::{Archive, OpenJournal, Opened};
use crate::journal::fleet::{EngineError, FleetError, FleetJournal};
use crate::journal::key::KeySource;
use crate::journal::{Change, SecretChange, SecretSlot};
use crate::names::{AccountName, GenerationNo, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::rotation::stored::restore;
use crate::rotation::{Event, TokenState, apply};
use crate::secret::Fingerprint;

use super::{every_account, who_lives};

/// What was moved back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    pub tokens: usize,
    pub secrets: usize,
    /// What could not be moved, a line each.
    pub behind: Vec<String>,
}

/// Why nothing was moved. Doing it again goes on where it ended.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// The journal in the state directory.
    #[error(transparent)]
    Open(#[from] StartError),
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("replicas live: {0}: stop every one first")]
    Lives(String),
    #[error("the state directory has a journal that was never moved into this fleet")]
    Occupied,
    #[error("{0}")]
    Failed(Failure),
    #[error("everything was moved, and that could not be noted in the state directory: {0}")]
    Note(#[from] crate::durable::DurableError),
}

impl From<EngineError> for LeaveError {
    fn from(error: EngineError) -> Self {
        Self::Failed(error.failure())
    }
}

/// Moves the journal of `fleet` into the state directory of `inventory`.
pub async fn leave(
    inventory: &Inventory,
    fleet: &FleetSettings,
    key: &KeySource,
    now: Time,
) -> Result<Left, LeaveError> {
    let archive = Archive::of(&inventory.daemon.state_dir);
    let (journal, meta) = FleetJournal::open_to_leave(fleet, key).await?;
    let half_way = meta.left.as_ref() == Some(&fleet.host);
    if archive.exists() && !half_way {
        return Err(LeaveError::Occupied);
    }
    if let Some(host) = meta.left.as_ref().filter(|_| !half_way) {
        return Err(FleetError::Left { fleet: fleet.name.to_string(), host: host.to_string() }.into());
    }
    nobody_lives(&journal).await?;
    // Whoever opens it from now on is told; whoever has opened it before finds every account closed.
    journal.note_left(Some(&fleet.host)).await?;
    if let Err(lives) = nobody_lives(&journal).await {
        journal.note_left(None).await?;
        return Err(lives);
    }
    let accounts = every_account(&journal, inventory).await.map_err(LeaveError::Failed)?;
    for account in &accounts {
        journal.close(account).await.map_err(LeaveError::Failed)?;
    }
    let (local, opened) = open(&archive, inventory, key, journal.instance(), now).await?;
    if opened.instance != journal.instance() {
        return Err(LeaveError::Occupied);
    }
    let mut left = Left::default();
    let mut old: BTreeMap<TokenName, Vec<SecretSlot>> = BTreeMap::new();
    for slot in local.slots().map_err(StartError::Journal)? {
        old.entry(slot.token.clone()).or_default().push(slot);
    }
    let heads: BTreeMap<_, _> = opened.states.iter().map(|(name, stored)| (name.clone(), stored.head)).collect();
    let mut changes = Vec::new();
    let mut known = BTreeSet::new();
    for (account, name, stored) in stored(&journal, &accounts).await? {
        known.insert(name.clone());
        let state = match restore(&stored) {
            Ok(restored) => restored.state,
            Err(error) => {
                left.behind.push(unreadable_state(&name, &error));
                continue;
            }
        };
        let (kept, lost) = journal.secrets_of(&account, &name).await.map_err(LeaveError::Failed)?;
        left.behind.extend(lost);
        // The fleet's fingerprints may be under a key of their own.
        let mut fingerprints: BTreeMap<GenerationNo, Few<String, Fingerprint>> = BTreeMap::new();
        for generation in state.generations() {
            let parts = kept.iter().find(|(slot, _)| *slot == generation.slot(&name)).map(|(_, parts)| parts);
            let of = |(part, secret): (&str, _)| (part.to_owned(), opened.fingerprinter.of(secret));
            fingerprints.extend(parts.map(|parts| (generation.number, parts.iter().map(of).collect())));
        }
        let state = apply(state, now, &Event::Resealed { fingerprints });
        let state =
            state.map_err(|misfit| LeaveError::Failed(Failure::new(FailureCode::Journal, misfit.to_string())))?;
        left.tokens += 1;
        left.secrets += kept.len();
        let gone = old.remove(&name).into_iter().flatten();
        let gone = gone.filter(|slot| kept.iter().all(|(there, _)| there != slot)).collect::<Vec<_>>();
        let secrets = gone.into_iter().map(|slot| SecretChange::Erase { slot });
        let secrets = secrets.chain(kept.into_iter().map(|(slot, parts)| SecretChange::Keep { slot, parts }));
        let follows = heads.get(&name).copied().unwrap_or_default();
        changes.push(Change {
            follows,
            at: now,
            records: Vec::new(),
            state: Some(written(&state)?),
            secrets: secrets.collect(),
            token: name,
        });
    }
    // What the fleet forgot since it was moved there.
    for (name, follows) in heads.iter().filter(|(name, _)| !known.contains(*name)) {
        let secrets = old.remove(name).into_iter().flatten().map(|slot| SecretChange::Erase { slot }).collect();
        let state = Some(written(&TokenState::default())?);
        changes.push(Change { follows: *follows, at: now, records: Vec::new(), state, secrets, token: name.clone() });
    }
    local.revise(changes).await.map_err(LeaveError::Failed)?;
    drop(local);
    if archive.imported().is_some() {
        archive.forget_import()?;
    }
    Ok(left)
}

async fn nobody_lives(journal: &FleetJournal) -> Result<(), LeaveError> {
    who_lives(journal).await?.map_or(Ok(()), |lives| Err(LeaveError::Lives(lives)))
}

/// Everything that the engine tells of tokens.
async fn stored(
    journal: &FleetJournal,
    accounts: &BTreeSet<AccountName>,
) -> Result<Vec<(AccountName, TokenName, crate::journal::Stored)>, LeaveError> {
    let mut all = Vec::new();
    for account in accounts {
        let tokens = journal.load_account(account).await.map_err(LeaveError::Failed)?;
        all.extend(tokens.into_iter().map(|(name, stored)| (account.clone(), name, stored)));
    }
    Ok(all)
}

/// The journal of the state directory: that which was moved into the fleet, or a new one.
async fn open(
    archive: &Archive,
    inventory: &Inventory,
    key: &KeySource,
    instance: crate::names::InstanceId,
    now: Time,
) -> Result<(OpenJournal, Opened), StartError> {
    if archive.imported().is_some() {
        let (journal, opened, _) = rekey::open_current(&inventory.daemon.state_dir, key, now).await?;
        return Ok((journal, opened));
    }
    Ok(rekey::open_as(archive, key, instance, now).await?)
}

fn written(state: &TokenState) -> Result<String, LeaveError> {
    let unwritable =
        |error: serde_json::Error| LeaveError::Failed(Failure::new(FailureCode::Journal, error.to_string()));
    serde_json::to_string(state).map_err(unwritable)
}
