//! systemd's `EnvironmentFile=`, after the state machine in systemd's `src/basic/env-file.c`.

use zeroize::Zeroizing;

use super::{Entry, Problem, Text, line_of};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeKey,
    Key,
    BeforeValue,
    Value,
    Escape,
    SingleQuote,
    DoubleQuote,
    DoubleQuoteEscape,
    Comment,
    CommentEscape,
}

/// The variable that is being read.
struct Open {
    key_at: usize,
    key: Vec<u8>,
    value_at: usize,
    value: Text,
    /// Length of the value without the blanks at its end.
    trimmed: usize,
}

pub(super) fn parse(document: &[u8]) -> Result<Vec<Entry>, Problem> {
    let mut entries = Vec::new();
    let mut state = State::BeforeKey;
    let mut open = Open { key_at: 0, key: Vec::new(), value_at: 0, value: Text::default(), trimmed: 0 };
    for (at, &byte) in document.iter().enumerate() {
        let newline = matches!(byte, b'\n' | b'\r');
        let blank = newline || matches!(byte, b' ' | b'\t');
        state = match state {
            State::BeforeKey if matches!(byte, b'#' | b';') => State::Comment,
            State::BeforeKey if blank => State::BeforeKey,
            State::BeforeKey => {
                // One buffer of the right size from the start: one that grows leaves copies behind.
                let value = Zeroizing::new(Vec::with_capacity(document.len() - at));
                open = Open { key_at: at, key: vec![byte], value_at: at, value, trimmed: 0 };
                State::Key
            }
            // A line without "=" sets nothing.
            State::Key if newline => State::BeforeKey,
            State::Key if byte == b'=' => {
                open.value_at = at + 1;
                State::BeforeValue
            }
            State::Key => {
                open.key.push(byte);
                State::Key
            }
            State::BeforeValue | State::Value if newline => {
                if state == State::Value {
                    open.value.truncate(open.trimmed);
                }
                entries.push(close(&open, document, at)?);
                State::BeforeKey
            }
            State::BeforeValue if byte == b'\'' => State::SingleQuote,
            State::BeforeValue if byte == b'"' => State::DoubleQuote,
            State::BeforeValue | State::Value if byte == b'\\' => {
                open.trimmed = open.value.len();
                State::Escape
            }
            State::BeforeValue if blank => State::BeforeValue,
            State::BeforeValue | State::Value => {
                open.value.push(byte);
                if !blank {
                    open.trimmed = open.value.len();
                }
                State::Value
            }
            State::Escape => {
                if !newline {
                    open.value.push(byte);
                }
                open.trimmed = open.value.len();
                State::Value
            }
            State::SingleQuote if byte == b'\'' => State::BeforeValue,
            State::DoubleQuote if byte == b'"' => State::BeforeValue,
            State::DoubleQuote if byte == b'\\' => State::DoubleQuoteEscape,
            State::SingleQuote | State::DoubleQuote => {
                open.value.push(byte);
                state
            }
            State::DoubleQuoteEscape => {
                match byte {
                    b'"' | b'\\' | b'`' | b'$' => open.value.push(byte),
                    b'\n' => {}
                    _ => open.value.extend([b'\\', byte]),
                }
                State::DoubleQuote
            }
            State::Comment if byte == b'\\' => State::CommentEscape,
            State::CommentEscape if newline => return Err(continued(line_of(document, at))),
            State::Comment | State::CommentEscape if newline => State::BeforeKey,
            State::Comment | State::CommentEscape => State::Comment,
        };
    }
    let line = line_of(document, open.key_at);
    match state {
        State::BeforeKey | State::Key | State::Comment => {}
        State::BeforeValue | State::Value => {
            if state == State::Value {
                open.value.truncate(open.trimmed);
            }
            entries.push(close(&open, document, document.len())?);
        }
        State::CommentEscape => return Err(continued(line_of(document, document.len()))),
        State::Escape => return Err(Problem::new(line, "the \\ at the end of the file would take in another line")),
        State::SingleQuote | State::DoubleQuote | State::DoubleQuoteEscape => {
            return Err(Problem::new(line, "the value's quotes are not closed"));
        }
    }
    Ok(entries)
}

fn close(open: &Open, document: &[u8], end: usize) -> Result<Entry, Problem> {
    let line = line_of(document, open.key_at);
    if str::from_utf8(&open.key).is_err() || str::from_utf8(&open.value).is_err() {
        return Err(Problem::new(line, "systemd wants UTF-8"));
    }
    Ok(Entry {
        key: open.key.trim_ascii_end().to_vec(),
        line,
        span: open.value_at..end,
        equals: true,
        comment: None,
        value: Some(open.value.clone()),
    })
}

fn continued(line: usize) -> Problem {
    Problem::new(
        line,
        "systemd before version 254 takes the line after a comment that ends in \\ for a comment too: remove the \\",
    )
}
