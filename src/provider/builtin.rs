//! The definitions that come with patrold, and those that the operator adds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Provider;
use crate::document::Report;
use crate::names::ProviderName;

/// Every provider definition that an inventory may name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions(BTreeMap<ProviderName, Arc<Provider>>);

impl Definitions {
    /// The built-in definitions, with those of the files `*.toml` in `directory` added or put in their place.
    /// What is wrong with a file goes to `report`, and its definition is missing from the result.
    pub fn load(directory: Option<&Path>, report: &mut Report) -> Self {
        let _ = (directory, report);
        unimplemented!()
    }

    /// The built-in definitions alone.
    pub fn builtin() -> Self {
        Self::load(None, &mut Report::new())
    }

    /// The definition called `name`.
    pub fn get(&self, name: &str) -> Option<Arc<Provider>> {
        self.0.iter().find(|(known, _)| known.as_str() == name).map(|(_, provider)| Arc::clone(provider))
    }

    /// Every name, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(ProviderName::as_str)
    }

    /// Every definition, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.values()
    }
}
