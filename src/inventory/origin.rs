//! Where each key of an inventory was written.

use std::collections::HashMap;

use toml::de::{DeTable, DeValue};

use crate::document::{Report, SourceId, Spot};

/// A part of an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Daemon,
    Defaults,
    Account,
    Token,
    Channel,
}

/// The place of every key, as `file:line:column`.
#[derive(Clone, Debug, Default)]
pub struct Origins(HashMap<(Part, String, String), String>);

impl Origins {
    /// Of all files that `report` holds.
    pub fn of(report: &Report) -> Self {
        let mut origins = Self::default();
        for source in report.sources() {
            let (table, _) = DeTable::parse_recoverable(report.text(source));
            let mut add = |part, name: &str, value: &DeValue<'_>| origins.add(report, source, part, name, value);
            for (key, value) in table.get_ref() {
                let value = value.get_ref();
                match (key.get_ref().as_ref(), value) {
                    ("daemon", _) => add(Part::Daemon, "", value),
                    ("defaults", _) => add(Part::Defaults, "", value),
                    ("account", DeValue::Table(named)) => {
                        named.iter().for_each(|(name, it)| add(Part::Account, name.get_ref(), it.get_ref()));
                    }
                    ("token", DeValue::Table(named)) => {
                        named.iter().for_each(|(name, it)| add(Part::Token, name.get_ref(), it.get_ref()));
                    }
                    ("notify", DeValue::Table(named)) => {
                        named.iter().for_each(|(name, it)| add(Part::Channel, name.get_ref(), it.get_ref()));
                    }
                    ("token" | "notify", DeValue::Array(listed)) => {
                        let part = if key.get_ref() == "token" { Part::Token } else { Part::Channel };
                        for item in listed.iter().map(toml::Spanned::get_ref) {
                            let name = item.as_table().and_then(|table| table.get("name"));
                            add(part, name.and_then(|name| name.get_ref().as_str()).unwrap_or_default(), item);
                        }
                    }
                    _ => {}
                }
            }
        }
        origins
    }

    fn add(&mut self, report: &Report, source: SourceId, part: Part, name: &str, value: &DeValue<'_>) {
        let Some(table) = value.as_table() else { return };
        for (key, value) in table {
            let place = report.place(Spot::new(source, key.span()));
            self.0.insert((part, name.to_owned(), key.get_ref().to_string()), place);
            // The account that a token has alone is called like it.
            if part == Part::Token && key.get_ref() == "account" {
                self.add(report, source, Part::Account, name, value.get_ref());
            }
        }
    }

    /// Where the first of `keys` that is there was written.
    pub fn place(&self, part: Part, name: &str, keys: &[&str]) -> Option<&str> {
        let place = |key: &&str| self.0.get(&(part, name.to_owned(), (*key).to_owned()));
        keys.iter().find_map(place).map(String::as_str)
    }
}
