//! `patrold status`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use clap::Args;

use crate::clock::{Clock as _, Span, SystemClock};
use crate::exit::Exit;
use crate::names::TokenName;
use crate::report::status::{ElsewhereStatus, JournalStatus, Status, build};
use crate::view::readiness::Readiness;

use super::disk::Disk;
use super::reading::{Journaled, unknown_token};
use super::{Complaint, Console, runtime};
use crate::control::client::Client;

/// Arguments of `patrold status`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct StatusArgs {
    /// Everything about these tokens instead of one line for each
    #[arg(value_name = "NAME")]
    names: Vec<TokenName>,
    /// Show it again each second, until Ctrl-C
    #[arg(long, conflicts_with_all = ["json", "names", "ready"])]
    watch: bool,
    /// Show every column, however narrow the terminal is
    #[arg(long)]
    wide: bool,
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
    if args.watch {
        return watch(args, named, console);
    }
    let mut status = gather(named, console)?;
    for name in &args.names {
        if !status.tokens.iter().any(|token| token.name == *name) {
            let unknown = || unknown_token(name, status.tokens.iter().map(|token| &token.name));
            return Err(on_another(&status, name, "status").unwrap_or_else(unknown));
        }
    }
    if !args.names.is_empty() {
        status.tokens.retain(|token| args.names.contains(&token.name));
    }
    if args.json {
        console.json(&status)?;
    } else if args.names.is_empty() {
        let width = console.width(args.wide);
        status.write_within(console.out_paint, width, &mut console.out)?;
    } else {
        for (number, token) in status.tokens.iter().enumerate() {
            if number > 0 {
                writeln!(console.out)?;
            }
            let width = console.width(args.wide);
            status.write_token(token, console.out_paint, width, &mut console.out)?;
        }
    }
    Ok(if status.journal.unreadable.is_empty() { Exit::Fine } else { Exit::Partly })
}

/// A complaint about a token that another replica looks after, where one does: `command` is for that one.
pub(super) fn on_another(status: &Status, name: &TokenName, command: &str) -> Option<Complaint> {
    let ElsewhereStatus { token, account, owner } =
        status.fleet.iter().flat_map(|fleet| &fleet.elsewhere).find(|it| it.token == *name)?;
    Some(match owner {
        Some(owner) => Complaint::failed(format!("{token} is looked after by replica {owner}"))
            .with_help(format!("type `patrold {command} {token}` on that host")),
        None => Complaint::failed(format!("no replica owns account {account} of {token} now"))
            .with_help("`patrold fleet status` shows the replicas"),
    })
}

/// Judges the running daemon. Nobody who is not running is ready; what it answered came from its scheduler.
fn ready(named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    let status = disk.ask(console, Client::status)?;
    let status = status.ok_or_else(|| Complaint::failed("no daemon is running"))?;
    let readiness = Readiness::judge(&status, true);
    write!(console.out, "{}", readiness.text(false, false))?;
    Ok(if readiness.is_ready(false, false) { Exit::Fine } else { Exit::Failed })
}

/// How often the status is drawn anew.
const EACH: Span = Span::seconds(1);

/// Shows the status of the running daemon again and again.
fn watch(args: &StatusArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let Some((_, rows)) = console.size() else {
        return Err(Complaint::invalid("--watch needs a terminal").with_help("leave it out"));
    };
    let disk = Disk::read(named, SystemClock.now(), console);
    let daemon = disk.client()?.ok_or_else(|| {
        Complaint::failed("no daemon is running").with_help("`patrold status` without --watch shows the journal")
    })?;
    let runtime = runtime()?;
    loop {
        let status = daemon.status()?.ok_or_else(|| Complaint::failed("the daemon has ended"))?;
        let mut text = Vec::new();
        status.write_within(console.out_paint, console.width(args.wide), &mut text)?;
        let rows = console.size().map_or(rows, |(_, rows)| rows);
        console.out.write_all(frame(&String::from_utf8_lossy(&text), rows).as_bytes())?;
        console.out.flush()?;
        runtime.block_on(SystemClock.wait_until(SystemClock.now() + EACH));
    }
}

/// `text` in place of what the terminal shows: each line is written over the one that was there, so that nothing flickers.
fn frame(text: &str, rows: usize) -> String {
    // Home; after each line erase the rest of it; at the end all that is below.
    const HOME: &str = "\u{1b}[H";
    const REST: &str = "\u{1b}[K\n";
    const BELOW: &str = "\u{1b}[J";
    let lines: String = text.lines().take(rows.saturating_sub(1)).flat_map(|line| [line, REST]).collect();
    format!("{HOME}{lines}{BELOW}")
}

/// Adds the tokens that other replicas of the fleet look after, as the journal tells of them.
fn add_elsewhere(status: &mut Status, disk: &Disk, console: &mut Console) -> Result<(), Complaint> {
    let Some(fleet) = status.fleet.as_ref().filter(|fleet| !fleet.elsewhere.is_empty()) else { return Ok(()) };
    // A daemon tells what the journal tells it; one of an older version does not.
    let told: BTreeSet<_> = status.tokens.iter().map(|token| &token.name).collect();
    let missing: Vec<_> = fleet.elsewhere.iter().filter(|it| !told.contains(&it.token)).collect();
    if missing.is_empty() || fleet.unread.is_some() {
        return Ok(());
    }
    let elsewhere: BTreeSet<_> = missing.iter().map(|it| it.token.clone()).collect();
    let accounts: BTreeSet<_> = missing.iter().map(|it| it.account.clone()).collect();
    // Broken on disk, it does not tell where the engine is.
    let Ok(inventory) = disk.valid_ref() else { return Ok(()) };
    let mut inventory = inventory.clone();
    inventory.accounts.retain(|account, _| accounts.contains(account));
    inventory.tokens.retain(|token, _| elsewhere.contains(token));
    let journal = match Journaled::read(&inventory) {
        Ok(journal) => journal,
        Err(complaint) => {
            return console.warn(format_args!("what other replicas look after cannot be read: {}", complaint.message));
        }
    };
    journal.unreadable.iter().for_each(|(name, _)| drop(inventory.tokens.remove(name)));
    let about = JournalStatus { state_dir: String::new(), failure: None, unreadable: Vec::new() };
    let theirs = build(&inventory, &journal.states, about, status.at);
    status.tokens.extend(theirs.tokens);
    status.tokens.sort_by(|one, other| one.name.cmp(&other.name));
    status.journal.unreadable.extend(journal.unreadable.into_iter().map(|(_, why)| why));
    Ok(())
}

/// The status of the running daemon; where none runs, what the journal says.
pub(super) fn gather(named: Option<&Path>, console: &mut Console) -> Result<Status, Complaint> {
    let now = SystemClock.now();
    let disk = Disk::read(named, now, console);
    if let Some(mut status) = disk.ask(console, Client::status)? {
        add_elsewhere(&mut status, &disk, console)?;
        return Ok(status);
    }
    let mut inventory = disk.valid()?;
    let journal = Journaled::read(&inventory)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_the_place_of_the_one_before_and_fits_the_terminal() {
        for (sentence, text, rows, expected) in [
            ("it fits", "one\ntwo\n", 24, "\u{1b}[Hone\u{1b}[K\ntwo\u{1b}[K\n\u{1b}[J"),
            ("it is cut", "one\ntwo\nthree\n", 3, "\u{1b}[Hone\u{1b}[K\ntwo\u{1b}[K\n\u{1b}[J"),
        ] {
            assert_eq!(frame(text, rows), expected, "{sentence}");
        }
    }
}
