//! `patrold status`.

use std::io::Write as _;
use std::path::Path;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::exit::Exit;
use crate::names::TokenName;
use crate::report::status::{JournalStatus, Status, build};
use crate::view::readiness::Readiness;

use super::disk::Disk;
use super::reading::{Journaled, unknown_token};
use super::{Complaint, Console};
use crate::control::client::Client;

/// Arguments of `patrold status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Everything about these tokens instead of one line for each
    #[arg(value_name = "NAME")]
    names: Vec<TokenName>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Say only whether the daemon is ready, as `/readyz` does: exit 0 if so, 1 if not. For health checks of containers
    #[arg(long, conflicts_with_all = ["json", "names"])]
    ready: bool,
}

/// Shows the status of the running daemon, or else of the journal.
pub(super) fn run(args: &StatusArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    if args.ready {
        return ready(named, console);
    }
    let mut status = gather(named, console)?;
    for name in &args.names {
        if !status.tokens.iter().any(|token| token.name == *name) {
            return Err(unknown_token(name, status.tokens.iter().map(|token| &token.name)));
        }
    }
    if !args.names.is_empty() {
        status.tokens.retain(|token| args.names.contains(&token.name));
    }
    if args.json {
        console.json(&status)?;
    } else if args.names.is_empty() {
        status.write(console.out_paint, &mut console.out)?;
    } else {
        for (number, token) in status.tokens.iter().enumerate() {
            if number > 0 {
                writeln!(console.out)?;
            }
            status.write_token(token, console.out_paint, &mut console.out)?;
        }
    }
    Ok(if status.journal.unreadable.is_empty() { Exit::Fine } else { Exit::Partly })
}

/// Judges the running daemon. Nobody who is not running is ready; what it answered came from its scheduler.
fn ready(named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    let status = disk.ask(console, Client::status)?;
    let status = status.ok_or_else(|| Complaint::failed("no daemon is running"))?;
    let readiness = Readiness::judge(&status, true);
    write!(console.out, "{}", readiness.text(false))?;
    Ok(if readiness.is_ready(false) { Exit::Fine } else { Exit::Failed })
}

fn gather(named: Option<&Path>, console: &mut Console) -> Result<Status, Complaint> {
    let now = SystemClock.now();
    let disk = Disk::read(named, now, console);
    if let Some(status) = disk.ask(console, Client::status)? {
        return Ok(status);
    }
    let mut inventory = disk.valid()?;
    let journal = Journaled::read(&inventory.daemon.state_dir)?;
    let state_dir = inventory.daemon.state_dir.display().to_string();
    console.note(if journal.exists {
        "no daemon is running; showing the journal".to_owned()
    } else {
        format!("no daemon is running, and there is no journal in {state_dir}; showing the inventory")
    })?;
    // Of a token whose state nobody can read, nothing is known.
    journal.unreadable.iter().for_each(|(name, _)| drop(inventory.tokens.remove(name)));
    let unreadable = journal.unreadable.into_iter().map(|(_, why)| why).collect();
    let about = JournalStatus { state_dir, failure: None, unreadable };
    Ok(build(&inventory, &journal.states, about, now))
}
