//! Reads what several commands need: the inventory, and the journal without its lock.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use crate::clock::Time;
use crate::daemon::unreadable_state;
use crate::document::nearest;
use crate::exit::Exit;
use crate::inventory::{self, Environment, Inventory};
use crate::journal::archive::{Archive, OpenError, Reader};
use crate::names::TokenName;
use crate::rotation::TokenState;
use crate::rotation::run::restore;
use crate::view::check::render_report;

use super::{Complaint, Console};

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
    /// Reads the journal in `state_dir`; none is no error.
    pub(super) fn read(state_dir: &Path) -> Result<Self, Complaint> {
        let journal = match Archive::of(state_dir).read() {
            Ok(journal) => journal,
            Err(OpenError::Missing(_)) => return Ok(Self::default()),
            Err(error) => return Err(unreadable(&error)),
        };
        let mut read = Self { exists: true, ..Self::default() };
        for (name, stored) in journal.states().map_err(|error| unreadable(&error))? {
            match restore(&stored) {
                Ok(restored) => drop(read.states.insert(name, restored.state)),
                Err(error) => {
                    let why = unreadable_state(&name, &error);
                    read.unreadable.push((name, why));
                }
            }
        }
        Ok(read)
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
pub(super) fn unknown_token<'a>(name: &TokenName, known: impl Iterator<Item = &'a TokenName>) -> Complaint {
    let complaint = Complaint::invalid(format!("there is no token \"{name}\""));
    match nearest(name.as_str(), known.map(TokenName::as_str)) {
        Some(meant) => complaint.with_help(format!("did you mean \"{meant}\"?")),
        None => complaint.with_help("`patrold status` lists all tokens"),
    }
}
