//! Whether a store still is as it was left. Pure.

use super::Held;
use crate::secret::{Fingerprint, Fingerprinter};

/// How a store compares with what was delivered to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// It is as it was left.
    Same,
    /// It holds what was delivered, and line ends or blanks around it: somebody's editor, or `echo` in a script.
    Padded,
    /// It holds something else.
    Different,
    /// It holds nothing: no file, or no such key in it.
    Missing,
    /// It holds what was delivered, but owner, group or mode are not what the inventory asks for.
    AttributesDiffer,
}

impl Drift {
    /// Whether consumers may have read another value.
    pub fn is_value(self) -> bool {
        match self {
            Self::Different | Self::Missing => true,
            Self::Same | Self::Padded | Self::AttributesDiffer => false,
        }
    }

    /// In words that complete "the store …"; `None` where there is nothing to say.
    pub fn sentence(self) -> Option<&'static str> {
        match self {
            Self::Same => None,
            Self::Padded => Some("holds what was delivered with blanks or line ends around it"),
            Self::Different => Some("holds something else than was delivered"),
            Self::Missing => Some("holds nothing any more"),
            Self::AttributesDiffer => Some("has another owner, group or mode than the inventory asks for"),
        }
    }
}

/// Compares what was found with the fingerprint of what was delivered.
pub fn compare(delivered: &Fingerprint, found: Option<&Held>, fingerprints: &Fingerprinter) -> Drift {
    let Some(held) = found else { return Drift::Missing };
    match &held.secret {
        Some(secret) if fingerprints.of(secret) == *delivered => {
            if held.attributes_ok {
                Drift::Same
            } else {
                Drift::AttributesDiffer
            }
        }
        Some(secret) if fingerprints.of(&secret.trimmed()) == *delivered => Drift::Padded,
        _ => Drift::Different,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn every_state_of_a_store_is_told_apart() {
        let fingerprints = Fingerprinter::new(&[7; 32]);
        let delivered = fingerprints.of(&Secret::new("tok-1"));
        let held = |secret: Option<&str>, attributes_ok| Some(Held { secret: secret.map(Secret::new), attributes_ok });
        for (sentence, found, expected) in [
            ("the same secret", held(Some("tok-1"), true), Drift::Same),
            ("the same secret, readable for others", held(Some("tok-1"), false), Drift::AttributesDiffer),
            ("the same secret and a line end", held(Some("tok-1\n"), true), Drift::Padded),
            ("a line end that hides another secret", held(Some("tok-2\n"), true), Drift::Different),
            ("another secret", held(Some("tok-2"), true), Drift::Different),
            ("another secret and owner", held(Some("tok-2"), false), Drift::Different),
            ("something that readers differ about", held(None, true), Drift::Different),
            ("nothing", None, Drift::Missing),
        ] {
            assert_eq!(compare(&delivered, found.as_ref(), &fingerprints), expected, "{sentence}");
        }
    }
}
