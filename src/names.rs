//! Names and identifiers: newtypes with checked constructors, so that no bare string crosses a module border.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Why a name was refused, in words that complete "… is not a valid name: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(&'static str);

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

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
                name.0.into_string()
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

/// The unique text put into a new token's name or description at the provider:
/// `patrold-INSTANCE-TOKEN-gNUMBER-ROTATION`, for example `patrold-1a2b3c4d-gps-ingest-g12-9f8e7d6c5b4a`.
///
/// Letters, digits, `.`, `_` and `-` only, at most 104 characters, so that every provider can hold it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marker(String);

impl Marker {
    /// What every marker begins with.
    pub const PREFIX: &'static str = "patrold-";

    /// The marker of one mint.
    pub fn new(instance: InstanceId, token: &TokenName, number: GenerationNo, rotation: RotationId) -> Self {
        Self(format!("{}{instance}-{token}-g{number}-{rotation}", Self::PREFIX))
    }

    /// The marker that `text` is.
    pub fn read(text: &str) -> Option<Self> {
        (Self::within(text) == Some(text)).then(|| Self(text.to_owned()))
    }

    /// The text as the provider gets it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The marker within `text`.
    ///
    /// Law: a marker that a service decorates is the same marker everywhere. Definitions put words around it, and some
    /// services add some of their own (`robot$library+patrold-…`), so whoever looks for a marker looks through this.
    pub fn within(text: &str) -> Option<&str> {
        let runs = text.match_indices(Self::PREFIX).map(|(start, _)| {
            let rest = &text[start..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')));
            &rest[..end.unwrap_or(rest.len())]
        });
        // Of several, the first that is whole: a service's own words may begin like a marker.
        let mut runs = runs.peekable();
        let first = runs.peek().copied();
        runs.find_map(whole).or(first)
    }

    /// Whether `text` is a marker that the installation `instance` made for `token`.
    pub fn is_for(instance: InstanceId, token: &TokenName, text: &str) -> bool {
        let made = format!("{}{instance}-{token}-g", Self::PREFIX);
        Self::within(text).is_some_and(|marker| marker.starts_with(&made))
    }

    /// Whether `text` carries a marker that the installation `instance` made.
    pub fn is_of(instance: InstanceId, text: &str) -> bool {
        let made = format!("{instance}-");
        Self::within(text).and_then(|marker| marker.strip_prefix(Self::PREFIX)).is_some_and(|it| it.starts_with(&made))
    }
}

/// `run` up to the end of the marker that it begins with, where that is a whole one.
fn whole(run: &str) -> Option<&str> {
    const ROTATION: usize = 12;
    let named = run.strip_prefix(Marker::PREFIX)?;
    let (instance, _) = named.split_at_checked(8).filter(|(_, rest)| rest.starts_with('-'))?;
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let ends = run.rmatch_indices("-g").filter_map(|(at, _)| {
        let (number, rest) = run[at + 2..].split_once('-')?;
        let rotation = rest.get(..ROTATION).filter(|rotation| is_hex(rotation))?;
        let counts = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        counts.then_some(at + 2 + number.len() + 1 + rotation.len())
    });
    let end = ends.into_iter().next().filter(|_| is_hex(instance))?;
    run.get(..end)
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
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
    fn a_marker_names_its_installation() {
        let ours = InstanceId::new([0x1a, 0x2b, 0x3c, 0x4d]);
        let token = "gps-ingest".parse().unwrap();
        let marker = Marker::new(ours, &token, GenerationNo(12), RotationId::new([1, 2, 3, 4, 5, 6]));
        assert_eq!(marker.as_str(), "patrold-1a2b3c4d-gps-ingest-g12-010203040506");
        assert!(Marker::is_of(ours, marker.as_str()));
        assert!(!Marker::is_of(InstanceId::new([0; 4]), marker.as_str()));
        assert!(!Marker::is_of(ours, "somebody else's token"));
        let decorated = format!("robot$library+{marker}");
        assert!(Marker::is_of(ours, &decorated));
        assert_eq!(Marker::within(&decorated), Some(marker.as_str()));
        assert_eq!(Marker::within(" another name "), None);
    }

    #[test]
    fn a_marker_is_found_whatever_a_service_puts_around_it() {
        let ours = InstanceId::new([0x1a, 0x2b, 0x3c, 0x4d]);
        let marker = "patrold-1a2b3c4d-gps-g12-010203040506";
        for (sentence, text) in [
            ("nothing", marker.to_owned()),
            ("blanks", format!("  {marker} ")),
            ("words of a definition", format!("for gps: {marker} (do not touch)")),
            ("a prefix of the service", format!("robot$library+{marker}")),
            ("a prefix that begins like a marker", format!("patrold-robot {marker}")),
            ("a suffix without a border", format!("{marker}_2")),
            ("both", format!("svc/{marker}-copy@host")),
        ] {
            assert_eq!(Marker::within(&text), Some(marker), "{sentence}");
            assert!(Marker::is_of(ours, &text), "{sentence}");
        }
        for (sentence, text, found) in [
            ("no marker", "robot$library+ci", None),
            ("one that was cut off", "x patrold-1a2b3c4d-gps-g1", Some("patrold-1a2b3c4d-gps-g1")),
            (
                "a token whose name looks like an end",
                "patrold-1a2b3c4d-a-g1-x-g2-010203040506",
                Some("patrold-1a2b3c4d-a-g1-x-g2-010203040506"),
            ),
        ] {
            assert_eq!(Marker::within(text), found, "{sentence}");
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
