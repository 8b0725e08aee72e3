//! TOML, with its comments.

use toml::de::{DeTable, DeValue};
use toml_edit::{DocumentMut, Item, TableLike, Value};
use zeroize::Zeroizing;

use super::{Problem, Read, Text, entangled, found, line_of, listed};
use crate::inventory::Pointer;

pub(super) fn get(text: &str, pointer: &Pointer) -> Result<Read, Problem> {
    let document = parse(text)?;
    let mut item = document.as_item();
    for token in pointer.tokens() {
        match child(item, token, pointer)? {
            Some(found) => item = found,
            None => return Ok(Read::Missing),
        }
    }
    Ok(item.as_str().map_or(Read::Disputed, found))
}

pub(super) fn set(text: &str, pointer: &Pointer, value: &str) -> Result<Text, Problem> {
    let mut document = parse(text)?;
    if document.to_string() != text {
        return Err(Problem::new(1, "it would not be written as it was read"));
    }
    let Some((last, tables)) = pointer.tokens().split_last() else {
        return Err(Problem::new(1, "the pointer is empty"));
    };
    let mut item = document.as_item_mut();
    for token in tables {
        if item.is_array_of_tables() {
            item = at(item, token).ok_or_else(|| no_item(pointer, token))?;
            continue;
        }
        let table = item.as_table_like_mut().ok_or_else(|| no_table(pointer))?;
        item = entry(table, token);
    }
    let table = item.as_table_like_mut().ok_or_else(|| no_table(pointer))?;
    match table.get_mut(last) {
        Some(Item::Value(old)) if !old.is_array() && !old.is_inline_table() => {
            let decor = old.decor().clone();
            *old = Value::from(value);
            *old.decor_mut() = decor;
        }
        Some(Item::None) | None => drop(table.insert(last, toml_edit::value(value))),
        Some(_) => return Err(Problem::new(1, format!("{pointer} is a table or a list, which is not replaced"))),
    }
    Ok(Zeroizing::new(document.to_string().into_bytes()))
}

/// The document without the entry that the pointer leads to.
pub(super) fn cut(text: &str, pointer: &Pointer) -> Result<Text, Problem> {
    let (last, way) = pointer.tokens().split_last().ok_or_else(|| entangled(pointer))?;
    if let Some((start, end)) = line(text, way, last) {
        return Ok(Zeroizing::new([&text.as_bytes()[..start], &text.as_bytes()[end..]].concat()));
    }
    // One of several in a line.
    let mut document = parse(text)?;
    let mut item = document.as_item_mut();
    for token in way {
        item = if item.is_array_of_tables() { at(item, token) } else { item.get_mut(token.as_str()) }
            .ok_or_else(|| entangled(pointer))?;
    }
    let table = item.as_table_like_mut().ok_or_else(|| listed(pointer))?;
    table.remove(last).ok_or_else(|| entangled(pointer))?;
    Ok(Zeroizing::new(document.to_string().into_bytes()))
}

/// Whether nothing but the entry at `pointer` is gone.
pub(super) fn is_cut(before: &str, after: &str, pointer: &Pointer) -> Result<bool, Problem> {
    let table = |text: &str| toml::from_str::<toml::Table>(text).map_err(|_| entangled(pointer));
    let (mut known, rest) = (toml::Value::Table(table(before)?), toml::Value::Table(table(after)?));
    let (last, way) = pointer.tokens().split_last().ok_or_else(|| entangled(pointer))?;
    let mut value = &mut known;
    for token in way {
        value = match value {
            toml::Value::Array(items) => token.parse().ok().and_then(|at: usize| items.get_mut(at)),
            value => value.get_mut(token.as_str()),
        }
        .ok_or_else(|| entangled(pointer))?;
    }
    let gone = value.as_table_mut().and_then(|table| table.remove(last));
    Ok(gone.is_some() && known == rest)
}

/// The lines that hold an entry and nothing else but a comment.
fn line(text: &str, way: &[String], last: &str) -> Option<(usize, usize)> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut way = way.iter();
    while let Some(token) = way.next() {
        let value = match table.get(token.as_str())?.get_ref() {
            DeValue::Array(items) => items.get(way.next()?.parse::<usize>().ok()?)?.get_ref(),
            value => value,
        };
        let DeValue::Table(inner) = value else { return None };
        table = inner;
    }
    let (key, value) = table.get_key_value(last)?;
    let (key, value) = (key.span(), value.span());
    let start = text[..key.start].rfind('\n').map_or(0, |end| end + 1);
    let end = text[value.end..].find('\n').map_or(text.len(), |end| value.end + end + 1);
    let after = text[value.end..end].trim();
    let alone = text[start..key.start].trim().is_empty() && (after.is_empty() || after.starts_with('#'));
    alone.then_some((start, end))
}

fn parse(text: &str) -> Result<DocumentMut, Problem> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        let line = error.span().map_or(1, |span| line_of(text.as_bytes(), span.start));
        Problem::new(line, "it is not TOML")
    })
}

/// What `item` has under `token`. `None`: nothing.
fn child<'i>(item: &'i Item, token: &str, pointer: &Pointer) -> Result<Option<&'i Item>, Problem> {
    if let Some(tables) = item.as_array_of_tables() {
        let known = token.parse().is_ok_and(|at: usize| at < tables.len());
        return if known {
            Ok(item.get(token.parse::<usize>().unwrap_or_default()))
        } else {
            Err(no_item(pointer, token))
        };
    }
    let table: &dyn TableLike = item.as_table_like().ok_or_else(|| no_table(pointer))?;
    Ok(table.get(token).filter(|item| !item.is_none()))
}

fn at<'i>(item: &'i mut Item, token: &str) -> Option<&'i mut Item> {
    let at: usize = token.parse().ok()?;
    item.get_mut(at)
}

/// The table of this name, made where it is missing.
fn entry<'t>(table: &'t mut dyn TableLike, token: &str) -> &'t mut Item {
    table.entry(token).or_insert_with(toml_edit::table)
}

fn no_table(pointer: &Pointer) -> Problem {
    Problem::new(1, format!("{pointer} leads through a value that is no table"))
}

fn no_item(pointer: &Pointer, token: &str) -> Problem {
    Problem::new(1, format!("{pointer}: the list has no item {token}"))
}
