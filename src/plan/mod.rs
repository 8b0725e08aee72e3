//! What is due, when, and why: pure functions of policy, state, observation and time.

pub mod cron;
