//! `patrold demo`: the daemon at work on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use crate::demo::engine::EngineStartError;
use crate::demo::fleet::{self, FleetShowError};
use crate::demo::show::{Play, show};
use crate::exit::Exit;
use crate::inventory::EngineKind;

use super::{Complaint, runtime};

/// What `demo` is asked.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DemoArgs {
    /// How long to run [default: until Ctrl-C]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "SPAN")]
    duration: Option<Duration>,
    /// Show so many replicas over one engine instead, of which one is killed every few seconds
    ///
    /// The engine is started on loopback: etcd, or PostgreSQL where there is no etcd. One of the two must be installed.
    #[arg(long, value_name = "REPLICAS", value_parser = clap::value_parser!(u8).range(1..=9), conflicts_with_all = ["faults", "listen"])]
    fleet: Option<u8>,
    /// The engine of --fleet [default: what this machine has]
    #[arg(long, value_name = "KIND", value_parser = engine, requires = "fleet")]
    engine: Option<EngineKind>,
    /// Let the provider misbehave: lost answers, 429, 5xx, garbage, redirects
    #[arg(long)]
    faults: bool,
    /// Serve the status page here meanwhile; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Which requests go wrong with --faults
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
}

/// The demo has neither certificates nor secrets, so that it stays on loopback.
fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(address) => Err(format!("{address} is not loopback; write for example 127.0.0.1:0")),
        Err(_) => Err("write an address with a port, for example 127.0.0.1:0".to_owned()),
    }
}

fn engine(text: &str) -> Result<EngineKind, String> {
    match text {
        "etcd" => Ok(EngineKind::Etcd),
        "postgresql" => Ok(EngineKind::PostgreSql),
        _ => Err("there are etcd and postgresql".to_owned()),
    }
}

/// Shows the demo.
pub(super) fn run(args: &DemoArgs) -> Result<Exit, Complaint> {
    let runtime = runtime()?;
    if let Some(replicas) = args.fleet {
        let held = runtime.block_on(fleet::show(replicas.into(), args.engine, args.duration, &mut std::io::stdout()));
        let held = held.map_err(|error| match error {
            FleetShowError::Engine(EngineStartError::Missing) => Complaint::failed(error.to_string())
                .with_help("install one: the package etcd-server or postgresql of Debian and Ubuntu"),
            error => Complaint::failed(error.to_string()),
        })?;
        return Ok(if held { Exit::Fine } else { Exit::Failed });
    }
    let play = Play { duration: args.duration, faults: args.faults, seed: args.seed, listen: args.listen };
    let held = runtime.block_on(show(play, &mut std::io::stdout()))?;
    Ok(if held { Exit::Fine } else { Exit::Failed })
}
