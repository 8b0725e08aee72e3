//! `patrold store`.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::clock::SystemClock;
use crate::exit::Exit;
use crate::inventory::RemotePolicy;
use crate::journal::key::KeySource;
use crate::names::{AccountName, ProviderName};
use crate::store::trial;
use crate::view::store::{StoreView, render, write_list, write_trial};

use super::definitions::{Kind, definitions, find};
use super::lint::{self, LintArgs};
use super::reading::inventory;
use super::trial::{account_of, pair, params};
use super::{Complaint, Console, credentials, discovery, identity, runtime};
use crate::clock::Clock as _;

/// Arguments of `patrold store`.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum StoreCommand {
    /// List every store definition
    List {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a store definition needs and what it can do
    Show {
        /// Its name
        name: String,
        /// Print the definition's own text
        #[arg(long, conflicts_with = "json")]
        source: bool,
        /// Print what of an inventory uses it, to copy from
        #[arg(long, conflicts_with_all = ["json", "source"])]
        example: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask store definitions the questions that deliveries go wrong by
    ///
    /// Is a wrong place told from an empty one, is a write of somebody else noticed, is what was written read back: a
    /// question that the definition does not answer is told with its place and a remedy. Where there is no answer, the
    /// table [lint] of the definition says why.
    #[command(after_help = LINT_EXAMPLES)]
    Lint(LintArgs),
    /// Test a store definition at a live account of the inventory
    ///
    /// Writes test values into a slot that holds nothing, or an earlier test value, and sees what the definition claims:
    /// the place, the value that is read back, that nothing else of the target changes, that the same is not written
    /// twice. The last test value stays: remove it by hand. A slot that holds anything else is left alone.
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
}

const LINT_EXAMPLES: &str = "\
Examples:
  patrold store lint stores/own.toml
  patrold store lint --all
  patrold store lint --all --json | jq '.[] | select(.reasons.race) | .name'

Exit status: 0 every question is answered or has a reason; 1 a question is open; 2 a definition cannot be read.";

const TEST_EXAMPLES: &str = "\
Examples:
  patrold store test vault-kv2 --account bao --param path=apps/ingest --param key=patrold_test
  patrold store test gitlab-variable --account gitlab --param project=group/app --param key=PATROLD_TEST

Exit status: 0 all that the definition claims was seen to hold; 1 otherwise.";

/// Arguments of `patrold store test`.
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    /// The store definition's name
    name: ProviderName,
    /// The account of the inventory to test it at
    #[arg(long, value_name = "ACCOUNT")]
    account: AccountName,
    /// A parameter that the account lacks; `list` and `json` parameters in JSON
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Shows store definitions, the built-in ones and those of the configured inventory where there is one; or tests one.
pub(super) fn run(args: &StoreArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let definitions = definitions(discovery::find(named).ok().as_deref());
    match &args.command {
        StoreCommand::Test(test) => return self::test(test, &discovery::find(named)?, console),
        StoreCommand::Lint(args) => return lint::run(args, &definitions, Kind::Store, console),
        StoreCommand::List { json: true } => {
            let views: Vec<_> = definitions.stores().map(|store| StoreView::new(store)).collect();
            console.json(&views)?;
        }
        StoreCommand::List { json: false } => {
            let (paint, width) = (console.out_paint, console.width(false));
            write_list(definitions.stores().map(Arc::as_ref), paint, width, &mut console.out)?;
        }
        StoreCommand::Show { name, source, example, json } => {
            let store = find(&definitions, name, Kind::Store)?;
            if *json {
                console.json(&StoreView::new(&store))?;
            } else if *source {
                console.out.write_all(store.source().as_bytes())?;
            } else if *example {
                console.out.write_all(store.example.as_bytes())?;
            } else {
                let width = console.width(false);
                console.out.write_all(render(&store, console.out_paint, width).as_bytes())?;
            }
        }
    }
    Ok(Exit::Fine)
}

fn test(args: &TestArgs, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let inventory = inventory(config, SystemClock.now(), console)?;
    let account = account_of(&inventory, &args.account)?;
    if account.provider.name != args.name || account.provider.store().is_none() {
        let uses = &account.provider.name;
        let word = if account.provider.store().is_some() { "store" } else { "provider" };
        return Err(Complaint::invalid(format!("the account {} uses {word} \"{uses}\"", account.name)));
    }
    let params = params(&account, &account.provider, &args.params)?;
    let (key, remote) = RemotePolicy::new(&account, params)
        .map_err(|error| Complaint::invalid(format!("the place has no name: {error}")))?;
    let key = key.parse().map_err(|error| Complaint::invalid(format!("the place has no name: {error}")))?;
    identity::act_as_owner(&inventory.daemon)?;
    let sealed = KeySource::resolve(inventory.daemon.seal_key.as_ref(), |name| std::env::var_os(name)).ok();
    let report = runtime()?.block_on(async {
        let (accounts, lacking) =
            credentials::accounts(&inventory, sealed.as_ref(), |name| *name == account.name).await?;
        match lacking.into_iter().next() {
            Some((_, why)) => Err(why),
            None => Ok(trial::run(&key, &remote, &accounts).await),
        }
    })?;
    if args.json {
        console.json(&report)?;
    } else {
        let width = console.width(false);
        write_trial(&report, console.out_paint, width, &mut console.out)?;
    }
    Ok(if report.held { Exit::Fine } else { Exit::Failed })
}
