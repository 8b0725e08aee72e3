//! `patrold audit`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::control::AuditRequest;
use crate::daemon::audit::audit_without_daemon;
use crate::exit::Exit;
use crate::inventory::{Environment, Inventory, load, load_text};
use crate::names::AccountName;
use crate::report::audit::{Audit, Reaped, Standing};
use crate::telemetry::log::Logger;
use crate::text::words;
use crate::view::check::render_report;

use super::disk::Disk;
use super::rotate::alone;
use super::{Complaint, Console, discovery, found, runtime};

/// Arguments of `patrold audit`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
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
    /// Show only tokens that nobody manages
    #[arg(long, conflicts_with = "reap")]
    unmanaged: bool,
    /// Write an inventory file with entries for them; nothing is overwritten
    #[arg(long, value_name = "FILE", requires = "unmanaged")]
    write: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Compares the provider's tokens with the journal, through the daemon where one runs.
pub(super) fn run(args: &AuditArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    args.account.iter().try_for_each(|account| disk.knows_account(account))?;
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
    if args.unmanaged {
        let findings = audit.accounts.iter_mut().map(|account| &mut account.findings);
        findings.for_each(|findings| findings.retain(|finding| finding.standing == Standing::Unmanaged));
    }
    if args.json {
        console.json(&audit)?;
    } else {
        let width = console.width(false);
        audit.write(console.out_paint, width, &mut console.out)?;
    }
    if let Some(file) = &args.write {
        write(file, &audit, named, disk.valid_ref()?, console)?;
    }
    Ok(verdict(&audit, args.reap))
}

/// Writes entries for what nobody manages into a new file.
fn write(
    file: &Path,
    audit: &Audit,
    named: Option<&Path>,
    inventory: &Inventory,
    console: &mut Console,
) -> Result<(), Complaint> {
    let main = discovery::find(named)?;
    let folder = std::path::absolute(&main)?.parent().map(|folder| folder.join("credentials")).unwrap_or_default();
    let found = found::entries(audit, inventory, &folder, Path::exists);
    console.out.flush()?;
    if found.entries == 0 {
        return console.note("nothing is unmanaged: no file is written");
    }
    let (environment, now) = (Environment::of_process(&main), SystemClock.now());
    let whole = std::fs::read_to_string(&main).map(|text| format!("{text}\n{}", found.text));
    let whole = whole.map_err(|error| Complaint::failed(format!("{}: {error}", main.display())))?;
    let loaded = load_text(&main, &whole, &environment, now);
    if loaded.inventory.is_none() {
        write!(console.err, "{}", render_report(&loaded.report, console.err_paint))?;
        return Err(Complaint::invalid("the inventory would be invalid with these entries: nothing was written"));
    }
    let unwritten = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Complaint::invalid(format!("{} is there already", file.display()))
            .with_help("name another file; nothing is overwritten"),
        _ => Complaint::failed(format!("{}: {error}", file.display())),
    };
    let mut created = std::fs::File::create_new(file).map_err(unwritten)?;
    created.write_all(found.text.as_bytes()).and_then(|()| created.sync_all()).map_err(unwritten)?;
    let entries = format!("{} ({} in effect)", words::count(found.entries, "token"), found.active);
    console.note(format_args!("made {} with entries for {entries}", file.display()))?;
    let path = std::path::absolute(file)?;
    if !load(&main, &environment, now).files.contains(&path) {
        let pattern = include_pattern(&std::path::absolute(&main)?, &path);
        let included = whole.parse::<toml_edit::DocumentMut>().is_ok_and(|text| text.contains_key("include"));
        let change = if included {
            format!("add \"{pattern}\" to `include` in {}", main.display())
        } else {
            format!("put `include = [\"{pattern}\"]` first in {}", main.display())
        };
        console.warn(format_args!("the inventory does not include it yet: {change}"))?;
    }
    Ok(())
}

/// What `include` of the inventory `main` has to say so that it covers `file`: everything in a folder beside it.
fn include_pattern(main: &Path, file: &Path) -> String {
    let beside = main.parent().and_then(|folder| file.strip_prefix(folder).ok());
    match beside.map(|beside| (beside, beside.parent())) {
        Some((_, Some(folder))) if folder != Path::new("") => format!("{}/*.toml", folder.display()),
        Some((beside, _)) => beside.display().to_string(),
        None => file.display().to_string(),
    }
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
