//! From what the files spell to what should exist: defaults, names, cron expressions, targets that collide.
//!
//! Pure: users, directories, definitions and the time come in through [`Surroundings`]. Everything that is wrong is
//! reported, not the first thing only; nothing here is quadratic in the number of tokens.

mod account;
mod agent;
mod claims;
mod cycle;
mod daemon;
mod fleet;
mod hook;
mod hosts;
mod needed;
mod notify;
mod params;
mod postgres;
mod program;
mod store;
mod timing;
mod token;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Time;
use crate::definition::Definitions;
use crate::document::{Located, Report, Spot, alike, did_you_mean, nearest};
use crate::names::AccountName;
use crate::trust::{TlsPolicy, TrustError};

use super::agent::AgentSettings;
use super::spec::{AgentSpec, CredentialSpec, DaemonSpec, PolicySpec, Spec, TokenSpec};
use super::{AccountPolicy, DaemonSettings, FleetSettings, Inventory};

/// What an inventory depends on besides its files.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The beginning of the main file, for problems that have no other place.
    pub main: Spot,
    /// Cron expressions must fire after this.
    pub now: Time,
    /// The state directory where the inventory gives none.
    pub state_dir: Option<&'a Path>,
    /// The service manager gave it.
    pub state_dir_named: bool,
    pub first_process: bool,
    /// Where the control socket goes where the inventory gives none.
    pub runtime_dir: Option<&'a Path>,
    /// `[daemon] providers`, made absolute.
    pub providers: Option<&'a Path>,
    /// Every provider definition that there is.
    pub definitions: &'a Definitions,
    /// The number of a user.
    pub user: &'a dyn Fn(&str) -> Option<u32>,
    /// The number of a group.
    pub group: &'a dyn Fn(&str) -> Option<u32>,
    /// Reads trust roots: whether they can be used.
    pub roots: &'a dyn Fn(&TlsPolicy) -> Result<(), TrustError>,
    /// Whether there is such a file.
    pub is_file: &'a dyn Fn(&Path) -> bool,
    /// Services that are restarted belong to the user's own service manager.
    pub user_services: bool,
    /// What the machine calls itself.
    pub host: Option<&'a str>,
    /// The files that the inventory was read from: no store may overwrite them.
    pub files: &'a [PathBuf],
}

/// Accounts by name; `None` for one that is there but not sound, so that its tokens are not blamed.
type Accounts = BTreeMap<AccountName, Option<Arc<AccountPolicy>>>;

/// Resolves `spec`; `None` where `report` holds an error, also one from before.
pub fn resolve(mut spec: Spec<'_>, around: &Surroundings<'_>, report: &Report) -> Option<Inventory> {
    let mut context = Context { around, report, hints: Cell::new(HINT_BUDGET), fleet: None };
    for second in spec.daemon.iter().skip(1) {
        context.twice(second.spot, "[daemon]", spec.daemon[0].spot);
    }
    for second in spec.fleet.iter().skip(1) {
        context.twice(second.spot, "[fleet]", spec.fleet[0].spot);
    }
    for second in spec.defaults.iter().skip(1) {
        context.twice(second.spot, "[defaults]", spec.defaults[0].spot);
    }
    let daemon = daemon::resolve(spec.daemon.first(), &context);
    context.fleet = spec.fleet.first().and_then(|spec| fleet::resolve(spec, &context));
    let context = context;
    account::find_kept(&mut spec.accounts, &context);
    let none = PolicySpec::default();
    let defaults = spec.defaults.first().map_or(&none, |defaults| &defaults.value);

    let tokens = index(&spec.tokens, &context);
    let edges = cycle::Edges::of(&spec, &tokens);
    edges.check(&context);
    let used = credentials(&spec);
    let needed = needed::files(&spec, daemon.as_ref(), &context);
    let accounts = account::resolve(spec.accounts, &tokens, &context);
    let resolver = token::Resolver::new(&context, defaults, &accounts, &used, needed);
    let resolved = resolver.with_templates(&spec.templates, &tokens).resolve(&spec.tokens);

    let channels = std::mem::take(&mut spec.channels);
    let known = notify::Known { accounts: &accounts, tokens: &resolved };
    let channels = notify::resolve(channels, &known, &context);

    if report.errors() > 0 {
        return None;
    }
    let accounts = accounts.into_iter().filter_map(|(name, account)| Some((name, account?))).collect();
    Some(Inventory { daemon: daemon?, fleet: context.fleet, accounts, tokens: resolved, channels })
}

/// Resolves `[daemon]` alone; `None` where it names no state directory and nobody else does.
pub fn resolve_settings(
    spec: Option<&DaemonSpec>,
    around: &Surroundings<'_>,
    report: &Report,
) -> Option<DaemonSettings> {
    daemon::resolve(spec, &Context { around, report, hints: Cell::new(HINT_BUDGET), fleet: None })
}

/// Resolves what the file of an agent at `path` says; `None` where `report` holds an error.
pub fn resolve_agent(
    spec: &AgentSpec,
    path: &Path,
    around: &Surroundings<'_>,
    report: &Report,
) -> Option<AgentSettings> {
    let context = Context { around, report, hints: Cell::new(HINT_BUDGET), fleet: None };
    agent::resolve(spec, path, &context).filter(|_| report.errors() == 0)
}

/// Tokens by name; a name that is given twice is reported.
fn index<'s>(tokens: &'s [TokenSpec], context: &Context<'_>) -> HashMap<&'s str, &'s TokenSpec> {
    let mut index = HashMap::with_capacity(tokens.len());
    for token in tokens {
        let Some(name) = &token.name else { continue };
        let first = *index.entry(name.value.as_str()).or_insert(token);
        if !std::ptr::eq(first, token) {
            let place = first.name.as_ref().map_or(first.spot, |name| name.spot);
            context.twice(name.spot, &format!("token \"{}\"", name.value), place);
        }
    }
    index
}

/// The names of tokens that accounts authenticate with.
fn credentials(spec: &Spec<'_>) -> HashSet<String> {
    let token = |credential: &Located<CredentialSpec>| match &credential.value {
        CredentialSpec::Token(name) => Some(name.value.clone()),
        CredentialSpec::Secret(_) | CredentialSpec::Basic { .. } => None,
    };
    spec.accounts.iter().filter_map(|account| account.credential.as_ref().and_then(token)).collect()
}

/// What every part of resolving needs.
struct Context<'a> {
    around: &'a Surroundings<'a>,
    report: &'a Report,
    hints: Cell<usize>,
    /// Where there is one, a store must be a place that all replicas reach.
    fleet: Option<FleetSettings>,
}

/// How many names are compared in search of the nearest one: a hundred thousand tokens that all name an account
/// wrongly must not be compared with every account there is.
const HINT_BUDGET: usize = 2_000_000;

impl Context<'_> {
    /// Reports that `what` stands at `spot` although it stood at `first` already.
    fn twice(&self, spot: Spot, what: &str, first: Spot) {
        let message = format!("{what} is defined twice");
        self.report.error_with_help(spot, message, format!("the first one is at {}", self.report.place(first)));
    }

    /// The one of `valid` that was most likely meant, while the budget lasts.
    fn nearest<'n>(&self, given: &str, valid: impl ExactSizeIterator<Item = &'n str>) -> Option<&'n str> {
        let left = self.hints.get().checked_sub(valid.len());
        self.hints.set(left.unwrap_or_default());
        left.and_then(|_| nearest(given, valid))
    }

    /// "did you mean …", or a list of what is valid where that is short.
    fn hint<'n>(&self, given: &str, valid: impl ExactSizeIterator<Item = &'n str> + Clone) -> String {
        const FEW: usize = 12;
        let left = self.hints.get().checked_sub(valid.len());
        self.hints.set(left.unwrap_or_default());
        let meant = left.and_then(|_| did_you_mean(&alike(given, &valid)));
        match meant {
            Some(meant) => meant,
            None if valid.len() == 0 => "there is none".to_owned(),
            None if valid.len() <= FEW => format!("valid: {}", valid.collect::<Vec<_>>().join(", ")),
            None => "no similar name exists".to_owned(),
        }
    }
}
