//! The pages for operators, held against what they describe: the reference inventory and the program's own help.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn page(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The keys that lines of the reference set, also where they are commented out.
fn keys(reference: &str) -> BTreeSet<&str> {
    let keys = reference.lines().filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='));
    let keys = keys.map(|(key, _)| key.trim());
    keys.filter(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '-')).collect()
}

/// What stands in backquotes in the first cell of a table's row.
fn first_cells(page: &str) -> impl Iterator<Item = &str> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2))
}

/// Every word of `text` that is a long option, as `--name`.
fn options(text: &str) -> BTreeSet<String> {
    let name = |rest: &str| -> String { rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect() };
    let names = text.split(|c: char| c.is_whitespace() || "`[(|".contains(c));
    let names = names.filter_map(|word| word.strip_prefix("--")).map(name);
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).map(|name| format!("--{name}")).collect()
}

/// The help of a command and of all below it.
fn help(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_patrold")).args(words).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let below = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let below: Vec<&str> = below
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let below: Vec<String> = below.into_iter().map(|name| help(&[words, &[name]].concat())).collect();
    format!("{text}\n{}", below.concat())
}

#[test]
fn every_key_of_the_reference_has_a_row_and_every_row_is_of_a_key() {
    let (reference, page) = (page("config/patrold.toml"), page("docs/inventory.md"));
    let keys = keys(&reference);
    let rows: BTreeSet<&str> = first_cells(&page).collect();
    assert!(keys.len() > 40, "the reference has many keys: {keys:?}");
    let lacking: Vec<_> = keys.difference(&rows).collect();
    assert!(lacking.is_empty(), "docs/inventory.md has no row of {lacking:?}");
    let known = |row: &str| row.starts_with("[account.") || reference.contains(row.trim_matches(['[', ']']));
    let unknown: Vec<_> = rows.iter().filter(|row| !known(row)).collect();
    assert!(unknown.is_empty(), "config/patrold.toml does not know {unknown:?} of docs/inventory.md");
}

#[test]
fn every_option_of_the_program_stands_in_the_page_of_commands() {
    let (page, help) = (options(&page("docs/commands.md")), options(&help(&[])));
    assert!(help.contains("--compromised") && help.contains("--older-than"), "{help:?}");
    let lacking: Vec<_> = help.difference(&page).collect();
    assert!(lacking.is_empty(), "docs/commands.md does not tell of {lacking:?}");
    let unknown: Vec<_> = page.difference(&help).collect();
    assert!(unknown.is_empty(), "the program has no {unknown:?} of docs/commands.md");
}

#[test]
fn every_trouble_of_the_page_has_its_test() {
    let page = page("docs/proof.md");
    let (_, section) = page.split_once("## Troubles of the night").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let named: BTreeSet<&str> =
        section.lines().filter_map(|line| line.rsplit_once("| `")?.1.strip_suffix("` |")).collect();
    assert!(named.len() >= 25, "{named:?}");
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it"));
    let lacking: Vec<_> = named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(lacking.is_empty(), "docs/proof.md names tests that there are not: {lacking:?}");
}

/// Everything that the sources below a directory say.
fn sources(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.extension() {
            _ if path.is_dir() => sources(&path),
            Some(extension) if extension == "rs" => std::fs::read_to_string(&path).unwrap(),
            _ => String::new(),
        })
        .collect()
}
