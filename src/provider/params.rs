//! Parameters of accounts and tokens.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

/// Parameters of an account or token, by the names that the definition gives them. Stored state.
///
/// Clones share one map: most tokens have the parameters of their account, and so have their generations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(Arc<BTreeMap<String, Value>>);

impl Params {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shares the map of `other` where it says the same.
    pub fn share(&mut self, other: &Self) {
        if self == other {
            *self = other.clone();
        }
    }

    /// Sets one of them.
    pub fn insert(&mut self, name: String, value: Value) {
        Arc::make_mut(&mut self.0).insert(name, value);
    }
}

impl Deref for Params {
    type Target = BTreeMap<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Extend<(String, Value)> for Params {
    fn extend<T: IntoIterator<Item = (String, Value)>>(&mut self, more: T) {
        more.into_iter().for_each(|(name, value)| self.insert(name, value));
    }
}

impl FromIterator<(String, Value)> for Params {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(all: T) -> Self {
        Self(Arc::new(all.into_iter().collect()))
    }
}

impl<const N: usize> From<[(String, Value); N]> for Params {
    fn from(all: [(String, Value); N]) -> Self {
        all.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Params {
    type Item = (&'a String, &'a Value);
    type IntoIter = btree_map::Iter<'a, String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// What kind of value a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    Url,
    String,
    Integer,
    Bool,
    List,
    Json,
}

/// A parameter that a definition declares.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    pub kind: ParamKind,
    /// `None`: the inventory must give it, unless it is optional.
    pub default: Option<serde_json::Value>,
    /// May be left out without a default; its template key is then dropped.
    pub optional: bool,
    /// The only values allowed, where the definition lists them.
    pub choices: Vec<serde_json::Value>,
    /// What others must be for it to be there; all of it must hold. Where it does not, the inventory must not give the
    /// parameter, and templates see none.
    pub when: Vec<When>,
    /// One sentence for `provider show`.
    pub about: String,
    pub example: Option<serde_json::Value>,
}

/// Another parameter, and the values of it beside which a parameter is there.
#[derive(Clone, Debug, PartialEq)]
pub struct When {
    pub param: String,
    pub values: Vec<Value>,
}

impl When {
    /// Whether it holds of what the inventory gives, and of defaults.
    pub fn holds(&self, declared: &BTreeMap<String, ParamSpec>, given: &BTreeMap<String, Value>) -> bool {
        let value = given.get(&self.param).or_else(|| declared.get(&self.param)?.default.as_ref());
        value.is_some_and(|value| self.values.contains(value))
    }
}

impl fmt::Display for When {
    /// "`type` is "a" or "b"".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values.iter().map(Value::to_string).collect();
        write!(f, "`{}` is {}", self.param, values.join(" or "))
    }
}

impl ParamSpec {
    /// Whether somebody must give it, where it is there at all.
    pub fn is_required(&self) -> bool {
        self.default.is_none() && !self.optional
    }

    /// What keeps it away beside the parameters that are `given`, of those that are `declared`; none: it is there.
    pub fn barred(&self, declared: &BTreeMap<String, Self>, given: &BTreeMap<String, Value>) -> Option<&When> {
        self.when.iter().find(|when| !when.holds(declared, given))
    }

    /// The value that `text` of a command line means; the error completes "parameter `x` …".
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let value = match self.kind {
            ParamKind::Url | ParamKind::String => Value::String(text.to_owned()),
            // What is not JSON is not of these kinds either: `accept` says what is.
            ParamKind::Integer | ParamKind::Bool | ParamKind::List => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
            }
            ParamKind::Json => {
                serde_json::from_str(text).map_err(|error| format!("must be JSON, quotes included: {error}"))?
            }
        };
        self.accept(&value).map(|()| value)
    }

    /// Whether the inventory may give `value`; the error completes "parameter `x` …".
    pub fn accept(&self, value: &Value) -> Result<(), String> {
        let wanted = match (self.kind, value) {
            (ParamKind::Url, Value::String(text)) if Url::parse(text).is_ok_and(|url| url.has_host()) => None,
            (ParamKind::Url, _) => Some("must be an address such as \"https://example.com\""),
            (ParamKind::String, Value::String(_))
            | (ParamKind::Bool, Value::Bool(_))
            | (ParamKind::List, Value::Array(_))
            | (ParamKind::Json, _) => None,
            (ParamKind::Integer, Value::Number(number)) if number.is_i64() => None,
            (ParamKind::String, _) => Some("must be text in quotes"),
            (ParamKind::Integer, _) => Some("must be a whole number"),
            (ParamKind::Bool, _) => Some("must be true or false"),
            (ParamKind::List, _) => Some("must be a list"),
        };
        if let Some(wanted) = wanted {
            return Err(wanted.to_owned());
        }
        if !self.choices.is_empty() && !self.choices.contains(value) {
            let choices: Vec<String> = self.choices.iter().map(Value::to_string).collect();
            return Err(format!("must be one of {}", choices.join(", ")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_share_the_parameters_of_their_account_until_they_have_their_own() {
        let account: Params = [("user_id".to_owned(), json!(7))].into();
        let same = |one: &Params, other: &Params| Arc::ptr_eq(&one.0, &other.0);

        let mut token = account.clone();
        token.extend([]);
        assert!(same(&token, &account));
        let mut stored: Params = serde_json::from_value(json!({ "user_id": 7 })).unwrap();
        stored.share(&account);
        assert!(same(&stored, &account));

        token.insert("scope".to_owned(), json!("read"));
        assert_eq!((account.len(), token.len()), (1, 2));
        let before = token.clone();
        token.share(&account);
        assert_eq!(token, before);
    }
}
