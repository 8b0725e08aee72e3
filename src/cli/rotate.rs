//! `patrold rotate`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::control::{RotateAnswer, RotateOutcome, RotateRequest, Selection};
use crate::daemon::rotate::rotate_without_daemon;
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::names::{AccountName, TokenName};
use crate::telemetry::log::{Choice, Logger};
use crate::view::rotated;

use super::control::Client;
use super::reading::inventory;
use super::{Complaint, Console, runtime};

/// Arguments of `patrold rotate`.
#[derive(Clone, Debug, Args)]
pub struct RotateArgs {
    #[command(flatten)]
    which: Which,
    /// How long to wait for the handovers; they go on afterwards where a daemon runs
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// These tokens
    #[arg(value_name = "NAME")]
    names: Vec<TokenName>,
    /// Every token of this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountName>,
    /// Every token of the inventory
    #[arg(long)]
    all: bool,
}

impl Which {
    fn selection(&self) -> Selection {
        match &self.account {
            Some(account) => Selection::Account(account.clone()),
            None if self.all => Selection::All(true),
            None => Selection::Tokens(self.names.clone()),
        }
    }
}

/// Rotates tokens now, through the daemon where one runs.
pub(super) fn run(args: &RotateArgs, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let inventory = inventory(config, SystemClock.now(), console)?;
    let timeout_seconds = args.timeout.as_secs().max(1);
    let request = RotateRequest { tokens: args.which.selection(), timeout_seconds };
    let answer = match Client::new(&inventory.daemon.control)?.rotate(&request)? {
        Some(answer) => answer,
        None => without_daemon(inventory, &request, console)?,
    };
    if answer.results.is_empty() {
        return Err(Complaint::failed("there is no such token"));
    }
    if args.json {
        console.json(&answer)?;
    } else {
        rotated::write(&answer, console.out_paint, &mut console.out)?;
    }
    Ok(verdict(&answer))
}

/// Does in this process what a daemon would do, under the same lock.
fn without_daemon(
    inventory: Inventory,
    request: &RotateRequest,
    console: &mut Console,
) -> Result<RotateAnswer, Complaint> {
    let names = request.tokens.resolve(&inventory).map_err(|refusal| Complaint::invalid(refusal.error))?;
    console.note("no daemon is running; rotating in this process")?;
    let level = std::env::var(crate::telemetry::log::VARIABLE).unwrap_or_else(|_| "warn".to_owned());
    Logger::install(Choice { level: Some(level), format: None })
        .map_err(|error| Complaint::invalid(error.to_string()))?;
    let patience = Duration::from_secs(request.timeout_seconds);
    let rotated = rotate_without_daemon(Arc::new(inventory), SystemClock, &names, patience);
    let results = runtime()?.block_on(rotated)?.into_iter().map(|(token, answer)| answer.tell(token));
    Ok(RotateAnswer { results: results.collect() })
}

fn verdict(answer: &RotateAnswer) -> Exit {
    match answer.results.iter().filter(|result| result.outcome == RotateOutcome::Rotated).count() {
        0 => Exit::Failed,
        rotated if rotated == answer.results.len() => Exit::Fine,
        _ => Exit::Partly,
    }
}
