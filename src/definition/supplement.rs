//! Operations that an inventory adds to a provider whose definition lacks them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::binding::Binder;
use super::capture::CODES;
use super::resolve::{captured_names, check_expiry_sources, check_names, operation_tables, read_calls};
use crate::document::Reader;
use crate::names::hex;
use crate::provider::Provider;
use crate::provider::resolved::{Rules, digest};

/// `provider` with the operations of `table` (`[revoke]`, `[list]`, …) added or put in place of its own.
/// `None` where something is wrong with them; the report of `table` then says what. Unknown keys are the caller's to
/// report, with [`Reader::finish`].
pub fn with_operations(provider: &Provider, table: &Reader<'_>) -> Option<Provider> {
    let rules = rules(provider, table)?;
    let supplied: Vec<String> =
        table.entries().map(|(key, found)| format!("{} = {}", key.value, found.to_json())).collect();
    let before = hex(&provider.digest);
    let mut sources = vec![before.as_str()];
    sources.extend(supplied.iter().map(String::as_str));
    Some(Provider { rules, digest: digest(&sources), ..provider.clone() })
}

/// Reads operations that the operator supplies for `provider`.
fn rules(provider: &Provider, table: &Reader<'_>) -> Option<Rules> {
    let errors = table.report().errors();
    let own = &provider.rules;
    let (mut parts, mut facts) = (own.parts.clone(), own.facts.clone());
    let tables = operation_tables(table);
    parts.extend(captured_names(&tables, "parts"));
    facts.extend(captured_names(&tables, "facts"));
    check_names(table, &parts, &facts);
    let prepared = BTreeSet::new();
    let binder = Binder { params: &provider.params, parts: &parts, facts: &facts, prepared: &prepared, codes: CODES };
    let supplied = read_calls(tables, &binder, &own.auth);
    let mut calls = own.calls.clone();
    calls.extend(supplied.iter().map(|(operation, call)| (*operation, Arc::clone(call))));
    for (operation, call) in &supplied {
        check_expiry_sources(table, *operation, call, &calls);
    }
    (table.report().errors() == errors).then(|| Rules { parts, facts, calls, ..own.clone() })
}
