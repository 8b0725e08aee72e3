//! Java's `.properties`, as `java.util.Properties` loads them: ISO 8859-1 with escapes.

use std::fmt::Write as _;
use std::ops::Range;

use zeroize::Zeroizing;

use super::{Edit, Problem, Read, line_of};

/// One property.
struct Entry {
    key: String,
    value: Zeroizing<String>,
    /// Of the value, with the line ends within it.
    span: Range<usize>,
    /// Of its first line.
    at: usize,
    /// Whether anything stands between key and value.
    separated: bool,
}

pub(super) fn get(document: &[u8], key: &str) -> Result<Read, Problem> {
    Ok(find(document, key)?.map_or(Read::Missing, |entry| Read::Value(Zeroizing::new(entry.value.as_bytes().to_vec()))))
}

pub(super) fn edit(document: &[u8], key: &str, value: &str) -> Result<Edit, Problem> {
    let encoded = escaped(value, false);
    if let Some(entry) = find(document, key)? {
        let text = if entry.separated { encoded.as_str().to_owned() } else { format!("={}", encoded.as_str()) };
        return Ok(Edit::new(entry.span, text));
    }
    let end = document.len();
    let crlf = document.windows(2).any(|pair| pair == b"\r\n");
    let newline = if crlf { "\r\n" } else { "\n" };
    let before = if document.last().is_some_and(|last| !matches!(last, b'\n' | b'\r')) { newline } else { "" };
    Ok(Edit::new(end..end, format!("{before}{}={}{newline}", escaped(key, true).as_str(), encoded.as_str())))
}

/// The one entry of this key.
fn find(document: &[u8], key: &str) -> Result<Option<Entry>, Problem> {
    let mut entries = entries(document)?.into_iter().filter(|entry| entry.key == key);
    match (entries.next(), entries.next()) {
        (Some(first), Some(second)) => {
            let (line, other) = (line_of(document, second.at), line_of(document, first.at));
            Err(Problem::new(line, format!("{key} stands on line {other} already: remove one")))
        }
        (entry, _) => Ok(entry),
    }
}

fn entries(document: &[u8]) -> Result<Vec<Entry>, Problem> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < document.len() {
        at += blanks(&document[at..]);
        match document.get(at) {
            None => break,
            Some(b'\n' | b'\r') => at += 1,
            Some(b'#' | b'!') => at += line(&document[at..]),
            Some(_) => {
                let end = at + logical(&document[at..]);
                found.push(entry(document, at..end)?);
                at = end;
            }
        }
    }
    Ok(found)
}

/// How long the blanks at the beginning are.
fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\x0c')).count()
}

/// How long the line is, without its end.
fn line(text: &[u8]) -> usize {
    text.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(text.len())
}

/// How long the line is with those that continue it.
fn logical(text: &[u8]) -> usize {
    let mut end = 0;
    loop {
        end += line(&text[end..]);
        let continued = text[..end].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        if !continued || end >= text.len() {
            return end;
        }
        end += if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
    }
}

fn entry(document: &[u8], span: Range<usize>) -> Result<Entry, Problem> {
    let text = &document[span.clone()];
    let mut key_end = 0;
    while key_end < text.len() && !matches!(text[key_end], b'=' | b':' | b' ' | b'\t' | b'\x0c') {
        key_end += if text[key_end] == b'\\' { 2 } else { 1 };
    }
    let key_end = key_end.min(text.len());
    let mut value = key_end + blanks(&text[key_end..]);
    if matches!(text.get(value), Some(b'=' | b':')) {
        value += 1;
        value += blanks(&text[value..]);
    }
    let problem = || Problem::new(line_of(document, span.start), "an escape \\uXXXX is broken");
    Ok(Entry {
        key: unescaped(&text[..key_end]).ok_or_else(problem)?.as_str().to_owned(),
        value: unescaped(&text[value..]).ok_or_else(problem)?,
        span: span.start + value..span.end,
        at: span.start,
        separated: value > key_end,
    })
}

/// `None`: a broken `\uXXXX`.
fn unescaped(text: &[u8]) -> Option<Zeroizing<String>> {
    let mut units = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        at += 1;
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        let Some(escaped) = text.get(at).copied() else { break };
        at += 1;
        match escaped {
            b'u' => {
                let digits = str::from_utf8(text.get(at..at + 4)?).ok()?;
                units.push(u16::from_str_radix(digits, 16).ok()?);
                at += 4;
            }
            b'n' => units.push(0x0a),
            b'r' => units.push(0x0d),
            b't' => units.push(0x09),
            b'f' => units.push(0x0c),
            // A line that goes on: its end and the blanks after it are nothing.
            b'\r' | b'\n' => {
                at += usize::from(escaped == b'\r' && text.get(at) == Some(&b'\n'));
                at += blanks(&text[at..]);
            }
            other => units.push(u16::from(other)),
        }
    }
    String::from_utf16(&units).ok().map(Zeroizing::new)
}

/// As a reader takes it back; of a key, what would end it is escaped as well.
fn escaped(text: &str, key: bool) -> Zeroizing<String> {
    let mut escaped = Zeroizing::new(String::with_capacity(2 * text.len()));
    for (at, c) in text.char_indices() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\x0c' => escaped.push_str("\\f"),
            ' ' if at == 0 || key => escaped.push_str("\\ "),
            '=' | ':' | '#' | '!' if key => escaped.extend(['\\', c]),
            ' '..='~' => escaped.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(*escaped, "\\u{unit:04x}");
                }
            }
        }
    }
    escaped
}
