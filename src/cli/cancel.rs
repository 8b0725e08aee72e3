//! `patrold cancel`.

use std::path::Path;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::control::CancelRequest;
use crate::exit::Exit;
use crate::names::TokenName;

use super::disk::Disk;
use super::{Complaint, Console};

/// Arguments of `patrold cancel`.
#[derive(Clone, Debug, Args)]
pub struct CancelArgs {
    /// The token
    #[arg(value_name = "NAME")]
    name: TokenName,
}

/// Withdraws a request for a rotation, or for the end of a retired token, that the running daemon has not begun.
pub(super) fn run(args: &CancelArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    let known = disk.knows(&args.name);
    let request = CancelRequest { token: args.name.clone() };
    let answer = disk.ask(console, |daemon| daemon.cancel(&request))?;
    let answer = answer.ok_or_else(|| {
        Complaint::failed("no daemon is running, so nothing is about to begin")
            .with_help("a request that the journal holds is taken up at the next start: cancel it then")
    })?;
    if !answer.cancelled {
        known?;
        return Err(Complaint::failed(format!("{}: {}", args.name, answer.detail)));
    }
    console.note(format_args!("{}: the request is withdrawn", args.name))?;
    Ok(Exit::Fine)
}
