//! What the process tells about itself.

pub mod event;
pub mod log;
