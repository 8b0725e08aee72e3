//! What is written down of conditions and channels: since when each condition is open, and what each channel was told.
//!
//! A file beside the journal, written whole after each message. It may be lost: then what is open is told once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::beside;
use crate::clock::{Span, Time};
use crate::inventory::ChannelPolicy;
use crate::names::{AccountName, ChannelName, TokenName};
use crate::notice::{ConditionKey, Conditions, Entry, Kind, Severity, Turn};
use crate::outcome::Failure;

/// The version of the file. Stored state: a changed meaning gets a new number.
const VERSION: u32 = 1;

/// The longest wait before a channel that failed is tried again.
const LONGEST: Span = Span::minutes(10);

/// Everything that is written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    version: u32,
    pub(super) open: BTreeMap<ConditionKey, Open>,
    pub(super) channels: BTreeMap<ChannelName, Channel>,
}

/// A condition that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub since: Time,
    pub severity: Severity,
    /// When it became as bad as it is.
    pub worsened: Time,
    pub account: Option<AccountName>,
}

/// One channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Channel {
    pub told: BTreeMap<ConditionKey, Told>,
    /// When messages left, as far back as the limit counts.
    pub sent: Vec<Time>,
    /// Conditions that opened and closed while nothing could be told.
    pub left_out: u32,
    pub trouble: Option<Trouble>,
}

/// What a channel was told of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub severity: Severity,
    pub since: Time,
    /// When it was told last.
    pub at: Time,
    /// Since when it is over, which is not told yet.
    pub closed: Option<Time>,
    pub account: Option<AccountName>,
    pub token: Option<TokenName>,
}

/// Why a channel takes no messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    pub since: Time,
    pub at: Time,
    pub attempts: u32,
    pub next: Time,
    pub failure: Failure,
}

impl Default for Book {
    fn default() -> Self {
        Self { version: VERSION, open: BTreeMap::new(), channels: BTreeMap::new() }
    }
}

impl Book {
    /// Reads what [`Book::to_text`] wrote.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        beside::parse(text, VERSION)
    }

    /// The text of the file.
    pub fn to_text(&self) -> Vec<u8> {
        // Names, times and numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Takes note of what is the matter now. Of the accounts `unseen` nothing is known yet: nothing of theirs is over.
    pub fn observe(
        &mut self,
        conditions: &Conditions,
        unseen: &BTreeSet<AccountName>,
        channels: &BTreeMap<ChannelName, Arc<ChannelPolicy>>,
        now: Time,
    ) {
        let lasts = |key: &ConditionKey, account: &Option<AccountName>| {
            let of_account = matches!(key.kind, Kind::AccountDown | Kind::Clock | Kind::Orphan);
            conditions.contains_key(key)
                || of_account && account.as_ref().is_some_and(|account| unseen.contains(account))
        };
        self.channels.retain(|name, _| channels.contains_key(name));
        for name in channels.keys() {
            self.channels.entry(name.clone()).or_default();
        }
        let over = self.open.iter().filter(|(key, open)| !lasts(key, &open.account));
        let over: Vec<_> = over.map(|(key, _)| key.clone()).collect();
        for key in over {
            let Some(open) = self.open.remove(&key) else { continue };
            for (name, policy) in channels {
                let Some(channel) = self.channels.get_mut(name) else { continue };
                let held_up = channel.was_held_up(policy, &open, now);
                match channel.told.get_mut(&key) {
                    Some(told) => told.closed = Some(now),
                    // It would have been told by now: the limit, or a failure of the channel, was in the way.
                    None if held_up => channel.left_out += 1,
                    None => {}
                }
            }
        }
        // What was told and is not known to be open: its end came while no daemon ran.
        for (key, told) in self.channels.values_mut().flat_map(|channel| channel.told.iter_mut()) {
            match (lasts(key, &told.account), told.closed) {
                (true, Some(_)) => told.closed = None,
                (false, None) => told.closed = Some(now),
                _ => {}
            }
        }
        for (key, condition) in conditions {
            let severity = condition.severity;
            let open = self.open.entry(key.clone()).or_insert_with(|| Open {
                since: now,
                severity,
                worsened: now,
                account: condition.account.clone(),
            });
            if severity > open.severity {
                open.worsened = now;
            }
            open.severity = severity;
        }
    }

    /// Takes note of what a channel was told in so many messages.
    pub fn told(&mut self, channel: &ChannelName, entries: &[Entry], messages: usize, now: Time) {
        let Some(channel) = self.channels.get_mut(channel) else { return };
        for entry in entries {
            if entry.turn == Turn::Closed {
                channel.told.remove(&entry.key);
                continue;
            }
            let told = Told {
                severity: entry.severity,
                since: entry.since,
                at: now,
                // It may have closed while the message was on its way.
                closed: channel.told.get(&entry.key).and_then(|told| told.closed),
                account: entry.account.clone(),
                token: entry.token.clone(),
            };
            channel.told.insert(entry.key.clone(), told);
        }
        channel.sent.extend(std::iter::repeat_n(now, messages));
        if messages > 0 {
            channel.left_out = 0;
        }
    }

    /// Takes note of whether a channel took its message. Not before `not_before` is it tried again.
    pub fn ended(&mut self, channel: &ChannelName, failure: Option<(Failure, Option<Time>)>, now: Time) {
        let Some(channel) = self.channels.get_mut(channel) else { return };
        channel.trouble = failure.map(|(failure, not_before)| {
            let (since, attempts) = match &channel.trouble {
                Some(trouble) => (trouble.since, trouble.attempts.saturating_add(1)),
                None => (now, 1),
            };
            let wait = Span::seconds(1 << attempts.saturating_sub(1).min(10)).min(LONGEST);
            let next = now.checked_add_signed(wait).unwrap_or(now);
            Trouble { since, at: now, attempts, next: not_before.unwrap_or(next).max(next), failure }
        });
    }

    /// The channel is tried again at once: an operator says so, or something about it has changed.
    pub fn retry(&mut self) {
        for trouble in self.channels.values_mut().filter_map(|channel| channel.trouble.as_mut()) {
            trouble.next = trouble.at;
        }
    }

    /// Why a channel takes no messages.
    pub fn trouble(&self, channel: &ChannelName) -> Option<&Trouble> {
        self.channels.get(channel)?.trouble.as_ref()
    }

    /// How many open conditions a channel was told of, and when its last message left.
    pub fn standing(&self, channel: &ChannelName) -> (usize, Option<Time>) {
        let channel = self.channels.get(channel);
        (channel.map_or(0, |it| it.told.len()), channel.and_then(|it| it.sent.last().copied()))
    }
}

impl Channel {
    fn was_held_up(&self, policy: &ChannelPolicy, open: &Open, now: Time) -> bool {
        let due = open.since + policy.when.lasting + policy.gather;
        let full = policy.limit.is_some_and(|limit| self.sent.len() >= limit.requests as usize);
        open.severity >= policy.when.severity && due <= now && (full || self.trouble.is_some())
    }
}
