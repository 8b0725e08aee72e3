//! How the consumers of a token are told of a new secret.

use std::time::Duration;

use crate::names::{HookKey, hex};

/// One hook of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookPolicy {
    /// Of the kind: hooks of one key share runs, whichever token they belong to.
    pub key: HookKey,
    pub kind: HookKind,
    pub timeout: Duration,
    pub on_failure: OnFailure,
}

impl HookPolicy {
    /// Program and arguments of what is started on this machine; `None` where nothing is.
    pub fn command(&self) -> Option<&[String]> {
        match &self.kind {
            HookKind::Run(run) => Some(&run.argv),
        }
    }
}

/// The kinds of hooks, each with all that a run needs. Closed, so that an unhandled kind does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// A program is run.
    Run(RunPolicy),
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPolicy {
    /// Program and arguments, never through a shell.
    pub argv: Vec<String>,
    /// Names of the daemon's environment variables that it may see.
    pub pass_env: Vec<String>,
}

impl HookKind {
    /// What is affected, in one line: the command as people would type it.
    pub fn key(&self) -> HookKey {
        let text = match self {
            Self::Run(run) => typed(&run.argv),
        };
        shortened(text).parse().expect("not empty, at most 1000 bytes, and Debug escapes control characters")
    }
}

/// The command as people would type it, with words quoted that need it.
fn typed(argv: &[String]) -> String {
    let plain = |word: &String| {
        !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\'))
    };
    let words: Vec<String> =
        argv.iter().map(|word| if plain(word) { word.clone() } else { format!("{word:?}") }).collect();
    words.join(" ")
}

/// A very long text by its beginning and digest.
fn shortened(text: String) -> String {
    const LONGEST: usize = 1000;
    if text.len() <= LONGEST {
        return text;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let start: String = text.chars().take(60).collect();
    format!("{start}… {}", hex(digest.as_ref()))
}

/// What becomes of a rotation whose hook does not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Keep trying; the old generation is not revoked meanwhile.
    Retry,
    /// Old secret back into all stores, hooks again, new generation revoked.
    Rollback,
    /// Note it and go on.
    Continue,
}
