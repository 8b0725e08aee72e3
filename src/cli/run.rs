//! `patrold run`: the daemon.

use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::daemon::once::{Tally, once};
use crate::daemon::serve::{Ended, serve};
use crate::event;
use crate::exit::Exit;
use crate::inventory::{DaemonSettings, LogFormat};
use crate::telemetry::log::{Choice, Logger, VARIABLE};

use super::console::Usual;
use super::{Complaint, Console, runtime};

/// Arguments of `patrold run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// error, warn, info, debug, trace, or directives such as `patrold::account=debug`; overrides the inventory
    #[arg(long, env = VARIABLE, hide_env_values = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How log lines look; overrides the inventory
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,
    /// Do what is due now, and end: for timers and pipelines, where no daemon runs
    #[arg(long)]
    once: bool,
    /// With --once: how long what is under way may take
    #[arg(long, requires = "once", value_name = "SPAN", default_value = "10m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// How long threads may go on that read or write when the daemon ends.
const LAST_READS: Duration = Duration::from_secs(1);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Pretty on a terminal, JSON otherwise
    Auto,
    Pretty,
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Auto => Self::Auto,
            Format::Pretty => Self::Pretty,
            Format::Json => Self::Json,
        }
    }
}

/// Runs the daemon until a signal ends it, or does what is due.
pub(super) fn run(args: &RunArgs, config: &Path, console: &Console) -> Result<Exit, Complaint> {
    let level = args.log_level.clone().or_else(|| console.verbosity.level(Usual::Steps).map(str::to_owned));
    let choice = Choice { level, format: args.log_format.map(Into::into) };
    let logger = Logger::install(choice).map_err(|error| Complaint::invalid(error.to_string()))?;
    let runtime = runtime()?;
    let follow = |settings: &DaemonSettings| {
        if let Err(error) = logger.follow(&settings.log_level, settings.log_format) {
            tracing::warn!(event = event::LOG_LEVEL_UNUSABLE, %error, "the inventory's log level is not used");
        }
    };
    if args.once {
        return Ok(verdict(runtime.block_on(once(config, args.timeout, follow))?));
    }
    let ended = runtime.block_on(serve(config, follow));
    // A disk that hangs must not hold up the end: whatever still waits for one has nothing left to write.
    runtime.shutdown_timeout(LAST_READS);
    match ended {
        Ok(Ended::Drained) => Ok(Exit::Fine),
        Ok(Ended::Aborted) => Ok(Exit::Failed),
        Err(error) => Err(error.into()),
    }
}

fn verdict(tally: Tally) -> Exit {
    match tally {
        Tally { failed: 0, .. } => Exit::Fine,
        Tally { done: 0, .. } => Exit::Failed,
        Tally { .. } => Exit::Partly,
    }
}
