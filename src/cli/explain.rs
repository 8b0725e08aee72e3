//! `patrold explain`.

use std::path::Path;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::control::ExplainAnswer;
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::names::TokenName;
use crate::provider::Abilities;
use crate::provider::ProviderClock;
use crate::report::explanation::Explanation;
use crate::report::status::{Activity, Subject};
use crate::rotation::TokenState;

use super::disk::Disk;
use super::reading::{Journaled, unknown_token};
use super::{Complaint, Console};

/// Arguments of `patrold explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// The token
    #[arg(value_name = "NAME")]
    name: TokenName,
    /// Show every column, however narrow the terminal is
    #[arg(long)]
    wide: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Explains one token: as the running daemon sees it, or else as the journal does.
pub(super) fn run(args: &ExplainArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    let explanation = match disk.ask(console, |daemon| daemon.explain(&args.name))? {
        Some(ExplainAnswer { set_aside: Some(why), .. }) => return Err(Complaint::failed(why)),
        Some(answer) => answer.explanation,
        None => from_journal(disk.valid_ref()?, &args.name, console)?,
    };
    let known = disk.inventory().into_iter().flat_map(|inventory| inventory.tokens.keys());
    let Some(explanation) = explanation else { return Err(unknown_token(&args.name, known)) };
    let explanation = Explanation { written: disk.origin(&args.name), ..explanation };
    if args.json {
        console.json(&explanation)?;
    } else {
        let width = console.width(args.wide);
        explanation.write_within(console.out_paint, width, &mut console.out)?;
    }
    Ok(Exit::Fine)
}

fn from_journal(
    inventory: &Inventory,
    name: &TokenName,
    console: &mut Console,
) -> Result<Option<Explanation>, Complaint> {
    let mut journal = Journaled::read(inventory)?;
    if let Some((_, why)) = journal.unreadable.iter().find(|(token, _)| token == name) {
        return Err(Complaint::failed(why));
    }
    let policy = inventory.tokens.get(name);
    let state = journal.states.remove(name);
    if policy.is_none() && state.is_none() {
        return Ok(None);
    }
    console.note("no daemon is running; showing what the journal says")?;
    let state: TokenState = state.unwrap_or_default();
    let abilities = policy.map(|policy| Abilities::of(&policy.account.provider));
    let activity = abilities.as_ref().map_or(Activity::Busy, Activity::Asleep);
    let subject = Subject {
        name,
        policy: policy.map(AsRef::as_ref),
        wanted: policy.is_some(),
        state: &state,
        clock: ProviderClock::Unseen,
        proof: None,
        activity,
    };
    let now = SystemClock.now();
    let explanation = Explanation::new(&subject, abilities.as_ref(), None, now);
    Ok(Some(Explanation { daemon: false, ..explanation }))
}
