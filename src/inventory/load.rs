//! Reads an inventory from disk: the main file, what it includes, and what its meaning depends on.
//!
//! This is the shell around [`resolve`](super::resolve). It never fails: what is wrong stands in the report, and there
//! is no inventory where the report holds an error.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use toml::Spanned;
use toml::de::DeTable;

use crate::clock::Time;
use crate::definition::Definitions;
use crate::document::{Located, Reader, Report, SourceId, Spot};
use crate::files::{self, LARGEST_DOCUMENT, ReadError};
use crate::trust::{TlsPolicy, TrustError, TrustRoots};

use super::environment::Environment;
use super::owners::Owners;
use super::resolve::{Surroundings, resolve, resolve_settings};
use super::spec::{DaemonSpec, Spec, each};
use super::{DaemonSettings, Inventory};

/// What was read.
#[derive(Debug)]
pub struct Loaded {
    /// `None` where the report holds an error.
    pub inventory: Option<Inventory>,
    /// What `[daemon]` says, as far as the files can be read, also where the inventory is invalid: a daemon goes on with
    /// its last valid one, and whoever asks it has to find it.
    pub settings: Option<DaemonSettings>,
    /// Everything that is wrong, with its place.
    pub report: Report,
    /// Every provider definition, built-in or the operator's own.
    pub definitions: Definitions,
    /// Every file that was read or should have been there: a change of one is a change of the inventory.
    pub files: Vec<PathBuf>,
    /// Directories in which a new file may belong to the inventory.
    pub directories: Vec<PathBuf>,
}

/// Loads the inventory whose main file is `path`. Cron expressions must fire after `now`.
pub fn load(path: &Path, environment: &Environment, now: Time) -> Loaded {
    load_as(path, None, environment, now)
}

/// The inventory as it would be with `text` in `file`, which belongs to it, as messages call it.
pub fn load_edited(path: &Path, file: &Path, text: &str, environment: &Environment, now: Time) -> Loaded {
    load_as(path, Some((file, text)), environment, now)
}

/// The inventory as it would be with `text` in its main file at `path`, which need not be there.
pub fn load_text(path: &Path, text: &str, environment: &Environment, now: Time) -> Loaded {
    load_as(path, Some((path, text)), environment, now)
}

fn load_as(path: &Path, text: Option<(&Path, &str)>, environment: &Environment, now: Time) -> Loaded {
    // Many accounts name the same file.
    let read = RefCell::new(BTreeMap::new());
    load_with(Gathered::new(path, text, environment), environment, now, &|policy| {
        let read_it = || TrustRoots::read(policy).map(drop);
        read.borrow_mut().entry(policy.clone()).or_insert_with(read_it).clone()
    })
}

fn load_with(
    gathered: Gathered,
    environment: &Environment,
    now: Time,
    roots: &dyn Fn(&TlsPolicy) -> Result<(), TrustError>,
) -> Loaded {
    let Gathered { mut report, sources, files, directories, providers, .. } = gathered;
    // With a file missing, names that it would have defined would be reported as unknown: that helps nobody.
    let complete = report.errors() == 0;
    let definitions = Definitions::load(providers.as_deref(), &mut report);
    let owners = Owners::of_machine();
    let (user, group) = (|name: &str| owners.user(name), |name: &str| owners.group(name));
    let around = |main: SourceId| Surroundings {
        main: Spot::top(main),
        now,
        state_dir: environment.state_dir.as_deref(),
        state_dir_named: environment.state_dir_named,
        first_process: environment.first_process,
        runtime_dir: environment.runtime_dir.as_deref(),
        providers: providers.as_deref(),
        definitions: &definitions,
        user: &user,
        group: &group,
        roots,
        is_file: &|path| files::within(path, |path| Ok(path.is_file())).unwrap_or_default(),
        user_services: environment.user_services,
        host: environment.host.as_deref(),
        files: &files,
    };
    // A main file that could not be read has no source, and nothing was read besides.
    let inventory = sources.first().and_then(|main| interpret(&report, &sources, complete, &around(*main)));
    let settings = match &inventory {
        Some(inventory) => Some(inventory.daemon.clone()),
        None => salvage(&report, &sources, around),
    };
    Loaded { inventory, settings, report, definitions, files, directories }
}

/// What `[daemon]` says in the files of an invalid inventory. What is wrong with it stands in `told` already.
fn salvage<'a>(
    told: &Report,
    sources: &[SourceId],
    around: impl Fn(SourceId) -> Surroundings<'a>,
) -> Option<DaemonSettings> {
    let mut report = Report::new();
    let main = report.add_source("", "");
    report.set_home(told.home().map(Path::to_owned));
    let copy = |report: &mut Report, source: &SourceId| match told.directory(*source) {
        Some(directory) => report.add_file("", told.text(*source), directory),
        None => report.add_source("", told.text(*source)),
    };
    let copies: Vec<_> = sources.iter().map(|source| copy(&mut report, source)).collect();
    let spec = copies.iter().find_map(|copy| {
        let (table, _) = DeTable::parse_recoverable(report.text(*copy));
        DaemonSpec::decode(&Reader::new(&report, *copy, &table, "the inventory"))
    });
    resolve_settings(spec.as_ref(), &around(main), &report)
}

/// What `text` means as the only file of an inventory, and what is wrong with it.
#[cfg(any(test, feature = "fuzzing"))]
pub fn interpret_text(text: &str, definitions: &Definitions, now: Time) -> (Option<Inventory>, Report) {
    let mut report = Report::new();
    let source = report.add_source("patrold.toml", text);
    let around = Surroundings {
        main: Spot::top(source),
        now,
        state_dir: Some(Path::new("/var/lib/patrold")),
        state_dir_named: true,
        first_process: false,
        runtime_dir: Some(Path::new("/run/patrold")),
        providers: None,
        definitions,
        user: &|_| Some(1000),
        group: &|_| Some(1000),
        roots: &|_| Ok(()),
        is_file: &|_| false,
        user_services: false,
        host: Some("web-1"),
        files: &[],
    };
    let inventory = interpret(&report, &[source], true, &around);
    (inventory, report)
}

/// Parses the sources of `report` and resolves what they say.
fn interpret(report: &Report, sources: &[SourceId], complete: bool, around: &Surroundings<'_>) -> Option<Inventory> {
    let mut sound = complete;
    let texts: Vec<&str> = sources.iter().map(|source| report.text(*source)).collect();
    let tables: Vec<_> = sources
        .iter()
        .zip(parse_all(&texts))
        .map(|(source, (mut table, errors))| {
            if errors.is_empty() {
                each::spread(table.get_mut(), *source, report);
            }
            for error in &errors {
                let spot = error.span().map_or(Spot::top(*source), |span| Spot::new(*source, span));
                report.error(spot, format!("not TOML: {}", error.message()));
            }
            (*source, table, errors.is_empty())
        })
        .collect();
    let mut spec = Spec::default();
    for (source, table, parsed) in &tables {
        // What the parser saved from a broken file would be blamed for what it lost.
        if *parsed {
            spec.decode(Reader::new(report, *source, table, "the inventory"));
        } else {
            sound = false;
        }
    }
    if sound { resolve(spec, around, report) } else { None }
}

/// What the parser makes of one file.
type Parsed<'t> = (Spanned<DeTable<'t>>, Vec<toml::de::Error>);

/// Parses files, several at once where there is much to parse.
fn parse_all<'t>(texts: &[&'t str]) -> Vec<Parsed<'t>> {
    /// Less is parsed before a thread has started.
    const MUCH: usize = 256 * 1024;
    let threads = thread::available_parallelism().map_or(1, usize::from).min(texts.len());
    if threads < 2 || texts.iter().map(|text| text.len()).sum::<usize>() < MUCH {
        return texts.iter().map(|text| DeTable::parse_recoverable(text)).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mine = std::iter::from_fn(|| {
            let at = next.fetch_add(1, Ordering::Relaxed);
            Some((at, DeTable::parse_recoverable(texts.get(at)?)))
        });
        mine.collect::<Vec<_>>()
    };
    let mut parsed: Vec<_> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut parsed = work();
        for other in others {
            // A parser that panics does so here as well.
            parsed.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        parsed
    });
    parsed.sort_unstable_by_key(|(at, _)| *at);
    parsed.into_iter().map(|(_, parsed)| parsed).collect()
}

/// The files of an inventory, read but not interpreted.
#[derive(Default)]
struct Gathered {
    report: Report,
    sources: Vec<SourceId>,
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    /// `[daemon] providers`, made absolute. Definitions are needed before anything is interpreted.
    providers: Option<PathBuf>,
    /// Files by their real path: one that is included twice is read once.
    seen: HashSet<PathBuf>,
}

impl Gathered {
    /// `edited`: a file, and the text that stands for its content.
    fn new(main: &Path, edited: Option<(&Path, &str)>, environment: &Environment) -> Self {
        let mut gathered = Self::default();
        gathered.report.set_home(environment.home.clone());
        // Depth first, in the order in which files are named. A list instead of recursion: chains may be long.
        let mut waiting = vec![(main.to_owned(), None)];
        while let Some((path, named_at)) = waiting.pop() {
            let given = edited.filter(|(file, _)| *file == path).map(|(_, text)| text);
            let included = gathered.read(&path, given, named_at);
            waiting.extend(included.into_iter().rev().map(|(path, spot)| (path, Some(spot))));
        }
        gathered.directories.extend(gathered.providers.clone());
        gathered.directories.sort();
        gathered.directories.dedup();
        gathered
    }

    /// Reads one file, named at a place of another one; returns what it includes.
    fn read(&mut self, path: &Path, given: Option<&str>, named_at: Option<Spot>) -> Vec<(PathBuf, Spot)> {
        let real = files::within(path, |path| Ok(fs::canonicalize(path)?));
        if !self.seen.insert(real.unwrap_or_else(|_| path.to_owned())) {
            return Vec::new();
        }
        self.files.push(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let name = path.display().to_string();
        match given.map_or_else(|| read_text(path), |text| Ok(text.to_owned())) {
            Ok(text) => {
                let base = path.parent().unwrap_or(Path::new(""));
                let directory = if base.as_os_str().is_empty() { Path::new(".") } else { base };
                let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
                let source = self.report.add_file(name, text, &directory);
                self.sources.push(source);
                self.look_ahead(source, base)
            }
            Err(problem) => {
                let spot = named_at.unwrap_or_else(|| Spot::top(self.report.add_source(&name, "")));
                self.report.error_with_help(spot, format!("{name} {}", problem.message), problem.help);
                Vec::new()
            }
        }
    }

    /// What must be known of a file before any is interpreted: its includes and the directory of definitions.
    fn look_ahead(&mut self, source: SourceId, base: &Path) -> Vec<(PathBuf, Spot)> {
        let text = self.report.text(source);
        // A file of a hundred thousand tokens is not parsed twice for nothing.
        if !text.contains("include") && !text.contains("providers") {
            return Vec::new();
        }
        let (table, _) = DeTable::parse_recoverable(text);
        let daemon = table.get_ref().get("daemon").and_then(|daemon| daemon.get_ref().as_table());
        let providers = daemon.and_then(|daemon| daemon.get("providers")).and_then(|found| found.get_ref().as_str());
        let home = |rest: &str| Some(self.report.home()?.join(rest));
        let providers = providers.map(|directory| {
            let at_home = directory.strip_prefix("~/").and_then(home);
            at_home.unwrap_or_else(|| base.join(directory))
        });
        // Reported here and nowhere else: interpreting takes the key without looking.
        let patterns = Reader::new(&self.report, source, &table, "the inventory").strings("include");
        if let Some(directory) = providers.filter(|_| self.providers.is_none()) {
            self.providers = Some(std::path::absolute(&directory).unwrap_or(directory));
        }
        let patterns = patterns.map(|patterns| patterns.value).unwrap_or_default();
        patterns.iter().flat_map(|pattern| self.expand(pattern, base)).collect()
    }

    /// The files that `pattern` stands for, in alphabetical order.
    fn expand(&mut self, pattern: &Located<String>, base: &Path) -> Vec<(PathBuf, Spot)> {
        // As shells do it; editors and Kubernetes keep files beside the real ones whose names begin with a dot.
        const OPTIONS: glob::MatchOptions = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        if !pattern.value.contains(['*', '?', '[']) {
            return vec![(base.join(&pattern.value), pattern.spot)];
        }
        let escaped = glob::Pattern::escape(&base.to_string_lossy());
        let full = Path::new(&escaped).join(&pattern.value).to_string_lossy().into_owned();
        if let Err(error) = glob::Pattern::new(&full) {
            self.report.error(pattern.spot, format!("`include` holds a pattern that is none: {error}"));
            return Vec::new();
        }
        let fixed = fixed_part(base, &pattern.value);
        let wild = pattern.value.clone();
        let listed = files::within(&fixed, move |_| {
            let paths = glob::glob_with(&full, OPTIONS).into_iter().flatten();
            let paths: Vec<_> = paths.filter(|path| !path.as_ref().is_ok_and(|path| path.is_dir())).collect();
            Ok((paths, matched_directories(Path::new(&escaped), &wild, OPTIONS)))
        });
        self.directories.push(fixed);
        let report = &self.report;
        let (paths, directories) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                let message = format!("`include`: the directory of {:?} {error}", pattern.value);
                report.error_with_help(pattern.spot, message, error.remedy());
                return Vec::new();
            }
        };
        self.directories.extend(directories);
        let mut found = Vec::new();
        for path in paths {
            match path {
                Ok(path) => found.push((path, pattern.spot)),
                Err(error) => report.error(pattern.spot, format!("`include`: {error}")),
            }
        }
        found
    }
}

/// The directory before the first wildcard of `pattern`.
fn fixed_part(base: &Path, pattern: &str) -> PathBuf {
    let fixed: PathBuf = Path::new(pattern)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
        .collect();
    let directory = base.join(fixed);
    std::path::absolute(&directory).unwrap_or(directory)
}

/// The directories that stand now for the parts of `pattern` with wildcards, its last part aside: a file that appears
/// in one of them may belong to the inventory.
fn matched_directories(base: &Path, pattern: &str, options: glob::MatchOptions) -> Vec<PathBuf> {
    let parts: Vec<_> = Path::new(pattern).components().collect();
    let wild = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let Some(first) = parts.iter().position(wild) else { return Vec::new() };
    let prefixes = (first + 1..parts.len()).map(|length| parts[..length].iter().collect::<PathBuf>());
    prefixes
        .filter_map(|prefix| glob::glob_with(&base.join(prefix).to_string_lossy(), options).ok())
        .flat_map(|paths| paths.filter_map(Result::ok))
        .filter(|path| path.is_dir())
        .map(|path| std::path::absolute(&path).unwrap_or(path))
        .collect()
}

/// Why a file's text is not there.
struct ReadProblem {
    message: String,
    help: &'static str,
}

fn read_text(path: &Path) -> Result<String, ReadProblem> {
    let content = files::read(path, LARGEST_DOCUMENT).map_err(|error| ReadProblem {
        help: match &error {
            ReadError::Kind("a directory") => "name a file, or write a pattern such as \"tokens.d/*.toml\"",
            error => error.remedy(),
        },
        message: error.to_string(),
    })?;
    match std::str::from_utf8(&content) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(ReadProblem { message: "is not UTF-8 text".to_owned(), help: "save it as UTF-8" }),
    }
}

#[cfg(test)]
mod tests;
