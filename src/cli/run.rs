//! `patrold run`: the daemon.

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::daemon::serve::{Ended, serve};
use crate::exit::Exit;
use crate::inventory::{DaemonSettings, LogFormat};
use crate::telemetry::event;
use crate::telemetry::log::{Choice, Logger, VARIABLE};

use super::{Complaint, runtime};

/// Arguments of `patrold run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// error, warn, info, debug, trace, or directives such as `patrold::account=debug`; goes before the inventory
    #[arg(long, env = VARIABLE, hide_env_values = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How log lines look; goes before the inventory
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
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

/// Runs the daemon until a signal ends it.
pub(super) fn run(args: &RunArgs, config: &Path) -> Result<Exit, Complaint> {
    let choice = Choice { level: args.log_level.clone(), format: args.log_format.map(Into::into) };
    let logger = Logger::install(choice).map_err(|error| Complaint::invalid(error.to_string()))?;
    let runtime = runtime()?;
    let follow = |settings: &DaemonSettings| {
        if let Err(error) = logger.follow(&settings.log_level, settings.log_format) {
            tracing::warn!(event = event::LOG_LEVEL_UNUSABLE, %error, "the inventory's log level is not used");
        }
    };
    match runtime.block_on(serve(config, follow)) {
        Ok(Ended::Drained) => Ok(Exit::Fine),
        Ok(Ended::Aborted) => Ok(Exit::Failed),
        Err(error) => Err(error.into()),
    }
}
