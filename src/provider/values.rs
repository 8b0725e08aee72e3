//! Which values a store can hold, by its definition.

use minijinja::value::Value as Dynamic;
use serde_json::Value;

use super::Params;
use super::model::ValueRule;
use super::request::parameter;
use super::resolved::Provider;
use super::template::{Name, Scope};
use crate::outcome::{Failure, FailureCode};
use crate::secret::Secret;

impl Provider {
    /// Whether the store can hold the value; nothing is asked.
    pub fn check_value(&self, params: &Params, secret: &Secret) -> Result<(), Failure> {
        if secret.is_blank() {
            return Err(Failure::new(FailureCode::StoreRefused, "the value is empty"));
        }
        self.check_size(params, secret)?;
        let found = self.value_rules(params).find_map(|rule| {
            let found = rule.refuse.iter().find(|refused| refused.is_in(secret.expose()))?;
            Some(format!("{}: {}", rule.why, found.sentence()))
        });
        found.map_or(Ok(()), |why| Err(Failure::new(FailureCode::StoreRefused, why)))
    }

    /// Whether the store can hold values of this size; nothing is asked.
    pub fn check_size(&self, params: &Params, secret: &Secret) -> Result<(), Failure> {
        let Some(store) = self.store() else { return Ok(()) };
        let refused = |why: String| Err(Failure::new(FailureCode::StoreRefused, why));
        let value = secret.expose();
        if let Some(most) = store.values.max_bytes.filter(|most| value.len() > *most) {
            return refused(format!("the value has {} bytes, and {most} is the most that it holds", value.len()));
        }
        for rule in self.value_rules(params) {
            if let Some(most) = rule.max_bytes.filter(|most| value.len() > *most) {
                return refused(format!("{}: the value has {} bytes, and {most} is the most", rule.why, value.len()));
            }
            let characters = value.chars().count();
            if let Some(least) = rule.min_chars.filter(|least| characters < *least) {
                return refused(format!("{}: the value has {characters} of {least}", rule.why));
            }
        }
        Ok(())
    }

    /// The rules for values that hold with these parameters.
    fn value_rules<'a>(&'a self, params: &'a Params) -> impl Iterator<Item = &'a ValueRule> {
        let rules = self.store().into_iter().flat_map(|store| &store.values.rules);
        rules.filter(move |rule| {
            rule.when.as_ref().is_none_or(|when| {
                when.value(&Parameters { provider: self, params }).is_ok_and(|it| it == Value::Bool(true))
            })
        })
    }
}

/// Templates of parameters alone.
struct Parameters<'a> {
    provider: &'a Provider,
    params: &'a Params,
}

impl Scope for Parameters<'_> {
    fn value(&self, name: &Name) -> Dynamic {
        match name {
            Name::Param(name) => parameter(self.provider, self.params, name),
            _ => Dynamic::from(()),
        }
    }

    fn secret(&self, _name: &Name) -> Option<&str> {
        None
    }
}
