//! What the dotenv readers have in common: compose, godotenv, Node, Python and Ruby.
//!
//! They agree on assignments, comments and blank lines, and on where a value ends as long as no escaped quote is in
//! sight. Everything else is refused, with the line.

use zeroize::Zeroizing;

use super::{BYTE_ORDER_MARK, Entry, Problem, Search, line_of};

pub(super) fn scan(document: &[u8], search: &mut Search<'_>) -> Result<(), Problem> {
    let text = str::from_utf8(document)
        .map_err(|error| Problem::new(line_of(document, error.valid_up_to()), "dotenv readers want UTF-8"))?;
    let strange = |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{b}' | '\u{c}');
    if let Some(at) = text.find(strange) {
        return Err(Problem::new(
            line_of(document, at),
            "it contains a character that some readers take for a line end",
        ));
    }
    if let Some(at) = text.match_indices('\r').map(|(at, _)| at).find(|at| !text[*at..].starts_with("\r\n")) {
        return Err(Problem::new(line_of(document, at), "it contains a carriage return that ends no line"));
    }
    let mut reader = Reader { text, at: 0 };
    if document.starts_with(BYTE_ORDER_MARK) {
        reader.at = BYTE_ORDER_MARK.len();
    }
    while reader.at < text.len() {
        let at = reader.at;
        reader.line(search).map_err(|what| Problem::new(line_of(document, at), what))?;
    }
    Ok(())
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads to the end of a line, or of the line that a quoted value ends on.
    fn line(&mut self, search: &mut Search<'_>) -> Result<(), &'static str> {
        self.blanks();
        if matches!(self.peek(), None | Some('#' | '\r' | '\n')) {
            self.next_line();
            return Ok(());
        }
        let exported = self.rest().strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
        if exported.is_some() {
            self.at += "export".len();
            self.blanks();
        }
        let key_at = self.at;
        self.skip(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        let key = &self.text[key_at..self.at];
        if key.is_empty() {
            return Err("it is neither KEY=value nor a comment, and dotenv readers differ about it");
        }
        if key_at == BYTE_ORDER_MARK.len() && self.text.starts_with('\u{feff}') {
            return Err("some dotenv readers take the byte order mark for a part of the first name: remove it");
        }
        let key_end = self.at;
        self.blanks();
        match self.peek() {
            Some('=') => self.at += 1,
            // A name that stands alone: some readers take its value from their environment.
            None | Some('\r' | '\n') => {
                self.next_line();
                if search.wants(key.as_bytes()) {
                    let span = key_end..key_end;
                    search.found.push(Entry { at: key_at, span, equals: false, comment: None, value: None });
                }
                return Ok(());
            }
            Some(_) => return Err("it is neither KEY=value nor a comment, and dotenv readers differ about it"),
        }
        let blanks_at = self.at;
        self.blanks();
        let start = self.at;
        // What no reader changes, by the form that the value stands in.
        let (value, disputed): (_, &[char]) = match self.peek() {
            Some(quote @ ('\'' | '"')) => {
                let value = self.quoted(quote)?;
                if quote == '"' { (value, &['\\', '$', '`', '\r']) } else { (value, &['\r']) }
            }
            _ => (self.unquoted(blanks_at), &['\\', '$', '`', '#', '\'', '"']),
        };
        let value_end = self.at;
        self.blanks();
        let comment_at = self.at;
        self.skip(|c| !matches!(c, '\r' | '\n'));
        let comment = (comment_at < self.at).then_some(comment_at..self.at);
        if comment.is_some() && !self.text[comment_at..].starts_with('#') {
            return Err("something other than a comment follows the value's closing quote");
        }
        if self.text[start..].starts_with('`') && value.matches('`').count() < 2 {
            return Err("Node takes the backquote for the beginning of a value of several lines: quote it");
        }
        let end = if comment.is_some() { self.at } else { value_end };
        if search.wants(key.as_bytes()) {
            let agreed = !value.contains(disputed) && !value.contains("${") && !value.contains("\\\\");
            let value = agreed.then(|| Zeroizing::new(value.as_bytes().to_vec()));
            search.found.push(Entry { at: key_at, span: start..end, equals: true, comment, value });
        }
        self.next_line();
        Ok(())
    }

    /// A value between quotes, on one line or several.
    fn quoted(&mut self, quote: char) -> Result<&'a str, &'static str> {
        let start = self.at + 1;
        let Some(length) = self.text[start..].find(quote) else {
            return Err("the value's quotes are not closed");
        };
        let inner = &self.text[start..start + length];
        if !inner.ends_with('\\') {
            self.at = start + length + 1;
            return Ok(inner);
        }
        if quote == '\'' {
            return Err("dotenv readers differ about \\' in single quotes");
        }
        self.escaped(start)
    }

    /// A value between double quotes that holds escaped ones.
    fn escaped(&mut self, start: usize) -> Result<&'a str, &'static str> {
        let mut backslashes = 0;
        for (at, byte) in self.text.bytes().enumerate().skip(start) {
            match byte {
                b'\\' => backslashes += 1,
                b'"' if backslashes == 0 => {
                    self.at = at + 1;
                    return Ok(&self.text[start..at]);
                }
                b'"' if backslashes > 1 => return Err("dotenv readers differ about \\\\ before a double quote"),
                _ => backslashes = 0,
            }
        }
        Err("the value's quotes are not closed")
    }

    /// A value without quotes: to the end of the line or a comment, which needs a blank before it. `from` is where a
    /// blank before the value begins.
    fn unquoted(&mut self, from: usize) -> &'a str {
        let start = self.at;
        self.skip(|c| !matches!(c, '\r' | '\n'));
        let line = &self.text[from..self.at];
        let end =
            [line.find(" #"), line.find("\t#")].into_iter().flatten().min().map_or(self.at, |at| from + at).max(start);
        let value = self.text[start..end].trim_end_matches([' ', '\t']);
        self.at = start + value.len();
        &self.text[start..start + value.len()]
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn blanks(&mut self) {
        self.skip(|c| matches!(c, ' ' | '\t'));
    }

    fn next_line(&mut self) {
        self.at += self.rest().find('\n').map_or(self.rest().len(), |at| at + 1);
    }
}
