//! `patrold demo`: the daemon at work on loopback.

use std::time::Duration;

use crate::demo::show::{Play, show};
use crate::exit::Exit;

use super::{Complaint, runtime};

/// What `demo` is asked.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DemoArgs {
    /// How long to run [default: until Ctrl-C]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "SPAN")]
    duration: Option<Duration>,
    /// Let the provider misbehave: lost answers, 429, 5xx, garbage, redirects
    #[arg(long)]
    faults: bool,
    /// Which requests go wrong with --faults
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
}

/// Shows the demo.
pub(super) fn run(args: &DemoArgs) -> Result<Exit, Complaint> {
    let runtime = runtime()?;
    let play = Play { duration: args.duration, faults: args.faults, seed: args.seed };
    let held = runtime.block_on(show(play, &mut std::io::stdout()))?;
    Ok(if held { Exit::Fine } else { Exit::Failed })
}
