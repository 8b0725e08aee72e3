//! The schemas for editors against the readers: an editor neither refuses what the daemon takes, nor offers or accepts a
//! key that it does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use boon::{Compiler, SchemaIndex, Schemas};
use patrold::definition;
use patrold::document::{Problem, Report, Severity};
use patrold::inventory::{self, Environment};
use serde_json::Value as Json;
use toml::{Table, Value};

/// No reader takes it for another one misspelt.
const UNKNOWN: &str = "zzzzzzzzzzzzzzzzzzzzzzzz";

/// An inventory with the table that no other one has.
const PARTS: &str = r#"
[fleet]
name  = "prod"
host  = "web-1"
lease = "15s"
shared-paths = ["/mnt/secrets"]
next-seal-key = { file = "/etc/patrold/seal-2.key" }

[fleet.engine]
etcd = ["https://etcd-1.example.com:2379"]
allow-plaintext = false
credential = { username = "patrold", password = { file = "/etc/patrold/etcd" } }
tls = { min-version = "1.3" }

[account.auth]
provider   = "oauth2-refresh-token"
url        = "https://auth.example.com"
credential = { username = "client", password = { file = "/etc/patrold/client" } }

[[token]]
name    = "api"
account = "auth"
initial = { file = "/etc/patrold/access", parts = { refresh_token = { file = "/etc/patrold/refresh" } } }
"#;

/// One schema, and what reads the files that it describes.
struct Schema {
    json: Json,
    compiled: Schemas,
    index: SchemaIndex,
    /// What the daemon's reader has to say about a text.
    read: fn(&str) -> Vec<Problem>,
}

/// A table of a file.
struct Place {
    /// Keys and numbers that lead to it.
    path: Vec<String>,
    /// Where the schema describes it: a JSON pointer.
    schema: String,
    keys: Vec<String>,
}

impl Schema {
    fn inventory() -> Self {
        Self::new("inventory", read_inventory)
    }

    fn provider() -> Self {
        Self::new("provider", read_definition)
    }

    fn store() -> Self {
        Self::new("store", read_definition)
    }

    fn new(name: &str, read: fn(&str) -> Vec<Problem>) -> Self {
        let json: Json = serde_json::from_slice(&printed(&["schema", name])).unwrap();
        let (mut compiled, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource(name, json.clone()).unwrap();
        let index = compiler.compile(name, &mut compiled).unwrap();
        Self { json, compiled, index, read }
    }

    fn validate(&self, file: &Table) -> Result<(), String> {
        let json = to_json(&Value::Table(file.clone()));
        self.compiled.validate(&json, self.index).map_err(|error| error.to_string())
    }

    /// Whether unknown keys are refused at `place`.
    fn is_sealed(&self, place: &str) -> bool {
        self.json.pointer(place).unwrap()["additionalProperties"] == false
    }

    /// Every table of `file` that the schema describes.
    fn places(&self, file: &Table) -> Vec<Place> {
        let mut places = Vec::new();
        self.walk("", &Value::Table(file.clone()), &mut Vec::new(), &mut places);
        places
    }

    fn walk(&self, schema: &str, value: &Value, path: &mut Vec<String>, places: &mut Vec<Place>) {
        let mut descend = |key: String, schema: &str, value: &Value, places: &mut Vec<Place>| {
            path.push(key);
            self.walk(schema, value, path, places);
            path.pop();
        };
        match value {
            Value::Table(table) => {
                let keys: Vec<String> = table.keys().cloned().collect();
                let Some(schema) = self.described(schema, "object", &keys) else { return };
                for (key, value) in table {
                    let known = format!("{schema}/properties/{key}");
                    let known = self.json.pointer(&known).map(|_| known);
                    let below = known.unwrap_or_else(|| format!("{schema}/additionalProperties"));
                    descend(key.clone(), &below, value, places);
                }
                places.push(Place { path: path.clone(), schema, keys });
            }
            Value::Array(items) => {
                let Some(schema) = self.described(schema, "array", &[]) else { return };
                for (number, item) in items.iter().enumerate() {
                    descend(number.to_string(), &format!("{schema}/items"), item, places);
                }
            }
            _ => {}
        }
    }

    /// Where values of `kind` are described that stand where `schema` points to. Of several descriptions of a table, the
    /// first whose required keys are among `keys`.
    fn described(&self, schema: &str, kind: &str, keys: &[String]) -> Option<String> {
        let node = self.json.pointer(schema)?;
        if let Some(reference) = node["$ref"].as_str() {
            return self.described(&reference[1..], kind, keys);
        }
        if let Some(any) = node["anyOf"].as_array() {
            let has_all = |number: &usize| {
                let named = any[*number]["$ref"].as_str().and_then(|name| self.json.pointer(&name[1..]));
                let required = named.unwrap_or(&any[*number])["required"].as_array();
                let required = required.map(Vec::as_slice).unwrap_or_default();
                required.iter().all(|key| keys.iter().any(|known| *key == known.as_str()))
            };
            let place = |number| self.described(&format!("{schema}/anyOf/{number}"), kind, keys);
            return (0..any.len()).filter(has_all).find_map(place).or_else(|| (0..any.len()).find_map(place));
        }
        (node["type"] == kind).then(|| schema.to_owned())
    }

    /// The words that the schema has at `place`.
    fn words(&self, place: &str) -> BTreeSet<String> {
        let node = self.json.pointer(place).unwrap_or(&Json::Null);
        if let Some(reference) = node["$ref"].as_str() {
            return self.words(&reference[1..]);
        }
        node["enum"].as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    /// Every place at which unknown keys are refused, with the known ones.
    fn sealed(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut sealed = BTreeMap::new();
        let mut waiting = vec![(String::new(), &self.json)];
        while let Some((place, node)) = waiting.pop() {
            match node {
                Json::Object(entries) => {
                    waiting.extend(entries.iter().map(|(key, node)| (format!("{place}/{key}"), node)));
                    if node["additionalProperties"] == false {
                        let known = node["properties"].as_object().unwrap().keys().cloned().collect();
                        sealed.insert(place, known);
                    }
                }
                Json::Array(items) => {
                    waiting.extend(items.iter().enumerate().map(|(at, node)| (format!("{place}/{at}"), node)));
                }
                _ => {}
            }
        }
        sealed
    }

    /// Puts a key that nobody knows into every table of `files`: schema and reader must agree on where that is wrong.
    /// Returns the keys that the reader knows, by place; it lists them in its complaint.
    fn probe(&self, files: &[(String, Table)]) -> BTreeMap<String, BTreeSet<String>> {
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (name, file) in files {
            for Place { path, schema, keys } in self.places(file) {
                if !seen.insert((schema.clone(), keys)) {
                    continue;
                }
                let mut added = file.clone();
                table_at(&mut added, &path).insert(UNKNOWN.to_owned(), Value::Integer(1));
                let told = known_keys(&(self.read)(&added.to_string()));
                let sealed = self.is_sealed(&schema);
                assert_eq!(told.is_some(), sealed, "{name}: an unknown key in {path:?} ({schema})");
                if !sealed {
                    continue;
                }
                assert!(self.validate(&added).is_err(), "{name}: the schema takes an unknown key in {path:?}");
                // Without any other key a reader that has to choose asks for all of them.
                let mut alone = file.clone();
                *table_at(&mut alone, &path) = added_alone();
                // Unless another key says what it is.
                let is_same = |place: &Place| place.path == path && place.schema == schema;
                let same = self.places(&alone).iter().any(is_same);
                let told_alone = known_keys(&(self.read)(&alone.to_string())).filter(|_| same);
                known.entry(schema).or_default().extend(told.into_iter().chain(told_alone).flatten());
            }
        }
        known
    }

    /// Changes every kind of value of `files`: what the schema refuses the reader refuses, and where the reader speaks of
    /// a wrong type, a wrong word or a missing key, the schema refuses as well. Returns how many the schema refuses.
    fn spoil(&self, files: &[(String, Table)]) -> usize {
        let mut seen = BTreeSet::new();
        let mut refused = 0;
        let mut disagreements = Vec::new();
        for (name, file) in files {
            for Place { path, schema, keys } in self.places(file) {
                for key in keys {
                    let same = if self.is_sealed(&schema) { key.clone() } else { String::new() };
                    if !seen.insert((schema.clone(), same)) {
                        continue;
                    }
                    for spoilt in spoilt() {
                        let mut changed = file.clone();
                        let table = table_at(&mut changed, &path);
                        match spoilt.clone() {
                            Some(value) => drop(table.insert(key.clone(), value)),
                            None => drop(table.remove(&key)),
                        }
                        let problems = errors((self.read)(&changed.to_string()));
                        let verdict = self.validate(&changed);
                        refused += usize::from(verdict.is_err());
                        let place = format!("{name}: `{key}` of {path:?} made {spoilt:?}");
                        if let Some(words) = problems.iter().find_map(|problem| known_words(problem, &key)) {
                            let offered = self.words(&format!("{schema}/properties/{key}"));
                            if offered != words {
                                disagreements.push(format!("{place}: {words:?} read, {offered:?} in the schema"));
                            }
                        }
                        let plain = problems.iter().find(|problem| is_plain(problem, &key));
                        match (verdict, plain) {
                            (Err(error), _) if problems.is_empty() => {
                                disagreements.push(format!("the schema alone refuses {place}\n{error}"));
                            }
                            (Ok(()), Some(problem)) => {
                                disagreements.push(format!("the schema takes {place}\n{}", problem.message));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
        refused
    }
}

/// What the program prints.
fn printed(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_patrold")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// What a value is replaced by; `None` takes the key away.
fn spoilt() -> [Option<Value>; 4] {
    [Some(Value::Float(17.5)), Some(Value::String("no such word".to_owned())), Some(Value::Table(Table::new())), None]
}

/// Whether a reader's complaint is about something that a schema can know.
fn is_plain(problem: &Problem, key: &str) -> bool {
    let message = &problem.message;
    let wrong_type = message.contains(" must be ") && message.contains(", not ");
    let wrong_word =
        message.contains(" cannot be \"") && problem.help.as_ref().is_some_and(|it| it.contains("valid: "));
    // Whether an account needs these its provider tells.
    let missing = message.ends_with(&format!(" lacks `{key}`")) && !["url", "credential"].contains(&key);
    wrong_type || wrong_word || missing
}

fn errors(problems: Vec<Problem>) -> Vec<Problem> {
    problems.into_iter().filter(|problem| problem.severity == Severity::Error).collect()
}

/// The keys that a reader would have known in place of the one that nobody knows.
fn known_keys(problems: &[Problem]) -> Option<BTreeSet<String>> {
    let complaint = format!("unknown key `{UNKNOWN}`");
    let problem = problems.iter().find(|problem| problem.message.starts_with(&complaint))?;
    let help = problem.help.as_ref().and_then(|help| help.strip_prefix("valid keys: "));
    let within = problem.message.split_once("(valid: ").map(|(_, keys)| keys.trim_end_matches(')'));
    let keys = help.or(within).unwrap_or_else(|| panic!("{problem:?} lists no keys"));
    Some(keys.split(", ").map(str::to_owned).collect())
}

/// The words that a reader would have known for `key`.
fn known_words(problem: &Problem, key: &str) -> Option<BTreeSet<String>> {
    let told = problem.message.starts_with(&format!("`{key}` of ")) && problem.message.contains(" cannot be \"no such");
    let (_, words) = problem.help.as_ref().filter(|_| told)?.split_once("valid: ")?;
    Some(words.split(", ").map(str::to_owned).collect())
}

fn added_alone() -> Table {
    Table::from_iter([(UNKNOWN.to_owned(), Value::Integer(1))])
}

fn table_at<'t>(file: &'t mut Table, path: &[String]) -> &'t mut Table {
    let Some((first, rest)) = path.split_first() else { return file };
    let step = |value: &'t mut Value, step: &String| match value {
        Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
        value => &mut value[step.as_str()],
    };
    rest.iter().fold(&mut file[first.as_str()], step).as_table_mut().unwrap()
}

/// Dates become text, as in editors.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Datetime(time) => Json::from(time.to_string()),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect(),
        plain => serde_json::to_value(plain).unwrap(),
    }
}

fn read_inventory(text: &str) -> Vec<Problem> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("patrold.toml");
    fs::write(&path, text).unwrap();
    let environment = Environment { state_dir: Some("/var/lib/patrold".into()), ..Environment::default() };
    inventory::load(&path, &environment, "2026-11-21T12:00:00Z".parse().unwrap()).report.problems()
}

fn read_definition(text: &str) -> Vec<Problem> {
    let mut report = Report::new();
    definition::parse("definition.toml", text, &mut report);
    report.problems()
}

/// The TOML files of a directory of the repository.
fn files(directory: &str) -> Vec<(String, Table)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut paths: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let read = |path: PathBuf| (path.display().to_string(), fs::read_to_string(path).unwrap().parse().unwrap());
    paths.into_iter().map(read).collect()
}

/// The reference with every line uncommented that is a key.
fn reference() -> (String, Table) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/patrold.toml")).unwrap();
    let is_key = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '[');
    let uncomment = |line: &str| line.strip_prefix('#').filter(is_key).unwrap_or(line).to_owned() + "\n";
    let text: String = text.lines().map(uncomment).collect();
    ("the reference".to_owned(), text.parse().unwrap())
}

/// Inventories that together have every table.
fn inventories() -> Vec<(String, Table)> {
    let mut all = files("tests/data/inventories/valid");
    all.push(reference());
    all.push(("further parts".to_owned(), PARTS.parse().unwrap()));
    all
}

/// Definitions that together have every table.
fn definitions() -> Vec<(String, Table)> {
    files("config/providers")
}

#[test]
fn whatever_is_valid_for_the_daemon_is_valid_for_editors() {
    let inventory = Schema::inventory();
    let fragments = ["config", "config/tokens.d", "tests/data/inventories/valid/product.d"].into_iter().flat_map(files);
    for (name, file) in inventories().into_iter().chain(fragments) {
        assert_eq!(inventory.validate(&file), Ok(()), "{name}");
    }
    let provider = Schema::provider();
    for (name, file) in definitions() {
        assert_eq!(read_definition(&file.to_string()).first().map(|problem| &problem.message), None, "{name}");
        assert_eq!(provider.validate(&file), Ok(()), "{name}");
    }
    let store = Schema::store();
    for (name, file) in files("config/stores") {
        assert_eq!(store.validate(&file), Ok(()), "{name}");
    }
}

#[test]
fn the_schema_of_inventories_has_the_keys_that_the_reader_asks_for() {
    let (inventory, provider) = (Schema::inventory(), Schema::provider());
    let known = inventory.probe(&inventories());
    // The vocabulary of operations is compared where it is at home.
    let shared = |place: &str| {
        let name = place.split('/').nth(2).filter(|_| place.starts_with("/$defs/"));
        name.is_some_and(|name| provider.json["$defs"].get(name).is_some())
    };
    for (place, keys) in inventory.sealed().into_iter().filter(|(place, _)| !shared(place)) {
        assert_eq!(known.get(&place), Some(&keys), "{place}: left is the reader, right is the schema");
    }
}

#[test]
fn the_schema_of_definitions_has_the_keys_that_the_reader_asks_for() {
    let provider = Schema::provider();
    let known = provider.probe(&definitions());
    for (place, keys) in provider.sealed() {
        assert_eq!(known.get(&place), Some(&keys), "{place}: left is the reader, right is the schema");
    }
}

#[test]
fn the_schema_of_stores_has_the_keys_that_the_reader_asks_for() {
    let (store, provider) = (Schema::store(), Schema::provider());
    let sealed = store.sealed();
    // What definitions of providers have as well is compared with the reader there: stores do not use all of it.
    let shared = |place: &str| {
        let name = place.strip_prefix("/$defs/").and_then(|rest| rest.split('/').next());
        name.is_some_and(|name| provider.json["$defs"].get(name).is_some())
    };
    let known = store.probe(&files("config/stores"));
    assert!(known.len() > 20, "{:?}", known.keys());
    for (place, mut keys) in known {
        // Of a file that does not say what it is, the reader asks for that as well.
        keys.retain(|key| !place.is_empty() || key != "provider");
        // Which keys a way of paging has depends on its style, and stores do not use each.
        if shared(&place) || place.ends_with("/page") {
            assert!(keys.is_subset(&sealed[&place]), "{place}: {keys:?}");
        } else {
            assert_eq!(Some(&keys), sealed.get(&place), "{place}: left is the reader, right is the schema");
        }
    }
}

#[test]
fn stores_that_were_spoilt_are_refused_by_both() {
    let refused = Schema::store().spoil(&files("config/stores"));
    assert!(refused > 100, "{refused}");
}

#[test]
fn both_schemas_describe_operations_alike() {
    let (inventory, provider) = (Schema::inventory(), Schema::provider());
    let own = ["parameter", "form", "login", "discovery"];
    let defs = provider.json["$defs"].as_object().unwrap();
    for (name, definition) in defs.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
        assert_eq!(inventory.json["$defs"].get(name), Some(definition), "{name}");
    }
}

#[test]
fn inventories_that_were_spoilt_are_refused_by_both() {
    let refused = Schema::inventory().spoil(&inventories());
    assert!(refused > 200, "{refused}");
}

#[test]
fn definitions_that_were_spoilt_are_refused_by_both() {
    let refused = Schema::provider().spoil(&definitions());
    assert!(refused > 200, "{refused}");
}

#[test]
fn editors_are_told_what_is_wrong_and_where() {
    let (inventory, provider) = (Schema::inventory(), Schema::provider());
    let definition = |rest: &str| format!("[provider]\nname = \"x\"\n{rest}");
    let extending = |rest: &str| format!("[provider]\nname = \"x\"\nextends = \"awx\"\n{rest}");
    for (sentence, schema, text, expected) in [
        ("a misspelt key", &inventory, "[defaults]\nrenew_before = \"1d\"".to_owned(), "'/defaults'"),
        ("no duration", &inventory, "[defaults]\ngrace = \"soon\"".to_owned(), "'/defaults/grace'"),
        ("no such format", &inventory, "[daemon]\nlog-format = \"xml\"".to_owned(), "'/daemon/log-format'"),
        (
            "a literal secret",
            &inventory,
            "[account.a]\nprovider = \"awx\"\ncredential = \"x\"".to_owned(),
            "'/account/a",
        ),
        ("no list of tokens", &inventory, "[token]\nname = \"x\"".to_owned(), "'/token'"),
        ("a misspelt operation", &provider, definition("[revok]"), "'revok'"),
        ("no address", &provider, definition("[verify]"), "'/verify'"),
        (
            "an unknown format",
            &provider,
            extending("[mint.capture]\nexpires = { at = \"\", format = \"iso\" }"),
            "'/mint",
        ),
    ] {
        let told = schema.validate(&text.parse().unwrap()).expect_err(sentence);
        assert!(told.contains(expected), "{sentence}: {told} lacks {expected}");
    }
    let single = extending("[verify]\nsettle = \"1m\"\n[params.scope]\ndefault = \"read\"");
    assert_eq!(provider.validate(&single.parse().unwrap()), Ok(()), "single keys change what is extended");
}

#[test]
fn without_a_name_the_schema_of_inventories_is_printed() {
    let file = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema/inventory.schema.json")).unwrap();
    assert_eq!(printed(&["schema"]), file);
}
