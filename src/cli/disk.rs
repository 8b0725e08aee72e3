//! The inventory on disk beside the daemon that may be running on an earlier one.

use std::path::{Path, PathBuf};

use crate::clock::Time;
use crate::control::ClientError;
use crate::control::client::Client;
use crate::document::Report;
use crate::inventory::environment::usual_runtime_dirs;
use crate::inventory::origin::Origins;
use crate::inventory::{self, DaemonSettings, Environment, Inventory, defaults};
use crate::names::{AccountName, TokenName};
use crate::view::check::render_report;

use super::reading::{unknown_account, unknown_token};
use super::waiting::Waiting;
use super::{Complaint, Console, discovery};

/// What the disk says, valid or not.
///
/// Law: a command that asks the daemon needs no valid inventory. A daemon goes on with its last valid one, and who sees
/// that the new one is broken asks it how things are.
#[derive(Debug)]
pub(super) struct Disk {
    /// The main file, be it there or not; `None` where none was found.
    main: Option<PathBuf>,
    inventory: Result<Inventory, Complaint>,
    /// The files, and what is wrong with them.
    report: Report,
    /// Of the daemon, as far as the files can be read.
    settings: Option<DaemonSettings>,
}

impl Disk {
    /// Reads the inventory that is named, else the one that is found.
    pub(super) fn read(named: Option<&Path>, now: Time, console: &Console) -> Self {
        let main = discovery::place(named);
        let Some(path) = &main else {
            let missing = discovery::find(named).err().unwrap_or_else(|| Complaint::invalid("no inventory found"));
            return Self { main, inventory: Err(missing), report: Report::new(), settings: None };
        };
        let loaded = inventory::load(path, &Environment::of_process(path), now);
        let inventory = match (loaded.inventory, discovery::find(named)) {
            (Some(inventory), _) => Ok(inventory),
            (None, Err(missing)) => Err(missing),
            (None, Ok(_)) => {
                let report = render_report(&loaded.report, console.err_paint);
                Err(Complaint::invalid(format!("the inventory is invalid\n{}", report.trim_end())))
            }
        };
        Self { main, inventory, report: loaded.report, settings: loaded.settings }
    }

    /// The answer of the daemon; `None` where none runs.
    pub(super) fn ask<A>(
        &self,
        console: &mut Console,
        mut question: impl FnMut(&Client) -> Result<Option<A>, ClientError>,
    ) -> Result<Option<A>, Complaint> {
        let Some(client) = self.client()? else { return Ok(None) };
        let waiting = (!console.is_quiet()).then(|| Waiting::begin("the daemon"));
        let answer = question(&client);
        drop(waiting);
        let answer = answer?;
        if answer.is_some() && self.inventory.is_err() {
            console.warn(
                "the inventory on disk is invalid (`patrold check` says why); the daemon works with its last valid one",
            )?;
        }
        Ok(answer)
    }

    /// A client of the daemon of this inventory. `None`: no daemon of it can be found.
    pub(super) fn client(&self) -> Result<Option<Client>, ClientError> {
        if self.inventory.is_ok() {
            return self.settings.as_ref().map(Client::new).transpose();
        }
        if let Some(settings) = &self.settings {
            let client = Client::new(settings)?;
            if client.status()?.is_some() {
                return Ok(Some(client));
            }
        }
        // What the broken file says of the socket cannot be read, so a daemon is looked for that names the file as its own.
        let sockets = usual_runtime_dirs().into_iter().map(|directory| directory.join(defaults::CONTROL_NAME));
        Ok(sockets.filter_map(|socket| Client::at(&socket).ok()).find(|client| self.is_ours(client)))
    }

    fn is_ours(&self, client: &Client) -> bool {
        let Some(daemon) = client.status().ok().flatten().and_then(|status| status.daemon) else { return false };
        let main = self.main.as_ref().and_then(|main| std::path::absolute(main).ok());
        main.is_some_and(|main| daemon.inventory.iter().any(|file| Path::new(file) == main))
    }

    /// The inventory, where it is valid.
    pub(super) fn inventory(&self) -> Option<&Inventory> {
        self.inventory.as_ref().ok()
    }

    /// Where the token called `name` was written, and for which name of a list.
    pub(super) fn origin(&self, name: &TokenName) -> Option<String> {
        self.inventory()?.tokens.get(name)?;
        Origins::of(&self.report).token(name.as_str())
    }

    /// The inventory, for a command that works without a daemon.
    pub(super) fn valid(self) -> Result<Inventory, Complaint> {
        self.inventory
    }

    /// The same, to look at.
    pub(super) fn valid_ref(&self) -> Result<&Inventory, Complaint> {
        self.inventory.as_ref().map_err(Clone::clone)
    }

    /// A complaint about an account that the inventory does not have; a broken one is not asked.
    pub(super) fn knows_account(&self, account: &AccountName) -> Result<(), Complaint> {
        match &self.inventory {
            Ok(inventory) if !inventory.accounts.contains_key(account) => Err(unknown_account(account, inventory)),
            _ => Ok(()),
        }
    }

    /// A complaint about a token that the inventory does not have; a broken one is not asked.
    pub(super) fn knows(&self, token: &TokenName) -> Result<(), Complaint> {
        match &self.inventory {
            Ok(inventory) if !inventory.tokens.contains_key(token) => {
                Err(unknown_token(token, inventory.tokens.keys()))
            }
            _ => Ok(()),
        }
    }

    /// Where the journal is, for a command that only reads it.
    pub(super) fn state_dir(&self) -> Result<&Path, Complaint> {
        match (&self.settings, &self.inventory) {
            (Some(settings), _) => Ok(&settings.state_dir),
            (None, Err(complaint)) => Err(complaint.clone()),
            (None, Ok(inventory)) => Ok(&inventory.daemon.state_dir),
        }
    }
}
