//! `patrold plan`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::clock::{Clock as _, Span, SystemClock, Time};
use crate::exit::Exit;
use crate::names::TokenName;
use crate::view::plan::Plan;

use super::reading::{Journaled, inventory, unknown_token};
use super::{Complaint, Console};

/// Arguments of `patrold plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Only these tokens
    #[arg(value_name = "NAME")]
    names: Vec<TokenName>,
    /// Only what begins before this much time has passed, such as 30d
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    until: Option<Duration>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Tells what would happen, changing nothing and asking nobody.
pub(super) fn run(args: &PlanArgs, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let now = SystemClock.now();
    let mut inventory = inventory(config, now, console)?;
    for name in &args.names {
        if !inventory.tokens.contains_key(name) {
            return Err(unknown_token(name, inventory.tokens.keys()));
        }
    }
    let journal = Journaled::read(&inventory.daemon.state_dir)?;
    if !journal.exists {
        let place = inventory.daemon.state_dir.display();
        console.note(format_args!("there is no journal in {place}: every token gets its first generation"))?;
    }
    // Of a token whose state nobody can read, nothing can be planned.
    for (name, why) in &journal.unreadable {
        console.warn(why)?;
        inventory.tokens.remove(name);
    }
    let mut plan = Plan::new(&inventory, &journal.states, now);
    if !args.names.is_empty() {
        plan.keep(&args.names.iter().cloned().collect::<BTreeSet<_>>());
    }
    if let Some(until) = args.until {
        let end = Span::from_std(until).ok().and_then(|until| now.checked_add_signed(until));
        plan.keep_until(end.unwrap_or(Time::MAX_UTC));
    }
    if args.json {
        console.json(&plan)?;
    } else {
        plan.write(console.out_paint, &mut console.out)?;
    }
    Ok(if journal.unreadable.is_empty() { Exit::Fine } else { Exit::Partly })
}
