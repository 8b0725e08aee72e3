//! Where each key of an inventory was written.

use std::collections::HashMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::{Report, SourceId, Spot};

use super::spec::each;

/// A part of an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Daemon,
    Defaults,
    Account,
    Token,
    Channel,
    Template,
}

/// The place of every key, as `file:line:column`.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    keys: HashMap<(Part, String, String), String>,
    /// The name that a token was made for, where it was made of a `for-each`.
    each: HashMap<String, String>,
}

/// The key that a table has in place of a key: where it begins.
const ITSELF: &str = "";

impl Origins {
    /// Of all files that `report` holds.
    pub fn of(report: &Report) -> Self {
        let mut origins = Self::default();
        for source in report.sources() {
            let (mut table, _) = DeTable::parse_recoverable(report.text(source));
            // What is wrong with it is told where the inventory is read.
            each::spread(table.get_mut(), source, report);
            let mut add =
                |part, name: &str, value: &Spanned<DeValue<'_>>| origins.add(report, source, part, name, value);
            for (key, value) in table.get_ref() {
                match (key.get_ref().as_ref(), value.get_ref()) {
                    ("daemon", _) => add(Part::Daemon, "", value),
                    ("defaults", _) => add(Part::Defaults, "", value),
                    ("account", DeValue::Table(named)) => {
                        named.iter().for_each(|(name, it)| add(Part::Account, name.get_ref(), it));
                    }
                    ("token", DeValue::Table(named)) => {
                        named.iter().for_each(|(name, it)| add(Part::Token, name.get_ref(), it));
                    }
                    ("notify", DeValue::Table(named)) => {
                        named.iter().for_each(|(name, it)| add(Part::Channel, name.get_ref(), it));
                    }
                    ("template", DeValue::Table(named)) => {
                        named.iter().for_each(|(name, it)| add(Part::Template, name.get_ref(), it));
                    }
                    ("token" | "notify", DeValue::Array(listed)) => {
                        let part = if key.get_ref() == "token" { Part::Token } else { Part::Channel };
                        for item in listed {
                            let name = item.get_ref().as_table().and_then(|table| table.get("name"));
                            add(part, name.and_then(|name| name.get_ref().as_str()).unwrap_or_default(), item);
                        }
                    }
                    _ => {}
                }
            }
        }
        origins
    }

    fn add(&mut self, report: &Report, source: SourceId, part: Part, name: &str, value: &Spanned<DeValue<'_>>) {
        let Some(table) = value.get_ref().as_table() else { return };
        let place = report.place(Spot::new(source, value.span()));
        self.keys.insert((part, name.to_owned(), ITSELF.to_owned()), place);
        if let Some(each) = table.get(each::KEY).and_then(|each| each.get_ref().as_str()) {
            self.each.insert(name.to_owned(), each.to_owned());
        }
        for (key, value) in table {
            let place = report.place(Spot::new(source, key.span()));
            self.keys.insert((part, name.to_owned(), key.get_ref().to_string()), place);
            // The account that a token has alone is called like it.
            if part == Part::Token && key.get_ref() == "account" {
                self.add(report, source, Part::Account, name, value);
            }
        }
    }

    /// Where the token called `name` was written, and for which name of a list.
    pub fn token(&self, name: &str) -> Option<String> {
        let place = self.place(Part::Token, name, &[ITSELF])?;
        let each = self.each.get(name).map(|each| format!(", for \"{each}\" of its `{}`", each::KEY));
        Some(format!("{place}{}", each.unwrap_or_default()))
    }

    /// Where the first of `keys` that is there was written.
    pub fn place(&self, part: Part, name: &str, keys: &[&str]) -> Option<&str> {
        let place = |key: &&str| self.keys.get(&(part, name.to_owned(), (*key).to_owned()));
        keys.iter().find_map(place).map(String::as_str)
    }
}
