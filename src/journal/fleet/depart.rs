//! The end of a fleet: its journal is moved back into the state directory of one host.
//!
//! Law: an account that was closed is owned by nobody again. Its claim hangs on no lease, so that a replica that was paused
//! all the while is refused like any other.

use super::engine::{Compare, Done, EngineError, Pair, Step};
use super::layout::{ClaimValue, Meta};
use super::{FleetJournal, failure, json};
use crate::journal::SecretSlot;
use crate::names::{AccountName, GenerationNo, ReplicaName, TokenName};
use crate::outcome::Failure;
use crate::secret::SecretParts;

impl FleetJournal {
    /// From now on no replica joins: the journal goes to `host`. `None`: that is taken back.
    pub async fn note_left(&self, host: Option<&ReplicaName>) -> Result<(), EngineError> {
        self.change_meta(&[], |meta| Ok(Meta { left: host.cloned(), ..meta })).await
    }

    /// Takes the claim of an account for ever. Fails where a replica has it.
    pub async fn close(&self, account: &AccountName) -> Result<(), Failure> {
        let key = self.layout.claim(account);
        let value = json(&ClaimValue { replica: self.replica.clone(), lease: 0 });
        let put = Step::Put { key: key.clone(), value, lease: 0 };
        let free = [Compare::Created(key.clone(), 0)];
        let found = match self.engine.transact(&free, &[put], &[key]).await.map_err(EngineError::failure)? {
            Done::Held(_) => return Ok(()),
            Done::Denied(found) => found.into_iter().flatten().next(),
        };
        match found.as_ref().and_then(Pair::read::<ClaimValue>) {
            // It was closed before.
            Some(ClaimValue { lease: 0, .. }) => Ok(()),
            Some(ClaimValue { replica, .. }) => {
                Err(failure(format!("replica {replica} owns account {account}: stop it")))
            }
            None => Err(failure(format!("account {account} changes hands: stop every replica, and try again"))),
        }
    }

    /// The secrets of a token that are kept, opened; and those that cannot be.
    pub async fn secrets_of(
        &self,
        account: &AccountName,
        token: &TokenName,
    ) -> Result<(Vec<(SecretSlot, SecretParts)>, Vec<String>), Failure> {
        let prefix = self.layout.secrets(account, token);
        let (mut kept, mut lost) = (Vec::new(), Vec::new());
        for pair in self.engine.all(&prefix).await.map_err(EngineError::failure)? {
            let Some(slot) = pair.key.strip_prefix(&prefix).and_then(|name| slot(token, name)) else { continue };
            match self.keys.open(&slot, &pair.value) {
                Ok(parts) => kept.push((slot, parts)),
                Err(error) => lost.push(format!("a secret of {token} (generation {}): {error}", slot.generation)),
            }
        }
        Ok((kept, lost))
    }
}

/// The slot that a key ends with: `GEN.REV`.
fn slot(token: &TokenName, name: &str) -> Option<SecretSlot> {
    let (generation, revision) = name.split_once('.')?;
    let generation = GenerationNo(generation.parse().ok()?);
    Some(SecretSlot { token: token.clone(), generation, revision: revision.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::fleet::layout::Layout;

    #[test]
    fn a_slot_is_read_back_from_its_key() {
        let (account, token): (AccountName, TokenName) = ("a".parse().unwrap(), "gps".parse().unwrap());
        let layout = Layout::new(&"prod".parse().unwrap());
        let there = SecretSlot { token: token.clone(), generation: GenerationNo(12), revision: 3 };
        let (key, prefix) = (layout.secret(&account, &there), layout.secrets(&account, &token));
        assert_eq!(slot(&token, key.strip_prefix(&prefix).unwrap()), Some(there));
        assert_eq!(slot(&token, "12"), None);
    }
}
