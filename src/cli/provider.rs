//! `patrold provider`.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::exit::Exit;
use crate::view::provider::{ProviderView, render, write_list};

use super::definitions::{Kind, definitions, find};
use super::discovery;
use super::lint::{self, LintArgs};
use super::trial::{self, TestArgs};
use super::{Complaint, Console};

/// Arguments of `patrold provider`.
#[derive(Clone, Debug, Args)]
pub struct ProviderArgs {
    #[command(subcommand)]
    command: ProviderCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ProviderCommand {
    /// List every provider definition
    List {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a provider definition needs and what it can do
    Show {
        /// Its name
        name: String,
        /// Print the definition's own text
        #[arg(long, conflicts_with = "json")]
        source: bool,
        /// Print an inventory that uses it, to copy from
        #[arg(long, conflicts_with_all = ["json", "source"])]
        example: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask provider definitions the questions that rotations go wrong by
    ///
    /// Is a lost token found again, which request may every token make, what does a 404 mean, how long may a name be:
    /// a question that the definition does not answer is told with its place and a remedy. Where there is no answer,
    /// the table [lint] of the definition says why.
    #[command(after_help = lint::EXAMPLES)]
    Lint(LintArgs),
    /// Test a provider definition at a live account of the inventory
    ///
    /// Mints two short-lived tokens, finds, verifies, renews and revokes them, and sees that they are dead: whatever
    /// the definition has. Prints what the provider was seen to do. What was minted is taken back also when the test
    /// fails or is stopped half-way; what a killed test left is taken back by the next one. A running daemon is not
    /// disturbed.
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
}

const TEST_EXAMPLES: &str = "\
Examples:
  patrold provider test awx --account controller --param user_id=7
  patrold provider test pointone --account gps --lifetime 1d
  patrold provider test awx --account controller --json | jq '.findings[] | select(.seen == \"no\")'

Exit status: 0 all that the definition claims was seen to hold, and nothing is left; 1 otherwise.";

/// Shows provider definitions, the built-in ones and those of the configured inventory where there is one; or tests one.
pub(super) fn run(args: &ProviderArgs, named: Option<&Path>, console: &mut Console) -> Result<Exit, Complaint> {
    let definitions = definitions(discovery::find(named).ok().as_deref());
    match &args.command {
        ProviderCommand::Test(test) => return trial::run(test, &discovery::find(named)?, console),
        ProviderCommand::Lint(args) => return lint::run(args, &definitions, Kind::Provider, console),
        ProviderCommand::List { json: true } => {
            let views: Vec<_> = definitions.providers().map(|provider| ProviderView::new(provider)).collect();
            console.json(&views)?;
        }
        ProviderCommand::List { json: false } => {
            let (paint, width) = (console.out_paint, console.width(false));
            write_list(definitions.providers().map(Arc::as_ref), paint, width, &mut console.out)?;
        }
        ProviderCommand::Show { name, source, example, json } => {
            let provider = find(&definitions, name, Kind::Provider)?;
            if *json {
                console.json(&ProviderView::new(&provider))?;
            } else if *source {
                console.out.write_all(provider.source().as_bytes())?;
            } else if *example {
                if provider.example.is_empty() {
                    return Err(Complaint::failed(format!("the definition {name} has no example")));
                }
                console.out.write_all(provider.example.as_bytes())?;
            } else {
                let width = console.width(false);
                console.out.write_all(render(&provider, console.out_paint, width).as_bytes())?;
            }
        }
    }
    Ok(Exit::Fine)
}
