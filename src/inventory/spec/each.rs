//! `for-each`: one `[token]` that stands for many alike.
//!
//! It is dealt with before anything is decoded: each name gets a table of its own, in which `{each}` is the name and
//! `{each.KEY}` what the list says of it. All of them stand at the place of the one that people wrote, and what is wrong with
//! one of them is told of the first.

use std::borrow::Cow;
use std::collections::HashSet;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::document::{Report, SourceId, Spot};

/// The key; in a table that was made of one, the name that it was made for.
pub(in crate::inventory) const KEY: &str = "for-each";

/// What the name is written as.
const NAME: &str = "{each}";
/// The beginning of what else may be said of it.
const VALUE: &str = "{each.";

/// About so much text may come of one table: a list that is too long for it is a mistake.
const LARGEST: usize = 256 * 1024 * 1024;

/// One name of a list, and what is said of it.
struct Each<'t> {
    name: Cow<'t, str>,
    values: DeTable<'t>,
    spot: Spot,
}

/// Puts a table for each name in the place of every token of a file that has `for-each`. What is wrong is reported.
pub(in crate::inventory) fn spread(file: &mut DeTable<'_>, source: SourceId, report: &Report) {
    let Some(tokens) = file.get_mut("token") else { return };
    let spot = |span| Spot::new(source, span);
    match tokens.get_mut() {
        DeValue::Array(listed) if listed.iter().any(is_spread) => {
            for token in std::mem::replace(listed, DeArray::new()) {
                if !is_spread(&token) {
                    listed.push(token);
                    continue;
                }
                let name = token.get_ref().get("name").and_then(|name| Some((name.get_ref().as_str()?, name.span())));
                let Some((name, at)) = name else {
                    // Reported where its name is missed.
                    listed.push(token);
                    continue;
                };
                if varies(name, spot(at), report) {
                    let copies = copies(token, source, report);
                    for (_, token) in copies {
                        listed.push(token);
                    }
                }
            }
        }
        DeValue::Table(named) if named.iter().any(|(_, token)| is_spread(token)) => {
            for (key, token) in std::mem::replace(named, DeTable::new()) {
                if !is_spread(&token) {
                    add(named, key, token, source, report);
                } else if varies(key.get_ref(), spot(key.span()), report) {
                    for (each, token) in copies(token, source, report) {
                        let name = each.fill(key.get_ref(), spot(key.span()), report);
                        add(named, Spanned::new(key.span(), Cow::Owned(name)), token, source, report);
                    }
                }
            }
        }
        _ => {}
    }
}

type Token<'t> = Spanned<DeValue<'t>>;

fn is_spread(token: &Token<'_>) -> bool {
    token.get_ref().as_table().is_some_and(|table| table.contains_key(KEY))
}

/// Adds a table of `[token]`; one of its name may be there already.
fn add<'t>(named: &mut DeTable<'t>, key: Spanned<Cow<'t, str>>, token: Token<'t>, source: SourceId, report: &Report) {
    if let Some((first, _)) = named.get_key_value(key.get_ref().as_ref()) {
        let message = format!("token \"{}\" is defined twice", key.get_ref());
        let help = format!("the first one is at {}", report.place(Spot::new(source, first.span())));
        report.error_with_help(Spot::new(source, key.span()), message, help);
        return;
    }
    named.insert(key, token);
}

/// Whether a name is another one for each of a list; reports where it is not.
fn varies(name: &str, spot: Spot, report: &Report) -> bool {
    let varies = name.contains(NAME) || name.contains(VALUE);
    if !varies {
        let message = format!("the tokens of a `{KEY}` would all be called \"{name}\"");
        report.error_with_help(spot, message, format!("write the name with {NAME} in it, such as \"{name}-{NAME}\""));
    }
    varies
}

/// A table for each name of its list.
fn copies<'t>(mut token: Token<'t>, source: SourceId, report: &Report) -> Vec<(Each<'t>, Token<'t>)> {
    let DeValue::Table(table) = token.get_mut() else { return Vec::new() };
    let Some((key, list)) = table.remove_entry(KEY) else { return Vec::new() };
    let spot = Spot::new(source, list.span());
    let Some(names) = names(list, source, report) else { return Vec::new() };
    if names.is_empty() {
        report.warning(spot, format!("`{KEY}` has no names: it makes no token"), "name some, or remove the token");
    }
    let weight = weight(token.get_ref());
    if names.len().saturating_mul(weight) > LARGEST {
        let message =
            format!("`{KEY}` makes {} tokens of a table of about {weight} bytes: that is too much", names.len());
        report.error_with_help(spot, message, "split it into several tables");
        return Vec::new();
    }
    let copies = names.into_iter().map(|each| {
        let mut copy = token.clone();
        each.fill_in(&mut copy, source, report);
        if let DeValue::Table(table) = copy.get_mut() {
            let name = DeValue::String(Cow::Owned(each.name.clone().into_owned()));
            table.insert(key.clone(), Spanned::new(key.span(), name));
        }
        (each, copy)
    });
    copies.collect()
}

/// The names of a list, or of a table that says more of each. `None`: it is neither.
fn names<'t>(list: Spanned<DeValue<'t>>, source: SourceId, report: &Report) -> Option<Vec<Each<'t>>> {
    const FORMS: &str = "write a list of names, or a table with a table for each name: { web = { team = \"a\" } }";
    let spot = Spot::new(source, list.span());
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    match list.into_inner() {
        DeValue::Array(listed) => {
            for name in listed {
                let spot = Spot::new(source, name.span());
                let DeValue::String(name) = name.into_inner() else {
                    report.error_with_help(spot, format!("`{KEY}` holds what is not a name"), FORMS);
                    return None;
                };
                if seen.insert(name.clone()) {
                    names.push(Each { name, values: DeTable::new(), spot });
                } else {
                    report.error_with_help(spot, format!("`{KEY}` names \"{name}\" twice"), "remove one of the two");
                }
            }
        }
        DeValue::Table(named) => {
            for (name, values) in named {
                let spot = Spot::new(source, name.span());
                let DeValue::Table(values) = values.into_inner() else {
                    report.error_with_help(spot, format!("`{KEY}` says no table of \"{}\"", name.get_ref()), FORMS);
                    return None;
                };
                names.push(Each { name: name.into_inner(), values, spot });
            }
        }
        _ => {
            report.error_with_help(spot, format!("`{KEY}` is neither a list nor a table"), FORMS);
            return None;
        }
    }
    Some(names)
}

/// About how much text a copy of it has.
fn weight(value: &DeValue<'_>) -> usize {
    const OWN: usize = 64;
    OWN + match value {
        DeValue::String(text) => text.len(),
        DeValue::Array(items) => items.iter().map(|item| weight(item.get_ref())).sum(),
        DeValue::Table(table) => table.iter().map(|(key, item)| key.get_ref().len() + weight(item.get_ref())).sum(),
        _ => 0,
    }
}

impl<'t> Each<'t> {
    /// Fills in every text of `value`.
    fn fill_in(&self, value: &mut Spanned<DeValue<'t>>, source: SourceId, report: &Report) {
        let spot = Spot::new(source, value.span());
        match value.get_mut() {
            DeValue::String(text) => {
                // Alone, it is what the list says, be it a number or a list: parameters have types.
                let alone = text.strip_prefix(VALUE).and_then(|rest| rest.strip_suffix('}'));
                if let Some(known) = alone.and_then(|key| self.values.get(key)) {
                    *value.get_mut() = known.get_ref().clone();
                } else if text.contains(NAME) || text.contains(VALUE) {
                    *text = Cow::Owned(self.fill(text, spot, report));
                }
            }
            DeValue::Array(items) => items.iter_mut().for_each(|item| self.fill_in(item, source, report)),
            DeValue::Table(table) => {
                table.iter_mut().for_each(|(_, item)| self.fill_in(item, source, report));
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    /// `text`, which stands at `spot`, for this name.
    fn fill(&self, text: &str, spot: Spot, report: &Report) -> String {
        let mut filled = String::with_capacity(text.len() + self.name.len());
        let mut rest = text;
        while let Some(at) = rest.find("{each") {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix(NAME) {
                filled.push_str(&self.name);
                rest = after;
                continue;
            }
            let Some((key, after)) = rest.strip_prefix(VALUE).and_then(|rest| rest.split_once('}')) else {
                filled.push_str("{each");
                rest = &rest["{each".len()..];
                continue;
            };
            match self.values.get(key).map(Spanned::get_ref) {
                Some(DeValue::String(value)) => filled.push_str(value),
                Some(DeValue::Integer(number)) => filled.push_str(number.as_str()),
                Some(DeValue::Float(number)) => filled.push_str(number.as_str()),
                Some(DeValue::Boolean(flag)) => filled.push_str(&flag.to_string()),
                Some(DeValue::Datetime(time)) => filled.push_str(&time.to_string()),
                Some(DeValue::Array(_) | DeValue::Table(_)) => {
                    let message =
                        format!("{VALUE}{key}}} is no text for \"{}\": it cannot stand within one", self.name);
                    report.error_with_help(spot, message, "let it stand alone in its quotes");
                }
                None => {
                    let message = format!("`{KEY}` says no `{key}` of \"{}\"", self.name);
                    let help = format!("it is asked for at {}", report.place(spot));
                    report.error_with_help(self.spot, message, help);
                }
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }
}
