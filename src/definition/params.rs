//! Reads `[params.NAME]`: what the inventory gives to a definition.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::document::{Found, Located, Reader, nearest};
use crate::provider::params::{ParamKind, ParamSpec, When};
use crate::provider::template::is_identifier;

/// A parameter and a condition of it, before it is known whether the other parameter is there.
type Bond<'d> = (String, Located<&'d str>, Found<'d>);

/// Every parameter, by its name.
pub(super) fn read_params(table: &Reader<'_>) -> BTreeMap<String, ParamSpec> {
    let kinds = [
        ("url", ParamKind::Url),
        ("string", ParamKind::String),
        ("integer", ParamKind::Integer),
        ("bool", ParamKind::Bool),
        ("list", ParamKind::List),
        ("json", ParamKind::Json),
    ];
    let mut params = BTreeMap::new();
    let mut bonds: Vec<Bond<'_>> = Vec::new();
    for (name, _) in table.entries() {
        if !is_identifier(name.value) {
            let message = format!("`{}` is not a name for a parameter: use a-z, 0-9 and `_`", name.value);
            table.report().error(name.spot, message);
        }
        let what = format!("[params.{}]", name.value);
        let Some(reader) = table.merged_entry(name.value, what, Some("type")) else { continue };
        reader.required("type");
        let kind = reader.choice("type", &kinds);
        let default = reader.take("default");
        let example = reader.take("example");
        let optional = reader.bool("optional").is_some_and(|flag| flag.value);
        let choices = reader.array("choices").unwrap_or_default();
        let about = reader.string("about").map(|text| text.value).unwrap_or_default();
        if let Some(when) = reader.table("when", "`when`") {
            bonds.extend(when.entries().map(|(other, found)| (name.value.to_owned(), other, found)));
        }
        let Some(kind) = kind else { continue };
        let json = |found: Option<Found<'_>>| found.map(|found| found.to_json());
        let spec = ParamSpec {
            kind: kind.value,
            default: json(default),
            optional,
            choices: choices.iter().map(Found::to_json).collect(),
            when: Vec::new(),
            about,
            example: json(example),
        };
        for given in default.iter().chain(&example) {
            if let Err(error) = spec.accept(&given.to_json()) {
                table.report().error(given.spot(), format!("parameter `{}` {error}", name.value));
            }
        }
        reader.finish();
        params.insert(name.value.to_owned(), spec);
    }
    let bound: Vec<_> =
        bonds.iter().filter_map(|bond| Some((bond.0.clone(), read_when(bond, &bonds, &params, table)?))).collect();
    for (name, when) in bound {
        if let Some(spec) = params.get_mut(&name) {
            spec.when.push(when);
        }
    }
    params
}

/// One condition; what is wrong with it is reported at its place.
fn read_when(
    (of, other, found): &Bond<'_>,
    bonds: &[Bond<'_>],
    params: &BTreeMap<String, ParamSpec>,
    table: &Reader<'_>,
) -> Option<When> {
    let report = table.report();
    let Some(spec) = params.get(other.value) else {
        let message = format!("`when` of [params.{of}] names an unknown parameter `{}`", other.value);
        let known = params.keys().map(String::as_str).filter(|name| name != of);
        let help = nearest(other.value, known).map(|near| format!("did you mean `{near}`?"));
        match help {
            Some(help) => report.error_with_help(other.spot, message, help),
            None => report.error(other.spot, message),
        }
        return None;
    };
    if bonds.iter().any(|(bound, ..)| bound == other.value) {
        let message = format!("`when` of [params.{of}] names `{}`, which has a `when` itself", other.value);
        report.error_with_help(other.spot, message, "name the parameter that both depend on");
        return None;
    }
    let given: Vec<Found<'_>> = if found.value().is_array() { found.items().collect() } else { vec![*found] };
    if given.is_empty() {
        report.error(found.spot(), format!("`when` of [params.{of}] names no value of `{}`", other.value));
    }
    let mut values: Vec<Value> = Vec::new();
    for found in given {
        let value = found.to_json();
        match spec.accept(&value) {
            Ok(()) => values.push(value),
            Err(problem) => report.error(found.spot(), format!("`{}` {problem}", other.value)),
        }
    }
    Some(When { param: other.value.to_owned(), values })
}
