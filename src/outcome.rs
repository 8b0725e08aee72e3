//! The answer to "did it happen?", which is all that a caller of the outside world needs to know to go on safely.

mod code;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Time;

pub use self::code::FailureCode;

/// What became of one effect on the outside world.
#[derive(Clone, Debug)]
#[must_use = "an outcome decides what may be done next"]
pub enum Outcome<T> {
    /// It happened.
    Done(T),
    /// It certainly did not happen; the same thing may be tried again, not before the given time.
    Later { not_before: Option<Time>, failure: Failure },
    /// It certainly did not happen, and asking again for the same thing will be refused again.
    Refused(Failure),
    /// It may have happened: look before anything else is done.
    Unknown(Failure),
}

impl<T> Outcome<T> {
    /// It did not happen, and may be tried again at once.
    pub fn later(failure: Failure) -> Self {
        Self::Later { not_before: None, failure }
    }

    /// The same outcome around another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Done(value) => Outcome::Done(f(value)),
            Self::Later { not_before, failure } => Outcome::Later { not_before, failure },
            Self::Refused(failure) => Outcome::Refused(failure),
            Self::Unknown(failure) => Outcome::Unknown(failure),
        }
    }

    /// The value, where it happened; the failure otherwise.
    pub fn into_result(self) -> Result<T, Failure> {
        match self {
            Self::Done(value) => Ok(value),
            Self::Later { failure, .. } | Self::Refused(failure) | Self::Unknown(failure) => Err(failure),
        }
    }
}

/// What an effect answers with, as far as it has words from outside.
pub trait Told {
    /// The failure within, although the effect happened.
    fn rejection(&mut self) -> Option<&mut Failure> {
        None
    }
}

impl Told for () {}
impl Told for bool {}

impl<T: Told> Told for Option<T> {
    fn rejection(&mut self) -> Option<&mut Failure> {
        self.as_mut()?.rejection()
    }
}

impl<T: Told> Outcome<T> {
    /// The failure with words of whoever was asked, where there is one.
    pub fn words(&mut self) -> Option<&mut Failure> {
        match self {
            Self::Done(value) => value.rejection(),
            Self::Later { failure, .. } | Self::Refused(failure) | Self::Unknown(failure) => Some(failure),
        }
    }
}

/// Why something failed: a stable code for machines and one line for people. Stored state.
///
/// The detail never holds a secret: what a provider says passes through the redactor before it gets here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of failure.
    pub code: FailureCode,
    /// One line, at most 500 characters, without control characters.
    pub detail: String,
    /// The request that it came of, under the id that the provider's log has it.
    #[serde(rename = "request-id", default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Failure {
    /// A failure with its detail, cut to one bounded line.
    pub fn new(code: FailureCode, detail: impl Into<String>) -> Self {
        Self { code, detail: one_line(&detail.into(), 500), request_id: None }
    }

    /// The same failure with another detail.
    #[must_use]
    pub fn reworded(&self, detail: impl Into<String>) -> Self {
        Self { request_id: self.request_id.clone(), ..Self::new(self.code, detail) }
    }

    /// The same of a secret that is not the account's credential.
    #[must_use]
    pub fn of_secret(self) -> Self {
        let code = if self.code == FailureCode::Unauthorized { FailureCode::SecretRefused } else { self.code };
        Self { code, ..self }
    }

    /// All of it in words, with the id of the request.
    pub fn in_full(&self) -> String {
        with_request(&self.to_string(), self.request_id.as_deref())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            f.write_str(self.code.sentence())
        } else {
            write!(f, "{}: {}", self.code.sentence(), self.detail)
        }
    }
}

impl std::error::Error for Failure {}

/// `message` with the id of the request that it is about.
pub fn with_request(message: &str, id: Option<&str>) -> String {
    match id {
        Some(id) => format!("{message} (request {id})"),
        None => message.to_owned(),
    }
}

/// `text` as one line of at most `limit` characters; control characters become blanks.
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit * 4));
    let mut length = 0;
    for c in text.chars() {
        let c = if c.is_control() || c.is_whitespace() { ' ' } else { c };
        if c == ' ' && (line.is_empty() || line.ends_with(' ')) {
            continue;
        }
        if length == limit {
            line.push('…');
            break;
        }
        line.push(c);
        length += 1;
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_bounded_line() {
        let failure = Failure::new(FailureCode::Rejected, format!("first\r\n\tsecond\u{1b}[31m {}", "x".repeat(9999)));
        assert!(failure.detail.starts_with("first second [31m xxx"), "{}", &failure.detail[..40]);
        assert!(failure.detail.chars().count() <= 501);
    }

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = FailureCode::ALL.iter().map(|code| code.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), FailureCode::ALL.len());
    }
}
