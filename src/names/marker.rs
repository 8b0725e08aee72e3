//! The name that a token gets at its provider, and how it is found again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{GenerationNo, InstanceId, RotationId, TokenName, unhex};

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

    /// The name of the token that `marker` was made for.
    pub fn token(marker: &str) -> Option<TokenName> {
        let (_, named) = marker.strip_prefix(Self::PREFIX)?.split_once('-')?;
        let (numbered, _) = named.rsplit_once('-')?;
        numbered.rsplit_once("-g")?.0.parse().ok()
    }

    /// The marker within `text` that another installation than `instance` made for a token called `token`.
    pub fn of_another(instance: InstanceId, token: &TokenName, text: &str) -> Option<Self> {
        let marker = Self::within(text)?;
        let (its, rest) = marker.strip_prefix(Self::PREFIX)?.split_once('-')?;
        let (number, rotation) = rest.strip_prefix(token.as_str())?.strip_prefix("-g")?.split_once('-')?;
        let made = number.parse::<u32>().is_ok() && unhex(rotation).is_some_and(|bytes| bytes.len() == 6);
        (made && its != instance.to_string()).then(|| Self(marker.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_names_its_installation() {
        let ours = InstanceId::new([0x1a, 0x2b, 0x3c, 0x4d]);
        let token = "gps-ingest".parse().unwrap();
        let marker = Marker::new(ours, &token, GenerationNo(12), RotationId::new([1, 2, 3, 4, 5, 6]));
        assert_eq!(marker.as_str(), "patrold-1a2b3c4d-gps-ingest-g12-010203040506");
        assert_eq!(Marker::token(marker.as_str()).as_ref(), Some(&token));
        for (text, name) in
            [("patrold-1a2b3c4d-a-g1-x-g2-010203040506", Some("a-g1-x")), ("patrold-1a2b3c4d-gps", None)]
        {
            assert_eq!(Marker::token(text).as_ref().map(TokenName::as_str), name, "{text}");
        }
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
    fn a_marker_of_another_installation_is_told_by_its_token() {
        let ours = InstanceId::new([0x1a, 0x2b, 0x3c, 0x4d]);
        for (text, anothers) in [
            ("patrold-99999999-gps-g12-010203040506", true),
            ("robot$library+patrold-99999999-gps-g12-010203040506", true),
            ("patrold-1a2b3c4d-gps-g12-010203040506", false),
            ("patrold-99999999-gps-2-g12-010203040506", false),
            ("patrold-99999999-gps-g1-x-g12-010203040506", false),
            ("patrold-99999999-ci-g12-010203040506", false),
            ("gps", false),
        ] {
            let found = Marker::of_another(ours, &"gps".parse().unwrap(), text);
            assert_eq!(found.is_some(), anothers, "{text}");
        }
    }
}
