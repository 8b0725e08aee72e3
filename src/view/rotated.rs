//! What became of rotations that somebody asked for.

use std::io::{self, Write};

use crate::control::{RotateAnswer, RotateOutcome};

use super::Paint;
use super::table::{Table, Tint};

/// Writes a table of the results.
pub fn write(answer: &RotateAnswer, paint: Paint, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new(&["TOKEN", "OUTCOME", "GENERATION", "DETAIL"]);
    for result in &answer.results {
        let (word, tint) = match result.outcome {
            RotateOutcome::Rotated => ("rotated", Tint::Plain),
            RotateOutcome::Waiting => ("waiting", Tint::Warning),
            RotateOutcome::Failed => ("failed", Tint::Error),
            RotateOutcome::UnknownToken => ("unknown", Tint::Error),
        };
        let generation = result.generation.map_or_else(|| "-".to_owned(), |generation| generation.to_string());
        let detail = if result.detail.is_empty() { "-".to_owned() } else { result.detail.clone() };
        table.row(tint, vec![result.token.to_string(), word.to_owned(), generation, detail]);
    }
    table.write(paint, out)
}
