//! `patrold audit`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::control::AuditRequest;
use crate::daemon::audit::audit_without_daemon;
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::names::AccountName;
use crate::report::audit::{Audit, Reaped};
use crate::telemetry::log::Logger;
use crate::text::words;

use super::disk::Disk;
use super::rotate::alone;
use super::{Complaint, Console, runtime};

/// Arguments of `patrold audit`.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// Only this account
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountName>,
    /// Revoke the orphans that are found
    #[arg(long)]
    reap: bool,
    /// Do not ask before revoking
    #[arg(long, requires = "reap")]
    yes: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Compares the provider's tokens with the journal, through the daemon where one runs.
pub(super) fn run(args: &AuditArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    let unknown = |name: &&AccountName| disk.inventory().is_some_and(|it| !it.accounts.contains_key(*name));
    if let Some(account) = args.account.as_ref().filter(unknown) {
        return Err(Complaint::invalid(format!("the inventory has no account \"{account}\"")));
    }
    if args.reap && !args.yes && !io::stdin().is_terminal() {
        return Err(Complaint::invalid("not a terminal: use --yes to revoke without asking")
            .with_help("list the orphans without --reap first"));
    }
    let mut logger = None;
    let mut ask = |reap: Vec<String>, console: &mut Console| {
        let request = AuditRequest { account: args.account.clone(), reap };
        match disk.ask(console, |daemon| daemon.audit(&request))? {
            Some(audit) => Ok(audit),
            None => without_daemon(disk.valid_ref()?, &request, &mut logger, console),
        }
    };
    let mut audit = ask(Vec::new(), console)?;
    let orphans = audit.orphans();
    if args.reap && !orphans.is_empty() && (args.yes || consents(&audit, console)?) {
        // Only what was shown: an orphan that turns up meanwhile is for the next time.
        audit = ask(orphans, console)?;
    }
    if args.json {
        console.json(&audit)?;
    } else {
        let width = console.width(false);
        audit.write(console.out_paint, width, &mut console.out)?;
    }
    Ok(verdict(&audit, args.reap))
}

/// Does in this process what a daemon would do, under the same lock.
fn without_daemon(
    inventory: &Inventory,
    request: &AuditRequest,
    logger: &mut Option<Logger>,
    console: &mut Console,
) -> Result<Audit, Complaint> {
    if logger.is_none() {
        *logger = Some(alone(&inventory.daemon, console)?);
    }
    let inventory = Arc::new(inventory.clone());
    let audit = audit_without_daemon(inventory, SystemClock, request.account.as_ref(), &request.reap);
    Ok(runtime()?.block_on(audit)?)
}

/// Whether somebody at the terminal wants the orphans revoked.
fn consents(audit: &Audit, console: &mut Console) -> Result<bool, Complaint> {
    let width = console.width(false);
    audit.write(console.out_paint, width, &mut console.out)?;
    console.out.flush()?;
    let count = words::count(audit.orphans().len(), "orphan");
    write!(console.err, "revoke {count}? If the journal was restored from a backup, consumers may use them. [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Fine where every account was listed and, with `reap`, no orphan is left.
fn verdict(audit: &Audit, reap: bool) -> Exit {
    // What a definition cannot do is no failure, unless there is nothing else.
    let able = audit.accounts.iter().filter(|account| account.lists).count();
    let failed = audit.accounts.iter().filter(|account| account.lists && account.failure.is_some()).count();
    let findings = audit.accounts.iter().flat_map(|account| &account.findings);
    let left = reap && findings.filter(|it| it.orphan().is_some()).any(|it| it.reaped != Some(Reaped::Revoked));
    match failed {
        failed if failed == able => Exit::Failed,
        0 if !left => Exit::Fine,
        _ => Exit::Partly,
    }
}
