//! `patrold journal`: the durable record itself.

use std::io::Write as _;
use std::path::Path;

use clap::{Args, Subcommand};

use crate::clock::{Clock as _, SystemClock};
use crate::exit::Exit;
use crate::journal::sqlite::OpenError;
use crate::names::TokenName;
use crate::view::exported::Exported;

use super::reading::{inventory, open_journal, unreadable};
use super::{Complaint, Console};

/// Arguments of `patrold journal`.
#[derive(Clone, Debug, Args)]
pub struct JournalArgs {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum JournalCommand {
    /// Print every record as a line of JSON; secrets are in none of them
    Export {
        /// Only the records of this token
        #[arg(long, value_name = "NAME")]
        token: Option<TokenName>,
    },
}

/// Does what `args` ask for.
pub(super) fn run(args: &JournalArgs, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    match &args.command {
        JournalCommand::Export { token } => export(token.as_ref(), config, console),
    }
}

fn export(token: Option<&TokenName>, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let inventory = inventory(config, SystemClock.now(), console)?;
    let journal = open_journal(&inventory.daemon.state_dir)?;
    let instance = journal.instance();
    let mut written = Ok(());
    let read = journal.each(token, |record| {
        written = serde_json::to_writer(&mut console.out, &Exported::new(instance, record))
            .map_err(std::io::Error::from)
            .and_then(|()| console.out.write_all(b"\n"));
        written.is_ok()
    });
    written?;
    read.map_err(|error: OpenError| unreadable(&error))?;
    Ok(Exit::Fine)
}
