//! Reading definitions of providers: from the text of a file to a [`Provider`](crate::provider::Provider), with every
//! problem told at its place. [`crate::provider`] interprets what was read, and knows nothing of files.

mod binding;
mod builtin;
mod call;
pub(crate) mod capture;
mod contract;
mod discover;
mod lineage;
mod lint;
mod login;
mod params;
mod resolve;
mod store;
mod supplement;

#[cfg(test)]
mod tests;

pub use builtin::{Definitions, parse, read_file};
pub use lint::{lint, words};
pub use supplement::with_operations;
