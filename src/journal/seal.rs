//! Seals secrets before they reach the database, and opens them again.
//!
//! A sealed secret is bound to its slot: moved to another token, generation or revision, it does not open. What it
//! looks like (stored state):
//!
//! ```text
//! version (1 byte, 1) | key id (8 bytes) | nonce (12 bytes) | ChaCha20-Poly1305 of the parts, tag last
//! ```
//!
//! The parts are names and values, each behind its length. They are not JSON: a JSON reader copies strings into buffers
//! that nobody wipes.

use std::collections::BTreeSet;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{self, HKDF_SHA256, Prk, Salt};
use zeroize::{Zeroize, Zeroizing};

use super::SecretSlot;
use super::record::put;
use crate::names::{HostName, Label, hex, unhex};
use crate::secret::{Fingerprinter, Secret, SecretParts, TOKEN_PART, random};

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 8;
const HEADER_LEN: usize = 1 + KEY_ID_LEN;

/// The fewest bytes of key material that are accepted.
pub const SHORTEST_KEY: usize = 16;

/// Tells keys apart without telling anything about them.
pub type KeyId = [u8; KEY_ID_LEN];

/// Seals and opens secrets under one key.
///
/// Everything is derived from the same key material with different labels: also the key of fingerprints, so that who
/// has the database alone cannot test guesses against them.
pub struct Sealer {
    key: LessSafeKey,
    key_id: KeyId,
    fingerprinter: Fingerprinter,
    root: Prk,
}

impl Sealer {
    /// A sealer under `material`: random bytes, or any text that is as hard to guess.
    pub fn new(material: &[u8]) -> Result<Self, SealError> {
        if material.len() < SHORTEST_KEY {
            return Err(SealError::ShortKey(material.len()));
        }
        let root = Salt::new(HKDF_SHA256, b"patrold seal key v1").extract(material);
        let mut sealing = Zeroizing::new([0; 32]);
        let mut fingerprints = Zeroizing::new([0; 32]);
        let mut key_id = [0; KEY_ID_LEN];
        derive(&root, &[b"secrets"], sealing.as_mut_slice());
        derive(&root, &[b"fingerprints"], fingerprints.as_mut_slice());
        derive(&root, &[b"key id"], &mut key_id);
        let key = UnboundKey::new(&CHACHA20_POLY1305, sealing.as_slice()).expect("the key has the cipher's length");
        let fingerprinter = Fingerprinter::new(fingerprints.as_slice());
        Ok(Self { key: LessSafeKey::new(key), key_id, fingerprinter, root })
    }

    /// The key of a host, from which no other host's and no seal key can be told: what the fleet sends to its agent is
    /// sealed under it, and nothing else. It is made for what the host is, too: whoever says to be more has another key.
    pub fn host_key(&self, host: &HostName, labels: &BTreeSet<Label>) -> Secret {
        let mut key = Zeroizing::new([0; 32]);
        // Neither a name nor a label holds a line feed.
        let labels = labels.iter().flat_map(|label| [b"\n".as_slice(), label.as_str().as_bytes()]);
        let info: Vec<&[u8]> = [b"host".as_slice(), host.as_str().as_bytes()].into_iter().chain(labels).collect();
        derive(&self.root, &info, key.as_mut_slice());
        Secret::new(hex(key.as_slice()))
    }

    /// What seals for a host.
    pub fn for_host(&self, host: &HostName, labels: &BTreeSet<Label>) -> Result<Self, SealError> {
        Self::new(self.host_key(host, labels).expose().as_bytes())
    }

    /// The key of fingerprints, for a journal that keeps it although its secrets are sealed with another key by now.
    pub fn fingerprint_key(&self) -> Secret {
        let mut key = Zeroizing::new([0; 32]);
        derive(&self.root, &[b"fingerprints"], key.as_mut_slice());
        Secret::new(hex(key.as_slice()))
    }

    /// Makes fingerprints under a key of their own.
    pub fn fingerprinter(&self) -> &Fingerprinter {
        &self.fingerprinter
    }

    /// Which key this is.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Seals `parts` for `slot`, under a nonce drawn at random: 96 bits, so that 2^32 secrets under one key are safe.
    pub fn seal(&self, slot: &SecretSlot, parts: &SecretParts) -> Result<Vec<u8>, SealError> {
        self.seal_bound(self.bound_to(slot), parts)
    }

    /// Seals `parts` for a message that nothing but `about` tells from others.
    pub fn seal_message(&self, about: &[&str], parts: &SecretParts) -> Result<Vec<u8>, SealError> {
        self.seal_bound(self.bound_to_message(about), parts)
    }

    fn seal_bound(&self, bound: Vec<u8>, parts: &SecretParts) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        random::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let mut plain = write_parts(parts);
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), plain.as_mut_slice())
            .map_err(|_| SealError::TooLarge)?;
        let mut sealed = Vec::with_capacity(HEADER_LEN + NONCE_LEN + plain.len() + tag.as_ref().len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.key_id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&plain);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed for `slot`.
    pub fn open(&self, slot: &SecretSlot, sealed: &[u8]) -> Result<SecretParts, SealError> {
        self.open_bound(self.bound_to(slot), sealed)
    }

    /// Opens what was sealed for the message about this.
    pub fn open_message(&self, about: &[&str], sealed: &[u8]) -> Result<SecretParts, SealError> {
        self.open_bound(self.bound_to_message(about), sealed)
    }

    fn open_bound(&self, bound: Vec<u8>, sealed: &[u8]) -> Result<SecretParts, SealError> {
        if !self.fits(sealed)? {
            return Err(SealError::OtherKey);
        }
        let (nonce, content) = sealed[HEADER_LEN..].split_at_checked(NONCE_LEN).ok_or(SealError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut content = Zeroizing::new(content.to_vec());
        let plain = self.key.open_in_place(nonce, Aad::from(bound), &mut content).map_err(|_| SealError::Damaged)?;
        read_parts(plain).ok_or(SealError::Damaged)
    }

    /// Whether `sealed`, or its first bytes, was sealed under this key.
    pub fn fits(&self, sealed: &[u8]) -> Result<bool, SealError> {
        match sealed.split_first() {
            Some((&VERSION, rest)) => rest.get(..KEY_ID_LEN).map(|id| id == self.key_id).ok_or(SealError::Damaged),
            Some((&version, _)) => Err(SealError::NewerVersion(version)),
            None => Err(SealError::Damaged),
        }
    }

    /// The associated data: what must be the same when the secret is opened.
    fn bound_to(&self, slot: &SecretSlot) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, &[VERSION]);
        put(&mut bytes, &self.key_id);
        put(&mut bytes, slot.token.as_str().as_bytes());
        put(&mut bytes, &slot.generation.0.to_be_bytes());
        put(&mut bytes, &slot.revision.to_be_bytes());
        bytes
    }

    /// The same of a message: no slot has a word in the place of its token's name.
    fn bound_to_message(&self, about: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, &[VERSION]);
        put(&mut bytes, &self.key_id);
        put(&mut bytes, b"a message");
        for part in about {
            put(&mut bytes, part.as_bytes());
        }
        bytes
    }
}

/// Makes fingerprints under a key that [`Sealer::fingerprint_key`] gave. `None`: it is none.
pub fn fingerprinter_of(key: &Secret) -> Option<Fingerprinter> {
    unhex(key.expose()).map(|key| Fingerprinter::new(&key))
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({})", hex(&self.key_id))
    }
}

/// Why a secret was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the sealing key has {0} bytes; give it {SHORTEST_KEY} or more, random ones")]
    ShortKey(usize),
    #[error("it was sealed under another key; give the daemon that key again, or rotate the token")]
    OtherKey,
    #[error("its bytes in the journal are damaged, or belong to another slot")]
    Damaged,
    #[error("it was sealed by a newer patrold (format {0})")]
    NewerVersion(u8),
    #[error("it is too large to be sealed")]
    TooLarge,
    #[error("the system gives no random numbers")]
    NoRandomness,
}

fn derive(root: &Prk, label: &[&[u8]], out: &mut [u8]) {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    root.expand(label, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("HKDF-SHA-256 gives up to 8160 bytes, and the buffer has the length asked for");
}

/// Names and values, each behind its length.
fn write_parts(parts: &SecretParts) -> Zeroizing<Vec<u8>> {
    // All of it in one allocation: a buffer that grows leaves copies of the secret behind.
    let length = parts.iter().map(|(name, secret)| 16 + name.len() + secret.expose().len()).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    for (name, secret) in parts.iter() {
        put(&mut bytes, name.as_bytes());
        put(&mut bytes, secret.expose().as_bytes());
    }
    bytes
}

fn read_parts(mut bytes: &[u8]) -> Option<SecretParts> {
    let (first, token) = read_part(&mut bytes)?;
    let mut parts = (first == TOKEN_PART).then(|| SecretParts::new(token))?;
    while !bytes.is_empty() {
        let (name, secret) = read_part(&mut bytes)?;
        parts = parts.with(&name, secret);
    }
    Some(parts)
}

fn read_part(bytes: &mut &[u8]) -> Option<(String, Secret)> {
    let mut field = || {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (field, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        *bytes = rest;
        String::from_utf8(field.to_vec()).map_err(|error| error.into_bytes().zeroize()).ok()
    };
    Some((field()?, Secret::new(field()?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::GenerationNo;

    fn slot(token: &str, generation: u32, revision: u32) -> SecretSlot {
        SecretSlot { token: token.parse().unwrap(), generation: GenerationNo(generation), revision }
    }

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&[byte; 32]).unwrap()
    }

    fn shown(parts: &SecretParts) -> Vec<(String, String)> {
        parts.iter().map(|(name, secret)| (name.to_owned(), secret.expose().to_owned())).collect()
    }

    #[test]
    fn a_sealed_secret_opens_in_its_own_slot_only() {
        let sealer = sealer(1);
        let home = slot("gps", 3, 1);
        let blob = sealer.seal(&home, &SecretParts::new(Secret::new("hunter2"))).unwrap();
        assert_eq!(sealer.open(&home, &blob).unwrap().token().expose(), "hunter2");
        for other in [slot("gpt", 3, 1), slot("gps", 4, 1), slot("gps", 3, 2), slot("gps", 1, 3)] {
            assert_eq!(sealer.open(&other, &blob).unwrap_err(), SealError::Damaged, "{other:?}");
        }
    }

    #[test]
    fn another_key_is_told_from_damage() {
        let home = slot("gps", 1, 0);
        let mut blob = sealer(1).seal(&home, &SecretParts::new(Secret::new("hunter2"))).unwrap();
        assert_eq!(sealer(2).open(&home, &blob).unwrap_err(), SealError::OtherKey);
        blob[0] = 9;
        assert_eq!(sealer(1).open(&home, &blob).unwrap_err(), SealError::NewerVersion(9));
        assert_eq!(Sealer::new(b"fifteen bytes!!").unwrap_err(), SealError::ShortKey(15));
    }

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let sealer = sealer(1);
        let home = slot("gps", 1, 0);
        let blob = sealer.seal(&home, &SecretParts::new(Secret::new("hunter2"))).unwrap();
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 0x20;
            assert!(sealer.open(&home, &changed).is_err(), "byte {at}");
            assert!(sealer.open(&home, &blob[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn nothing_of_a_secret_shows_and_no_two_seals_are_alike() {
        let sealer = sealer(1);
        let home = slot("gps", 1, 0);
        let parts = SecretParts::new(Secret::new("hunter2hunter2"));
        let (one, other) = (sealer.seal(&home, &parts).unwrap(), sealer.seal(&home, &parts).unwrap());
        assert_ne!(one, other);
        assert!(!one.windows(6).any(|window| window == b"hunter"));
    }

    #[test]
    fn a_host_opens_what_is_sealed_for_it_and_nothing_else() {
        let (web_1, web_2): (HostName, HostName) = ("web-1".parse().unwrap(), "web-2".parse().unwrap());
        let worker = sealer(1);
        let none = BTreeSet::new();
        let parts = || SecretParts::new(Secret::new("hunter2"));
        let sealed = worker.for_host(&web_1, &none).unwrap().seal_message(&["web-1", "gps"], &parts()).unwrap();
        let agent = Sealer::new(worker.host_key(&web_1, &none).expose().as_bytes()).unwrap();
        assert_eq!(shown(&agent.open_message(&["web-1", "gps"], &sealed).unwrap()), shown(&parts()));
        assert!(agent.open_message(&["web-1", "other"], &sealed).is_err(), "it is bound to what it is about");
        assert!(agent.open(&slot("gps", 1, 0), &sealed).is_err());
        let other = Sealer::new(worker.host_key(&web_2, &none).expose().as_bytes()).unwrap();
        assert_eq!(other.open_message(&["web-1", "gps"], &sealed).unwrap_err(), SealError::OtherKey);
        let more = BTreeSet::from(["role=web".parse().unwrap()]);
        let other = worker.for_host(&web_1, &more).unwrap();
        assert_eq!(other.open_message(&["web-1", "gps"], &sealed).unwrap_err(), SealError::OtherKey, "another label");
        assert_eq!(worker.open_message(&["web-1", "gps"], &sealed).unwrap_err(), SealError::OtherKey);
        assert!(agent.open(&slot("gps", 1, 0), &worker.seal(&slot("gps", 1, 0), &parts()).unwrap()).is_err());
    }

    #[test]
    fn the_derivation_is_stored_state_and_does_not_change() {
        assert_eq!(crate::names::hex(&sealer(1).key_id()), "981b9c87bd712a26");
        assert_ne!(sealer(1).key_id(), sealer(2).key_id());
    }

    proptest! {
        #[test]
        fn any_parts_come_back(
            token in any::<String>(),
            others in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4),
        ) {
            let parts = others.iter().fold(SecretParts::new(Secret::new(token)), |parts, (name, value)| {
                parts.with(name, Secret::new(value.as_str()))
            });
            let home = slot("gps", 1, 0);
            let blob = sealer(1).seal(&home, &parts).unwrap();
            prop_assert_eq!(shown(&sealer(1).open(&home, &blob).unwrap()), shown(&parts));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(sealer(1).open(&slot("gps", 1, 0), &bytes).is_err());
            let _ = read_parts(&bytes);
        }
    }
}
