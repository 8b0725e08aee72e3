//! Data that leaves the process: plain values with stable names, for `--json`, the control socket, pages and metrics.
//!
//! Fields are added, never renamed. Each is made of inventory, state and time by a pure function; [`crate::view`] shows
//! them to people, [`crate::control`] carries them.

#![warn(missing_docs)]

pub mod audit;
pub mod explanation;
pub mod outlook;
pub mod reload;
pub mod retirement;
pub mod rotation;
pub mod status;
pub mod trial;
