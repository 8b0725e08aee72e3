//! Stores as a definition describes them: which answer shows what a target holds, what is written to it, and which
//! values it can hold.
//!
//! A target is read as a whole and written as a whole; a slot is the target itself, or one entry of the table that it
//! holds. What is read of the other entries goes back as it came: nothing of it is interpreted.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::extract::{Content, Wiped};
use super::model::{Call, Listing, Shows, SlotCall, StoreRules, TablePlace};
use super::request::Scoped;
use super::resolved::Provider;
use super::template::Scope;
use super::{Cursor, Operation, Received, Response, Values};
use crate::names::Evidence;
use crate::outcome::{Failure, FailureCode, Outcome, Told};
use crate::secret::Secret;

/// What a write can be compared with afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The value itself.
    Value,
    /// What the service says of its state.
    Evidence,
    /// Nothing: the acknowledgement counts.
    Nothing,
}

/// What a target holds.
pub struct Seen {
    pub(super) shown: Shown,
    /// What the service says of its state.
    pub evidence: Option<Evidence>,
    pub(super) version: Value,
    pub(super) facts: BTreeMap<String, Value>,
    tail: Option<String>,
}

pub(super) enum Shown {
    Absent,
    Hidden,
    Value(Secret),
    Table { slots: Wiped, place: TablePlace },
    Other,
}

/// What one slot of a target holds.
#[derive(Clone, Debug)]
pub enum Slot {
    Absent,
    Hidden,
    Value(Secret),
    /// No text.
    Other,
}

/// One page of what may be the target.
#[derive(Debug)]
pub enum Look {
    Found(Seen),
    /// It may be on a later page.
    Next(Cursor),
}

/// What became of a write that was answered.
#[derive(Debug)]
pub enum Put {
    /// It was acknowledged, with what the service says of its state.
    Written(Option<Evidence>),
    /// Somebody else wrote first; nothing was written.
    Conflict,
}

/// What a write needs besides the value, by the name of its capture.
#[derive(Clone, Debug, Default)]
pub struct Prepared(pub(super) BTreeMap<String, Value>);

impl Told for Look {}
impl Told for Put {}
impl Told for Prepared {}

/// Secrets of others are among what was seen.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match &self.shown {
            Shown::Absent => "nothing",
            Shown::Hidden => "something hidden",
            Shown::Value(_) => "a value",
            Shown::Table { .. } => "a table",
            Shown::Other => "something else",
        };
        write!(f, "{shown}, {:?}", self.evidence)
    }
}

#[cfg(test)]
impl Prepared {
    pub(super) fn of(facts: &[(&str, &str)]) -> Self {
        Self(facts.iter().map(|(name, fact)| ((*name).to_owned(), Value::from(*fact))).collect())
    }
}

impl Seen {
    /// Of a target that shows nothing.
    pub fn blind() -> Self {
        Self { shown: Shown::Hidden, evidence: None, version: Value::Null, facts: BTreeMap::new(), tail: None }
    }

    /// Whether there is no such target.
    pub fn is_absent(&self) -> bool {
        matches!(self.shown, Shown::Absent)
    }

    /// Whether what it shows of a hidden value is the end of this one; `None`: it shows nothing of it.
    pub fn ends(&self, secret: &Secret) -> Option<bool> {
        self.tail.as_ref().map(|tail| secret.expose().ends_with(tail.as_str()))
    }

    /// What the slot called `name` holds; `None`: the target is the slot.
    pub fn slot(&self, name: Option<&str>) -> Slot {
        match (&self.shown, name) {
            (Shown::Absent, _) => Slot::Absent,
            (Shown::Hidden, _) => Slot::Hidden,
            (Shown::Value(secret), None) => Slot::Value(secret.clone()),
            (Shown::Table { slots, place }, Some(name)) => {
                match slots.get(name).and_then(|it| it.pointer(&place.value)) {
                    None | Some(Value::Null) if place.hidden && slots.get(name).is_some() => Slot::Hidden,
                    None | Some(Value::Null) => Slot::Absent,
                    Some(Value::String(text)) => {
                        let text = if place.base64 { decoded(text) } else { Some(text.clone()) };
                        text.map_or(Slot::Other, |text| Slot::Value(Secret::new(text)))
                    }
                    Some(_) => Slot::Other,
                }
            }
            (Shown::Value(_) | Shown::Table { .. } | Shown::Other, _) => Slot::Other,
        }
    }
}

impl Seen {
    /// Every slot of a table by its name; none where it holds no table.
    pub fn slots(&self) -> impl Iterator<Item = (&str, Slot)> {
        let table = match &self.shown {
            Shown::Table { slots, .. } => slots.as_object(),
            _ => None,
        };
        table.into_iter().flat_map(Map::keys).map(|name| (name.as_str(), self.slot(Some(name))))
    }
}

fn decoded(text: &str) -> Option<String> {
    STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

impl Provider {
    /// What it says of its store; `None`: it is a provider of tokens.
    pub fn store(&self) -> Option<&StoreRules> {
        self.store.as_deref()
    }

    /// What a write can be compared with afterwards.
    pub fn proof(&self) -> Proof {
        let Ok(read) = self.call(Operation::Read) else { return Proof::Nothing };
        match read.slots {
            SlotCall { shows: Some(_), .. } => Proof::Value,
            SlotCall { changed: Some(_), .. } | SlotCall { version: Some(_), .. } | SlotCall { tail: Some(_), .. } => {
                Proof::Evidence
            }
            _ => Proof::Nothing,
        }
    }

    /// Whether a target can hold what it does not show.
    pub fn hides(&self) -> bool {
        let Ok(read) = self.call(Operation::Read) else { return false };
        match &read.slots.shows {
            None | Some(Shows::Value { hidden: true, .. }) => true,
            Some(Shows::Table(place)) => place.hidden,
            Some(Shows::Value { .. }) => false,
        }
    }

    /// Whether a write of somebody else between the look and the write is noticed.
    pub fn notices_conflicts(&self) -> bool {
        self.call(Operation::Write).is_ok_and(|write| !write.slots.conflict.is_empty())
    }

    /// Whether a value can be taken out of the store again.
    pub fn erases(&self) -> bool {
        self.has(Operation::Delete)
    }

    /// Whether what a target says of its state stays where the same value is written again.
    pub fn changes_with_value(&self) -> bool {
        self.call(Operation::Read).is_ok_and(|read| read.slots.changed_with_value)
    }

    /// Whether slots of one target can be written at once.
    pub fn gathers(&self) -> bool {
        self.store().is_some_and(|store| store.slot.is_some())
    }

    /// What the answer to a probe says: the target is where it is meant to be, or why not.
    pub fn read_probe(&self, values: &Values<'_>, response: &Response, received: impl Into<Received>) -> Outcome<()> {
        let content = response.content();
        match self.judge(Operation::Probe, values, response, &content, received.into()) {
            Ok(()) => Outcome::Done(()),
            Err(setback) => setback.outcome(Operation::Probe),
        }
    }

    /// What the answer to a read says of the target. `slot`: one entry of it is wanted.
    pub fn read_target(
        &self,
        slot: bool,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Look> {
        let call = match self.call(Operation::Read) {
            Ok(call) => call,
            Err(failure) => return Outcome::Refused(failure),
        };
        let content = response.content();
        let scope = Scoped::new(self, call, values);
        let body = content.json();
        let absent = call.slots.absent.iter().any(|condition| condition.holds(response.status, body, &scope));
        // What is no answer of this service at all says nothing of what is there.
        let success = (200..300).contains(&response.status);
        let ok = if call.ok.is_empty() { success } else { call.ok.contains(&response.status) };
        if (ok || !absent)
            && let Err(setback) = self.judge(Operation::Read, values, response, &content, received.into())
        {
            return setback.outcome(Operation::Read);
        }
        let seen = match &call.slots.finds {
            Some(listing) if !absent => self.find(call, listing, slot, values, response, body, &scope),
            _ => seen(call, absent, slot, Content { body, headers: &response.headers }).map(Look::Found),
        };
        match seen {
            Ok(look) => Outcome::Done(look),
            Err(why) => Outcome::later(Failure::new(FailureCode::NotUnderstood, why)),
        }
    }

    /// The item of a listing that is the target.
    #[expect(clippy::too_many_arguments, reason = "each is another part of one answer")]
    fn find(
        &self,
        call: &Call,
        listing: &Listing,
        slot: bool,
        values: &Values<'_>,
        response: &Response,
        body: &Value,
        scope: &dyn Scope,
    ) -> Result<Look, String> {
        let items = items(listing, body)?;
        let fits = |item: &&Value| listing.keep.iter().all(|predicate| predicate.holds(item, scope));
        if let Some(item) = items.iter().find(fits) {
            return seen(call, false, slot, Content { body: item, headers: &response.headers }).map(Look::Found);
        }
        match self.next(call, listing, values, response, body, items.len())? {
            Some(next) => Ok(Look::Next(next)),
            None => seen(call, true, slot, Content { body: &Value::Null, headers: &response.headers }).map(Look::Found),
        }
    }

    /// What the answer to the request before a write says.
    pub fn read_prepared(
        &self,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Prepared> {
        let call = match self.call(Operation::Prepare) {
            Ok(call) => call,
            Err(failure) => return Outcome::Refused(failure),
        };
        let content = response.content();
        if let Err(setback) = self.judge(Operation::Prepare, values, response, &content, received.into()) {
            return setback.outcome(Operation::Prepare);
        }
        let content = Content { body: content.json(), headers: &response.headers };
        match facts(call, content) {
            Ok(facts) => Outcome::Done(Prepared(facts)),
            Err(why) => Outcome::later(Failure::new(FailureCode::NotUnderstood, why)),
        }
    }

    /// What the answer to a write says: `operation` is one that [`Operation::puts`].
    pub fn read_put(
        &self,
        operation: Operation,
        values: &Values<'_>,
        response: &Response,
        received: impl Into<Received>,
    ) -> Outcome<Put> {
        let call = match self.call(operation) {
            Ok(call) => call,
            Err(failure) => return Outcome::Refused(failure),
        };
        let content = response.content();
        let scope = Scoped::new(self, call, values);
        let body = content.json();
        if call.slots.conflict.iter().any(|condition| condition.holds(response.status, body, &scope)) {
            return Outcome::Done(Put::Conflict);
        }
        if let Err(setback) = self.judge(operation, values, response, &content, received.into()) {
            return setback.outcome(operation);
        }
        let content = Content { body, headers: &response.headers };
        Outcome::Done(Put::Written(evidence(call, content)))
    }
}

/// The items of one page.
pub(super) fn items<'b>(listing: &Listing, body: &'b Value) -> Result<&'b [Value], String> {
    match body.pointer(&listing.items) {
        Some(Value::Array(items)) => Ok(items.as_slice()),
        Some(Value::Null) if listing.null_is_empty => Ok(&[]),
        None if listing.absent_is_empty && body.is_object() => Ok(&[]),
        _ => Err(format!("there is no list at \"{}\"", listing.items)),
    }
}

/// What is there, of an answer or of one item of it.
pub(super) fn seen(call: &Call, absent: bool, slot: bool, content: Content<'_>) -> Result<Seen, String> {
    let shown = match &call.slots.shows {
        _ if absent => Shown::Absent,
        None => Shown::Hidden,
        Some(Shows::Value { place, hidden }) => match content.text(place) {
            Some(text) => Shown::Value(Secret::new(text)),
            None if *hidden => Shown::Hidden,
            // A value that is no text: bytes that decode to none, a number, a table.
            None if content.has(place) => Shown::Other,
            None => return Err(format!("there is no value at {}", place.source)),
        },
        Some(Shows::Table(place)) => match (content.body.pointer(&place.at), slot) {
            (Some(Value::String(whole)), false) if place.text => Shown::Value(Secret::new(whole.clone())),
            (Some(Value::String(whole)), true) if place.text => match serde_json::from_str::<Value>(whole).map(Wiped) {
                Ok(slots) if slots.is_object() => Shown::Table { slots, place: place.clone() },
                _ => Shown::Other,
            },
            (Some(slots @ Value::Object(_)), _) if !place.text => {
                Shown::Table { slots: Wiped(slots.clone()), place: place.clone() }
            }
            // A target whose table has no entry yet.
            (None | Some(Value::Null), _) if !place.text => {
                Shown::Table { slots: Wiped(Value::Object(Map::new())), place: place.clone() }
            }
            _ => Shown::Other,
        },
    };
    let version = call.slots.version.as_ref().map_or(Value::Null, |version| {
        let found = content.body.pointer(&version.at).filter(|found| !found.is_null());
        found.unwrap_or(&version.absent).clone()
    });
    let facts = if absent { BTreeMap::new() } else { facts(call, content)? };
    let tail = call.slots.tail.as_ref().filter(|_| !absent).and_then(|(place, shown)| {
        let text = content.text(place)?;
        let from = text.char_indices().rev().nth(shown.checked_sub(1)?).map_or(0, |(at, _)| at);
        Some(text[from..].to_owned())
    });
    let evidence = evidence(call, content).or_else(|| tail.as_ref()?.parse().ok()).filter(|_| !absent);
    Ok(Seen { shown, evidence, version, facts, tail })
}

fn facts(call: &Call, content: Content<'_>) -> Result<BTreeMap<String, Value>, String> {
    let mut facts = BTreeMap::new();
    for (name, place) in &call.capture.facts {
        match content.value(place) {
            Some(fact) => drop(facts.insert(name.clone(), fact)),
            None if place.optional => {}
            None => return Err(format!("{name}: nothing usable at {}", place.source)),
        }
    }
    Ok(facts)
}

fn evidence(call: &Call, content: Content<'_>) -> Option<Evidence> {
    let changed = call.slots.changed.as_ref().and_then(|place| content.text(place));
    let version = || match content.body.pointer(&call.slots.version.as_ref()?.at)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    changed.or_else(version)?.parse().ok()
}
