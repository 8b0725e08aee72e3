//! `[discover.NAME]`: the values that a parameter may have, as the provider's API shows them to the account. Nobody has to
//! look up an id that the account's credential can ask for.

use serde_json::Value;

use super::params::ParamKind;
use super::resolved::{Provider, Rules};
use super::{Operation, Received, Response, Values};
use crate::outcome::{Failure, FailureCode, Outcome, Told};

/// A value that a parameter may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub value: Value,
    /// What people call it, where the provider says.
    pub label: Option<String>,
}

impl Told for Vec<Candidate> {}

impl Provider {
    /// The parameters whose values can be asked for.
    pub fn discoverable(&self) -> impl Iterator<Item = &str> {
        self.rules.discoveries.keys().map(String::as_str)
    }

    /// Whether values of the parameter `name` can be asked for.
    pub fn discovers(&self, name: &str) -> bool {
        self.rules.discoveries.contains_key(name)
    }

    /// A definition whose listing is the request for values of `param`; `None` where they cannot be asked for.
    pub fn discovering(&self, param: &str) -> Option<Self> {
        let discovery = self.rules.discoveries.get(param)?;
        let mut calls = self.rules.calls.clone();
        calls.insert(Operation::List, discovery.call.clone());
        Some(Self { rules: Rules { calls, ..self.rules.clone() }, ..self.clone() })
    }

    /// What the answer to the request of [`Provider::discovering`] says: every value that `param` takes, in the order of
    /// the answer. More than one page is more than somebody would choose from.
    pub fn read_candidates(
        &self,
        param: &str,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Vec<Candidate>> {
        let Some((discovery, spec)) = self.rules.discoveries.get(param).zip(self.params.get(param)) else {
            let detail = format!("{} has no way to find values of `{param}`", self.name);
            return Outcome::Refused(Failure::new(FailureCode::NoOperation, detail));
        };
        let (call, common) = (&*discovery.call, &*self.rules.answers.expect);
        let (content, received) = (response.content(), received.into());
        if let Err(setback) = self.judge_call(call, Operation::List, common, values, response, &content, received) {
            return setback.outcome(Operation::List);
        }
        let body = content.json();
        let items = match &discovery.items {
            None => Some(std::slice::from_ref(body)),
            Some(pointer) => body.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice),
        };
        let Some(items) = items else {
            let pointer = discovery.items.as_deref().unwrap_or_default();
            let detail = format!("there is no list at \"{pointer}\"");
            return Outcome::later(Failure::new(FailureCode::NotUnderstood, detail));
        };
        let candidate = |item: &Value| {
            let value = match (item.pointer(&discovery.value)?, spec.kind) {
                (Value::Number(number), ParamKind::String) => Value::from(number.to_string()),
                (value, _) => value.clone(),
            };
            let label = discovery.label.as_ref().and_then(|label| item.pointer(label)).and_then(Value::as_str);
            let label = label.filter(|label| !label.is_empty());
            spec.accept(&value).ok().map(|()| Candidate { value, label: label.map(str::to_owned) })
        };
        Outcome::Done(items.iter().filter_map(candidate).collect())
    }
}
