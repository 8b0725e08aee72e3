//! Results of requested rotations, adoptions and rollbacks.

use serde::{Deserialize, Serialize};

use crate::names::{GenerationNo, TokenName};

/// What became of a rotation so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RotateOutcome {
    /// A new generation is current.
    Rotated,
    /// It failed; the daemon goes on trying.
    Failed,
    /// It is under way, or waits for something.
    Waiting,
    /// It cannot be done; nothing was begun.
    Refused,
    /// The inventory has no token of that name.
    UnknownToken,
}

/// What became of the rotation of one token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RotateResult {
    /// The token.
    pub token: TokenName,
    /// What became of it.
    pub outcome: RotateOutcome,
    /// The generation that is current now.
    pub generation: Option<GenerationNo>,
    /// Why it failed, or what it waits for, in one line; may be empty.
    pub detail: String,
    /// What is left to do, or to know, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// It is no result yet: it tells what is waited for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interim: bool,
}

/// What became of everything that was asked for at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RotateAnswer {
    /// One for each token that was meant, in the order of names.
    pub results: Vec<RotateResult>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn outcomes_are_spelled_as_documented() {
        let result = RotateResult {
            token: "a".parse().unwrap(),
            outcome: RotateOutcome::UnknownToken,
            generation: None,
            detail: String::new(),
            left: Vec::new(),
            interim: false,
        };
        let expected = json!({ "token": "a", "outcome": "unknown-token", "generation": null, "detail": "" });
        assert_eq!(serde_json::to_value(result).unwrap(), expected);
    }
}
