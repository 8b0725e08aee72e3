//! The result of `check`: the problems of an inventory, what it asks for, when its cron expressions fire, and what follows
//! from what the providers cannot do.

mod advice;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::clock::Time;
use crate::document::{Report, Severity};
use crate::host::Facts;
use crate::inventory::Inventory;
use crate::journal::key::KeySource;
use crate::names::TokenName;
use crate::timing::cron::Schedule;

pub use advice::Advice;

use super::online::Online;
use crate::text::{Paint, words};

/// How many firings of each cron expression are shown.
const FIRINGS: usize = 3;

/// How many tokens are named where many have something in common.
const NAMED: usize = 3;

/// Everything that was checked. Part of `check --json`: names are stable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checks {
    pub valid: bool,
    pub errors: usize,
    pub warnings: usize,
    pub inventories: Vec<Check>,
}

impl Checks {
    /// The sum of `inventories`.
    pub fn new(inventories: Vec<Check>) -> Self {
        let count = |severity| {
            inventories.iter().flat_map(|check| &check.problems).filter(|found| found.severity == severity).count()
        };
        Self {
            valid: inventories.iter().all(|check| check.valid),
            errors: count(Severity::Error.into()),
            warnings: count(Severity::Warning.into())
                + inventories.iter().map(|check| check.advice.len()).sum::<usize>(),
            inventories,
        }
    }
}

/// One inventory.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// Its main file, as it was named.
    pub file: String,
    pub valid: bool,
    pub problems: Vec<Finding>,
    /// What it asks for; `null` where it is invalid.
    pub contents: Option<Contents>,
    pub firings: Vec<Firings>,
    pub advice: Vec<Advice>,
    /// What accounts and stores answered, where they were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<Online>,
}

/// One problem of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    pub severity: Grade,
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    pub help: Option<String>,
}

/// Whether a problem keeps the inventory from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    Error,
    Warning,
}

impl From<Severity> for Grade {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Error => Self::Error,
            Severity::Warning => Self::Warning,
        }
    }
}

/// How much an inventory asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Contents {
    pub tokens: usize,
    pub paused: usize,
    pub accounts: usize,
    pub stores: usize,
    pub hooks: usize,
    #[serde(skip_serializing_if = "is_zero")]
    pub channels: usize,
}

/// When a cron expression fires next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Firings {
    pub cron: String,
    pub timezone: String,
    /// `schedule` or `window`.
    pub purpose: &'static str,
    pub tokens: Vec<TokenName>,
    /// The next ones, in UTC.
    pub next: Vec<Time>,
    /// The same on the clocks of the zone.
    pub local: Vec<String>,
}

impl Check {
    /// What there is to say of the inventory of `file` at `now`. `key`: where the sealing key would come from, if that
    /// can be told from here. `facts`: of the machine that the daemon runs on.
    pub fn new(
        file: String,
        report: &Report,
        inventory: Option<&Inventory>,
        key: Option<&KeySource>,
        facts: &Facts,
        now: Time,
    ) -> Self {
        Self {
            file,
            valid: inventory.is_some(),
            problems: findings(report),
            contents: inventory.map(contents),
            firings: inventory.map(|inventory| firings(inventory, now)).unwrap_or_default(),
            advice: inventory.map(|inventory| advice::advice(inventory, key, facts)).unwrap_or_default(),
            online: None,
        }
    }

    /// Adds what was found of files that others may change or read, a line each with its remedy at the end.
    pub fn expose(&mut self, warnings: Vec<String>) {
        self.advice.extend(warnings.into_iter().map(|warning| {
            let (message, help) = warning.rsplit_once(": ").unwrap_or((&warning, ""));
            Advice { about: "files".to_owned(), message: message.to_owned(), help: help.to_owned() }
        }));
    }

    /// What is told of a valid inventory on standard output.
    pub fn render(&self, paint: Paint, now: Time) -> String {
        let mut out = String::new();
        let Some(contents) = &self.contents else { return out };
        let paused = if contents.paused > 0 { format!(" ({} paused)", contents.paused) } else { String::new() };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{} is valid: {}{paused}, {}, {}, {}",
            paint.bold(&self.file),
            words::count(contents.tokens, "token"),
            words::count(contents.accounts, "account"),
            words::count(contents.stores, "store"),
            words::count(contents.hooks, "hook"),
        );
        if contents.channels > 0 {
            let _ = writeln!(out, "people are told through {}", words::count(contents.channels, "channel"));
        }
        for firings in &self.firings {
            let _ = writeln!(
                out,
                "\n{} \"{}\" ({}) of {} fires next:",
                firings.purpose,
                firings.cron,
                firings.timezone,
                words::some(&firings.tokens, NAMED)
            );
            for (at, local) in firings.next.iter().zip(&firings.local) {
                let _ = writeln!(out, "  {local}, {}", words::relative(*at, now));
            }
        }
        out
    }

    /// The advice, for standard error; on a terminal with so many columns, in lines of whole words.
    pub fn render_advice(&self, paint: Paint, width: Option<usize>) -> String {
        self.advice.iter().fold(String::new(), |mut out, advice| {
            let kind = paint.yellow("warning");
            let help = paint.cyan("help");
            let fold =
                |text: &str, indent: usize| words::wrapped(text, width, indent).join(&format!("\n{:indent$}", ""));
            let message = fold(&format!("{}: {}", advice.about, advice.message), 9);
            let _ = writeln!(out, "{kind}: {message}\n  = {help}: {}\n", fold(&advice.help, 10));
            out
        })
    }
}

/// The report for a terminal. The layout is the one of [`Report::render`]: a headline, three lines of source, and help.
pub fn render_report(report: &Report, paint: Paint) -> String {
    let plain = report.render();
    if paint == Paint::Plain {
        return plain;
    }
    let mut out = String::with_capacity(plain.len() * 2);
    let mut position = 0;
    for line in plain.lines() {
        let painted = match position {
            0 => headline(line, paint),
            3 => marks(line, paint),
            _ => line.replacen("= help:", &format!("= {}:", paint.cyan("help")), usize::from(position == 4)),
        };
        out.push_str(&painted);
        out.push('\n');
        position = if line.is_empty() { 0 } else { position + 1 };
    }
    out
}

/// `place: kind: message` with its kind in colour.
fn headline(line: &str, paint: Paint) -> String {
    let kinds = [(": error: ", paint.red("error")), (": warning: ", paint.yellow("warning"))];
    let first = kinds.iter().filter_map(|(mark, painted)| line.split_once(mark).map(|parts| (parts, painted)));
    match first.min_by_key(|((place, _), _)| place.len()) {
        Some(((place, message), painted)) => format!("{}: {painted}: {message}", paint.bold(place)),
        None => line.to_owned(),
    }
}

/// The underlining in colour.
fn marks(line: &str, paint: Paint) -> String {
    let (gutter, marks) = line.split_at(line.find('^').unwrap_or(line.len()));
    format!("{gutter}{}", paint.red(marks))
}

pub(super) fn findings(report: &Report) -> Vec<Finding> {
    let finding = |problem: crate::document::Problem| {
        let place = report.place(problem.spot);
        let mut parts = place.rsplitn(3, ':');
        let column = parts.next().and_then(|number| number.parse().ok()).unwrap_or(1);
        let line = parts.next().and_then(|number| number.parse().ok()).unwrap_or(1);
        let file = parts.next().unwrap_or_default().to_owned();
        Finding { severity: problem.severity.into(), file, line, column, message: problem.message, help: problem.help }
    };
    report.problems().into_iter().map(finding).collect()
}

fn contents(inventory: &Inventory) -> Contents {
    let tokens = inventory.tokens.values();
    Contents {
        tokens: tokens.len(),
        paused: tokens.clone().filter(|token| token.paused).count(),
        accounts: inventory.accounts.len(),
        stores: tokens.clone().map(|token| token.stores.len()).sum(),
        hooks: tokens.map(|token| token.hooks.len()).sum(),
        channels: inventory.channels.len(),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Every cron expression once, with the tokens that use it, in the order of their first tokens.
fn firings(inventory: &Inventory, now: Time) -> Vec<Firings> {
    let mut places: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut found: Vec<(Firings, &Schedule)> = Vec::new();
    for token in inventory.tokens.values() {
        let schedule = token.schedule.as_ref().map(|schedule| ("schedule", schedule));
        let window = token.window.as_ref().map(|window| ("window", &window.opens));
        for (purpose, schedule) in schedule.into_iter().chain(window) {
            let key = (purpose, schedule.expression(), schedule.timezone().name());
            let place = *places.entry(key).or_insert_with(|| {
                let (cron, timezone) = (schedule.expression().to_owned(), schedule.timezone().to_string());
                let empty = Firings { cron, timezone, purpose, tokens: vec![], next: vec![], local: vec![] };
                found.push((empty, schedule));
                found.len() - 1
            });
            found[place].0.tokens.push(token.name.clone());
        }
    }
    let finish = |(mut firings, schedule): (Firings, &Schedule)| {
        firings.next = schedule.firings(now, FIRINGS);
        let local = |at: &Time| at.with_timezone(&schedule.timezone()).format("%a %Y-%m-%d %H:%M:%S %Z").to_string();
        firings.local = firings.next.iter().map(local).collect();
        firings
    };
    found.into_iter().map(finish).collect()
}

#[cfg(test)]
mod tests {
    use crate::document::Spot;

    use super::*;

    fn report() -> Report {
        let mut report = Report::new();
        let source = report.add_source("a:b.toml", "x = 1\ny | ^ = \": error: \"\n");
        report.error_with_help(Spot::new(source, 6..7), "unknown key `y`", "remove it");
        report.warning(Spot::new(source, 0..1), "odd", "write z");
        report
    }

    #[test]
    fn colours_change_nothing_but_colour() {
        let report = report();
        let coloured = render_report(&report, Paint::Colours);
        assert!(coloured.contains("\u{1b}[1;31merror\u{1b}[0m: unknown key `y`"), "{coloured:?}");
        let mut plain = coloured;
        for code in ["1;31", "1;33", "36", "1", "2", "0"] {
            plain = plain.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(plain, report.render());
        assert_eq!(render_report(&report, Paint::Plain), report.render());
    }

    #[test]
    fn a_finding_has_its_place_in_parts() {
        let found = findings(&report());
        assert_eq!((found[1].file.as_str(), found[1].line, found[1].column), ("a:b.toml", 2, 1));
        assert_eq!((found[0].severity, found[1].severity), (Grade::Warning, Grade::Error));
    }
}
