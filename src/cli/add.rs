//! `patrold add`: adds a token to an inventory.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::control::client::Client;
use crate::durable::Target;
use crate::exit::Exit;
use crate::files::LARGEST_DOCUMENT;
use crate::inventory::{AccountPolicy, Credential, Environment, Inventory, load_text};
use crate::journal::key::KeySource;
use crate::names::{AccountName, TokenName};
use crate::view::check::render_report;

use super::ask::Ask;
use super::draft::{self, Given, TokenDraft};
use super::params::{self, Finder};
use super::reading::inventory;
use super::{Complaint, Console, credentials, runtime};

/// Arguments of `patrold add`.
#[derive(Clone, Debug, Args)]
pub struct AddArgs {
    /// The name of the new token
    #[arg(value_name = "NAME")]
    name: TokenName,
    /// The account that mints it; without it, the only one
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
    /// The file that gets the secret; without it and --env, NAME.token beside the inventory
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    /// The env file that gets the secret, and the variable in it
    #[arg(long, value_name = "FILE:KEY")]
    env: Option<String>,
    /// The unit that is restarted after each rotation
    #[arg(long, value_name = "UNIT")]
    restart: Option<String>,
    /// The unit that is reloaded after each rotation
    #[arg(long, value_name = "UNIT")]
    reload: Option<String>,
    /// How long the token shall live, where the provider lets the caller choose
    #[arg(long, value_name = "SPAN")]
    lifetime: Option<String>,
    /// Rotate it at this age
    #[arg(long, value_name = "SPAN")]
    rotate_every: Option<String>,
    /// A parameter of the provider
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
}

/// Adds the token, if the inventory is valid with it.
pub(super) fn run(args: &AddArgs, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let now = SystemClock.now();
    let before = inventory(config, now, console)?;
    if before.tokens.contains_key(&args.name) {
        return Err(Complaint::invalid(format!("token {} is in the inventory already", args.name))
            .with_help("choose another name, or edit the inventory"));
    }
    let mut ask = Ask::new();
    let account = account(args, &before, &mut ask)?;
    let given = params(args, &before, &account, &mut ask)?;
    let file = match (&args.file, &args.env) {
        (None, None) => Some(format!("{}.token", args.name)),
        (file, _) => file.clone(),
    };
    let keys = [
        ("file", file.as_deref()),
        ("env", args.env.as_deref()),
        ("restart", args.restart.as_deref()),
        ("reload", args.reload.as_deref()),
        ("lifetime", args.lifetime.as_deref()),
        ("rotate-every", args.rotate_every.as_deref()),
    ];
    let draft = TokenDraft { name: args.name.as_str(), account: account.name.as_str(), keys: &keys, params: &given };

    let path = std::path::absolute(config)?;
    let unwritten = |error: &dyn std::error::Error| Complaint::failed(format!("{error}; nothing was changed"));
    let target = Target::open(&path).map_err(|error| unwritten(&error))?;
    let content = target.read(LARGEST_DOCUMENT);
    let content = content.map_err(|error| unwritten(&error))?;
    let content = content.ok_or_else(|| Complaint::failed(format!("{} is gone", path.display())))?;
    let text = std::str::from_utf8(&content.bytes).map_err(|error| unwritten(&error))?;
    let text = draft::with_token(text, &draft)
        .map_err(|why| Complaint::invalid(format!("{}: {why}; nothing was changed", config.display())))?;
    let after = load_text(config, &text, &Environment::of_process(config), now);
    let Some(inventory) = &after.inventory else {
        write!(console.err, "{}", render_report(&after.report, console.err_paint))?;
        return Err(Complaint::invalid("the inventory would be invalid: nothing was changed"));
    };
    target.replace(text.as_bytes(), content.attributes).map_err(|error| unwritten(&error))?;
    tell(args, inventory, console)
}

fn account(args: &AddArgs, inventory: &Inventory, ask: &mut Ask) -> Result<Arc<AccountPolicy>, Complaint> {
    let known: Vec<&str> = inventory.accounts.keys().map(AccountName::as_str).collect();
    let find = |name: &str| {
        let found = inventory.accounts.iter().find(|(known, _)| known.as_str() == name);
        found.map(|(_, account)| Arc::clone(account)).ok_or_else(|| format!("there is no account \"{name}\""))
    };
    let given = args.account.as_ref().map(AccountName::as_str);
    let only = given.or_else(|| known.first().copied().filter(|_| known.len() == 1));
    if known.is_empty() {
        return Err(Complaint::invalid("the inventory has no account").with_help("write an [account.NAME] first"));
    }
    let question = format!("Account, one of {}", known.join(", "));
    let account = ask.value(&format!("--account ({})", known.join(", ")), &question, only, find)?;
    ask.complete()?;
    account.ok_or_else(|| Complaint::invalid("missing: --account"))
}

/// The parameters that the provider needs and the account does not give.
fn params(args: &AddArgs, inventory: &Inventory, account: &AccountPolicy, ask: &mut Ask) -> Result<Given, Complaint> {
    let provider = &account.provider;
    let own = params::parse(provider, &args.params)?;
    let mut all: Given = account.params.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    all.extend(own);
    params::ask(provider, &mut all, ask, |_| true)?;
    ask.complete()?;
    if params::can_find(provider, &all) {
        let key = KeySource::resolve(inventory.daemon.seal_key.as_ref(), |name| std::env::var_os(name)).ok();
        runtime()?.block_on(async {
            let (accounts, lacking) =
                credentials::accounts(inventory, key.as_ref(), |name| *name == account.name).await?;
            if let Some((_, why)) = lacking.into_iter().next() {
                return Err(why);
            }
            let member = accounts.get(&account.name);
            let member = member.ok_or_else(|| Complaint::failed("the account cannot be asked"))?;
            let client = member.client().map_err(|failure| Complaint::failed(failure.to_string()))?;
            Finder { client, provider }.find(&mut all, ask).await
        })?;
    }
    all.retain(|name, value| account.params.get(name) != Some(value));
    Ok(all)
}

fn tell(args: &AddArgs, inventory: &Inventory, console: &mut Console) -> Result<Exit, Complaint> {
    let Some(token) = inventory.tokens.get(&args.name) else { return Ok(Exit::Fine) };
    writeln!(console.out, "added token {} at account {}", args.name, token.account.name)?;
    for store in &token.stores {
        writeln!(console.out, "its secret goes into {}", store.key)?;
    }
    for hook in &token.hooks {
        writeln!(console.out, "after each rotation: {}", hook.key)?;
    }
    // Standard error is not buffered.
    console.out.flush()?;
    let running = Client::new(&inventory.daemon).and_then(|daemon| daemon.status()).ok().flatten().is_some();
    let own = inventory.accounts.values().any(|it| it.endpoint.credential == Credential::Token(args.name.clone()));
    if running {
        console.note(format_args!("the running daemon takes it up by itself: `patrold status {}`", args.name))?;
    } else if !own {
        console
            .note(format_args!("next: `patrold run` keeps it alive; `patrold rotate {}` only mints it", args.name))?;
    }
    Ok(Exit::Fine)
}
