//! Reads what several commands need: the inventory, and the journal without its lock.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use crate::clock::Time;
use crate::daemon::unreadable_state;
use crate::document::{alike, did_you_mean};
use crate::exit::Exit;
use crate::inventory::{self, Environment, FleetSettings, Inventory};
use crate::journal::Stored;
use crate::journal::archive::{Archive, OpenError, Reader};
use crate::journal::fleet::{FleetError, FleetJournal};
use crate::journal::key::KeySource;
use crate::names::{AccountName, TokenName};
use crate::rotation::TokenState;
use crate::rotation::stored::restore;
use crate::view::check::render_report;

use super::{Complaint, Console, runtime};

/// The inventory at `config`. Where it is invalid, its problems are printed.
pub(super) fn inventory(config: &Path, now: Time, console: &mut Console) -> Result<Inventory, Complaint> {
    let loaded = inventory::load(config, &Environment::of_process(config), now);
    if let Some(inventory) = loaded.inventory {
        return Ok(inventory);
    }
    write!(console.err, "{}", render_report(&loaded.report, console.err_paint))?;
    Err(Complaint::told(Exit::Invalid))
}

/// What the journal knows of every token.
#[derive(Debug, Default)]
pub(super) struct Journaled {
    /// There is a journal.
    pub exists: bool,
    pub states: BTreeMap<TokenName, TokenState>,
    /// Tokens whose state cannot be read, and why, a line each.
    pub unreadable: Vec<(TokenName, String)>,
}

impl Journaled {
    /// Reads the journal of `inventory`; none is no error.
    pub(super) fn read(inventory: &Inventory) -> Result<Self, Complaint> {
        if let Some(fleet) = &inventory.fleet {
            return Self::read_fleet(inventory, fleet);
        }
        let journal = match Archive::of(&inventory.daemon.state_dir).read() {
            Ok(journal) => journal,
            Err(OpenError::Missing(_)) => return Ok(Self::default()),
            Err(error) => return Err(unreadable(&error)),
        };
        Ok(Self::of(journal.states().map_err(|error| unreadable(&error))?))
    }

    /// Reads what the engine of a fleet tells, whoever owns its accounts.
    fn read_fleet(inventory: &Inventory, fleet: &FleetSettings) -> Result<Self, Complaint> {
        runtime()?.block_on(async {
            let journal = open_fleet(inventory, fleet).await?;
            let mut states = Vec::new();
            for account in inventory.accounts.keys() {
                let told = journal.load_account(account).await;
                states.extend(told.map_err(|failure| Complaint::failed(failure.to_string()))?);
            }
            Ok(Self::of(states))
        })
    }

    fn of(states: Vec<(TokenName, Stored)>) -> Self {
        let mut read = Self { exists: true, ..Self::default() };
        for (name, stored) in states {
            match restore(&stored) {
                Ok(restored) => drop(read.states.insert(name, restored.state)),
                Err(error) => {
                    let why = unreadable_state(&name, &error);
                    read.unreadable.push((name, why));
                }
            }
        }
        read
    }
}

/// The journal of a fleet, for a command that is no replica.
pub(super) async fn open_fleet(inventory: &Inventory, fleet: &FleetSettings) -> Result<FleetJournal, Complaint> {
    let key = seal_key(inventory)?;
    FleetJournal::open(fleet, &key).await.map_err(|error| of_fleet(&error))
}

/// Where the inventory says that the seal key is.
pub(super) fn seal_key(inventory: &Inventory) -> Result<KeySource, Complaint> {
    let key = KeySource::resolve(inventory.daemon.seal_key.as_ref(), |name| std::env::var_os(name));
    key.map_err(|error| Complaint::failed(error.to_string()))
}

/// A complaint about a fleet.
pub(super) fn of_fleet(error: &FleetError) -> Complaint {
    let complaint = Complaint::failed(error.to_string());
    match error.help() {
        Some(help) => complaint.with_help(help),
        None => complaint,
    }
}

/// Refuses what only a journal in a state directory can do.
pub(super) fn only_alone(inventory: &Inventory, what: &str) -> Result<(), Complaint> {
    match &inventory.fleet {
        Some(fleet) => Err(Complaint::invalid(format!("{what}: the journal of fleet {} is in its engine", fleet.name))
            .with_help(
                "`patrold history NAME` shows the last records of a token; back the engine up with its own tools",
            )),
        None => Ok(()),
    }
}

/// The journal in `state_dir`, which must be there.
pub(super) fn open_journal(state_dir: &Path) -> Result<Reader, Complaint> {
    Archive::of(state_dir).read().map_err(|error| match error {
        OpenError::Missing(_) => Complaint::failed(format!("there is no journal in {}", state_dir.display()))
            .with_help("`patrold run` makes it"),
        error => unreadable(&error),
    })
}

/// A complaint about a journal that cannot be read.
pub(super) fn unreadable(error: &OpenError) -> Complaint {
    Complaint::failed(error.to_string()).with_help("run this as the user that patrold runs as")
}

/// A complaint about a token that is not there.
pub(super) fn unknown_token<'a>(
    name: &TokenName,
    known: impl IntoIterator<Item = &'a TokenName, IntoIter: Clone>,
) -> Complaint {
    let known = known.into_iter().map(TokenName::as_str);
    unknown("token", name.as_str(), &known, "`patrold status` lists all tokens")
}

/// A complaint about an account that is not there.
pub(super) fn unknown_account(name: &AccountName, inventory: &Inventory) -> Complaint {
    let known = inventory.accounts.keys().map(AccountName::as_str);
    unknown("account", name.as_str(), &known, "`patrold config show` shows the accounts of the inventory")
}

/// A complaint about a `kind` of thing that is not there; with the name that was meant, else with `otherwise`.
pub(super) fn unknown<'a>(
    kind: &str,
    name: &str,
    known: &(impl Iterator<Item = &'a str> + Clone),
    otherwise: &str,
) -> Complaint {
    let help = did_you_mean(&alike(name, known)).unwrap_or_else(|| otherwise.to_owned());
    Complaint::invalid(format!("there is no {kind} \"{name}\"")).with_help(help)
}
