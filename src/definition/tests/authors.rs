//! The pages for authors, `config/providers/README.md` and `config/stores/README.md`, against what the interpreter really
//! takes.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::definition::capture;
use crate::document::Report;
use crate::provider::{filters, time};

fn page() -> String {
    page_of("providers")
}

fn page_of(folder: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(folder).join("README.md");
    std::fs::read_to_string(path).unwrap()
}

/// What stands in backticks in `text`, without what filters are given in parentheses.
fn marked(text: &str) -> BTreeSet<&str> {
    let inside = text.split('`').skip(1).step_by(2);
    inside.map(|word| word.split('(').next().unwrap_or(word)).collect()
}

/// The words in the first column of the table whose head begins with `head`.
fn column<'a>(page: &'a str, head: &str) -> BTreeSet<&'a str> {
    let (_, after) = page.split_once(&format!("| {head} |")).unwrap_or_else(|| panic!("no table of {head}"));
    let rows = after.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| marked(row.split('|').nth(1).unwrap())).collect()
}

#[test]
fn every_filter_and_every_format_is_explained_and_no_other() {
    let page = page();
    assert_eq!(column(&page, "filter"), filters::FILTERS.iter().copied().collect());
    assert_eq!(column(&page, "format"), time::Format::WORDS.iter().map(|(word, _)| *word).collect());
    let codes: BTreeSet<&str> = capture::CODES.iter().map(|(word, _)| *word).collect();
    assert!(codes.is_subset(&marked(&page)), "{codes:?}");
    let codes: BTreeSet<&str> = capture::STORE_CODES.iter().map(|(word, _)| *word).collect();
    let stores = page_of("stores");
    assert!(codes.iter().all(|code| marked(&page).contains(code) || marked(&stores).contains(code)), "{codes:?}");
}

/// Adds the keys of `table` that are the vocabulary's own; what is below those of `free` are names of the author's.
fn keys(table: &toml::Table, found: &mut BTreeSet<String>) {
    let free = [
        "query",
        "headers",
        "json",
        "form",
        "variables",
        "claims",
        "parts",
        "facts",
        "ladder",
        "default",
        "example",
        "when",
    ];
    for (key, value) in table {
        found.insert(key.clone());
        if free.contains(&key.as_str()) {
            continue;
        }
        let items = value.as_array().into_iter().flatten().filter_map(toml::Value::as_table);
        items.chain(value.as_table()).for_each(|table| keys(table, found));
    }
}

#[test]
fn every_key_that_a_shipped_definition_has_is_explained() {
    let (providers, stores) = (page(), page_of("stores"));
    let builtin = Definitions::builtin();
    for provider in builtin.providers().chain(builtin.stores()) {
        let mut marked = marked(&providers);
        if provider.store().is_some() {
            marked.extend(self::marked(&stores));
        }
        let mut table: toml::Table = toml::from_str(provider.source()).unwrap();
        let mut found = BTreeSet::new();
        // The names of parameters and of forms are the author's.
        if let Some(toml::Value::Table(named)) = table.get_mut("survey").and_then(|survey| survey.get_mut("match")) {
            named.clear();
        }
        for (parent, child) in [("params", None), ("discover", None), ("lint", None), ("auth", Some("form"))] {
            let Some(toml::Value::Table(mut named)) = table.remove(parent) else { continue };
            let named = match child {
                None => named,
                Some(child) => match named.remove(child) {
                    Some(toml::Value::Table(forms)) => forms,
                    _ => continue,
                },
            };
            named.values().filter_map(toml::Value::as_table).for_each(|table| keys(table, &mut found));
        }
        keys(&table, &mut found);
        let explained = |key: &&String| {
            let table = format!("[{key}]");
            marked.contains(key.as_str())
                || marked.contains(table.as_str())
                || marked
                    .iter()
                    .any(|text| text.starts_with(&format!("{key} = ")) || text.contains(&format!("{{ {key} = ")))
        };
        let unknown: Vec<_> = found.iter().filter(|key| !explained(key)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", provider.name);
    }
}

#[test]
fn the_example_works() {
    let page = page();
    let (_, after) = page.split_once("```toml\n").unwrap();
    let (example, _) = after.split_once("```").unwrap();
    let mut report = Report::new();
    let provider = crate::definition::parse("example.toml", example, &mut report);
    assert_eq!(report.render(), "");
    let provider = provider.unwrap();
    let mut given = Given::new("https://api.example.com", json!({}));
    given.mint_request.lifetime = Some(Span::days(30));
    let request = provider.render(Operation::Mint, &given.values()).unwrap();
    assert_eq!(
        told::request(&request),
        "POST https://api.example.com/v1/keys\naccept: application/json\ncontent-type: application/json\n\
         x-key: credential-SECRET (sensitive)\n{\"days\":30,\"label\":\"patrold-1a2b3c4d-gps-g3-010101010101\"}"
    );
    let can = provider.capabilities();
    assert!(can.marks && can.has_id && can.verifies && can.revokes && can.chooses_lifetime && can.expiry_known);
}
