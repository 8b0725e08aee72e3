//! INI files of tools: sections of `key = value` lines, as Python's `configparser` reads them (`.pypirc`, `pip.conf`, AWS'
//! `credentials`), and as npm reads `.npmrc`.
//!
//! Values that one of the readers would change are refused: they stand on one line, and mean themselves.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{Edit, Problem, Read, line_of};
use crate::inventory::IniReader;

/// One `key = value`.
struct Entry {
    value: Range<usize>,
    /// Lines that continue it follow.
    continued: bool,
    at: usize,
}

/// Where a key is, or belongs.
enum Place {
    Entry(Entry),
    /// Behind the last line of its section.
    Section(usize),
    /// At the end, with its section.
    Nowhere,
}

/// Whether the reader would take the value for something else; in words that complete "STORE: …".
pub(super) fn check_value(value: &str, reader: IniReader) -> Result<(), String> {
    if value.chars().any(char::is_control) {
        return Err("the value has a line end or another control character, which a line cannot hold".to_owned());
    }
    if value.trim() != value {
        return Err("the value begins or ends with a blank, which its reader would take away".to_owned());
    }
    match reader {
        // Some readers of such files take a comment from there on.
        IniReader::Python if value.contains(" #") || value.contains(" ;") => {
            Err("the value has a blank before `#` or `;`, where some readers begin a comment".to_owned())
        }
        IniReader::Npm if value.contains("${") => Err("npm would replace `${…}` in the value".to_owned()),
        IniReader::Npm if value.starts_with(['"', '\'', '[']) || ["true", "false", "null"].contains(&value) => {
            Err("npm would not take the value for text".to_owned())
        }
        IniReader::Python | IniReader::Npm => Ok(()),
    }
}

pub(super) fn get(text: &str, section: Option<&str>, key: &str, reader: IniReader) -> Result<Read, Problem> {
    let Place::Entry(entry) = find(text, section, key, reader)? else { return Ok(Read::Missing) };
    let value = &text[entry.value.clone()];
    if entry.continued {
        return Ok(Read::Disputed);
    }
    Ok(match reader {
        IniReader::Python => super::found(value),
        IniReader::Npm => unescaped(value).map_or(Read::Disputed, |value| super::found(&value)),
    })
}

pub(super) fn edit(
    text: &str,
    section: Option<&str>,
    key: &str,
    value: &str,
    reader: IniReader,
) -> Result<Edit, Problem> {
    let encoded = match reader {
        IniReader::Python => Zeroizing::new(value.to_owned()),
        IniReader::Npm => escaped(value),
    };
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let line = match reader {
        IniReader::Python => format!("{key} = {}", encoded.as_str()),
        IniReader::Npm => format!("{key}={}", encoded.as_str()),
    };
    let before = |at: usize| if at == 0 || text[..at].ends_with('\n') { "" } else { newline };
    match find(text, section, key, reader)? {
        Place::Entry(entry) if entry.continued => {
            let why = format!("{key} goes on in the next line: write it in one line once");
            Err(Problem::new(line_of(text.as_bytes(), entry.at), why))
        }
        Place::Entry(entry) if entry.value.is_empty() && text[..entry.value.start].ends_with('=') => {
            let blank = if reader == IniReader::Python { " " } else { "" };
            Ok(Edit::new(entry.value, format!("{blank}{}", encoded.as_str())))
        }
        Place::Entry(entry) => Ok(Edit::new(entry.value, encoded.as_str())),
        Place::Section(at) => Ok(Edit::new(at..at, format!("{}{line}{newline}", before(at)))),
        Place::Nowhere => {
            let at = text.len();
            let head = section.map(|section| format!("[{section}]{newline}")).unwrap_or_default();
            let gap = if at > 0 && section.is_some() { newline } else { "" };
            Ok(Edit::new(at..at, format!("{}{gap}{head}{line}{newline}", before(at))))
        }
    }
}

/// The one place of a key.
fn find(text: &str, section: Option<&str>, key: &str, reader: IniReader) -> Result<Place, Problem> {
    let mut within = section.is_none();
    let mut place = if within { Place::Section(0) } else { Place::Nowhere };
    let mut found: Option<Entry> = None;
    let mut at = 0;
    // The last line was an entry that lines may continue: the one that is looked for, or another.
    let mut open: Option<bool> = None;
    for line in text.split_inclusive('\n') {
        let (start, bare) = (at, line.trim_end_matches(['\n', '\r']));
        at += line.len();
        let content = bare.trim();
        let number = || line_of(text.as_bytes(), start);
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        // Python's reader: a line that is indented continues the value before it.
        if let Some(ours) = open.filter(|_| reader == IniReader::Python && bare.starts_with([' ', '\t'])) {
            if let Some(entry) = found.as_mut().filter(|_| ours) {
                entry.continued = true;
            }
            if within {
                place = Place::Section(at);
            }
            continue;
        }
        if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name) {
            let name = if reader == IniReader::Npm { name.trim() } else { name };
            open = None;
            if section == Some(name) {
                if !matches!(place, Place::Nowhere) {
                    return Err(Problem::new(number(), format!("the section [{name}] is there twice: join them")));
                }
                within = true;
                place = Place::Section(at);
            } else {
                within = false;
            }
            continue;
        }
        // npm's keys begin with the address of a registry, which has a colon.
        let ends: &[char] = if reader == IniReader::Npm { &['='] } else { &['=', ':'] };
        let name_end = bare.find(ends);
        let name = bare[..name_end.unwrap_or(bare.len())].trim();
        // Python's reader does not tell upper from lower case.
        let same = if reader == IniReader::Python { name.eq_ignore_ascii_case(key) } else { name == key };
        open = Some(within && same);
        if !within {
            continue;
        }
        place = Place::Section(at);
        if !same {
            continue;
        }
        let Some(name_end) = name_end else {
            return Err(Problem::new(number(), format!("{key} has no `=`")));
        };
        if let Some(first) = &found {
            let other = line_of(text.as_bytes(), first.at);
            return Err(Problem::new(number(), format!("{key} stands on line {other} already: remove one")));
        }
        let value = bare[name_end + 1..].trim();
        let offset = bare[name_end + 1..].find(value).unwrap_or_default();
        let value_start = start + name_end + 1 + offset;
        found = Some(Entry { value: value_start..value_start + value.len(), continued: false, at: start });
    }
    Ok(found.map_or(place, Place::Entry))
}

/// As npm's `ini` takes it back.
fn escaped(value: &str) -> Zeroizing<String> {
    let mut escaped = Zeroizing::new(String::with_capacity(2 * value.len()));
    for c in value.chars() {
        if matches!(c, '\\' | ';' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// What npm makes of a value; `None`: it depends on more than the line.
fn unescaped(value: &str) -> Option<Zeroizing<String>> {
    if value.contains("${") || value.starts_with(['"', '\'']) {
        return None;
    }
    let mut plain = Zeroizing::new(String::with_capacity(value.len()));
    let mut escaping = false;
    for c in value.chars() {
        match c {
            _ if escaping => {
                if !matches!(c, '\\' | ';' | '#') {
                    plain.push('\\');
                }
                plain.push(c);
                escaping = false;
            }
            '\\' => escaping = true,
            // The rest is a comment.
            ';' | '#' => return Some(Zeroizing::new(plain.trim().to_owned())),
            c => plain.push(c),
        }
    }
    if escaping {
        plain.push('\\');
    }
    Some(plain)
}
