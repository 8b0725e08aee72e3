//! `patrold rollback`.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::control::RollbackRequest;
use crate::daemon::rotate::OperatorRequest;
use crate::exit::Exit;
use crate::names::TokenName;
use crate::view::rotated::Deed;

use super::disk::Disk;
use super::rotate::{tell, without_daemon};
use super::{Complaint, Console};

/// Arguments of `patrold rollback`.
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// The token
    #[arg(value_name = "NAME")]
    name: TokenName,
    /// How long to wait until the consumers have it; it goes on afterwards where a daemon runs
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Puts the previous token back, through the daemon where one runs.
pub(super) fn run(args: &RollbackArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    disk.knows(&args.name)?;
    let request = RollbackRequest { token: args.name.clone(), timeout_seconds: args.timeout.as_secs().max(1) };
    let answer = match disk.ask(console, |daemon| daemon.rollback(&request))? {
        Some(answer) => answer,
        None => without_daemon(
            disk.valid()?,
            std::slice::from_ref(&args.name),
            OperatorRequest::Recall,
            args.timeout,
            |_| {},
            console,
        )?,
    };
    tell(&answer, Deed::Recall, args.json, false, console)
}
