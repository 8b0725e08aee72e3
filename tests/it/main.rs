//! Tests of the whole: of the program, and of rules that hold for the whole source.

#![allow(clippy::unwrap_used, reason = "the lint exempts test functions, but not what they share")]

mod cli;
mod daemon;
mod events;
mod examples;
mod exec;
mod kill;
mod local_stores;
mod lookalike;
mod metrics;
mod packaging;
mod pages;
mod providers;
mod purity;
mod readers;
mod schema;
mod stores;
mod structure;
mod upgrade;

/// Says that a test was not done because something is missing. Under `CI` that is a failure: nobody reads its log.
fn skipped(why: &str) {
    use std::io::Write as _;
    assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty() || ci == "false"), "{why}");
    // Not by a macro: what those print is swallowed unless the test fails.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}
