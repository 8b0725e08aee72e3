//! YAML 1.2, one document.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle};
use zeroize::Zeroizing;

use super::{Edit, Problem, Read, compound, entangled, found, line_of, listed, quoted};
use crate::inventory::Pointer;

/// A document as its parser tells it, with the bytes of each event.
struct Document<'d> {
    text: &'d str,
    events: Vec<(Event<'d>, Range<usize>)>,
}

/// How far a pointer leads.
enum Place<'p> {
    /// To the event with this number; `key` is where the key before it ends.
    Value { at: usize, key: Option<usize> },
    /// To the table that begins with this event, which lacks the rest.
    Missing { table: usize, rest: &'p [String] },
    /// The document has nothing in it.
    Empty,
}

pub(super) fn get(text: &str, pointer: &Pointer) -> Result<Read, Problem> {
    let document = Document::parse(text)?;
    Ok(match document.find(pointer)? {
        Place::Missing { .. } | Place::Empty => Read::Missing,
        Place::Value { at, .. } => match &document.events[at].0 {
            Event::Scalar(value, ScalarStyle::Plain, _, None) if !is_text(value) => Read::Disputed,
            Event::Scalar(value, _, _, None) => found(value),
            _ => Read::Disputed,
        },
    })
}

pub(super) fn edit(text: &str, pointer: &Pointer, value: &str) -> Result<Edit, Problem> {
    let document = Document::parse(text)?;
    let problem = |at: usize, why: &str| Problem::new(line_of(text.as_bytes(), at), format!("{pointer} {why}"));
    match document.find(pointer)? {
        Place::Value { at, key } => {
            let (event, span) = &document.events[at];
            match event {
                Event::Scalar(_, _, 1.., _) => Err(problem(span.start, "has an anchor, so that others refer to it")),
                Event::Scalar(_, _, _, Some(_)) => Err(problem(span.start, "has a tag, which is not replaced")),
                Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                    Err(problem(span.start, "is a block of text: write it in quotes once"))
                }
                Event::Scalar(..) if !span.is_empty() => Ok(Edit::new(span.clone(), quoted(value).as_str())),
                // Nothing after the colon.
                Event::Scalar(..) => {
                    let colon = key.and_then(|key| Some(key + text.get(key..)?.find(':')? + 1));
                    let at = colon.ok_or_else(|| problem(span.start, "is empty, and where it belongs is not clear"))?;
                    Ok(Edit::new(at..at, format!(" {}", quoted(value).as_str())))
                }
                Event::Alias(_) => Err(problem(span.start, "is an alias of something else")),
                _ => Err(compound(text, span.start, pointer)),
            }
        }
        Place::Missing { table, rest } => {
            let start = document.events[table].1.start;
            let entry = format!("{}: {}", key(&rest[0]), below(&rest[1..], value).as_str());
            if text[start..].starts_with('{') {
                let empty = text[start + 1..].trim_start().starts_with('}');
                return Ok(Edit::new(start + 1..start + 1, if empty { entry } else { format!("{entry}, ") }));
            }
            // Before the first key, in a line of its own, as far in as that one.
            let first = document.events.get(table + 1).map_or(start, |(_, span)| span.start);
            let line = text[..first].rfind('\n').map_or(0, |end| end + 1);
            let indent = &text[line..first];
            if !indent.bytes().all(|byte| byte == b' ') {
                return Err(problem(first, "is not there: write it by hand once, with any value in quotes"));
            }
            let end =
                if text[line..].lines().next().is_some_and(|first| first.ends_with('\r')) { "\r\n" } else { "\n" };
            Ok(Edit::new(line..line, format!("{indent}{entry}{end}")))
        }
        Place::Empty => {
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            let at = text.len();
            Ok(Edit::new(
                at..at,
                format!("{end}{}: {}\n", key(&pointer.tokens()[0]), below(&pointer.tokens()[1..], value).as_str()),
            ))
        }
    }
}

/// Takes out the entry that the pointer leads to.
pub(super) fn cut(text: &str, pointer: &Pointer) -> Result<Edit, Problem> {
    let document = Document::parse(text)?;
    let entry = document.entry(pointer)?;
    let (event, value) = &document.events[entry.value];
    // What others refer to, and blocks of text, whose end is a matter of indentation.
    if !matches!(event, Event::Scalar(_, style, 0, None) if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded))
    {
        return Err(entangled(pointer));
    }
    let start = document.events[entry.key].1.start;
    let next = document.events.get(entry.value + 1).filter(|(event, _)| *event != Event::MappingEnd);
    let next = next.map(|(_, span)| span.start);
    let first = entry.key == entry.table + 1;
    let flow = text[document.events[entry.table].1.start..].starts_with('{');
    match (flow, first, next) {
        (true, true, None) => return Ok(Edit::new(start..value.end, "")),
        (true, _, Some(next)) => return Ok(Edit::new(start..next, "")),
        (true, false, None) => return Ok(Edit::new(document.events[entry.key - 1].1.end..value.end, "")),
        // A block has at least one entry.
        (false, true, None) => return Ok(Edit::new(start..value.end, "{}")),
        (false, ..) => {}
    }
    let line = text[..start].rfind('\n').map_or(0, |end| end + 1);
    let end = text[value.end..].find('\n').map_or(text.len(), |end| value.end + end + 1);
    let after = text[value.end..end].trim();
    if !(after.is_empty() || after.starts_with('#')) {
        return Err(entangled(pointer));
    }
    match next {
        _ if text[line..start].bytes().all(|byte| byte == b' ') => Ok(Edit::new(line..end, "")),
        // The first entry of an item: the second comes up to its dash.
        Some(next) if text.get(end..next).is_some_and(|between| between.trim().is_empty()) => {
            Ok(Edit::new(start..next, ""))
        }
        _ => Err(entangled(pointer)),
    }
}

/// Whether nothing but the entry at `pointer` is gone, by what a parser makes of the documents.
pub(super) fn is_cut(before: &str, after: &str, pointer: &Pointer) -> Result<bool, Problem> {
    let (before, after) = (Document::parse(before)?, Document::parse(after)?);
    let entry = before.entry(pointer)?;
    let known = before.events.iter().enumerate().filter(|(at, _)| !(entry.key..=entry.value).contains(at));
    Ok(known.map(|(_, (event, _))| event).eq(after.events.iter().map(|(event, _)| event)))
}

/// A key of a table, and its value: numbers of events.
struct Entry {
    table: usize,
    key: usize,
    value: usize,
}

/// Whether nothing but the value at `pointer` differs between the documents, by what a parser makes of them.
pub(super) fn check(before: &str, after: &str, pointer: &Pointer) -> Result<(), Problem> {
    let (before, after) = (Document::parse(before)?, Document::parse(after)?);
    let unsafe_edit = || Problem::new(1, format!("{pointer} cannot be edited without changing something else"));
    let Place::Value { at, .. } = after.find(pointer)? else { return Err(unsafe_edit()) };
    let mut rest: Vec<_> = after.events.iter().map(|(event, _)| event).collect();
    match before.find(pointer)? {
        Place::Value { at: old, .. } if old == at => {
            let mut known: Vec<_> = before.events.iter().map(|(event, _)| event).collect();
            rest.remove(at);
            known.remove(old);
            if rest == known { Ok(()) } else { Err(unsafe_edit()) }
        }
        Place::Value { .. } => Err(unsafe_edit()),
        Place::Missing { table, rest: missing } => {
            // The key, and what is below it.
            let length = 2 * missing.len() + (missing.len() - 1);
            rest.drain(table + 1..(table + 1 + length).min(rest.len()));
            let known: Vec<_> = before.events.iter().map(|(event, _)| event).collect();
            if rest == known { Ok(()) } else { Err(unsafe_edit()) }
        }
        Place::Empty => Ok(()),
    }
}

impl<'d> Document<'d> {
    fn parse(text: &'d str) -> Result<Self, Problem> {
        // The parser counts characters.
        let mut offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        offsets.push(text.len());
        let offset = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
        let mut events = Vec::new();
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = event
                .map_err(|error| Problem::new(error.marker().line(), format!("it is not YAML: {}", error.info())))?;
            documents += usize::from(matches!(event, Event::DocumentStart(_)));
            let counts = !matches!(
                event,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd
            );
            if counts {
                events.push((event, offset(span.start.index())..offset(span.end.index())));
            }
        }
        if documents > 1 {
            return Err(Problem::new(1, "it has several documents"));
        }
        Ok(Self { text, events })
    }

    /// Where the entry is that a pointer leads to; its value is one event.
    fn entry(&self, pointer: &Pointer) -> Result<Entry, Problem> {
        let Place::Value { at: value, .. } = self.find(pointer)? else { return Err(entangled(pointer)) };
        let table = self.around(value).ok_or_else(|| entangled(pointer))?;
        match self.events[table].0 {
            Event::MappingStart(..) => Ok(Entry { table, key: value - 1, value }),
            _ => Err(listed(pointer)),
        }
    }

    /// The beginning of the table or the list that event `inner` is in.
    fn around(&self, inner: usize) -> Option<usize> {
        let mut closed = 0_usize;
        for (at, (event, _)) in self.events[..inner].iter().enumerate().rev() {
            match event {
                Event::MappingEnd | Event::SequenceEnd => closed += 1,
                Event::MappingStart(..) | Event::SequenceStart(..) if closed == 0 => return Some(at),
                Event::MappingStart(..) | Event::SequenceStart(..) => closed -= 1,
                _ => {}
            }
        }
        None
    }

    fn find<'p>(&self, pointer: &'p Pointer) -> Result<Place<'p>, Problem> {
        let (mut at, mut key) = (0, None);
        let empty = match self.events.first() {
            None => true,
            Some((Event::Scalar(value, ScalarStyle::Plain, ..), span)) => span.is_empty() || &**value == "~",
            Some(_) => false,
        };
        if empty {
            return Ok(Place::Empty);
        }
        for (depth, token) in pointer.tokens().iter().enumerate() {
            let (event, span) = &self.events[at];
            let problem = |why: String| Problem::new(line_of(self.text.as_bytes(), span.start), why);
            match event {
                Event::MappingStart(..) => {
                    let mut found = None;
                    let mut next = at + 1;
                    while let Some((event, span)) = self.events.get(next).filter(|(it, _)| *it != Event::MappingEnd) {
                        let value = self.after(next);
                        if matches!(event, Event::Scalar(name, ..) if **name == **token) {
                            if found.is_some() {
                                let line = line_of(self.text.as_bytes(), span.start);
                                let why = format!("\"{token}\" of {pointer} is there twice: remove one");
                                return Err(Problem::new(line, why));
                            }
                            found = Some((value, span.end));
                        }
                        next = self.after(value);
                    }
                    let Some((value, end)) = found else {
                        return Ok(Place::Missing { table: at, rest: &pointer.tokens()[depth..] });
                    };
                    (at, key) = (value, Some(end));
                }
                Event::SequenceStart(..) => {
                    let wanted: Option<usize> = token.parse().ok();
                    let named = token.split_once('=');
                    let mut next = at + 1;
                    for _ in 0..wanted.unwrap_or(usize::MAX) {
                        let ends = self.events.get(next).is_none_or(|(event, _)| *event == Event::SequenceEnd);
                        if ends || named.is_some_and(|(key, value)| self.has(next, key, value)) {
                            break;
                        }
                        next = self.after(next);
                    }
                    if self.events.get(next).is_none_or(|(event, _)| *event == Event::SequenceEnd) {
                        return Err(problem(format!("{pointer}: the list has no item {token}")));
                    }
                    (at, key) = (next, None);
                }
                Event::Alias(_) => return Err(problem(format!("{pointer} leads through an alias"))),
                _ => return Err(problem(format!("{pointer} leads through a value that is no table"))),
            }
        }
        Ok(Place::Value { at, key })
    }

    /// Whether the node that begins with `at` is a table that has `value` under `key`.
    fn has(&self, at: usize, key: &str, value: &str) -> bool {
        let is =
            |at: usize, text: &str| matches!(self.events.get(at), Some((Event::Scalar(it, ..), _)) if **it == *text);
        if !matches!(self.events.get(at), Some((Event::MappingStart(..), _))) {
            return false;
        }
        let mut next = at + 1;
        while self.events.get(next).is_some_and(|(event, _)| *event != Event::MappingEnd) {
            let entry = self.after(next);
            if is(next, key) && is(entry, value) {
                return true;
            }
            next = self.after(entry);
        }
        false
    }

    /// The event after the node that begins with `at`.
    fn after(&self, at: usize) -> usize {
        let mut depth = 0_usize;
        for (next, (event, _)) in self.events.iter().enumerate().skip(at) {
            match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return next + 1;
            }
        }
        self.events.len()
    }
}

/// Whether every reader takes a plain scalar for text, and none for a number, a truth or nothing.
fn is_text(plain: &str) -> bool {
    const WORDS: [&str; 12] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf", "~"];
    plain.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && !WORDS.iter().any(|word| plain.eq_ignore_ascii_case(word))
}

fn key(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if plain && is_text(name) { name.to_owned() } else { quoted(name).as_str().to_owned() }
}

/// `value` below tables with one key each.
fn below(keys: &[String], value: &str) -> Zeroizing<String> {
    match keys.split_first() {
        Some((first, rest)) => Zeroizing::new(format!("{{{}: {}}}", key(first), below(rest, value).as_str())),
        None => quoted(value),
    }
}
