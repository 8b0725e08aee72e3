//! patrold against real servers: the life of a token at each of them, with answers that get lost and a daemon that is
//! killed. What holds afterwards is asked of the server itself, over plain HTTP, and not of patrold.
//!
//! `.ci/servers cargo test --test servers` installs and starts the servers. Where one does not run, its test says so and
//! passes; with `PATROLD_SERVERS_REQUIRED=1` it fails.

#![allow(clippy::unwrap_used, reason = "the lint exempts test functions, but not what they share")]

mod daemon;
mod devpi;
mod directus;
mod facts;
mod jupyterhub;
mod keystone;
mod life;
mod mail;
mod moto;
mod oidc;
mod openbao;
mod proxy;
mod refresh;
mod service;
mod stores;
mod synapse;
mod unleash;
mod verdaccio;
mod wire;
