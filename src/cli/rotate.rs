//! `patrold rotate`.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::control::{RotateRequest, Selection};
use crate::daemon::rotate::{OperatorRequest, RequestResult, execute_without_daemon};
use crate::exit::Exit;
use crate::inventory::{DaemonSettings, Inventory};
use crate::names::{AccountName, TokenName};
use crate::report::rotation::{RotateAnswer, RotateOutcome, RotateResult};
use crate::telemetry::log::{Choice, Logger};
use crate::view::rotated;

use super::identity::act_as_owner;
use super::progress::{Progress, Shown};
use super::reading::inventory;
use super::{Complaint, Console, runtime};
use crate::control::client::Client;

/// Arguments of `patrold rotate`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct RotateArgs {
    #[command(flatten)]
    which: Which,
    /// Others have the secrets: no grace, the old ones are revoked first thing after the handover
    #[arg(long)]
    compromised: bool,
    /// Wait neither for the grace of the generation before nor for a provider that asks for patience
    #[arg(long, conflicts_with = "compromised")]
    now: bool,
    /// Return as soon as the daemon has taken note
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
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
    let request = RotateRequest {
        tokens: args.which.selection(),
        timeout_seconds: if args.no_wait { 0 } else { args.timeout.as_secs().max(1) },
        compromised: args.compromised,
        follow: true,
        interim: true,
        now: args.now,
    };
    let client = Client::new(&inventory.daemon)?;
    let progress = RefCell::new(Progress::new(if args.json { Shown::Never } else { Shown::WhereUseful }));
    let answer = client.rotate(&request, |expected, result| progress.borrow_mut().tell(expected, result))?;
    let answer = if let Some(answer) = answer {
        answer
    } else {
        let names = request.tokens.resolve(&inventory).map_err(|refusal| Complaint::invalid(refusal.error))?;
        if args.no_wait {
            return Err(Complaint::failed("no daemon is running that would do it").with_help("leave out --no-wait"));
        }
        let asked = match (args.compromised, args.now) {
            (true, _) => OperatorRequest::Replace,
            (false, true) => OperatorRequest::RotateNow,
            (false, false) => OperatorRequest::Rotate,
        };
        let each = |result: &RotateResult| progress.borrow_mut().tell(names.len(), result);
        without_daemon(inventory, &names, asked, args.timeout, each, console)?
    };
    progress.into_inner().end();
    if answer.results.is_empty() {
        return Err(Complaint::failed("there is no such token"));
    }
    let exit = tell(&answer, args.json, args.compromised, console)?;
    let begun = |result: &RotateResult| matches!(result.outcome, RotateOutcome::Rotated | RotateOutcome::Waiting);
    Ok(if args.no_wait && answer.results.iter().all(begun) { Exit::Fine } else { exit })
}

/// Prepares this process for what a daemon would do otherwise. The logger writes its last lines when it is dropped.
pub(super) fn alone(settings: &DaemonSettings, console: &mut Console) -> Result<Logger, Complaint> {
    act_as_owner(settings)?;
    console.note("no daemon is running; working in this process")?;
    let level = std::env::var(crate::telemetry::log::VARIABLE).unwrap_or_else(|_| "warn".to_owned());
    let logger = Logger::install(Choice { level: Some(level), format: None })
        .map_err(|error| Complaint::invalid(error.to_string()))?;
    crate::daemon::hardening::apply();
    Ok(logger)
}

/// Does in this process what a daemon would do, under the same lock.
pub(super) fn without_daemon(
    inventory: Inventory,
    names: &[TokenName],
    asked: OperatorRequest,
    timeout: Duration,
    each: impl Fn(&RotateResult),
    console: &mut Console,
) -> Result<RotateAnswer, Complaint> {
    let _logger = alone(&inventory.daemon, console)?;
    let results = execute_without_daemon(
        Arc::new(inventory),
        SystemClock,
        names,
        asked,
        timeout.max(Duration::from_secs(1)),
        |result| each(&result.clone().report()),
    );
    let results = runtime()?.block_on(results)?.into_iter().map(RequestResult::report);
    Ok(RotateAnswer { results: results.collect() })
}

/// Prints what became of it. `strictly`: where something is left to do, it is done in part.
pub(super) fn tell(
    answer: &RotateAnswer,
    json: bool,
    strictly: bool,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    if json {
        console.json(answer)?;
    } else {
        rotated::write(answer, console.out_paint, &mut console.out)?;
    }
    let of = |result: &&RotateResult| result.outcome == RotateOutcome::Rotated;
    let whole = |result: &&RotateResult| of(result) && (result.left.is_empty() || !strictly);
    let (rotated, whole) = (answer.results.iter().filter(of).count(), answer.results.iter().filter(whole).count());
    Ok(match (rotated, whole) {
        (0, _) => Exit::Failed,
        (_, whole) if whole == answer.results.len() => Exit::Fine,
        _ => Exit::Partly,
    })
}
