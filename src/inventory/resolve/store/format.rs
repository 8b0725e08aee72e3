//! What files hold, with every default filled in.

use crate::inventory::spec::FormatSpec;
use crate::inventory::{Format, defaults};

/// What a file holds.
pub(super) fn format(spec: &FormatSpec) -> Format {
    match spec {
        FormatSpec::Whole { newline } => Format::Whole { newline: newline.unwrap_or(defaults::NEWLINE) },
        FormatSpec::Env { key, dialect } => Format::Env {
            key: key.value.clone(),
            dialect: dialect.as_ref().map_or(defaults::DIALECT, |dialect| dialect.value),
        },
        FormatSpec::Document { syntax, pointer } => {
            Format::Document { syntax: *syntax, pointer: pointer.value.clone() }
        }
        FormatSpec::Properties { key } => Format::Properties { key: key.value.clone() },
        FormatSpec::Ini { section, key, reader } => {
            Format::Ini { section: section.clone(), key: key.value.clone(), reader: *reader }
        }
        FormatSpec::Netrc { machine, login } => Format::Netrc { machine: machine.value.clone(), login: login.clone() },
        FormatSpec::GitCredentials { address } => Format::GitCredentials { address: address.value.clone() },
        FormatSpec::Xml { path } => Format::Xml { path: path.value.clone() },
        FormatSpec::Wrapped { within, wrap } => {
            Format::Wrapped { within: Box::new(format(within)), wrap: wrap.clone() }
        }
    }
}

impl FormatSpec {
    /// The format without what it says besides the secret.
    pub(super) fn bare(&self) -> &Self {
        match self {
            Self::Wrapped { within, .. } => within.bare(),
            other => other,
        }
    }
}
