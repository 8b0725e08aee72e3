//! Parameters against what a definition declares.

use crate::document::Spot;
use crate::inventory::spec::ParamsSpec;
use crate::provider::{Params, Provider};

use super::Context;

/// Reports parameters that `provider` does not know, or that have a value it cannot take.
pub(super) fn check(given: &ParamsSpec, provider: &Provider, what: &str, context: &Context<'_>) {
    for (name, value) in given {
        let Some(declared) = provider.params.get(&name.value) else {
            let kind = if provider.store().is_some() { "store" } else { "provider" };
            let message =
                format!("{what} gives an unknown parameter \"{}\" to {kind} \"{}\"", name.value, provider.name);
            let help = context.hint(&name.value, provider.params.keys().map(String::as_str));
            context.report.error_with_help(name.spot, message, help);
            continue;
        };
        if let Err(problem) = declared.accept(&value.value) {
            context.report.error(value.spot, format!("parameter \"{}\" of {what} {problem}", name.value));
        }
    }
}

/// Reports parameters that `provider` needs and that neither the account nor the token gives.
pub(super) fn complete(merged: &Params, provider: &Provider, what: &str, spot: Spot, context: &Context<'_>) {
    let stores = provider.store().is_some();
    for (name, declared) in &provider.params {
        if declared.default.is_some() || declared.optional || merged.contains_key(name) {
            continue;
        }
        let message = if stores {
            format!("{what} lacks `{name}`, which store \"{}\" needs", provider.name)
        } else {
            format!("{what} lacks parameter \"{name}\", which provider \"{}\" needs", provider.name)
        };
        let value = declared.example.as_ref().map_or_else(|| "…".to_owned(), ToString::to_string);
        let about = if declared.about.is_empty() { String::new() } else { format!(": {}", declared.about) };
        let write = if stores { format!("{name} = {value}") } else { format!("params = {{ {name} = {value} }}") };
        context.report.error_with_help(spot, message, format!("write {write}{about}"));
    }
}
