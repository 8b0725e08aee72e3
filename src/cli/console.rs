//! Where a command writes: results to standard output, everything about the command itself to standard error.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use rustix::termios::tcgetwinsize;
use serde::Serialize;

use crate::text::{Paint, words};

use super::{ColorWhen, Complaint};

/// How much a command says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors and warnings only.
    Quiet,
    /// So many times more than usual.
    More(u8),
}

impl Verbosity {
    /// The level of log lines that it asks for, `usual` being what is logged otherwise. `None`: nothing was asked.
    pub(super) fn level(self, usual: Usual) -> Option<&'static str> {
        match (self, usual) {
            (Self::Quiet, _) => Some("error"),
            (Self::More(0), _) => None,
            (Self::More(1), Usual::Warnings) => Some("info"),
            (Self::More(1), Usual::Steps) | (Self::More(2), Usual::Warnings) => Some("debug"),
            (Self::More(_), _) => Some("trace"),
        }
    }
}

/// What a process logs where nobody asks for more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usual {
    /// A command that does the daemon's work once.
    Warnings,
    /// The daemon.
    Steps,
}

/// Both outputs of a command, and whether each is coloured.
pub struct Console {
    /// Results.
    pub out: BufWriter<Quiet<io::Stdout>>,
    /// Problems, notes and progress.
    pub err: Quiet<io::Stderr>,
    pub out_paint: Paint,
    pub err_paint: Paint,
    pub verbosity: Verbosity,
    /// Results go to a terminal.
    terminal: bool,
}

impl Console {
    /// The outputs of this process. Colour on terminals only, unless `when` says otherwise.
    pub fn new(when: ColorWhen, verbosity: Verbosity) -> Self {
        // https://no-color.org: any value that is not empty.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let paint = |terminal: bool| match when {
            ColorWhen::Always => Paint::Colours,
            ColorWhen::Auto if terminal && !plain => Paint::Colours,
            ColorWhen::Never | ColorWhen::Auto => Paint::Plain,
        };
        Self {
            out_paint: paint(io::stdout().is_terminal()),
            err_paint: paint(io::stderr().is_terminal()),
            out: BufWriter::with_capacity(1 << 16, Quiet::new(io::stdout())),
            err: Quiet::new(io::stderr()),
            verbosity,
            terminal: io::stdout().is_terminal(),
        }
    }

    /// Writes `value` as JSON for people and programs: indented, one newline at the end.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Complaint> {
        serde_json::to_writer_pretty(&mut self.out, value).map_err(io::Error::from)?;
        Ok(self.out.write_all(b"\n")?)
    }

    /// How many columns results have; `None`: as many as they need, because they do not go to a terminal or `wide` says so.
    pub fn width(&self, wide: bool) -> Option<usize> {
        self.size().map(|(columns, _)| columns).filter(|_| !wide)
    }

    /// Columns and rows of the terminal that results go to.
    pub fn size(&self) -> Option<(usize, usize)> {
        // A terminal that was never told its size says zero.
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && self.terminal)?;
        Some((usize::from(size.ws_col), usize::from(size.ws_row)))
    }

    /// Notes and progress are left out.
    pub fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Tells something about the command itself.
    pub fn note(&mut self, text: impl fmt::Display) -> Result<(), Complaint> {
        if self.is_quiet() {
            return Ok(());
        }
        let text = words::continued(&text.to_string(), Self::err_width(), 0);
        Ok(writeln!(self.err, "{text}")?)
    }

    /// How many columns the terminal has that notes go to.
    fn err_width() -> Option<usize> {
        let size = tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_col > 0 && io::stderr().is_terminal())?;
        Some(usize::from(size.ws_col))
    }

    /// Tells why a command fails, with the remedy.
    pub fn complain(&mut self, complaint: &Complaint) -> io::Result<()> {
        let (paint, width) = (self.err_paint, Self::err_width());
        let message = words::continued(&complaint.to_string(), width, "error: ".len());
        writeln!(self.err, "{}: {message}", paint.red("error"))?;
        let Some(help) = &complaint.help else { return Ok(()) };
        let lines = words::wrapped(help, width, "  = help: ".len());
        let help = if help.contains('\n') { help.clone() } else { lines.join("\n          ") };
        writeln!(self.err, "  = {}: {help}", paint.cyan("help"))
    }

    /// Tells how far something is, without a new line.
    pub fn progress(&mut self, text: impl fmt::Display) -> Result<(), Complaint> {
        if self.is_quiet() {
            return Ok(());
        }
        write!(self.err, "{text}")?;
        Ok(self.err.flush()?)
    }

    /// Tells something that somebody should look at.
    pub fn warn(&mut self, text: impl fmt::Display) -> Result<(), Complaint> {
        let text = words::continued(&text.to_string(), Self::err_width(), "warning: ".len());
        Ok(writeln!(self.err, "{}: {text}", self.err_paint.yellow("warning"))?)
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("out_paint", &self.out_paint).finish_non_exhaustive()
    }
}

/// A writer whose reader may go away: from then on everything is swallowed.
///
/// `patrold status | head` ends as if all of it had been read. The command still does all of its work, and its exit
/// status is what it would have been.
#[derive(Debug)]
pub struct Quiet<W> {
    inner: W,
    closed: bool,
}

impl<W> Quiet<W> {
    fn new(inner: W) -> Self {
        Self { inner, closed: false }
    }

    fn unless_closed<T>(&mut self, swallowed: T, write: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        if self.closed {
            return Ok(swallowed);
        }
        match write(&mut self.inner) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(swallowed)
            }
            other => other,
        }
    }
}

impl<W: Write> Write for Quiet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_closed(bytes.len(), |inner| inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), W::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts `room` bytes, then says that nobody reads.
    struct Pipe {
        room: usize,
        kind: io::ErrorKind,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room < bytes.len() {
                return Err(self.kind.into());
            }
            self.room -= bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_asked_for_sets_the_level() {
        for (verbosity, usual, level) in [
            (Verbosity::Quiet, Usual::Steps, Some("error")),
            (Verbosity::More(0), Usual::Steps, None),
            (Verbosity::More(1), Usual::Steps, Some("debug")),
            (Verbosity::More(1), Usual::Warnings, Some("info")),
            (Verbosity::More(2), Usual::Warnings, Some("debug")),
            (Verbosity::More(9), Usual::Warnings, Some("trace")),
        ] {
            assert_eq!(verbosity.level(usual), level, "{verbosity:?} {usual:?}");
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_and_a_full_disk_is() {
        for (sentence, kind, fine) in
            [("head is done", io::ErrorKind::BrokenPipe, true), ("disk full", io::ErrorKind::StorageFull, false)]
        {
            let mut out = Quiet::new(Pipe { room: 4, kind });
            out.write_all(b"1234").unwrap();
            assert_eq!(out.write_all(b"5678").is_ok(), fine, "{sentence}");
            assert_eq!(out.closed, fine, "{sentence}");
        }
    }
}
