//! `set -a; . FILE` in a POSIX shell, as far as a file of assignments goes.
//!
//! A shell reads a programming language. What is edited here is the part of it that such files are made of:
//! assignments, `export`, comments, `set -a`. Anything else is refused with its line, since a text that merely looks
//! like an assignment (in a here-document, in a function) must not be edited.

use zeroize::Zeroizing;

use super::{BYTE_ORDER_MARK, Entry, Problem, Search, Text, line_of};

pub(super) fn scan(document: &[u8], search: &mut Search<'_>) -> Result<(), Problem> {
    if document.starts_with(BYTE_ORDER_MARK) {
        return Err(Problem::new(1, "a shell takes the byte order mark for a part of the first word: remove it"));
    }
    let mut reader = Reader { document, at: 0 };
    while reader.at < document.len() {
        let at = reader.at;
        reader.statement(search).map_err(|what| Problem::new(line_of(document, at), what))?;
    }
    Ok(())
}

struct Reader<'a> {
    document: &'a [u8],
    at: usize,
}

const NOT_AN_ASSIGNMENT: &str = "only lines like KEY=value and export KEY=value can be edited safely: keep tokens in a file of their own and source it";

impl Reader<'_> {
    /// Reads to the end of a line, or of the line that a quoted value ends on.
    fn statement(&mut self, search: &mut Search<'_>) -> Result<(), &'static str> {
        self.blanks();
        for fixed in ["set -a", "set +a"] {
            if self.rest().starts_with(fixed.as_bytes()) {
                self.at += fixed.len();
                return self.end();
            }
        }
        let exported =
            self.rest().strip_prefix(b"export").is_some_and(|rest| rest.starts_with(b" ") || rest.starts_with(b"\t"));
        if exported {
            self.at += "export".len();
            self.blanks();
        }
        let key_at = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
        let key = &self.document[key_at..self.at];
        if key.is_empty() {
            return if exported { Err(NOT_AN_ASSIGNMENT) } else { self.end() };
        }
        if key[0].is_ascii_digit() {
            return Err(NOT_AN_ASSIGNMENT);
        }
        if self.peek() != Some(b'=') {
            // `export KEY` marks a variable that is set elsewhere.
            return if exported { self.end() } else { Err(NOT_AN_ASSIGNMENT) };
        }
        self.at += 1;
        let start = self.at;
        let wanted = search.wants(key);
        let value = self.word(wanted)?;
        if wanted {
            search.found.push(Entry { at: key_at, span: start..self.at, equals: true, comment: None, value });
        }
        self.end()
    }

    /// The rest of a line that holds nothing more.
    fn end(&mut self) -> Result<(), &'static str> {
        let blanks_at = self.at;
        self.blanks();
        let apart = self.at > blanks_at || blanks_at == 0 || self.document[blanks_at - 1] == b'\n';
        if self.peek() == Some(b'#') && apart {
            while self.peek().is_some_and(|byte| byte != b'\n') {
                self.at += 1;
            }
        }
        match self.peek() {
            None => Ok(()),
            Some(b'\n') => {
                self.at += 1;
                Ok(())
            }
            Some(b'\r') => {
                Err("a shell takes the carriage return for a part of the line: convert the file's line ends")
            }
            Some(_) => Err(NOT_AN_ASSIGNMENT),
        }
    }

    /// What a word stands for, where that does not depend on anything else.
    fn word(&mut self, wanted: bool) -> Result<Option<Text>, &'static str> {
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let room = if wanted { self.document.len() - self.at } else { 0 };
        let mut value = Zeroizing::new(Vec::with_capacity(room));
        let mut literal = true;
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => break,
                b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => return Err(NOT_AN_ASSIGNMENT),
                // At the beginning, and after a colon: a home directory.
                b'~' if self.at == start || self.document[self.at - 1] == b':' => {
                    literal = false;
                    self.at += 1;
                }
                b'\'' => self.single(&mut value)?,
                b'"' => literal &= self.double(&mut value)?,
                b'\\' => {
                    let escaped =
                        self.document.get(self.at + 1).ok_or("the \\ at the end of the file escapes nothing")?;
                    if *escaped != b'\n' {
                        value.push(*escaped);
                    }
                    self.at += 2;
                }
                b'$' | b'`' => {
                    literal = false;
                    self.expansion()?;
                }
                _ => {
                    value.push(byte);
                    self.at += 1;
                }
            }
        }
        Ok(literal.then_some(value))
    }

    fn single(&mut self, value: &mut Text) -> Result<(), &'static str> {
        let start = self.at + 1;
        let rest = &self.document[start..];
        let length = rest.iter().position(|byte| *byte == b'\'').ok_or("the value's quotes are not closed")?;
        value.extend_from_slice(&rest[..length]);
        self.at = start + length + 1;
        Ok(())
    }

    /// Whether all between the quotes stands for itself.
    fn double(&mut self, value: &mut Text) -> Result<bool, &'static str> {
        let mut literal = true;
        self.at += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(literal);
                }
                b'$' | b'`' => {
                    literal = false;
                    self.expansion()?;
                }
                b'\\' => {
                    match self.document.get(self.at + 1) {
                        Some(escaped @ (b'"' | b'\\' | b'$' | b'`')) => value.push(*escaped),
                        Some(b'\n') => {}
                        Some(other) => value.extend([b'\\', *other]),
                        None => break,
                    }
                    self.at += 2;
                }
                _ => {
                    value.push(byte);
                    self.at += 1;
                }
            }
        }
        Err("the value's quotes are not closed")
    }

    /// `$NAME`, `${…}`, `$(…)` or backquotes; those with something inside only where nothing in it could hide their end.
    fn expansion(&mut self) -> Result<(), &'static str> {
        let (skipped, close) = match (self.peek(), self.document.get(self.at + 1)) {
            (Some(b'`'), _) => (1, b'`'),
            (_, Some(b'{')) => (2, b'}'),
            (_, Some(b'(')) => (2, b')'),
            _ => {
                self.at += 1;
                return Ok(());
            }
        };
        self.at += skipped;
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == close {
                return Ok(());
            }
            if b"'\"\\$`(){}#\n".contains(&byte) {
                break;
            }
        }
        Err("the expansion in the value is too involved to be edited around: put it into another file")
    }

    fn rest(&self) -> &[u8] {
        &self.document[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.document.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }
}
