//! What people and programs get to see: pure functions from inventory, journal and time to values, text and JSON.

pub mod check;
mod paint;
pub mod words;

pub use paint::Paint;
