//! What replicas ask of the agent of a host, and what it answers. Stored state: agents of other versions read it.
//!
//! An errand of a store stays where it is until the next one takes its place: an agent that comes back late, or after its
//! host was started anew, finds what its host is to have. A question ends with the lease of whoever asks.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::failure;
use super::wishes::Sealed;
use crate::inventory::{HostFile, HostHook};
use crate::journal::seal::{SealError, Sealer};
use crate::names::{AccountName, GenerationNo, HookKey, HostName, Label, RotationId, StoreKey, TokenName, hex};
use crate::outcome::Failure;
use crate::secret::random;
use crate::secret::{Secret, SecretParts};

/// What the agent of a host is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Errand {
    pub account: AccountName,
    pub token: TokenName,
    pub deed: Deed,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Deed {
    /// Write a secret to a store.
    Write {
        store: StoreKey,
        file: HostFile,
        generation: GenerationNo,
        revision: u32,
        /// Under the key of the host.
        secret: Sealed,
    },
    /// Tell what a store holds.
    Look { store: StoreKey, file: HostFile },
    /// Test that a store can be written, and change nothing.
    Rehearse { store: StoreKey, file: HostFile },
    /// Take a secret out of a store that has left the inventory, where it is there still.
    Erase {
        store: StoreKey,
        file: HostFile,
        /// Under the key of the host.
        secret: Sealed,
    },
    /// Tell the consumers.
    Run { hook: HookKey, run: HostHook, timeout: Duration, rotation: RotationId, attempt: u32, rolled_back: bool },
}

impl Deed {
    /// Whether doing `self` leaves what doing `other` leaves. A secret is sealed in another way each time; under another
    /// key, the host may not be able to open it.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Write { store, file, generation, revision, secret },
                Self::Write { store: key, file: it, generation: number, revision: count, secret: other },
            ) => (store, file, generation, revision) == (key, it, number, count) && secret.is_under_key_of(other),
            (one, other) => one == other,
        }
    }

    /// The store or the hook that it is about.
    pub fn subject(&self) -> &str {
        match self {
            Self::Write { store, .. }
            | Self::Look { store, .. }
            | Self::Rehearse { store, .. }
            | Self::Erase { store, .. } => store.as_str(),
            Self::Run { hook, .. } => hook.as_str(),
        }
    }
}

/// What an errand is known by among those of its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrandId(pub(super) String);

impl ErrandId {
    /// That of a token's store.
    pub fn of_store(token: &TokenName, store: &StoreKey) -> Self {
        let text = format!("{token}\n{store}");
        Self(hex(&digest(&SHA256, text.as_bytes()).as_ref()[..16]))
    }

    /// A new one, of a question.
    pub fn draw() -> Self {
        Self(format!("q{}", hex(&random::bytes::<12>())))
    }

    /// Whether it is one of a question, which ends with who asks.
    pub fn is_question(&self) -> bool {
        self.0.starts_with('q')
    }
}

/// What an agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Answer {
    /// The revision of the errand that it answers.
    pub to: i64,
    pub came: Came,
}

/// What came of an errand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Came {
    Done,
    /// The store keeps what it holds; why, in words that complete "the store …".
    Stays(String),
    /// What a store holds, and whether owner, group and mode are as they should be.
    Holds {
        content: Content,
        attributes_ok: bool,
    },
    /// It did not happen, and may be tried again.
    Later(Failure),
    /// It will not happen.
    Refused(Failure),
    /// It may have happened.
    Unknown(Failure),
}

/// What a store of a host holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Content {
    Nothing,
    /// Something that is no secret.
    Other,
    /// Under the key of the host.
    Value(Sealed),
}

/// Seals what goes between the fleet and one host.
#[derive(Debug)]
pub struct HostSeal {
    sealer: Sealer,
    fleet: String,
    host: HostName,
}

impl HostSeal {
    /// `fleet`: what tells the fleet from every other.
    pub fn new(sealer: Sealer, fleet: String, host: HostName) -> Self {
        Self { sealer, fleet, host }
    }

    /// What an errand, or the answer to it, is bound to. `way` tells the two apart.
    fn about<'a>(&'a self, way: &'a str, id: &'a ErrandId, token: &'a TokenName) -> [&'a str; 5] {
        [way, &self.fleet, self.host.as_str(), &id.0, token.as_str()]
    }

    /// What proves that whoever says to be a host with `labels` has the key that was made for that.
    pub fn prove(&self, labels: &BTreeSet<Label>) -> Result<Sealed, Failure> {
        self.seal(&self.about_labels(&listed(labels)), &Secret::new("host"))
    }

    /// Whether `proof` proves it.
    pub fn proves(&self, labels: &BTreeSet<Label>, proof: &Sealed) -> bool {
        self.open(&self.about_labels(&listed(labels)), proof).is_ok()
    }

    /// No errand has this id.
    fn about_labels<'a>(&'a self, labels: &'a str) -> [&'a str; 5] {
        ["labels", &self.fleet, self.host.as_str(), "", labels]
    }

    /// Seals the secret of an errand.
    pub fn seal_errand(&self, id: &ErrandId, token: &TokenName, secret: &Secret) -> Result<Sealed, Failure> {
        self.seal(&self.about("errand", id, token), secret)
    }

    /// Opens it.
    pub fn open_errand(&self, id: &ErrandId, token: &TokenName, sealed: &Sealed) -> Result<Secret, Failure> {
        self.open(&self.about("errand", id, token), sealed)
    }

    /// Seals what a store holds, for the answer.
    pub fn seal_answer(&self, id: &ErrandId, token: &TokenName, secret: &Secret) -> Result<Sealed, Failure> {
        self.seal(&self.about("answer", id, token), secret)
    }

    /// Opens it.
    pub fn open_answer(&self, id: &ErrandId, token: &TokenName, sealed: &Sealed) -> Result<Secret, Failure> {
        self.open(&self.about("answer", id, token), sealed)
    }

    fn seal(&self, about: &[&str], secret: &Secret) -> Result<Sealed, Failure> {
        let sealed = self.sealer.seal_message(about, &SecretParts::new(secret.clone()));
        let sealed =
            sealed.map_err(|error| failure(format!("the secret was not sealed for {}: {error}", self.host)))?;
        Ok(Sealed(STANDARD.encode(sealed)))
    }

    fn open(&self, about: &[&str], sealed: &Sealed) -> Result<Secret, Failure> {
        let bytes = STANDARD.decode(&sealed.0).map_err(|_| failure("a secret on its way is damaged"))?;
        let opened = self.sealer.open_message(about, &bytes);
        if matches!(opened, Err(SealError::OtherKey)) {
            return Err(failure(format!(
                "a secret on its way to or from {} is sealed under another key: `patrold fleet host-key {}`, with a --label for \
                 each label of its agent's file, prints the right one",
                self.host, self.host
            )));
        }
        let opened =
            opened.map_err(|error| failure(format!("a secret on its way to or from {}: {error}", self.host)))?;
        Ok(opened.token().clone())
    }
}

fn listed(labels: &BTreeSet<Label>) -> String {
    labels.iter().map(Label::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Dialect, Format};

    fn seal(host: &str) -> HostSeal {
        let host: HostName = host.parse().unwrap();
        let sealer = Sealer::new(&[7; 32]).unwrap().for_host(&host, &BTreeSet::new()).unwrap();
        HostSeal::new(sealer, "0a0b0c0d".to_owned(), host)
    }

    #[test]
    fn a_secret_on_its_way_opens_for_its_errand_alone() {
        let (token, store): (TokenName, StoreKey) = ("gps".parse().unwrap(), "file:/run/gps@web-1".parse().unwrap());
        let id = ErrandId::of_store(&token, &store);
        let sealed = seal("web-1").seal_errand(&id, &token, &Secret::new("hunter2")).unwrap();
        assert_eq!(seal("web-1").open_errand(&id, &token, &sealed).unwrap().expose(), "hunter2");
        assert!(seal("web-2").open_errand(&id, &token, &sealed).is_err(), "another host");
        assert!(seal("web-1").open_answer(&id, &token, &sealed).is_err(), "the other way");
        assert!(seal("web-1").open_errand(&ErrandId::draw(), &token, &sealed).is_err(), "another errand");
        assert!(seal("web-1").open_errand(&id, &"other".parse().unwrap(), &sealed).is_err(), "another token");
    }

    #[test]
    fn only_the_key_that_was_made_for_labels_proves_them() {
        let host: HostName = "web-1".parse().unwrap();
        let labels = |labels: &[&str]| labels.iter().map(|label| label.parse().unwrap()).collect::<BTreeSet<Label>>();
        let of = |made_for: &BTreeSet<Label>| {
            let sealer = Sealer::new(&[7; 32]).unwrap().for_host(&host, made_for).unwrap();
            HostSeal::new(sealer, "0a0b0c0d".to_owned(), host.clone())
        };
        let (web, none) = (labels(&["role=web"]), labels(&[]));
        for (sentence, made_for, said, proves) in [
            ("its own", &web, &web, true),
            ("none, with a key for none", &none, &none, true),
            ("more than its key is made for", &none, &web, false),
            ("fewer", &web, &none, false),
        ] {
            // Whoever holds a key can seal whatever it says; the fleet looks with the key for what is said.
            let proof = of(made_for).prove(said).unwrap();
            assert_eq!(of(said).proves(said, &proof), proves, "{sentence}");
        }
        assert!(!of(&web).proves(&labels(&["role=db"]), &of(&web).prove(&web).unwrap()));
    }

    #[test]
    fn what_is_written_is_read_back_and_two_writes_of_one_secret_are_alike() {
        let format = Format::Env { key: "TOKEN".to_owned(), dialect: Dialect::Systemd };
        let file = HostFile {
            path: "/etc/gps.env".into(),
            mode: Some(0o640),
            owner: Some("gps".to_owned()),
            group: None,
            format,
        };
        let store: StoreKey = "env-file:/etc/gps.env#TOKEN@web-1".parse().unwrap();
        let write = |generation, secret: &str| Deed::Write {
            store: store.clone(),
            file: file.clone(),
            generation: GenerationNo(generation),
            revision: 0,
            secret: Sealed(format!("AQ0123456789{secret}")),
        };
        assert!(write(3, "one").is_like(&write(3, "other")));
        assert!(!write(3, "one").is_like(&write(4, "one")));
        let Deed::Write { secret, .. } = write(3, "one") else { panic!() };
        assert!(!secret.is_under_key_of(&Sealed("AQ9876543210one".to_owned())), "the host has another key by now");
        let errand = Errand { account: "a".parse().unwrap(), token: "gps".parse().unwrap(), deed: write(3, "one") };
        let text = serde_json::to_string(&errand).unwrap();
        assert_eq!(serde_json::from_str::<Errand>(&text).unwrap(), errand, "{text}");
        let question = Deed::Look { store: store.clone(), file: file.clone() };
        assert!(!question.is_like(&write(3, "one")));
    }
}
