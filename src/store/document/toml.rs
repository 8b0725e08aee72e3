//! TOML, with its comments.

use toml_edit::{DocumentMut, Item, TableLike, Value};
use zeroize::Zeroizing;

use super::{Problem, Read, Text, found, line_of};
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
