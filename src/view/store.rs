//! Store definitions as text and as data, and the result of their tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

use super::provider::{ParamView, checked, heading, list, param};
use super::table::{Table, Tint};
use crate::names::ProviderName;
use crate::provider::slots::Proof;
use crate::provider::{Pace, Provider};
use crate::store::trial::Report;
use crate::text::{Paint, words};

/// One definition. Part of `store list --json` and `store show --json`: names are stable.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreView {
    pub name: ProviderName,
    pub title: String,
    pub checked: &'static str,
    /// The definition that it extends.
    pub extends: Option<String>,
    /// `value`, `evidence` or `nothing`.
    pub reads_back: &'static str,
    /// A write of somebody else between look and write is noticed.
    pub notices_conflicts: bool,
    /// Parameters that name the target.
    pub target: Vec<String>,
    /// The parameter that names the slot in it.
    pub slot: Option<String>,
    pub takes_effect: String,
    pub side_effect: String,
    /// How often the service takes requests of one account, in words; empty where its vendor does not tell.
    pub pace: String,
    pub default_url: Option<String>,
    /// What the account's credential must be allowed to do.
    pub credential: String,
    pub notes: Vec<String>,
    pub docs: Vec<String>,
    /// Why questions of `store lint` are left open, by their codes.
    pub reasons: BTreeMap<&'static str, String>,
    /// An inventory that uses it, in TOML.
    pub example: String,
    pub params: BTreeMap<String, ParamView>,
}

impl StoreView {
    /// What there is to say of `store`.
    pub fn new(store: &Provider) -> Self {
        let rules = store.store();
        let text = |of: Option<&String>| of.cloned().unwrap_or_default();
        Self {
            name: store.name.clone(),
            title: store.title.clone(),
            checked: checked(store.checked).0,
            extends: Some(store.extends.clone()).filter(|base| !base.is_empty()),
            reads_back: reads_back(store).0,
            notices_conflicts: store.notices_conflicts(),
            target: rules.map(|rules| rules.target.clone()).unwrap_or_default(),
            slot: rules.and_then(|rules| rules.slot.clone()),
            takes_effect: text(rules.map(|rules| &rules.takes_effect)),
            side_effect: text(rules.map(|rules| &rules.side_effect)),
            pace: rules.and_then(|rules| rules.pace).map(pace).unwrap_or_default(),
            default_url: store.default_url().map(ToString::to_string),
            credential: store.credential.clone(),
            notes: store.notes.clone(),
            docs: store.docs.clone(),
            reasons: store.reasons().iter().map(|(question, why)| (question.code(), why.clone())).collect(),
            example: store.example.clone(),
            params: store.params.iter().map(|(name, spec)| (name.clone(), ParamView::new(spec, false))).collect(),
        }
    }
}

/// Writes a table of definitions, on a terminal with `width` columns.
pub fn write_list<'a>(
    stores: impl Iterator<Item = &'a Provider>,
    paint: Paint,
    width: Option<usize>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut table = Table::new(&["NAME", "CHECKED", "READS BACK", "CONFLICTS", "TITLE"]).folding();
    for store in stores {
        let cells = [
            store.name.as_str(),
            checked(store.checked).0,
            reads_back(store).0,
            if store.notices_conflicts() { "noticed" } else { "-" },
            store.title.as_str(),
        ];
        table.row(Tint::Plain, cells.map(str::to_owned).into());
    }
    table.write_within(paint, width, out)
}

fn pace(pace: Pace) -> String {
    format!("at most {} requests in {}", pace.requests, humantime::format_duration(pace.per))
}

/// All of one definition, on a terminal with so many columns. Its example stays as it is, to be copied.
pub fn render(store: &Provider, paint: Paint, columns: Option<usize>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}  {}", paint.bold(store.name.as_str()), store.title);
    let _ = writeln!(out, "\n  checked       {}", checked(store.checked).1);
    if !store.extends.is_empty() {
        let _ = writeln!(out, "  extends       {}", store.extends);
    }
    let url = store.default_url().map_or("must be given", url::Url::as_str);
    let _ = writeln!(out, "  url           {url}");
    let _ = writeln!(out, "  credential    {}", store.credential);
    let _ = writeln!(out, "  reads back    {}", reads_back(store).1);
    let conflicts = if store.notices_conflicts() {
        "a write of somebody else at the same time is noticed"
    } else {
        "of two writes at the same time the last one wins"
    };
    let _ = writeln!(out, "  conflicts     {conflicts}");
    if let Some(rules) = store.store() {
        let _ = writeln!(out, "  target        {}", rules.target.join(", "));
        let slot = rules.slot.as_deref().unwrap_or("the target itself");
        let _ = writeln!(out, "  slot          {slot}");
        let pace = rules.pace.map(pace).unwrap_or_default();
        for (what, text) in
            [("takes effect", &rules.takes_effect), ("side effect", &rules.side_effect), ("pace", &pace)]
        {
            if !text.is_empty() {
                let _ = writeln!(out, "  {what:<13} {text}");
            }
        }
    }
    heading(&mut out, paint, "Parameters");
    let width = store.params.keys().map(String::len).max().unwrap_or_default();
    for (name, spec) in &store.params {
        let _ = writeln!(out, "  {name:<width$}  {}", param(spec));
    }
    list(&mut out, paint, "Notes", &store.notes);
    list(&mut out, paint, "Documentation", &store.docs);
    let reasons = store.reasons().iter().map(|(question, why)| format!("{}: {why}", question.code()));
    list(&mut out, paint, "Left open", &reasons.collect::<Vec<_>>());
    let mut out = words::folded(&out, columns);
    if !store.example.is_empty() {
        heading(&mut out, paint, "Example");
        out.push_str(&store.example);
    }
    out
}

/// The result of a test as a table.
pub fn write_trial(report: &Report, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} at {}\n", paint.bold(report.store.as_str()), report.slot)?;
    let mut table = Table::new(&["STEP", "HELD", "EVIDENCE"]).folding();
    for step in &report.steps {
        let held = if step.held { "yes" } else { "no" };
        let tint = if step.held { Tint::Plain } else { Tint::Error };
        table.row(tint, [step.what, held, &step.evidence].map(str::to_owned).into());
    }
    table.write_within(paint, width, out)?;
    writeln!(
        out,
        "\n{}",
        if report.held {
            "Everything that the definition claims was seen to hold. The slot keeps the last test value."
        } else {
            "The definition claims what was not seen to hold."
        }
    )
}

/// What a write can be compared with: a word and a sentence.
fn reads_back(store: &Provider) -> (&'static str, &'static str) {
    match store.proof() {
        Proof::Value => ("value", "the value is read back after each write"),
        Proof::Evidence => ("evidence", "the store hides the value and tells that it changed"),
        Proof::Nothing => ("nothing", "the store shows nothing: its acknowledgement counts"),
    }
}
