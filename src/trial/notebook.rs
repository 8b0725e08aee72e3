//! The journal of tests: what they minted and have not revoked yet. Stored state; fields are added, never renamed.
//!
//! The same laws as for rotations: the intent is durable before a mint is asked for, and the secret before anything is
//! done with it. Whatever this knows may be alive; the next test takes it back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::journal::archive::{Archive, OpenError, OpenJournal};
use crate::journal::key::KeySource;
use crate::journal::{Change, Commit, CommitError, Draft, Fence, Head, Journal, SecretChange, SecretSlot, Settled};
use crate::names::{AccountName, GenerationNo, InstanceId, Marker, RotationId, TokenName};
use crate::outcome::{Failure, FailureCode};
use crate::provider::{Params, Remote, Subject};
use crate::secret::SecretParts;

/// The folder of this journal in the state directory.
pub const FOLDER: &str = "provider-test";

/// What the markers of tests have for a token's name, so that people recognise them at the provider.
const NAME: &str = "provider-test";

/// One token of a test. Stored state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Specimen {
    pub number: GenerationNo,
    /// Counts its renewals in place.
    pub revision: u32,
    pub marker: Marker,
    pub account: AccountName,
    pub params: Params,
    /// When its mint was about to be asked for.
    pub at: Time,
    /// When it ends at the latest, as far as the request for it says.
    pub until: Option<Time>,
    /// None: whether it exists is unknown.
    pub remote: Option<Remote>,
}

impl Specimen {
    /// It, as a request needs to be told.
    pub fn subject(&self, secret: Option<SecretParts>) -> Subject {
        Subject {
            id: self.remote.as_ref().and_then(|remote| remote.id.clone()),
            name: Some(self.marker.as_str().to_owned()),
            facts: self.remote.as_ref().map(|remote| remote.facts.clone()).unwrap_or_default(),
            secret,
        }
    }

    /// When it ends for sure.
    pub fn end(&self) -> Option<Time> {
        self.remote.as_ref().and_then(|remote| remote.expires.here()).or(self.until)
    }

    fn slot(&self) -> SecretSlot {
        SecretSlot { token: name(), generation: self.number, revision: self.revision }
    }
}

/// What happened to a token of a test. Stored state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event")]
enum Event {
    /// A mint is about to be asked for.
    #[serde(rename = "test-intended")]
    Intended { specimen: Box<Specimen> },
    /// The provider minted, or a listing shows that it did.
    #[serde(rename = "test-minted")]
    Minted { number: GenerationNo, remote: Remote },
    /// It was renewed in place.
    #[serde(rename = "test-renewed")]
    Renewed { number: GenerationNo, remote: Remote },
    /// It is over, or never was.
    #[serde(rename = "test-ended")]
    Ended { number: GenerationNo },
}

/// What may be alive. Stored state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    last_number: GenerationNo,
    specimens: Vec<Specimen>,
}

impl State {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Intended { specimen } => {
                self.last_number = self.last_number.max(specimen.number);
                self.specimens.push(Specimen::clone(specimen));
            }
            Event::Minted { number, remote } => self.change(*number, |specimen| {
                specimen.remote = Some(remote.clone());
            }),
            Event::Renewed { number, remote } => self.change(*number, |specimen| {
                specimen.revision = specimen.revision.saturating_add(1);
                specimen.remote = Some(remote.clone());
            }),
            Event::Ended { number } => self.specimens.retain(|specimen| specimen.number != *number),
        }
    }

    fn change(&mut self, number: GenerationNo, change: impl FnOnce(&mut Specimen)) {
        if let Some(specimen) = self.specimens.iter_mut().find(|specimen| specimen.number == number) {
            change(specimen);
        }
    }
}

impl Event {
    fn kind(&self) -> &'static str {
        match self {
            Self::Intended { .. } => "test-intended",
            Self::Minted { .. } => "test-minted",
            Self::Renewed { .. } => "test-renewed",
            Self::Ended { .. } => "test-ended",
        }
    }
}

/// The journal with what it adds up to.
#[derive(Debug)]
pub struct Notebook<J> {
    journal: J,
    fence: Fence,
    head: Head,
    instance: InstanceId,
    state: State,
    /// Where it is, for people.
    place: PathBuf,
}

/// Why the journal of tests cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotebookError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{}: what earlier tests left cannot be read: {source}", place.display())]
    State { place: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Claim(#[from] Failure),
}

impl Notebook<Arc<OpenJournal>> {
    /// Opens it in the state directory of a daemon, which may be running. Blocks for as long as that takes.
    pub async fn open(state_dir: &Path, key: &KeySource, now: Time) -> Result<Self, NotebookError> {
        let place = state_dir.join(FOLDER);
        let (journal, opened) = Archive::of(&place).open(key, now)?;
        let stored = opened.states.into_iter().find(|(token, _)| *token == name());
        let (head, state) = match stored {
            Some((_, stored)) => {
                let state = serde_json::from_str(&stored.state)
                    .map_err(|source| NotebookError::State { place: place.clone(), source })?;
                (stored.head, state)
            }
            None => (Head::default(), State::default()),
        };
        let journal = Arc::new(journal);
        let fence = journal.claim(&NAME.parse().expect("letters and a dash are an account's name")).await?;
        Ok(Self { journal, fence, head, instance: opened.instance, state, place })
    }
}

impl<J: Journal> Notebook<J> {
    /// Where it is, for people.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What may be alive, oldest first.
    pub fn specimens(&self) -> &[Specimen] {
        &self.state.specimens
    }

    /// The secret of a token, where it is known and can be read.
    pub async fn secret(&self, specimen: &Specimen) -> Option<SecretParts> {
        self.journal.secret(&specimen.slot()).await.ok().flatten()
    }

    /// Notes that a mint is about to be asked for.
    pub(super) async fn intend(
        &mut self,
        rotation: RotationId,
        account: AccountName,
        params: Params,
        now: Time,
        until: Option<Time>,
    ) -> Result<Specimen, Failure> {
        let number = self.state.last_number.next();
        let marker = Marker::new(self.instance, &name(), number, rotation);
        let specimen = Specimen { number, revision: 0, marker, account, params, at: now, until, remote: None };
        self.note(now, Event::Intended { specimen: Box::new(specimen.clone()) }, Vec::new()).await?;
        Ok(specimen)
    }

    /// Notes what a mint, or a listing after it, told of a token.
    pub(super) async fn minted(
        &mut self,
        specimen: &mut Specimen,
        remote: Remote,
        secret: Option<&SecretParts>,
        now: Time,
    ) -> Result<(), Failure> {
        specimen.remote = Some(remote.clone());
        let keep = secret.map(|parts| SecretChange::Keep { slot: specimen.slot(), parts: parts.clone() });
        self.note(now, Event::Minted { number: specimen.number, remote }, keep.into_iter().collect()).await
    }

    /// Notes a renewal in place.
    pub(super) async fn renewed(
        &mut self,
        specimen: &mut Specimen,
        remote: Remote,
        secret: &SecretParts,
        now: Time,
    ) -> Result<(), Failure> {
        let old = SecretChange::Erase { slot: specimen.slot() };
        specimen.remote = Some(remote.clone());
        specimen.revision = specimen.revision.saturating_add(1);
        let keep = SecretChange::Keep { slot: specimen.slot(), parts: secret.clone() };
        self.note(now, Event::Renewed { number: specimen.number, remote }, vec![old, keep]).await
    }

    /// Notes that a token is over, or never was.
    pub(super) async fn ended(&mut self, specimen: &Specimen, now: Time) -> Result<(), Failure> {
        let erase = SecretChange::Erase { slot: specimen.slot() };
        self.note(now, Event::Ended { number: specimen.number }, vec![erase]).await
    }

    /// What was noted counts also where it could not be made durable: this process still takes the token back.
    async fn note(&mut self, at: Time, event: Event, secrets: Vec<SecretChange>) -> Result<(), Failure> {
        self.state.apply(&event);
        let unwritable = |error: serde_json::Error| Failure::new(FailureCode::Journal, error.to_string());
        let state = serde_json::to_string(&self.state).map_err(unwritable)?;
        let change = Change {
            token: name(),
            follows: self.head,
            at,
            records: vec![Draft { kind: event.kind(), body: serde_json::to_string(&event).map_err(unwritable)? }],
            state: Some(state.clone()),
            secrets,
        };
        let (failure, stored) = match self.journal.commit(Commit { fence: self.fence.clone(), change }).await {
            Ok(head) => {
                self.head = head;
                return Ok(());
            }
            Err(CommitError::Unknown(failure)) => match self.journal.settle(&name(), self.head).await {
                Ok(Settled::Moved(stored)) => (failure, stored),
                Ok(Settled::Unwritten) | Err(_) => return Err(failure),
            },
            // By an earlier commit of unknown outcome.
            Err(CommitError::Overtaken(stored)) => (CommitError::Overtaken(stored.clone()).into(), stored),
            Err(error) => return Err(error.into()),
        };
        self.head = stored.head;
        if stored.state == state { Ok(()) } else { Err(failure) }
    }
}

fn name() -> TokenName {
    NAME.parse().expect("letters and a dash are a token's name")
}
