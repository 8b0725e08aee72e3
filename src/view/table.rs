//! Tables for terminals: aligned columns, one line for each row, no frames, so that `grep` and `awk` can read them too.

use std::io::{self, Write};

use comfy_table::{Table as Grid, presets};

use crate::text::{Paint, words};

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
    header: Vec<String>,
    rows: Vec<Row>,
    /// Columns that go where the terminal is narrow, the first one first.
    dispensable: &'static [&'static str],
    /// The last column stands below its row where it does not fit beside the others.
    folds: bool,
}

#[derive(Debug)]
struct Row {
    tint: Tint,
    cells: Vec<String>,
    /// What stands below.
    notes: Vec<String>,
}

/// Blanks before what stands below a row.
const INDENT: usize = 4;

/// Blanks between two columns.
const GAP: usize = 2;

impl Table {
    /// A table without rows.
    pub fn new(header: &[&str]) -> Self {
        let header = header.iter().map(|&name| name.to_owned()).collect();
        Self { header, rows: Vec::new(), dispensable: &[], folds: false }
    }

    /// On a narrow terminal these columns are left out as far as need be, the first one first.
    #[must_use]
    pub fn without(self, dispensable: &'static [&'static str]) -> Self {
        Self { dispensable, ..self }
    }

    /// On a narrow terminal the last column stands below its row.
    #[must_use]
    pub fn folding(self) -> Self {
        Self { folds: true, ..self }
    }

    /// Adds a row with as many cells as the header has.
    pub fn row(&mut self, tint: Tint, cells: Vec<String>) {
        self.rows.push(Row { tint, cells, notes: Vec::new() });
    }

    /// Puts a line below the last row.
    pub fn note(&mut self, text: String) {
        if let Some(row) = self.rows.last_mut() {
            row.notes.push(text);
        }
    }

    /// Writes all of it, however wide. Columns stand two blanks apart.
    pub fn write(self, paint: Paint, out: &mut impl Write) -> io::Result<()> {
        self.write_within(paint, None, out)
    }

    /// Writes it into so many columns of a terminal. No word is broken: what is too long for all that can be done stays as
    /// it is.
    pub fn write_within(mut self, paint: Paint, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        if let Some(width) = width {
            self.fit(width);
        }
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING).set_header(&self.header);
        grid.add_rows(self.rows.iter().map(|row| &row.cells));
        for column in grid.column_iter_mut() {
            column.set_padding((0, 2));
        }
        // Cells hold no line breaks, so each line but the first is one row.
        let mut rows = self.rows.iter();
        for (number, line) in grid.lines().enumerate() {
            let line = line.trim_end();
            let row = if number == 0 { None } else { rows.next() };
            let painted = match row.map(|row| row.tint) {
                None => paint.bold(line),
                Some(Tint::Plain) => line.into(),
                Some(Tint::Dim) => paint.dim(line),
                Some(Tint::Warning) => paint.yellow(line),
                Some(Tint::Error) => paint.red(line),
            };
            writeln!(out, "{painted}")?;
            for line in row.iter().flat_map(|row| &row.notes).flat_map(|note| words::wrapped(note, width, INDENT)) {
                writeln!(out, "{:INDENT$}{}", "", paint.dim(&line))?;
            }
        }
        Ok(())
    }

    /// Leaves out, and folds, what does not fit into `width`.
    fn fit(&mut self, width: usize) {
        for name in self.dispensable {
            if self.width() <= width {
                return;
            }
            if let Some(column) = self.header.iter().position(|known| known == name) {
                self.header.remove(column);
                self.rows.iter_mut().for_each(|row| drop(row.cells.remove(column)));
            }
        }
        if self.folds && self.width() > width && self.header.pop().is_some() {
            for row in &mut self.rows {
                if let Some(last) = row.cells.pop().filter(|cell| cell != "-") {
                    row.notes.insert(0, last);
                }
            }
        }
    }

    fn width(&self) -> usize {
        let of_column = |(number, name): (usize, &String)| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(number));
            cells.chain([name]).map(|cell| cell.chars().count()).max().unwrap_or_default() + GAP
        };
        self.header.iter().enumerate().map(of_column).sum::<usize>().saturating_sub(GAP)
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
    fn a_note_stands_below_its_row() {
        let mut table = Table::new(&["TOKEN"]);
        table.row(Tint::Plain, vec!["one".to_owned()]);
        table.note("why".to_owned());
        table.row(Tint::Plain, vec!["two".to_owned()]);
        assert_eq!(text(table, Paint::Plain), "TOKEN\none\n    why\ntwo\n");
    }

    #[test]
    fn on_a_narrow_terminal_columns_go_and_prose_stands_below_in_whole_words() {
        let table = || {
            let mut table = Table::new(&["TOKEN", "AT", "GEN", "WHY"]).without(&["AT", "GEN"]).folding();
            let cells = ["gps", "2026-11-22 00:52:48Z", "7", "its expiry is near, and nobody has replaced it"];
            table.row(Tint::Plain, cells.map(str::to_owned).to_vec());
            table
        };
        for (width, expected) in [
            (
                80,
                "TOKEN  AT                    GEN  WHY\ngps    2026-11-22 00:52:48Z  7    its expiry is near, and nobody has replaced it\n",
            ),
            (60, "TOKEN  GEN  WHY\ngps    7    its expiry is near, and nobody has replaced it\n"),
            (30, "TOKEN\ngps\n    its expiry is near, and\n    nobody has replaced it\n"),
        ] {
            let mut out = Vec::new();
            table().write_within(Paint::Plain, Some(width), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{width}");
        }
    }

    #[test]
    fn a_tint_colours_its_own_row() {
        let coloured = text(table(), Paint::Colours);
        assert!(coloured.ends_with("\u{1b}[1;31mü            -\u{1b}[0m\n"), "{coloured:?}");
    }
}
