//! A picture of time: one lane for each token, with the lives of its generations, the moments at which it is rotated, its
//! windows and its grace. An SVG without scripts, styles of attributes or anything from elsewhere.

mod draw;
mod lanes;

pub use draw::{COLOURS, STYLE, standalone, svg};
pub use lanes::{foreseen, present};

use crate::clock::Time;

/// The lanes, and the time that they show.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    pub from: Time,
    pub to: Time,
    pub now: Time,
    pub lanes: Vec<Lane>,
    /// Tokens that are not shown.
    pub left_out: usize,
}

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    pub name: String,
    /// What a reader sees who rests on the lane, or cannot see the picture.
    pub title: String,
    pub bars: Vec<Bar>,
    /// When it is, or is to be, rotated.
    pub marks: Vec<Mark>,
    /// When rotations may begin.
    pub windows: Vec<(Time, Time)>,
}

/// The life of a generation, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    pub kind: BarKind,
    pub from: Time,
    /// `None`: without a known end.
    pub to: Option<Time>,
}

/// What a bar shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// The generation that consumers use.
    Current,
    /// One that does not exist yet.
    Planned,
    /// The old one, until it is revoked.
    Grace,
    /// The current one does not work.
    Dead,
}

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    pub kind: MarkKind,
    pub at: Time,
}

/// What happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A new generation, or a renewal.
    Renew,
    /// The same, although the window is closed.
    Overridden,
}
