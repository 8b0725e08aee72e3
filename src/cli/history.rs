//! `patrold history`.

use std::io::Write as _;
use std::path::Path;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::exit::Exit;
use crate::journal::archive::{Reader, VerifyError};
use crate::journal::record::Record;
use crate::names::TokenName;
use crate::view::history::{ChainView, History, SuspectView};

use super::disk::Disk;
use super::reading::{only_alone, open_fleet, open_journal, unknown_token, unreadable};
use super::{Complaint, Console, runtime};

/// Arguments of `patrold history`.
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// The token
    #[arg(value_name = "NAME", required_unless_present = "verify")]
    name: Option<TokenName>,
    /// Follow the hash chain over all records of the journal, of every token
    #[arg(long)]
    verify: bool,
    /// Only the last so many records
    #[arg(long, value_name = "COUNT", conflicts_with = "verify")]
    last: Option<usize>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Shows what the journal holds of a token, or checks all of the journal.
pub(super) fn run(args: &HistoryArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    let known = || disk.inventory().into_iter().flat_map(|inventory| inventory.tokens.keys());
    // Of a broken inventory nobody knows which tokens it has.
    let unknown = args.name.as_ref().filter(|name| disk.inventory().is_some() && !known().any(|known| known == *name));
    if let Some((inventory, fleet)) = disk.inventory().and_then(|it| Some((it, it.fleet.as_ref()?))) {
        let Some(name) = args.name.as_ref().filter(|_| !args.verify) else {
            return only_alone(inventory, "`--verify` follows the chain of a journal in a state directory")
                .map(|()| Exit::Fine);
        };
        let records = runtime()?.block_on(async {
            let journal = open_fleet(inventory, fleet).await?;
            journal.history(name).await.map_err(|failure| Complaint::failed(failure.to_string()))
        })?;
        if records.is_empty() && unknown.is_some() {
            return Err(unknown_token(name, known()));
        }
        return show(name, &records, args, console);
    }
    let journal = open_journal(disk.state_dir()?);
    if let (Some(name), Err(_)) = (unknown, &journal) {
        return Err(unknown_token(name, known()));
    }
    let journal = journal?;
    if args.verify {
        return verify(&journal, args.json, console);
    }
    let Some(name) = &args.name else { return Ok(Exit::Fine) };
    let records = journal.history(name).map_err(|error| unreadable(&error))?;
    if records.is_empty() && unknown.is_some() {
        return Err(unknown_token(name, known()));
    }
    show(name, &records, args, console)
}

/// Shows the records of a token.
fn show(name: &TokenName, records: &[Record], args: &HistoryArgs, console: &mut Console) -> Result<Exit, Complaint> {
    let skipped = args.last.map_or(0, |last| records.len().saturating_sub(last));
    let history = History::new(name.clone(), &records[skipped..]);
    if args.json {
        console.json(&history)?;
    } else if history.records.is_empty() {
        console.note(format_args!("the journal has no record of {name} yet"))?;
    } else {
        let width = console.width(false);
        history.write(console.out_paint, width, &mut console.out)?;
    }
    Ok(Exit::Fine)
}

/// Exit 1 where a record is not what was written.
fn verify(journal: &Reader, json: bool, console: &mut Console) -> Result<Exit, Complaint> {
    let view = match journal.verify_chain() {
        Ok(last) => {
            let first = journal.first().map_err(|error| unreadable(&error))?;
            ChainView { valid: true, first, last: first.map(|_| last), broken: None }
        }
        Err(VerifyError::Broken(broken)) => {
            let found = journal.record(broken.seq).ok().flatten();
            let broken = SuspectView::new(broken.seq, found.as_ref());
            ChainView { valid: false, first: None, last: None, broken: Some(broken) }
        }
        Err(VerifyError::Read(error)) => return Err(unreadable(&error)),
    };
    if json {
        console.json(&view)?;
        return Ok(if view.valid { Exit::Fine } else { Exit::Failed });
    }
    if let Some(broken) = &view.broken {
        let help = "keep a copy of the state directory, and restore a backup of it if the records matter";
        return Err(Complaint::failed(broken.sentence()).with_help(help));
    }
    writeln!(console.out, "{}", view.sentence())?;
    Ok(Exit::Fine)
}
