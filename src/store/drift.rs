//! Whether a store still is as it was left. Pure.

use super::Look;
use super::judge::Found;
use super::place::ELSE;
use super::receipt::Known;
use crate::account::survey::Glimpse;
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
    /// It does not show what it holds, and says that somebody wrote to it since.
    Rewritten,
    /// It does not show what it holds, and nothing says that somebody wrote to it since.
    Untold,
}

impl Drift {
    /// Whether consumers may have read another value.
    pub fn is_value(self) -> bool {
        match self {
            Self::Different | Self::Missing | Self::Rewritten => true,
            Self::Same | Self::Padded | Self::AttributesDiffer | Self::Untold => false,
        }
    }

    /// In words that complete "the store …"; `None` where there is nothing to say.
    pub fn sentence(self) -> Option<&'static str> {
        match self {
            Self::Same | Self::Untold => None,
            Self::Padded => Some("holds what was delivered with blanks or line ends around it"),
            Self::Different => Some(ELSE),
            Self::Missing => Some("holds nothing any more"),
            Self::AttributesDiffer => Some("has another owner, group or mode than the inventory asks for"),
            Self::Rewritten => Some("was written by somebody else since"),
        }
    }
}

/// Compares what was found with the fingerprint of what was delivered; where the store does not show it, what it says of
/// its state with the receipt.
pub fn compare(delivered: &Fingerprint, look: &Look, known: &Known, fingerprints: &Fingerprinter) -> Drift {
    match &look.found {
        Found::Absent => Drift::Missing,
        Found::Value(secret) if fingerprints.of(secret) == *delivered => {
            if look.attributes_ok {
                Drift::Same
            } else {
                Drift::AttributesDiffer
            }
        }
        Found::Value(secret) if fingerprints.of(&secret.trimmed()) == *delivered => Drift::Padded,
        Found::Value(_) | Found::Other => Drift::Different,
        Found::Hidden(now) => {
            let left = known.receipt.as_ref().and_then(|receipt| receipt.evidence.as_ref());
            let rewritten = now.as_ref().zip(left).is_some_and(|(now, left)| now != left);
            if rewritten { Drift::Rewritten } else { Drift::Untold }
        }
        Found::Blind => Drift::Untold,
    }
}

/// The same of what was seen among many slots. `None`: only a look can tell; what was seen may be older than the last write.
pub fn unchanged(delivered: &Fingerprint, glimpse: &Glimpse, known: &Known) -> Option<Drift> {
    let left = known.receipt.as_ref().and_then(|receipt| receipt.evidence.as_ref());
    match glimpse {
        Glimpse::Value(print) => (print == delivered).then_some(Drift::Same),
        Glimpse::Hidden(now) => (Some(now) == left).then_some(Drift::Untold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::store::Receipt;

    #[test]
    fn every_state_of_a_store_is_told_apart() {
        let fingerprints = Fingerprinter::new(&[7; 32]);
        let delivered = fingerprints.of(&Secret::new("tok-1"));
        let value = |secret: &str| Found::Value(Secret::new(secret));
        let hidden = |text: &str| Found::Hidden(Some(text.parse().unwrap()));
        let receipt = Some(Receipt { evidence: Some("1".parse().unwrap()) });
        let known = Known { ours: Vec::new(), receipt, beside: Vec::new(), begun: None };
        for (sentence, found, attributes_ok, expected) in [
            ("the same secret", value("tok-1"), true, Drift::Same),
            ("the same secret, readable for others", value("tok-1"), false, Drift::AttributesDiffer),
            ("the same secret and a line end", value("tok-1\n"), true, Drift::Padded),
            ("a line end that hides another secret", value("tok-2\n"), true, Drift::Different),
            ("another secret", value("tok-2"), true, Drift::Different),
            ("another secret and owner", value("tok-2"), false, Drift::Different),
            ("something that readers differ about", Found::Other, true, Drift::Different),
            ("nothing", Found::Absent, true, Drift::Missing),
            ("a state that is not shown, as it was left", hidden("1"), true, Drift::Untold),
            ("a state that is not shown, and another one", hidden("2"), true, Drift::Rewritten),
            ("a state that is not told", Found::Hidden(None), true, Drift::Untold),
            ("nobody can look", Found::Blind, true, Drift::Untold),
        ] {
            let look = Look { found, attributes_ok };
            assert_eq!(compare(&delivered, &look, &known, &fingerprints), expected, "{sentence}");
        }
    }
}
