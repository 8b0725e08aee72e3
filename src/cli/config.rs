//! `patrold config`: what the inventory means.

use std::path::Path;

use clap::{Args, Subcommand};

use crate::clock::{Clock as _, SystemClock};
use crate::exit::Exit;
use crate::inventory::origin::Origins;
use crate::inventory::{self, Environment};
use crate::view::check::render_report;
use crate::view::effective::Effective;

use super::{Complaint, Console};

/// Arguments of `patrold config`.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ConfigCommand {
    /// Show the inventory with every default, and where each value comes from
    ///
    /// Prints TOML that means the same, each key with the place that it was written at, or whose default it is. Operations
    /// that an account adds to its definition are left out.
    Show {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Shows the inventory on disk as it is meant.
pub(super) fn run(args: &ConfigArgs, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let ConfigCommand::Show { json } = args.command;
    let loaded = inventory::load(config, &Environment::of_process(config), SystemClock.now());
    let Some(inventory) = &loaded.inventory else {
        let report = render_report(&loaded.report, console.err_paint);
        return Err(Complaint::invalid(format!("the inventory is invalid\n{}", report.trim_end())));
    };
    let effective = Effective::new(inventory, &Origins::of(&loaded.report));
    if json {
        console.json(&effective)?;
    } else {
        effective.write(console.out_paint, &mut console.out)?;
    }
    Ok(Exit::Fine)
}
