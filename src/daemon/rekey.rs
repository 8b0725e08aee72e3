//! A new key for the journal, while no daemon runs: every secret is sealed anew, and every fingerprint is made anew, in
//! one transaction. A kill at any moment leaves the journal with the old key or with the new one, whole.

use std::collections::BTreeMap;
use std::path::Path;

use crate::clock::Time;
use crate::journal::key::{KeyError, KeySource, NewKey};
use crate::journal::sqlite::{OpenError, Opened, SqliteJournal};
use crate::journal::{Commit, SecretChange, SecretSlot};
use crate::names::{GenerationNo, TokenName};
use crate::outcome::Failure;
use crate::rotation::run::{draft, restore};
use crate::rotation::{Event, apply};
use crate::secret::{Fingerprint, SecretParts};

/// Why the journal keeps its key.
#[derive(Debug, thiserror::Error)]
pub enum RekeyError {
    #[error(transparent)]
    Journal(#[from] OpenError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(
        "{0} secrets of the journal cannot be opened with its present key: give that key first, or let their tokens be rotated"
    )]
    Unreadable(usize),
    #[error("the new key is the one that the journal has")]
    Same,
    #[error("the state of token {0} cannot be read: {1}")]
    State(TokenName, serde_json::Error),
    #[error("{0}")]
    Failed(Failure),
}

/// Seals everything in the journal of `state_dir` under `new` instead of `old`. Gives the number of secrets.
pub async fn rekey(state_dir: &Path, old: &KeySource, new: &NewKey, now: Time) -> Result<usize, RekeyError> {
    let (journal, opened) = SqliteJournal::open(state_dir, old, now)?;
    let Opened { states, unreadable, .. } = opened;
    if !unreadable.is_empty() {
        return Err(RekeyError::Unreadable(unreadable.len()));
    }
    let prepared = new.prepare(state_dir)?;
    if prepared.sealer().key_id() == journal.key_id() {
        return Err(RekeyError::Same);
    }
    let mut secrets: BTreeMap<SecretSlot, SecretParts> = BTreeMap::new();
    for slot in journal.slots()? {
        let parts = crate::journal::Journal::secret(&journal, &slot).await.map_err(RekeyError::Failed)?;
        secrets.extend(parts.map(|parts| (slot, parts)));
    }
    let count = secrets.len();
    let mut commits = Vec::with_capacity(states.len());
    for (token, stored) in states {
        let mut state = restore(&stored).map_err(|error| RekeyError::State(token.clone(), error))?;
        let fingerprint = |parts: &SecretParts| -> BTreeMap<String, Fingerprint> {
            let of = |(part, secret): (&str, _)| (part.to_owned(), prepared.sealer().fingerprinter().of(secret));
            parts.iter().map(of).collect()
        };
        let mut fingerprints: BTreeMap<GenerationNo, BTreeMap<String, Fingerprint>> = BTreeMap::new();
        for generation in state.generations() {
            let parts = secrets.get(&generation.slot(&token));
            fingerprints.extend(parts.map(|parts| (generation.number, fingerprint(parts))));
        }
        let event = Event::Resealed { fingerprints };
        apply(&mut state, now, &event);
        let unwritable = |error: serde_json::Error| RekeyError::State(token.clone(), error);
        let kept = secrets.iter().filter(|(slot, _)| slot.token == token);
        commits.push(Commit {
            at: now,
            records: vec![draft(now, &event).map_err(unwritable)?],
            state: Some(serde_json::to_string(&state).map_err(unwritable)?),
            secrets: kept
                .map(|(slot, parts)| SecretChange::Keep { slot: slot.clone(), parts: parts.clone() })
                .collect(),
            token,
        });
    }
    journal.reseal(commits, prepared.sealer()).await.map_err(RekeyError::Failed)?;
    // The journal's lock is held until the key is in its place.
    prepared.settle()?;
    drop(journal);
    Ok(count)
}
