//! The command line: what each command is asked, and what it prints. Decisions and texts are made elsewhere, in pure
//! code; here is only the shell around them.

mod add;
mod adopt;
mod agent;
mod ask;
mod audit;
mod cancel;
mod check;
mod complaint;
mod config;
mod console;
mod credentials;
mod definitions;
mod demo;
mod discovery;
mod disk;
mod draft;
mod examples;
mod exec;
mod explain;
mod fleet;
mod found;
mod history;
mod identity;
mod init;
mod journal;
mod lint;
mod notify;
mod online;
mod params;
mod plan;
mod progress;
mod provider;
mod reading;
mod recovery;
mod reload;
mod removal;
mod retire;
mod rollback;
mod rotate;
mod run;
mod schema;
mod shell;
mod status;
mod store;
mod systemd;
mod trial;
mod waiting;

use std::io::Write as _;
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::exit::Exit;

pub use complaint::Complaint;
pub use console::Console;
use console::Verbosity;

const EXIT_STATUS: &str = "\
Exit status:
  0  fine
  1  what was asked for failed
  2  bad usage, or the inventory is invalid
  3  partly done";

/// The heading of the options that every command has.
const GLOBAL: &str = "Options of every command";

/// Keeps API tokens alive: mints a replacement before a token expires, proves it, delivers it, revokes the old one.
#[derive(Clone, Debug, Parser)]
#[command(name = "patrold", version, after_help = EXIT_STATUS, max_term_width = 100)]
pub struct Args {
    /// The inventory's main file; without it ./patrold.toml, the user's (~/.config/patrold) or the machine's (/etc/patrold)
    #[arg(long, short = 'c', global = true, help_heading = GLOBAL, env = "PATROLD_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[expect(clippy::doc_markdown, reason = "it is the help text")]
    /// When to use colour: on a terminal, unless NO_COLOR is set, or always, or never
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, default_value = "auto", value_name = "WHEN")]
    color: ColorWhen,
    /// Log more; twice, everything
    #[arg(long, short, global = true, help_heading = GLOBAL, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Log errors only, and leave out notes and progress
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Make an inventory with one account
    ///
    /// Asks for what is missing: the address, a user name, the credential (without echo). Ids that the provider's API tells
    /// are found there. The credential is proven before anything is written; it goes into a file of its own, mode 0600. An
    /// inventory that is there is never overwritten.
    #[command(after_help = examples::INIT)]
    Init(init::InitArgs),
    /// Add a token to the inventory
    ///
    /// Keeps every comment. What the provider needs to know and its API tells is found there; the rest is asked. Nothing is
    /// written unless the inventory is valid with it. A running daemon takes it up by itself.
    #[command(after_help = examples::ADD)]
    Add(add::AddArgs),
    /// Run the daemon
    ///
    /// Keeps every token of the inventory fresh until SIGTERM or SIGINT; a second signal stops at once. A changed
    /// inventory takes effect by itself, or at SIGHUP; an invalid one never replaces a valid one. Logs go to
    /// standard error.
    ///
    /// With --once, everything that is due is done in this process, what is under way is finished, and nothing else is
    /// waited for: grace and retries are left to the next run.
    #[command(after_help = examples::RUN)]
    Run(run::RunArgs),
    /// Run a program with secrets from stores, and again with new ones
    ///
    /// Reads stores on disk, as any consumer does, and asks no daemon. The program starts once every value is there, and is
    /// restarted, told or ended when one has changed. Its end is the end of this command, with its status.
    #[command(after_help = examples::EXEC)]
    Exec(exec::ExecArgs),
    /// Apply the changed inventory in the running daemon now
    ///
    /// The daemon notices a change by itself, and at SIGHUP. This command also tells what changed, or why the inventory is
    /// refused and the one before stays.
    #[command(after_help = examples::RELOAD)]
    Reload(reload::ReloadArgs),
    /// Validate an inventory and the provider definitions it names
    ///
    /// Reports every problem at once, with file, line and column, on standard error. A valid inventory is summed up on
    /// standard output, with the next firings of its cron expressions. Nothing is changed, and nobody is asked unless
    /// `--online` is given.
    #[command(after_help = examples::CHECK, visible_alias = "validate")]
    Check(check::CheckArgs),
    /// Show what the inventory means
    Config(config::ConfigArgs),
    /// Show what will happen to each token, and when
    ///
    /// Decides with the daemon's own rules from the inventory and the journal. Nothing is changed and nobody is asked;
    /// what only the provider knows, such as a token that was deleted there, does not show.
    #[command(after_help = examples::PLAN)]
    Plan(plan::PlanArgs),
    /// Explain why a token is or is not rotated now
    ///
    /// Every rule with its time, the one that decides, what comes next, and what is in the way. Asks the running
    /// daemon. Where none runs, explains what the journal says.
    #[command(after_help = examples::EXPLAIN)]
    Explain(explain::ExplainArgs),
    /// Show tokens, generations, expiry, errors and what comes next
    ///
    /// Asks the running daemon. Where none runs, shows what the journal says, and tells so.
    #[command(after_help = examples::STATUS, visible_alias = "list", alias = "ls")]
    Status(status::StatusArgs),
    /// Rotate tokens now, ignoring windows
    ///
    /// Asks the running daemon. Where none runs, does it in this process. The old generation lives on for its grace. With
    /// --compromised it does not: it is revoked as soon as stores and hooks are done, and what is left to do is told.
    #[command(after_help = examples::ROTATE, visible_alias = "renew")]
    Rotate(rotate::RotateArgs),
    /// Withdraw a request for a rotation or a revocation that has not begun
    ///
    /// Such a request waits for the grace of the old token, for the provider's rate limit, or for another
    /// try. `patrold status` shows it. A rotation that has begun is taken back by `patrold rollback`.
    /// A token that was retired stays alive, as long as it is not revoked yet.
    #[command(after_help = examples::CANCEL)]
    Cancel(cancel::CancelArgs),
    /// Take a token out of the inventory, and have it revoked
    ///
    /// Shows what happens to its stores and hooks. The entry leaves its file; every other line stays. With --revoke, the
    /// token is revoked at the provider after its grace, and not while the provider sees it in use; with --keep, it stays
    /// alive. On a terminal, the command asks. A token that left the inventory before is revoked all the same.
    #[command(after_help = examples::RETIRE)]
    Retire(retire::RetireArgs),
    /// Put the previous token back
    ///
    /// While the old generation is still valid, it goes back into every store, hooks run, and the newer one is revoked
    /// after its grace. While a new one is still on its way to the consumers, it is taken back. For a day afterwards the
    /// token is not rotated again, unless its deadline comes first or somebody asks.
    #[command(after_help = examples::ROLLBACK)]
    Rollback(rollback::RollbackArgs),
    /// Take an existing secret under management, without rotating it
    ///
    /// The secret is proven at the provider before it becomes current and is delivered. It is also the way out where a
    /// token has died that its own account authenticates with. A generation that it replaces is revoked after its grace.
    #[command(after_help = examples::ADOPT)]
    Adopt(adopt::AdoptArgs),
    /// Compare the provider's tokens with the journal; find orphans
    ///
    /// Finds orphans (tokens with a marker of this installation that no generation accounts for), tokens that nobody
    /// manages, that never expire, or that have expired. With --reap, orphans are revoked, and nothing else.
    #[command(after_help = examples::AUDIT)]
    Audit(audit::AuditArgs),
    /// Show what happened to a token, or check that the journal is whole
    ///
    /// Reads the journal's records, oldest first. Each carries the hash of the one before it: `--verify` follows them
    /// all, and names the first that was changed, left out or slipped in.
    #[command(after_help = examples::HISTORY)]
    History(history::HistoryArgs),
    /// Write what a fleet has for the consumers of this host
    ///
    /// Reads a file of its own, which says what it may write: nothing else is written, whoever asks. It asks no provider,
    /// and holds the key of this host alone (`patrold fleet host-key`). One runs on each host that the inventory of the
    /// fleet names in `hosts` of a store.
    #[command(after_help = examples::AGENT)]
    Agent(agent::AgentArgs),
    /// Make a fleet, show its replicas, drain one
    ///
    /// Replicas share one journal in etcd or PostgreSQL: each account is looked after by one of them, and taken over by another when
    /// that one is gone.
    #[command(after_help = examples::FLEET)]
    Fleet(fleet::FleetArgs),
    /// Export, prune or re-key the journal
    Journal(journal::JournalArgs),
    /// Show the ways to tell people, or try one
    ///
    /// A `[[notify]]` of the inventory is a channel: it tells people what is the matter, once, and that it is over.
    #[command(after_help = examples::NOTIFY)]
    Notify(notify::NotifyArgs),
    /// Show provider definitions, or test one at a live account
    Provider(provider::ProviderArgs),
    /// Show definitions of stores, or test one at a live account
    Store(store::StoreArgs),
    /// Watch the daemon at work, on loopback, without any account
    ///
    /// Starts a provider on loopback that speaks three token APIs, the daemon, and a consumer for each file that it
    /// writes. Tokens live for seconds. The exit status is 0 only if every guarantee held.
    Demo(demo::DemoArgs),
    /// Print the JSON Schema of inventories or provider definitions, for editors
    ///
    /// An editor that knows the schema completes keys, shows what they mean, and underlines what is wrong while one types.
    /// What spans several places, such as the name of an account, only `check` knows.
    #[command(after_help = examples::SCHEMA)]
    Schema(schema::SchemaArgs),
    /// Show what the inventory needs of the systemd service, or write it
    ///
    /// Derives from the inventory a drop-in (directories of stores, credentials, groups), lines for tmpfiles.d and the
    /// list of units that hooks may reload, as far as the unit and its other drop-ins lack it. Nothing is changed without
    /// --write. `patrold check` warns of what is missing.
    #[command(after_help = examples::SYSTEMD)]
    Systemd(systemd::SystemdArgs),
    /// Print the completions of a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(shell::CompletionsArgs),
    /// Print a manual page, or write all of them
    #[command(after_help = examples::MAN)]
    Man(shell::ManArgs),
}

/// Does what `args` ask for; errors are told on standard error.
pub fn run(args: &Args) -> Exit {
    let verbosity = if args.quiet { Verbosity::Quiet } else { Verbosity::More(args.verbose) };
    let mut console = Console::new(args.color, verbosity);
    let result = dispatch(args, &mut console);
    // What was printed last may only fail to be written here.
    let result = result.and_then(|exit| console.out.flush().map(|()| exit).map_err(Complaint::from));
    result.unwrap_or_else(|complaint| {
        tell(&complaint, &mut console);
        complaint.exit
    })
}

fn dispatch(args: &Args, console: &mut Console) -> Result<Exit, Complaint> {
    let named = args.config.as_deref();
    let config = || discovery::find(named);
    match &args.command {
        Command::Init(init) => init::run(init, named, console),
        Command::Add(add) => add::run(add, &config()?, console),
        Command::Check(check) => check::run(check, named, console),
        Command::Run(run) => run::run(run, &config()?, console),
        Command::Exec(exec) => exec::run(exec, named, console),
        Command::Reload(reload) => reload::run(reload, named, console),
        Command::Config(args) => config::run(args, &config()?, console),
        Command::Plan(plan) => plan::run(plan, &config()?, console),
        Command::Audit(audit) => audit::run(audit, named, console),
        Command::Adopt(adopt) => adopt::run(adopt, named, console),
        Command::Cancel(cancel) => cancel::run(cancel, named, console),
        Command::Retire(retire) => retire::run(retire, named, console),
        Command::Rollback(rollback) => rollback::run(rollback, named, console),
        Command::Explain(explain) => explain::run(explain, named, console),
        Command::History(history) => history::run(history, named, console),
        Command::Agent(agent) => agent::run(agent, console),
        Command::Fleet(fleet) => fleet::run(fleet, named, console),
        Command::Journal(journal) => journal::run(journal, named, console),
        Command::Systemd(systemd) => systemd::run(systemd, &config()?, console),
        Command::Schema(schema) => schema::run(schema, console),
        Command::Completions(completions) => shell::completions(completions, console),
        Command::Man(man) => shell::man(man, console),
        Command::Status(status) => status::run(status, named, console),
        Command::Rotate(rotate) => rotate::run(rotate, named, console),
        Command::Notify(notify) => notify::run(notify, named, console),
        Command::Provider(provider) => provider::run(provider, named, console),
        Command::Store(store) => store::run(store, named, console),
        Command::Demo(demo) => demo::run(demo),
    }
}

/// What the daemon, its demo and rotations without a daemon run on.
fn runtime() -> Result<tokio::runtime::Runtime, Complaint> {
    // Before the threads that start programs are made: they inherit it.
    crate::daemon::hardening::keep_capabilities();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Complaint::failed(format!("cannot start the threads that do the work: {error}")))
}

fn tell(complaint: &Complaint, console: &mut Console) {
    if complaint.message.is_empty() {
        return;
    }
    // There is nowhere left to report that standard error cannot be written to.
    let _ = console.complain(complaint);
}
