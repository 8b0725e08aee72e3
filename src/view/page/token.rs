//! The page of one token: what `status NAME` and `explain NAME` say, and what happened to it.

use std::fmt::Write as _;

use crate::inventory::Inventory;
use crate::report::explanation::Explanation;
use crate::report::status::{Cause, Status};
use crate::rotation::steps::Happening;
use crate::text::words;
use crate::view::html::escape;
use crate::view::status::details;
use crate::view::timeline;

use super::frame::{Grid, Place, foot, head};
use super::{recent, show};

/// The page. `happenings`: the newest last.
pub fn render<'h>(
    status: &Status,
    inventory: &Inventory,
    explanation: &Explanation,
    place: Place<'_>,
    happenings: impl DoubleEndedIterator<Item = &'h Happening>,
) -> String {
    let mut out = String::with_capacity(16 << 10);
    let (token, now) = (&explanation.token, explanation.at);
    let (name, word) = (escape(token.name.as_str()), token.condition.word());
    head(&mut out, status, place, &format!("{name} is {word}"), Some("../"), false);
    // Writing to a String cannot fail, here and below.
    let _ = write!(out, "<h1>{name} <span class=\"{word}\">{} {word}</span></h1>", token.condition.glyph());
    if let Some(Cause { what, advice }) = token.cause() {
        let advice = advice.map(|advice| format!("<p>{}</p>", escape(&advice))).unwrap_or_default();
        let _ = write!(out, "<section class=\"trouble\"><p>{}</p>{advice}</section>", escape(&what));
    }
    let account = explanation.account.as_ref();
    for cause in account.into_iter().flat_map(|account| account.causes(now)) {
        let account = account.map_or("", |account| account.name.as_str());
        let line = format!("account {account} {}", cause.line());
        let _ = write!(out, "<section class=\"trouble\"><p>{}</p></section>", escape(&line));
    }
    out.push_str("<dl>");
    let mut line = |what: &str, text: &str| {
        let _ = write!(out, "<dt>{what}</dt><dd>{}</dd>", escape(text));
    };
    for (what, text) in details(token, now) {
        line(what, &text);
    }
    if let Some(window) = &explanation.window {
        let state = if window.open { "open" } else { "closed" };
        line("window", &format!("{} ({}), {state} now", window.cron, window.timezone));
    }
    if let Some(policy) = inventory.tokens.get(&token.name) {
        policy.stores.iter().for_each(|store| line("store", store.key.as_str()));
        policy.hooks.iter().for_each(|hook| line("hook", hook.key.as_str()));
    }
    out.push_str("</dl>\n");
    let picture = timeline::present(status, inventory, &[token], 1);
    if !picture.lanes.is_empty() {
        show(&mut out, &picture);
    }
    let mut due = Grid::new("When it is due", &["Rule", "Due", "Decides", "Why"]);
    for rule in &explanation.rules {
        let at = rule.at.map(|at| words::relative(at, now)).unwrap_or_default();
        due.row(escape(rule.label()), &[&at, if rule.decides { "yes" } else { "" }, &rule.words]);
    }
    due.write(&mut out, 0, "");
    if !explanation.obstacles.is_empty() {
        let mut obstacles = Grid::new("In its way", &["What", "Until", "Why"]);
        for obstacle in &explanation.obstacles {
            let until = obstacle.until.map(|at| words::relative(at, now)).unwrap_or_default();
            obstacles.row(escape(obstacle.label()), &[&until, &obstacle.words]);
        }
        obstacles.write(&mut out, 0, "");
    }
    recent(&mut out, happenings.rev().filter(|it| it.token == token.name), "", now);
    foot(&mut out);
    out
}
