//! `patrold retire`: a token leaves the inventory, and its last generation the provider.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::clock::{Clock as _, Span, SystemClock};
use crate::control::RetireRequest;
use crate::control::client::Client;
use crate::daemon::retire::retire_without_daemon;
use crate::document::Report;
use crate::durable::Target;
use crate::exit::Exit;
use crate::files::LARGEST_DOCUMENT;
use crate::inventory::{Credential, Environment, Inventory, OnLeave, TokenPolicy, load, load_edited};
use crate::names::TokenName;
use crate::report::retirement::{RetireAnswer, RetireOutcome};
use crate::report::status::{Status, TokenStatus};
use crate::text::words;
use crate::view::check::render_report;
use crate::view::retirement;

use super::ask::Ask;
use super::disk::Disk;
use super::reading::unknown_token;
use super::rotate::alone;
use super::{Complaint, Console, discovery, removal, runtime, status};

/// Arguments of `patrold retire`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct RetireArgs {
    /// The token
    #[arg(value_name = "NAME")]
    name: TokenName,
    /// Revoke it at the provider, after its grace and not while it is in use there
    #[arg(long, conflicts_with = "keep")]
    revoke: bool,
    /// Leave it alive at the provider
    #[arg(long)]
    keep: bool,
    /// Revoke it not before this has passed; by default the grace of the token
    #[arg(long, value_name = "SPAN", requires = "revoke", value_parser = humantime::parse_duration)]
    after: Option<Duration>,
    /// Revoke it at once, whoever uses it
    #[arg(long, requires = "revoke", conflicts_with = "after")]
    now: bool,
    /// Show what would happen, and change nothing
    #[arg(long, conflicts_with_all = ["keep", "revoke"])]
    dry_run: bool,
    /// How long to wait for the revocation where it is due; a daemon goes on afterwards
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What an operator decided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Revoke,
    Keep,
    Nothing,
}

/// The file that has the token's entry, with and without it.
struct Edit {
    file: PathBuf,
    text: String,
    account_stays: bool,
    policy: std::sync::Arc<TokenPolicy>,
}

/// Takes the token out of the inventory, and has it revoked where that is asked for.
pub(super) fn run(args: &RetireArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let config = discovery::find(named)?;
    let edit = edit(args, &config, console)?;
    let status = status::gather(named, console)?;
    let known = status.tokens.iter().find(|token| token.name == args.name);
    if edit.is_none() && known.is_none() {
        return Err(unknown_token(&args.name, status.tokens.iter().map(|token| &token.name)));
    }
    if !args.json || args.dry_run {
        let told = foretell(args, edit.as_ref(), known, &status);
        write!(console.out, "{}", words::folded(&told, console.width(false)))?;
        console.out.flush()?;
    }
    if args.dry_run {
        console.note("dry run: nothing was changed")?;
        return Ok(Exit::Fine);
    }
    let alive = known.is_some_and(|token| token.current.is_some() || token.candidate.is_some());
    let choice = choose(args, alive)?;
    if choice == Choice::Nothing {
        console.note("nothing was changed")?;
        return Ok(Exit::Failed);
    }
    if let Some(edit) = &edit {
        write_file(edit)?;
    }
    let answer = carry_out(args, named, choice, edit.is_some(), console)?;
    tell(args, &answer, console)
}

/// What the inventory is to become; `None`: it does not have the token.
fn edit(args: &RetireArgs, config: &Path, console: &mut Console) -> Result<Option<Edit>, Complaint> {
    let (environment, now) = (Environment::of_process(config), SystemClock.now());
    let before = load(config, &environment, now);
    let Some(inventory) = before.inventory else {
        write!(console.err, "{}", render_report(&before.report, console.err_paint))?;
        return Err(Complaint::told(Exit::Invalid));
    };
    let Some(policy) = inventory.tokens.get(&args.name) else { return Ok(None) };
    let users = users(&inventory, &args.name);
    if !users.is_empty() {
        let help = "give these accounts another credential first";
        return Err(Complaint::invalid(format!(
            "{} use token {} as their credential",
            words::some(&users, 5),
            args.name
        ))
        .with_help(help));
    }
    let (file, text) = entry(&before.report, &args.name)
        .ok_or_else(|| Complaint::failed(format!("the entry of token {} is in no file of its own", args.name)))?;
    let (text, account_stays) = removal::without_token(&text, args.name.as_str())
        .map_err(|why| Complaint::invalid(format!("{}: {why}; nothing was changed", file.display())))?;
    let after = load_edited(config, &file, &text, &environment, now);
    if after.inventory.is_none() {
        write!(console.err, "{}", render_report(&after.report, console.err_paint))?;
        return Err(Complaint::invalid("the inventory would be invalid without it: nothing was changed"));
    }
    Ok(Some(Edit { file, text, account_stays, policy: std::sync::Arc::clone(policy) }))
}

/// The accounts that authenticate with the token.
fn users(inventory: &Inventory, name: &TokenName) -> Vec<String> {
    let of_token = |credential: &Credential| *credential == Credential::Token(name.clone());
    let users = inventory.accounts.values().filter(|account| of_token(&account.endpoint.credential));
    users.map(|account| format!("account {}", account.name)).collect()
}

/// The file of the inventory that has the token's entry, and its text.
fn entry(report: &Report, name: &TokenName) -> Option<(PathBuf, String)> {
    let found = report.sources().find(|source| removal::has_token(report.text(*source), name.as_str()))?;
    Some((PathBuf::from(report.name(found)), report.text(found).to_owned()))
}

/// What happens to the token, its consumers and what is left of it.
fn foretell(args: &RetireArgs, edit: Option<&Edit>, known: Option<&TokenStatus>, status: &Status) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "  {label:<11} {value}");
    };
    match edit {
        Some(edit) => line("inventory", &format!("its entry leaves {}", edit.file.display())),
        None => line("inventory", "it left the inventory before"),
    }
    if let Some(fleet) = status.fleet.as_ref().filter(|_| edit.is_some()) {
        line("fleet", &format!("take it out of the inventory of every other host of fleet {}, too", fleet.name));
        let owner = fleet.elsewhere.iter().find(|it| it.token == args.name).and_then(|it| it.owner.as_ref());
        if let Some(owner) = owner {
            line("", &format!("replica {owner} looks after it: it is revoked once its entry is gone there"));
        }
    }
    if edit.is_some_and(|edit| edit.account_stays) {
        line("account", &format!("[account.{}] stays: the provider is asked through it", args.name));
    }
    match known.and_then(|token| token.current.as_ref().map(|current| (token, current))) {
        Some((token, current)) => {
            let account = token.account.as_ref().map(|account| format!(" at account {account}")).unwrap_or_default();
            let end = current.expires.here().map(|end| format!(", expires {}", words::relative(end, status.at)));
            line("token", &format!("generation {}{account}{}", current.number, end.unwrap_or_default()));
        }
        None => line("token", "none was minted yet"),
    }
    if let Some(retiring) = known.and_then(|token| token.retiring.as_ref()) {
        let when = words::relative(retiring.revoke_at, status.at);
        line("", &format!("generation {} is revoked {when}, whatever you choose", retiring.generation.number));
    }
    for store in edit.iter().flat_map(|edit| &edit.policy.stores) {
        let what = match store.on_leave {
            OnLeave::Keep => "keeps the secret: remove it there yourself",
            OnLeave::Erase => "loses the secret once the token is revoked",
        };
        line("store", &format!("{} {what}", store.key));
    }
    for hook in edit.iter().flat_map(|edit| &edit.policy.hooks) {
        line("hook", &format!("{} does not run any more", hook.key));
    }
    format!("{}\n{text}", args.name)
}

/// What to do about the token at the provider: as the flags say, else as somebody at the terminal says.
fn choose(args: &RetireArgs, alive: bool) -> Result<Choice, Complaint> {
    if args.revoke {
        return Ok(Choice::Revoke);
    }
    if args.keep || !alive {
        return Ok(Choice::Keep);
    }
    let mut ask = Ask::new();
    let question = "Revoke it at the provider, or keep it alive there? [revoke/keep/NOTHING]";
    let choice = ask.value("--revoke or --keep", question, None, |answer| match answer {
        "r" | "revoke" => Ok(Choice::Revoke),
        "k" | "keep" => Ok(Choice::Keep),
        "" | "n" | "nothing" => Ok(Choice::Nothing),
        _ => Err("revoke, keep or nothing"),
    })?;
    ask.complete()?;
    Ok(choice.unwrap_or(Choice::Nothing))
}

fn write_file(edit: &Edit) -> Result<(), Complaint> {
    let unwritten = |error: &dyn std::error::Error| Complaint::failed(format!("{error}; nothing was changed"));
    let path = std::path::absolute(&edit.file)?;
    let target = Target::open(&path).map_err(|error| unwritten(&error))?;
    let content = target.read(LARGEST_DOCUMENT).map_err(|error| unwritten(&error))?;
    let content = content.ok_or_else(|| Complaint::failed(format!("{} is gone", path.display())))?;
    target.replace(edit.text.as_bytes(), content.attributes).map_err(|error| unwritten(&error))
}

/// Has the daemon, or this process where none runs, work with the inventory as it is now, and revoke the token.
fn carry_out(
    args: &RetireArgs,
    named: Option<&Path>,
    choice: Choice,
    edited: bool,
    console: &mut Console,
) -> Result<RetireAnswer, Complaint> {
    let disk = Disk::read(named, SystemClock.now(), console);
    if edited
        && let Some(answer) = disk.ask(console, Client::reload)?
        && !answer.applied
    {
        let problems = answer.problems.join("\n");
        return Err(Complaint::failed(format!("the daemon refuses the inventory without the token\n{problems}"))
            .with_help(format!("mend it, then `patrold retire {}` goes on", args.name)));
    }
    if choice == Choice::Keep {
        return Ok(RetireAnswer { outcome: RetireOutcome::Kept, ..RetireAnswer::of(&args.name) });
    }
    let grace = if args.now { Some(Duration::ZERO) } else { args.after };
    let request = RetireRequest {
        token: args.name.clone(),
        grace_seconds: grace.map(|grace| grace.as_secs()),
        timeout_seconds: args.timeout.as_secs().max(1),
    };
    if let Some(answer) = disk.ask(console, |daemon| daemon.retire(&request))? {
        return Ok(answer);
    }
    let inventory = disk.valid()?;
    let _logger = alone(&inventory.daemon, console)?;
    let grace = grace.and_then(|grace| Span::from_std(grace).ok());
    let retired = retire_without_daemon(inventory.into(), SystemClock, &args.name, grace, args.timeout);
    Ok(runtime()?.block_on(retired)?)
}

fn tell(args: &RetireArgs, answer: &RetireAnswer, console: &mut Console) -> Result<Exit, Complaint> {
    if args.json {
        console.json(answer)?;
    } else {
        let told = format!("{}: {}", args.name, retirement::sentence(answer, SystemClock.now()));
        writeln!(console.out, "{}", words::continued(&told, console.width(false), 0))?;
    }
    Ok(match answer.outcome {
        RetireOutcome::Revoked | RetireOutcome::Planned | RetireOutcome::Kept | RetireOutcome::Nothing => Exit::Fine,
        RetireOutcome::LeftToExpire | RetireOutcome::Waiting => Exit::Partly,
        RetireOutcome::Failed | RetireOutcome::Refused => Exit::Failed,
    })
}
