//! Strikes secrets out of text that came from outside: what a provider answers, what a hook or a command prints, what a
//! store says of its file.
//!
//! Law: such text is shown, logged and journaled only after it passed a redactor that knows every secret that this
//! process can open, in whatever usual form the text has it (`decode`). Of an answer that may carry a secret that is
//! not known yet, plain words are kept and nothing else ([`plain_words`]).

mod decode;
mod known;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::ready;
use std::ops::Range;
use std::sync::Arc;

use self::decode::View;
pub use self::known::Known;
use super::Secret;
use futures_util::future::BoxFuture;

/// Shorter secrets would be found by chance.
const SHORTEST: usize = 4;

/// Shorter lines of a secret are no secret by themselves.
const SHORTEST_LINE: usize = 8;

/// No more of a text is looked at, in bytes. Messages show a hundredth of it.
const MOST: usize = 32 * 1024;

/// What stands in the place of a secret.
const MARK: &str = "***";

/// The secrets that a process may come across. Asked only where there is text from outside: opening the secrets of many
/// tokens takes its time.
pub trait Secrets: fmt::Debug + Send + Sync {
    /// Strikes them out.
    fn redactor(&self) -> BoxFuture<'_, Arc<Redactor>>;
}

impl Secrets for Redactor {
    fn redactor(&self) -> BoxFuture<'_, Arc<Redactor>> {
        Box::pin(ready(Arc::new(self.clone())))
    }
}

/// Secrets, and how they are struck out of messages.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// What all redactors of the process know; shared, since it may be a great deal.
    shared: Arc<Known>,
    /// What this one knows besides.
    own: Known,
}

impl Redactor {
    /// One that strikes out what `shared` knows.
    pub fn of(shared: Arc<Known>) -> Self {
        Self { shared, own: Known::default() }
    }

    /// Strikes `secret` out from now on, and each of its lines.
    pub fn add(&mut self, secret: &Secret) {
        self.own.add(secret);
    }

    /// `text` with every known secret replaced by `***`, whatever form it has. Of a very long text, its beginning.
    pub fn clean(&self, text: &str) -> String {
        let text = beginning(text);
        if self.shared.is_empty() && self.own.is_empty() {
            return text.to_owned();
        }
        let mut hits = Vec::new();
        decode::visit(text.as_bytes(), |view: &View| {
            self.shared.find(view, &mut hits);
            self.own.find(view, &mut hits);
        });
        strike(text, hits)
    }
}

/// As much of `text` as is looked at. It ends with a whole word: half a secret would not be recognised as one.
fn beginning(text: &str) -> &str {
    if text.len() <= MOST {
        return text;
    }
    let end = (0..=MOST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let end = text[..end].rfind(char::is_whitespace).unwrap_or_default();
    &text[..end]
}

/// `text` with the mark in the place of each of `hits`; those that touch are one.
fn strike(text: &str, mut hits: Vec<Range<usize>>) -> String {
    hits.sort_unstable_by_key(|hit| (hit.start, hit.end));
    let mut clean = String::with_capacity(text.len());
    let mut kept = 0;
    let mut hits = hits.into_iter().peekable();
    while let Some(mut hit) = hits.next() {
        while let Some(next) = hits.next_if(|next| next.start <= hit.end) {
            hit.end = hit.end.max(next.end);
        }
        let start = (0..=hit.start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        let end = (hit.end..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        clean.push_str(&text[kept.min(start)..start]);
        clean.push_str(MARK);
        kept = end;
    }
    clean.push_str(&text[kept..]);
    clean
}

/// `text` with the mark in the place of everything that could be a secret which nobody knows yet: what is neither a plain
/// word or number nor part of what was `sent`.
pub fn plain_words(text: &str, sent: &[String]) -> String {
    let ends = |c: char| c.is_whitespace() || "\"'`,;()[]{}<>|\\".contains(c);
    let mut clean = String::with_capacity(text.len());
    for part in beginning(text).split_inclusive(ends) {
        let word = part.trim_end_matches(ends);
        let bare = word.trim_matches(|c: char| c.is_ascii_punctuation());
        let plain = bare.len() < SHORTEST_LINE
            || sent.iter().any(|sent| sent.contains(bare))
            || bare.len() <= LONGEST_WORDS && bare.split(|c: char| !c.is_alphanumeric()).all(is_plain);
        clean.push_str(if plain { word } else { MARK });
        clean.push_str(&part[word.len()..]);
    }
    clean
}

/// The longest name of several words, such as `user_does_not_have_permission`.
const LONGEST_WORDS: usize = 60;

/// Whether it is a word in one of the usual cases, several in camel case, a short number, or the code of an error. What
/// somebody drew at random mixes them.
fn is_plain(word: &str) -> bool {
    const LONGEST_WORD: usize = 18;
    const LONGEST_NUMBER: usize = 6;
    const SHORTEST_HUMP: usize = 3;
    let mut rest = word.chars();
    let Some(first) = rest.next() else { return true };
    if first.is_numeric() {
        return word.len() <= LONGEST_NUMBER && rest.all(char::is_numeric);
    }
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = word.len() - letters.len();
    if number > 0 {
        // AADSTS7000215
        return number <= LONGEST_NUMBER + 2 && letters.len() <= 8 && letters.chars().all(|c| c.is_ascii_uppercase());
    }
    if !word.chars().all(char::is_alphabetic) {
        return false;
    }
    let one_case = rest.clone().all(char::is_lowercase) || word.chars().all(char::is_uppercase);
    // Scripts without cases are words of people.
    let caseless = word.chars().all(|c| !c.is_ascii());
    if one_case || caseless {
        return word.chars().count() <= LONGEST_WORD;
    }
    let mut hump = 0;
    let humps = word.chars().all(|c| {
        let begins = c.is_uppercase();
        let fits = !begins || hump == 0 || hump >= SHORTEST_HUMP;
        hump = if begins { 1 } else { hump + 1 };
        fits && hump <= LONGEST_WORD
    });
    humps && hump >= SHORTEST_HUMP
}
