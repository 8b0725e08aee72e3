//! A fleet of real daemons over a real etcd, with the provider of the demo, whose ledger tells afterwards whether the promise
//! held: replicas are killed, paused and stopped while tokens are rotated every few seconds.
//!
//! Needs `etcd` in the path; where there is none, the tests say so and pass. With `PATROLD_FLEET_REQUIRED=1` they fail.

#![allow(clippy::unwrap_used, reason = "the lint exempts test functions, but not what they share")]

mod engine;
mod inputs;
mod moves;
mod restored;
mod rounds;
mod secured;
mod stage;
