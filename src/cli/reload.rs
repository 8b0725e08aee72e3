//! `patrold reload`.

use std::io::Write as _;
use std::path::Path;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::control::client::Client;
use crate::exit::Exit;

use super::disk::Disk;
use super::{Complaint, Console};

/// Arguments of `patrold reload`.
#[derive(Clone, Debug, Args)]
pub struct ReloadArgs {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Has the running daemon apply the inventory on disk.
pub(super) fn run(args: &ReloadArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    let answer = disk.ask(console, Client::reload)?;
    let answer = answer.ok_or_else(|| {
        Complaint::failed("no daemon is running").with_help("`patrold run` starts one with the inventory as it is")
    })?;
    let exit = if answer.applied { Exit::Fine } else { Exit::Invalid };
    if args.json {
        console.json(&answer)?;
        return Ok(exit);
    }
    for line in &answer.changes {
        writeln!(console.out, "{line}")?;
    }
    if !answer.applied {
        let problems = answer.problems.join("\n");
        return Err(Complaint::invalid(format!("the inventory is invalid; the one before stays in use\n{problems}")));
    }
    if answer.changes.is_empty() {
        console.note("nothing changed")?;
    }
    Ok(exit)
}
