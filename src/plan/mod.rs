//! What is due, when, and why: pure functions of policy, state, observation and time.

pub mod backoff;
pub mod cron;
pub mod due;
pub mod jitter;
mod reason;

pub use reason::Reason;
