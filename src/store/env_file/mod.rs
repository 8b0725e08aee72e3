//! Editing one key of an env file, for one kind of reader, leaving every other byte as it is.
//!
//! There is no format "env file": each reader has rules of its own for quotes, comments, line ends and expansion. So
//! each dialect is read by its reader's rules, and where those readers disagree about where a value ends, the file
//! is refused instead of guessed at. The same goes for values: what a reader would change is refused, never mangled.
//!
//! Pure: bytes in, bytes out.

mod docker;
mod dotenv;
mod encoding;
mod shell;
mod systemd;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

pub use self::encoding::encode;
use crate::inventory::Dialect;

/// Text that may hold secrets.
pub type Text = Zeroizing<Vec<u8>>;

/// Why a file cannot be edited safely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// Says what is wrong and what helps; quotes nothing from the file but names.
    pub what: String,
}

impl Problem {
    pub(in crate::store) fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// What a file says about a key.
pub enum Read {
    /// Nothing.
    Missing,
    /// This value.
    Value(Text),
    /// Something, but readers differ about what, or it depends on their environment.
    Disputed,
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "Missing",
            Self::Value(_) => "Value(***)",
            Self::Disputed => "Disputed",
        })
    }
}

/// One place where a file names the key.
struct Entry {
    /// Of the name.
    at: usize,
    /// What is replaced when the value changes.
    span: Range<usize>,
    /// False for a name that stands alone.
    equals: bool,
    /// A comment inside `span`, which stays.
    comment: Option<Range<usize>>,
    /// What the reader makes of the value; `None` where that depends on more than the file.
    value: Option<Text>,
}

/// The document with `key` set to `value`: the value's place is rewritten, or a line is added at the end.
pub fn set(document: &[u8], key: &str, value: &str, dialect: Dialect) -> Result<Text, Problem> {
    let encoded = encode(value, dialect).map_err(|what| Problem::new(1, what))?;
    let mut edited = Zeroizing::new(Vec::with_capacity(document.len() + key.len() + encoded.len() + 8));
    if let Some(entry) = find(document, key, dialect)? {
        edited.extend_from_slice(&document[..entry.span.start]);
        if !entry.equals {
            edited.push(b'=');
        }
        edited.extend_from_slice(encoded.as_bytes());
        if let Some(comment) = &entry.comment {
            edited.push(b' ');
            edited.extend_from_slice(&document[comment.clone()]);
        }
        edited.extend_from_slice(&document[entry.span.end..]);
    } else {
        let line_end = line_end(document, dialect);
        edited.extend_from_slice(document);
        if document.last().is_some_and(|last| *last != b'\n') {
            edited.extend_from_slice(line_end);
        }
        for part in [key.as_bytes(), b"=", encoded.as_bytes(), line_end] {
            edited.extend_from_slice(part);
        }
    }
    // The reader has the last word: what it would not read back is not written.
    match get(&edited, key, dialect) {
        Ok(Read::Value(read)) if *read == *value.as_bytes() => Ok(edited),
        // A line that was to be added is none that anybody can look at.
        Err(problem) => Err(Problem { line: problem.line.min(line_of(document, document.len())), ..problem }),
        Ok(_) => Err(Problem::new(1, format!("{} would not read {key} back as it was written", reader(dialect)))),
    }
}

/// The document without the line that sets `key`.
pub fn remove(document: &[u8], key: &str, dialect: Dialect) -> Result<Text, Problem> {
    let Some(entry) = find(document, key, dialect)? else { return Ok(Zeroizing::new(document.to_vec())) };
    let mark = if document.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let start = document[..entry.at].iter().rposition(|byte| *byte == b'\n').map_or(mark, |at| at + 1);
    let rest = &document[entry.span.end..];
    let end = rest.iter().position(|byte| *byte == b'\n').map_or(document.len(), |at| entry.span.end + at + 1);
    let (before, after) = (document[start..entry.at].trim_ascii(), document[entry.span.end..end].trim_ascii());
    if !matches!(before, b"" | b"export") || !(after.is_empty() || after.starts_with(b"#")) {
        return Err(Problem::new(line_of(document, entry.at), format!("{key} has company in its line")));
    }
    let edited = Zeroizing::new([&document[..start], &document[end..]].concat());
    // The reader has the last word here, too.
    match find(&edited, key, dialect)? {
        None => Ok(edited),
        Some(other) => Err(Problem::new(line_of(&edited, other.at), format!("{key} would be there still"))),
    }
}

/// What the reader makes of `key`.
pub fn get(document: &[u8], key: &str, dialect: Dialect) -> Result<Read, Problem> {
    Ok(match find(document, key, dialect)?.filter(|entry| entry.equals) {
        None => Read::Missing,
        Some(Entry { value: Some(value), .. }) => Read::Value(value),
        Some(Entry { value: None, .. }) => Read::Disputed,
    })
}

/// Whether `key` is a name that every reader takes.
pub fn is_key(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The reader of a dialect, as the subject of a sentence.
pub fn reader(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Systemd => "systemd",
        Dialect::Docker => "docker",
        Dialect::Dotenv => "a dotenv reader",
        Dialect::PosixSh => "a POSIX shell",
    }
}

/// Collects the places that name one key; of other variables only the extent is of interest.
struct Search<'a> {
    key: &'a [u8],
    found: Vec<Entry>,
}

impl Search<'_> {
    /// Whether this variable is to be kept. A third place would say no more than the second.
    fn wants(&self, key: &[u8]) -> bool {
        key == self.key && self.found.len() < 2
    }
}

/// The one place in the whole document, all of which must make sense, that names the key.
fn find(document: &[u8], key: &str, dialect: Dialect) -> Result<Option<Entry>, Problem> {
    if let Some(at) = document.iter().position(|byte| *byte == 0) {
        return Err(Problem::new(line_of(document, at), "it contains a NUL byte, so it is no env file"));
    }
    let mut search = Search { key: key.as_bytes(), found: Vec::new() };
    match dialect {
        Dialect::Systemd => systemd::scan(document, &mut search),
        Dialect::Docker => docker::scan(document, &mut search),
        Dialect::Dotenv => dotenv::scan(document, &mut search),
        Dialect::PosixSh => shell::scan(document, &mut search),
    }?;
    let mut found = search.found.into_iter();
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => {
            let other = line_of(document, first.at);
            let what =
                format!("{key} stands on line {other} already, and readers differ about which counts: remove one");
            Err(Problem::new(line_of(document, second.at), what))
        }
        (first, _) => Ok(first),
    }
}

/// The line end that the document uses. A shell takes a carriage return for a part of the line, which only its comments
/// may have.
fn line_end(document: &[u8], dialect: Dialect) -> &'static [u8] {
    match document.iter().position(|byte| *byte == b'\n').filter(|_| dialect != Dialect::PosixSh) {
        Some(at) if at > 0 && document[at - 1] == b'\r' => b"\r\n",
        _ => b"\n",
    }
}

/// The number of the line that `at` stands on, counted from 1.
fn line_of(document: &[u8], at: usize) -> usize {
    1 + document[..at].split(|byte| *byte == b'\n').skip(1).count()
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
