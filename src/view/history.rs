//! What the journal holds of one token: its records, oldest first, and the chain that they are part of.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use crate::clock::Time;
use crate::journal::record::Record;
use crate::names::{GenerationNo, TokenName, hex};
use crate::outcome::Failure;
use crate::rotation::Event;
use crate::rotation::event::Level;
use crate::rotation::reason::Reason;
use crate::rotation::state::Orphan;
use crate::rotation::stored::Line;

use super::table::{Table, Tint};
use crate::text::{Paint, words};

/// The records of one token. Part of `history --json`: names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct History {
    pub token: TokenName,
    pub records: Vec<HistoryRow>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HistoryRow {
    /// Counts all records of the journal.
    pub seq: i64,
    /// `None`: the record is damaged.
    pub at: Option<Time>,
    /// The stable name of what happened.
    pub event: String,
    pub version: u32,
    pub generation: Option<GenerationNo>,
    /// What else there is to say, in one line; may be empty.
    pub detail: String,
    /// The record itself. Holds no secret.
    pub body: Value,
    /// In hex digits.
    pub hash: String,
    /// For people.
    #[serde(skip)]
    pub level: Level,
}

/// Whether the chain of all records is whole. Part of `history --verify --json`: names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChainView {
    pub valid: bool,
    /// The first record that is there; `None`: there is none, or the chain is broken.
    pub first: Option<i64>,
    pub last: Option<i64>,
    /// The first record that is not what was written.
    pub broken: Option<SuspectView>,
}

/// A record that does not fit the one before it, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SuspectView {
    pub seq: i64,
    pub found: bool,
    pub at: Option<Time>,
    pub token: Option<String>,
    pub event: Option<String>,
}

impl History {
    /// The history that `records` tell.
    pub fn new(token: TokenName, records: &[Record]) -> Self {
        Self { token, records: records.iter().map(HistoryRow::new).collect() }
    }

    /// Writes it as a table.
    pub fn write(&self, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new(&["SEQ", "AT", "EVENT", "GEN", "DETAIL"]).without(&["SEQ"]).folding();
        for entry in &self.records {
            table.row(
                tint(entry.level),
                vec![
                    entry.seq.to_string(),
                    entry.at.map_or_else(|| "-".to_owned(), words::moment),
                    entry.event.clone(),
                    entry.generation.map_or_else(|| "-".to_owned(), |number| number.to_string()),
                    if entry.detail.is_empty() { "-".to_owned() } else { entry.detail.clone() },
                ],
            );
        }
        table.write_within(paint, width, out)
    }
}

impl HistoryRow {
    /// A record as something to print. What a newer version wrote is shown as far as it is understood.
    pub fn new(record: &Record) -> Self {
        let body = serde_json::from_str(&record.body).unwrap_or_else(|_| Value::String(record.body.clone()));
        let (level, (generation, detail)) = match serde_json::from_str::<Line<'_>>(&record.body) {
            Ok(line) => (line.event.told().level, detail(&line.event)),
            Err(_) => (Level::Warn, (None, "this version does not understand it".to_owned())),
        };
        Self {
            seq: record.seq,
            at: record.at(),
            event: record.kind.clone(),
            version: record.version,
            generation,
            detail,
            body,
            hash: hex(&record.hash),
            level,
        }
    }
}

impl ChainView {
    /// The result in one sentence, where the chain is whole.
    pub fn sentence(&self) -> String {
        match (self.first, self.last) {
            (Some(first), Some(last)) => format!("the records {first} to {last} are what was written"),
            _ => "the journal has no records yet".to_owned(),
        }
    }
}

impl SuspectView {
    /// The record at `seq`, as far as it was `found`.
    pub fn new(seq: i64, found: Option<&Record>) -> Self {
        Self {
            seq,
            found: found.is_some(),
            at: found.and_then(Record::at),
            token: found.map(|record| record.token.clone()),
            event: found.map(|record| record.kind.clone()),
        }
    }

    /// What is wrong, in one sentence.
    pub fn sentence(&self) -> String {
        let Self { seq, token, event, .. } = self;
        let what = match (token, event) {
            (Some(token), Some(event)) => {
                let at = self.at.map(|at| format!(" of {}", words::moment(at))).unwrap_or_default();
                format!("(`{event}` of token {token}{at}) is not what was written")
            }
            _ => "is missing".to_owned(),
        };
        format!("the record {seq} {what}; everything before it is intact")
    }
}

/// Events that something failed in stand out.
fn tint(level: Level) -> Tint {
    match level {
        Level::Error => Tint::Error,
        Level::Warn => Tint::Warning,
        Level::Info | Level::Debug => Tint::Plain,
    }
}

/// The generation that an event is about, where it says so, and the rest of it in words.
fn detail(event: &Event) -> (Option<GenerationNo>, String) {
    let again = |failure: &Failure, next: &Time| format!("{}; again at {}", failure.in_full(), words::moment(*next));
    let not_before = |at: &Time| format!("revoked not before {}", words::moment(*at));
    match event {
        Event::Adopted { generation } => (Some(generation.number), String::new()),
        Event::Intended { intent } | Event::RenewalIntended { intent } => {
            (Some(intent.number), format!("{}; marker {}", reason(&intent.reason), intent.marker))
        }
        Event::Minted { candidate } | Event::Offered { candidate } | Event::Recalled { candidate, .. } => {
            let generation = &candidate.generation;
            let id = generation.remote.id.as_ref().map(|id| format!("id {id}")).unwrap_or_default();
            (Some(generation.number), id)
        }
        Event::Renewed { generation } => (Some(generation.number), format!("revision {}", generation.revision)),
        Event::Postponed { failure, next }
        | Event::MintRefused { failure, next }
        | Event::FoundAlive { failure, next }
        | Event::RenewalPostponed { failure, next }
        | Event::RenewalRefused { failure, next, .. } => (None, again(failure, next)),
        Event::InitialRefused { failure }
        | Event::MintUnknown { failure }
        | Event::MintedInPlace { failure }
        | Event::UndoBegun { why: failure, .. }
        | Event::RenewalUnknown { failure }
        | Event::RenewalRejected { failure, .. }
        | Event::FoundDead { failure }
        | Event::ReplacementRefused { failure }
        | Event::RenewalExamined { dead: Some(failure) } => (None, failure.in_full()),
        Event::SecretLost { number, failure } => (Some(*number), failure.to_string()),
        Event::Replaced { generation, revoke_at, .. } => {
            (Some(generation.number), format!("the old one is {}", not_before(revoke_at)))
        }
        Event::ReplacementDue { reason: code } => (None, reason(code).to_owned()),
        Event::HeldBack { found } => (None, found.clone()),
        Event::StoreErased { store, stays: Some(stays) } => (None, format!("{store}: it {stays}")),
        Event::StoreClaimed { store, .. }
        | Event::StoreDisclaimed { store }
        | Event::StoreErased { store, stays: None }
        | Event::StoreIntended { store }
        | Event::StoreWritten { store, .. } => (None, store.to_string()),
        Event::StoreFailed { store, failure, next, .. } | Event::EraseFailed { store, failure, next } => {
            (None, format!("{store}: {}", again(failure, next)))
        }
        Event::HookSucceeded { hook } => (None, hook.to_string()),
        Event::HookFailed { hook, failure, next } => (None, format!("{hook}: {}", again(failure, next))),
        Event::HookWaived { hook, failure } => (None, format!("{hook}: {failure}")),
        Event::StoreOwed { store, found, .. } => (None, format!("{store}: {found}")),
        Event::Activated { revoke_at, vain: Some(failure) }
        | Event::ActivatedEarly { revoke_at, vain: Some(failure) } => {
            (None, format!("{failure}; the old one is {}", not_before(revoke_at)))
        }
        Event::RetirementAsked { revoke_at } | Event::RetirementPutOff { revoke_at } => {
            (None, format!("it is {}", not_before(revoke_at)))
        }
        Event::ClockSetBack { revoke_at } => (None, format!("an old one is {} at the latest", not_before(revoke_at))),
        Event::Activated { revoke_at, vain: None }
        | Event::ActivatedEarly { revoke_at, vain: None }
        | Event::StillUsed { revoke_at } => (None, format!("the old one is {}", not_before(revoke_at))),
        Event::Verified { proven, .. } | Event::RenewalVerified { proven, .. } | Event::Retired { proven } => {
            (None, if *proven { String::new() } else { "not proven".to_owned() })
        }
        Event::Revoked { already } => {
            (None, if *already { "the provider did not know it any more".to_owned() } else { String::new() })
        }
        Event::OrphanFound { remote } => (None, remote.id.as_ref().map(|id| format!("id {id}")).unwrap_or_default()),
        Event::Observed { id, .. } => (None, id.as_ref().map(|id| format!("id {id}")).unwrap_or_default()),
        Event::SearchEnded { orphan, .. }
        | Event::RevocationDeferred { orphan }
        | Event::ReapRequested { orphan }
        | Event::LeftToExpire { orphan }
        | Event::Dismissed { orphan }
        | Event::Undone { orphan: Some(orphan), .. }
        | Event::OrphanEnded { orphan, .. } => of_orphan(orphan),
        Event::ReapFailed { orphan, failure, next } => {
            let (number, name) = of_orphan(orphan);
            (number, format!("{name}: {}", again(failure, next)))
        }
        Event::Requested {}
        | Event::RequestWithdrawn {}
        | Event::RetirementWithdrawn {}
        | Event::Compromised {}
        | Event::BackoffEnded {}
        | Event::OrphanRevoked { .. }
        | Event::Delivered {}
        | Event::Undone { orphan: None, .. }
        | Event::RenewalExamined { dead: None }
        | Event::ConsumersOwed {}
        | Event::Redelivered {}
        | Event::Resealed { .. } => (None, String::new()),
    }
}

/// The reason with this code in words.
fn reason(code: &str) -> &str {
    match Reason::named(code) {
        Some(reason) => reason.sentence(),
        None => code,
    }
}

fn of_orphan(orphan: &Orphan) -> (Option<GenerationNo>, String) {
    let number = match orphan {
        Orphan::Unrevocable { number, .. } => Some(*number),
        Orphan::UnknownMint { .. } => None,
        Orphan::Deferred { generation, .. } => Some(generation.number),
    };
    (number, orphan.marker().map(ToString::to_string).unwrap_or_default())
}
