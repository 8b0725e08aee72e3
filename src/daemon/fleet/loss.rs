//! The seal key of a fleet is lost: the secrets that it sealed are given up, and their tokens are rotated once.
//!
//! Law: no replica lives meanwhile, and the new key is brought into force last. A kill at any moment leaves a fleet that only
//! this can open, and doing it again goes on where it ended.

use std::time::Duration;

use crate::clock::Time;
use crate::daemon::unreadable_state;
use crate::inventory::{FleetSettings, Inventory};
use crate::journal::fleet::{EngineError, FleetError, FleetJournal};
use crate::journal::key::KeySource;
use crate::journal::{Change, Commit, Fence, Journal as _, SecretChange, SecretSlot, Stored};
use crate::names::TokenName;
use crate::outcome::{Failure, FailureCode};
use crate::rotation::stored::{Restored, draft, restore};
use crate::rotation::{Event, apply};

use super::{every_account, join_briefly, who_lives};

/// What was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// Tokens whose current secret is lost: each is rotated once.
    pub tokens: usize,
    pub secrets: usize,
    /// What could not be looked at, a line each.
    pub left: Vec<String>,
}

/// Why the fleet keeps its key.
#[derive(Debug, thiserror::Error)]
pub enum LossError {
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("replicas live, and have the key: {0}")]
    Lives(String),
    #[error("the key that this host was given is the one that seals the fleet's secrets: it is not lost")]
    NotLost,
    #[error("{0}")]
    Failed(Failure),
}

impl From<EngineError> for LossError {
    fn from(error: EngineError) -> Self {
        Self::Failed(error.failure())
    }
}

/// Gives up the secrets of `fleet` that `key` does not open, and brings `key` into force. Not `sure`: only counts what would
/// be given up.
pub async fn give_up(
    inventory: &Inventory,
    fleet: &FleetSettings,
    key: &KeySource,
    sure: bool,
    now: Time,
) -> Result<GivenUp, LossError> {
    let Some(journal) = FleetJournal::open_bereft(fleet, key).await? else { return Err(LossError::NotLost) };
    if let Some(lives) = who_lives(&journal).await? {
        return Err(LossError::Lives(lives));
    }
    let accounts = every_account(&journal, inventory).await.map_err(LossError::Failed)?;
    if sure && let Some(taken) = join_briefly(&journal, now).await? {
        return Err(LossError::Lives(taken.to_string()));
    }
    let mut given_up = GivenUp::default();
    for account in &accounts {
        let fence = if sure { Some(journal.claim(account).await.map_err(LossError::Failed)?) } else { None };
        for (token, stored) in journal.load_account(account).await.map_err(LossError::Failed)? {
            let lost = journal.lost_secrets(account, &token).await?;
            if !lost.is_empty() {
                one(&journal, fence.as_ref(), (&token, &stored, lost), now, &mut given_up).await?;
            }
            if sure {
                // The lease is short, and a large journal takes its time.
                journal.keep_alive(Duration::from_secs(5)).await?;
            }
        }
    }
    if sure {
        journal.replace_lost_key().await?;
        journal.leave().await?;
    }
    Ok(given_up)
}

/// Gives up the secrets of one token, under its claim; without one, only counts.
async fn one(
    journal: &FleetJournal,
    fence: Option<&Fence>,
    (token, stored, lost): (&TokenName, &Stored, Vec<SecretSlot>),
    now: Time,
    given_up: &mut GivenUp,
) -> Result<(), LossError> {
    let Restored { mut state, head: follows } = match restore(stored) {
        Ok(restored) => restored,
        Err(error) => {
            given_up.left.push(unreadable_state(token, &error));
            return Ok(());
        }
    };
    let unwritable = |what: String| LossError::Failed(Failure::new(FailureCode::Journal, what));
    let mut records = Vec::new();
    let current = state.phase.current().map(|current| &current.generation);
    if let Some(generation) = current.filter(|generation| lost.contains(&generation.slot(token))) {
        let failure = Failure::new(FailureCode::SecretUnreadable, "an operator gave it up: the fleet's key is lost");
        let event = Event::SecretLost { number: generation.number, failure };
        state = apply(state, now, &event).map_err(|misfit| unwritable(misfit.to_string()))?;
        records.push(draft(now, &event).map_err(|error| unwritable(error.to_string()))?);
        given_up.tokens += 1;
    }
    given_up.secrets += lost.len();
    let Some(fence) = fence.cloned() else { return Ok(()) };
    let change = Change {
        token: token.clone(),
        follows,
        at: now,
        records,
        state: Some(serde_json::to_string(&state).map_err(|error| unwritable(error.to_string()))?),
        secrets: lost.into_iter().map(|slot| SecretChange::Erase { slot }).collect(),
    };
    // Of a commit without an answer, the next try finds out what became.
    journal.commit(Commit { fence, change }).await.map(drop).map_err(|error| LossError::Failed(error.into()))
}
