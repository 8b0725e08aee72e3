//! What a definition says of a store: its targets and slots, the values that it holds, and what its answers mean.

use std::time::Duration;

use serde_json::Value;

use super::{Listing, Place, Predicate};
use crate::clock::Span;
use crate::provider::template::{Scope, Template};

/// What a definition says of its store besides requests.
#[derive(Debug)]
pub struct StoreRules {
    /// Names of the parameters that tell one target from another.
    pub target: Vec<String>,
    /// The parameter that names a slot of the target; `None`: the target is the slot. Where the inventory gives it no
    /// value, the target is the slot as well.
    pub slot: Option<String>,
    /// How long after a write a read may show what was there before.
    pub settle: Span,
    /// When consumers have a value that was written, in words; empty: at once, or when they look.
    pub takes_effect: String,
    /// What else a write does, in words; empty: nothing.
    pub side_effect: String,
    /// As often as the service takes requests of one account, where its vendor tells. The inventory may say otherwise.
    pub pace: Option<Pace>,
    pub(crate) values: ValueRules,
}

/// `[pace]`: at most `requests` in any span of `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub requests: u32,
    pub per: Duration,
}

/// `[value]`: which values the store can hold.
#[derive(Debug, Default)]
pub(crate) struct ValueRules {
    pub(crate) max_bytes: Option<usize>,
    pub(crate) rules: Vec<ValueRule>,
}

impl ValueRules {
    /// Whether anything says how long a value may be.
    pub(in crate::provider) fn bounds(&self) -> bool {
        self.max_bytes.is_some() || self.rules.iter().any(|rule| rule.max_bytes.is_some())
    }
}

/// One of `[[value.rule]]`.
#[derive(Debug)]
pub(crate) struct ValueRule {
    /// Of parameters alone; `None`: always.
    pub(crate) when: Option<Template>,
    pub(crate) max_bytes: Option<usize>,
    pub(crate) min_chars: Option<usize>,
    pub(crate) refuse: Vec<Refused>,
    pub(crate) why: String,
}

/// What a value must not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Whitespace,
    Newline,
    EdgeBlanks,
    NonAscii,
    Text(String),
}

impl Refused {
    /// The words for classes; anything else is a text.
    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("whitespace", Self::Whitespace),
        ("newline", Self::Newline),
        ("edge-blanks", Self::EdgeBlanks),
        ("non-ascii", Self::NonAscii),
    ];

    pub(in crate::provider) fn is_in(&self, value: &str) -> bool {
        match self {
            Self::Whitespace => value.contains(char::is_whitespace),
            Self::Newline => value.contains(['\n', '\r']),
            Self::EdgeBlanks => value.trim() != value,
            Self::NonAscii => !value.is_ascii(),
            Self::Text(text) => value.contains(text.as_str()),
        }
    }

    pub(in crate::provider) fn sentence(&self) -> String {
        match self {
            Self::Whitespace => "it has a blank or a line end in it".to_owned(),
            Self::Newline => "it has a line end in it".to_owned(),
            Self::EdgeBlanks => "it begins or ends with a blank".to_owned(),
            Self::NonAscii => "it has characters that are not ASCII".to_owned(),
            Self::Text(text) => format!("it has \"{text}\" in it"),
        }
    }
}

/// What the answers to one operation of a store mean.
#[derive(Debug, Default)]
pub(crate) struct SlotCall {
    /// Any that holds says that the target is not there.
    pub(crate) absent: Vec<Condition>,
    /// Any that holds says that somebody else wrote first, and nothing was written.
    pub(crate) conflict: Vec<Condition>,
    /// The target is an item of a listing.
    pub(crate) finds: Option<Listing>,
    /// Which target an item of a survey is: parameters, and where the item has their values.
    pub(crate) names: Vec<(String, Place)>,
    pub(crate) shows: Option<Shows>,
    pub(crate) version: Option<Version>,
    /// What tells that somebody wrote.
    pub(crate) changed: Option<Place>,
    /// It tells of another value: the same one written again changes nothing of it.
    pub(crate) changed_with_value: bool,
    /// Where the last characters of the value stand, and how many of them are shown.
    pub(crate) tail: Option<(Place, usize)>,
}

/// A status, a value of the body, or both.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) status: Option<u16>,
    pub(crate) predicate: Option<Predicate>,
}

/// Where an answer shows what the target holds.
#[derive(Debug)]
pub(crate) enum Shows {
    /// The value of the slot. `hidden`: a missing one, or null, is there and not shown.
    Value { place: Place, hidden: bool },
    /// A table of slots.
    Table(TablePlace),
}

/// Where a table of slots stands, and how it is written.
#[derive(Clone, Debug)]
pub(crate) struct TablePlace {
    /// JSON pointer.
    pub(crate) at: String,
    /// Its values are in base64.
    pub(crate) base64: bool,
    /// It is a text of JSON; without a slot, that text is the value.
    pub(crate) text: bool,
    /// JSON pointer from an entry to its value; empty: the entry is the value.
    pub(crate) value: String,
    /// An entry whose value is missing, or null, is there and not shown.
    pub(crate) hidden: bool,
}

/// What the service calls the state of a target.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) at: String,
    /// In place of a missing one.
    pub(crate) absent: Value,
}

impl SlotCall {
    pub(in crate::provider) fn predicates(&self) -> impl Iterator<Item = &Predicate> {
        let conditions = self.absent.iter().chain(&self.conflict).filter_map(|it| it.predicate.as_ref());
        conditions.chain(self.finds.iter().flat_map(|listing| &listing.keep))
    }
}

impl Condition {
    pub(in crate::provider) fn holds(&self, status: u16, body: &Value, scope: &dyn Scope) -> bool {
        self.status.is_none_or(|wanted| wanted == status)
            && self.predicate.as_ref().is_none_or(|predicate| predicate.holds(body, scope))
    }
}
