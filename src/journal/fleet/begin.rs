//! A fleet is made, joined, and believed again after its engine ran back.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::engine::{Compare, Done, Engine, EngineError, Pair, Step};
use super::keys::Keys;
use super::layout::{FORMAT, Layout, Meta};
use super::lease::Lease;
use super::marks::Marks;
use super::{FleetJournal, failure, json};
use crate::inventory::{EngineSettings, FleetSettings};
use crate::journal::key::{KeyError, KeySource};
use crate::journal::seal::Sealer;
use crate::names::{FleetName, InstanceId, hex};
use crate::outcome::Failure;
use crate::secret::random;

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
    #[error("the journal of fleet `{fleet}` was moved back into the state directory of {host}")]
    Left { fleet: String, host: String },
    #[error("the key of this host was made for other labels ({made_for}) than `labels` of its [agent] says ({said})")]
    Labels { made_for: String, said: String },
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
            Self::OtherKey { .. } => Some(
                "give this replica the key that the others have (`seal-key` in [daemon]); if nobody has it any more, `patrold \
                 fleet recover --lost-key` gives the secrets up",
            ),
            Self::NoKey => Some(
                "make one (head -c 32 /dev/urandom | base64), put it on every host, and name it: seal-key = { file = \
                 \"/etc/patrold/seal.key\" } in [daemon], or the systemd credential patrold-seal-key",
            ),
            Self::Left { .. } => Some(
                "take [fleet] out of the inventory there; whoever wants a fleet again names another one, and types `patrold \
                 fleet import` there",
            ),
            Self::Labels { .. } => Some(
                "`patrold fleet host-key HOST --label role=web …` on a replica prints a key for each set of labels",
            ),
            Self::Damaged { .. } => Some("restore a backup of the engine, or name another fleet"),
            Self::Key(_) | Self::Away { .. } | Self::Refused { .. } => None,
        }
    }

    /// Whether the same may work later, without anybody's help.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    pub(super) fn of(fleet: &FleetName, error: EngineError) -> Self {
        let fleet = fleet.to_string();
        match error {
            EngineError::Refused(failure) => Self::Refused { fleet, failure },
            EngineError::Away(failure) | EngineError::Unknown(failure) => Self::Away { fleet, failure },
        }
    }

    pub(super) fn unusable(fleet: &FleetName, failure: Failure) -> Self {
        Self::Refused { fleet: fleet.to_string(), failure }
    }
}

/// The seal key of a fleet. None is ever made: each replica would make its own.
fn sealer(key: &KeySource) -> Result<Sealer, FleetError> {
    if *key == KeySource::StateDirectory {
        return Err(FleetError::NoKey);
    }
    Ok(key.existing(Path::new("/"))?)
}

/// The same with the one that is to follow, where there is one.
fn sealers(settings: &FleetSettings, key: &KeySource) -> Result<Vec<Sealer>, FleetError> {
    let first = sealer(key)?;
    let next = match &settings.next_seal_key {
        Some(source) => Some(sealer(&KeySource::resolve(Some(source), |name| std::env::var_os(name))?)?),
        None => None,
    };
    Ok(std::iter::once(first).chain(next).collect())
}

/// The engine and what it tells of the fleet called `fleet`, which this program can read and which lives.
pub(super) async fn find(fleet: &FleetName, engine: &EngineSettings) -> Result<(Engine, Layout, Meta), FleetError> {
    let found = find_any(fleet, engine).await?;
    match &found.2.left {
        Some(host) => Err(FleetError::Left { fleet: fleet.to_string(), host: host.to_string() }),
        None => Ok(found),
    }
}

/// The same of one that was left, too.
async fn find_any(fleet: &FleetName, engine: &EngineSettings) -> Result<(Engine, Layout, Meta), FleetError> {
    let engine = Engine::new(engine).await.map_err(|failure| FleetError::unusable(fleet, failure))?;
    let layout = Layout::new(fleet);
    let found = engine.get(layout.meta()).await.map_err(|error| FleetError::of(fleet, error))?;
    let Some(found) = found else { return Err(FleetError::Missing(fleet.to_string())) };
    let meta: Meta = found.read().ok_or(FleetError::Damaged { key: found.key })?;
    if meta.format > FORMAT {
        return Err(FleetError::Newer { fleet: fleet.to_string(), found: meta.format });
    }
    Ok((engine, layout, meta))
}

impl FleetJournal {
    /// Joins what was made by [`FleetJournal::found`]. Nothing is owned yet.
    pub async fn open(settings: &FleetSettings, key: &KeySource) -> Result<Self, FleetError> {
        Self::with(settings, key, find(&settings.name, &settings.engine).await?)
    }

    /// The same of a fleet whose journal is being moved back.
    pub async fn open_to_leave(settings: &FleetSettings, key: &KeySource) -> Result<(Self, Meta), FleetError> {
        let found = find_any(&settings.name, &settings.engine).await?;
        let meta = found.2.clone();
        Ok((Self::with(settings, key, found)?, meta))
    }

    /// The same of a fleet whose key is lost, with a key that is in force nowhere. `None`: it is the one in force.
    pub async fn open_bereft(settings: &FleetSettings, key: &KeySource) -> Result<Option<Self>, FleetError> {
        let (engine, layout, meta) = find(&settings.name, &settings.engine).await?;
        let seal_key = hex(&sealer(key)?.key_id());
        if seal_key == meta.seal_key {
            return Ok(None);
        }
        let meta = Meta { seal_key, fingerprints: None, ..meta };
        Self::with(settings, key, (engine, layout, meta)).map(Some)
    }

    fn with(
        settings: &FleetSettings,
        key: &KeySource,
        (engine, layout, meta): (Engine, Layout, Meta),
    ) -> Result<Self, FleetError> {
        let sealers = sealers(settings, key)?;
        let ours: Vec<_> = sealers.iter().map(|sealer| hex(&sealer.key_id())).collect();
        let Some(keys) = Keys::new(sealers, &meta) else {
            let (fleet, ours) = (settings.name.to_string(), ours.join(" and "));
            return Err(FleetError::OtherKey { fleet, ours, theirs: meta.seal_key });
        };
        Ok(Self {
            engine,
            layout,
            keys,
            instance: meta.instance,
            replica: settings.host.clone(),
            lease: Arc::new(Lease::new(settings.lease)),
            ends: Mutex::default(),
            marks: Marks::new(meta.incarnation),
            commits: Mutex::default(),
            tokens: tokio::sync::Mutex::default(),
        })
    }

    /// The same, for a replica whose state directory tells how far it has seen the journals come.
    pub async fn open_replica(settings: &FleetSettings, key: &KeySource, state_dir: &Path) -> Result<Self, FleetError> {
        let mut journal = Self::open(settings, key).await?;
        journal.marks = Marks::open(journal.marks.incarnation(), state_dir).await;
        Ok(journal)
    }

    /// Whether an operator has said since that what the engine tells is to be believed, although it ran back.
    pub async fn recovered(&self) -> Result<bool, EngineError> {
        let meta = self.engine.get(self.layout.meta()).await?.as_ref().and_then(Pair::read::<Meta>);
        Ok(meta.is_some_and(|meta| self.marks.begin_anew(&meta.incarnation)))
    }

    /// From now on every replica believes what the engine tells, although it ran back.
    pub async fn recover(&self) -> Result<(), EngineError> {
        self.change_meta(&[], |meta| Ok(Meta { incarnation: hex(&random::bytes::<8>()), ..meta })).await
    }

    /// Changes what the fleet is, unless somebody else does at the same time.
    pub(super) async fn change_meta(
        &self,
        more: &[Step],
        change: impl FnOnce(Meta) -> Result<Meta, Failure>,
    ) -> Result<(), EngineError> {
        let key = self.layout.meta();
        let damaged = || EngineError::Refused(failure(format!("{key} in the engine holds what patrold did not write")));
        let pair = self.engine.get(key.clone()).await?.ok_or_else(damaged)?;
        let meta = change(pair.read().ok_or_else(damaged)?).map_err(EngineError::Refused)?;
        let put = Step::Put { key: key.clone(), value: json(&meta), lease: 0 };
        let steps: Vec<_> = std::iter::once(put).chain(more.iter().cloned()).collect();
        match self.engine.transact(&[Compare::Modified(key, pair.modified)], &steps, &[]).await? {
            Done::Held(_) => Ok(()),
            Done::Denied(_) => {
                Err(EngineError::Refused(failure("somebody else has changed the fleet at the same time: try again")))
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
        let engine =
            Engine::new(&settings.engine).await.map_err(|failure| FleetError::unusable(&settings.name, failure))?;
        let layout = Layout::new(&settings.name);
        let meta = Meta {
            format: FORMAT,
            instance: instance.unwrap_or_else(|| InstanceId::new(random::bytes())),
            incarnation: hex(&random::bytes::<8>()),
            seal_key: hex(&sealer.key_id()),
            left: None,
            fingerprints: None,
        };
        let key = layout.meta();
        let put = Step::Put { key: key.clone(), value: json(&meta), lease: 0 };
        let absent = [Compare::Created(key.clone(), 0)];
        engine.prepare().await.map_err(|error| FleetError::of(&settings.name, error))?;
        let done = engine.transact(&absent, &[put], std::slice::from_ref(&key)).await;
        let made = match done {
            Ok(Done::Held(_)) => return Ok(meta),
            Ok(Done::Denied(found)) => found.into_iter().flatten().next(),
            Err(EngineError::Unknown(_)) => {
                let again = async {
                    engine.pass().await?;
                    engine.get(key).await
                };
                again.await.map_err(|error| FleetError::of(&settings.name, error))?
            }
            Err(error) => return Err(FleetError::of(&settings.name, error)),
        };
        match made.and_then(|pair| pair.read::<Meta>()) {
            // An answer was lost, and it is ours.
            Some(found) if found == meta => Ok(meta),
            _ => Err(FleetError::Exists(settings.name.to_string())),
        }
    }
}
