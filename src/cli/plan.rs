//! `patrold plan`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::clock::{Clock as _, Span, SystemClock, Time};
use crate::exit::Exit;
use crate::names::TokenName;
use crate::view::plan::Plan;
use crate::view::timeline;

use super::reading::{Journaled, inventory, unknown_token};
use super::{Complaint, Console};

/// How far a picture looks where nobody says.
const PICTURE: Duration = Duration::from_secs(90 * 86_400);

/// No picture looks further.
const LONGEST: Span = Span::days(365 * 100);

/// Tokens in a picture: those that are rotated first.
const LANES: usize = 500;

/// Arguments of `patrold plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Only these tokens
    #[arg(value_name = "NAME")]
    names: Vec<TokenName>,
    /// Only what begins before this much time has passed, such as 30d
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    until: Option<Duration>,
    /// Draw every rotation that comes until then into this file, `-` for standard output [until: 90d]
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    svg: Option<PathBuf>,
    /// Show every column, however narrow the terminal is
    #[arg(long)]
    wide: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Shows what will happen. It changes nothing and contacts nobody.
pub(super) fn run(args: &PlanArgs, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let now = SystemClock.now();
    let mut inventory = inventory(config, now, console)?;
    for name in &args.names {
        if !inventory.tokens.contains_key(name) {
            return Err(unknown_token(name, inventory.tokens.keys()));
        }
    }
    let journal = Journaled::read(&inventory)?;
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
    let end =
        |until| Span::from_std(until).ok().and_then(|until| now.checked_add_signed(until)).unwrap_or(Time::MAX_UTC);
    if let Some(until) = args.until {
        plan.keep_until(end(until));
    }
    if let Some(file) = &args.svg {
        let end = end(args.until.unwrap_or(PICTURE)).min(now + LONGEST);
        let picture = timeline::foreseen(&inventory, &journal.states, &plan, end, LANES);
        let picture = timeline::standalone(&picture);
        if file.as_os_str() == "-" {
            console.out.write_all(picture.as_bytes())?;
        } else {
            let failed = |error| Complaint::failed(format!("cannot write {}: {error}", file.display()));
            std::fs::write(file, picture).map_err(failed)?;
        }
        return Ok(if journal.unreadable.is_empty() { Exit::Fine } else { Exit::Partly });
    }
    if args.json {
        console.json(&plan)?;
    } else {
        let width = console.width(args.wide);
        plan.write_within(console.out_paint, width, &mut console.out)?;
    }
    Ok(if journal.unreadable.is_empty() { Exit::Fine } else { Exit::Partly })
}
