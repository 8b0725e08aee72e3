//! JSON, without comments.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Edit, Problem, Read, compound, entangled, found, line_of, listed, quoted};
use crate::inventory::Pointer;

/// The members of an object, in their order.
struct Members<'d>(Vec<(String, &'d RawValue)>);

impl<'de: 'd, 'd> Deserialize<'de> for Members<'d> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Collect).map(Members)
    }
}

/// How far a pointer leads.
enum Place<'d, 'p> {
    /// To this value.
    Value(&'d RawValue),
    /// To this object, which lacks the rest.
    Missing(&'d RawValue, &'p [String]),
}

pub(super) fn get(document: &str, pointer: &Pointer) -> Result<Read, Problem> {
    if document.trim().is_empty() {
        return Ok(Read::Missing);
    }
    Ok(match find(document, pointer)? {
        Place::Missing(..) => Read::Missing,
        Place::Value(raw) => serde_json::from_str::<String>(raw.get()).map_or(Read::Disputed, |text| found(&text)),
    })
}

pub(super) fn edit(document: &str, pointer: &Pointer, value: &str) -> Result<Edit, Problem> {
    if document.trim().is_empty() {
        return Ok(Edit::new(0..document.len(), format!("{}\n", nested(pointer.tokens(), value))));
    }
    match find(document, pointer)? {
        Place::Value(raw) if raw.get().starts_with(['{', '[']) => {
            Err(compound(document, span(document, raw).start, pointer))
        }
        Place::Value(raw) => Ok(Edit::new(span(document, raw), quoted(value).as_str())),
        Place::Missing(object, rest) => {
            let at = span(document, object).start + 1;
            // An object that spans lines gets a member in a line of its own.
            let inner = &document[at..];
            let blanks = &inner[..inner.len() - inner.trim_start().len()];
            let (key, below) = (quoted(&rest[0]), nested(&rest[1..], value));
            let (key, below) = (key.as_str(), below.as_str());
            if inner[blanks.len()..].starts_with('}') {
                return Ok(Edit::new(at..at + blanks.len(), format!("{key}: {below}")));
            }
            let between = if blanks.is_empty() { " " } else { blanks };
            let at = at + blanks.len();
            Ok(Edit::new(at..at, format!("{key}: {below},{between}")))
        }
    }
}

/// Takes out the member that the pointer leads to.
pub(super) fn cut(document: &str, pointer: &Pointer) -> Result<Edit, Problem> {
    let (object, members, name) = surroundings(document, pointer)?;
    let whole = span(document, object);
    let at = members.iter().position(|(known, _)| known == name).ok_or_else(|| entangled(pointer))?;
    let end = |at: usize| span(document, members[at].1).end;
    // Nothing but a comma and blanks is before a name.
    let begin = |at: usize| {
        let from = if at == 0 { whole.start + 1 } else { end(at - 1) };
        document[from..].find('"').map(|found| from + found)
    };
    let (start, end) = match (at, members.len() - at - 1) {
        (0, 0) => (whole.start + 1, whole.end - 1),
        (at, 0) => (end(at - 1), end(at)),
        (at, _) => begin(at).zip(begin(at + 1)).ok_or_else(|| entangled(pointer))?,
    };
    Ok(Edit::new(start..end, ""))
}

/// Whether nothing but the member at `pointer` is gone.
pub(super) fn is_cut(before: &str, after: &str, pointer: &Pointer) -> Result<bool, Problem> {
    let (_, mut known, name) = surroundings(before, pointer)?;
    let (_, rest, _) = surroundings(after, pointer)?;
    known.retain(|(known, _)| known != name);
    let texts = |members: Vec<(String, &RawValue)>| -> Vec<_> {
        members.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect()
    };
    Ok(texts(known) == texts(rest))
}

/// The object that a pointer leads into, its members, and the name of the member.
type Surroundings<'d, 'p> = (&'d RawValue, Vec<(String, &'d RawValue)>, &'p String);

fn surroundings<'d, 'p>(document: &'d str, pointer: &'p Pointer) -> Result<Surroundings<'d, 'p>, Problem> {
    let (name, way) = pointer.tokens().split_last().ok_or_else(|| entangled(pointer))?;
    let Place::Value(object) = find_along(document, pointer, way)? else { return Err(entangled(pointer)) };
    if object.get().starts_with('[') {
        return Err(listed(pointer));
    }
    let Members(members) = serde_json::from_str(object.get()).map_err(|_| entangled(pointer))?;
    Ok((object, members, name))
}

/// `value` below objects with one member each.
fn nested(keys: &[String], value: &str) -> String {
    match keys.split_first() {
        Some((key, rest)) => format!("{{{}: {}}}", quoted(key).as_str(), nested(rest, value)),
        None => quoted(value).as_str().to_owned(),
    }
}

fn find<'d, 'p>(document: &'d str, pointer: &'p Pointer) -> Result<Place<'d, 'p>, Problem> {
    find_along(document, pointer, pointer.tokens())
}

/// Goes `way`, the first tokens of the pointer.
fn find_along<'d, 'p>(document: &'d str, pointer: &Pointer, way: &'p [String]) -> Result<Place<'d, 'p>, Problem> {
    let mut raw: &RawValue = serde_json::from_str(document)
        .map_err(|error| Problem::new(error.line(), format!("it is not JSON (column {})", error.column())))?;
    for (depth, token) in way.iter().enumerate() {
        let line = line_of(document.as_bytes(), span(document, raw).start);
        if raw.get().starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
            let item = match token.split_once('=') {
                Some((key, wanted)) => items.iter().copied().find(|item| {
                    let members = serde_json::from_str::<Members<'_>>(item.get()).map(|it| it.0).unwrap_or_default();
                    let mut named = members.into_iter().filter(|(name, _)| name == key);
                    named.any(|(_, value)| serde_json::from_str::<String>(value.get()).is_ok_and(|it| it == wanted))
                }),
                None => token.parse().ok().and_then(|at: usize| items.get(at).copied()),
            };
            raw = item.ok_or_else(|| Problem::new(line, format!("{pointer}: the list has no item {token}")))?;
            continue;
        }
        let members = serde_json::from_str::<Members<'d>>(raw.get());
        let Ok(Members(members)) = members else {
            return Err(Problem::new(line, format!("{pointer} leads through a value that is no table")));
        };
        let mut named = members.into_iter().filter(|(name, _)| name == token);
        match (named.next(), named.next()) {
            (Some((_, member)), None) => raw = member,
            (None, _) => return Ok(Place::Missing(raw, &way[depth..])),
            (Some(_), Some((_, second))) => {
                let line = line_of(document.as_bytes(), span(document, second).start);
                return Err(Problem::new(line, format!("\"{token}\" of {pointer} is there twice: remove one")));
            }
        }
    }
    Ok(Place::Value(raw))
}

/// Where `raw`, a part of `document`, is in it.
fn span(document: &str, raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - document.as_ptr().addr();
    start..start + raw.get().len()
}
