//! `patrold fleet recover`: what an operator says when data of the engine ran back, or the seal key is lost.

use std::io::Write as _;

use crate::clock::{Clock as _, SystemClock};
use crate::daemon::fleet::loss::{GivenUp, LossError, give_up};
use crate::exit::Exit;
use crate::inventory::{FleetSettings, Inventory};
use crate::text::words;

use super::reading::{Journaled, of_fleet, open_fleet, seal_key};
use super::{Complaint, Console, runtime};

/// Every replica believes what the engine tells, although it ran back.
pub(super) fn believe(
    inventory: &Inventory,
    fleet: &FleetSettings,
    yes: bool,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    let journaled = Journaled::read(inventory)?;
    let midway = journaled.states.iter().filter(|(_, state)| state.phase.intent().is_some());
    let midway: Vec<_> = midway.map(|(name, _)| name).collect();
    if !midway.is_empty() {
        console.warn(format_args!(
            "by this journal these tokens were being minted, and what was minted is looked for and revoked, also where \
             consumers have it by now; let their consumers have another secret first: {}",
            words::some(&midway, 20)
        ))?;
    }
    if !yes {
        return Err(Complaint::failed("nothing was changed").with_help(
            "restore a newer backup of the engine; if there is none, --yes says that what it tells is to be believed",
        ));
    }
    runtime()?.block_on(async {
        let journal = open_fleet(inventory, fleet).await?;
        journal.recover().await.map_err(|error| Complaint::failed(error.failure().to_string()))
    })?;
    writeln!(
        console.out,
        "every replica believes what the engine tells from now on; `patrold audit` shows what is left"
    )?;
    Ok(Exit::Fine)
}

/// Gives up the secrets that a lost key sealed.
pub(super) fn without_key(
    inventory: &Inventory,
    fleet: &FleetSettings,
    yes: bool,
    console: &mut Console,
) -> Result<Exit, Complaint> {
    let key = seal_key(inventory)?;
    crate::daemon::hardening::apply();
    let given_up = runtime()?.block_on(give_up(inventory, fleet, &key, yes, SystemClock.now()));
    let GivenUp { tokens, secrets, left } = given_up.map_err(|error| match error {
        LossError::Fleet(error) => of_fleet(&error),
        error @ LossError::Lives(_) => Complaint::failed(error.to_string()).with_help(
            "a key that one replica has is not lost: copy it from there; otherwise stop every replica first",
        ),
        error => Complaint::failed(error.to_string()),
    })?;
    let (tokens, secrets) = (words::count(tokens, "token"), words::count(secrets, "secret"));
    for line in &left {
        console.warn(line)?;
    }
    if !yes {
        return Err(Complaint::failed(format!("{secrets} of {tokens} would be given up; nothing was changed"))
            .with_help(
                "look for the key in backups; if it is lost for good, --yes gives them up, and each is rotated once",
            ));
    }
    writeln!(console.out, "{secrets} of {tokens} are given up; replicas replace them when they start with this key")?;
    console.note("every agent needs another key, too: `patrold fleet host-key HOST`")?;
    Ok(if left.is_empty() { Exit::Fine } else { Exit::Partly })
}
