//! When things happen: schedules and windows, the spread of due times, and waits after failures. Pure.

pub mod backoff;
pub mod cron;
pub mod jitter;
pub mod window;
