//! The result of a provider test as a table.

use std::io::{self, Write};

use crate::clock::Time;
use crate::report::trial::{Finding, Left, Report, Seen};

use super::table::{Table, Tint};
use crate::text::{Paint, words};

/// Writes the table, and below it what became of the tokens.
pub fn write(report: &Report, now: Time, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
    let Report { provider, account, url, .. } = report;
    writeln!(out, "{} at account {account}, {url}\n", paint.bold(provider.as_str()))?;
    let mut table = Table::new(&["ABILITY", "CLAIMED", "SEEN", "HOW CHECKED"]).folding();
    for finding in &report.findings {
        let claimed = if finding.claimed { "yes" } else { "-" };
        let evidence = if finding.evidence.is_empty() { "-" } else { &finding.evidence };
        let cells = [finding.ability.word(), claimed, finding.seen.word(), evidence];
        table.row(tint(finding), cells.map(str::to_owned).into());
    }
    table.write_within(paint, width, out)?;
    writeln!(out, "\n{}", verdict(report))?;
    for warning in &report.warnings {
        writeln!(out, "{}: {warning}", paint.yellow("warning"))?;
    }
    if !report.cleaned.is_empty() {
        let count = words::count(report.cleaned.len(), "token");
        writeln!(out, "{count} of an earlier test revoked: {}", report.cleaned.join(", "))?;
    }
    if report.left.is_empty() {
        return writeln!(out, "Nothing that was minted is left.");
    }
    for left in &report.left {
        writeln!(out, "{}: {}", paint.yellow("left behind"), line(left, now))?;
        let remedy = if left.unavoidable {
            "nothing to do but wait, or revoke it where the provider lets people do that"
        } else {
            "revoke it at the provider, or run the test again: it tries once more"
        };
        writeln!(out, "  = {}: {remedy}", paint.cyan("help"))?;
    }
    Ok(())
}

fn verdict(report: &Report) -> String {
    if let Some(problem) = &report.problem {
        return format!("The test ended early: {problem}");
    }
    if report.interrupted {
        return "The test was stopped before its end.".to_owned();
    }
    let broken: Vec<_> =
        report.findings.iter().filter(|finding| !finding.holds()).map(|finding| finding.ability.word()).collect();
    if broken.is_empty() {
        "Everything that the definition claims was seen to hold.".to_owned()
    } else {
        format!("The definition claims what was not seen to hold: {}.", broken.join(", "))
    }
}

/// `patrold-…-g1-… at controller, id 42, expires in 1h: why`.
fn line(left: &Left, now: Time) -> String {
    let id = left.id.as_ref().map_or_else(|| "id unknown".to_owned(), |id| format!("id {id}"));
    let expires = left.expires.map(|at| format!(", expires {}", words::relative(at, now))).unwrap_or_default();
    format!("{} at account {}, {id}{expires}: {}", left.marker, left.account, left.why)
}

fn tint(finding: &Finding) -> Tint {
    match (finding.holds(), finding.seen) {
        (false, Seen::Unknown) => Tint::Warning,
        (false, _) => Tint::Error,
        (true, Seen::NotDefined) => Tint::Dim,
        (true, _) => Tint::Plain,
    }
}
