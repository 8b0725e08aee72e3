//! `[lint]`, and where in the text of a definition a finding of the linter belongs.

use std::collections::BTreeMap;

use toml::de::DeTable;

use crate::document::{Reader, Report, SourceId, Spot, nearest};
use crate::provider::Provider;
use crate::provider::lint::{Finding, Open};
use crate::provider::question::Question;

/// Reads `[lint]`: why a question is left open, by its code. `stores`: of a store.
pub(super) fn read_reasons(table: &Reader<'_>, stores: bool) -> BTreeMap<Question, String> {
    let asked = || Question::ALL.iter().filter(move |(_, question)| question.is_of(stores));
    let mut reasons = BTreeMap::new();
    for (code, found) in table.entries() {
        let known = asked().find(|(known, _)| *known == code.value);
        let Some((_, question)) = known else {
            let codes = || asked().map(|(code, _)| *code);
            let help = nearest(code.value, codes()).map_or_else(
                || format!("valid keys: {}", codes().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            table.report().error_with_help(code.spot, format!("unknown key `{}` in [lint]", code.value), help);
            continue;
        };
        match found.value().as_str() {
            Some(reason) if !reason.trim().is_empty() => drop(reasons.insert(*question, reason.to_owned())),
            _ => table.report().error(found.spot(), format!("`{}` of [lint] must be a reason in words", code.value)),
        }
    }
    reasons
}

/// What the linter finds in `provider`, whose own text is `source`, each with its place in that text.
pub fn lint(provider: &Provider, source: SourceId, report: &Report) -> Vec<(Spot, Finding)> {
    provider.lint().into_iter().map(|finding| (spot_of(&finding, source, report), finding)).collect()
}

/// A finding in words: what is wrong, and what to do about it.
pub fn words(finding: &Finding) -> (String, String) {
    match finding {
        Finding::Open(Open { question, param }) => {
            let about = param.as_ref().map(|param| format!(" (`{param}`)")).unwrap_or_default();
            let help = format!("{}; or say in [lint] why not: {} = \"…\"", question.remedy(), question.code());
            (format!("{}: {}{about}", question.code(), question.sentence()), help)
        }
        Finding::Stale(question) => {
            let message = format!("{}: [lint] has a reason for a question that is answered", question.code());
            (message, "remove the reason".to_owned())
        }
    }
}

fn spot_of(finding: &Finding, source: SourceId, report: &Report) -> Spot {
    let (table, _) = DeTable::parse_recoverable(report.text(source));
    let find = |path: &[&str]| {
        let mut at = table.get_ref();
        let mut spot = None;
        for (depth, step) in path.iter().enumerate() {
            let (key, value) = at.get_key_value(*step)?;
            spot = Some(Spot::new(source, key.span()));
            match value.get_ref().as_table() {
                Some(below) => at = below,
                None if depth + 1 == path.len() => {}
                None => return None,
            }
        }
        spot
    };
    let found = match finding {
        Finding::Open(Open { question, param: Some(param) }) => {
            find(&["params", param]).or_else(|| question.places().iter().find_map(|path| find(path)))
        }
        Finding::Open(Open { question, .. }) => question.places().iter().find_map(|path| find(path)),
        Finding::Stale(question) => find(&["lint", question.code()]),
    };
    // What it is about may stand in a file that this one extends.
    found
        .or_else(|| find(&["provider", "extends"]))
        .or_else(|| find(&["provider"]))
        .unwrap_or_else(|| Spot::top(source))
}
