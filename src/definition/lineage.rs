//! Definitions that extend others: every file of definitions is read over the files that it extends, so that each key
//! comes from the nearest file that has it, and every problem is told with the place of the key that has it.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::resolve::read_definition;
use crate::document::{Located, Reader, Report, Severity, SourceId, Spot, nearest};
use crate::provider::Provider;

/// A file, as far as it can be told without those that it extends.
struct File<'d> {
    source: SourceId,
    table: Spanned<DeTable<'d>>,
    name: Option<Located<String>>,
    extends: Option<Located<String>>,
    builtin: bool,
}

impl File<'_> {
    fn is_called(&self, name: &str) -> bool {
        self.name.as_ref().is_some_and(|own| own.value == name)
    }
}

/// Why a file is not read.
enum Broken {
    /// Something is wrong with it, or with how it extends.
    Here(Spot, String, Option<String>),
    /// What it extends is broken, which is told there.
    Beneath,
}

/// The name of the definition that `text` extends, where it does and can be read.
pub(super) fn extended(text: &str) -> Option<String> {
    said(text, "extends")
}

/// The name of the definition `text`, where it can be read.
pub(super) fn called(text: &str) -> Option<String> {
    said(text, "name")
}

/// The table in which a file says what it is.
fn head<'t, 'd>(table: &'t DeTable<'d>) -> Option<&'t Spanned<DeValue<'d>>> {
    table.get("provider").or_else(|| table.get("store"))
}

/// What `key` of `[provider]` or `[store]` says.
fn said(text: &str, key: &str) -> Option<String> {
    let (table, _) = DeTable::parse_recoverable(text);
    let value = head(table.get_ref())?.get_ref().get(key)?;
    value.get_ref().as_str().map(str::to_owned)
}

/// The definitions of the files `own`. `builtin`: those that they may extend besides each other, with what these extend;
/// `names`: what such definitions are called, for advice.
pub(super) fn read(report: &Report, own: &[SourceId], builtin: &[SourceId], names: &[&str]) -> Vec<Provider> {
    let parse = |sources: &[SourceId], builtin| {
        sources.iter().filter_map(|source| parse(report, *source, builtin)).collect::<Vec<_>>()
    };
    let files = Files { own: parse(own, false), builtin: parse(builtin, true), names };
    let mut sound = BTreeMap::new();
    files.own.iter().for_each(|file| files.read(report, file, &mut sound));
    let mut places = BTreeMap::new();
    for file in &files.own {
        let Some(name) = file.name.as_ref().filter(|_| sound.get(&file.source).is_some_and(Option::is_some)) else {
            continue;
        };
        if let Some(first) = places.insert(&name.value, file.source) {
            let message = format!("the definition `{}` is in {} already", name.value, report.name(first));
            report.error(name.spot, message);
        }
    }
    files.own.iter().filter_map(|file| sound.remove(&file.source).flatten()).collect()
}

struct Files<'d> {
    own: Vec<File<'d>>,
    builtin: Vec<File<'d>>,
    names: &'d [&'d str],
}

impl<'d> Files<'d> {
    /// Reads `file` into `sound`, after those that it extends; none for one that is not sound.
    fn read(&self, report: &Report, file: &File<'d>, sound: &mut BTreeMap<SourceId, Option<Provider>>) {
        if sound.contains_key(&file.source) {
            return;
        }
        let provider = match self.line(file) {
            Ok(line) => {
                line[1..].iter().rev().for_each(|base| self.read(report, base, sound));
                let beneath = line[1..].iter().all(|base| sound.get(&base.source).is_some_and(Option::is_some));
                if beneath { definition(report, &line) } else { None }
            }
            Err(Broken::Here(spot, message, help)) => {
                match help {
                    Some(help) => report.error_with_help(spot, message, help),
                    None => report.error(spot, message),
                }
                None
            }
            Err(Broken::Beneath) => None,
        };
        sound.insert(file.source, provider);
    }

    /// `file`, what it extends, what that extends, and so on.
    fn line<'f>(&'f self, file: &'f File<'d>) -> Result<Vec<&'f File<'d>>, Broken> {
        let mut line = vec![file];
        let mut seen = BTreeSet::from([file.source]);
        let mut last = file;
        while let Some(extends) = &last.extends {
            let at_fault = line.len() == 1;
            let Some(base) = self.base(last, &extends.value) else {
                let itself = last.is_called(&extends.value);
                let own = self.own.iter().filter_map(|file| file.name.as_ref()).map(|name| name.value.as_str());
                let help = match nearest(&extends.value, own.chain(self.names.iter().copied())) {
                    _ if itself => "it can extend a built-in definition of its own name, and there is none".to_owned(),
                    Some(name) => format!("did you mean \"{name}\"?"),
                    None => "`patrold provider list` lists all of them".to_owned(),
                };
                let message = format!("`extends` names an unknown definition \"{}\"", extends.value);
                return Err(if at_fault { Broken::Here(extends.spot, message, Some(help)) } else { Broken::Beneath });
            };
            if !seen.insert(base.source) {
                // Each file of the circle is told; those that lead into it are not at fault.
                let Some(extends) = file.extends.as_ref().filter(|_| base.source == file.source) else {
                    return Err(Broken::Beneath);
                };
                let names = line.iter().chain([&file]).filter_map(|file| file.name.as_ref());
                let names: Vec<_> = names.map(|name| name.value.as_str()).collect();
                let message = format!("`extends` leads in a circle: {}", names.join(", "));
                return Err(Broken::Here(extends.spot, message, None));
            }
            line.push(base);
            last = base;
        }
        Ok(line)
    }

    /// The file called `name` that `file` extends. One of its own name is the built-in one, whose place it takes. A
    /// built-in one extends what it was written for, whatever takes the place of that elsewhere.
    fn base(&self, file: &File<'d>, name: &str) -> Option<&File<'d>> {
        let itself = file.builtin || file.is_called(name);
        let own = self.own.iter().filter(|_| !itself).find(|other| other.is_called(name));
        own.or_else(|| self.builtin.iter().find(|other| other.is_called(name)))
    }
}

/// The definition of the first file of `line` over the others, which are sound.
fn definition(report: &Report, line: &[&File<'_>]) -> Option<Provider> {
    let readers = line.iter().map(|file| Reader::new(report, file.source, &file.table, "the definition"));
    let file = readers.reduce(Reader::over)?;
    let sources: Vec<&str> = line.iter().map(|file| report.text(file.source)).collect();
    let (source, extends) = (line[0].source, line[0].extends.as_ref());
    let elsewhere = || {
        let problems = report.problems().into_iter();
        problems.filter(|it| it.severity == Severity::Error && it.spot.source() != source).count()
    };
    let before = report.errors();
    let before_elsewhere = extends.map(|_| elsewhere());
    let provider = read_definition(&file, &sources);
    file.finish();
    if report.errors() == before {
        return provider;
    }
    // What it extends is sound alone: it is this file that broke it.
    if let Some(extends) = extends.filter(|_| Some(elsewhere()) != before_elsewhere) {
        let message = format!("what this file changes does not go together with the rest of \"{}\"", extends.value);
        report.error(extends.spot, message);
    }
    None
}

fn parse(report: &Report, source: SourceId, builtin: bool) -> Option<File<'_>> {
    let (table, errors) = DeTable::parse_recoverable(report.text(source));
    for error in &errors {
        let spot = error.span().map_or_else(|| Spot::top(source), |span| Spot::new(source, span));
        report.error(spot, error.message());
    }
    if !errors.is_empty() {
        return None;
    }
    // Types are checked when the definition is read.
    let text = |key: &str| {
        let value = head(table.get_ref())?.get_ref().as_table()?.get(key)?;
        Some(Located { value: value.get_ref().as_str()?.to_owned(), spot: Spot::new(source, value.span()) })
    };
    let (name, extends) = (text("name"), text("extends"));
    Some(File { source, table, name, extends, builtin })
}
