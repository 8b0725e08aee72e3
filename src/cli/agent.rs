//! `patrold agent`: the program on a host of consumers that writes what a fleet has for them.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::daemon::agent::{AgentError, serve};
use crate::exit::Exit;
use crate::inventory::{Environment, load_agent};
use crate::telemetry::log::{Choice, Logger, VARIABLE};
use crate::view::check::render_report;

use super::console::Usual;
use super::run::Format;
use super::{Complaint, Console, runtime};

/// Arguments of `patrold agent`.
#[derive(Clone, Debug, Args)]
pub struct AgentArgs {
    /// The agent's own file
    #[arg(value_name = "FILE", default_value = "/etc/patrold/agent.toml")]
    file: PathBuf,
    /// Read the file, tell what is wrong with it, and end
    #[arg(long)]
    check: bool,
    /// error, warn, info, debug, trace, or directives
    #[arg(long, env = VARIABLE, hide_env_values = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How log lines look
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,
}

/// Runs the agent until a signal ends it.
pub(super) fn run(args: &AgentArgs, console: &mut Console) -> Result<Exit, Complaint> {
    let environment = Environment::of_process(&args.file);
    let (settings, report) = load_agent(&args.file, &environment, SystemClock.now());
    write!(console.err, "{}", render_report(&report, console.err_paint))?;
    let Some(settings) = settings else { return Err(Complaint::told(Exit::Invalid)) };
    if args.check {
        writeln!(console.out, "{} is fine: host {} of fleet {}", args.file.display(), settings.host, settings.fleet)?;
        return Ok(Exit::Fine);
    }
    let level = args.log_level.clone().or_else(|| console.verbosity.level(Usual::Steps).map(str::to_owned));
    let choice = Choice { level, format: args.log_format.map(Into::into) };
    let _logger = Logger::install(choice).map_err(|error| Complaint::invalid(error.to_string()))?;
    match runtime()?.block_on(serve(settings)) {
        Ok(()) => Ok(Exit::Fine),
        Err(error) => Err(complaint(&error)),
    }
}

fn complaint(error: &AgentError) -> Complaint {
    let complaint = Complaint::failed(error.to_string());
    match error.help() {
        Some(help) => complaint.with_help(help),
        None => complaint,
    }
}
