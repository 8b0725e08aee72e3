//! Moves the journal of a daemon that was alone into a fleet, under the lock of its state directory.
//!
//! Law: the id of the journal moves along, so that the names of its tokens at their providers stay ours. What was moved is
//! never moved again, and the journal that it came from is never opened again to be written: it is noted there.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Time;
use crate::daemon::rekey;
use crate::daemon::{StartError, unreadable_state};
use crate::inventory::{FleetSettings, Inventory};
use crate::journal::archive::{Archive, OpenJournal};
use crate::journal::fleet::{EngineError, FleetError, FleetJournal};
use crate::journal::key::KeySource;
use crate::journal::{Change, Commit, Fence, Head, Journal as _, SecretChange, SecretSlot};
use crate::names::{AccountName, TokenName};
use crate::outcome::Failure;
use crate::rotation::TokenState;
use crate::rotation::stored::restore;

use super::join_briefly;

/// What was moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub tokens: usize,
    pub secrets: usize,
    /// Tokens that were there already, from an import that did not come to its end.
    pub known: usize,
    /// What stays behind, a line each.
    pub left: Vec<String>,
}

/// Why nothing, or not everything, was moved. Doing it again goes on where it ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The journal in the state directory.
    #[error(transparent)]
    Open(#[from] StartError),
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("fleet `{0}` exists already, and is not this journal's: only a new fleet can take a journal over")]
    Other(String),
    #[error("a replica called {0} lives: stop it first")]
    Lives(String),
    #[error("{0}")]
    Failed(Failure),
    #[error("everything was moved, and that could not be noted in the state directory: {0}")]
    Note(#[from] crate::durable::DurableError),
}

impl From<EngineError> for ImportError {
    fn from(error: EngineError) -> Self {
        Self::Failed(error.failure())
    }
}

/// Moves the journal in the state directory of `inventory` into its fleet, which is made where it does not exist.
pub async fn import(
    inventory: &Inventory,
    fleet: &FleetSettings,
    key: &KeySource,
    now: Time,
) -> Result<Imported, ImportError> {
    let state_dir = &inventory.daemon.state_dir;
    let (local, opened, _) = rekey::open_current(state_dir, key, now).await.map_err(StartError::from)?;
    match FleetJournal::found(fleet, key, Some(opened.instance)).await {
        Ok(_) | Err(FleetError::Exists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let journal = FleetJournal::open(fleet, key).await?;
    if journal.instance() != opened.instance {
        return Err(ImportError::Other(fleet.name.to_string()));
    }
    if let Some(taken) = join_briefly(&journal, now).await? {
        return Err(ImportError::Lives(taken.to_string()));
    }
    let mut slots: BTreeMap<TokenName, Vec<SecretSlot>> = BTreeMap::new();
    for slot in local.slots().map_err(StartError::Journal)? {
        slots.entry(slot.token.clone()).or_default().push(slot);
    }
    let mut imported = Imported::default();
    let mut fences: BTreeMap<AccountName, Fence> = BTreeMap::new();
    for (name, stored) in &opened.states {
        let state = match restore(stored) {
            Ok(restored) => restored.state,
            Err(error) => {
                imported.left.push(unreadable_state(name, &error));
                continue;
            }
        };
        let Some(account) = account_of(inventory, name, &state) else {
            imported.left.push(format!("token {name}: neither the inventory nor the journal tells its account"));
            continue;
        };
        if journal.stored(name).await.map_err(ImportError::Failed)?.is_some() {
            imported.known += 1;
            continue;
        }
        let fence = match fences.get(&account) {
            Some(fence) => fence.clone(),
            None => journal.claim(&account).await.map_err(ImportError::Failed)?,
        };
        fences.insert(account, fence.clone());
        let secrets = kept(&local, slots.get(name).map(Vec::as_slice).unwrap_or_default(), &mut imported).await?;
        imported.secrets += secrets.len();
        let state = serde_json::to_string(&state).map_err(|error| {
            ImportError::Failed(Failure::new(crate::outcome::FailureCode::Journal, error.to_string()))
        })?;
        let change = Change {
            token: name.clone(),
            follows: Head::default(),
            at: now,
            records: Vec::new(),
            state: Some(state),
            secrets,
        };
        // Of a commit without an answer, the next import finds out what became.
        journal.commit(Commit { fence, change }).await.map_err(|error| ImportError::Failed(error.into()))?;
        imported.tokens += 1;
        // The lease is short, and a large journal takes its time.
        journal.keep_alive(std::time::Duration::from_secs(5)).await?;
    }
    journal.leave().await?;
    Archive::of(state_dir).note_import(&fleet.name)?;
    Ok(imported)
}

/// The secrets of a token, opened. One that cannot be opened is told, and its token is rotated in time.
async fn kept(
    local: &OpenJournal,
    slots: &[SecretSlot],
    imported: &mut Imported,
) -> Result<Vec<SecretChange>, ImportError> {
    let mut kept = Vec::new();
    for slot in slots {
        match local.secret(slot).await {
            Ok(Some(parts)) => kept.push(SecretChange::Keep { slot: slot.clone(), parts }),
            Ok(None) => {}
            Err(failure) => imported.left.push(format!("a secret of {}: {failure}", slot.token)),
        }
    }
    Ok(kept)
}

/// The account that the journal of a token is kept under: that of the inventory, else the one that has to do with it.
fn account_of(inventory: &Inventory, name: &TokenName, state: &TokenState) -> Option<AccountName> {
    if let Some(policy) = inventory.tokens.get(name) {
        return Some(policy.account.name.clone());
    }
    let accounts: BTreeSet<_> = state.generations().map(|generation| generation.account.clone()).collect();
    let intent = state.phase.intent().map(|intent| intent.account.clone());
    intent.or_else(|| accounts.into_iter().find(|account| inventory.accounts.contains_key(account)))
}
