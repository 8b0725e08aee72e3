//! An engine that all replicas of a fleet reach: keys with values, transactions that name what must be so, leases, and a
//! watch. Two kinds: etcd and PostgreSQL. What a fleet makes of it is above, once for both.
//!
//! Law: what was acknowledged is durable wherever the engine keeps it, and a write without an answer is
//! [`EngineError::Unknown`]: only reading after [`Engine::pass`] tells whether it was done.

mod etcd;
#[cfg(feature = "postgres")]
mod postgres;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::inventory::{EngineKind, EnginePlace, EngineSettings};
use crate::outcome::{Failure, FailureCode};

use self::etcd::Etcd;
#[cfg(feature = "postgres")]
use self::postgres::Postgres;

/// How long an answer is waited for, unless the caller says otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the engine did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nothing was done: it could not be reached, or could not do it now.
    #[error("{0}")]
    Away(Failure),
    /// Nothing was done: the engine refused.
    #[error("{0}")]
    Refused(Failure),
    /// Done or not, nobody knows.
    #[error("{0}")]
    Unknown(Failure),
}

impl EngineError {
    /// What went wrong.
    pub fn failure(self) -> Failure {
        match self {
            Self::Away(failure) | Self::Refused(failure) | Self::Unknown(failure) => failure,
        }
    }
}

fn failure(detail: impl Into<String>) -> Failure {
    Failure::new(FailureCode::Journal, detail)
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub key: String,
    pub value: Vec<u8>,
    /// The revision at which the key came to be.
    pub created: i64,
    /// The revision at which it was last written.
    pub modified: i64,
}

impl Pair {
    /// What its JSON says. `None`: it is another's, or damaged.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.value).ok()
    }
}

/// What must be so for a transaction to be done.
#[derive(Clone, Debug)]
pub(super) enum Compare {
    /// The revision at which the key came to be; 0: it is not there.
    Created(String, i64),
    /// The revision at which the key was last written; 0: it is not there.
    Modified(String, i64),
}

/// One step of a transaction.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Put {
        key: String,
        value: Vec<u8>,
        /// The key ends with this lease; 0: with none.
        lease: i64,
    },
    Delete(String),
    /// From the first on, before the second.
    DeleteRange(String, String),
}

/// What is read.
#[derive(Clone, Debug)]
pub(super) enum Look {
    At(String),
    /// Every key that begins so.
    Below(String),
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Done {
    /// Every condition held, and every step was done, at this revision.
    Held(i64),
    /// One did not. What is at each key that was to be read then.
    Denied(Vec<Option<Pair>>),
}

/// How an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub kind: EngineKind,
    pub version: String,
    pub size_bytes: u64,
    pub has_leader: bool,
    /// Alarms that are raised, such as NOSPACE.
    pub alarms: Vec<String>,
    /// What it does not guarantee, a line each.
    pub risks: Vec<String>,
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Put(Pair),
    Deleted(String),
}

impl Change {
    /// The key, and what is there now.
    pub fn into_parts(self) -> (String, Option<Pair>) {
        match self {
            Self::Put(pair) => (pair.key.clone(), Some(pair)),
            Self::Deleted(key) => (key, None),
        }
    }
}

/// Until when everything is known: changes are told from there on.
#[derive(Clone, Debug)]
pub(super) enum Since {
    Revision(i64),
    /// Every key that was there, with the revision at which it was last written.
    Known(BTreeMap<String, i64>),
}

/// A stream of changes. Whoever stops waiting for the next one misses none.
pub(super) enum Watch {
    Etcd(etcd::Watch),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Watch),
}

impl Watch {
    /// The next changes. Empty: a sign of life. `None`: the stream has ended; whoever watches reads everything anew.
    pub async fn next(&mut self) -> Option<Vec<Change>> {
        match self {
            Self::Etcd(watch) => watch.next().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(watch) => watch.next().await,
        }
    }
}

/// Either kind.
#[derive(Debug)]
pub(super) enum Engine {
    Etcd(Etcd),
    #[cfg(feature = "postgres")]
    Postgres(Box<Postgres>),
}

/// Calls the same method of whichever it is.
macro_rules! either {
    ($self:ident, $engine:ident => $call:expr) => {
        match $self {
            Engine::Etcd($engine) => $call,
            #[cfg(feature = "postgres")]
            Engine::Postgres($engine) => $call,
        }
    };
}

impl Engine {
    /// Reads the trust roots, on the blocking pool; connects to nobody yet.
    pub async fn new(settings: &EngineSettings) -> Result<Self, Failure> {
        match &settings.place {
            EnginePlace::Etcd(members) => Etcd::new(members, settings).await.map(Self::Etcd),
            #[cfg(feature = "postgres")]
            EnginePlace::Postgres(database) => {
                Postgres::new(database, settings).await.map(|engine| Self::Postgres(Box::new(engine)))
            }
            #[cfg(not(feature = "postgres"))]
            EnginePlace::Postgres(_) => Err(failure(
                "this patrold was built without PostgreSQL: install a package of it, or build it with the feature `postgres`",
            )),
        }
    }

    /// Makes what the engine needs before anything can be kept in it, where that is missing.
    pub async fn prepare(&self) -> Result<(), EngineError> {
        match self {
            Self::Etcd(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(engine) => engine.prepare().await,
        }
    }

    /// Does all of `steps` where every condition holds; where one does not, does nothing, and reads `otherwise`. Not asked
    /// again where no answer comes.
    pub async fn transact(
        &self,
        conditions: &[Compare],
        steps: &[Step],
        otherwise: &[String],
    ) -> Result<Done, EngineError> {
        either!(self, engine => engine.transact(conditions, steps, otherwise).await)
    }

    /// What each look finds, all at one moment.
    pub async fn read(&self, looks: &[Look]) -> Result<Vec<Vec<Pair>>, EngineError> {
        either!(self, engine => engine.read(looks).await)
    }

    /// Passes by whatever was written before: what is read after this is durable, also where a write had no answer.
    pub async fn pass(&self) -> Result<(), EngineError> {
        match self {
            // It answers no read before a majority has what it tells.
            Self::Etcd(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(engine) => engine.pass().await,
        }
    }

    /// The value of one key.
    pub async fn get(&self, key: String) -> Result<Option<Pair>, EngineError> {
        let found = self.read(&[Look::At(key)]).await?;
        Ok(found.into_iter().flatten().next())
    }

    /// Every key that begins with `prefix`, in order.
    pub async fn all(&self, prefix: &str) -> Result<Vec<Pair>, EngineError> {
        either!(self, engine => engine.all(prefix).await)
    }

    /// Every key that begins with `prefix`, and from where on [`Engine::watch`] tells what changes.
    pub async fn snapshot(&self, prefix: &str) -> Result<(Vec<Pair>, Since), EngineError> {
        either!(self, engine => engine.snapshot(prefix).await)
    }

    /// Follows every change of keys that begin with `prefix`.
    pub async fn watch(&self, prefix: &str, since: Since) -> Result<Watch, EngineError> {
        match (self, since) {
            (Self::Etcd(etcd), Since::Revision(revision)) => etcd.watch(prefix, revision).await.map(Watch::Etcd),
            #[cfg(feature = "postgres")]
            (Self::Postgres(engine), Since::Known(known)) => engine.watch(prefix, known).await.map(Watch::Postgres),
            _ => Err(EngineError::Refused(failure("what is known is of another engine"))),
        }
    }

    /// A lease of `ttl`.
    pub async fn grant(&self, ttl: Duration) -> Result<i64, EngineError> {
        either!(self, engine => engine.grant(ttl).await)
    }

    /// Keeps a lease alive. False: it has ended.
    pub async fn keep(&self, lease: i64, patience: Duration) -> Result<bool, EngineError> {
        either!(self, engine => engine.keep(lease, patience).await)
    }

    /// Ends a lease, and everything that depends on it.
    pub async fn end_lease(&self, lease: i64) -> Result<(), EngineError> {
        either!(self, engine => engine.end_lease(lease).await)
    }

    /// How it is.
    pub async fn health(&self) -> Result<Health, EngineError> {
        either!(self, engine => engine.health().await)
    }
}
