//! The protocol between the command line and a running daemon: HTTP and JSON over the control socket.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /status` | the status, as `status --json` prints it |
//! | `POST /rotate` with [`RotateRequest`] | [`RotateAnswer`]; with `follow`, lines of JSON: [`Expected`], then a [`RotateResult`] as soon as it is there |
//! | `POST /adopt?` with the fields of [`AdoptRequest`], the secret as body | [`RotateAnswer`] of one token |
//! | `POST /rollback` with [`RollbackRequest`] | [`RotateAnswer`] of one token |
//! | `POST /cancel` with [`CancelRequest`] | [`CancelAnswer`] |
//! | `POST /retire` with [`RetireRequest`] | [`RetireAnswer`] |
//! | `GET /explain?token=NAME` | [`ExplainAnswer`] |
//! | `POST /audit` with [`AuditRequest`] | an audit, as `audit --json` prints it |
//! | `POST /check` | what `check --online` shows |
//! | `POST /prune` with [`PruneRequest`] | [`PruneAnswer`] |
//! | `POST /reload` | [`ReloadAnswer`] |
//! | `POST /notify/test` with [`NotifyRequest`] | [`NotifyAnswer`] |
//!
//! [`RotateAnswer`]: crate::report::rotation::RotateAnswer
//! [`RotateResult`]: crate::report::rotation::RotateResult
//! [`RetireAnswer`]: crate::report::retirement::RetireAnswer
//! [`ReloadAnswer`]: crate::report::reload::ReloadAnswer
//!
//! What cannot be done at all is answered with a status that is no success and a [`Refusal`]. Names are stable: a
//! command line may be older or newer than the daemon.
//!
//! [`client`] asks, [`guard`] says who may ask and how much; the daemon answers, in [`crate::daemon::control`].

#![warn(missing_docs)]

pub mod client;
pub mod guard;
mod peer;

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::inventory::Inventory;
use crate::names::{AccountName, ChannelName, RemoteId, TokenName};
use crate::report::explanation::Explanation;

/// The media type of lines of JSON.
pub const LINES: &str = "application/x-ndjson";

/// The path of the status.
pub const STATUS: &str = "/status";
/// The path of explanations.
pub const EXPLAIN: &str = "/explain";
/// The path of rotations.
pub const ROTATE: &str = "/rotate";
/// The path of adoptions.
pub const ADOPT: &str = "/adopt";
/// The path of rollbacks.
pub const ROLLBACK: &str = "/rollback";
/// The path of withdrawals of requests.
pub const CANCEL: &str = "/cancel";
/// The path of retirements.
pub const RETIRE: &str = "/retire";
/// The path of check-ups.
pub const CHECK: &str = "/check";
/// The path of audits.
pub const AUDIT: &str = "/audit";
/// The path of removals of old records.
pub const PRUNE: &str = "/prune";
/// The path of reloads.
pub const RELOAD: &str = "/reload";
/// The path of test messages.
pub const NOTIFY_TEST: &str = "/notify/test";

/// Which tokens are meant: `{"tokens": [..]}`, `{"account": ".."}` or `{"all": true}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// These.
    Tokens(Vec<TokenName>),
    /// Every token of an account.
    Account(AccountName),
    /// Every token of the inventory, where it is `true`.
    All(bool),
}

impl Selection {
    /// The names that are meant, in the order of names where they are not given. Names that are given may be unknown.
    pub fn resolve(&self, inventory: &Inventory) -> Result<Vec<TokenName>, Refusal> {
        match self {
            Self::Tokens(names) => Ok(names.clone()),
            Self::Account(account) if !inventory.accounts.contains_key(account) => {
                Err(Refusal { error: format!("the inventory has no account \"{account}\"") })
            }
            Self::Account(account) => {
                let members = inventory.tokens.iter().filter(|(_, token)| token.account.name == *account);
                Ok(members.map(|(name, _)| name.clone()).collect())
            }
            Self::All(all) => Ok(inventory.tokens.keys().filter(|_| *all).cloned().collect()),
        }
    }
}

/// Rotate tokens now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "each is a key that older versions do not know")]
pub struct RotateRequest {
    /// Which tokens.
    #[serde(flatten)]
    pub tokens: Selection,
    /// How long the daemon waits for handovers before it answers. The rotations go on afterwards.
    pub timeout_seconds: u64,
    /// The secret has leaked: no grace, and the answer waits until the old generations are revoked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub compromised: bool,
    /// Results are told one by one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub follow: bool,
    /// What takes more than a second tells once what it waits for, before its result.
    #[serde(default, skip_serializing_if = "is_false")]
    pub interim: bool,
    /// Wait neither for the grace of the old token nor for the provider's rate limit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub now: bool,
}

/// How many results will follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Expected {
    /// The number of results.
    pub expected: usize,
}

/// Take over a secret. The secret itself is no part of this: it is the body of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AdoptRequest {
    /// The token that takes it over.
    pub token: TokenName,
    /// The provider's id, where the operator knows it.
    pub id: Option<RemoteId>,
    /// When it expires, where the operator knows it.
    pub expires: Option<Time>,
    /// How long the daemon waits for the handover before it answers.
    pub timeout_seconds: u64,
}

/// Compare the provider's tokens with the journal; find orphans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditRequest {
    /// Only this account.
    pub account: Option<AccountName>,
    /// Markers of orphans that are to be revoked.
    #[serde(default)]
    pub reap: Vec<String>,
}

/// Remove old records from the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PruneRequest {
    /// Records that are older go.
    pub before: Time,
}

/// The answer to [`PruneRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PruneAnswer {
    /// How many records went.
    pub removed: u64,
    /// The oldest record that is left; `None`: there are no records.
    pub first: Option<i64>,
}

/// Put the previous token back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RollbackRequest {
    /// The token that goes back.
    pub token: TokenName,
    /// How long the daemon waits for the handover before it answers.
    pub timeout_seconds: u64,
}

/// Withdraw a request for a rotation that has not begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CancelRequest {
    /// Whose request it is.
    pub token: TokenName,
}

/// The answer to [`CancelRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CancelAnswer {
    /// It is withdrawn.
    pub cancelled: bool,
    /// Why not, in one sentence; empty where it is.
    pub detail: String,
}

/// Send a test message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NotifyRequest {
    /// Through which channel.
    pub channel: ChannelName,
}

/// The answer to [`NotifyRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NotifyAnswer {
    /// The channel took it.
    pub sent: bool,
    /// Why not, in one line; empty where it did.
    pub detail: String,
}

/// Revoke a token that left the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RetireRequest {
    /// The token that nobody needs any more.
    pub token: TokenName,
    /// It is not revoked before this has passed; 0: at once, whoever uses it. `None`: the grace of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u64>,
    /// How long the daemon waits for the revocation before it answers.
    pub timeout_seconds: u64,
}

/// Explain one token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExplainRequest {
    /// The token that is asked about.
    pub token: TokenName,
}

/// The answer to [`ExplainRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExplainAnswer {
    /// As `explain --json` prints it; `None`: the token is unknown or set aside.
    pub explanation: Option<Explanation>,
    /// Why the token is set aside, with the remedy, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Why a request was not answered as meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refusal {
    /// One sentence.
    pub error: String,
}

/// Why a question got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// One sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<&'static str>,
    /// The daemon is of a version that does not know the question.
    pub unheard: bool,
}

impl ClientError {
    fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, unheard: false }
    }

    fn with_help(self, help: &'static str) -> Self {
        Self { help: Some(help), ..self }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_spelled_as_documented() {
        for (tokens, expected) in [
            (Selection::Tokens(vec!["a".parse().unwrap()]), json!({ "tokens": ["a"], "timeout-seconds": 9 })),
            (Selection::Account("gps".parse().unwrap()), json!({ "account": "gps", "timeout-seconds": 9 })),
            (Selection::All(true), json!({ "all": true, "timeout-seconds": 9 })),
        ] {
            let request = RotateRequest {
                tokens,
                timeout_seconds: 9,
                compromised: false,
                follow: false,
                interim: false,
                now: false,
            };
            assert_eq!(serde_json::to_value(&request).unwrap(), expected);
            assert_eq!(serde_json::from_value::<RotateRequest>(expected).unwrap(), request);
        }
    }
}
