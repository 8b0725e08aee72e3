//! Tests of the whole: of the program, and of rules that hold for the whole source.

#![allow(clippy::unwrap_used, reason = "the lint exempts test functions, but not what they share")]

mod cli;
mod daemon;
mod events;
mod kill;
mod metrics;
mod packaging;
mod pages;
mod purity;
mod schema;
mod upgrade;
