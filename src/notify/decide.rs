//! What a channel is told next, and when. Pure.

use crate::clock::{Span, Time};
use crate::inventory::ChannelPolicy;
use crate::notice::{ConditionKey, Conditions, Each, Entry, Turn};

use super::book::{Book, Channel};

/// What comes next for a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// To be told now, the worst first; empty: nothing.
    pub entries: Vec<Entry>,
    /// Conditions that opened and closed meanwhile.
    pub left_out: u32,
    /// When to decide again, where nothing else happens before.
    pub next: Option<Time>,
}

/// Decides for the channel of `policy`. `book` has observed `conditions`.
pub fn decide(policy: &ChannelPolicy, book: &Book, conditions: &Conditions, now: Time) -> Decision {
    let Some(channel) = book.channels.get(&policy.name) else { return Decision::default() };
    let mut changes: Vec<_> = changes(policy, book, channel, conditions);
    let later = |at: Option<Time>| Decision { next: at, ..Decision::default() };
    let next = changes.iter().map(|(at, _)| *at).filter(|at| *at > now).min();
    changes.retain(|(at, _)| *at <= now);
    let Some(first) = changes.iter().map(|(at, _)| *at).min() else { return later(next) };
    let sent = first + policy.gather;
    if sent > now {
        return later(next.into_iter().chain([sent]).min());
    }
    if let Some(trouble) = channel.trouble.as_ref().filter(|trouble| trouble.next > now) {
        return later(Some(trouble.next));
    }
    let room = match policy.limit {
        None => usize::MAX,
        Some(limit) => {
            let per = Span::from_std(limit.per).unwrap_or(Span::hours(1));
            let recent: Vec<_> = channel.sent.iter().filter(|at| now - **at < per).collect();
            let room = (limit.requests as usize).saturating_sub(recent.len());
            if let (0, Some(oldest)) = (room, recent.first()) {
                return later(Some(**oldest + per));
            }
            room
        }
    };
    let mut entries: Vec<_> = changes.into_iter().map(|(_, entry)| entry).collect();
    entries.sort_by(|one, other| (other.severity, one.turn, &one.key).cmp(&(one.severity, other.turn, &other.key)));
    if policy.each() == Each::Condition {
        entries.truncate(room);
    }
    Decision { entries, left_out: channel.left_out, next }
}

/// Every difference between what is and what was told, with the time from which it counts.
fn changes(policy: &ChannelPolicy, book: &Book, channel: &Channel, conditions: &Conditions) -> Vec<(Time, Entry)> {
    let open = |key: &ConditionKey, turn, since| {
        conditions.get(key).map(|condition| Entry {
            key: key.clone(),
            turn,
            severity: condition.severity,
            account: condition.account.clone(),
            token: condition.token.clone(),
            why: condition.why.clone(),
            help: condition.help.clone(),
            since,
            until: None,
        })
    };
    let mut changes = Vec::new();
    for (key, condition) in conditions {
        let Some(state) = book.open.get(key).filter(|_| policy.tells(key, condition)) else { continue };
        match channel.told.get(key) {
            None => {
                changes.extend(open(key, Turn::Opened, state.since).map(|it| (state.since + policy.when.lasting, it)));
            }
            Some(told) if told.severity < state.severity => {
                changes.extend(open(key, Turn::Worsened, state.since).map(|entry| (state.worsened, entry)));
            }
            Some(told) => {
                let again = policy.repeat.and_then(|repeat| told.at.checked_add_signed(repeat));
                changes.extend(again.zip(open(key, Turn::Repeated, state.since)));
            }
        }
    }
    let over = channel.told.iter().filter_map(|(key, told)| Some((key, told, told.closed?)));
    changes.extend(over.map(|(key, told, closed)| {
        let entry = Entry {
            key: key.clone(),
            turn: Turn::Closed,
            severity: told.severity,
            account: told.account.clone(),
            token: told.token.clone(),
            why: String::new(),
            help: String::new(),
            since: told.since,
            until: Some(closed),
        };
        (closed, entry)
    }));
    changes
}

#[cfg(test)]
mod tests;
