//! What is done with a slot, given what a look at it found. Pure: one table.
//!
//! Law: a value that nobody can have from us is overwritten only where the inventory says so. A value is ours where it is
//! that of any generation the journal knows, and a slot is ours where a receipt accounts for it, or a write of ours of which
//! nobody knows how it ended.

use crate::inventory::{Existing, OnDrift, StorePolicy};
use crate::names::Evidence;
use crate::outcome::{Failure, FailureCode};
use crate::secret::{Fingerprint, Fingerprinter, Secret};

use super::receipt::Known;

/// What a look at a slot found.
#[derive(Clone, Debug)]
pub enum Found {
    /// Nothing.
    Absent,
    /// This value.
    Value(Secret),
    /// Something that is no secret, or that readers differ about.
    Other,
    /// Something that the store does not show; with what it says of its state, where it does.
    Hidden(Option<Evidence>),
    /// The store lets nobody look.
    Blind,
}

/// What is done with the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It holds the new value already: a write whose acknowledgement was lost, or one that somebody else made.
    Keep,
    /// It holds nothing.
    Create,
    /// It holds something that may be replaced.
    Replace,
    /// Nobody can tell what it holds.
    WriteBlindly,
    /// It holds something that patrold did not write, and the inventory does not say that it may be replaced.
    Stop(Stranger),
}

/// Whose value is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// It was there before patrold wrote to the slot.
    First,
    /// It was written over one of patrold's.
    Later,
}

/// Everything that decides over a slot but what it holds.
#[derive(Clone, Debug)]
pub struct Judge {
    /// Of the value that is to be written. `None` before it exists.
    pub new: Option<Fingerprint>,
    pub known: Known,
    pub existing: Existing,
    pub on_drift: OnDrift,
    pub fingerprints: Fingerprinter,
}

impl Judge {
    /// Over the slot of `policy`.
    pub fn of(policy: &StorePolicy, new: Option<&Secret>, known: &Known, fingerprints: &Fingerprinter) -> Self {
        Self {
            new: new.map(|secret| fingerprints.of(secret)),
            known: known.clone(),
            existing: policy.existing,
            on_drift: policy.on_drift,
            fingerprints: fingerprints.clone(),
        }
    }

    /// Whether there is anything that it stops at.
    pub fn is_strict(&self) -> bool {
        self.existing == Existing::Refuse || self.on_drift == OnDrift::Report
    }

    /// The table.
    pub fn judge(&self, found: &Found) -> Move {
        match (found, &self.known.receipt) {
            (Found::Absent, _) => Move::Create,
            (Found::Blind, _) => Move::WriteBlindly,
            (Found::Value(value), _) if self.is_new(value) => Move::Keep,
            (Found::Value(value), _) if self.is_ours(value) => Move::Replace,
            (Found::Hidden(now), Some(receipt)) if now.is_none() || receipt.evidence == *now => Move::Replace,
            (Found::Hidden(now), _) if self.known.accounts_for(now.as_ref()) => Move::Replace,
            (Found::Value(_) | Found::Other | Found::Hidden(_), Some(_)) => match self.on_drift {
                OnDrift::Repair => Move::Replace,
                OnDrift::Report => Move::Stop(Stranger::Later),
            },
            (Found::Value(_) | Found::Other | Found::Hidden(_), None) => match self.existing {
                Existing::Replace => Move::Replace,
                Existing::Refuse => Move::Stop(Stranger::First),
            },
        }
    }

    fn is_new(&self, value: &Secret) -> bool {
        self.new.as_ref().is_some_and(|new| self.fingerprints.of(value) == *new)
    }

    fn is_ours(&self, value: &Secret) -> bool {
        let readings = self.fingerprints.readings(value);
        readings.iter().any(|print| self.known.ours.contains(print) || self.new.as_ref() == Some(print))
    }
}

impl Stranger {
    /// Why `store` is not written.
    pub fn failure(self, store: &impl std::fmt::Display) -> Failure {
        let detail = match self {
            Self::First => format!("{store} holds a value that was there before; `existing = \"refuse\"` keeps it"),
            Self::Later => format!(
                "{store} holds a value that somebody wrote over the one that was delivered; `on-drift = \"report\"` keeps it"
            ),
        };
        Failure::new(FailureCode::StoreForeign, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Receipt;

    #[test]
    fn every_case_has_its_move() {
        use Existing::{Refuse, Replace};
        use OnDrift::{Repair, Report};
        let fingerprints = Fingerprinter::new(&[7; 32]);
        let print = |text: &str| fingerprints.of(&Secret::new(text));
        let value = |text: &str| Found::Value(Secret::new(text));
        let evidence = |text: &str| Some(text.parse::<Evidence>().unwrap());
        let hidden = |text: &str| Found::Hidden(evidence(text));
        let receipt = |text: &str| Some(Receipt { evidence: evidence(text) });
        let silent = Some(Receipt::default());
        for (sentence, found, receipt, existing, on_drift, expected) in [
            ("the new value, its acknowledgement lost", value("new"), None, Refuse, Report, Move::Keep),
            ("the new value with a line end", value("new\n"), None, Refuse, Report, Move::Replace),
            ("nothing yet", Found::Absent, None, Refuse, Report, Move::Create),
            ("nothing any more", Found::Absent, receipt("1"), Refuse, Report, Move::Create),
            ("the value of the generation before", value("old"), silent.clone(), Refuse, Report, Move::Replace),
            ("one that was adopted, at first contact", value("old"), None, Refuse, Report, Move::Replace),
            ("a stranger's at first contact", value("x"), None, Refuse, Repair, Move::Stop(Stranger::First)),
            ("a stranger's that may be replaced", value("x"), None, Replace, Report, Move::Replace),
            ("what is no secret, at first contact", Found::Other, None, Refuse, Repair, Move::Stop(Stranger::First)),
            ("a stranger's over ours", value("x"), silent.clone(), Refuse, Repair, Move::Replace),
            ("the same, to be reported", value("x"), silent.clone(), Replace, Report, Move::Stop(Stranger::Later)),
            ("hidden, as it was left", hidden("1"), receipt("1"), Refuse, Report, Move::Replace),
            ("hidden, and written since", hidden("2"), receipt("1"), Refuse, Repair, Move::Replace),
            ("the same, to be reported", hidden("2"), receipt("1"), Refuse, Report, Move::Stop(Stranger::Later)),
            ("hidden, and tells no state", Found::Hidden(None), receipt("1"), Refuse, Report, Move::Replace),
            ("hidden at first contact", hidden("1"), None, Refuse, Repair, Move::Stop(Stranger::First)),
            ("the same, replaceable", hidden("1"), None, Replace, Report, Move::Replace),
            ("nobody can look", Found::Blind, None, Refuse, Report, Move::WriteBlindly),
            ("nobody can look, later", Found::Blind, silent.clone(), Refuse, Report, Move::WriteBlindly),
        ] {
            let known = Known { ours: vec![print("older"), print("old")], receipt, beside: Vec::new(), begun: None };
            let judge =
                Judge { new: Some(print("new")), known, existing, on_drift, fingerprints: fingerprints.clone() };
            assert_eq!(judge.judge(&found), expected, "{sentence}");
        }
    }

    #[test]
    fn what_a_write_that_was_begun_may_have_left_is_no_strangers() {
        use Stranger::{First, Later};
        let fingerprints = Fingerprinter::new(&[7; 32]);
        let hidden = |text: &str| Found::Hidden(Some(text.parse().unwrap()));
        let receipt = |text: &str| Some(Receipt { evidence: Some(text.parse().unwrap()) });
        for (sentence, found, receipt, expected) in [
            ("it tells no state", Found::Hidden(None), None, Move::Replace),
            ("it tells a version", hidden("7"), None, Move::Replace),
            ("another version than that of the last receipt", hidden("8"), receipt("7"), Move::Replace),
            ("a time after the write was begun", hidden("2026-12-01T12:00:03Z"), None, Move::Replace),
            ("a time by a clock that is a little behind", hidden("2026-12-01T11:58:00Z"), None, Move::Replace),
            ("a time long before", hidden("2026-12-01T11:00:00Z"), None, Move::Stop(First)),
            (
                "a time long before, and it is not the one that was left",
                hidden("2026-12-01T11:00:00Z"),
                receipt("2026-12-01T10:00:00Z"),
                Move::Stop(Later),
            ),
            ("a value that shows", Found::Value(Secret::new("x")), None, Move::Stop(First)),
        ] {
            let begun = Some("2026-12-01T12:00:00Z".parse().unwrap());
            let judge = Judge {
                new: None,
                known: Known { ours: Vec::new(), receipt, beside: Vec::new(), begun },
                existing: Existing::Refuse,
                on_drift: OnDrift::Report,
                fingerprints: fingerprints.clone(),
            };
            assert_eq!(judge.judge(&found), expected, "{sentence}");
        }
    }
}
