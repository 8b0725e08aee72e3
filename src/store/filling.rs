//! Texts that a template makes of values, and the values that are read back out of them. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::document::percent::{percent_decoded, percent_encoded};
use super::env_file::{Read, Text};
use crate::inventory::{Piece, Quoting, Template, TemplateSlot};
use crate::secret::Secret;

/// Values by the names that a template has for them.
pub type Values = BTreeMap<String, Secret>;

/// Whether each place of `name` can hold the value.
pub fn check_value(value: &str, slot: &TemplateSlot) -> Result<(), String> {
    slot.template.pieces().iter().try_for_each(|piece| match piece {
        Piece::Value(name, quoting) if *name == slot.name => quoted(value, quoting).map(drop),
        Piece::Value(..) | Piece::Text(_) => Ok(()),
    })
}

/// What the slot holds.
pub fn get(document: &[u8], slot: &TemplateSlot) -> Read {
    match read(document, &slot.template) {
        Some(values) => values
            .get(&slot.name)
            .map_or(Read::Disputed, |value| Read::Value(Zeroizing::new(value.expose().as_bytes().to_vec()))),
        None => Read::Disputed,
    }
}

/// The text with all values. Fails in words that complete "FILE …".
pub fn render<'v>(template: &Template, value: impl Fn(&str) -> Option<&'v Secret>) -> Result<Text, String> {
    let mut text = Zeroizing::new(Vec::new());
    for piece in template.pieces() {
        match piece {
            Piece::Text(piece) => text.extend_from_slice(piece.as_bytes()),
            Piece::Value(name, quoting) => {
                let value = value(name).ok_or_else(|| format!("lacks a value for \"{name}\""))?;
                let quoted = quoted(value.expose(), quoting).map_err(|why| format!("cannot hold \"{name}\": {why}"))?;
                text.extend_from_slice(quoted.as_bytes());
            }
        }
    }
    Ok(text)
}

/// The values of a text of the template. `None`: it is no such text.
pub fn read(document: &[u8], template: &Template) -> Option<Values> {
    let mut rest = str::from_utf8(document).ok()?;
    let mut values = Values::new();
    let mut pieces = template.pieces().iter().peekable();
    while let Some(piece) = pieces.next() {
        let (name, quoting) = match piece {
            Piece::Text(text) => {
                rest = rest.strip_prefix(text.as_str())?;
                continue;
            }
            Piece::Value(name, quoting) => (name, quoting),
        };
        let written = match pieces.next() {
            None => std::mem::take(&mut rest),
            Some(Piece::Text(text)) => {
                let last = pieces.peek().is_none();
                let (written, after) =
                    if last { (rest.strip_suffix(text.as_str())?, "") } else { rest.split_once(text.as_str())? };
                rest = after;
                written
            }
            // Two values never stand side by side.
            Some(Piece::Value(..)) => return None,
        };
        let value = Secret::new(unquoted(written, quoting)?.as_str());
        match values.get(name) {
            Some(before) if before.expose() != value.expose() => return None,
            _ => drop(values.insert(name.clone(), value)),
        }
    }
    rest.is_empty().then_some(values)
}

/// What stands for a value; fails in words that complete "STORE: …".
fn quoted(value: &str, quoting: &Quoting) -> Result<Zeroizing<String>, String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    let text = match quoting {
        Quoting::Word if !value.chars().all(is_word) => {
            return Err("the value is no plain word: say how it is written, for example {{ NAME | json }}".to_owned());
        }
        Quoting::Pgpass if value.contains(['\n', '\r', '\0']) => {
            return Err("the value has a line end, which a password file cannot hold".to_owned());
        }
        Quoting::Word | Quoting::Raw => value.to_owned(),
        // YAML and TOML have no DEL in quotes as it is.
        Quoting::Json => serde_json::Value::from(value).to_string().replace('\u{7f}', "\\u007f"),
        Quoting::Pgpass => value.replace('\\', "\\\\").replace(':', "\\:"),
        Quoting::Base64 => STANDARD.encode(value),
        Quoting::Basic(user) => {
            let pair = Zeroizing::new(format!("{user}:{value}"));
            STANDARD.encode(pair.as_bytes())
        }
        Quoting::Url => return Ok(percent_encoded(value)),
    };
    Ok(Zeroizing::new(text))
}

/// The value that a text stands for.
fn unquoted(text: &str, quoting: &Quoting) -> Option<Zeroizing<String>> {
    let utf8 = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
    let value = match quoting {
        Quoting::Word | Quoting::Raw => text.to_owned(),
        Quoting::Json => serde_json::from_str(text).ok()?,
        Quoting::Pgpass => {
            let mut value = String::with_capacity(text.len());
            let mut chars = text.chars();
            while let Some(c) = chars.next() {
                value.push(if c == '\\' { chars.next()? } else { c });
            }
            value
        }
        Quoting::Base64 => utf8(STANDARD.decode(text).ok()?)?,
        Quoting::Basic(user) => {
            let pair = Zeroizing::new(utf8(STANDARD.decode(text).ok()?)?);
            pair.strip_prefix(user.as_str())?.strip_prefix(':')?.to_owned()
        }
        Quoting::Url => str::from_utf8(&percent_decoded(text)?).ok()?.to_owned(),
    };
    Some(Zeroizing::new(value))
}
