//! systemd's `EnvironmentFile=`, after the state machine in systemd's `src/basic/env-file.c`.

use super::{Entry, Problem, Search, Text, line_of};

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
#[derive(Default)]
struct Open {
    key_at: usize,
    value_at: usize,
    /// Whether it is the one that is searched for; the others' values are not kept.
    wanted: bool,
    value: Text,
    /// Length of the value without the blanks at its end.
    trimmed: usize,
}

impl Open {
    fn push(&mut self, bytes: &[u8]) {
        if self.wanted {
            self.value.extend_from_slice(bytes);
        }
    }

    fn close(&mut self, document: &[u8], end: usize, search: &mut Search<'_>) -> Result<(), Problem> {
        if str::from_utf8(&document[self.key_at..end]).is_err() {
            return Err(Problem::new(line_of(document, self.key_at), "systemd wants UTF-8"));
        }
        if self.wanted {
            let value = Some(std::mem::take(&mut self.value));
            search.found.push(Entry { at: self.key_at, span: self.value_at..end, equals: true, comment: None, value });
        }
        Ok(())
    }
}

pub(super) fn scan(document: &[u8], search: &mut Search<'_>) -> Result<(), Problem> {
    let mut state = State::BeforeKey;
    let mut open = Open::default();
    for (at, &byte) in document.iter().enumerate() {
        let newline = matches!(byte, b'\n' | b'\r');
        let blank = newline || matches!(byte, b' ' | b'\t');
        state = match state {
            State::BeforeKey if matches!(byte, b'#' | b';') => State::Comment,
            State::BeforeKey if blank => State::BeforeKey,
            State::BeforeKey => {
                open = Open { key_at: at, ..Open::default() };
                State::Key
            }
            // A line without "=" sets nothing.
            State::Key if newline => State::BeforeKey,
            State::Key if byte == b'=' => {
                open.value_at = at + 1;
                open.wanted = search.wants(document[open.key_at..at].trim_ascii_end());
                if open.wanted {
                    // Room for all of it at once: a buffer that grows leaves copies behind.
                    open.value.reserve_exact(document.len() - at);
                }
                State::BeforeValue
            }
            State::Key => State::Key,
            State::BeforeValue | State::Value if newline => {
                if state == State::Value {
                    open.value.truncate(open.trimmed);
                }
                open.close(document, at, search)?;
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
                open.push(&[byte]);
                if !blank {
                    open.trimmed = open.value.len();
                }
                State::Value
            }
            State::Escape => {
                if !newline {
                    open.push(&[byte]);
                }
                open.trimmed = open.value.len();
                State::Value
            }
            State::SingleQuote if byte == b'\'' => State::BeforeValue,
            State::DoubleQuote if byte == b'"' => State::BeforeValue,
            State::DoubleQuote if byte == b'\\' => State::DoubleQuoteEscape,
            State::SingleQuote | State::DoubleQuote => {
                open.push(&[byte]);
                state
            }
            State::DoubleQuoteEscape => {
                match byte {
                    b'"' | b'\\' | b'`' | b'$' => open.push(&[byte]),
                    b'\n' => {}
                    _ => open.push(&[b'\\', byte]),
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
            open.close(document, document.len(), search)?;
        }
        State::CommentEscape => return Err(continued(line_of(document, document.len()))),
        State::Escape => return Err(Problem::new(line, "the \\ at the end of the file would take in another line")),
        State::SingleQuote | State::DoubleQuote | State::DoubleQuoteEscape => {
            return Err(Problem::new(line, "the value's quotes are not closed"));
        }
    }
    Ok(())
}

fn continued(line: usize) -> Problem {
    Problem::new(
        line,
        "systemd before version 254 takes the line after a comment that ends in \\ for a comment too: remove the \\",
    )
}
