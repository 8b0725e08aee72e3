//! One token's life: a state machine whose every transition is a journal record.
//!
//! ```text
//!            ┌───────────────────────────── refused, or the orphan is revoked ──────────────────────────┐
//!            ▼                                                                                           │
//!  Vacant / Steady ──intended──▶ Intended ──mint doubted──▶ Searching ───────────────────────────────────┤
//!     ▲  │  ▲                       │ minted                                                             │
//!     │  │  │                       ▼                                                                    │
//!     │  │  │                    Minted ──verified──▶ Verified ──delivered──▶ Delivered                  │
//!     │  │  │                       │ undo begun         │                       │ activated             │
//!     │  │  │                       ▼                    ▼                       ▼                       │
//!     │  │  │                    Undoing ◀───────────────┴────────────────────  Active ◀──found alive── Revoked
//!     │  │  │                       │ undone                                     │ └───revoked────────────▲ │
//!     │  │  └───────────────────────┴────────────────────────────────────────────┴──retired───────────────┘
//!     │  │ renewal intended
//!     │  ▼
//!     │ Renewing ──renewal doubted──▶ Doubted ──examined──▶ (Steady)
//!     │  │ renewed
//!     │  ▼
//!     └ Renewed (renewal verified)
//! ```
//!
//! An operator may bring a candidate: Vacant or Steady ──offered──▶ Minted, with a secret that already exists; Active or
//! Steady ──recalled──▶ Minted, with the generation before. From there on it goes the way of every candidate. Where it is
//! not handed over, one that was brought is forgotten, and one that was recalled goes on retiring: Undoing ──undone──▶
//! Active.
//!
//! Shortcuts out of steps that cannot be finished, taken only when waiting would leave consumers without a usable secret:
//! Verified or Delivered ──activated early──▶ Active, with stores or hooks still owed; Active ──revocation deferred──▶
//! Steady and Undoing ──undone──▶ Steady, with a generation that is remembered as an [`orphan`] and revoked later.
//!
//! `decide` looks at a state and says what comes next; `run` does it through [`effects::Effects`], journals what
//! happened, and lets `apply` make the next state of it. Daemon, command line and tests drive the same `run`.

pub mod act;
pub mod apply;
pub mod decide;
pub mod due;
pub mod effects;
pub mod event;
pub mod orphan;
pub mod reason;
pub mod run;
pub mod state;
pub mod steps;

#[cfg(test)]
pub(crate) mod tests;

pub use apply::apply;
pub use event::Event;
pub use state::{Phase, TokenState};
