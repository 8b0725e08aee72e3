//! `patrold status`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::exit::Exit;
use crate::inventory::{Environment, defaults};
use crate::names::TokenName;
use crate::report::status::{JournalStatus, Status, build};
use crate::view::readiness::Readiness;

use super::reading::{Journaled, inventory, unknown_token};
use super::{Complaint, Console};
use crate::control::client::Client;

/// Where systemd puts the socket of a unit with `RuntimeDirectory=patrold`.
const SYSTEM_RUNTIME: &str = "/run/patrold";

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
pub(super) fn run(args: &StatusArgs, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    if args.ready {
        return ready(config, console);
    }
    let mut status = gather(config, console)?;
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
fn ready(config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let status = match inventory(config, SystemClock.now(), console) {
        Ok(inventory) => Client::new(&inventory.daemon)?.status()?,
        Err(_) => usual_status(),
    };
    let Some(status) = status else { return Err(Complaint::failed("no daemon is running")) };
    let readiness = Readiness::judge(&status, true);
    write!(console.out, "{}", readiness.text(false))?;
    Ok(if readiness.is_ready(false) { Exit::Fine } else { Exit::Failed })
}

fn gather(config: &Path, console: &mut Console) -> Result<Status, Complaint> {
    let now = SystemClock.now();
    let mut inventory = match inventory(config, now, console) {
        Ok(inventory) => inventory,
        // A daemon goes on with its last valid inventory, and who sees that the new one is invalid asks for its status.
        Err(complaint) => return usual_status().ok_or(complaint),
    };
    if let Some(status) = Client::new(&inventory.daemon)?.status()? {
        return Ok(status);
    }
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

/// The status of a daemon that listens where it does by default.
fn usual_status() -> Option<Status> {
    usual_sockets().iter().find_map(|socket| Client::at(socket).and_then(|client| client.status()).ok().flatten())
}

/// Where a daemon listens whose inventory says nothing about it.
fn usual_sockets() -> Vec<PathBuf> {
    let runtime = Environment::of_process().runtime_dir;
    let directories = runtime.into_iter().chain([PathBuf::from(SYSTEM_RUNTIME)]);
    directories.map(|directory| directory.join(defaults::CONTROL_NAME)).collect()
}
