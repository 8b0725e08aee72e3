//! What may still be alive although no phase of a token's life holds it. Stored state.

use serde::{Deserialize, Serialize};

use crate::clock::{Span, Time};
use crate::names::{AccountName, GenerationNo, Marker, RemoteId};
use crate::provider::{Params, ProviderTime};

use super::state::{Generation, Retry};

/// How long an orphan that a whole listing did not show is remembered all the same, and looked for.
pub const MEMORY: Span = Span::days(1);

/// Providers round lifetimes up to days: a token may outlive the one that was asked for by this.
pub const ROUNDING: Span = Span::days(1);

/// A credential that may be alive and that no phase holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Orphan {
    /// A generation that the provider offers no way to revoke: it is known, and lives until its expiry.
    Unrevocable { number: GenerationNo, marker: Option<Marker>, id: Option<RemoteId>, until: Option<ProviderTime> },
    /// A mint whose answer was lost and whose marker was not found. If it shows up in a listing, it is revoked.
    #[serde(rename = "lost-mint")]
    UnknownMint {
        marker: Marker,
        /// The account that was asked, with the parameters that were asked for.
        account: AccountName,
        params: Params,
        at: Time,
        until: Option<Time>,
        /// Its revocation failed, and when it is tried again.
        retry: Option<Retry>,
    },
    /// A generation whose revocation had to be left for later, so that its token could be rotated in time. It is
    /// revoked as soon as consumers certainly do without it.
    Deferred {
        generation: Box<Generation>,
        /// Not revoked before this. None: not before the next handover is complete and its grace has passed, because
        /// consumers may hold it.
        revoke_at: Option<Time>,
        retry: Option<Retry>,
    },
}

impl Orphan {
    /// The generation for later revocation.
    pub fn deferred(generation: &Generation, revoke_at: Option<Time>) -> Self {
        Self::Deferred { generation: Box::new(generation.clone()), revoke_at, retry: None }
    }

    /// The generation as one that nobody can revoke.
    pub fn unrevocable(generation: &Generation) -> Self {
        Self::Unrevocable {
            number: generation.number,
            marker: generation.marker.clone(),
            id: generation.remote.id.clone(),
            until: last_end(generation),
        }
    }

    /// The marker that it is recognised by.
    pub fn marker(&self) -> Option<&Marker> {
        match self {
            Self::Unrevocable { marker, .. } => marker.as_ref(),
            Self::UnknownMint { marker, .. } => Some(marker),
            Self::Deferred { generation, .. } => generation.marker.as_ref(),
        }
    }

    /// When it ends by what its provider told, or by what was asked for.
    pub fn until(&self) -> Option<ProviderTime> {
        match self {
            Self::Unrevocable { until, .. } => *until,
            Self::UnknownMint { until, .. } => until.map(ProviderTime::ours),
            Self::Deferred { generation, .. } => last_end(generation),
        }
    }

    /// Its revocation failed, and when it is tried again.
    pub fn retry(&self) -> Option<&Retry> {
        match self {
            Self::Unrevocable { .. } => None,
            Self::UnknownMint { retry, .. } | Self::Deferred { retry, .. } => retry.as_ref(),
        }
    }

    /// The same, to be changed.
    pub(crate) fn retry_mut(&mut self) -> Option<&mut Option<Retry>> {
        match self {
            Self::Unrevocable { .. } => None,
            Self::UnknownMint { retry, .. } | Self::Deferred { retry, .. } => Some(retry),
        }
    }
}

/// When it can neither be used nor renewed any more, as its provider tells it.
fn last_end(generation: &Generation) -> Option<ProviderTime> {
    let expires = generation.remote.expires.moment()?;
    let refresh = generation.remote.refresh_expires.filter(|refresh| refresh.as_told() > expires.as_told());
    Some(refresh.unwrap_or(expires))
}
