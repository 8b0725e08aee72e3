//! Tables for terminals: aligned columns, one line for each row, no frames, so that `grep` and `awk` can read them too.

use std::io::{self, Write};

use comfy_table::{Table as Grid, presets};

use crate::text::Paint;

/// What a row wants to be noticed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tint {
    Plain,
    /// Nothing to see.
    Dim,
    /// Somebody should look.
    Warning,
    /// Something is broken.
    Error,
}

/// Rows under a header.
#[derive(Debug)]
pub struct Table {
    grid: Grid,
    tints: Vec<Tint>,
}

impl Table {
    /// A table without rows.
    pub fn new(header: &[&str]) -> Self {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).set_header(header);
        Self { grid, tints: Vec::new() }
    }

    /// Adds a row with as many cells as the header has.
    pub fn row(&mut self, tint: Tint, cells: Vec<String>) {
        self.grid.add_row(cells);
        self.tints.push(tint);
    }

    /// Writes all of it. Columns stand two blanks apart.
    pub fn write(mut self, paint: Paint, out: &mut impl Write) -> io::Result<()> {
        for column in self.grid.column_iter_mut() {
            column.set_padding((0, 2));
        }
        // Cells hold no line breaks, so each line but the first is one row.
        let mut tints = self.tints.iter();
        for (number, line) in self.grid.lines().enumerate() {
            let line = line.trim_end();
            let tint = if number == 0 { None } else { tints.next() };
            let painted = match tint {
                None => paint.bold(line),
                Some(Tint::Plain) => line.into(),
                Some(Tint::Dim) => paint.dim(line),
                Some(Tint::Warning) => paint.yellow(line),
                Some(Tint::Error) => paint.red(line),
            };
            writeln!(out, "{painted}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(table: Table, paint: Paint) -> String {
        let mut out = Vec::new();
        table.write(paint, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn table() -> Table {
        let mut table = Table::new(&["TOKEN", "WHY"]);
        table.row(Tint::Plain, vec!["a-long-name".to_owned(), "nothing is due".to_owned()]);
        table.row(Tint::Error, vec!["ü".to_owned(), "-".to_owned()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        assert_eq!(text(table(), Paint::Plain), "TOKEN        WHY\na-long-name  nothing is due\nü            -\n");
    }

    #[test]
    fn a_tint_colours_its_own_row() {
        let coloured = text(table(), Paint::Colours);
        assert!(coloured.ends_with("\u{1b}[1;31mü            -\u{1b}[0m\n"), "{coloured:?}");
    }
}
