//! What the linter says of a definition, for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::definition::words;
use crate::document::{Report, Spot};
use crate::names::ProviderName;
use crate::provider::Provider;
use crate::provider::lint::{Finding, Open};

use super::check;

/// One definition. Part of `provider lint --json`: names are stable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Linted {
    /// `null` where it could not be read.
    pub name: Option<ProviderName>,
    pub file: String,
    pub valid: bool,
    /// Why it could not be read.
    pub problems: Vec<check::Finding>,
    pub findings: Vec<Question>,
    /// Why questions are left open, by their codes.
    pub reasons: BTreeMap<&'static str, String>,
}

/// A question that is open without a reason, or a reason without a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Question {
    /// Stable.
    pub code: &'static str,
    /// The parameter that it is about.
    pub param: Option<String>,
    /// The file and the place in it, as `file:line:column`.
    pub place: String,
    pub message: String,
    pub help: String,
}

impl Linted {
    /// What was found in the definition of `file`; `report` has its text.
    pub fn new(file: &str, provider: Option<&Provider>, report: &Report, findings: &[(Spot, Finding)]) -> Self {
        let question = |(spot, finding): &(Spot, Finding)| {
            let (message, help) = words(finding);
            let (code, param) = match finding {
                Finding::Open(Open { question, param }) => (question.code(), param.clone()),
                Finding::Stale(question) => (question.code(), None),
            };
            Question { code, param, place: report.place(*spot), message, help }
        };
        let reasons = provider.into_iter().flat_map(Provider::reasons);
        Self {
            name: provider.map(|provider| provider.name.clone()),
            file: file.to_owned(),
            valid: provider.is_some(),
            problems: check::findings(report),
            findings: findings.iter().map(question).collect(),
            reasons: reasons.map(|(question, reason)| (question.code(), reason.clone())).collect(),
        }
    }
}
