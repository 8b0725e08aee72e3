//! A token as the journal keeps it: events as records, and the state that they lead to.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::journal::{Draft, Head, Stored, record};

use super::apply::{Misfit, apply};
use super::event::Event;
use super::state::{self, StateVersion, TokenState};

/// A record's body. Stored state.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line<'a> {
    pub at: Time,
    #[serde(flatten)]
    pub event: Cow<'a, Event>,
}

/// Why the journal's state of a token cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("{0}")]
    Unreadable(#[from] serde_json::Error),
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// Guessing what a newer version meant could kill or forget a token.
    #[error("a newer patrold wrote it (version {found}, this one knows {known})")]
    Newer { found: u32, known: u32 },
}

/// The part of a state that every version reads.
#[derive(Deserialize)]
struct Heading {
    #[serde(default)]
    version: StateVersion,
}

/// A token as its journal tells of it. The default: it tells nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    pub state: TokenState,
    /// What the next commit follows.
    pub head: Head,
}

/// What the journal tells of a token, records replayed.
pub fn restore(stored: &Stored) -> Result<Restored, RestoreError> {
    let Heading { version: StateVersion(found) } = serde_json::from_str(&stored.state)?;
    for (found, known) in [(found, state::VERSION), (stored.newest, record::VERSION)] {
        if found > known {
            return Err(RestoreError::Newer { found, known });
        }
    }
    let mut state = serde_json::from_str(&stored.state)?;
    for body in &stored.since {
        let line: Line<'_> = serde_json::from_str(body)?;
        state = apply(state, line.at, &line.event)?;
    }
    Ok(Restored { state, head: stored.head })
}

/// `event` as a record of the journal.
pub fn draft(at: Time, event: &Event) -> Result<Draft, serde_json::Error> {
    let body = serde_json::to_string(&Line { at, event: Cow::Borrowed(event) })?;
    Ok(Draft { kind: event.name(), body })
}
