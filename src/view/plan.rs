//! The plan: for every token the next action, its time, its reason, and the fate of the old generation.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;

use crate::clock::{Span, Time};
use crate::inventory::{Inventory, TokenPolicy};
use crate::names::{AccountName, GenerationNo, ProviderName, TokenName};
use crate::provider::Abilities;
use crate::provider::{Expiry, ProviderClock};
use crate::rotation::TokenState;
use crate::rotation::decide::Situation;
use crate::rotation::state::Generation;
use crate::timing::window::Window;

use super::table::{Table, Tint};
use crate::report::outlook::{self, NextAction, Outlook};
use crate::text::{Paint, words};

/// What happens to every token, the next one first. Part of `plan --json`: names are stable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The time that it was made at.
    pub at: Time,
    pub tokens: Vec<PlanRow>,
}

/// What happens to one token.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanRow {
    pub token: TokenName,
    pub account: AccountName,
    pub provider: ProviderName,
    pub phase: &'static str,
    /// The generation that consumers use.
    pub generation: Option<GenerationNo>,
    /// When it expires.
    pub expires: Option<Expiry>,
    #[serde(flatten)]
    pub outlook: Outlook,
    pub window: Option<WindowView>,
    /// What becomes of an older generation; `None` where there is none.
    pub old: Option<Old>,
}

/// A window of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WindowView {
    pub cron: String,
    pub timezone: String,
    pub duration_seconds: i64,
    /// The next opening.
    pub opens: Option<Time>,
}

/// What becomes of a generation once a newer one has taken its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Old {
    pub generation: GenerationNo,
    pub fate: Fate,
    pub words: String,
}

/// How an old generation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// patrold revokes it.
    Revoked,
    /// Nobody can revoke it.
    LeftToExpire,
    /// The provider ends it as soon as it mints the new one.
    EndsAtOnce,
    /// It stays, with a new secret.
    Renewed,
}

impl Plan {
    /// What happens to the tokens of `inventory`, given what the journal knows of them.
    pub fn new(inventory: &Inventory, states: &BTreeMap<TokenName, TokenState>, now: Time) -> Self {
        let vacant = TokenState::default();
        let mut planner = Planner { now, abilities: BTreeMap::new(), openings: BTreeMap::new() };
        let state = |token: &TokenPolicy| states.get(&token.name).unwrap_or(&vacant);
        let mut tokens: Vec<_> = inventory.tokens.values().map(|token| planner.entry(token, state(token))).collect();
        // Stable, so that tokens of the same time stay in the order of names.
        tokens.sort_by_key(|entry| entry.outlook.at.unwrap_or(Time::MAX_UTC));
        Self { at: now, tokens }
    }

    /// Leaves only what begins until `end`.
    pub fn keep_until(&mut self, end: Time) {
        self.tokens.retain(|entry| entry.outlook.at.is_some_and(|at| at <= end));
    }

    /// Leaves only these tokens.
    pub fn keep(&mut self, names: &BTreeSet<TokenName>) {
        self.tokens.retain(|entry| names.contains(&entry.token));
    }

    /// Writes it as a table.
    pub fn write(&self, paint: Paint, out: &mut impl Write) -> io::Result<()> {
        self.write_within(paint, None, out)
    }

    /// The same, on a terminal with so many columns.
    pub fn write_within(&self, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        let windows = self.tokens.iter().any(|entry| entry.window.is_some());
        let mut header = vec!["TOKEN", "ACTION", "WHEN", "AT", "DEADLINE"];
        header.extend(windows.then_some("WINDOW"));
        header.extend(["OLD GENERATION", "WHY"]);
        let mut table = Table::new(&header).without(&["AT", "DEADLINE", "WINDOW", "OLD GENERATION"]).folding();
        for entry in &self.tokens {
            table.row(entry.tint(self.at), entry.cells(windows, self.at));
        }
        table.write_within(paint, width, out)
    }
}

impl PlanRow {
    fn cells(&self, windows: bool, now: Time) -> Vec<String> {
        let none = || "-".to_owned();
        let outlook = &self.outlook;
        let mut cells = vec![
            self.token.to_string(),
            outlook.action.word().to_owned(),
            outlook.at.map_or_else(none, |at| words::relative(at, now)),
            outlook.at.map_or_else(none, words::moment),
            outlook.deadline.map_or_else(none, words::moment),
        ];
        let window = |window: &WindowView| {
            let duration = words::span(Span::seconds(window.duration_seconds));
            format!("{} for {duration} ({})", window.cron, window.timezone)
        };
        cells.extend(windows.then(|| self.window.as_ref().map_or_else(none, window)));
        cells.push(self.old.as_ref().map_or_else(none, |old| format!("{} {}", old.generation, old.words)));
        cells.push(outlook.why.clone());
        cells
    }

    fn tint(&self, now: Time) -> Tint {
        match self.outlook.action {
            NextAction::Nothing => Tint::Dim,
            _ if self.outlook.overridden => Tint::Warning,
            _ if self.outlook.at.is_some_and(|at| at <= now) => Tint::Warning,
            _ => Tint::Plain,
        }
    }
}

/// Plans one token after the other, working out once what many of them share.
struct Planner<'i> {
    now: Time,
    abilities: BTreeMap<&'i AccountName, Abilities>,
    /// When windows open next, by expression and zone.
    openings: BTreeMap<(&'i str, &'static str), Option<Time>>,
}

impl<'i> Planner<'i> {
    fn entry(&mut self, token: &'i TokenPolicy, state: &TokenState) -> PlanRow {
        let now = self.now;
        let window = token.window.as_ref().map(|window| self.window(window));
        let account = &token.account;
        let abilities = self.abilities.entry(&account.name).or_insert_with(|| Abilities::of(&account.provider));
        let memo = outlook::undisturbed(now);
        let clock = ProviderClock::Unseen;
        let situation = Situation {
            policy: token,
            wanted: true,
            state,
            memo: &memo,
            abilities,
            clock,
            refused: None,
            listing: None,
            now,
        };
        let outlook = Outlook::foresee(&situation);
        let current = state.phase.current().map(|current| &current.generation);
        let retiring = state.phase.retiring().map(|retiring| &retiring.generation);
        let old = match outlook.action {
            NextAction::Revoke => retiring.map(|old| replaced(old, &situation)),
            NextAction::Renew => current.map(|old| renewed(old, abilities)),
            NextAction::Replace => None,
            NextAction::Nothing if outlook.due.is_none() => None,
            _ => current.map(|old| replaced(old, &situation)),
        };
        PlanRow {
            token: token.name.clone(),
            account: account.name.clone(),
            provider: account.provider.name.clone(),
            phase: state.phase.name(),
            generation: current.map(|generation| generation.number),
            expires: current.map(|generation| generation.remote.expires),
            window,
            old,
            outlook,
        }
    }

    fn window(&mut self, window: &'i Window) -> WindowView {
        let (cron, timezone) = (window.opens.expression(), window.opens.timezone().name());
        let opens = *self.openings.entry((cron, timezone)).or_insert_with(|| window.next_open(self.now));
        let duration_seconds = window.duration.num_seconds();
        WindowView { cron: cron.to_owned(), timezone: timezone.to_owned(), duration_seconds, opens }
    }
}

/// What becomes of `old` after a rotation.
fn replaced(old: &Generation, situation: &Situation<'_>) -> Old {
    let Situation { policy, abilities, now, .. } = *situation;
    let can = &abilities.can;
    let left = |why: &str| {
        let when = match old.remote.expires {
            Expiry::At(at) => format!(" {}", words::relative(at.here(), now)),
            Expiry::Never => ", which it never does".to_owned(),
            Expiry::Unknown => String::new(),
        };
        (Fate::LeftToExpire, format!("left to expire{when}: {why}"))
    };
    let (fate, words) = if !can.overlap {
        (Fate::EndsAtOnce, "ends when the new one is minted".to_owned())
    } else if situation.can_revoke(old) {
        (Fate::Revoked, format!("revoked {} after the handover", words::span(policy.grace)))
    } else if can.revokes {
        left("its id at the provider is not known")
    } else {
        left("the definition has no revoke operation")
    };
    Old { generation: old.number, fate, words }
}

/// What becomes of the secret of `old` in a renewal.
fn renewed(old: &Generation, abilities: &Abilities) -> Old {
    let words = if abilities.can.renewal_overlaps {
        "renewed in place, its old secret works for a while"
    } else {
        "renewed in place, its old secret ends with that"
    };
    Old { generation: old.number, fate: Fate::Renewed, words: words.to_owned() }
}
