//! What follows the end of a program. Pure.

use std::time::Duration;

use super::Plan;
use super::child::Finished;

/// How often a program is started again that ends right after a change, before this process ends with it.
const TRIES: u32 = 3;

/// What a run of the program follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// It was started because values changed.
    changed: bool,
    /// How often it has ended since, each time soon.
    pub ends: u32,
}

impl Life {
    /// Right after a change.
    pub fn after_change() -> Self {
        Self { changed: true, ends: 0 }
    }
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This process ends with the status.
    End(u8),
    /// The program is started again; `previous`: with the values from before the change.
    Again { wait: Duration, previous: bool },
}

/// What follows the end of a program that ran for `ran`. `has_previous`: there are values from before the change.
pub fn after(plan: &Plan, life: Life, finished: Finished, ran: Duration, has_previous: bool) -> Next {
    let crashed = life.changed && ran < plan.steady && !finished.was_asked;
    if !crashed || life.ends >= TRIES {
        return Next::End(finished.status());
    }
    let previous = plan.fallback && has_previous;
    Next::Again { wait: Duration::from_secs(1 << life.ends), previous }
}

#[cfg(test)]
mod tests {
    use super::super::OnChange;
    use super::*;

    #[test]
    fn a_program_is_started_again_only_where_a_change_ended_it() {
        let plan = |fallback| Plan {
            argv: vec!["x".into()],
            values: Vec::new(),
            watched: Vec::new(),
            on_change: OnChange::Restart,
            wait: Duration::ZERO,
            coalesce: Duration::ZERO,
            splay: Duration::ZERO,
            stop_signal: rustix::process::Signal::TERM,
            stop_timeout: Duration::ZERO,
            steady: Duration::from_secs(10),
            fallback,
        };
        let (soon, late) = (Duration::from_secs(1), Duration::from_secs(11));
        let exited = |code| Finished { code: Some(code), signal: None, was_asked: false };
        let again = |seconds, previous| Next::Again { wait: Duration::from_secs(seconds), previous };
        let changed = |ends| Life { changed: true, ends };
        for (sentence, fallback, life, finished, ran, expected) in [
            ("it ended by itself", false, Life::default(), exited(3), soon, Next::End(3)),
            (
                "it was killed",
                false,
                Life::default(),
                Finished { code: None, signal: Some(9), was_asked: false },
                late,
                Next::End(137),
            ),
            ("right after a change", false, changed(0), exited(1), soon, again(1, false)),
            ("with a way back", true, changed(0), exited(1), soon, again(1, true)),
            ("again and again", false, changed(2), exited(1), soon, again(4, false)),
            ("once too often", false, changed(3), exited(1), soon, Next::End(1)),
            ("long after a change", true, changed(0), exited(1), late, Next::End(1)),
            (
                "somebody asked for it",
                true,
                changed(0),
                Finished { code: Some(0), signal: None, was_asked: true },
                soon,
                Next::End(0),
            ),
        ] {
            assert_eq!(after(&plan(fallback), life, finished, ran, true), expected, "{sentence}");
        }
        assert_eq!(after(&plan(true), changed(1), exited(1), soon, false), again(2, false), "it had its way back");
    }
}
