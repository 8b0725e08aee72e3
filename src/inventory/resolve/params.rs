//! Parameters against what a definition declares.

use crate::document::Spot;
use crate::inventory::spec::ParamsSpec;
use crate::provider::params::When;
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

/// Reports parameters that are `given` although others, as they are in `beside`, keep them away: nobody would look at
/// them. `settled`: the parameters that no table below can change.
pub(super) fn check_bonds(
    given: &ParamsSpec,
    beside: &Params,
    settled: impl Fn(&str) -> bool,
    provider: &Provider,
    what: &str,
    context: &Context<'_>,
) {
    for (name, _) in given {
        let Some(declared) = provider.params.get(&name.value) else { continue };
        let broken = |when: &&When| settled(&when.param) && !when.holds(&provider.params, beside);
        let Some(when) = declared.when.iter().find(broken) else { continue };
        let other = beside.get(&when.param).or_else(|| provider.params.get(&when.param)?.default.as_ref());
        let is = other.map_or_else(|| "is not given".to_owned(), |value| format!("is {value}"));
        let message = format!("parameter \"{}\" of {what} is there only where {when}", name.value);
        let help = format!("`{}` {is} here: change it, or remove \"{}\"", when.param, name.value);
        context.report.error_with_help(name.spot, message, help);
    }
}

/// Reports parameters that `provider` needs and that neither the account nor the token gives.
pub(super) fn complete(merged: &Params, provider: &Provider, what: &str, spot: Spot, context: &Context<'_>) {
    let stores = provider.store().is_some();
    for (name, declared) in provider.lacking(merged) {
        let when: Vec<String> = declared.when.iter().map(ToString::to_string).collect();
        let when = if when.is_empty() { String::new() } else { format!(" where {}", when.join(" and ")) };
        let message = if stores {
            format!("{what} lacks `{name}`, which store \"{}\" needs{when}", provider.name)
        } else {
            format!("{what} lacks parameter \"{name}\", which provider \"{}\" needs{when}", provider.name)
        };
        let value = declared.example.as_ref().map_or_else(|| "…".to_owned(), ToString::to_string);
        let about = if declared.about.is_empty() { String::new() } else { format!(": {}", declared.about) };
        let write = if stores { format!("{name} = {value}") } else { format!("params = {{ {name} = {value} }}") };
        context.report.error_with_help(spot, message, format!("write {write}{about}"));
    }
}
