//! `[template.NAME]`: a file with secrets of several tokens.

use crate::document::{Found, Located, Reader, Spot};
use crate::inventory::{Existing, OnDrift, Template};

use super::store::{self, OwnerSpec};

/// A file with secrets of several tokens.
#[derive(Debug)]
pub struct TemplateSpec {
    pub name: Located<String>,
    pub path: Located<String>,
    pub mode: Option<Located<u32>>,
    pub owner: Option<Located<OwnerSpec>>,
    pub group: Option<Located<String>>,
    pub existing: Option<Existing>,
    pub on_drift: Option<OnDrift>,
    /// At least one.
    pub from: Vec<FromSpec>,
    pub template: Template,
}

/// A value of a template.
#[derive(Debug)]
pub struct FromSpec {
    pub name: Located<String>,
    pub token: Located<String>,
    pub part: Option<Located<String>>,
}

impl TemplateSpec {
    /// Reads one table. `None` where it cannot be understood, which was told.
    pub fn decode(name: Located<String>, reader: Reader<'_>) -> Option<Self> {
        let report = reader.report();
        let path = reader.required_string("path");
        let mode = store::mode(&reader);
        let owner = reader.parsed("owner", store::owner);
        let group = reader.string("group");
        let existing = reader.choice("existing", &store::EXISTING).map(|existing| existing.value);
        let on_drift = reader.choice("on-drift", &store::ON_DRIFT).map(|on_drift| on_drift.value);
        if !reader.has("from") {
            reader.lacks("from", "name the values and their tokens: from = { db = \"NAME-OF-A-TOKEN\" }");
        }
        let errors = report.errors();
        let from: Vec<_> = match reader.table("from", format_args!("`from` of {}", reader.what())) {
            Some(table) => {
                let from: Vec<_> = table.entries().filter_map(|(name, found)| value(&table, name, found)).collect();
                if from.is_empty() && report.errors() == errors {
                    report.error(table.spot(), format!("{} is empty", table.what()));
                }
                from
            }
            None => Vec::new(),
        };
        let sound = report.errors() == errors;
        reader.required("text");
        let text = reader.string("text");
        // Of values that were misunderstood, not each use is told as well.
        let template = text.filter(|_| sound && !from.is_empty()).and_then(|text| template(&reader, &text, &from));
        reader.finish();
        Some(Self { name, path: path?, mode, owner, group, existing, on_drift, from, template: template? })
    }
}

/// `NAME = "TOKEN"`, or a table with the part.
fn value(table: &Reader<'_>, name: Located<&str>, found: Found<'_>) -> Option<FromSpec> {
    let what = format!("\"{}\" of {}", name.value, table.what());
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.value.is_empty() || !name.value.chars().all(fine) {
        table.report().error_with_help(
            name.spot,
            format!("{what}: that is no name of a value"),
            "use letters, digits, '-' and '_'",
        );
        return None;
    }
    let name = name.map(str::to_owned);
    if let Some(token) = found.value().as_str() {
        let token = Located { value: token.to_owned(), spot: found.spot() };
        return Some(FromSpec { name, token, part: None });
    }
    let reader = Reader::from_value(table.report(), found, what)?;
    let token = reader.required_string("token");
    let part = reader.string("part");
    reader.finish();
    Some(FromSpec { name, token: token?, part })
}

/// The template, where nothing is wrong with it.
fn template(reader: &Reader<'_>, text: &Located<String>, from: &[FromSpec]) -> Option<Template> {
    let report = reader.report();
    let names: Vec<_> = from.iter().map(|from| from.name.value.as_str()).collect();
    let template = match Template::parse(&text.value, &names) {
        Ok(template) => template,
        Err(faults) => {
            for fault in faults {
                let spot = place(reader, text, fault.place);
                report.error_with_help(spot, format!("`text` of {}: {}", reader.what(), fault.why), fault.help);
            }
            return None;
        }
    };
    for unused in from.iter().filter(|from| template.names().all(|name| name != from.name.value)) {
        let message = format!("`text` of {} has no place for \"{}\"", reader.what(), unused.name.value);
        let help = format!("write {{{{ {} }}}} where it goes, or remove it here", unused.name.value);
        report.error_with_help(unused.name.spot, message, help);
    }
    Some(template)
}

/// Where the `{{` of this number stands in the file. A text that spells some of them with escapes is meant as a whole.
fn place(reader: &Reader<'_>, text: &Located<String>, number: usize) -> Spot {
    let (source, start, end) = (text.spot.source(), text.spot.start(), text.spot.end());
    let written = reader.report().text(source).get(start..end).unwrap_or_default();
    let mut places = written.match_indices("{{");
    if written.matches("{{").count() != text.value.matches("{{").count() {
        return text.spot;
    }
    places.nth(number).map_or(text.spot, |(at, _)| Spot::new(source, start + at..start + at + 2))
}
