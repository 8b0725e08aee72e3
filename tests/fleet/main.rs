//! A fleet of real daemons over a real etcd and a real PostgreSQL, with the provider of the demo, whose ledger tells afterwards whether the promise
//! held: replicas are killed, paused and stopped while tokens are rotated every few seconds.
//!
//! Needs `etcd`, `etcdctl` and the programs of PostgreSQL's server; where one is missing, its tests say so and pass. With `PATROLD_FLEET_REQUIRED=1` they fail.

#![allow(clippy::unwrap_used, reason = "the lint exempts test functions, but not what they share")]

mod agents;
mod cluster;
mod elsewhere;
mod engine;
mod hosts;
mod inputs;
mod labels;
mod limits;
mod moves;
mod postgres;
mod rekey;
mod restored;
mod rounds;
mod secured;
mod stage;
mod typed;
