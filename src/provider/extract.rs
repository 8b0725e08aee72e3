//! Captures values of an answer: at JSON pointers, with predicates over them, and moments.

use std::ops::Deref;

use base64::Engine as _;
use reqwest::header::HeaderMap;
use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use super::model::{Captures, ExpirySource, Moment, Never, Piece, Place, Predicate, Source, Test, Tree};
use super::moment::shown_ahead;
use super::template::Scope;
use super::time::{self, Claimed, Format};
use super::{Expiry, ProviderTime, Received, Remote};
use crate::clock::{Span, Time};
use crate::names::RemoteId;
use crate::secret::Secret;

/// JSON that may hold a secret: its texts are wiped when it is dropped.
#[derive(Debug)]
pub(crate) struct Wiped(pub(crate) Value);

impl Deref for Wiped {
    type Target = Value;
    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(table) => table.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A body, or one item of a listing, with the headers of its answer.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) body: &'a Value,
    pub(crate) headers: &'a HeaderMap,
}

impl Content<'_> {
    /// The value at `place`, as JSON.
    fn find(&self, place: &Place) -> Option<Value> {
        let found = match &place.source {
            Source::Chosen => None,
            Source::Body(pointer) => self.body.pointer(pointer).cloned(),
            Source::Header(name) => {
                self.headers.get(name).and_then(|value| value.to_str().ok()).map(|text| Value::from(text.trim()))
            }
            Source::Joined(pieces) => {
                let texts = pieces.iter().map(|piece| match piece {
                    Piece::Text(text) => Some(Zeroizing::new(text.clone())),
                    Piece::Place(place) => self.text(place).map(Zeroizing::new),
                });
                let texts: Option<Vec<_>> = texts.collect();
                texts.map(|texts| Value::from(texts.iter().map(|text| text.as_str()).collect::<Vec<_>>().concat()))
            }
        }?;
        if !place.base64 {
            return Some(found);
        }
        let encoded = Wiped(found);
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.as_str()?.trim()).ok()?;
        String::from_utf8(bytes).ok().map(Value::from)
    }

    /// Whether there is anything at `place` but null.
    pub(super) fn has(&self, place: &Place) -> bool {
        match &place.source {
            Source::Body(pointer) => self.body.pointer(pointer).is_some_and(|found| !found.is_null()),
            Source::Header(name) => self.headers.contains_key(name),
            Source::Joined(_) | Source::Chosen => false,
        }
    }

    /// What is at `place`, of whatever kind; null counts as nothing.
    pub(super) fn value(&self, place: &Place) -> Option<Value> {
        self.find(place).filter(|found| !found.is_null())
    }

    /// The text at `place`; numbers count as text.
    pub(crate) fn text(&self, place: &Place) -> Option<String> {
        match self.find(place)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The secret at `place`: a text that is not blank.
    pub(crate) fn secret(&self, place: &Place) -> Option<Secret> {
        match self.find(place)? {
            Value::String(text) => Some(Secret::new(text)).filter(|secret| !secret.is_blank()),
            _ => None,
        }
    }

    /// The secret at `place` in every form in which the answer has it: as it is used, as it is written, in pieces.
    pub(crate) fn traces(&self, place: &Place) -> Vec<Secret> {
        let mut traces: Vec<Secret> = self.secret(place).into_iter().collect();
        if place.base64 {
            traces.extend(self.secret(&Place { base64: false, ..place.clone() }));
        }
        if let Source::Joined(pieces) = &place.source {
            let places = pieces.iter().filter_map(|piece| match piece {
                Piece::Place(place) => Some(place),
                Piece::Text(_) => None,
            });
            traces.extend(places.flat_map(|place| self.traces(place)));
        }
        traces
    }

    /// The moment, where the answer has one; what cannot be read is noted in `unread` under the name `what`.
    pub(crate) fn moment(
        &self,
        what: &str,
        moment: &Moment,
        asked: &Asked<'_>,
        unread: &mut Vec<String>,
    ) -> Option<Expiry> {
        let value = self.find(&moment.place);
        let never = match &value {
            None => moment.never.contains(&Never::Absent),
            Some(Value::Null) => moment.never.contains(&Never::Null),
            Some(value) => moment.never.iter().any(|never| matches!(never, Never::Value(same) if same == value)),
        };
        if never {
            return Some(Expiry::Never);
        }
        let missing = matches!(value, None | Some(Value::Null));
        if missing || value.as_ref().is_some_and(|value| moment.unset.contains(value)) {
            if missing && !moment.place.optional {
                unread.push(format!("{what}: nothing at {}", moment.place.source));
            }
            return None;
        }
        let received = asked.received;
        let time = value.and_then(|value| moment.format.read(&value, received.at));
        match time {
            Some(time) if moment.never.contains(&Never::Year9999) && beyond_9999(time) => Some(Expiry::Never),
            Some(time) => {
                let ahead = if moment.format.is_relative() { Some(Span::zero()) } else { asked.ahead };
                Some(Expiry::At(ProviderTime::new(time, received.header, ahead)))
            }
            None => {
                unread.push(format!("{what}: the value at {} is not a time of the expected form", moment.place.source));
                None
            }
        }
    }

    /// What is said of one token. `token` is its secret, where there is one; `lifetime` the one asked for.
    pub(crate) fn remote(&self, captures: &Captures, asked: &Asked<'_>, unread: &mut Vec<String>) -> Remote {
        let id = captures.id.as_ref().and_then(|place| {
            let id = self.text(place).and_then(|id| id.parse::<RemoteId>().ok());
            if id.is_none() && !place.optional {
                unread.push(format!("id: nothing usable at {}", place.source));
            }
            id
        });
        let expires = self.expiry(&captures.expires, asked, unread).unwrap_or(Expiry::Unknown);
        let mut time = |what: &str, moment: &Option<Moment>| {
            let told = moment.as_ref().and_then(|moment| self.moment(what, moment, asked, unread));
            told.and_then(Expiry::moment)
        };
        let refresh_expires = time("refresh-expires", &captures.refresh_expires);
        let renewable_until = time("renewable-until", &captures.renewable_until);
        let facts = captures.facts.iter().filter_map(|(name, place)| {
            let fact = self.text(place);
            if fact.is_none() && !place.optional {
                unread.push(format!("{name}: nothing usable at {}", place.source));
            }
            fact.map(|fact| (name.clone(), fact))
        });
        let facts = facts.collect();
        Remote { id, expires, refresh_expires, renewable_until, facts }
    }

    /// How far ahead of ours the clock is that wrote an answer, which says when the token was created that it has just made.
    pub(super) fn ahead(&self, captures: &Captures, received: Received) -> Option<Span> {
        // A day alone says nothing of a clock.
        let moment = captures.created.as_ref().filter(|created| created.format != Format::Date)?;
        let asked = Asked { received, lifetime: None, token: None, ahead: None };
        let created = self.moment("created", moment, &asked, &mut Vec::new())?.moment()?;
        shown_ahead(received, Some(created.as_told()), None, None)
    }

    /// The expiry from the first of `sources` that has an answer.
    pub(crate) fn expiry(
        &self,
        sources: &[ExpirySource],
        asked: &Asked<'_>,
        unread: &mut Vec<String>,
    ) -> Option<Expiry> {
        sources.iter().find_map(|source| match source {
            ExpirySource::Answer(moment) => {
                let told = self.moment("expires", moment, asked, unread)?;
                let absolute = told.moment().filter(|_| asked.ahead.is_none() && !moment.format.is_relative());
                let shown = absolute.map(ProviderTime::as_told).and_then(|told| {
                    let ahead = shown_ahead(asked.received, None, Some(told), asked.lifetime)?;
                    Some(Expiry::At(ProviderTime::new(told, asked.received.header, Some(ahead))))
                });
                Some(shown.unwrap_or(told))
            }
            ExpirySource::Asked => {
                let end = asked.received.at.checked_add_signed(asked.lifetime?)?;
                Some(Expiry::At(ProviderTime::new(end, asked.received.header, Some(Span::zero()))))
            }
            ExpirySource::Jwt => {
                let Claimed { expires, issued } = asked.token.and_then(time::jwt_claims)?;
                let shown = || shown_ahead(asked.received, issued, Some(expires), asked.lifetime);
                let ahead = asked.ahead.or_else(shown);
                Some(Expiry::At(ProviderTime::new(expires, asked.received.header, ahead)))
            }
            ExpirySource::List => None,
            ExpirySource::Never => Some(Expiry::Never),
        })
    }
}

/// What an expiry may be computed from besides the answer.
pub(crate) struct Asked<'a> {
    pub(crate) received: Received,
    /// The lifetime that was asked for.
    pub(crate) lifetime: Option<Span>,
    /// The new secret.
    pub(crate) token: Option<&'a str>,
    /// How far ahead of ours the clock is that wrote the answer, where it shows that.
    pub(crate) ahead: Option<Span>,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Body(pointer) if pointer.is_empty() => f.write_str("the top of the answer"),
            Self::Body(pointer) => f.write_str(pointer),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Chosen => f.write_str("the request"),
            Self::Joined(_) => f.write_str("the places that it is joined from"),
        }
    }
}

fn beyond_9999(time: Time) -> bool {
    use chrono::Datelike as _;
    time.year() >= 9999
}

impl Predicate {
    /// Whether it holds of `body`. A value to compare with that cannot be rendered, or is null, equals nothing.
    pub(crate) fn holds(&self, body: &Value, scope: &dyn Scope) -> bool {
        let found = body.pointer(&self.at).filter(|value| !value.is_null());
        if self.or_absent && found.is_none() {
            return true;
        }
        let value_of = |tree: &Tree| tree.value(scope).ok().flatten();
        match &self.test {
            Test::Present => found.is_some(),
            Test::Absent => found.is_none(),
            Test::Empty => found.is_none_or(is_empty),
            Test::NonEmpty => found.is_some_and(|value| !is_empty(value)),
            Test::Equals(tree) => value_of(tree).is_some_and(|wanted| found.is_some_and(|value| same(value, &wanted))),
            Test::NotEquals(tree) => {
                value_of(tree).is_none_or(|wanted| found.is_none_or(|value| !same(value, &wanted)))
            }
            Test::OneOf(tree) => {
                let wanted = value_of(tree);
                let wanted = wanted.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                found.is_some_and(|value| wanted.iter().any(|wanted| same(value, wanted)))
            }
            Test::Prefix(tree) | Test::Contains(tree) => {
                let wanted = value_of(tree);
                let wanted = wanted.as_ref().and_then(Value::as_str).filter(|wanted| !wanted.is_empty());
                let anywhere = matches!(self.test, Test::Contains(_));
                let fits = |text: &str, wanted: &str| {
                    if anywhere { text.contains(wanted) } else { text.starts_with(wanted) }
                };
                found.and_then(Value::as_str).zip(wanted).is_some_and(|(text, wanted)| fits(text, wanted))
            }
        }
    }

    /// What it wants, for a message.
    pub(crate) fn wants(&self) -> String {
        match &self.test {
            Test::Present => format!("{} is missing", self.at),
            Test::Absent | Test::Empty => format!("{} should not be there", self.at),
            Test::NonEmpty => format!("{} is empty", self.at),
            Test::Equals(_) | Test::NotEquals(_) | Test::OneOf(_) | Test::Prefix(_) | Test::Contains(_) => {
                format!("{} is not as expected", self.at)
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(table) => table.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Equality in which a number and the same number in quotes are one: services are not consistent about ids.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
            number.to_string() == *text
        }
        _ => one == other,
    }
}
