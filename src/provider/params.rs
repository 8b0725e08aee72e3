//! Parameters of accounts and tokens.

use std::collections::{BTreeMap, btree_map};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
