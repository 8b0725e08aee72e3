//! Progress of long work: a line that is rewritten on a terminal, a line for each result otherwise.

use std::io::{self, IsTerminal as _, Write as _};

use crate::report::rotation::{RotateOutcome, RotateResult};
use crate::view::rotated;

/// When progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Never,
    /// Where there is more than one result to wait for.
    WhereUseful,
}

/// The progress of several rotations, on standard error.
#[derive(Debug)]
pub(super) struct ProgressLine {
    shown: Shown,
    terminal: bool,
    done: usize,
    failed: usize,
    /// A line stands on the terminal that has to be cleared.
    dirty: bool,
}

impl ProgressLine {
    pub(super) fn new(shown: Shown) -> Self {
        Self { shown, terminal: io::stderr().is_terminal(), done: 0, failed: 0, dirty: false }
    }

    /// One more of `expected` results is there.
    pub(super) fn tell(&mut self, expected: usize, result: &RotateResult) {
        if result.interim {
            return self.waits(expected, result);
        }
        self.done += 1;
        self.failed += usize::from(!matches!(result.outcome, RotateOutcome::Rotated | RotateOutcome::Waiting));
        if self.shown == Shown::Never || expected < 2 {
            return;
        }
        let mut err = io::stderr().lock();
        // ProgressLine that nobody sees is no reason to stop.
        let _ = if self.terminal {
            self.dirty = true;
            let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
            write!(err, "\r\u{1b}[K{} {} of {expected}{failed}", bar(self.done, expected), self.done)
        } else {
            writeln!(err, "{} of {expected}: {}: {}", self.done, result.token, rotated::word(result))
        };
    }

    /// One of the results takes its time.
    fn waits(&self, expected: usize, result: &RotateResult) {
        // A bar says as much of several.
        if self.shown == Shown::WhereUseful && !(self.terminal && expected > 1) {
            let _ = writeln!(io::stderr().lock(), "{}: {}", result.token, rotated::word(result));
        }
    }

    /// Clears the line.
    pub(super) fn end(self) {
        if self.dirty {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// Twenty characters, filled as far as the work is done.
fn bar(done: usize, expected: usize) -> String {
    const WIDTH: usize = 20;
    let filled = (done * WIDTH / expected.max(1)).min(WIDTH);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_when_all_is_done() {
        for (done, expected, bar_is) in
            [(0, 3, "[....................]"), (1, 2, "[##########..........]"), (3, 3, "[####################]")]
        {
            assert_eq!(bar(done, expected), bar_is, "{done} of {expected}");
        }
    }
}
