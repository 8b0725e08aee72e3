//! Orphans: credentials that may be alive and that no phase of a token's life holds. Stored state.
//!
//! # The story of a mint of unknown outcome
//!
//! 1. Before a mint is asked for, its marker is in the journal: [`Event::Intended`](super::Event::Intended). The marker
//!    is the token's name at the provider; it holds installation, token and generation, so that a listing tells whose
//!    it is.
//! 2. The request is sent once, never again. Where it may have arrived and no usable answer came back, its outcome is
//!    [`Unknown`](crate::outcome::Outcome::Unknown): [`Event::MintUnknown`](super::Event::MintUnknown). A process that
//!    finds an intent of an earlier one in the journal notes the same.
//! 3. The token is [`Searching`](super::Phase::Searching): [`decide`](super::decide) has the account listed until the
//!    provider had time to show the token. No other mint begins meanwhile, for an hour at most, and for five minutes
//!    where consumers are, or soon will be, without a usable secret.
//! 4. Found: [`Event::OrphanFound`](super::Event::OrphanFound), then the token is revoked, for its secret was in the
//!    answer that never arrived: [`Event::OrphanRevoked`](super::Event::OrphanRevoked). The next mint may begin.
//! 5. Not found, or not to be revoked: [`Event::SearchEnded`](super::Event::SearchEnded), with an [`Orphan`] that the
//!    state remembers. Should it show up in a listing within [`MEMORY`] after a whole listing did not show it, or
//!    within the lifetime that was asked for where none could be had, it is revoked:
//!    [`Event::OrphanEnded`](super::Event::OrphanEnded).
//! 6. `status`, metrics and the page show what is remembered; `audit` finds orphans that no state remembers and has
//!    them revoked on request: [`Event::ReapRequested`](super::Event::ReapRequested).

use serde::{Deserialize, Serialize};

use crate::clock::{Span, Time};
use crate::names::{AccountName, GenerationNo, Marker, RemoteId};
use crate::provider::{Params, ProviderClock, ProviderTime};

use super::generation::{Generation, Retry};

/// How long an orphan that a whole listing did not show is remembered all the same, and looked for.
pub const MEMORY: Span = Span::days(1);

/// Providers round lifetimes up to days: a token may outlive the one that was asked for by this.
pub const ROUNDING: Span = Span::days(1);

/// A credential that may be alive and that no phase holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Orphan {
    /// A generation that the provider offers no way to revoke: it is known, and lives until its expiry.
    Unrevocable { number: GenerationNo, marker: Option<Marker>, id: Option<RemoteId>, until: Option<ProviderTime> },
    /// A mint of unknown outcome whose marker was not found. If it shows up in a listing, it is revoked.
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

/// When it can neither be used nor renewed any more, as its provider tells it. None: nobody knows, or what was told was over
/// when it was told.
///
/// Law: what a provider says to have ended before it gave it has not ended.
fn last_end(generation: &Generation) -> Option<ProviderTime> {
    let issued = generation.knows_issue().then_some(generation.issued_at);
    let lasts = |end: &ProviderTime| issued.is_none_or(|issued| ProviderClock::Unseen.latest(*end) > issued);
    let expires = generation.remote.expires.moment().filter(lasts)?;
    let refresh = generation.remote.refresh_expires.filter(|refresh| refresh.as_told() > expires.as_told());
    Some(refresh.unwrap_or(expires).later(generation.may_outlive()))
}
