//! Results of requested rotations as a table.

use std::io::{self, Write};

use crate::report::rotation::{RotateAnswer, RotateOutcome, RotateResult};

use super::status::write_trouble;
use super::table::{Table, Tint};
use crate::text::Paint;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Rotate,
    Adopt,
    Recall,
}

/// What was done, where it was.
fn done(deed: Deed, result: &RotateResult) -> &'static str {
    match deed {
        Deed::Adopt => "adopted",
        Deed::Recall => "rolled back",
        // The generation stays; so says the detail.
        Deed::Rotate if !result.detail.is_empty() => "renewed",
        Deed::Rotate => "rotated",
    }
}

/// Writes a table of the results.
pub fn write(
    answer: &RotateAnswer,
    deed: Deed,
    paint: Paint,
    width: Option<usize>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut table = Table::new(&["TOKEN", "OUTCOME", "GENERATION", "DETAIL"]).folding();
    for result in &answer.results {
        let (word, tint) = match result.outcome {
            RotateOutcome::Rotated => (done(deed, result), Tint::Plain),
            RotateOutcome::Waiting => ("waiting", Tint::Warning),
            RotateOutcome::Failed => ("failed", Tint::Error),
            RotateOutcome::Refused => ("refused", Tint::Error),
            RotateOutcome::UnknownToken => ("unknown", Tint::Error),
        };
        let generation = result.generation.map_or_else(|| "-".to_owned(), |generation| generation.to_string());
        let detail = if result.detail.is_empty() { "-".to_owned() } else { result.detail.clone() };
        table.row(tint, vec![result.token.to_string(), word.to_owned(), generation, detail]);
    }
    table.write_within(paint, width, out)?;
    let left: Vec<_> =
        answer.results.iter().flat_map(|result| result.left.iter().map(move |it| (result, it))).collect();
    if !left.is_empty() {
        writeln!(out, "\nleft to do:")?;
    }
    for (result, what) in left {
        write_trouble(&format!("{}: {what}", result.token), 0, paint, width, out)?;
    }
    Ok(())
}

/// One result in a few words: `rotated, generation 4`.
pub fn word(result: &RotateResult) -> String {
    match (result.outcome, result.generation) {
        (RotateOutcome::Rotated, Some(generation)) if !result.detail.is_empty() => {
            format!("generation {generation} is current, {}", result.detail)
        }
        (RotateOutcome::Rotated, Some(generation)) => format!("generation {generation} is current"),
        (RotateOutcome::Rotated, None) => "rotated".to_owned(),
        (RotateOutcome::Waiting, _) => format!("waiting: {}", result.detail),
        (RotateOutcome::Failed, _) => format!("failed: {}", result.detail),
        (RotateOutcome::Refused, _) => format!("refused: {}", result.detail),
        (RotateOutcome::UnknownToken, _) => "unknown".to_owned(),
    }
}
