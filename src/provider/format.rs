//! Answers in XML, which are brought into JSON before anything is read out of them.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::Event;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use super::extract::Wiped;
use super::model::AnswerFormat;
use super::resolved::Provider;
use super::{Operation, Response};

/// Deeper answers are none that anybody means.
const DEEPEST: usize = 64;

/// A larger answer is not taken apart: as a tree it could take a hundred times its size.
const LARGEST: usize = 1024 * 1024;

impl Provider {
    /// The answer to `operation` in the form in which it is read: one in XML becomes JSON. An answer that is not what the
    /// definition says stays as it is, and is not understood.
    pub fn readable<'r>(&self, operation: Operation, response: &'r Response) -> Cow<'r, Response> {
        let call = self.call(operation).ok();
        if call.is_none_or(|call| call.format != AnswerFormat::Xml) {
            return Cow::Borrowed(response);
        }
        let items = call.and_then(|call| call.listing.as_ref()).map(|listing| listing.items.as_str());
        let Some(mut value) = from_xml(&response.body) else { return Cow::Borrowed(response) };
        if let Some(one) = items.and_then(|items| value.0.pointer_mut(items)).filter(|value| !value.is_array()) {
            *one = Value::Array(if is_blank(one) { Vec::new() } else { vec![one.take()] });
        }
        let Ok(body) = serde_json::to_vec(&value.0) else { return Cow::Borrowed(response) };
        // What it was declared to be says nothing of what it is now.
        let mut headers = response.headers.clone();
        headers.remove(CONTENT_TYPE);
        Cow::Owned(Response { status: response.status, headers, body: Zeroizing::new(body) })
    }
}

/// A list without entries is an element without content.
fn is_blank(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// An element that is being read.
struct Element {
    name: String,
    text: Zeroizing<String>,
    children: Map<String, Value>,
}

impl Element {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), text: Zeroizing::default(), children: Map::new() }
    }

    fn add(&mut self, name: String, value: Value) {
        match self.children.get_mut(&name) {
            None => drop(self.children.insert(name, value)),
            Some(Value::Array(items)) => items.push(value),
            Some(first) => {
                let first_value = first.take();
                *first = Value::Array(vec![first_value, value]);
            }
        }
    }

    fn end(mut self) -> (String, Value) {
        let children = std::mem::take(&mut self.children);
        let value = if children.is_empty() { Value::from(self.text.trim()) } else { Value::Object(children) };
        (self.name, value)
    }
}

/// A document as a table with its root element. Attributes and namespaces are left out; there is no way to define
/// entities, so nothing grows.
fn from_xml(body: &[u8]) -> Option<Wiped> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= LARGEST)?;
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::new("")];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                open.push(Element::new(start.local_name().as_ref()));
                if open.len() > DEEPEST {
                    return None;
                }
            }
            Event::Empty(start) => open.last_mut()?.add(start.local_name().as_ref().to_owned(), Value::from("")),
            Event::End(_) => {
                let (name, value) = open.pop()?.end();
                open.last_mut()?.add(name, value);
            }
            Event::Text(text) => {
                let mut content = text.xml10_content().into_owned();
                open.last_mut()?.text.push_str(&content);
                content.zeroize();
            }
            Event::CData(text) => open.last_mut()?.text.push_str(&text),
            Event::GeneralRef(entity) => {
                let resolved = match entity.resolve_char_ref().ok()? {
                    Some(c) => c,
                    None => named(&entity)?,
                };
                open.last_mut()?.text.push(resolved);
            }
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {}
        }
    }
    let root = (open.len() == 1).then(|| open.pop()).flatten()?;
    // A page for people comes from something in front of the service.
    let html = root.children.keys().any(|name| name.eq_ignore_ascii_case("html"));
    (!html && !root.children.is_empty()).then(|| Wiped(Value::Object(root.children)))
}

/// The entities that XML itself knows.
fn named(entity: &str) -> Option<char> {
    Some(match entity {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_become_tables_texts_and_lists() {
        for (sentence, xml, wanted) in [
            ("a text", "<a> x &amp; &#121; </a>", Some(json!({ "a": "x & y" }))),
            (
                "elements",
                "<?xml version=\"1.0\"?><n:a xmlns:n=\"u\"><b>1</b><c/></n:a>",
                Some(json!({ "a": { "b": "1", "c": "" } })),
            ),
            ("elements of one name", "<a><b>1</b><b>2</b><b>3</b></a>", Some(json!({ "a": { "b": ["1", "2", "3"] } }))),
            ("cut off", "<a><b>1</b>", None),
            ("a page for people", "<!DOCTYPE html><html><body>x</body></html>", None),
            ("an entity of its own", "<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>", None),
            ("no XML", "{}", None),
            ("nothing", "", None),
        ] {
            assert_eq!(from_xml(xml.as_bytes()).map(|value| value.0.clone()), wanted, "{sentence}");
        }
        let deep = "<a>".repeat(DEEPEST + 1) + &"</a>".repeat(DEEPEST + 1);
        assert!(from_xml(deep.as_bytes()).is_none(), "too deep");
    }
}
