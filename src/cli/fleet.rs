//! `patrold fleet`: several daemons that share one journal.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::clock::{Clock as _, SystemClock};
use crate::daemon::fleet::status;
use crate::exit::Exit;
use crate::inventory::{FleetSettings, Inventory, TokenPolicy};
use crate::journal::fleet::{EngineError, FleetJournal};
use crate::names::ReplicaName;
use crate::report::status::{ElsewhereStatus, UnownedStatus};

use super::reading::{inventory, of_fleet, open_fleet, seal_key};
use super::{Complaint, Console, discovery, runtime};

/// Arguments of `patrold fleet`.
#[derive(Clone, Debug, Args)]
pub struct FleetArgs {
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum FleetCommand {
    /// Make the fleet in its engine, once
    ///
    /// Notes the fleet's id, which the names of its tokens carry at their providers, and which key seals its secrets.
    /// Replicas join by themselves when they start.
    Init,
    /// Show the replicas, what they own, and how the engine is
    ///
    /// Asks the engine itself: no daemon need run on this host.
    Status {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a replica hand over everything that it owns, and take nothing more
    ///
    /// Before its host is shut down, or its program replaced. A stop does the same by itself; a drained replica stays so
    /// until --undo, also after a restart.
    Drain {
        /// The replica [default: that of this host]
        #[arg(value_name = "HOST")]
        host: Option<ReplicaName>,
        /// Let it take its share again
        #[arg(long)]
        undo: bool,
    },
}

/// Does what `args` ask for.
pub(super) fn run(args: &FleetArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let config = discovery::find(named)?;
    let inventory = inventory(&config, SystemClock.now(), console)?;
    let Some(fleet) = inventory.fleet.clone() else {
        return Err(
            Complaint::invalid("the inventory has no [fleet]").with_help("docs/fleet.md shows how one is set up")
        );
    };
    match &args.command {
        FleetCommand::Init => init(&inventory, &fleet, console),
        FleetCommand::Status { json } => show(&inventory, &fleet, *json, console),
        FleetCommand::Drain { host, undo } => drain(&inventory, &fleet, host.as_ref(), *undo, console),
    }
}

fn init(inventory: &Inventory, fleet: &FleetSettings, console: &mut Console) -> Result<Exit, Complaint> {
    let key = seal_key(inventory)?;
    let made = runtime()?.block_on(FleetJournal::found(fleet, &key, None)).map_err(|error| of_fleet(&error))?;
    writeln!(console.out, "fleet {} is made; its tokens are marked with {}", fleet.name, made.instance)?;
    console.note(format_args!("start `patrold run` on each host, with the same seal key and another `host`"))?;
    Ok(Exit::Fine)
}

fn show(inventory: &Inventory, fleet: &FleetSettings, json: bool, console: &mut Console) -> Result<Exit, Complaint> {
    let (presence, health) = runtime()?.block_on(async {
        let journal = open_fleet(inventory, fleet).await?;
        let presence = journal.presence().await.map_err(refused)?.0;
        Ok::<_, Complaint>((presence, journal.health().await.map_err(refused)?))
    })?;
    let mut status = status(&fleet.name, &presence, Some(&health));
    let free = inventory.accounts.keys().filter(|account| !presence.claims.contains_key(*account));
    // Since when, only replicas know.
    status.unowned = free.map(|account| UnownedStatus { account: account.clone(), for_seconds: 0 }).collect();
    let token = |policy: &Arc<TokenPolicy>| ElsewhereStatus {
        token: policy.name.clone(),
        account: policy.account.name.clone(),
        owner: presence.claims.get(&policy.account.name).map(|claim| claim.replica.clone()),
    };
    status.elsewhere = inventory.tokens.values().map(token).collect();
    if json {
        console.json(&status)?;
    } else {
        let width = console.width(false);
        status.write(SystemClock.now(), console.out_paint, width, &mut console.out)?;
        for unowned in &status.unowned {
            writeln!(console.out, "! nobody owns account {}", unowned.account)?;
        }
    }
    Ok(if status.unowned.is_empty() { Exit::Fine } else { Exit::Partly })
}

fn drain(
    inventory: &Inventory,
    fleet: &FleetSettings,
    host: Option<&ReplicaName>,
    undo: bool,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    let host = host.unwrap_or(&fleet.host);
    runtime()?.block_on(async {
        let journal = open_fleet(inventory, fleet).await?;
        journal.drain(host, !undo).await.map_err(refused)
    })?;
    if undo {
        writeln!(console.out, "{host} takes its share again")?;
    } else {
        writeln!(console.out, "{host} hands over what it owns; `patrold fleet status` shows how far it is")?;
    }
    Ok(Exit::Fine)
}

fn refused(error: EngineError) -> Complaint {
    Complaint::failed(error.failure().to_string())
}
