//! The channels of an inventory, and how they fare.

use std::io::{self, Write};

use serde::Serialize;

use crate::clock::Time;
use crate::inventory::{ChannelPolicy, Inventory};
use crate::names::ChannelName;
use crate::report::status::{ChannelStatus, Status};
use crate::text::{Paint, words};

use super::table::{Table, Tint};

/// All of them. Part of `notify list --json`: names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Channels {
    pub channels: Vec<Row>,
    #[serde(skip)]
    at: Option<Time>,
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    pub channel: ChannelName,
    /// How its messages leave.
    pub way: String,
    /// What it tells of.
    pub when: String,
    /// How it fares; `null` where no daemon runs.
    pub status: Option<ChannelStatus>,
}

impl Channels {
    /// Those of `inventory`. `status`: of the daemon, where one runs.
    pub fn new(inventory: &Inventory, status: Option<&Status>) -> Self {
        let row = |policy: &ChannelPolicy| {
            let channels = status.into_iter().flat_map(|status| &status.channels);
            Row {
                channel: policy.name.clone(),
                way: policy.way(),
                when: when(policy),
                status: channels.into_iter().find(|channel| channel.name == policy.name).cloned(),
            }
        };
        let channels = inventory.channels.values().map(|policy| row(policy)).collect();
        Self { channels, at: status.map(|status| status.at) }
    }

    /// Writes them as a table.
    pub fn write(&self, paint: Paint, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new(&["CHANNEL", "VIA", "TELLS OF", "OPEN", "LAST MESSAGE", "STATE"]);
        for row in &self.channels {
            let none = || "-".to_owned();
            let status = row.status.as_ref();
            let last = status.and_then(|status| status.last_message).zip(self.at);
            let (tint, state) = match status.map(|status| &status.failing) {
                None => (Tint::Plain, none()),
                Some(None) => (Tint::Plain, "ok".to_owned()),
                Some(Some(_)) => (Tint::Error, "failing".to_owned()),
            };
            let cells = vec![
                row.channel.to_string(),
                row.way.clone(),
                row.when.clone(),
                status.map_or_else(none, |status| status.told.to_string()),
                last.map_or_else(none, |(last, now)| words::relative(last, now)),
                state,
            ];
            table.row(tint, cells);
            if let Some(error) = status.and_then(|status| status.failing.as_ref()) {
                table.note(error.message.clone());
            }
        }
        table.write_within(paint, None, out)
    }
}

/// What a channel tells of, in a few words.
fn when(policy: &ChannelPolicy) -> String {
    let when = &policy.when;
    let mut parts = vec![format!("{} and worse", when.severity.word())];
    if when.severity == crate::notice::Severity::Critical {
        parts = vec!["critical".to_owned()];
    }
    if when.lasting > crate::clock::Span::zero() {
        parts.push(format!("for {}", words::span(when.lasting)));
    }
    if !when.kinds.is_empty() {
        parts.push(when.kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(", "));
    }
    let names = when.accounts.iter().map(ToString::to_string).chain(when.tokens.iter().map(ToString::to_string));
    let names: Vec<_> = names.collect();
    if !names.is_empty() {
        parts.push(format!("of {}", words::some(&names, 3)));
    }
    parts.join(", ")
}
