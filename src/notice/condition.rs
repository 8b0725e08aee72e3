//! Conditions: their kinds, how bad they are, and what becomes of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::{AccountName, TokenName};

/// How bad a condition is: what is worse is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// patrold helps itself, or there is time.
    Warning,
    /// Somebody should look today.
    Error,
    /// Consumers hold nothing that works, or soon will.
    Critical,
}

impl Severity {
    /// Every one, with its word.
    pub const WORDS: [(&'static str, Self); 3] =
        [("warning", Self::Warning), ("error", Self::Error), ("critical", Self::Critical)];

    /// As the inventory spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $sentence:literal;)*) => {
        /// The kinds of conditions. Their words are stable: inventories and receivers of messages name them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// Every kind with its word.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$name),)*];

            /// As the inventory spells it.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What is the matter with `subject`, in one sentence without its end.
            pub fn sentence(self, subject: &str) -> String {
                match self { $(Self::$name => format!($sentence, subject),)* }
            }
        }
    };
}

kinds! {
    /// What consumers hold does not work.
    Dead = "dead", "consumers of token {} have no valid secret";
    /// It was due and is not replaced, with little of its life left.
    NearExpiry = "near-expiry", "token {} expires soon and has not been replaced";
    /// No consumer ever got a secret.
    Missing = "missing", "token {} has no secret yet";
    /// A step fails and is tried again.
    Failing = "failing", "the rotation of token {} fails";
    /// Its provider cannot mint.
    ReplaceByHand = "replace-by-hand", "token {} has to be replaced by hand";
    /// A store is not written.
    StoreOwed = "store-owed", "{} is not written";
    /// A store holds what nobody of ours wrote.
    StoreForeign = "store-foreign", "{} holds a foreign value";
    /// A hook has not succeeded.
    HookOwed = "hook-owed", "{} has not succeeded";
    /// A token that left the inventory lives on.
    LeftAlive = "left-alive", "token {} left the inventory and is still valid";
    /// The journal's state of it cannot be read.
    SetAside = "set-aside", "{}";
    /// Credentials that nobody holds.
    Orphan = "orphan", "{} may be alive although nobody holds it";
    /// Its credential is dead, or its provider cannot be reached.
    AccountDown = "account-down", "account {} cannot be used";
    /// The provider's clock and ours differ.
    Clock = "clock", "the clocks of account {} and of this machine differ";
    /// The journal cannot be written.
    Journal = "journal", "the journal of {} cannot be written";
    /// The inventory on disk is not in effect.
    InventoryInvalid = "inventory-invalid", "the inventory of {} is invalid";
    /// A channel does not take messages.
    ChannelFailing = "channel-failing", "channel {} does not take messages";
    /// Somebody tries a channel.
    Test = "test", "this is a test of channel {}";
}

/// Names a condition: what is the matter, and with what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConditionKey {
    pub kind: Kind,
    /// By the names of the inventory.
    pub subject: String,
}

impl fmt::Display for ConditionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.word(), self.subject)
    }
}

impl From<ConditionKey> for String {
    fn from(key: ConditionKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for ConditionKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (word, subject) = text.split_once(':').ok_or("a condition is named KIND:SUBJECT")?;
        let kind = Kind::WORDS.iter().find(|(known, _)| *known == word).ok_or("no such kind of condition")?.1;
        Ok(Self { kind, subject: subject.to_owned() })
    }
}

/// A state that somebody should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub severity: Severity,
    pub account: Option<AccountName>,
    pub token: Option<TokenName>,
    /// Why, in one line; may be empty.
    pub why: String,
    /// What to do about it; may be empty.
    pub help: String,
}

/// Everything that is the matter at one moment.
pub type Conditions = BTreeMap<ConditionKey, Condition>;

/// What became of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    Opened,
    Worsened,
    /// It is open still.
    Repeated,
    Closed,
}

impl Turn {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Worsened => "worsened",
            Self::Repeated => "repeated",
            Self::Closed => "closed",
        }
    }
}
