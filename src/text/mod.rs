//! Words and colours that log lines and views share. Pure.

mod paint;
pub mod words;

pub use paint::Paint;
