//! Log lines of the process.

pub mod log;
pub mod remedy;
