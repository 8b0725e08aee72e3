//! The definitions that commands show, by name and kind.

use std::path::Path;
use std::sync::Arc;

use crate::clock::{Clock as _, SystemClock};
use crate::definition::Definitions;
use crate::document::{alike, did_you_mean};
use crate::inventory::{self, Environment};
use crate::provider::Provider;

use super::Complaint;

/// The built-in definitions, and those of the inventory at `config` where there is one.
pub(super) fn definitions(config: Option<&Path>) -> Definitions {
    // Whether the inventory is valid is the business of `check`; its definitions count as far as they can be read.
    let read = |config| inventory::load(config, &Environment::of_process(config), SystemClock.now()).definitions;
    config.map_or_else(Definitions::builtin, read)
}

/// What a definition is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Provider,
    Store,
}

impl Kind {
    /// The word for it, which is also the command.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Store => "store",
        }
    }

    pub(super) fn of(definition: &Provider) -> Self {
        if definition.store().is_some() { Self::Store } else { Self::Provider }
    }
}

/// The definition of this name and kind.
pub(super) fn find(definitions: &Definitions, name: &str, kind: Kind) -> Result<Arc<Provider>, Complaint> {
    let word = kind.word();
    let found = definitions.get(name);
    if let Some(found) = found.as_ref().filter(|found| Kind::of(found) == kind) {
        return Ok(Arc::clone(found));
    }
    let complaint = Complaint::invalid(format!("there is no {word} \"{name}\""));
    if let Some(found) = found {
        let other = Kind::of(&found).word();
        return Err(complaint.with_help(format!("it is a {other}: `patrold {other} show {name}`")));
    }
    let names: Vec<&str> = definitions.names_of(kind == Kind::Store).collect();
    let meant = did_you_mean(&alike(name, &names));
    Err(complaint.with_help(meant.unwrap_or_else(|| format!("`patrold {word} list` lists all of them"))))
}
