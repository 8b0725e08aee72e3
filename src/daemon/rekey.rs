//! A new key for the journal, while no daemon runs: every secret is sealed anew, and every fingerprint is made anew, in
//! one transaction. A kill at any moment leaves the journal with the old key or with the new one, whole.
//!
//! A start does it, too, where the daemon was given a key since the journal was sealed under the one that it made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::clock::Time;
use crate::crash;
use crate::few::Few;
use crate::journal::archive::{Archive, OpenError, OpenJournal, Opened};
use crate::journal::key::{self, IfLost, KeyError, KeySource, NewKey};
use crate::journal::{Change, Journal as _, SecretChange, SecretSlot};
use crate::names::{GenerationNo, InstanceId, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::rotation::stored::{RestoreError, Restored, draft, restore};
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
    State(TokenName, RestoreError),
    #[error("{0}")]
    Failed(Failure),
}

/// Seals everything in the journal of `state_dir` under `new` instead of `old`. Gives the number of secrets.
pub async fn rekey(state_dir: &Path, old: &KeySource, new: &NewKey, now: Time) -> Result<usize, RekeyError> {
    let (journal, opened) = Archive::of(state_dir).open(old, now)?;
    let Opened { states, unreadable, .. } = opened;
    if !unreadable.is_empty() {
        return Err(RekeyError::Unreadable(unreadable.len()));
    }
    let prepared = new.prepare(state_dir)?;
    if prepared.sealer().key_id() == journal.key_id() {
        return Err(RekeyError::Same);
    }
    // By token: each looks at its own.
    let mut secrets: BTreeMap<TokenName, BTreeMap<SecretSlot, SecretParts>> = BTreeMap::new();
    let mut count = 0;
    for slot in journal.slots()? {
        if let Some(parts) = journal.secret(&slot).await.map_err(RekeyError::Failed)? {
            secrets.entry(slot.token.clone()).or_default().insert(slot, parts);
            count += 1;
        }
    }
    let mut changes = Vec::with_capacity(states.len());
    for (token, stored) in states {
        let secrets = secrets.remove(&token).unwrap_or_default();
        let restored = restore(&stored).map_err(|error| RekeyError::State(token.clone(), error))?;
        let Restored { mut state, head: follows } = restored;
        let fingerprint = |parts: &SecretParts| -> Few<String, Fingerprint> {
            let of = |(part, secret): (&str, _)| (part.to_owned(), prepared.sealer().fingerprinter().of(secret));
            parts.iter().map(of).collect()
        };
        let mut fingerprints: BTreeMap<GenerationNo, Few<String, Fingerprint>> = BTreeMap::new();
        for generation in state.generations() {
            let parts = secrets.get(&generation.slot(&token));
            fingerprints.extend(parts.map(|parts| (generation.number, fingerprint(parts))));
        }
        let event = Event::Resealed { fingerprints };
        state = apply(state, now, &event).map_err(|misfit| RekeyError::State(token.clone(), misfit.into()))?;
        let unwritable = |error: serde_json::Error| RekeyError::State(token.clone(), error.into());
        let kept = secrets.into_iter().map(|(slot, parts)| SecretChange::Keep { slot, parts });
        changes.push(Change {
            follows,
            at: now,
            records: vec![draft(now, &event).map_err(unwritable)?],
            state: Some(serde_json::to_string(&state).map_err(unwritable)?),
            secrets: kept.collect(),
            token,
        });
    }
    journal.reseal(changes, prepared.sealer()).await.map_err(RekeyError::Failed)?;
    // The journal's lock is held until the key is in its place.
    prepared.settle()?;
    drop(journal);
    Ok(count)
}

/// A journal that is open, and how many secrets were sealed anew for it.
pub type Current = (OpenJournal, Opened, Option<usize>);

/// Opens the journal with `key`. Where only the key that patrold made opens it, seals everything under `key` first and
/// removes the made one.
pub async fn open_current(state_dir: &Path, key: &KeySource, now: Time) -> Result<Current, RekeyError> {
    let open = || {
        let (archive, key) = (Archive::of(state_dir), key.clone());
        async move {
            let opened = tokio::task::spawn_blocking(move || archive.open(&key, now)).await;
            opened.unwrap_or_else(|error| Err(OpenError::Io { path: PathBuf::new(), source: crash::as_io(&error) }))
        }
    };
    let (journal, opened, resealed) = match open().await {
        Err(OpenError::KeyLost { .. }) if key.differs_from_made(state_dir) => {
            let count = rekey(state_dir, &KeySource::StateDirectory, &NewKey::Given(key.clone()), now).await?;
            let (journal, opened) = open().await?;
            (journal, opened, Some(count))
        }
        opened => {
            let (journal, opened) = opened?;
            (journal, opened, None)
        }
    };
    if *key != KeySource::StateDirectory && opened.unreadable.is_empty() {
        // Under the journal's lock: nothing is sealed with it.
        key::remove_made(state_dir)?;
    }
    Ok((journal, opened, resealed))
}

/// Makes a journal that goes on from the one whose markers carry `instance`, and opens it.
pub async fn open_as(
    archive: &Archive,
    key: &KeySource,
    instance: InstanceId,
    now: Time,
) -> Result<(OpenJournal, Opened), RekeyError> {
    let (archive, key) = (archive.clone(), key.clone());
    let opened = tokio::task::spawn_blocking(move || archive.open_as(&key, instance, now)).await;
    let opened =
        opened.unwrap_or_else(|error| Err(OpenError::Io { path: PathBuf::new(), source: crash::as_io(&error) }));
    Ok(opened?)
}

/// Gives up the secrets in the journal of `state_dir` that `key` does not open: their tokens are rotated by the next
/// start. Gives the number of tokens whose current secret is lost.
pub async fn give_up(state_dir: &Path, key: &KeySource, now: Time) -> Result<usize, RekeyError> {
    let (journal, opened) = Archive::of(state_dir).open_with(key, IfLost::GoOn, now)?;
    let mut lost = 0;
    let mut changes = Vec::new();
    for (token, stored) in opened.states {
        let slots: Vec<_> = opened.unreadable.iter().filter(|slot| slot.token == token).cloned().collect();
        if slots.is_empty() {
            continue;
        }
        let unwritable = |error: serde_json::Error| RekeyError::State(token.clone(), error.into());
        let restored = restore(&stored).map_err(|error| RekeyError::State(token.clone(), error))?;
        let Restored { mut state, head: follows } = restored;
        let current = state.phase.current().map(|current| &current.generation);
        let mut records = Vec::new();
        if let Some(generation) = current.filter(|generation| slots.contains(&generation.slot(&token))) {
            let failure = Failure::new(FailureCode::SecretUnreadable, "an operator gave it up: its key is lost");
            let event = Event::SecretLost { number: generation.number, failure };
            state = apply(state, now, &event).map_err(|misfit| RekeyError::State(token.clone(), misfit.into()))?;
            records.push(draft(now, &event).map_err(unwritable)?);
            lost += 1;
        }
        let secrets = slots.into_iter().map(|slot| SecretChange::Erase { slot }).collect();
        let state = Some(serde_json::to_string(&state).map_err(unwritable)?);
        changes.push(Change { follows, at: now, records, state, secrets, token });
    }
    journal.revise(changes).await.map_err(RekeyError::Failed)?;
    Ok(lost)
}
