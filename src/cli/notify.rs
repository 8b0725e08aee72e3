//! `patrold notify`.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::clock::{Clock as _, SystemClock};
use crate::control::{NotifyAnswer, NotifyRequest};
use crate::daemon::notifier;
use crate::endpoint::Workshop;
use crate::endpoint::single::Caller;
use crate::exit::Exit;
use crate::host;
use crate::inventory::Inventory;
use crate::journal::archive::Archive;
use crate::names::{ChannelName, InstanceId};
use crate::notice::Source;
use crate::notify::Sender;
use crate::secret::{Fingerprinter, random};
use crate::view::channels::Channels;

use super::disk::Disk;
use super::reading::unknown;
use super::{Complaint, Console, runtime};

/// Arguments of `patrold notify`.
#[derive(Clone, Debug, Args)]
pub struct NotifyArgs {
    #[command(subcommand)]
    command: NotifyCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum NotifyCommand {
    /// Show every channel: what it tells of, how, and how it fares
    #[command(visible_alias = "ls")]
    List {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Send a test message through a channel
    ///
    /// Asks the running daemon, which has the credentials. Where none runs, sends it from this process. A service that
    /// opens an incident for each condition is told its end at once.
    Test {
        /// The channel
        #[arg(value_name = "NAME")]
        name: ChannelName,
    },
}

/// Shows or tries channels.
pub(super) fn run(args: &NotifyArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    match &args.command {
        NotifyCommand::List { json } => {
            let status = disk.ask(console, crate::control::client::Client::status)?;
            let channels = Channels::new(&disk.valid()?, status.as_ref());
            if *json {
                console.json(&channels)?;
            } else {
                channels.write(console.out_paint, &mut console.out)?;
            }
            Ok(Exit::Fine)
        }
        NotifyCommand::Test { name } => {
            let request = NotifyRequest { channel: name.clone() };
            let answer = match disk.ask(console, |daemon| daemon.notify_test(&request))? {
                Some(answer) => answer,
                None => here(&disk.valid()?, name)?,
            };
            if !answer.sent {
                return Err(Complaint::failed(format!("channel {name}: {}", answer.detail)));
            }
            console.note(format_args!("channel {name} took the message"))?;
            Ok(Exit::Fine)
        }
    }
}

/// Sends it from this process.
fn here(inventory: &Inventory, name: &ChannelName) -> Result<NotifyAnswer, Complaint> {
    let channel = inventory.channels.get(name).ok_or_else(|| unknown_channel(inventory, name))?;
    let failed = |error: &dyn std::fmt::Display| Complaint::failed(error.to_string());
    let archive = Archive::of(&inventory.daemon.state_dir).read();
    // Before the first run there is no journal that could say which installation this is.
    let instance = archive.map_or(InstanceId::new([0; 4]), |journal| journal.instance());
    let sender = Sender {
        clock: SystemClock,
        caller: Caller {
            workshop: Workshop::forgetful().map_err(|error| failed(&error))?,
            fingerprinter: Fingerprinter::new(&random::bytes::<32>()),
            keyring: Arc::default(),
        },
        source: Source { instance, host: host::name() },
    };
    Ok(notifier::answer(runtime()?.block_on(notifier::test(&sender, channel))))
}

fn unknown_channel(inventory: &Inventory, name: &ChannelName) -> Complaint {
    let known = inventory.channels.keys().map(ChannelName::as_str);
    let otherwise = "`patrold notify list` shows all; a [[notify]] of the inventory makes one";
    unknown("channel", name.as_str(), &known, otherwise)
}
