//! One text of an XML document, by a path of elements: `/settings/servers/server[id=ci]/password`.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::Event;
use zeroize::Zeroizing;

use super::{Edit, Problem, Read, line_of};
use crate::inventory::{XmlPath, XmlStep};

/// An element with the place of what it holds.
struct Element {
    name: String,
    /// Of its start tag.
    at: usize,
    /// Between its tags; of `<a/>`, the whole tag.
    inner: Range<usize>,
    /// `<a/>`.
    is_empty: bool,
    children: Vec<Element>,
}

/// Whether a document of text can hold the value; in words that complete "STORE: …".
pub(super) fn check_value(value: &str) -> Result<(), String> {
    let fits = |c: char| matches!(c, '\t' | '\n') || !c.is_control();
    if !value.chars().all(fits) {
        return Err("the value has a control character, which XML cannot hold".to_owned());
    }
    Ok(())
}

pub(super) fn get(text: &str, path: &XmlPath) -> Result<Read, Problem> {
    if text.trim().is_empty() {
        return Ok(Read::Missing);
    }
    let root = parse(text)?;
    Ok(match find(text, &root, path)? {
        Place::Missing(_) => Read::Missing,
        Place::Element(element) if !element.children.is_empty() => Read::Disputed,
        Place::Element(element) if element.is_empty => super::found(""),
        Place::Element(element) => plain(&text[element.inner.clone()]).map_or(Read::Disputed, |it| super::found(&it)),
    })
}

pub(super) fn edit(text: &str, path: &XmlPath, value: &str) -> Result<Edit, Problem> {
    let problem = |at: usize, why: String| Problem::new(line_of(text.as_bytes(), at), why);
    if text.trim().is_empty() {
        return Err(problem(0, format!("it is empty: make a document with all of {path} but its last element")));
    }
    let root = parse(text)?;
    match find(text, &root, path)? {
        Place::Element(element) if !element.children.is_empty() => {
            Err(problem(element.at, format!("{path} has elements of its own, which are not replaced")))
        }
        Place::Element(element) if element.is_empty => {
            let tag = text[element.inner.clone()].trim_end_matches("/>").trim_end();
            let name = &element.name;
            Ok(Edit::new(element.inner.clone(), format!("{tag}>{}</{name}>", escaped(value).as_str())))
        }
        Place::Element(element) if plain(&text[element.inner.clone()]).is_none() => {
            Err(problem(element.at, format!("{path} has a comment or a marked section in it: write plain text once")))
        }
        Place::Element(element) => Ok(Edit::new(element.inner.clone(), escaped(value).as_str())),
        Place::Missing(parent) => {
            let Some(XmlStep { name, with: None }) = path.steps().last() else {
                return Err(problem(parent.at, format!("{path} is not there: write it by hand once, with any value")));
            };
            if parent.is_empty {
                return Err(problem(parent.at, format!("{path} is not there: write it by hand once, with any value")));
            }
            // Behind the last element, as far in as that one.
            let (at, indent) = match parent.children.last() {
                Some(last) => {
                    let end = text[last.inner.end..]
                        .find('>')
                        .filter(|_| !last.is_empty)
                        .map_or(last.inner.end, |end| last.inner.end + end + 1);
                    let line = text[..last.at].rfind('\n').map_or(last.at, |newline| newline);
                    let indent = &text[line..last.at];
                    (end, if indent.trim().is_empty() { indent } else { "" })
                }
                None => (parent.inner.start, ""),
            };
            Ok(Edit::new(at..at, format!("{indent}<{name}>{}</{name}>", escaped(value).as_str())))
        }
    }
}

enum Place<'e> {
    Element(&'e Element),
    /// All but the last step is there.
    Missing(&'e Element),
}

fn find<'e>(text: &str, root: &'e Element, path: &XmlPath) -> Result<Place<'e>, Problem> {
    let problem = |at: usize, why: String| Problem::new(line_of(text.as_bytes(), at), why);
    let mut steps = path.steps().iter();
    let first = steps.next();
    if first.is_none_or(|step| step.name != root.name) {
        return Err(problem(root.at, format!("its outermost element is {}, not the one of {path}", root.name)));
    }
    let mut element = root;
    let last = path.steps().len() - 1;
    for (depth, step) in steps.enumerate() {
        let fits = |child: &&Element| {
            child.name == step.name
                && step.with.as_ref().is_none_or(|(name, value)| {
                    child.children.iter().any(|inner| {
                        inner.name == *name
                            && plain(&text[inner.inner.clone()]).is_some_and(|it| it.trim() == value.as_str())
                    })
                })
        };
        let mut found = element.children.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(child), None) => element = child,
            (Some(_), Some(second)) => {
                return Err(problem(
                    second.at,
                    format!("{} of {path} is there twice: say which, or remove one", step.name),
                ));
            }
            (None, _) if depth + 1 == last => return Ok(Place::Missing(element)),
            (None, _) => {
                let why = format!("{} of {path} is not there: write it by hand once", step.name);
                return Err(problem(element.at, why));
            }
        }
    }
    Ok(Place::Element(element))
}

fn parse(text: &str) -> Result<Element, Problem> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let at = |reader: &Reader<&[u8]>| usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
    let broken = |at: usize| Problem::new(line_of(text.as_bytes(), at), "it is not well-formed XML");
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let start = at(&reader);
        let event = reader.read_event().map_err(|_| broken(start))?;
        let end = at(&reader);
        let closed = match event {
            Event::Start(tag) => {
                let name = tag.name().as_ref().to_owned();
                open.push(Element { name, at: start, inner: end..end, is_empty: false, children: Vec::new() });
                None
            }
            Event::Empty(tag) => {
                let name = tag.name().as_ref().to_owned();
                Some(Element { name, at: start, inner: start..end, is_empty: true, children: Vec::new() })
            }
            Event::End(_) => {
                let mut element = open.pop().ok_or_else(|| broken(start))?;
                element.inner.end = start;
                Some(element)
            }
            Event::Eof => break,
            _ => None,
        };
        if let Some(element) = closed {
            match open.last_mut() {
                Some(parent) => parent.children.push(element),
                None => root = Some(element),
            }
        }
    }
    root.filter(|_| open.is_empty()).ok_or_else(|| broken(text.len()))
}

/// The text that stands for, where it is nothing but text.
fn plain(inner: &str) -> Option<Zeroizing<String>> {
    if inner.contains('<') {
        return None;
    }
    quick_xml::escape::unescape(inner).ok().map(|text| Zeroizing::new(text.into_owned()))
}

fn escaped(value: &str) -> Zeroizing<String> {
    let mut escaped = Zeroizing::new(String::with_capacity(2 * value.len()));
    for c in value.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}
