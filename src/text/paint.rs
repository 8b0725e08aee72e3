//! Colour, or none.

use std::borrow::Cow;

/// Whether text is coloured. Meaning never depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    /// ANSI escape sequences.
    Colours,
}

impl Paint {
    /// An error.
    pub fn red(self, text: &str) -> Cow<'_, str> {
        self.sgr("1;31", text)
    }

    /// A warning.
    pub fn yellow(self, text: &str) -> Cow<'_, str> {
        self.sgr("1;33", text)
    }

    /// A remedy.
    pub fn cyan(self, text: &str) -> Cow<'_, str> {
        self.sgr("36", text)
    }

    /// A heading.
    pub fn bold(self, text: &str) -> Cow<'_, str> {
        self.sgr("1", text)
    }

    /// What can be skipped.
    pub fn dim(self, text: &str) -> Cow<'_, str> {
        self.sgr("2", text)
    }

    /// `text` in the rendition of ECMA-48's SGR parameters `codes`.
    fn sgr<'t>(self, codes: &str, text: &'t str) -> Cow<'t, str> {
        match self {
            Self::Plain => Cow::Borrowed(text),
            Self::Colours => Cow::Owned(format!("\u{1b}[{codes}m{text}\u{1b}[0m")),
        }
    }
}
