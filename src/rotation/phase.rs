//! Where a token is in its life: the variants hold exactly the generations that exist in it. Stored state, like all that
//! [`super::state`] holds.

#![warn(missing_docs)]

use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Time;
use crate::names::{AccountName, GenerationNo, Marker, RotationId};
use crate::outcome::Failure;
use crate::provider::{Params, Remote};

use super::delivery::Delivery;
use super::generation::{Generation, Noted, Retry};

/// Where a token is in its life. See the diagram in [`crate::rotation`].
///
/// What a token at rest does not have is boxed: a hundred thousand of them wait for months, and each takes the room of the
/// largest variant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "fields are named as their types, which say what they are")]
pub enum Phase {
    /// No generation is known.
    #[default]
    #[serde(deserialize_with = "nothing_else")]
    Vacant,
    /// One generation, in use.
    Steady { current: Current },
    /// A mint was intended; it is sent next.
    Intended { current: Option<Current>, intent: Box<Intent> },
    /// The outcome of a mint is unknown: its marker is looked for.
    Searching { current: Option<Current>, intent: Box<Intent>, search: Box<Search> },
    /// The new secret is journaled and is proven next.
    Minted { current: Option<Current>, candidate: Box<Candidate> },
    /// The new secret works; stores get it.
    Verified { current: Option<Current>, candidate: Box<Candidate> },
    /// Every store acknowledged; hooks run.
    Delivered { current: Option<Current>, candidate: Box<Candidate> },
    /// The new generation is current; the old one waits for its end.
    Active { current: Current, retiring: Box<Retiring> },
    /// The provider acknowledged the revocation; one request proves it.
    Revoked { current: Current, retiring: Box<Retiring> },
    /// The new generation is taken back.
    Undoing { current: Option<Current>, candidate: Box<Candidate>, undo: Box<Undo> },
    /// A renewal in place was intended; it is sent next. An old generation may still wait for its end meanwhile.
    Renewing { current: Current, retiring: Option<Box<Retiring>>, intent: Box<Intent> },
    /// The outcome of a renewal is unknown: the secret at hand is examined, the renewal is never repeated.
    #[serde(rename = "doubted")]
    RenewalUnknown { current: Current, retiring: Option<Box<Retiring>>, intent: Box<Intent> },
    /// The renewed secret is journaled and is proven next.
    Renewed { current: Current, retiring: Option<Box<Retiring>>, intent: Box<Intent> },
}

impl Phase {
    /// The generation that consumers are meant to use, where there is one.
    pub fn current(&self) -> Option<&Current> {
        match self {
            Self::Vacant => None,
            Self::Intended { current, .. }
            | Self::Searching { current, .. }
            | Self::Minted { current, .. }
            | Self::Verified { current, .. }
            | Self::Delivered { current, .. }
            | Self::Undoing { current, .. } => current.as_ref(),
            Self::Steady { current }
            | Self::Active { current, .. }
            | Self::Revoked { current, .. }
            | Self::Renewing { current, .. }
            | Self::RenewalUnknown { current, .. }
            | Self::Renewed { current, .. } => Some(current),
        }
    }

    /// The same, to be changed.
    pub(crate) fn current_mut(&mut self) -> Option<&mut Current> {
        match self {
            Self::Vacant => None,
            Self::Intended { current, .. }
            | Self::Searching { current, .. }
            | Self::Minted { current, .. }
            | Self::Verified { current, .. }
            | Self::Delivered { current, .. }
            | Self::Undoing { current, .. } => current.as_mut(),
            Self::Steady { current }
            | Self::Active { current, .. }
            | Self::Revoked { current, .. }
            | Self::Renewing { current, .. }
            | Self::RenewalUnknown { current, .. }
            | Self::Renewed { current, .. } => Some(current),
        }
    }

    /// The new generation that is not yet current, where there is one.
    pub fn candidate(&self) -> Option<&Candidate> {
        match self {
            Self::Minted { candidate, .. }
            | Self::Verified { candidate, .. }
            | Self::Delivered { candidate, .. }
            | Self::Undoing { candidate, .. } => Some(candidate),
            _ => None,
        }
    }

    /// The old generation that waits for its end, where there is one.
    pub fn retiring(&self) -> Option<&Retiring> {
        match self {
            Self::Active { retiring, .. } | Self::Revoked { retiring, .. } => Some(retiring),
            Self::Renewing { retiring, .. }
            | Self::RenewalUnknown { retiring, .. }
            | Self::Renewed { retiring, .. } => retiring.as_deref(),
            _ => None,
        }
    }

    /// The old generation, to be changed.
    pub(crate) fn retiring_mut(&mut self) -> Option<&mut Retiring> {
        match self {
            Self::Active { retiring, .. } | Self::Revoked { retiring, .. } => Some(retiring),
            Self::Renewing { retiring, .. }
            | Self::RenewalUnknown { retiring, .. }
            | Self::Renewed { retiring, .. } => retiring.as_deref_mut(),
            _ => None,
        }
    }

    /// Every generation that this phase holds.
    pub fn generations(&self) -> impl Iterator<Item = &Generation> {
        let generations = [
            self.current().map(|current| &current.generation),
            self.candidate().map(|candidate| &candidate.generation),
            self.retiring().map(|retiring| &retiring.generation),
        ];
        generations.into_iter().flatten()
    }

    /// The same, to be changed.
    pub(crate) fn generations_mut(&mut self) -> impl Iterator<Item = &mut Generation> {
        let (current, candidate, retiring) = match self {
            Self::Vacant => (None, None, None),
            Self::Intended { current, .. } | Self::Searching { current, .. } => (current.as_mut(), None, None),
            Self::Minted { current, candidate }
            | Self::Verified { current, candidate }
            | Self::Delivered { current, candidate }
            | Self::Undoing { current, candidate, .. } => (current.as_mut(), Some(candidate.as_mut()), None),
            Self::Steady { current } => (Some(current), None, None),
            Self::Active { current, retiring } | Self::Revoked { current, retiring } => {
                (Some(current), None, Some(retiring.as_mut()))
            }
            Self::Renewing { current, retiring, .. }
            | Self::RenewalUnknown { current, retiring, .. }
            | Self::Renewed { current, retiring, .. } => (Some(current), None, retiring.as_deref_mut()),
        };
        let generations = [
            current.map(|current| &mut current.generation),
            candidate.map(|candidate| &mut candidate.generation),
            retiring.map(|retiring| &mut retiring.generation),
        ];
        generations.into_iter().flatten()
    }

    /// The mint or renewal whose end is not known yet.
    pub fn intent(&self) -> Option<&Intent> {
        match self {
            Self::Intended { intent, .. }
            | Self::Searching { intent, .. }
            | Self::Renewing { intent, .. }
            | Self::RenewalUnknown { intent, .. }
            | Self::Renewed { intent, .. } => Some(intent),
            _ => None,
        }
    }

    /// Whether a renewal in place is under way.
    pub fn renews(&self) -> bool {
        matches!(self, Self::Renewing { .. } | Self::RenewalUnknown { .. } | Self::Renewed { .. })
    }

    /// The stable name of every variant, in the order of a life.
    pub const NAMES: &'static [&'static str] = &[
        "vacant",
        "steady",
        "intended",
        "searching",
        "minted",
        "verified",
        "delivered",
        "active",
        "revoked",
        "undoing",
        "renewing",
        "doubted",
        "renewed",
    ];

    /// The stable name of the variant.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vacant => "vacant",
            Self::Steady { .. } => "steady",
            Self::Intended { .. } => "intended",
            Self::Searching { .. } => "searching",
            Self::Minted { .. } => "minted",
            Self::Verified { .. } => "verified",
            Self::Delivered { .. } => "delivered",
            Self::Active { .. } => "active",
            Self::Revoked { .. } => "revoked",
            Self::Undoing { .. } => "undoing",
            Self::Renewing { .. } => "renewing",
            Self::RenewalUnknown { .. } => "doubted",
            Self::Renewed { .. } => "renewed",
        }
    }

    /// The phase called `name` in words; the name itself where a newer version made it.
    pub fn words(name: &str) -> &str {
        match name {
            "vacant" => "no token yet",
            "steady" => "nothing under way",
            "intended" => "getting a new token",
            "searching" => "looking for a lost token",
            "minted" => "proving the new token",
            "verified" => "writing stores",
            "delivered" => "running hooks",
            "active" => "the old token is still valid",
            "revoked" => "making sure that the old token is revoked",
            "undoing" => "taking the new token back",
            "renewing" => "renewing",
            "doubted" => "examining a renewal without an answer",
            "renewed" => "proving the renewed token",
            other => other,
        }
    }
}

/// The generation that consumers use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Current {
    /// The generation that consumers use.
    pub generation: Generation,
    /// What was delivered of it, and what is owed.
    pub delivery: Delivery,
    /// The provider certainly does not accept it any more.
    pub dead: Option<Noted>,
    /// A renewal of unknown outcome may have used up its refresh token: it is replaced, never renewed again.
    pub renewal_spent: bool,
    /// The journal's copy of its secret cannot be opened: it is replaced.
    pub secret_lost: bool,
    /// A renewal failed, and when it is tried again. Kept apart from the state's own `retry`, so that a rotation that
    /// fails does not hold up a renewal, nor the other way round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_retry: Option<Retry>,
    /// An operator asked for this generation instead of a newer one then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred: Option<Time>,
    /// The code of the rule by which its replacement was last asked for, where the provider cannot mint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// The provider told an expiry in the past while it was in use, and nobody can ask whether that is so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told_over: bool,
}

impl Current {
    /// A generation that is just beginning to be used.
    pub fn new(generation: Generation, delivery: Delivery) -> Self {
        Self {
            generation,
            delivery,
            dead: None,
            renewal_spent: false,
            secret_lost: false,
            renewal_retry: None,
            preferred: None,
            replacement: None,
            told_over: false,
        }
    }

    /// Whether nothing that happened forbids to renew it in place, where its provider can.
    pub fn renewable(&self) -> bool {
        !self.renewal_spent && !self.secret_lost
    }
}

/// A new generation on its way to the consumers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The generation that is on its way to consumers.
    pub generation: Generation,
    /// The rotation that it belongs to.
    pub rotation: RotationId,
    /// Which stores and hooks have it.
    pub delivery: Delivery,
    /// The answer to its mint shows that it is not what was asked for.
    #[serde(rename = "objection")]
    pub rejection: Option<Failure>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Origin::is_mint")]
    pub origin: Origin,
}

/// How a candidate came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Origin {
    /// Minted for this rotation: where it is not handed over, it is revoked.
    #[default]
    #[serde(deserialize_with = "nothing_else")]
    Minted,
    /// An operator brought it: where it is not handed over, it is forgotten, and stays theirs.
    #[serde(deserialize_with = "nothing_else")]
    Adopted,
    /// It was current before, and an operator asked for it again: where it is not handed over, it goes on retiring.
    Recalled {
        /// When the newer one took its place.
        handed_over: Time,
        /// Where it is not handed over again, it is not revoked before this.
        revoke_at: Time,
    },
}

impl Origin {
    fn is_mint(&self) -> bool {
        *self == Self::Minted
    }
}

/// An old generation on its way out. Holds what is needed to revoke it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retiring {
    /// The generation that consumers used before.
    pub generation: Generation,
    /// The rotation that replaced it.
    pub rotation: RotationId,
    /// When the new generation became current.
    pub handed_over: Time,
    /// Not revoked before this.
    pub revoke_at: Time,
}

/// A mint or a renewal that is about to be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The rotation that it belongs to.
    pub rotation: RotationId,
    /// The generation that is asked for.
    pub number: GenerationNo,
    /// The name that it gets at the provider.
    pub marker: Marker,
    /// The account that is asked.
    pub account: AccountName,
    /// The parameters that are asked for.
    pub params: Params,
    /// When it was written down.
    pub at: Time,
    /// Why: the stable code of a [`crate::rotation::reason::Reason`].
    pub reason: String,
}

/// The search for what a mint of unknown outcome may have left behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// When the outcome became unknown.
    pub since: Time,
    /// Why it is unknown.
    pub failure: Failure,
    /// Found by its marker: to be revoked.
    pub found: Option<Remote>,
}

/// The taking back of a new generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undo {
    /// Why the new generation is taken back.
    pub why: Failure,
    /// Consumers may hold the new secret: the old one goes back into the stores and the hooks run again before the new
    /// generation is revoked.
    pub restore: bool,
    /// What was restored so far.
    pub restored: Delivery,
}

/// A variant without fields that refuses those of a newer release: serde overlooks them otherwise.
fn nothing_else<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(deserializer).map(|Nothing {}| ())
}
