//! `patrold rotate`.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::clock::{Clock as _, SystemClock, Time};
use crate::control::{RotateRequest, Selection};
use crate::daemon::rotate::{OperatorRequest, RequestResult, execute_without_daemon};
use crate::exit::Exit;
use crate::inventory::{DaemonSettings, Inventory};
use crate::names::{AccountName, TokenName};
use crate::report::rotation::{RotateAnswer, RotateOutcome, RotateResult};
use crate::telemetry::log::{Choice, Logger};
use crate::view::plan::Plan;
use crate::view::rotated::{self, Deed};

use super::console::Usual;
use super::disk::Disk;
use super::identity::act_as_owner;
use super::progress::{ProgressLine, Shown};
use super::reading::Journaled;
use super::{Complaint, Console, runtime};

/// Arguments of `patrold rotate`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct RotateArgs {
    #[command(flatten)]
    which: Which,
    /// The secret has leaked: revoke the old token as soon as the new one is delivered
    #[arg(long)]
    compromised: bool,
    /// Wait neither for the grace of the old token nor for the provider's rate limit
    #[arg(long, conflicts_with = "compromised")]
    now: bool,
    /// Return as soon as the daemon has taken note
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Show what would happen, and change nothing
    #[arg(long, conflicts_with_all = ["compromised", "now", "no_wait", "timeout"])]
    dry_run: bool,
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
pub(super) fn run(args: &RotateArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let now = SystemClock.now();
    let disk = Disk::read(named, now, console);
    args.which.names.iter().try_for_each(|name| disk.knows(name))?;
    args.which.account.iter().try_for_each(|account| disk.knows_account(account))?;
    if args.dry_run {
        return rehearse(args, disk.valid_ref()?, now, console);
    }
    let request = RotateRequest {
        tokens: args.which.selection(),
        timeout_seconds: if args.no_wait { 0 } else { args.timeout.as_secs().max(1) },
        compromised: args.compromised,
        follow: true,
        interim: true,
        now: args.now,
    };
    let progress = RefCell::new(ProgressLine::new(if args.json || console.is_quiet() {
        Shown::Never
    } else {
        Shown::WhereUseful
    }));
    let tell_each = |expected, result: &RotateResult| progress.borrow_mut().tell(expected, result);
    let answer = disk.ask(console, |daemon| daemon.rotate(&request, tell_each))?;
    let answer = if let Some(answer) = answer {
        answer
    } else {
        let inventory = disk.valid()?;
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
    let exit = tell(&answer, Deed::Rotate, args.json, args.compromised, console)?;
    let begun = |result: &RotateResult| matches!(result.outcome, RotateOutcome::Rotated | RotateOutcome::Waiting);
    Ok(if args.no_wait && answer.results.iter().all(begun) { Exit::Fine } else { exit })
}

/// Shows what a request would lead to, by the journal: nothing is changed and nobody is asked.
fn rehearse(args: &RotateArgs, inventory: &Inventory, now: Time, console: &mut Console) -> Result<Exit, Complaint> {
    let names = args.which.selection().resolve(inventory).map_err(|refusal| Complaint::invalid(refusal.error))?;
    let mut journal = Journaled::read(inventory)?;
    if let Some((_, why)) = journal.unreadable.iter().find(|(name, _)| names.contains(name)) {
        return Err(Complaint::failed(why));
    }
    for name in &names {
        journal.states.entry(name.clone()).or_default().requested = Some(now);
    }
    let mut plan = Plan::new(inventory, &journal.states, now);
    plan.keep(&names.into_iter().collect());
    if args.json {
        console.json(&plan)?;
    } else {
        let width = console.width(false);
        plan.write_within(console.out_paint, width, &mut console.out)?;
    }
    console.note("dry run: nothing was changed")?;
    Ok(Exit::Fine)
}

/// Prepares this process for what a daemon would do otherwise. The logger writes its last lines when it is dropped.
pub(super) fn alone(settings: &DaemonSettings, console: &mut Console) -> Result<Logger, Complaint> {
    act_as_owner(settings)?;
    console.note("no daemon is running; working in this process")?;
    let asked = console.verbosity.level(Usual::Warnings).map(str::to_owned);
    let level =
        asked.or_else(|| std::env::var(crate::telemetry::log::VARIABLE).ok()).unwrap_or_else(|| "warn".to_owned());
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
    deed: Deed,
    json: bool,
    strictly: bool,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    if json {
        console.json(answer)?;
    } else {
        let width = console.width(false);
        rotated::write(answer, deed, console.out_paint, width, &mut console.out)?;
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
