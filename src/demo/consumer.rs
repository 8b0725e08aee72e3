//! A witness: stands where a consumer of a token stands, reads what the consumer would read, and asks the provider's
//! ledger whether that secret is alive.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::entry::{State, Why};
use super::ledger::Ledger;
use super::vault::Shelf;
use crate::clock::{Span, Time};
use crate::secret::{Fingerprint, Fingerprinter, Secret};

/// Findings of one consumer that are kept; further ones are counted only.
const KEPT: usize = 10_000;

/// How long a consumer may hold a secret that a renewal in place replaced. Where a provider lets the old secret die with
/// the renewal, no order of steps can avoid a gap between its answer and the store; it has to be short.
pub const RENEWAL_GAP: Span = Span::seconds(1);

/// The same where answers get lost on purpose. Nothing can bring back a new secret that was lost on its way here: patrold
/// has to find out and to mint another one, and those requests may go wrong as well.
pub const LOST_RENEWAL_GAP: Span = Span::seconds(10);

/// How a consumer reads its secret.
#[derive(Clone, Debug)]
pub enum Reading {
    /// The whole file, without white space around it.
    Whole,
    /// The value of this key in an env file.
    EnvKey(String),
    /// This key of the document in a Vault that the path names.
    Vault(Shelf, String),
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was delivered so far.
    NotYet,
    /// The consumer holds a live secret.
    Live,
    /// The consumer holds something that does not work, or lost what it had.
    Dead(Finding),
}

/// A breach of the promise that no consumer ever holds a dead token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// When it was first seen.
    pub first_seen: Time,
    /// What was wrong.
    pub defect: Defect,
    /// Which secret it is about; `None` where there was none.
    pub secret: Option<Fingerprint>,
    /// In how many consecutive checks it was seen.
    pub times: u64,
    /// The last of them.
    pub last_seen: Time,
}

impl Finding {
    /// How long the consumer was seen to hold a secret that a renewal in place had replaced; `None` for other defects.
    pub fn renewal_gap(&self) -> Option<Span> {
        match self.defect {
            Defect::Secret(State::Revoked { since, why: Why::Superseded }) => Some(self.last_seen - since),
            _ => None,
        }
    }

    /// Whether it is nothing but the gap that a renewal in place leaves, and no longer than `most`.
    pub fn is_gap(&self, most: Span) -> bool {
        self.renewal_gap().is_some_and(|gap| gap <= most)
    }
}

/// What is wrong with what a consumer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The provider does not accept the secret, for this reason.
    Secret(State),
    /// The file, or the key in it, is gone after a delivery, or empty.
    Missing,
    /// The file cannot be read, for this reason.
    Unreadable(ErrorKind),
}

/// One consumer of one token.
#[derive(Debug)]
pub struct Consumer {
    name: String,
    path: PathBuf,
    reading: Reading,
    ledger: Ledger,
    fingerprints: Fingerprinter,
    /// A file that it touches once it uses another secret.
    acknowledges: Option<PathBuf>,
    delivered: bool,
    uses: u64,
    secrets_seen: u64,
    last: Option<Fingerprint>,
    findings: Vec<Finding>,
    dead: u64,
}

impl Consumer {
    /// A consumer that reads `path`. `name` is for messages; fingerprints are made by `fingerprints`.
    pub fn new(
        name: impl Into<String>,
        path: impl Into<PathBuf>,
        reading: Reading,
        ledger: Ledger,
        fingerprints: Fingerprinter,
    ) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            reading,
            ledger,
            fingerprints,
            acknowledges: None,
            delivered: false,
            uses: 0,
            secrets_seen: 0,
            last: None,
            findings: Vec::new(),
            dead: 0,
        }
    }

    /// Lets it touch `file` whenever it uses another secret than before.
    #[must_use]
    pub fn acknowledging(self, file: PathBuf) -> Self {
        Self { acknowledges: Some(file), ..self }
    }

    /// Reads the store once and judges what it holds. `now` must have been read from the clock before the call: a
    /// secret that was revoked after that moment was alive when the consumer read it.
    pub fn check(&mut self, now: Time) -> Verdict {
        let defect = match read(&self.path, &self.reading) {
            Ok(Some(secret)) => {
                self.delivered = true;
                self.uses += 1;
                let fingerprint = self.fingerprints.of(&secret);
                if self.last.as_ref() != Some(&fingerprint) {
                    self.secrets_seen += 1;
                    self.last = Some(fingerprint.clone());
                    if let Some(file) = &self.acknowledges {
                        // Where it cannot be written, whoever waits for it waits for ever, which shows.
                        let _ = std::fs::write(file, "");
                    }
                }
                match self.ledger.state_of(secret.expose(), now) {
                    State::Live => return Verdict::Live,
                    state => (Defect::Secret(state), Some(fingerprint)),
                }
            }
            Ok(None) if !self.delivered => return Verdict::NotYet,
            Ok(None) => (Defect::Missing, None),
            Err(kind) => (Defect::Unreadable(kind), None),
        };
        Verdict::Dead(self.note(now, defect))
    }

    /// The name given to [`Self::new`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a secret was ever there.
    pub fn was_delivered(&self) -> bool {
        self.delivered
    }

    /// How often a secret was read.
    pub fn uses(&self) -> u64 {
        self.uses
    }

    /// How many different secrets came one after the other.
    pub fn secrets_seen(&self) -> u64 {
        self.secrets_seen
    }

    /// How many checks found something wrong.
    pub fn dead(&self) -> u64 {
        self.dead
    }

    /// What was wrong, in order; consecutive findings of the same kind are one.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Enters a finding, or counts it with the last one where that is the same.
    fn note(&mut self, now: Time, (defect, secret): (Defect, Option<Fingerprint>)) -> Finding {
        self.dead += 1;
        if let Some(last) = self.findings.last_mut()
            && last.defect == defect
            && last.secret == secret
        {
            last.times += 1;
            last.last_seen = now;
            return last.clone();
        }
        let finding = Finding { first_seen: now, defect, secret, times: 1, last_seen: now };
        if self.findings.len() < KEPT {
            self.findings.push(finding.clone());
        }
        finding
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.defect, self.first_seen)?;
        if self.times > 1 {
            write!(f, ", {} times", self.times)?;
        }
        Ok(())
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(State::Live) => f.write_str("a live secret"),
            Self::Secret(State::Expired { since }) => write!(f, "a secret that expired at {since}"),
            Self::Secret(State::Revoked { since, why }) => write!(f, "a secret that died at {since} ({why:?})"),
            Self::Secret(State::Unknown) => f.write_str("a secret that no token ever had"),
            Self::Missing => f.write_str("no secret any more"),
            Self::Unreadable(kind) => write!(f, "a store that cannot be read ({kind})"),
        }
    }
}

/// The secret at `path`; `None` where there is none.
fn read(path: &Path, reading: &Reading) -> Result<Option<Secret>, ErrorKind> {
    if let Reading::Vault(shelf, key) = reading {
        return Ok(shelf.entry(&path.display().to_string(), key));
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.kind()),
    };
    let value = match reading {
        Reading::Whole => Some(text.expose().trim()),
        Reading::EnvKey(key) => env_value(text.expose(), key),
        Reading::Vault(..) => None,
    };
    Ok(value.filter(|value| !value.is_empty()).map(Secret::new))
}

/// The last value of `key`. The loopback provider's secrets are letters and digits, so that quotes around a value are
/// all that the dialects of env files differ in.
fn env_value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let assigned = |line: &'a str| {
        let line = line.trim();
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        (name.trim() == key).then_some(value.trim())
    };
    let value = text.lines().rev().find_map(assigned)?;
    let unquoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    Some(unquoted('"').or_else(|| unquoted('\'')).unwrap_or(value))
}
