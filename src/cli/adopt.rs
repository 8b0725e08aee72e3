//! `patrold adopt`.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::clock::{Clock as _, SystemClock, Time};
use crate::control::AdoptRequest;
use crate::daemon::rotate::OperatorRequest;
use crate::exit::Exit;
use crate::names::{RemoteId, TokenName};
use crate::rotation::act::operator::Offer;
use crate::secret::{Secret, SecretParts, source};
use crate::view::rotated::Deed;

use super::ask::brought;
use super::disk::Disk;
use super::rotate::{tell, without_daemon};
use super::{Complaint, Console};

/// Arguments of `patrold adopt`.
#[derive(Clone, Debug, Args)]
pub struct AdoptArgs {
    /// The token of the inventory that the secret is for
    #[arg(value_name = "NAME")]
    name: TokenName,
    /// The file that holds the secret; without it, standard input, which must not be a terminal
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The provider's id of the secret, where patrold cannot find it out
    #[arg(long, value_name = "ID")]
    id: Option<RemoteId>,
    /// When it expires (RFC 3339), where patrold cannot find it out
    #[arg(long, value_name = "TIME")]
    expires: Option<Time>,
    /// How long to wait for the handover; it goes on afterwards where a daemon runs
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Takes an existing secret under management, through the daemon where one runs.
pub(super) fn run(args: &AdoptArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    disk.knows(&args.name)?;
    let secret = read(args.file.as_deref())?;
    let request = AdoptRequest {
        token: args.name.clone(),
        id: args.id.clone(),
        expires: args.expires,
        timeout_seconds: args.timeout.as_secs().max(1),
    };
    let answer = if let Some(answer) = disk.ask(console, |daemon| daemon.adopt(&request, &secret))? {
        answer
    } else {
        let offer = Offer { secret: SecretParts::new(secret), id: request.id, expires: request.expires };
        let (names, asked) = ([args.name.clone()], OperatorRequest::Adopt(Box::new(offer)));
        without_daemon(disk.valid()?, &names, asked, args.timeout, |_| {}, console)?
    };
    tell(&answer, Deed::Adopt, args.json, false, console)
}

/// The secret in the file, or on standard input. Nothing of it is ever shown.
fn read(file: Option<&Path>) -> Result<Secret, Complaint> {
    if file.is_none() && io::stdin().is_terminal() {
        return Err(Complaint::invalid("standard input is a terminal, which would show the secret")
            .with_help("name a file with --file, or pipe the secret in from where it is kept"));
    }
    let (place, content) = brought(file)?;
    source::parse(&content).map_err(|why| Complaint::invalid(format!("{place} holds no secret: {why}")))
}
