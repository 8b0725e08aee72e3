//! The result of a provider test, in the form of its JSON.

use serde::Serialize;

use crate::clock::Time;
use crate::inventory::AccountPolicy;
use crate::names::{AccountName, ProviderName, RemoteId};
use crate::secret::Redactor;

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The definition that was tested.
    pub provider: ProviderName,
    /// The account that it was tested at.
    pub account: AccountName,
    /// Where the provider is.
    pub url: String,
    /// Everything that the definition claims was seen to hold, and nothing is left behind that the test could have
    /// taken back.
    pub held: bool,
    /// One line for each ability.
    pub findings: Vec<Finding>,
    /// What was not understood, although nothing depends on it.
    pub warnings: Vec<String>,
    /// Markers of tokens of earlier tests that were taken back.
    pub cleaned: Vec<String>,
    /// What may still be alive.
    pub left: Vec<Left>,
    /// Why the test ended early.
    pub problem: Option<String>,
    /// A signal ended it early.
    pub interrupted: bool,
}

impl Report {
    /// A report with its verdict.
    pub fn new(
        policy: &AccountPolicy,
        findings: Vec<Finding>,
        warnings: Vec<String>,
        cleaned: Vec<String>,
        left: Vec<Left>,
        problem: Option<String>,
        interrupted: bool,
    ) -> Self {
        let held = problem.is_none()
            && !interrupted
            && findings.iter().all(Finding::holds)
            && left.iter().all(|left| left.unavoidable);
        Self {
            provider: policy.provider.name.clone(),
            account: policy.name.clone(),
            url: policy.endpoint.url.to_string(),
            held,
            findings,
            warnings,
            cleaned,
            left,
            problem,
            interrupted,
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What the line is about.
    pub ability: Ability,
    /// The definition claims it.
    pub claimed: bool,
    /// What the test saw of it.
    pub seen: Seen,
    /// In few words.
    pub evidence: String,
}

impl Finding {
    /// Whether nothing was claimed that was not seen.
    pub fn holds(&self) -> bool {
        !self.claimed || self.seen == Seen::Yes
    }
}

/// Something that a provider can or cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ability {
    /// The account's credential is accepted.
    Authenticate,
    /// A token can be minted.
    Mint,
    /// The answer to a mint holds an id.
    Id,
    /// Some answer tells when a token expires.
    Expiry,
    /// A listing shows the new token.
    Listing,
    /// A listing shows the marker.
    Marker,
    /// The provider tells that it accepts a live token.
    Verify,
    /// A token can be renewed in place.
    Renew,
    /// Two tokens live side by side.
    Overlap,
    /// A token can be revoked.
    Revoke,
    /// A revoked token is refused.
    Dead,
    /// A listing tells when a token was last used.
    LastUsed,
}

impl Ability {
    /// Its name in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Mint => "mint",
            Self::Id => "id in answer",
            Self::Expiry => "expiry",
            Self::Listing => "listing",
            Self::Marker => "marker",
            Self::Verify => "verify",
            Self::Renew => "renew",
            Self::Overlap => "overlap",
            Self::Revoke => "revoke",
            Self::Dead => "dead after revoke",
            Self::LastUsed => "last used",
        }
    }
}

/// What the test saw of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// It was seen to hold.
    Yes,
    /// It was seen not to hold.
    No,
    /// The definition has no way to do or to see it.
    NotDefined,
    /// The test did not come to see it.
    Unknown,
}

impl Seen {
    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::NotDefined => "not defined",
            Self::Unknown => "unknown",
        }
    }
}

/// A token of a test that may still be alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Left {
    /// The account that it was minted at.
    pub account: AccountName,
    /// Its name at the provider.
    pub marker: String,
    /// None where the outcome of its mint is unknown.
    pub id: Option<RemoteId>,
    /// When it expires, where that is known.
    pub expires: Option<Time>,
    /// Why it was not taken back.
    pub why: String,
    /// The definition has no way to take it back, and the operator agreed to that.
    pub unavoidable: bool,
}

impl Left {
    pub(crate) fn cleaned(&self, secrets: &Redactor) -> Self {
        let id = self.id.as_ref().map(|id| secrets.clean(id.as_str())).and_then(|id| id.parse().ok());
        Self { id, why: secrets.clean(&self.why), ..self.clone() }
    }
}
