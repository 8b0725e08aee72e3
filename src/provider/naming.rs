//! Which names a provider takes for new tokens.

use std::fmt;
use std::str::FromStr;

use crate::names::{GenerationNo, InstanceId, Marker, RotationId, TokenName};

/// Names have to fit for so many generations: 27 years of one rotation a day.
const LAST: GenerationNo = GenerationNo(9999);

/// What every marker has in it, whatever its token is called.
const INDISPENSABLE: &str = "abcdefghijklmnopqrstuvwxyz0123456789-";

/// `[mint.name]`: what a marker must be like for the provider to take it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naming {
    /// Most characters of a marker.
    pub(crate) longest: Option<usize>,
    pub(crate) alphabet: Option<Alphabet>,
}

impl Naming {
    /// Characters of a marker besides the name of its token.
    pub(crate) fn overhead() -> usize {
        // The name of an instance and that of a rotation have a length of their own.
        let shortest: TokenName = "a".parse().expect("a letter is a name");
        last_marker(&shortest).as_str().len() - shortest.as_str().len()
    }

    /// The longest name that a token may have.
    pub(crate) fn longest_token_name(&self) -> Option<usize> {
        self.longest.map(|longest| longest.saturating_sub(Self::overhead()))
    }

    /// Why tokens of this name cannot be minted in all generations to come, and what to do about it.
    pub(crate) fn rejection(&self, name: &TokenName) -> Option<(String, String)> {
        let text = name.as_str();
        if let Some((longest, room)) = self.longest.zip(self.longest_token_name())
            && text.len() > room
        {
            let overhead = Self::overhead();
            let why = format!(
                "names there have at most {longest} characters, {overhead} of which tell patrold's tokens from each other"
            );
            return Some((why, format!("use a name of at most {room} characters")));
        }
        let alphabet = self.alphabet.as_ref()?;
        let wrong = text.chars().find(|c| !alphabet.has(*c))?;
        Some((format!("names there have no \"{wrong}\""), format!("use a name of the characters {alphabet}")))
    }
}

/// The longest marker that a token of this name gets.
fn last_marker(name: &TokenName) -> Marker {
    Marker::new(InstanceId::new([0; 4]), name, LAST, RotationId::new([0; 6]))
}

/// Characters that a name may have, written as `a-z0-9._-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alphabet {
    text: String,
    ranges: Vec<(char, char)>,
}

impl Alphabet {
    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c))
    }
}

impl FromStr for Alphabet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let chars: Vec<char> = text.chars().collect();
        let (mut ranges, mut at) = (Vec::new(), 0);
        while let Some(first) = chars.get(at).copied() {
            let last = chars.get(at + 1).filter(|c| **c == '-').and_then(|_| chars.get(at + 2)).copied();
            if let Some(last) = last.filter(|last| *last < first) {
                return Err(format!("the range `{first}-{last}` has no characters"));
            }
            ranges.push((first, last.unwrap_or(first)));
            at += if last.is_some() { 3 } else { 1 };
        }
        let alphabet = Self { text: text.to_owned(), ranges };
        match INDISPENSABLE.chars().find(|c| !alphabet.has(*c)) {
            Some(lacking) => Err(format!("`{lacking}` is not among them: every marker has a-z, 0-9 and `-`")),
            None => Ok(alphabet),
        }
    }
}

impl fmt::Display for Alphabet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_to_fit_in_all_generations() {
        let naming = |longest, alphabet: &str| Naming { longest, alphabet: Some(alphabet.parse().unwrap()) };
        let long = "characters, 36 of which";
        for (what, naming, name, wanted) in [
            (
                "it fits exactly, with four digits of a generation",
                naming(Some(50), "A-Za-z0-9-"),
                "ci-runners-eu1",
                None,
            ),
            (
                "one more is refused before the first mint",
                naming(Some(50), "A-Za-z0-9-"),
                "ci-runners-eu12",
                Some(long),
            ),
            ("a character that the provider refuses", naming(None, "a-z0-9-"), "ci.runners", Some("no \".\"")),
            ("a capital letter", naming(None, "a-z0-9._-"), "Ci", Some("no \"C\"")),
            ("no rule", Naming::default(), "Ci.runners_of_a_long_name", None),
        ] {
            let rejection = naming.rejection(&name.parse().unwrap()).map(|(why, _)| why);
            match wanted {
                Some(wanted) => {
                    assert!(rejection.as_deref().unwrap_or_default().contains(wanted), "{what}: {rejection:?}");
                }
                None => assert_eq!(rejection, None, "{what}"),
            }
        }
    }

    #[test]
    fn an_alphabet_that_no_marker_can_have_is_none() {
        for (text, fine) in [
            ("a-z0-9-", true),
            ("-a-z0-9", true),
            ("A-Za-z0-9._-", true),
            ("a-z0-9", false),
            ("A-Z0-9-", false),
            ("z-a0-9-", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<Alphabet>().is_ok(), fine, "{text}");
        }
    }
}
