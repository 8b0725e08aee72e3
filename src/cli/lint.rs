//! `patrold provider lint` and `patrold store lint`.

use std::io::Write as _;
use std::path::Path;

use clap::Args;

use crate::definition::{self, Definitions};
use crate::document::{Report, SourceId};
use crate::exit::Exit;
use crate::provider::Provider;
use crate::text::words;
use crate::view::check::render_report;
use crate::view::lint::Linted;

use super::definitions::{Kind, find};
use super::{Complaint, Console};

/// Arguments of `patrold provider lint` and `patrold store lint`.
#[derive(Clone, Debug, Args)]
pub struct LintArgs {
    /// Files of definitions (`*.toml`), or names of definitions
    #[arg(value_name = "FILE_OR_NAME", required_unless_present = "all")]
    what: Vec<String>,
    /// Every definition: the built-in ones and those of the configured inventory
    #[arg(long, conflicts_with = "what")]
    all: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  patrold provider lint providers/own.toml
  patrold provider lint --all
  patrold provider lint --all --json | jq '.[] | select(.reasons.proof) | .name'

Exit status: 0 every question is answered or has a reason; 1 a question is open; 2 a definition cannot be read.";

/// Asks definitions of one kind the questions that rotations, or deliveries, go wrong by.
pub(super) fn run(
    args: &LintArgs,
    definitions: &Definitions,
    kind: Kind,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    let mut linted = Vec::new();
    if args.all {
        let all: Vec<_> = match kind {
            Kind::Provider => definitions.providers().collect(),
            Kind::Store => definitions.stores().collect(),
        };
        for provider in all {
            linted.push(named(provider, args.json, console)?);
        }
    }
    for what in &args.what {
        linted.push(if is_file(what) {
            let mut report = Report::new();
            let read = definition::read_file(Path::new(what), &mut report);
            lint(what, read.as_ref().map(|(provider, source)| (provider, *source)), &report, args.json, console)?
        } else {
            named(&*find(definitions, what, kind)?, args.json, console)?
        });
    }
    let invalid = linted.iter().filter(|linted| !linted.valid).count();
    let findings: usize = linted.iter().map(|linted| linted.findings.len()).sum();
    let reasons: usize = linted.iter().map(|linted| linted.reasons.len()).sum();
    if args.json {
        console.json(&linted)?;
    } else {
        console.note(format_args!(
            "{}: {}, {} left open with a reason",
            words::count(linted.len(), "definition"),
            words::count(findings, "finding"),
            words::count(reasons, "question")
        ))?;
    }
    Ok(match (invalid, findings) {
        (0, 0) => Exit::Fine,
        (0, _) => Exit::Failed,
        _ => Exit::Invalid,
    })
}

/// Whether an argument is a path: names of definitions have no slash and do not end so.
fn is_file(what: &str) -> bool {
    what.contains('/') || Path::new(what).extension().is_some_and(|extension| extension == "toml")
}

fn named(provider: &Provider, json: bool, console: &mut Console) -> Result<Linted, Complaint> {
    let mut report = Report::new();
    let file = format!("{}.toml", provider.name);
    let source = report.add_source(file.as_str(), provider.source());
    lint(&file, Some((provider, source)), &report, json, console)
}

fn lint(
    file: &str,
    read: Option<(&Provider, SourceId)>,
    report: &Report,
    json: bool,
    console: &mut Console,
) -> Result<Linted, Complaint> {
    let findings = read.map(|(provider, source)| definition::lint(provider, source, report)).unwrap_or_default();
    let linted = Linted::new(file, read.map(|(provider, _)| provider), report, &findings);
    if !json {
        for (spot, finding) in &findings {
            let (message, help) = definition::words(finding);
            report.warning(*spot, message, help);
        }
        console.out.write_all(render_report(report, console.out_paint).as_bytes())?;
    }
    Ok(linted)
}
