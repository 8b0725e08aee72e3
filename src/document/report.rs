//! The problems of a set of files: places, sentences, remedies.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::outcome::one_line;

/// Characters of a message.
const LONGEST: usize = 1000;
/// Characters of a source line that are shown before the place of a problem, and from there on.
const BEFORE: usize = 120;
const AFTER: usize = 160;

/// A file of a [`Report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u32);

/// A place in a file of a [`Report`]: twelve bytes, so that an inventory of 100,000 tokens can keep one for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    source: SourceId,
    start: u32,
    end: u32,
}

impl Spot {
    /// The bytes `range` of `source`.
    pub fn new(source: SourceId, range: Range<usize>) -> Self {
        let cut = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { source, start: cut(range.start), end: cut(range.end) }
    }

    /// The first byte of `source`: for problems of a whole file.
    pub fn top(source: SourceId) -> Self {
        Self { source, start: 0, end: 0 }
    }

    /// The file that it is in.
    pub fn source(self) -> SourceId {
        self.source
    }

    /// Where it begins, as a byte offset.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// The byte after it, as an offset.
    pub fn end(self) -> usize {
        self.end as usize
    }
}

/// Whether a problem keeps the inventory from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The inventory is invalid.
    Error,
    /// It will work, but probably not as meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Whether it is fatal.
    pub severity: Severity,
    /// Where.
    pub spot: Spot,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

#[derive(Debug)]
struct Source {
    name: String,
    text: String,
    /// Where relative paths in it begin; absolute. `None`: nowhere.
    directory: Option<PathBuf>,
    lines: OnceCell<Vec<usize>>,
}

impl Source {
    /// The offsets at which lines begin, found once: a file may have as many problems as lines.
    fn lines(&self) -> &[usize] {
        self.lines
            .get_or_init(|| std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// One-based line and column (in characters) of a byte offset.
    fn locate(&self, offset: usize) -> (usize, usize) {
        let lines = self.lines();
        let line = lines.partition_point(|start| *start <= offset).max(1);
        let start = lines[line - 1];
        let column = self.text.get(start..offset.min(self.text.len())).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }

    fn line(&self, line: usize) -> &str {
        let rest = self.lines().get(line - 1).and_then(|start| self.text.get(*start..)).unwrap_or_default();
        rest.lines().next().unwrap_or_default()
    }
}

/// Files that were read, and what was found wrong with them.
#[derive(Debug, Default)]
pub struct Report {
    sources: Vec<Source>,
    problems: RefCell<Vec<Problem>>,
    concealed: RefCell<Vec<Spot>>,
    errors: Cell<usize>,
    warnings: Cell<usize>,
    /// Warnings are not noted now.
    mute: Cell<bool>,
    /// What `~` stands for.
    home: Option<PathBuf>,
}

/// Why a text leads to no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPath {
    /// The end of a sentence.
    pub problem: &'static str,
    /// What to do about it.
    pub help: &'static str,
}

impl Report {
    /// A report without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; `name` is what messages call it.
    pub fn add_source(&mut self, name: impl Into<String>, text: impl Into<String>) -> SourceId {
        self.add(name.into(), text.into(), None)
    }

    /// Adds a file whose relative paths begin in `directory`, which is absolute.
    pub fn add_file(&mut self, name: impl Into<String>, text: impl Into<String>, directory: &Path) -> SourceId {
        self.add(name.into(), text.into(), Some(directory.to_owned()))
    }

    fn add(&mut self, name: String, text: String, directory: Option<PathBuf>) -> SourceId {
        let id = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        self.sources.push(Source { name, text, directory, lines: OnceCell::new() });
        id
    }

    /// Sets what `~` stands for.
    pub fn set_home(&mut self, home: Option<PathBuf>) {
        self.home = home;
    }

    /// What `~` stands for.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// Where the relative paths of a file begin.
    pub fn directory(&self, source: SourceId) -> Option<&Path> {
        self.sources[source.0 as usize].directory.as_deref()
    }

    /// The absolute path that `text` means where it stands: relative to the file, `~` for the home directory.
    pub fn path(&self, spot: Spot, text: &str) -> Result<PathBuf, NoPath> {
        let no = |problem, help| Err(NoPath { problem, help });
        if text.chars().any(char::is_control) {
            return no("holds a control character", "remove it");
        }
        if text.is_empty() {
            return no("is empty", "name a file");
        }
        match (text.strip_prefix('~'), &self.home, self.directory(spot.source())) {
            (None, _, _) if text.starts_with('/') => Ok(PathBuf::from(text)),
            (Some(rest), Some(home), _) if rest.is_empty() || rest.starts_with('/') => {
                Ok(home.join(rest.trim_start_matches('/')))
            }
            (Some(rest), _, _) if !rest.is_empty() && !rest.starts_with('/') => {
                no("names the home of another user", "write the absolute path")
            }
            (Some(_), _, _) => no("begins with `~`, and $HOME is not set", "write the absolute path"),
            (None, _, Some(directory)) => {
                let text = text.trim_start_matches("./");
                if text.is_empty() { no("is a directory", "name a file in it") } else { Ok(directory.join(text)) }
            }
            (None, _, None) => no("is not absolute", "begin it with \"/\""),
        }
    }

    /// Every file.
    pub fn sources(&self) -> impl Iterator<Item = SourceId> {
        (0..self.sources.len()).filter_map(|number| u32::try_from(number).ok().map(SourceId))
    }

    /// The text of a file.
    pub fn text(&self, source: SourceId) -> &str {
        &self.sources[source.0 as usize].text
    }

    /// The name of a file.
    pub fn name(&self, source: SourceId) -> &str {
        &self.sources[source.0 as usize].name
    }

    /// Notes that the inventory cannot be used.
    pub fn error(&self, spot: Spot, message: impl Into<String>) {
        self.note(Severity::Error, spot, &message.into(), None);
    }

    /// Notes that the inventory cannot be used, and the remedy.
    pub fn error_with_help(&self, spot: Spot, message: impl Into<String>, help: impl Into<String>) {
        self.note(Severity::Error, spot, &message.into(), Some(&help.into()));
    }

    /// Hides what stands at `spot` from now on: a problem may be about a secret that somebody wrote into a file, and
    /// its line must not carry the secret on into a log.
    pub fn conceal(&self, spot: Spot) {
        self.concealed.borrow_mut().push(spot);
    }

    /// Notes something that will work, but probably not as meant.
    pub fn warning(&self, spot: Spot, message: impl Into<String>, help: impl Into<String>) {
        if !self.mute.get() {
            self.warnings.set(self.warnings.get() + 1);
            self.note(Severity::Warning, spot, &message.into(), Some(&help.into()));
        }
    }

    /// Does `work`, whose warnings are not noted where they are told already.
    pub fn without_warnings<T>(&self, told: bool, work: impl FnOnce() -> T) -> T {
        let before = self.mute.replace(told);
        let result = work();
        self.mute.set(before);
        result
    }

    fn note(&self, severity: Severity, spot: Spot, message: &str, help: Option<&str>) {
        // Keys and values are quoted as they were written, control characters and all.
        let (message, help) = (one_line(message, LONGEST), help.map(|help| one_line(help, LONGEST)));
        self.errors.set(self.errors.get() + usize::from(severity == Severity::Error));
        self.problems.borrow_mut().push(Problem { severity, spot, message, help });
    }

    /// Every problem, in the order of files and lines.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.borrow().clone();
        problems.sort_by_key(|problem| problem.spot);
        problems
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.errors.get()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.warnings.get()
    }

    /// `file:line:column` of a place.
    pub fn place(&self, spot: Spot) -> String {
        let source = &self.sources[spot.source.0 as usize];
        let (line, column) = source.locate(spot.start());
        format!("{}:{line}:{column}", source.name)
    }

    /// One problem on one line, for logs: `file:line:column: sentence (remedy)`.
    pub fn line(&self, problem: &Problem) -> String {
        let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{}: {}{help}", self.place(problem.spot), problem.message)
    }

    /// Every problem with its source line underlined, for a terminal.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for problem in self.problems() {
            self.render_one(&mut out, &problem);
        }
        out
    }

    /// The source line of `spot` with what is concealed replaced by as many stars, so that columns stay, and the number
    /// of characters before `spot`. Of a long line only what is near is shown: it may be the whole file.
    fn shown(&self, spot: Spot, line: usize) -> (String, usize) {
        let source = &self.sources[spot.source.0 as usize];
        let start = source.lines().get(line - 1).copied().unwrap_or_default();
        let text = source.line(line);
        let mut at = spot.start().saturating_sub(start).min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let from = text[..at].char_indices().rev().take(BEFORE).last().map_or(at, |(from, _)| from);
        let to = text[at..].char_indices().nth(AFTER).map_or(text.len(), |(more, _)| at + more);
        let concealed = self.concealed.borrow();
        let near = |hidden: &&Spot| hidden.source == spot.source && hidden.start() < start + to;
        let near: Vec<_> = concealed.iter().filter(near).filter(|hidden| hidden.end as usize > start + from).collect();
        let hidden = |at: usize| near.iter().any(|spot| (spot.start as usize..spot.end as usize).contains(&at));
        let stars = |(at, c)| if c != '\t' && hidden(start + from + at) { '*' } else { c };
        let cut = |more: bool| if more { "…" } else { "" };
        let shown: String = text[from..to].char_indices().map(stars).collect();
        let before = text[from..at].chars().count() + usize::from(from > 0);
        (format!("{}{shown}{}", cut(from > 0), cut(to < text.len())), before)
    }

    fn render_one(&self, out: &mut String, problem: &Problem) {
        let source = &self.sources[problem.spot.source.0 as usize];
        let (line, _) = source.locate(problem.spot.start());
        let (text, before) = self.shown(problem.spot, line);
        let kind = if problem.severity == Severity::Error { "error" } else { "warning" };
        let gutter = line.to_string().len();
        let width = problem.spot.end.saturating_sub(problem.spot.start) as usize;
        let rest = text.chars().count().saturating_sub(before).max(1);
        // A tab before the place is repeated under it, so that the marks stand below the value in any tab width.
        let indent: String = text.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}: {kind}: {}", self.place(problem.spot), problem.message);
        let _ = writeln!(out, "{:gutter$} |", "");
        let _ = writeln!(out, "{line} | {text}");
        let _ = writeln!(out, "{:gutter$} | {indent}{}", "", "^".repeat(width.clamp(1, rest)));
        if let Some(help) = &problem.help {
            let _ = writeln!(out, "{:gutter$} = help: {help}", "");
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_underlined_where_it_stands() {
        let mut report = Report::new();
        let source = report.add_source("a.toml", "x = 1\n\tgräce = \"1h\"\n");
        let at = report.text(source).find("gräce").unwrap();
        report.error_with_help(
            Spot::new(source, at..at + "gräce".len()),
            "unknown key `gräce`",
            "did you mean `grace`?",
        );
        assert_eq!(
            report.render(),
            "a.toml:2:2: error: unknown key `gräce`\n  |\n2 | \tgräce = \"1h\"\n  | \t^^^^^^\n  = help: did you mean `grace`?\n\n"
        );
    }

    #[test]
    fn of_a_long_line_only_what_is_near_is_shown() {
        let mut report = Report::new();
        let source = report.add_source("a.toml", format!("{}é{}", "a".repeat(5000), "b".repeat(5000)));
        report.error(Spot::new(source, 5000..5002), "one\n\x1b[31mtwo");
        let (a, b) = ("a".repeat(BEFORE), "b".repeat(AFTER - 1));
        let marks = format!("{}^^", " ".repeat(BEFORE + 1));
        let wanted = format!("a.toml:1:5001: error: one [31mtwo\n  |\n1 | …{a}é{b}…\n  | {marks}\n\n");
        assert_eq!(report.render(), wanted);
    }

    #[test]
    fn what_is_concealed_is_not_printed_by_any_problem_of_its_line() {
        let mut report = Report::new();
        let source = report.add_source("a.toml", "a = \"hunter2\", b = 1\n");
        report.conceal(Spot::new(source, 4..13));
        report.error(Spot::new(source, 15..16), "unknown key `b`");
        let shown = report.render();
        assert!(shown.contains("1 | a = *********, b = 1\n"), "{shown}");
    }

    #[test]
    fn the_end_of_a_file_has_a_place() {
        let mut report = Report::new();
        let source = report.add_source("a.toml", "x = 1");
        assert_eq!(report.place(Spot::new(source, 5..5)), "a.toml:1:6");
    }
}
