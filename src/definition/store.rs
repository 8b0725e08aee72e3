//! `[store]` and the tables that only definitions of stores have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::binding::{Binder, Stage, read_template};
use super::call::{Place as Goal, parse_span, read_body, read_method, read_place, read_statuses, read_style};
use super::capture::{
    check_pointer, place_from, place_of, read_classify, read_places, read_pointer, read_predicate, read_predicates,
};
use crate::clock::Span;
use crate::document::{Found, Located, Reader, nearest};
use crate::outcome::FailureCode;
use crate::provider::model::{
    Auth, Call, Condition, Listing, Pace, Refused, Shows, SlotCall, StoreRules, Style, TablePlace, ValueRule,
    ValueRules, Version,
};
use crate::provider::template::is_identifier;
use crate::provider::{Operation, Role};

/// Keys that every store of an inventory has: no parameter may be called so.
const RESERVED: [&str; 6] = ["account", "existing", "kind", "on_drift", "on_leave", "part"];

/// What `[store]` says besides what every definition says of itself.
pub(super) struct Head {
    target: Vec<Located<String>>,
    slot: Option<Located<String>>,
    settle: Span,
    takes_effect: String,
    side_effect: String,
}

/// Takes the keys of `[store]` that `[provider]` lacks.
pub(super) fn read_head(head: &Reader<'_>) -> Head {
    head.required("target");
    let text = |key| head.string(key).map(|text| text.value).unwrap_or_default();
    Head {
        target: head.strings("target").map(|list| list.value).unwrap_or_default(),
        slot: head.string("slot"),
        settle: head.parsed("settle", parse_span).map_or(Span::zero(), |span| span.value),
        takes_effect: text("takes-effect"),
        side_effect: text("side-effect"),
    }
}

/// The tables of the operations that there are.
pub(super) fn operation_tables<'d>(file: &Reader<'d>) -> Vec<(Operation, Reader<'d>)> {
    let table = |operation: &Operation| {
        let key = operation.word();
        Some((*operation, file.merged(key, format!("[{key}]"), Some("url"))?))
    };
    Operation::OF_STORES.iter().filter_map(table).collect()
}

/// What the definition says of its store, with `[value]`.
pub(super) fn read_rules(file: &Reader<'_>, head: Head, binder: &Binder<'_>) -> StoreRules {
    let params = binder.params;
    let known = |name: &Located<String>| {
        let found = params.contains_key(&name.value);
        if !found {
            let help = nearest(&name.value, params.keys().map(String::as_str));
            let help = help.map_or_else(|| "declare it in [params]".to_owned(), |it| format!("did you mean \"{it}\"?"));
            file.report().error_with_help(name.spot, format!("there is no parameter `{}`", name.value), help);
        }
        found
    };
    let target: Vec<_> = head.target.into_iter().filter(known).map(|name| name.value).collect();
    let slot = head.slot.filter(known);
    if let Some(slot) = slot.as_ref().filter(|slot| target.contains(&slot.value)) {
        file.report().error(slot.spot, format!("`{}` names the slot and cannot name the target, too", slot.value));
    }
    for name in RESERVED.iter().filter(|name| params.contains_key(**name)) {
        let message =
            format!("no parameter of a store can be called `{name}`: an inventory has that key for every store");
        file.report().error(file.key_spot("params"), message);
    }
    let values = file.merged("value", "[value]", None).map(|table| read_values(table, binder)).unwrap_or_default();
    let pace = file.merged("pace", "[pace]", None).and_then(read_pace);
    StoreRules {
        pace,
        target,
        slot: slot.map(|slot| slot.value),
        settle: head.settle,
        takes_effect: head.takes_effect,
        side_effect: head.side_effect,
        values,
    }
}

/// How often the service takes requests.
fn read_pace(table: Reader<'_>) -> Option<Pace> {
    table.required("requests");
    let requests = count(&table, "requests").map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    table.required("per");
    let per = table.parsed("per", |text| match humantime::parse_duration(text) {
        Ok(per) if per.is_zero() => Err("it must be longer than nothing".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    });
    table.finish();
    Some(Pace { requests: requests?, per: per?.value })
}

/// Which values the store can hold.
fn read_values(table: Reader<'_>, binder: &Binder<'_>) -> ValueRules {
    let max_bytes = count(&table, "max-bytes");
    let rules = table.tables("rule", "an item of [[value.rule]]").into_iter().map(|rule| {
        let when = rule.take("when").and_then(|found| read_template(&rule, found, binder, Stage::Params));
        let max_bytes = count(&rule, "max-bytes");
        let min_chars = count(&rule, "min-chars");
        let refuse = rule.strings("refuse").map(|list| list.value).unwrap_or_default();
        let refuse: Vec<_> = refuse.into_iter().map(|word| refused(&word.value)).collect();
        if max_bytes.is_none() && min_chars.is_none() && refuse.is_empty() {
            let message = format!("{} has none of `max-bytes`, `min-chars`, `refuse`", rule.what());
            rule.report().error(rule.spot(), message);
        }
        let why = rule.required_string("why").map(|why| why.value).unwrap_or_default();
        rule.finish();
        ValueRule { when, max_bytes, min_chars, refuse, why }
    });
    let rules = rules.collect();
    table.finish();
    ValueRules { max_bytes, rules }
}

fn refused(word: &str) -> Refused {
    let class = Refused::WORDS.into_iter().find(|(known, _)| *known == word);
    class.map_or_else(|| Refused::Text(word.to_owned()), |(_, class)| class)
}

/// A whole number from 1 on.
fn count(table: &Reader<'_>, key: &'static str) -> Option<usize> {
    let found = table.integer(key)?;
    let count = usize::try_from(found.value).ok().filter(|count| *count > 0);
    if count.is_none() {
        table.report().error(found.spot, format!("`{key}` of {} must be a whole number from 1 on", table.what()));
    }
    count
}

/// Reads the operations of a store.
pub(super) fn read_calls(
    file: &Reader<'_>,
    tables: Vec<(Operation, Reader<'_>)>,
    binder: &Binder<'_>,
    auth: &Auth,
) -> BTreeMap<Operation, Arc<Call>> {
    if !tables.iter().any(|(operation, _)| *operation == Operation::Write) {
        file.report().error(file.spot(), "a store needs [write]");
    }
    let read = |(operation, table)| Some((operation, Arc::new(read_call(table, operation, binder, auth)?)));
    tables.into_iter().filter_map(read).collect()
}

fn read_call(table: Reader<'_>, operation: Operation, binder: &Binder<'_>, auth: &Auth) -> Option<Call> {
    let (stage, answer) = (Stage::Request(operation), Stage::Answer(Some(operation)));
    let usual = if auth.forms.is_empty() { Role::Nobody } else { Role::Account };
    let roles = [("account", Role::Account), ("nobody", Role::Nobody)];
    let role = table.choice("auth", &roles).map_or(usual, |role| role.value);
    if role != Role::Nobody && auth.forms.is_empty() {
        table.report().error(table.spot(), format!("{} needs a form of authentication in [auth.form]", table.what()));
    }
    let method = read_method(&table);
    let Goal { url, query, headers } = read_place(&table, binder, stage);
    let body = read_body(&table, binder, stage);
    let ok = read_statuses(&table, "ok");
    let expect = read_predicates(&table, "expect", binder, answer, FailureCode::Rejected);
    let classify = read_classify(&table, binder, answer);
    let mut call = Call { query, headers, ok, expect, classify, ..Call::new(role, method, url?, body) };
    match operation {
        Operation::Read => {
            call.slots.absent = read_conditions(&table, "absent", binder, answer);
            if table.has("items") {
                if !table.has("keep") {
                    table
                        .report()
                        .error(table.key_spot("items"), "without `keep`, any item of the list would be the target");
                }
                call.slots.finds = Some(read_list(&table, operation, binder, answer)?);
            }
        }
        Operation::Survey => {
            table.required("items");
            table.required("match");
            call.slots.finds = Some(read_list(&table, operation, binder, answer)?);
            for (name, place) in read_places(&table, "match") {
                if !binder.params.contains_key(&name) {
                    table.report().error(table.key_spot("match"), format!("there is no parameter `{name}`"));
                }
                call.slots.names.push((name, place));
            }
        }
        Operation::Create | Operation::Write | Operation::Delete => {
            call.slots.conflict = read_conditions(&table, "conflict", binder, answer);
        }
        _ => {}
    }
    if operation != Operation::Probe {
        let captures = table.table("capture", format_args!("[{}.capture]", operation.word()));
        if let Some(captures) = captures {
            read_captures(captures, operation, &mut call);
        }
    }
    table.finish();
    Some(call)
}

/// The list of which targets are items.
fn read_list(table: &Reader<'_>, operation: Operation, binder: &Binder<'_>, stage: Stage) -> Option<Listing> {
    let items = read_pointer(table, "items");
    let null_is_empty = table.bool("null-is-empty").is_some_and(|flag| flag.value);
    let absent_is_empty = table.bool("absent-is-empty").is_some_and(|flag| flag.value);
    let keep = read_predicates(table, "keep", binder, stage, FailureCode::NotUnderstood);
    let style = table.table("page", format_args!("[{}.page]", operation.word())).map_or(Some(Style::Whole), read_style);
    let (dead, leaves_out) = (Vec::new(), false);
    Some(Listing { items: items?, keyed: None, null_is_empty, absent_is_empty, keep, dead, leaves_out, style: style? })
}

fn read_conditions(table: &Reader<'_>, key: &'static str, binder: &Binder<'_>, stage: Stage) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for reader in table.tables(key, format_args!("an item of `{key}`")) {
        let status = reader.integer("status").and_then(|status| u16::try_from(status.value).ok());
        if reader.has("at") {
            let predicate = read_predicate(reader, binder, stage, FailureCode::NotUnderstood);
            conditions.extend(predicate.map(|predicate| Condition { status, predicate: Some(predicate) }));
        } else {
            if status.is_none() {
                reader.report().error(reader.spot(), format!("an item of `{key}` needs `status` or `at`"));
            }
            reader.finish();
            conditions.push(Condition { status, predicate: None });
        }
    }
    conditions
}

fn read_captures(table: Reader<'_>, operation: Operation, call: &mut Call) {
    let SlotCall { shows, version, changed, changed_with_value, tail, .. } = &mut call.slots;
    if matches!(operation, Operation::Read | Operation::Survey) {
        *shows = read_shows(&table);
        let with = table.choice("changed-with", &[("write", false), ("value", true)]);
        *changed_with_value = with.is_some_and(|with| with.value);
        *tail = table.table("tail", "`tail`").and_then(|reader| {
            let chars = count(&reader, "chars");
            reader.required("chars");
            let place = place_of(&reader);
            reader.finish();
            place.zip(chars)
        });
    }
    if operation != Operation::Prepare {
        *version = table.take("version").and_then(|found| read_version(&table, found));
        *changed = table.take("changed").and_then(|found| place_from(&table, "changed", found));
    }
    if !operation.puts() {
        call.capture.facts = read_places(&table, "facts");
    }
    table.finish();
}

fn read_shows(table: &Reader<'_>) -> Option<Shows> {
    if table.has("value") && table.has("map") {
        table.report().error(table.spot(), format!("{} has both `value` and `map`", table.what()));
    }
    if let Some(found) = table.take("value") {
        let Some(text) = found.value().as_table() else {
            return place_from(table, "value", found).map(|place| Shows::Value { place, hidden: false });
        };
        let hidden = text.get("null").is_some();
        let reader = Reader::from_value(table.report(), found, "`value`")?;
        reader.choice("null", &[("hidden", ())]);
        let place = place_of(&reader);
        reader.finish();
        return place.map(|place| Shows::Value { place, hidden });
    }
    let found = table.take("map")?;
    if found.value().as_str().is_some() {
        let at = read_pointer(table, "map")?;
        return Some(Shows::Table(TablePlace { at, base64: false, text: false, value: String::new(), hidden: false }));
    }
    let reader = Reader::from_value(table.report(), found, "`map`")?;
    let at = read_pointer(&reader, "at");
    let base64 = reader.choice("decode", &[("base64", true)]).is_some();
    let text = reader.choice("parse", &[("json", true)]).is_some();
    let value = reader.parsed("value", check_pointer).map(|value| value.value).unwrap_or_default();
    let hidden = reader.choice("null", &[("hidden", true)]).is_some();
    reader.finish();
    Some(Shows::Table(TablePlace { at: at?, base64, text, value, hidden }))
}

fn read_version(table: &Reader<'_>, found: Found<'_>) -> Option<Version> {
    if found.value().as_str().is_some() {
        return Some(Version { at: read_pointer(table, "version")?, absent: serde_json::Value::Null });
    }
    let reader = Reader::from_value(table.report(), found, "`version`")?;
    let at = read_pointer(&reader, "at");
    let absent = reader.take("absent").map(|found| found.to_json()).unwrap_or_default();
    reader.finish();
    Some(Version { at: at?, absent })
}

/// Facts have names that templates can use, and none that means something else.
pub(super) fn check_names<'n>(file: &Reader<'_>, facts: impl Iterator<Item = &'n String>) {
    for name in facts {
        if !is_identifier(name) {
            file.report().error(file.spot(), format!("`{name}` cannot be captured: names are of a-z, 0-9 and `_`"));
        } else if ["value", "version"].contains(&name.as_str()) {
            file.report().error(file.spot(), format!("the fact `{name}` needs a name that nothing else has"));
        }
    }
}

/// The names of the facts that operation `of` captures.
pub(super) fn captured(tables: &[(Operation, Reader<'_>)], of: Operation) -> BTreeSet<String> {
    let facts = |reader: &Reader<'_>| {
        let capture = reader.peek("capture")?;
        let facts = capture.value().get("facts")?.get_ref().as_table()?;
        Some(facts.keys().map(|name| name.get_ref().to_string()).collect::<BTreeSet<_>>())
    };
    let table = tables.iter().find(|(operation, _)| *operation == of);
    table.and_then(|(_, reader)| facts(reader)).unwrap_or_default()
}
