//! A failure, as the status tells it.

use serde::{Deserialize, Serialize};

use crate::clock::Time;
use crate::outcome::{Failure, FailureCode};

/// A failure and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ErrorStatus {
    /// When it happened.
    pub at: Time,
    /// Its stable code.
    pub code: FailureCode,
    /// One line.
    pub message: String,
    /// The request that it came of, under the id that the provider's log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What to do about it.
    #[serde(default)]
    pub help: String,
    /// The runbook that goes further: an anchor of `docs/runbooks.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
}

impl ErrorStatus {
    /// `failure`, which happened at `at`.
    pub fn new(at: Time, failure: &Failure) -> Self {
        Self {
            at,
            code: failure.code,
            message: failure.to_string(),
            request_id: failure.request_id.clone(),
            help: failure.code.remedy().to_owned(),
            runbook: failure.code.runbook().map(str::to_owned),
        }
    }

    /// All of it in words, with the id of the request.
    pub fn in_full(&self) -> String {
        crate::outcome::with_request(&self.message, self.request_id.as_deref())
    }

    /// What to do about it, with the runbook; `None` where the daemon is of a version that does not tell.
    pub fn advice(&self) -> Option<String> {
        advice(&self.help, self.runbook.as_deref())
    }
}

pub(super) fn advice(help: &str, runbook: Option<&str>) -> Option<String> {
    let runbook = runbook.map(|anchor| format!(" (docs/runbooks.md#{anchor})")).unwrap_or_default();
    (!help.is_empty()).then(|| format!("{help}{runbook}"))
}
