//! Where a fleet keeps what in its engine: names of keys, and what their values hold. Stored state.
//!
//! ```text
//! /patrold/FLEET/meta                    the fleet itself: instance, seal key, format
//! /patrold/FLEET/t/ACCOUNT/TOKEN         the head of a token's journal; its mod revision is what the next commit follows
//! /patrold/FLEET/d/ACCOUNT/TOKEN         the token's last whole state
//! /patrold/FLEET/r/ACCOUNT/TOKEN/SEQ     records, one key for each commit, SEQ the number of the first
//! /patrold/FLEET/s/ACCOUNT/TOKEN/GEN.REV a sealed secret
//! /patrold/FLEET/n/TOKEN                 the account that a token's journal is kept under
//! /patrold/FLEET/a/ACCOUNT               the inventory that an account was last owned under
//! /patrold/FLEET/l/ACCOUNT               what its provider asked for, and which credential it refused; its next owner holds to it
//! /patrold/FLEET/i/DIGEST                an inventory; its create revision tells which came first
//! /patrold/FLEET/w/HOST/ID               what the agent of a host is to do; that of a store stays, a question ends with who asks
//! /patrold/FLEET/h/a/HOST                an agent that lives; on its lease
//! /patrold/FLEET/h/s/HOST                when an agent was last seen, and what its host is
//! /patrold/FLEET/h/f/HOST                nobody waits for the host until its agent is back
//! /patrold/FLEET/h/k/HOST/ID             what an agent has answered
//! /patrold/FLEET/on/m/REPLICA            a replica that lives; on its lease
//! /patrold/FLEET/on/c/ACCOUNT            a claim; on the lease of its replica. Its create revision is the epoch
//! /patrold/FLEET/on/k/seal               the id of the key that seals secrets, while keys are exchanged
//! /patrold/FLEET/on/d/REPLICA            a replica that is to own nothing
//! /patrold/FLEET/on/w/ID                 what an operator asks of an owner; on the lease of the replica that was asked
//! /patrold/FLEET/on/a/ID                 the owner's answer; on its lease
//! ```

use serde::{Deserialize, Serialize};

use super::sealed::Sealed;
use crate::journal::SecretSlot;
use crate::names::{AccountName, FleetName, HostName, InstanceId, ReplicaName, TokenName, hex};
use crate::secret::random;

/// The version of the layout. A newer one is not written to.
pub const FORMAT: u32 = 1;

/// Names of keys.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: String,
}

impl Layout {
    pub fn new(fleet: &FleetName) -> Self {
        Self { root: format!("/patrold/{fleet}/") }
    }

    pub fn meta(&self) -> String {
        format!("{}meta", self.root)
    }

    /// Where the heads of an account begin.
    pub fn heads(&self, account: &AccountName) -> String {
        format!("{}t/{account}/", self.root)
    }

    pub fn head(&self, account: &AccountName, token: &TokenName) -> String {
        format!("{}t/{account}/{token}", self.root)
    }

    /// Where the states of an account begin.
    pub fn states(&self, account: &AccountName) -> String {
        format!("{}d/{account}/", self.root)
    }

    pub fn state(&self, account: &AccountName, token: &TokenName) -> String {
        format!("{}d/{account}/{token}", self.root)
    }

    /// Where the records of a token begin.
    pub fn records(&self, account: &AccountName, token: &TokenName) -> String {
        format!("{}r/{account}/{token}/", self.root)
    }

    pub fn record(&self, account: &AccountName, token: &TokenName, seq: i64) -> String {
        format!("{}r/{account}/{token}/{seq:016}", self.root)
    }

    pub fn secret(&self, account: &AccountName, slot: &SecretSlot) -> String {
        format!("{}s/{account}/{}/{}.{}", self.root, slot.token, slot.generation, slot.revision)
    }

    /// Where the secrets of an account begin.
    pub fn secrets_of_account(&self, account: &AccountName) -> String {
        format!("{}s/{account}/", self.root)
    }

    /// Where all secrets begin.
    pub fn all_secrets(&self) -> String {
        format!("{}s/", self.root)
    }

    /// Which key seals, while keys are exchanged.
    pub fn announced_key(&self) -> String {
        format!("{}on/k/seal", self.root)
    }

    /// Where the secrets of a token begin.
    pub fn secrets(&self, account: &AccountName, token: &TokenName) -> String {
        format!("{}s/{account}/{token}/", self.root)
    }

    pub fn home(&self, token: &TokenName) -> String {
        format!("{}n/{token}", self.root)
    }

    /// Where the homes of all tokens begin.
    pub fn homes(&self) -> String {
        format!("{}n/", self.root)
    }

    pub fn account(&self, account: &AccountName) -> String {
        format!("{}a/{account}", self.root)
    }

    pub fn limits(&self, account: &AccountName) -> String {
        format!("{}l/{account}", self.root)
    }

    pub fn inventory(&self, digest: &str) -> String {
        format!("{}i/{digest}", self.root)
    }

    /// Where everything begins that says who lives and owns what.
    pub fn presence(&self) -> String {
        format!("{}on/", self.root)
    }

    pub fn member(&self, replica: &ReplicaName) -> String {
        format!("{}on/m/{replica}", self.root)
    }

    pub fn claim(&self, account: &AccountName) -> String {
        format!("{}on/c/{account}", self.root)
    }

    pub fn drained(&self, replica: &ReplicaName) -> String {
        format!("{}on/d/{replica}", self.root)
    }

    pub fn wish(&self, id: &WishId) -> String {
        format!("{}on/w/{}", self.root, id.0)
    }

    pub fn answer(&self, id: &WishId) -> String {
        format!("{}on/a/{}", self.root, id.0)
    }

    /// Where everything begins that the agent of a host is to do.
    pub fn wanted(&self, host: &HostName) -> String {
        format!("{}w/{host}/", self.root)
    }

    /// Where everything begins that any agent is to do.
    pub fn all_wanted(&self) -> String {
        format!("{}w/", self.root)
    }

    /// Where everything begins that is told of hosts.
    pub fn hosts(&self) -> String {
        format!("{}h/", self.root)
    }

    pub fn agent(&self, host: &HostName) -> String {
        format!("{}h/a/{host}", self.root)
    }

    pub fn seen(&self, host: &HostName) -> String {
        format!("{}h/s/{host}", self.root)
    }

    pub fn forgotten(&self, host: &HostName) -> String {
        format!("{}h/f/{host}", self.root)
    }

    /// Where the answers of a host begin.
    pub fn answers(&self, host: &HostName) -> String {
        format!("{}h/k/{host}/", self.root)
    }

    /// What a key below [`Layout::hosts`] is about.
    pub fn told_of_host(&self, key: &str) -> Option<OfHost> {
        let (kind, name) = key.strip_prefix(&self.hosts())?.split_once('/')?;
        match kind {
            "a" => name.parse().ok().map(OfHost::Agent),
            "s" => name.parse().ok().map(OfHost::Seen),
            "f" => name.parse().ok().map(OfHost::Forgotten),
            "k" => {
                let (host, id) = name.split_once('/')?;
                Some(OfHost::Answer(host.parse().ok()?, id.to_owned()))
            }
            _ => None,
        }
    }

    /// What a key below [`Layout::presence`] is about.
    pub fn subject(&self, key: &str) -> Option<Subject> {
        let (kind, name) = key.strip_prefix(&self.presence())?.split_once('/')?;
        match kind {
            "m" => name.parse().ok().map(Subject::Member),
            "c" => name.parse().ok().map(Subject::Claim),
            "d" => name.parse().ok().map(Subject::Drained),
            "k" => Some(Subject::Key),
            "w" => Some(Subject::Wish(WishId(name.to_owned()))),
            "a" => Some(Subject::Answer(WishId(name.to_owned()))),
            _ => None,
        }
    }
}

/// What a key of hosts is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OfHost {
    Agent(HostName),
    Seen(HostName),
    Forgotten(HostName),
    Answer(HostName, String),
}

/// What a key of presence is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Member(ReplicaName),
    Claim(AccountName),
    Drained(ReplicaName),
    /// The key that seals secrets, while keys are exchanged.
    Key,
    Wish(WishId),
    Answer(WishId),
}

/// What a wish is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WishId(String);

impl WishId {
    /// A new one.
    pub fn draw() -> Self {
        Self(hex(&random::bytes::<16>()))
    }
}

/// The end of all keys that begin with `prefix`.
pub(super) fn end_of(prefix: &str) -> String {
    let mut end: Vec<char> = prefix.chars().collect();
    // Keys are ASCII, and none ends with its last character.
    if let Some(last) = end.last_mut() {
        *last = char::from_u32(u32::from(*last) + 1).unwrap_or(*last);
    }
    end.into_iter().collect()
}

/// Whether others watch a key: it says who lives or owns what, or goes from a replica to an agent, or back.
pub(super) fn is_presence(key: &str) -> bool {
    let kind = key.strip_prefix("/patrold/").and_then(|rest| rest.split('/').nth(1));
    matches!(kind, Some("on" | "h" | "w"))
}

/// What a fleet is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub format: u32,
    /// What the markers of the fleet's tokens carry.
    pub instance: InstanceId,
    /// Drawn when the fleet was made: another one under the same name is told by it.
    pub incarnation: String,
    /// The id of the key that seals secrets, in hex digits.
    pub seal_key: String,
    /// The host whose state directory the journal was moved back into: it is kept here no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<ReplicaName>,
    /// The key of fingerprints, under the seal key. `None`: it is the one that comes of the seal key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprints: Option<Sealed>,
}

/// Where the journal of a token ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadValue {
    /// The number of its last record.
    pub seq: i64,
    /// The hash of that record, in hex digits.
    pub hash: String,
    /// The number of the last record that the whole state knows of.
    pub state_seq: i64,
    /// Who wrote it.
    pub by: ReplicaName,
    pub epoch: u64,
}

/// A record, in the list of its commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordValue {
    pub at_micros: i64,
    pub kind: String,
    pub version: u32,
    pub body: String,
    /// In hex digits.
    pub hash: String,
}

/// What a replica tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The version of its program.
    pub version: String,
    /// When it was started, by its own clock.
    pub started: crate::clock::Time,
    /// Which inventory it has: the later one was seen first, the higher.
    pub rank: i64,
    /// The digest of that inventory.
    pub inventory: String,
    /// The ids of the keys that it can open secrets with.
    #[serde(default)]
    pub keys: Vec<String>,
}

/// Who has a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClaimValue {
    pub replica: ReplicaName,
    /// Tells two lives of one replica apart.
    pub lease: i64,
}

/// What an account was last owned under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// The digest of all that the inventory says of its group.
    pub digest: String,
    /// Of the inventory.
    pub rank: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_thing_are_none_of_another() {
        let layout = Layout::new(&"prod".parse().unwrap());
        let (a, ab) = ("a".parse().unwrap(), "a-b".parse().unwrap());
        let token: TokenName = "gps".parse().unwrap();
        let within = |key: &str, prefix: &str| key >= prefix && key < end_of(prefix).as_str();
        assert!(within(&layout.head(&a, &token), &layout.heads(&a)));
        assert!(!within(&layout.head(&ab, &token), &layout.heads(&a)), "an account whose name begins alike");
        assert!(within(&layout.record(&a, &token, 7), &layout.records(&a, &token)));
        let other: TokenName = "gps-2".parse().unwrap();
        assert!(!within(&layout.record(&a, &other, 7), &layout.records(&a, &token)));
        assert!(layout.record(&a, &token, 9) < layout.record(&a, &token, 10), "in the order of numbers");
    }

    #[test]
    fn keys_of_presence_are_read_back() {
        let layout = Layout::new(&"prod".parse().unwrap());
        let (account, replica) = ("a".parse::<AccountName>().unwrap(), "web-1".parse::<ReplicaName>().unwrap());
        assert_eq!(layout.subject(&layout.claim(&account)), Some(Subject::Claim(account)));
        assert_eq!(layout.subject(&layout.member(&replica)), Some(Subject::Member(replica.clone())));
        assert_eq!(layout.subject(&layout.drained(&replica)), Some(Subject::Drained(replica)));
        assert_eq!(layout.subject("/patrold/other/on/m/web-1"), None);
        let id = WishId::draw();
        assert_eq!(layout.subject(&layout.wish(&id)), Some(Subject::Wish(id.clone())));
        assert_eq!(layout.subject(&layout.answer(&id)), Some(Subject::Answer(id)));
        let host: HostName = "web-1".parse().unwrap();
        for (key, told) in [
            (layout.agent(&host), OfHost::Agent(host.clone())),
            (layout.seen(&host), OfHost::Seen(host.clone())),
            (layout.forgotten(&host), OfHost::Forgotten(host.clone())),
            (layout.answers(&host) + "7f", OfHost::Answer(host.clone(), "7f".to_owned())),
        ] {
            assert_eq!(layout.told_of_host(&key), Some(told), "{key}");
            assert!(is_presence(&key));
        }
        assert!(is_presence(&layout.wanted(&host)));
        assert!(is_presence(&layout.member(&"web-1".parse().unwrap())));
        assert!(!is_presence(&layout.home(&"on".parse().unwrap())) && !is_presence(&layout.meta()));
    }
}
