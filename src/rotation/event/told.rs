//! The columns of the table of events.

use crate::rotation::step::Ended;

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// More of the same.
    Debug,
    /// A step of a rotation.
    Info,
    /// Something went wrong, and patrold helps itself.
    Warn,
    /// Something went wrong that an operator should look at.
    Error,
}

/// What is said of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// How loud its line is.
    pub level: Level,
    /// Reads alone, without its end.
    pub sentence: &'static str,
    /// The step that it ends.
    pub ended: Ended,
}
