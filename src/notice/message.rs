//! A message: what changed, put into words once for every form.

use std::fmt::Write as _;

use serde::Serialize;

use super::condition::{ConditionKey, Severity, Turn};
use crate::clock::Time;
use crate::names::{AccountName, InstanceId, TokenName, hex};
use crate::text::words;

/// So many conditions stand in the text of one message; the rest is counted.
const LISTED: usize = 20;

/// Who tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub instance: InstanceId,
    /// The name of the machine.
    pub host: String,
}

/// One condition of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: ConditionKey,
    pub turn: Turn,
    pub severity: Severity,
    pub account: Option<AccountName>,
    pub token: Option<TokenName>,
    pub why: String,
    pub help: String,
    /// When it opened.
    pub since: Time,
    /// When it closed.
    pub until: Option<Time>,
}

/// What is told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub at: Time,
    pub source: Source,
    /// The worst first.
    pub entries: Vec<Entry>,
    /// Conditions that opened and closed while nothing could be told.
    pub left_out: u32,
}

/// One condition as JSON. Part of the generic form and of what commands read: names are stable.
#[derive(Serialize)]
pub(super) struct EntryForm<'a> {
    id: String,
    kind: &'static str,
    subject: &'a str,
    turn: &'static str,
    severity: &'static str,
    account: Option<&'a AccountName>,
    token: Option<&'a TokenName>,
    title: String,
    why: &'a str,
    help: &'a str,
    since: Time,
    until: Option<Time>,
}

/// A message as JSON.
#[derive(Serialize)]
struct MessageForm<'a> {
    at: Time,
    instance: String,
    host: &'a str,
    title: String,
    text: String,
    severity: &'static str,
    turn: &'static str,
    conditions: Vec<EntryForm<'a>>,
    left_out: u32,
}

impl Entry {
    /// The same for everything that is told of this condition by this installation: receivers join messages by it.
    pub fn id(&self, source: &Source) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.key.to_string().as_bytes());
        format!("patrold-{}-{}", source.instance, hex(&digest.as_ref()[..8]))
    }

    /// What is the matter, in one sentence.
    pub fn title(&self) -> String {
        let sentence = self.key.kind.sentence(&self.key.subject);
        if self.turn == Turn::Closed { format!("over: {sentence}") } else { sentence }
    }

    /// All of it in a few lines.
    pub fn text(&self) -> String {
        let mut text = format!("[{}] {}", self.severity.word(), self.title());
        match (self.turn, self.until) {
            // Writing to a String cannot fail.
            (Turn::Closed, Some(until)) => drop(write!(text, " (it lasted {})", words::span(until - self.since))),
            (Turn::Worsened, _) => text.push_str(" (worse than before)"),
            (Turn::Repeated, _) => drop(write!(text, " (still, since {})", words::moment(self.since))),
            _ => {}
        }
        if !self.why.is_empty() {
            let _ = write!(text, "\n  {}", self.why);
        }
        if !self.help.is_empty() && self.turn != Turn::Closed {
            let _ = write!(text, "\n  help: {}", self.help);
        }
        text
    }

    pub(super) fn form(&self, source: &Source) -> EntryForm<'_> {
        EntryForm {
            id: self.id(source),
            kind: self.key.kind.word(),
            subject: &self.key.subject,
            turn: self.turn.word(),
            severity: self.severity.word(),
            account: self.account.as_ref(),
            token: self.token.as_ref(),
            title: self.title(),
            why: &self.why,
            help: &self.help,
            since: self.since,
            until: self.until,
        }
    }
}

impl Message {
    /// The worst of what is open; of what is over, where nothing else is told.
    pub fn severity(&self) -> Severity {
        let worst = |open: bool| {
            let entries = self.entries.iter().filter(|entry| (entry.turn != Turn::Closed) == open);
            entries.map(|entry| entry.severity).max()
        };
        worst(true).or_else(|| worst(false)).unwrap_or(Severity::Warning)
    }

    /// `closed` where nothing but closures are told.
    pub fn turn(&self) -> Turn {
        self.entries.iter().map(|entry| entry.turn).min().unwrap_or(Turn::Opened)
    }

    /// One line for a subject or a headline.
    pub fn title(&self) -> String {
        let host = &self.source.host;
        if let [entry] = self.entries.as_slice() {
            return format!("patrold on {host}: {}", entry.title());
        }
        let count = |turn| self.entries.iter().filter(|entry| entry.turn == turn).count();
        let turns = [Turn::Opened, Turn::Worsened, Turn::Repeated, Turn::Closed];
        let counts: Vec<_> = turns
            .into_iter()
            .filter(|turn| count(*turn) > 0)
            .map(|turn| format!("{} {}", count(turn), turn.word()))
            .collect();
        format!("patrold on {host}: {}", counts.join(", "))
    }

    /// All of it, for people.
    pub fn text(&self) -> String {
        let listed: Vec<_> = self.entries.iter().take(LISTED).map(Entry::text).collect();
        let mut text = listed.join("\n");
        let more = self.entries.len().saturating_sub(LISTED);
        if more > 0 {
            let _ = write!(text, "\nand {more} more: `patrold status` lists them");
        }
        if self.left_out > 0 {
            let left_out = words::count(self.left_out as usize, "condition");
            let _ = write!(text, "\n{left_out} opened and closed while no message could be sent");
        }
        text
    }

    /// All of it as JSON, for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let form = MessageForm {
            at: self.at,
            instance: self.source.instance.to_string(),
            host: &self.source.host,
            title: self.title(),
            text: self.text(),
            severity: self.severity().word(),
            turn: self.turn().word(),
            conditions: self.entries.iter().map(|entry| entry.form(&self.source)).collect(),
            left_out: self.left_out,
        };
        // Plain text and numbers can always be written.
        serde_json::to_value(form).unwrap_or_default()
    }
}
