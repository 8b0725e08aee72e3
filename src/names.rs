//! Names and identifiers: newtypes with checked constructors, so that no bare string crosses a module border.

mod marker;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use marker::Marker;

/// Why a name was refused, in words that complete "… is not a valid name: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(&'static str);

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        // Clones share the text: a name is a key of the inventory, the registry, the deadlines and the journal at once.
        pub struct $name(Arc<str>);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(text).map(|()| Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

/// Letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most 64 of them: such a name fits into a
/// marker, a file name and a log line without quoting.
fn plain(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError("it is empty"));
    }
    if text.len() > 64 {
        return Err(NameError("it has more than 64 characters"));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(NameError("it must begin with a letter or a digit"));
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        return Err(NameError("only letters, digits, '.', '_' and '-' are allowed"));
    }
    Ok(())
}

/// A key and a value, each as [`plain`] has it, with a `=` between them.
fn label(text: &str) -> Result<(), NameError> {
    let (key, value) = text.split_once('=').ok_or(NameError("it is no key and value, such as role=web"))?;
    plain(key)?;
    plain(value)
}

/// What a provider or a store calls something: any text without control characters.
fn opaque(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError("it is empty"));
    }
    if text.len() > 4096 {
        return Err(NameError("it has more than 4096 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(NameError("it contains control characters"));
    }
    Ok(())
}

text_newtype! {
    /// The name of a token in the inventory.
    TokenName, plain
}
text_newtype! {
    /// The name of an account in the inventory.
    AccountName, plain
}
text_newtype! {
    /// The name of a provider definition.
    ProviderName, plain
}
text_newtype! {
    /// The name of a fleet: replicas of one name at one engine share a journal.
    FleetName, plain
}
text_newtype! {
    /// The name of a replica of a fleet, by which people know the host that it runs on.
    ReplicaName, plain
}
text_newtype! {
    /// The name of a host of consumers, as its agent calls it.
    HostName, plain
}
text_newtype! {
    /// What a host of consumers is, as its agent says: `role=web`.
    Label, label
}
text_newtype! {
    /// The name of a way to tell people: a `[[notify]]` of the inventory.
    ChannelName, plain
}
text_newtype! {
    /// A provider's own identifier of a token, as text even where the provider uses numbers.
    RemoteId, opaque
}
text_newtype! {
    /// Names a slot, the place of one secret, in one line that is unique among the stores of an inventory:
    /// `file:/run/gps/token`, `env-file:/etc/gps/gps.env#GPS_TOKEN`.
    StoreKey, opaque
}
text_newtype! {
    /// Names a target, which is read and written as one thing and may hold several slots: `file:/etc/gps/gps.env`.
    TargetKey, opaque
}
text_newtype! {
    /// What a store says of the state of a slot: a version, a time, an etag. Compared with another one; read only where it
    /// is a time.
    Evidence, opaque
}
text_newtype! {
    /// Identifies a hook of a token by what it runs: the same command has the same key in every token.
    HookKey, opaque
}

/// A generation of a token: 1 for the first that patrold minted, 0 for one that it adopted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct GenerationNo(pub u32);

/// Takes the number as text, too: where it is a key of an event's map, that is all that a reader of tagged JSON gets.
impl<'de> Deserialize<'de> for GenerationNo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = GenerationNo;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of a generation")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<GenerationNo, E> {
                number.try_into().map(GenerationNo).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<GenerationNo, E> {
                text.parse().map(GenerationNo).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

impl GenerationNo {
    /// The number of an adopted secret.
    pub const ADOPTED: Self = Self(0);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for GenerationNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Eight hex digits that a journal draws once: they tell the markers of one installation from those of another
/// that shares an account with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId([u8; 4]);

impl InstanceId {
    /// An instance id from random bytes.
    pub fn new(random: [u8; 4]) -> Self {
        Self(random)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for InstanceId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let bytes = unhex(&text).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        bytes.map(Self).ok_or(NameError("an instance id has eight hex digits"))
    }
}

/// Identifies one rotation or renewal, in the journal and in the idempotency keys of stores and hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RotationId([u8; 6]);

impl RotationId {
    /// A rotation id from random bytes.
    pub fn new(random: [u8; 6]) -> Self {
        Self(random)
    }
}

impl fmt::Display for RotationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl From<RotationId> for String {
    fn from(id: RotationId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for RotationId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let bytes = unhex(&text).and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        bytes.map(Self).ok_or(NameError("a rotation id has twelve hex digits"))
    }
}

/// Lower-case hex digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that `text` spells in hex digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for (text, fine) in [
            ("gps-ingest", true),
            ("a", true),
            ("9lives.v2_x", true),
            ("", false),
            ("-dash", false),
            ("white space", false),
            ("umläut", false),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(text.parse::<TokenName>().is_ok(), fine, "{text:?}");
        }
    }

    #[test]
    fn hex_is_read_back() {
        assert_eq!(unhex(&hex(&[0, 1, 254])), Some(vec![0, 1, 254]));
        assert_eq!(unhex("0g"), None);
        assert_eq!(unhex("123"), None);
        assert_eq!(unhex("é"), None);
    }
}
