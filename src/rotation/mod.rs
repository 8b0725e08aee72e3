//! One token's life: a state machine whose every transition is a journal record.
//!
//! Phases and the events that change them; a test holds this against [`apply`](fn@apply). Events that are not here change what a
//! phase holds, and not the phase.
//!
//! ```text
//! vacant ──adopted──▶ steady
//!
//! a mint, from its intent to its outcome
//! vacant ──intended──▶ intended
//! steady ──intended──▶ intended
//! intended ──minted──▶ minted
//! intended ──mint-doubted──▶ searching
//! intended ──mint-refused──▶ steady
//! intended ──mint-refused──▶ vacant
//! searching ──orphan-revoked, search-ended──▶ steady
//! searching ──orphan-revoked, search-ended──▶ vacant
//!
//! a secret that an operator brought, or asked for again
//! vacant ──offered──▶ minted
//! steady ──offered, recalled──▶ minted
//! active ──recalled──▶ minted
//! steady ──replaced──▶ active
//!
//! from the proof to the handover; without an old generation nothing retires
//! minted ──verified──▶ verified
//! verified ──delivered──▶ delivered
//! delivered ──store-owed──▶ verified
//! delivered ──activated, activated-early──▶ active
//! delivered ──activated, activated-early──▶ steady
//! verified ──activated-early──▶ active
//! verified ──activated-early──▶ steady
//!
//! the way back
//! minted ──undo-begun──▶ undoing
//! verified ──undo-begun──▶ undoing
//! delivered ──undo-begun──▶ undoing
//! undoing ──undone──▶ steady
//! undoing ──undone──▶ vacant
//! undoing ──undone──▶ active
//!
//! the end of the old generation
//! active ──revoked──▶ revoked
//! revoked ──found-alive──▶ active
//! revoked ──retired──▶ steady
//! active ──retired, revocation-deferred, left-to-expire──▶ steady
//!
//! the end of a token that an operator retired, and that left the inventory
//! steady ──dismissed──▶ vacant
//!
//! a renewal in place, with or without an old generation that waits for its end
//! steady ──renewal-intended──▶ renewing
//! active ──renewal-intended──▶ renewing
//! renewing ──renewed──▶ renewed
//! renewing ──renewal-doubted──▶ doubted
//! renewing ──renewal-refused──▶ steady
//! renewing ──renewal-refused──▶ active
//! renewed ──renewal-verified, renewal-rejected──▶ steady
//! renewed ──renewal-verified, renewal-rejected──▶ active
//! doubted ──renewal-examined, renewal-refused──▶ steady
//! doubted ──renewal-examined, renewal-refused──▶ active
//! ```
//!
//! A candidate that an operator brought goes the way of every candidate. Where it is not handed over, one that was
//! brought is forgotten, and one that was recalled goes on retiring.
//!
//! Shortcuts out of steps that cannot be finished are taken only when waiting would leave consumers without a usable
//! secret: `activated-early` with stores or hooks still owed; `revocation-deferred`, and `undone` with a generation that
//! is remembered as an [`orphan`] and revoked later.
//!
//! `decide` looks at a state and says what comes next; `run` does it through [`effects::Effects`], journals what
//! happened, and lets `apply` make the next state of it. Daemon, command line and tests drive the same `run`.

pub mod act;
pub mod apply;
pub mod decide;
pub mod delivery;
pub mod due;
pub mod effects;
pub mod event;
pub mod generation;
pub mod held;
pub mod kinship;
pub mod life;
pub mod orphan;
mod own_time;
pub mod phase;
pub mod reason;
pub mod reckoning;
pub mod run;
pub mod state;
pub mod step;
pub mod steps;
pub mod stored;

#[cfg(test)]
pub(crate) mod tests;

pub use apply::apply;
pub use event::Event;
pub use state::{Phase, TokenState};
