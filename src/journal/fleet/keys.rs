//! The keys that seal the secrets of a fleet: one is in force, and another one may open while they are exchanged.
//!
//! Law: what was sealed under a key that is not in force any more is opened for as long as this process has that key.
//! Fingerprints stay under the key that they were first made under, which is kept sealed with the one in force: a fingerprint
//! in the journal means the same before and after.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::engine::{Compare, Done, EngineError, Pair, Step};
use super::layout::Meta;
use super::sealed::Sealed;
use super::{FleetJournal, failure, json};
use crate::journal::seal::{SealError, Sealer, fingerprinter_of};
use crate::journal::{Fence, SecretSlot};
use crate::names::{AccountName, GenerationNo, HostName, InstanceId, TokenName, hex};
use crate::outcome::Failure;
use crate::secret::{Fingerprinter, Secret, SecretParts};

/// The keys that this process was given.
#[derive(Debug)]
pub(super) struct Keys {
    all: Vec<Sealer>,
    /// The place of the one in force.
    in_force: AtomicUsize,
    fingerprints: Fingerprinter,
}

impl Keys {
    /// `None`: the one that `meta` says to be in force is not among them.
    pub fn new(all: Vec<Sealer>, meta: &Meta) -> Option<Self> {
        let in_force = all.iter().position(|sealer| hex(&sealer.key_id()) == meta.seal_key)?;
        let fingerprints = match &meta.fingerprints {
            Some(kept) => fingerprinter_of(&open_kept(&all[in_force], meta.instance, kept)?)?,
            None => all[in_force].fingerprinter().clone(),
        };
        Some(Self { all, in_force: AtomicUsize::new(in_force), fingerprints })
    }

    /// The one in force.
    pub fn sealer(&self) -> &Sealer {
        &self.all[self.in_force.load(Ordering::Acquire)]
    }

    /// All of them, the one in force first.
    pub fn all(&self) -> impl Iterator<Item = &Sealer> {
        let first = self.sealer();
        std::iter::once(first).chain(self.all.iter().filter(move |sealer| sealer.key_id() != first.key_id()))
    }

    /// Opens a secret with whichever key sealed it.
    pub fn open(&self, slot: &SecretSlot, sealed: &[u8]) -> Result<SecretParts, SealError> {
        let fits = self.all.iter().find(|sealer| sealer.fits(sealed).unwrap_or_default());
        fits.unwrap_or_else(|| self.sealer()).open(slot, sealed)
    }

    /// Makes fingerprints.
    pub fn fingerprints(&self) -> &Fingerprinter {
        &self.fingerprints
    }

    /// Another key is in force from now on. False: this process does not have it.
    pub fn adopt(&self, id: &str) -> bool {
        let place = self.all.iter().position(|sealer| hex(&sealer.key_id()) == id);
        place.inspect(|place| self.in_force.store(*place, Ordering::Release)).is_some()
    }
}

/// What the key of fingerprints is sealed for.
fn about(instance: &str) -> [&str; 2] {
    ["fingerprints", instance]
}

fn open_kept(sealer: &Sealer, instance: InstanceId, kept: &Sealed) -> Option<Secret> {
    let bytes = STANDARD.decode(&kept.0).ok()?;
    let parts = sealer.open_message(&about(&instance.to_string()), &bytes).ok()?;
    Some(parts.token().clone())
}

/// How far an exchange of keys has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Secrets that are sealed under another key than the one in force, of accounts that somebody owns, or nobody.
    pub secrets: Vec<AccountName>,
    /// Hosts whose agents have keys that were derived from another one.
    pub hosts: Vec<HostName>,
}

impl FleetJournal {
    /// The ids of the keys that this process has, the one in force first.
    pub fn key_ids(&self) -> Vec<String> {
        self.keys.all().map(|sealer| hex(&sealer.key_id())).collect()
    }

    /// Another key is in force from now on. False: this process does not have it.
    pub fn adopt_key(&self, id: &str) -> bool {
        self.keys.adopt(id)
    }

    /// Brings the other key that this process has into force, for every replica.
    pub async fn bring_into_force(&self, id: &str) -> Result<(), Failure> {
        let new = self.keys.all().find(|sealer| hex(&sealer.key_id()) == id);
        let new = new.ok_or_else(|| failure("this process does not have the new key"))?;
        let instance = self.instance.to_string();
        let old = self.keys.sealer();
        let sealed = |meta: &Meta| {
            let key = match &meta.fingerprints {
                Some(kept) => open_kept(old, self.instance, kept)?,
                None => old.fingerprint_key(),
            };
            let sealed = new.seal_message(&about(&instance), &SecretParts::new(key)).ok()?;
            Some(Sealed(STANDARD.encode(sealed)))
        };
        let changed = |meta: Meta| {
            let fingerprints = sealed(&meta).ok_or_else(|| failure("the key of fingerprints cannot be sealed anew"))?;
            Ok(Meta { fingerprints: Some(fingerprints), seal_key: id.to_owned(), ..meta })
        };
        let announced = [Step::Put { key: self.layout.announced_key(), value: json(&id), lease: 0 }];
        self.change_meta(&announced, changed).await.map_err(EngineError::failure)
    }

    /// The exchange is over: nobody needs to look for another key.
    pub async fn end_exchange(&self) -> Result<(), EngineError> {
        self.engine.transact(&[], &[Step::Delete(self.layout.announced_key())], &[]).await.map(drop)
    }

    /// Whether the key in force is one that this process has; it is adopted then.
    pub async fn look_for_key(&self) -> Result<bool, EngineError> {
        let meta = self.engine.get(self.layout.meta()).await?.as_ref().and_then(Pair::read::<Meta>);
        Ok(meta.is_none_or(|meta| self.keys.adopt(&meta.seal_key)))
    }

    /// Seals every secret of an account anew that another key sealed, under its claim. Gives how many.
    ///
    /// Each is written only where it is still what was read: whatever the owner's own commits do to it meanwhile stays. The
    /// journal of the token does not move.
    pub async fn reseal(&self, fence: &Fence) -> Result<usize, Failure> {
        let prefix = self.layout.secrets_of_account(&fence.account);
        let mut count = 0;
        for pair in self.engine.all(&prefix).await.map_err(EngineError::failure)? {
            let sealer = self.keys.sealer();
            let Some(slot) = pair.key.strip_prefix(&prefix).and_then(slot_of) else { continue };
            if sealer.fits(&pair.value).unwrap_or_default() {
                continue;
            }
            // What no key opens is told where it is needed.
            let Ok(parts) = self.keys.open(&slot, &pair.value) else { continue };
            let value = sealer.seal(&slot, &parts).map_err(|error| failure(error.to_string()))?;
            let ours = [self.stands(fence), Compare::Modified(pair.key.clone(), pair.modified)];
            let put = Step::Put { key: pair.key, value, lease: 0 };
            if let Done::Held(_) = self.engine.transact(&ours, &[put], &[]).await.map_err(EngineError::failure)? {
                count += 1;
            }
        }
        Ok(count)
    }

    /// Secrets of a token that no key of this process has sealed.
    pub async fn lost_secrets(&self, account: &AccountName, token: &TokenName) -> Result<Vec<SecretSlot>, EngineError> {
        let prefix = self.layout.secrets_of_account(account);
        let pairs = self.engine.all(&self.layout.secrets(account, token)).await?;
        let lost = pairs.iter().filter(|pair| !self.keys.all().any(|key| key.fits(&pair.value).unwrap_or_default()));
        Ok(lost.filter_map(|pair| pair.key.strip_prefix(&prefix).and_then(slot_of)).collect())
    }

    /// Brings the key of this process into force where the one before is lost, with all that came of it.
    pub async fn replace_lost_key(&self) -> Result<(), EngineError> {
        let seal_key = hex(&self.keys.sealer().key_id());
        let announced = [Step::Delete(self.layout.announced_key())];
        self.change_meta(&announced, |meta| Ok(Meta { seal_key, fingerprints: None, ..meta })).await
    }

    /// What still needs a key that is not in force.
    pub async fn exchange(&self) -> Result<Exchange, EngineError> {
        let mut exchange = Exchange::default();
        let prefix = self.layout.all_secrets();
        for pair in self.engine.all(&prefix).await? {
            let account = pair.key.strip_prefix(&prefix).and_then(|rest| rest.split('/').next()?.parse().ok());
            if !self.keys.sealer().fits(&pair.value).unwrap_or_default() {
                exchange.secrets.extend(account.filter(|account| !exchange.secrets.contains(account)));
            }
        }
        let (hosts, _) = self.hosts().await?;
        exchange.hosts = hosts.outdated.into_iter().collect();
        Ok(exchange)
    }
}

/// The slot that a key of an account ends with: `TOKEN/GEN.REV`.
fn slot_of(rest: &str) -> Option<SecretSlot> {
    let (token, name) = rest.split_once('/')?;
    let (generation, revision) = name.split_once('.')?;
    let (token, generation): (TokenName, u32) = (token.parse().ok()?, generation.parse().ok()?);
    Some(SecretSlot { token, generation: GenerationNo(generation), revision: revision.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(seal_key: &Sealer, fingerprints: Option<Sealed>) -> Meta {
        Meta {
            format: 1,
            instance: InstanceId::new([1, 2, 3, 4]),
            incarnation: String::new(),
            seal_key: hex(&seal_key.key_id()),
            left: None,
            fingerprints,
        }
    }

    #[test]
    fn both_keys_open_and_a_fingerprint_means_the_same_before_and_after() {
        let sealer = |byte| Sealer::new(&[byte; 32]).unwrap();
        let (old, new, secret) = (sealer(1), sealer(2), Secret::new("hunter2"));
        let slot = SecretSlot { token: "gps".parse().unwrap(), generation: GenerationNo(3), revision: 0 };
        let parts = SecretParts::new(secret.clone());
        let (by_old, by_new) = (old.seal(&slot, &parts).unwrap(), new.seal(&slot, &parts).unwrap());
        let before = Keys::new(vec![sealer(1), sealer(2)], &meta(&old, None)).unwrap();
        let kept = new.seal_message(&about("01020304"), &SecretParts::new(old.fingerprint_key())).unwrap();
        let after = Keys::new(vec![sealer(2), sealer(1)], &meta(&new, Some(Sealed(STANDARD.encode(kept))))).unwrap();
        for keys in [&before, &after] {
            for sealed in [&by_old, &by_new] {
                assert_eq!(keys.open(&slot, sealed).unwrap().token().expose(), "hunter2");
            }
            assert_eq!(keys.fingerprints.of(&secret), old.fingerprinter().of(&secret));
        }
        assert_eq!((before.sealer().key_id(), after.sealer().key_id()), (old.key_id(), new.key_id()));
        assert!(before.adopt(&hex(&new.key_id())) && !before.adopt("of nobody"));
        assert_eq!(before.sealer().key_id(), new.key_id());
        assert!(Keys::new(vec![sealer(1)], &meta(&new, None)).is_none(), "the one in force is not there");
        assert_eq!(slot_of("gps/3.0"), Some(slot));
    }
}
