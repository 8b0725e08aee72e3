//! Values of a provider's parameters: from flags, from its API, from whoever types.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::account::Account;
use crate::clock::SystemClock;
use crate::outcome::Outcome;
use crate::provider::{Candidate, Params, Provider};

use super::Complaint;
use super::ask::Ask;
use super::draft::Given;

/// The values of `NAME=VALUE` flags.
pub(super) fn parse(provider: &Provider, flags: &[String]) -> Result<Given, Complaint> {
    let mut given = Given::new();
    for flag in flags {
        let Some((name, text)) = flag.split_once('=') else {
            return Err(Complaint::invalid(format!("--param {flag}: write NAME=VALUE")));
        };
        let Some(spec) = provider.params.get(name) else {
            let known: Vec<_> = provider.params.keys().map(String::as_str).collect();
            return Err(Complaint::invalid(format!("provider {} has no parameter \"{name}\"", provider.name))
                .with_help(format!("it has: {}", known.join(", "))));
        };
        let value = spec.parse(text).map_err(|why| Complaint::invalid(format!("parameter `{name}` {why}")))?;
        given.insert(name.to_owned(), value);
    }
    Ok(given)
}

/// The parameters that must be given and are not.
fn lacking<'p>(provider: &'p Provider, given: &Given) -> Vec<&'p str> {
    provider.lacking(given).into_iter().map(|(name, _)| name).collect()
}

/// Whether the provider can be asked for something that is lacking.
pub(super) fn can_find(provider: &Provider, given: &Given) -> bool {
    lacking(provider, given).into_iter().any(|name| provider.discovers(name))
}

/// Asks for what is lacking, is wanted, and the provider does not tell.
pub(super) fn ask(
    provider: &Provider,
    given: &mut Given,
    ask: &mut Ask,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), Complaint> {
    let mut seen = BTreeSet::new();
    // An answer may bring up another parameter.
    while let Some(name) = lacking(provider, given).into_iter().find(|name| !seen.contains(name)) {
        seen.insert(name);
        if !wanted(name) || provider.discovers(name) {
            continue;
        }
        let spec = &provider.params[name];
        let choices: Vec<_> = spec.choices.iter().map(shown).collect();
        let choices = if choices.is_empty() { String::new() } else { format!(" ({})", choices.join(", ")) };
        let question = format!("{name}: {}{choices}", spec.about.trim_end_matches('.'));
        if let Some(value) = ask.value(&format!("--param {name}=…"), &question, None, |text| spec.parse(text))? {
            given.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

/// Finds values by the provider's API.
pub(super) struct Finder<'a> {
    pub client: &'a Account<SystemClock>,
    pub provider: &'a Provider,
}

impl Finder<'_> {
    /// Finds what is lacking and the provider tells. Where it tells of several values, whoever types chooses.
    pub(super) async fn find(&self, given: &mut Given, ask: &mut Ask) -> Result<(), Complaint> {
        for name in lacking(self.provider, given) {
            if !self.provider.discovers(name) {
                continue;
            }
            let params: Params = given.clone().into_iter().collect();
            let candidates = match self.client.discover(&params, name).await {
                Outcome::Done(candidates) => candidates,
                Outcome::Later { failure, .. } | Outcome::Refused(failure) | Outcome::Unknown(failure) => {
                    return Err(Complaint::failed(format!("`{name}` cannot be found: {failure}"))
                        .of(failure.code)
                        .with_help(format!("check address and credential, or give --param {name}=…")));
                }
            };
            if let Some(value) = choose(name, candidates, ask)? {
                given.insert(name.to_owned(), value);
            }
        }
        ask.complete()
    }
}

fn choose(name: &str, candidates: Vec<Candidate>, ask: &mut Ask) -> Result<Option<Value>, Complaint> {
    let lines: Vec<String> = candidates
        .iter()
        .map(|it| it.label.as_ref().map_or_else(|| shown(&it.value), |label| format!("{} ({label})", shown(&it.value))))
        .collect();
    let mut values = candidates.into_iter().map(|candidate| candidate.value);
    match (values.next(), values.len()) {
        (None, _) => Err(Complaint::failed(format!("the provider tells of no value for `{name}`"))
            .with_help(format!("give --param {name}=…"))),
        (Some(only), 0) => Ok(Some(only)),
        (Some(first), _) => {
            let all: Vec<_> = std::iter::once(first).chain(values).collect();
            let question = format!("{name}, one of {}", lines.join(", "));
            let pick = |text: &str| {
                let found = all.iter().find(|value| shown(value) == text).cloned();
                found.ok_or("that is none of them")
            };
            ask.value(&format!("--param {name}=… ({})", lines.join(", ")), &question, None, pick)
        }
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
