//! `patrold exec`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rustix::process::Signal;

use crate::clock::{Clock as _, SystemClock};
use crate::exec::{self, OnChange, Passing, Place, Plan, Value};
use crate::exit::Exit;
use crate::inventory::{Format, Inventory, StoreKind};
use crate::names::TokenName;
use crate::process::signal;
use crate::telemetry::log::{Choice, Logger};

use super::console::Usual;
use super::reading::{inventory, unknown_token};
use super::{Complaint, Console, discovery, runtime};

/// Arguments of `patrold exec`.
#[derive(Clone, Debug, Args)]
pub struct ExecArgs {
    /// A token's secret, read from the file that a store of it writes, in an environment variable
    #[arg(long, value_name = "NAME[.PART]=VARIABLE", value_parser = Named::parse)]
    token: Vec<Named>,
    /// What a file holds, in an environment variable
    #[arg(long, value_name = "PATH=VARIABLE", value_parser = Named::parse)]
    file: Vec<Named>,
    /// As --token, but the variable has the path of a file in memory that holds it
    #[arg(long, value_name = "NAME[.PART]=VARIABLE", value_parser = Named::parse)]
    token_file: Vec<Named>,
    /// A file that the program reads itself: its changes count, too
    #[arg(long, value_name = "PATH")]
    watch: Vec<PathBuf>,
    /// What becomes of the program when a value has changed: restart, signal:NAME or exit
    #[arg(long, value_name = "WHAT", default_value = "restart", value_parser = on_change)]
    on_change: OnChange,
    /// How long the start waits for values that are not there yet
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = span)]
    wait: Duration,
    /// Changes within this time are one
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = span)]
    coalesce: Duration,
    /// Act up to so much later, so that many copies do not restart at once
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = span)]
    splay: Duration,
    /// The signal that stops the program
    #[arg(long, value_name = "NAME", default_value = "TERM", value_parser = signal::parse)]
    stop_signal: Signal,
    /// How long after that signal it is killed, with everything that it started
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = span)]
    stop_timeout: Duration,
    /// A program that ends sooner after a change was ended by the change, and is started again up to three times
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = span)]
    steady: Duration,
    /// Start it with the values from before, then, once
    #[arg(long)]
    fallback: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    argv: Vec<String>,
}

/// `WHAT=VARIABLE`.
#[derive(Clone, Debug)]
struct Named {
    what: String,
    variable: String,
}

impl Named {
    fn parse(text: &str) -> Result<Self, String> {
        // A path may have `=` in it, a variable not.
        let (what, variable) = text.rsplit_once('=').ok_or("write WHAT=VARIABLE")?;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if what.is_empty() || variable.is_empty() || variable.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("write WHAT=VARIABLE".to_owned());
        }
        if !variable.chars().all(fits) {
            return Err(format!("\"{variable}\" is not the name of an environment variable"));
        }
        Ok(Self { what: what.to_owned(), variable: variable.to_owned() })
    }
}

fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

fn on_change(text: &str) -> Result<OnChange, String> {
    match text.split_once(':') {
        None if text == "restart" => Ok(OnChange::Restart),
        None if text == "exit" => Ok(OnChange::Exit),
        Some(("signal", name)) => signal::parse(name).map(OnChange::Signal),
        _ => Err("write restart, signal:HUP (or another signal) or exit".to_owned()),
    }
}

/// Runs a program with secrets from stores.
pub(super) fn run(args: &ExecArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let mut values = values(args, named, console)?;
    values.extend(args.file.iter().map(|file| Value {
        variable: file.variable.clone(),
        place: Place { path: PathBuf::from(&file.what), format: Format::Whole { newline: false } },
        passing: Passing::Variable,
    }));
    if values.is_empty() && args.watch.is_empty() {
        return Err(Complaint::invalid("nothing is given to the program").with_help(
            "name a value: --token NAME=VARIABLE or --file PATH=VARIABLE; or a file of its own: --watch PATH",
        ));
    }
    if let Some(twice) = twice(&values) {
        return Err(Complaint::invalid(format!("two values are given in the variable {twice}")));
    }
    let level = console.verbosity.level(Usual::Steps).map(str::to_owned);
    let logger = Logger::install(Choice { level, format: None });
    logger.map_err(|error| Complaint::invalid(error.to_string()))?;
    let plan = Plan {
        argv: args.argv.clone(),
        values,
        watched: args.watch.clone(),
        on_change: args.on_change,
        wait: args.wait,
        coalesce: args.coalesce,
        splay: args.splay,
        stop_signal: args.stop_signal,
        stop_timeout: args.stop_timeout,
        steady: args.steady,
        fallback: args.fallback,
    };
    let runtime = runtime()?;
    let status = runtime.block_on(exec::run(plan)).map_err(|error| Complaint::failed(error.to_string()));
    runtime.shutdown_background();
    status.map(Exit::Program)
}

/// The values that tokens of the inventory name.
fn values(args: &ExecArgs, named: Option<&Path>, console: &mut Console) -> Result<Vec<Value>, Complaint> {
    let tokens = args.token.iter().map(|it| (it, Passing::Variable));
    let tokens: Vec<_> = tokens.chain(args.token_file.iter().map(|it| (it, Passing::Memory))).collect();
    if tokens.is_empty() {
        return Ok(Vec::new());
    }
    let inventory = inventory(&discovery::find(named)?, SystemClock.now(), console)?;
    let value = |(named, passing): &(&Named, Passing)| {
        let place = place(&inventory, &named.what)?;
        Ok(Value { variable: named.variable.clone(), place, passing: *passing })
    };
    tokens.iter().map(value).collect()
}

/// Where a token's secret, or a part of it, is on disk.
fn place(inventory: &Inventory, what: &str) -> Result<Place, Complaint> {
    let find = |name: &str| inventory.tokens.values().find(|token| token.name.as_str() == name);
    // Names may have dots in them.
    let of_part = || what.rsplit_once('.').and_then(|(name, part)| Some((find(name)?, Some(part))));
    let Some((token, part)) = find(what).map(|token| (token, None)).or_else(of_part) else {
        return Err(match what.parse::<TokenName>() {
            Ok(name) => unknown_token(&name, inventory.tokens.keys()),
            Err(error) => Complaint::invalid(format!("\"{what}\" is not the name of a token: {error}")),
        });
    };
    let part = part.unwrap_or(crate::secret::TOKEN_PART);
    let file = token.stores.iter().filter(|store| store.part == part).find_map(|store| match &store.kind {
        StoreKind::File(file) => Some(Place { path: file.path.clone(), format: file.format.clone() }),
        StoreKind::Directory(directory) => {
            let file = directory.as_file(directory.file(&store.key)?);
            Some(Place { path: file.path, format: file.format })
        }
        StoreKind::Command(_) | StoreKind::Remote(_) | StoreKind::Hosted(_) => None,
    });
    file.ok_or_else(|| {
        let name = &token.name;
        Complaint::invalid(format!("no store of token {name} writes its part `{part}` to a file of this machine"))
            .with_help("give it a store of the kind file or env-file, which the program may read")
    })
}

/// A variable that two values have.
fn twice(values: &[Value]) -> Option<&str> {
    let names = values.iter().map(|value| value.variable.as_str());
    names.enumerate().find(|(at, name)| values[..*at].iter().any(|other| other.variable == *name)).map(|(_, name)| name)
}
