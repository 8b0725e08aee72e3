//! `patrold journal`: the durable record itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::clock::{Clock as _, Span, SystemClock, Time};
use crate::control::{PruneAnswer, PruneRequest};
use crate::daemon::rekey::{RekeyError, give_up, rekey};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::journal::archive::{Archive, OpenError, Pruned};
use crate::journal::key::{KeySource, NewKey};
use crate::names::TokenName;
use crate::text::words;
use crate::view::exported::Exported;

use super::discovery::find;
use super::disk::Disk;
use super::identity::act_as_owner;
use super::reading::{inventory, only_alone, open_journal, unreadable};
use super::{Complaint, Console, runtime};

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
    /// Remove old records; the hash chain of the others begins at a checkpoint
    ///
    /// Records tell what happened; what is so now is kept apart from them. Removed are the oldest, up to the first that is
    /// young enough; the last record stays. Nothing is removed where one of them is not what was written.
    Prune {
        /// Records of at least this age, such as 90d
        #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
        older_than: Duration,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Seal all secrets with a new key, while no daemon runs
    ///
    /// Without --to, a new key is made in the state directory, where the one before is kept. A kill at any moment leaves
    /// the journal with the old key or the new one, whole.
    Rekey {
        /// The file that holds the new key; the inventory or the unit must name it afterwards
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// The file that holds the present key, where this process does not get it as the daemon does
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// The key is lost: give up the secrets that it sealed; their tokens are rotated once
        #[arg(long, conflicts_with = "from")]
        key_lost: bool,
    },
}

/// Does what `args` ask for.
pub(super) fn run(args: &JournalArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let loaded = Disk::read(named, SystemClock.now(), console);
    if let Some(inventory) = loaded.inventory() {
        only_alone(inventory, "`patrold journal` works on a journal in a state directory")?;
    }
    match &args.command {
        JournalCommand::Export { token } => export(token.as_ref(), named, console),
        JournalCommand::Prune { older_than, json } => prune(*older_than, *json, named, console),
        JournalCommand::Rekey { to, key_lost: true, .. } => give_up_secrets(to.as_deref(), &find(named)?, console),
        JournalCommand::Rekey { to, from, .. } => change_key(to.as_deref(), from.as_deref(), &find(named)?, console),
    }
}

fn export(token: Option<&TokenName>, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    let journal = open_journal(disk.state_dir()?)?;
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

fn prune(older_than: Duration, json: bool, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let now = SystemClock.now();
    let disk = Disk::read(named, now, console);
    let before = Span::from_std(older_than).ok().and_then(|age| now.checked_sub_signed(age));
    let before = before.unwrap_or(Time::MIN_UTC);
    let answer = match disk.ask(console, |daemon| daemon.prune(&PruneRequest { before }))? {
        Some(answer) => answer,
        None => prune_alone(disk.valid_ref()?, before, now)?,
    };
    if json {
        console.json(&answer)?;
    } else {
        let removed = words::count(usize::try_from(answer.removed).unwrap_or(usize::MAX), "record");
        let first = answer.first.map(|first| format!("; the journal begins at {first}")).unwrap_or_default();
        writeln!(console.out, "{removed} removed{first}")?;
    }
    Ok(Exit::Fine)
}

fn prune_alone(inventory: &Inventory, before: Time, now: Time) -> Result<PruneAnswer, Complaint> {
    act_as_owner(&inventory.daemon)?;
    // Otherwise a journal would be made where there is none.
    open_journal(&inventory.daemon.state_dir)?;
    let key = key_source(inventory)?;
    let (journal, _) = Archive::of(&inventory.daemon.state_dir)
        .open(&key, now)
        .map_err(|error| Complaint::failed(error.to_string()))?;
    let pruned = runtime()?.block_on(journal.prune(before));
    let Pruned { removed, first } = pruned.map_err(|failure| Complaint::failed(failure.to_string()))?;
    Ok(PruneAnswer { removed, first })
}

fn key_source(inventory: &Inventory) -> Result<KeySource, Complaint> {
    let source = KeySource::resolve(inventory.daemon.seal_key.as_ref(), |name| std::env::var_os(name));
    source.map_err(|error| {
        Complaint::failed(error.to_string()).with_help("name the file that holds the present key with --from")
    })
}

fn change_key(to: Option<&Path>, from: Option<&Path>, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let now = SystemClock.now();
    let inventory = inventory(config, now, console)?;
    // A key in a file may be root's alone, and then nothing is made in the state directory.
    if to.or(from).is_none() {
        act_as_owner(&inventory.daemon)?;
    }
    let state_dir = &inventory.daemon.state_dir;
    open_journal(state_dir)?;
    let old = match from {
        Some(file) => KeySource::File(file.to_owned()),
        None => key_source(&inventory)?,
    };
    let new = match (to, &old) {
        (Some(file), _) => NewKey::File(file.to_owned()),
        (None, KeySource::StateDirectory) => NewKey::Made,
        (None, _) => {
            return Err(Complaint::invalid(
                "the present key does not lie in the state directory, so none is made there",
            )
            .with_help("make one yourself (head -c 32 /dev/urandom | base64) and name its file with --to"));
        }
    };
    crate::daemon::hardening::apply();
    let count = runtime()?.block_on(rekey(state_dir, &old, &new, now)).map_err(|error| unchanged(&error))?;
    writeln!(console.out, "{} sealed with the new key", words::count(count, "secret"))?;
    if let Some(file) = to {
        let file = file.display();
        console.note(format_args!(
            "before the daemon starts again: give it {file} as its key (`seal-key` in [daemon], or the systemd \
             credential {})",
            crate::journal::key::CREDENTIAL
        ))?;
    }
    Ok(Exit::Fine)
}

/// Why the key was not changed, and what to do.
fn unchanged(error: &RekeyError) -> Complaint {
    let complaint = Complaint::failed(error.to_string());
    match error {
        RekeyError::Journal(OpenError::Lock(_)) => complaint.with_help("stop the daemon first"),
        RekeyError::Journal(OpenError::KeyLost { .. }) => complaint.with_help(
            "name the file that holds the present key with --from; if it is lost for good, --key-lost gives the secrets up",
        ),
        _ => complaint,
    }
}

fn give_up_secrets(to: Option<&Path>, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let now = SystemClock.now();
    let inventory = inventory(config, now, console)?;
    let state_dir = &inventory.daemon.state_dir;
    open_journal(state_dir)?;
    let key = match to {
        Some(file) => KeySource::File(file.to_owned()),
        None => key_source(&inventory)?,
    };
    crate::daemon::hardening::apply();
    let lost = runtime()?.block_on(give_up(state_dir, &key, now)).map_err(|error| unchanged(&error))?;
    let tokens = words::count(lost, "token");
    writeln!(console.out, "the secrets of {tokens} are given up; the daemon replaces them when it starts")?;
    Ok(Exit::Fine)
}
