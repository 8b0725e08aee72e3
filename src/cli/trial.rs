//! `patrold provider test`.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::account::pool::Accounts;
use crate::clock::{Clock as _, Span, SystemClock};
use crate::document::nearest;
use crate::exit::Exit;
use crate::inventory::{AccountPolicy, Inventory};
use crate::journal::Journal;
use crate::journal::key::KeySource;
use crate::names::{AccountName, ProviderName};
use crate::provider::{Operation, Params, Provider};
use crate::report::trial::Report;
use crate::telemetry::log::{Choice, Logger, VARIABLE};
use crate::trial::notebook::Notebook;
use crate::trial::{Order, Trial};
use crate::view::trial as view;

use super::credentials;
use super::identity::act_as_owner;
use super::reading::{inventory, unknown_account};
use super::{Complaint, Console, runtime};

/// Arguments of `patrold provider test`.
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    /// The provider definition's name
    name: ProviderName,
    /// The account of the inventory to test it at
    #[arg(long, value_name = "ACCOUNT")]
    account: AccountName,
    /// A parameter that the account lacks; `list` and `json` parameters in JSON
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// The lifetime to ask for, where the provider lets the caller choose
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = humantime::parse_duration)]
    lifetime: Duration,
    /// How long to ask again before an answer is taken as it is: providers propagate late
    #[arg(long, value_name = "SPAN", default_value = "90s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Mint although the definition has no way to revoke: the tokens live until they expire
    #[arg(long)]
    leave_to_expire: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write it as NAME=VALUE".to_owned())
}

/// Drives the whole life of two tokens at a live account. Exit 0 only if all that the definition claims was seen to
/// hold.
pub(super) fn run(args: &TestArgs, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let inventory = inventory(config, SystemClock.now(), console)?;
    let account = account(&inventory, args)?;
    let provider = &account.provider;
    if !provider.has(Operation::Mint) {
        return Err(Complaint::invalid(format!("{} defines no mint: there is nothing to test", provider.name)));
    }
    if !provider.has(Operation::Revoke) && !args.leave_to_expire {
        let complaint = Complaint::invalid(format!(
            "{} defines no revoke: what the test mints would live until it expires",
            provider.name
        ));
        return Err(complaint.with_help(format!(
            "supply [account.{}.operations.revoke], or accept that with --leave-to-expire",
            account.name
        )));
    }
    let span = |duration: Duration| {
        Span::from_std(duration)
            .ok()
            .filter(|span| *span <= Span::days(36_500))
            .ok_or_else(|| Complaint::invalid(format!("{} is too long", humantime::format_duration(duration))))
    };
    let order = Order {
        params: params(&account, provider, &args.params)?,
        lifetime: span(args.lifetime)?,
        patience: span(args.patience)?,
    };
    act_as_owner(&inventory.daemon)?;
    let level = std::env::var(VARIABLE).unwrap_or_else(|_| "warn".to_owned());
    let _logger = Logger::install(Choice { level: Some(level), format: None })
        .map_err(|error| Complaint::invalid(error.to_string()))?;
    let report = runtime()?.block_on(drive(&inventory, &account, order, console))?;
    if args.json {
        console.json(&report)?;
    } else {
        let width = console.width(false);
        view::write(&report, SystemClock.now(), console.out_paint, width, &mut console.out)?;
    }
    Ok(if report.held { Exit::Fine } else { Exit::Failed })
}

/// Runs the test until its end. The first signal makes it clean up, the second ends it at once.
async fn drive(
    inventory: &Inventory,
    account: &AccountPolicy,
    order: Order,
    console: &mut Console,
) -> Result<Report, Complaint> {
    let failed = |error: &dyn std::error::Error| Complaint::failed(error.to_string());
    // Before anything is minted, so that no signal is lost.
    let mut signals = Signals::new().map_err(|error| failed(&error))?;
    let settings = &inventory.daemon;
    let key = KeySource::resolve(settings.seal_key.as_ref(), |name| std::env::var_os(name))
        .map_err(|error| failed(&error))?;
    let notebook = Notebook::open(&settings.state_dir, &key, SystemClock.now()).await.map_err(|error| {
        failed(&error).with_help("run this as the user that patrold runs as; one test at a time may run")
    })?;
    let accounts = accounts(inventory, account, &notebook, &key).await?;
    let member = accounts
        .get(&account.name)
        .ok_or_else(|| Complaint::failed(format!("the account {} is not there", account.name)))?;
    let (stop, stopped) = watch::channel(false);
    let (tell, mut told) = mpsc::unbounded_channel();
    let place = notebook.place().to_owned();
    let trial = Trial::new(&accounts, member, SystemClock, notebook, order, stopped, tell).run();
    tokio::pin!(trial);
    let shows = std::io::stderr().is_terminal();
    loop {
        tokio::select! {
            report = &mut trial => return Ok(report),
            Some(line) = told.recv() => {
                if shows {
                    let line = console.err_paint.dim(&line).into_owned();
                    console.note(line)?;
                }
            }
            name = signals.next() => {
                if stop.send_replace(true) {
                    let complaint = Complaint::failed(format!("{name} again: stopped without cleaning up"));
                    let help = format!("{} knows what is left: the next test takes it back", place.display());
                    return Err(complaint.with_help(help));
                }
                console.note(format!("{name}: taking back what was minted; once more stops at once"))?;
                console.err.flush()?;
            }
        }
    }
}

/// Signals that end a test.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

/// The account of this name.
pub(super) fn account_of(inventory: &Inventory, name: &AccountName) -> Result<Arc<AccountPolicy>, Complaint> {
    let account = inventory.accounts.get(name).ok_or_else(|| unknown_account(name, inventory))?;
    Ok(Arc::clone(account))
}

fn account(inventory: &Inventory, args: &TestArgs) -> Result<Arc<AccountPolicy>, Complaint> {
    let account = account_of(inventory, &args.account)?;
    if account.provider.name != args.name {
        let uses = &account.provider.name;
        let complaint = Complaint::invalid(format!("the account {} uses provider \"{uses}\"", account.name));
        return Err(complaint.with_help(format!("patrold provider test {uses} --account {}", account.name)));
    }
    Ok(account)
}

/// The account's parameters overlaid with `given`. Everything that the definition needs is there.
pub(super) fn params(
    account: &AccountPolicy,
    provider: &Provider,
    given: &[(String, String)],
) -> Result<Params, Complaint> {
    let kind = super::definitions::Kind::of(provider).word();
    let mut params = account.params.clone();
    for (name, text) in given {
        let Some(declared) = provider.params.get(name) else {
            let complaint = Complaint::invalid(format!("{kind} \"{}\" has no parameter \"{name}\"", provider.name));
            return Err(match nearest(name, provider.params.keys().map(String::as_str)) {
                Some(meant) => complaint.with_help(format!("did you mean \"{meant}\"?")),
                None => complaint.with_help(format!("`patrold {kind} show {}` lists them", provider.name)),
            });
        };
        let value =
            declared.parse(text).map_err(|why| Complaint::invalid(format!("--param {name}: the parameter {why}")))?;
        params.insert(name.clone(), value);
    }
    for (name, _) in given {
        let barred = provider.params.get(name).and_then(|declared| declared.barred(&provider.params, &params));
        if let Some(when) = barred {
            return Err(Complaint::invalid(format!("--param {name}: the parameter is there only where {when}")));
        }
    }
    if let Some((name, declared)) = provider.lacking(&params).into_iter().next() {
        let example = declared.example.as_ref().map_or_else(|| "…".to_owned(), ToString::to_string);
        let about = if declared.about.is_empty() { String::new() } else { format!(": {}", declared.about) };
        return Err(Complaint::invalid(format!("{kind} \"{}\" needs parameter \"{name}\"", provider.name))
            .with_help(format!("--param {name}={}{about}", example.trim_matches('"'))));
    }
    Ok(params)
}

/// The account, and those where earlier tests left something, each with its credential.
async fn accounts(
    inventory: &Inventory,
    account: &AccountPolicy,
    notebook: &Notebook<impl Journal>,
    key: &KeySource,
) -> Result<Accounts<SystemClock>, Complaint> {
    let left = |name: &AccountName| notebook.specimens().iter().any(|specimen| specimen.account == *name);
    let (accounts, lacking) =
        credentials::accounts(inventory, Some(key), |name| *name == account.name || left(name)).await?;
    match lacking.into_iter().find(|(name, _)| *name == account.name) {
        Some((_, why)) => Err(why),
        // The requests of another account tell that it has no credential.
        None => Ok(accounts),
    }
}
