//! Reads a table: known keys are taken out, unknown ones are reported.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::rc::Rc;

use toml::Spanned;
use toml::de::DeTable;

use super::found::{Found, kind};
use super::{Located, Report, SourceId, Spot, nearest};

/// One table of a file.
///
/// Keys are taken by name; [`Reader::finish`] reports those that nobody took.
#[derive(Debug)]
pub struct Reader<'d> {
    report: &'d Report,
    source: SourceId,
    table: &'d DeTable<'d>,
    range: Range<usize>,
    /// What this table is called in messages: `[daemon]`, `token "gps"`.
    what: Rc<str>,
    /// In the order of asking, with repetitions: a large inventory has more tables than anything else.
    asked: RefCell<Vec<&'static str>>,
    /// Tables, perhaps of other files, that have the keys that this one lacks; the nearest first.
    beneath: Vec<Layer<'d>>,
}

/// A table and the file that it stands in.
type Layer<'d> = (SourceId, &'d DeTable<'d>);

impl<'d> Reader<'d> {
    /// Reads `table`, which messages call `what`.
    pub fn new(
        report: &'d Report,
        source: SourceId,
        table: &'d Spanned<DeTable<'d>>,
        what: impl Into<Rc<str>>,
    ) -> Self {
        let (range, table) = (table.span(), table.get_ref());
        Self { report, source, table, range, what: what.into(), asked: asked(), beneath: Vec::new() }
    }

    /// Reads `found` as a table; reports what else it is.
    pub fn from_value(report: &'d Report, found: Found<'d>, what: impl Into<Rc<str>>) -> Option<Self> {
        let what = what.into();
        let Some(table) = found.value().as_table() else {
            report.error(found.spot(), format!("{what} must be a table, not {}", kind(found.value())));
            return None;
        };
        let range = found.value.span();
        Some(Self { report, source: found.source, table, range, what, asked: asked(), beneath: Vec::new() })
    }

    /// The same table, with the keys of `base` where it has none of its own.
    #[must_use]
    pub fn over(mut self, base: Self) -> Self {
        self.beneath.push((base.source, base.table));
        self.beneath.extend(base.beneath);
        self
    }

    /// The same table, called `what` from now on: once its own name is known.
    #[must_use]
    pub fn named(self, what: impl Into<Rc<str>>) -> Self {
        Self { what: what.into(), ..self }
    }

    /// The report that problems go to.
    pub fn report(&self) -> &'d Report {
        self.report
    }

    /// What messages call this table.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Where the table stands: its header, or its opening brace.
    pub fn spot(&self) -> Spot {
        Spot::new(self.source, self.range.clone())
    }

    /// Whether `key` is there, without taking it.
    pub fn has(&self, key: &str) -> bool {
        self.layers().any(|(_, table)| table.contains_key(key))
    }

    /// The value of `key`, without taking it.
    pub fn peek(&self, key: &str) -> Option<Found<'d>> {
        self.layers().find_map(|(source, table)| table.get(key).map(|value| Found { value, source }))
    }

    fn layers(&self) -> impl Iterator<Item = Layer<'d>> {
        std::iter::once((self.source, self.table)).chain(self.beneath.iter().copied())
    }

    /// Where `key` stands, or the table where it is missing.
    pub fn key_spot(&self, key: &str) -> Spot {
        let place =
            |(source, table): Layer<'d>| table.get_key_value(key).map(|(name, _)| Spot::new(source, name.span()));
        self.layers().find_map(place).unwrap_or_else(|| self.spot())
    }

    /// Takes `key`, whatever it is.
    pub fn take(&self, key: &'static str) -> Option<Found<'d>> {
        self.asked.borrow_mut().push(key);
        self.peek(key)
    }

    /// Every key of the table with its place and its value: for tables whose keys are names. All count as taken.
    pub fn entries(&self) -> impl Iterator<Item = (Located<&'d str>, Found<'d>)> + use<'d> {
        let mut entries = Vec::with_capacity(self.table.len());
        for (depth, (source, table)) in self.layers().enumerate() {
            let covered = |key: &str| self.layers().take(depth).any(|(_, above)| above.contains_key(key));
            for (name, value) in table.iter().filter(|(name, _)| !covered(name.get_ref())) {
                let spot = Spot::new(source, name.span());
                entries.push((Located { value: name.get_ref().as_ref(), spot }, Found { value, source }));
            }
        }
        entries.into_iter()
    }

    /// Takes `key` as text.
    pub fn string(&self, key: &'static str) -> Option<Located<String>> {
        let found = self.take(key)?;
        self.text_of(key, found)
    }

    /// Takes `key` as text; reports it where it is missing.
    pub fn required_string(&self, key: &'static str) -> Option<Located<String>> {
        self.required(key);
        self.string(key)
    }

    /// Takes `key` as true or false.
    pub fn bool(&self, key: &'static str) -> Option<Located<bool>> {
        let found = self.take(key)?;
        let value = found.value().as_bool();
        if value.is_none() {
            self.wrong_type(key, found, "true or false");
        }
        value.map(|value| Located { value, spot: found.spot() })
    }

    /// Takes `key` as a whole number.
    pub fn integer(&self, key: &'static str) -> Option<Located<i64>> {
        let found = self.take(key)?;
        let value = found.value().as_integer().and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        if value.is_none() {
            self.wrong_type(key, found, "a whole number");
        }
        value.map(|value| Located { value, spot: found.spot() })
    }

    /// Takes `key` as text and gives it to `parse`; what `parse` says of it is reported at the value.
    pub fn parsed<T, E: std::fmt::Display>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let text = self.string(key)?;
        match parse(&text.value) {
            Ok(value) => Some(Located { value, spot: text.spot }),
            Err(error) => {
                self.report.error(text.spot, format!("`{key}` of {}: {error}", self.what));
                None
            }
        }
    }

    /// Takes `key` as one of the given words.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<Located<T>> {
        let text = self.string(key)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(Located { value: *value, spot: text.spot });
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let help = match nearest(&text.value, words.iter().copied()) {
            Some(word) => format!("did you mean \"{word}\"? valid: {}", words.join(", ")),
            None => format!("valid: {}", words.join(", ")),
        };
        self.report.error_with_help(text.spot, format!("`{key}` of {} cannot be \"{}\"", self.what, text.value), help);
        None
    }

    /// Takes `key` as a list of text.
    pub fn strings(&self, key: &'static str) -> Option<Located<Vec<Located<String>>>> {
        let found = self.take(key)?;
        let items = self.array_of(key, found)?;
        let value = items.into_iter().filter_map(|item| self.text_of(key, item)).collect();
        Some(Located { value, spot: found.spot() })
    }

    /// Takes `key` as a list of any values.
    pub fn array(&self, key: &'static str) -> Option<Vec<Found<'d>>> {
        let found = self.take(key)?;
        self.array_of(key, found)
    }

    /// Takes `key` as a table, which messages call `what`.
    pub fn table(&self, key: &'static str, what: impl Display) -> Option<Reader<'d>> {
        Reader::from_value(self.report, self.take(key)?, what.to_string())
    }

    /// Takes `key` as a table that is put together, key by key, from all tables that this one is over. One that has
    /// the key `whole` takes the place of those beneath it.
    pub fn merged(&self, key: &'static str, what: impl Into<Rc<str>>, whole: Option<&str>) -> Option<Reader<'d>> {
        self.asked.borrow_mut().push(key);
        self.merged_entry(key, what, whole)
    }

    /// The same for one of the [`Reader::entries`], whose keys are names.
    pub fn merged_entry(&self, key: &str, what: impl Into<Rc<str>>, whole: Option<&str>) -> Option<Reader<'d>> {
        let what: Rc<str> = what.into();
        let mut merged: Option<Self> = None;
        for (source, table) in self.layers() {
            let Some(value) = table.get(key) else { continue };
            let next = Self::from_value(self.report, Found { value, source }, Rc::clone(&what))?;
            let ends = whole.is_some_and(|whole| next.has(whole));
            merged = Some(match merged {
                None => next,
                Some(above) => above.over(next),
            });
            if ends {
                break;
            }
        }
        merged
    }

    /// Takes `key` as a list of tables, each called `what`.
    pub fn tables(&self, key: &'static str, what: impl Display) -> Vec<Reader<'d>> {
        let Some(items) = self.array(key) else { return Vec::new() };
        let what: Rc<str> = what.to_string().into();
        items.into_iter().filter_map(|item| Reader::from_value(self.report, item, Rc::clone(&what))).collect()
    }

    /// Reports `key` where it is missing.
    pub fn required(&self, key: &'static str) -> bool {
        if !self.has(key) {
            self.asked.borrow_mut().push(key);
            self.report.error(self.spot(), format!("{} lacks `{key}`", self.what));
        }
        self.has(key)
    }

    /// Reports that `key` is missing, with what to do about it.
    pub fn lacks(&self, key: &'static str, help: &str) {
        self.asked.borrow_mut().push(key);
        self.report.error_with_help(self.spot(), format!("{} lacks `{key}`", self.what), help);
    }

    /// Reports every key that nobody asked for, with the nearest one that would have been understood.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        let entries = self.layers().flat_map(|(source, table)| table.iter().map(move |entry| (source, entry)));
        for (source, (name, value)) in entries {
            let key: &str = name.get_ref();
            if asked.contains(&key) {
                continue;
            }
            let valid: BTreeSet<_> = asked.iter().copied().collect();
            let help = match nearest(key, valid.iter().copied()) {
                Some(valid) => format!("did you mean `{valid}`?"),
                None => format!("valid keys: {}", valid.into_iter().collect::<Vec<_>>().join(", ")),
            };
            if sounds_secret(key) {
                self.report.conceal(Spot::new(source, value.span()));
            }
            let spot = Spot::new(source, name.span());
            self.report.error_with_help(spot, format!("unknown key `{key}` in {}", self.what), help);
        }
    }

    fn text_of(&self, key: &str, found: Found<'d>) -> Option<Located<String>> {
        if let Some(text) = found.value().as_str() {
            return Some(Located { value: text.to_owned(), spot: found.spot() });
        }
        self.wrong_type(key, found, "text in quotes");
        None
    }

    fn array_of(&self, key: &str, found: Found<'d>) -> Option<Vec<Found<'d>>> {
        let Some(items) = found.value().as_array() else {
            self.wrong_type(key, found, "a list");
            return None;
        };
        Some(items.iter().map(|value| Found { value, source: self.source }).collect())
    }

    /// A value of this table as the text of a template. A list or a table is reported.
    pub fn scalar(&self, found: Found<'d>) -> Option<String> {
        match found.to_json() {
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                self.report.error(found.spot(), "text, a number, or true or false is wanted here");
                None
            }
            other => Some(other.to_string()),
        }
    }

    /// Reports that `found`, the value of `key`, is not what was `wanted`.
    pub fn wrong_type(&self, key: &str, found: Found<'d>, wanted: &str) {
        let message = format!("`{key}` of {} must be {wanted}, not {}", self.what, kind(found.value()));
        self.report.error(found.spot(), message);
    }
}

/// Whether people would put a secret under a key of this name.
fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["secret", "password", "passwd", "token", "key", "credential", "value"].iter().any(|word| key.contains(word))
}

/// Room for the keys that most tables are asked for.
fn asked() -> RefCell<Vec<&'static str>> {
    RefCell::new(Vec::with_capacity(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, look: impl FnOnce(&Reader<'_>)) -> Vec<String> {
        let mut report = Report::new();
        let source = report.add_source("t.toml", text);
        let (table, _) = DeTable::parse_recoverable(report.text(source));
        let reader = Reader::new(&report, source, &table, "the file");
        look(&reader);
        reader.finish();
        report.problems().iter().map(|problem| report.line(problem)).collect()
    }

    #[test]
    fn known_keys_are_taken_and_unknown_ones_reported_with_the_nearest() {
        let problems = read("grace = \"1h\"\nrenew_before = \"3d\"\nzzz = 1\n", |reader| {
            assert_eq!(reader.string("grace").unwrap().value, "1h");
            assert!(reader.string("renew-before").is_none());
        });
        assert_eq!(
            problems,
            [
                "t.toml:2:1: unknown key `renew_before` in the file (did you mean `renew-before`?)",
                "t.toml:3:1: unknown key `zzz` in the file (valid keys: grace, renew-before)",
            ]
        );
    }

    #[test]
    fn wrong_types_are_reported_at_the_value() {
        let problems = read("a = 1\nb = \"x\"\nc = [\"y\", 2]\nd = \"blue\"\n", |reader| {
            assert!(reader.string("a").is_none());
            assert!(reader.integer("b").is_none());
            assert_eq!(reader.strings("c").unwrap().value.len(), 1);
            assert!(reader.choice("d", &[("red", 1), ("blau", 2)]).is_none());
            reader.required_string("e");
        });
        assert_eq!(
            problems,
            [
                "t.toml:1:1: the file lacks `e`",
                "t.toml:1:5: `a` of the file must be text in quotes, not a whole number",
                "t.toml:2:5: `b` of the file must be a whole number, not text",
                "t.toml:3:11: `c` of the file must be text in quotes, not a whole number",
                "t.toml:4:5: `d` of the file cannot be \"blue\" (did you mean \"blau\"? valid: red, blau)",
            ]
        );
    }
}
