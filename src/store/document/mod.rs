//! Editing one value of a structured document, leaving every other byte as it is.
//!
//! Each syntax finds the place of a value, and says what a missing one needs; the edit itself is one replacement of bytes.
//! What its reader would not read back as written, or reads otherwise anywhere else, is refused instead of written.
//!
//! Pure: bytes in, bytes out.

mod credentials;
mod ini;
mod json;
mod netrc;
pub(in crate::store) mod percent;
mod properties;
#[cfg(test)]
mod tests;
mod toml;
mod xml;
mod yaml;

use std::fmt::Write as _;
use std::ops::Range;

use zeroize::Zeroizing;

use super::env_file::{Problem, Read, Text};
use crate::inventory::{CredentialAddress, IniReader, Pointer, Syntax, XmlPath};

/// One replacement.
#[derive(Debug)]
struct Edit {
    span: Range<usize>,
    /// What stands there afterwards; holds the secret.
    text: Zeroizing<String>,
}

impl Edit {
    fn new(span: Range<usize>, text: impl Into<String>) -> Self {
        Self { span, text: Zeroizing::new(text.into()) }
    }

    fn apply(&self, document: &[u8]) -> Text {
        let mut edited = Zeroizing::new(Vec::with_capacity(document.len() + self.text.len()));
        edited.extend_from_slice(&document[..self.span.start]);
        edited.extend_from_slice(self.text.as_bytes());
        edited.extend_from_slice(&document[self.span.end..]);
        edited
    }
}

/// What is at `pointer`.
pub fn get(document: &[u8], syntax: Syntax, pointer: &Pointer) -> Result<Read, Problem> {
    match syntax {
        Syntax::Json => json::get(text(document)?, pointer),
        Syntax::Yaml => yaml::get(text(document)?, pointer),
        Syntax::Toml => toml::get(text(document)?, pointer),
    }
}

/// The document with `value` at `pointer`.
pub fn set(document: &[u8], syntax: Syntax, pointer: &Pointer, value: &str) -> Result<Text, Problem> {
    if matches!(get(document, syntax, pointer)?, Read::Value(found) if *found == *value.as_bytes()) {
        return Ok(Zeroizing::new(document.to_vec()));
    }
    let text = text(document)?;
    let edited = match syntax {
        Syntax::Json => json::edit(text, pointer, value)?.apply(document),
        Syntax::Yaml => {
            let edited = yaml::edit(text, pointer, value)?.apply(document);
            yaml::check(text, str::from_utf8(&edited).unwrap_or_default(), pointer)?;
            edited
        }
        Syntax::Toml => toml::set(text, pointer, value)?,
    };
    confirmed(edited, |edited| get(edited, syntax, pointer), value)
}

/// The document without what is at `pointer`. A table that has nothing else stays, and is empty.
pub fn remove(document: &[u8], syntax: Syntax, pointer: &Pointer) -> Result<Text, Problem> {
    let text = text(document)?;
    let edited = match syntax {
        Syntax::Json => json::cut(text, pointer)?.apply(document),
        Syntax::Yaml => yaml::cut(text, pointer)?.apply(document),
        Syntax::Toml => toml::cut(text, pointer)?,
    };
    let after = str::from_utf8(&edited).unwrap_or_default();
    let alone = match syntax {
        Syntax::Json => json::is_cut(text, after, pointer)?,
        Syntax::Yaml => yaml::is_cut(text, after, pointer)?,
        Syntax::Toml => toml::is_cut(text, after, pointer)?,
    };
    if alone { Ok(edited) } else { Err(entangled(pointer)) }
}

/// What cannot be taken out of a document by itself.
fn entangled(pointer: &Pointer) -> Problem {
    Problem::new(1, format!("{pointer} cannot be taken out without changing something else"))
}

/// An item of a list: the others would move up.
fn listed(pointer: &Pointer) -> Problem {
    Problem::new(1, format!("{pointer} is an item of a list, whose others would move up"))
}

/// What the property `key` of a Java properties file holds.
pub fn get_property(document: &[u8], key: &str) -> Result<Read, Problem> {
    properties::get(document, key)
}

/// The properties file with `key` set to `value`.
pub fn set_property(document: &[u8], key: &str, value: &str) -> Result<Text, Problem> {
    if matches!(get_property(document, key)?, Read::Value(found) if *found == *value.as_bytes()) {
        return Ok(Zeroizing::new(document.to_vec()));
    }
    let edited = properties::edit(document, key, value)?.apply(document);
    confirmed(edited, |edited| get_property(edited, key), value)
}

/// What `key` of a section of an INI file holds.
pub fn get_ini(document: &[u8], section: Option<&str>, key: &str, reader: IniReader) -> Result<Read, Problem> {
    ini::get(text(document)?, section, key, reader)
}

/// The INI file with `key` of a section set to `value`.
pub fn set_ini(
    document: &[u8],
    section: Option<&str>,
    key: &str,
    value: &str,
    reader: IniReader,
) -> Result<Text, Problem> {
    let read = |document: &[u8]| get_ini(document, section, key, reader);
    edited(document, read, value, |text| ini::edit(text, section, key, value, reader))
}

/// Whether an INI file can hold the value.
pub fn check_ini_value(value: &str, reader: IniReader) -> Result<(), String> {
    ini::check_value(value, reader)
}

/// The password of a machine and a user in a netrc file.
pub fn get_netrc(document: &[u8], machine: &str, login: &str) -> Result<Read, Problem> {
    netrc::get(text(document)?, machine, login)
}

/// The netrc file with another password.
pub fn set_netrc(document: &[u8], machine: &str, login: &str, value: &str) -> Result<Text, Problem> {
    let read = |document: &[u8]| get_netrc(document, machine, login);
    edited(document, read, value, |text| netrc::edit(text, machine, login, value))
}

/// Whether netrc can hold the value.
pub fn check_netrc_value(value: &str) -> Result<(), String> {
    netrc::check_value(value)
}

/// The secret of an address in git's credential store.
pub fn get_credential(document: &[u8], address: &CredentialAddress) -> Result<Read, Problem> {
    credentials::get(text(document)?, address)
}

/// The credential store with another secret.
pub fn set_credential(document: &[u8], address: &CredentialAddress, value: &str) -> Result<Text, Problem> {
    let read = |document: &[u8]| get_credential(document, address);
    edited(document, read, value, |text| credentials::edit(text, address, value))
}

/// The text of an element of an XML document.
pub fn get_xml(document: &[u8], path: &XmlPath) -> Result<Read, Problem> {
    xml::get(text(document)?, path)
}

/// The XML document with another text in an element.
pub fn set_xml(document: &[u8], path: &XmlPath, value: &str) -> Result<Text, Problem> {
    edited(document, |document| get_xml(document, path), value, |text| xml::edit(text, path, value))
}

/// Whether XML can hold the value.
pub fn check_xml_value(value: &str) -> Result<(), String> {
    xml::check_value(value)
}

/// The document after one edit, unless it holds the value already.
fn edited(
    document: &[u8],
    read: impl Fn(&[u8]) -> Result<Read, Problem>,
    value: &str,
    edit: impl FnOnce(&str) -> Result<Edit, Problem>,
) -> Result<Text, Problem> {
    if matches!(read(document)?, Read::Value(found) if *found == *value.as_bytes()) {
        return Ok(Zeroizing::new(document.to_vec()));
    }
    let edited = edit(text(document)?)?.apply(document);
    confirmed(edited, read, value)
}

/// The reader has the last word: what it would not read back is not written.
fn confirmed(edited: Text, read: impl FnOnce(&[u8]) -> Result<Read, Problem>, value: &str) -> Result<Text, Problem> {
    match read(&edited)? {
        Read::Value(found) if *found == *value.as_bytes() => Ok(edited),
        _ => Err(Problem::new(1, "its reader would not read the value back as it was written")),
    }
}

fn text(document: &[u8]) -> Result<&str, Problem> {
    str::from_utf8(document).map_err(|error| {
        let line = line_of(document, error.valid_up_to());
        Problem::new(line, "it is not UTF-8")
    })
}

/// The number of the line that `at` stands on, counted from 1.
fn line_of(document: &[u8], at: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &document[..at.min(document.len())]).count()
}

fn found(value: &str) -> Read {
    Read::Value(Zeroizing::new(value.as_bytes().to_vec()))
}

/// What stands where a value is to be has parts of its own.
fn compound(document: &str, at: usize, pointer: &Pointer) -> Problem {
    Problem::new(line_of(document.as_bytes(), at), format!("{pointer} is a table or a list, which is not replaced"))
}

/// Text within double quotes, as JSON and YAML both read it.
fn quoted(text: &str) -> Zeroizing<String> {
    let mut quoted = Zeroizing::new(String::with_capacity(text.len() + 2));
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                // All of them are in the basic plane.
                // Writing to a String cannot fail.
                let _ = write!(*quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
