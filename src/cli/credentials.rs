//! Accounts for commands that ask providers themselves, beside a daemon that may be running.

use std::collections::BTreeMap;

use crate::account::pool::{Accounts, Precedence};
use crate::clock::SystemClock;
use crate::endpoint::Workshop;
use crate::inventory::{Credential, Inventory, initial};
use crate::journal::archive::{Archive, OpenError};
use crate::journal::key::KeySource;
use crate::names::{AccountName, TokenName};
use crate::rotation::stored::restore;
use crate::secret::SecretParts;

use super::Complaint;

/// The accounts that `needed` names, and those of them whose credential is a managed token without a secret, with the
/// reason. `key`: what seals the journal's secrets.
pub(super) async fn accounts(
    inventory: &Inventory,
    key: Option<&KeySource>,
    needed: impl Fn(&AccountName) -> bool,
) -> Result<(Accounts<SystemClock>, Vec<(AccountName, Complaint)>), Complaint> {
    let mut some = Inventory { tokens: BTreeMap::new(), ..inventory.clone() };
    some.accounts.retain(|name, _| needed(name));
    let workshop = Workshop::forgetful().map_err(|error| Complaint::failed(error.to_string()))?;
    let accounts = Accounts::new(SystemClock, workshop);
    // An account whose trust roots cannot be used says so itself when it is asked.
    let _ = accounts.update(&some).await;
    let mut lacking = Vec::new();
    for policy in some.accounts.values() {
        let Credential::Token(token) = &policy.endpoint.credential else { continue };
        match managed(inventory, token, key).await {
            Ok(secret) => accounts.set_credential(token, secret, Precedence::Older),
            Err(why) => lacking.push((policy.name.clone(), why)),
        }
    }
    Ok((accounts, lacking))
}

/// The newest secret of a managed token: what the journal holds, else the initial one.
async fn managed(inventory: &Inventory, token: &TokenName, key: Option<&KeySource>) -> Result<SecretParts, Complaint> {
    let failed = |error: &dyn std::error::Error| {
        Complaint::failed(error.to_string()).with_help("run this as the user that patrold runs as")
    };
    match Archive::of(&inventory.daemon.state_dir).read() {
        Ok(journal) => {
            let states = journal.states().map_err(|error| failed(&error))?;
            let state = states.into_iter().find(|(name, _)| name == token).map(|(_, state)| state);
            let state = state.map(|stored| restore(&stored)).transpose().map_err(|error| failed(&error))?;
            if let Some(current) = state.as_ref().and_then(|restored| restored.state.phase.current()) {
                let slot = current.generation.slot(token);
                let key =
                    key.ok_or_else(|| Complaint::failed("the key that seals the journal's secrets is not there"))?;
                if let Some(secret) = journal.secret(&slot, key).map_err(|error| failed(&error))? {
                    return Ok(secret);
                }
            }
        }
        Err(OpenError::Missing(_)) => {}
        Err(error) => return Err(failed(&error)),
    }
    let policy =
        inventory.tokens.get(token).filter(|policy| policy.initial.as_ref().is_some_and(|it| it.source.is_some()));
    let Some(policy) = policy else {
        return Err(Complaint::failed(format!(
            "the account authenticates with the token {token}, which has no secret yet"
        ))
        .with_help(format!("start the daemon, or run `patrold rotate {token}`")));
    };
    initial::read_initial(policy).await.map_err(|failure| failed(&failure))
}
