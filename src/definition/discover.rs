//! `[discover.NAME]`: how values of a parameter are found through the provider's API; and `[default-policy]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Method;

use super::binding::{Binder, Stage};
use super::call::{Place, parse_span, read_place};
use super::capture::{check_pointer, read_pointer};
use crate::document::{Reader, nearest};
use crate::provider::model::{Auth, Body, Call, Discovery};
use crate::provider::{DefaultPolicy, Role};

/// Reads every table of `[discover]`, by the parameter that it finds values of.
pub(super) fn read_discoveries(
    table: &Reader<'_>,
    binder: &Binder<'_>,
    auth: &Auth,
) -> BTreeMap<String, Arc<Discovery>> {
    let mut discoveries = BTreeMap::new();
    for (name, _) in table.entries() {
        if !binder.params.contains_key(name.value) {
            let message = format!("[discover.{}] finds values of a parameter that there is not", name.value);
            let help = match nearest(name.value, binder.params.keys().map(String::as_str)) {
                Some(near) => format!("did you mean [discover.{near}]?"),
                None => format!("declare it in [params.{}]", name.value),
            };
            table.report().error_with_help(name.spot, message, help);
        }
        let what = format!("[discover.{}]", name.value);
        let Some(reader) = table.merged_entry(name.value, what, Some("url")) else { continue };
        if let Some(discovery) = read_discovery(reader, binder, auth) {
            discoveries.insert(name.value.to_owned(), Arc::new(discovery));
        }
    }
    discoveries
}

fn read_discovery(table: Reader<'_>, binder: &Binder<'_>, auth: &Auth) -> Option<Discovery> {
    // Neither a token nor a page is there to be named.
    let stage = Stage::Login;
    if auth.forms.is_empty() {
        table.report().error(table.spot(), format!("{} needs a form of authentication in [auth.form]", table.what()));
    }
    let Place { url, query, headers } = read_place(&table, binder, stage);
    let items = table.parsed("items", check_pointer).map(|pointer| pointer.value);
    let value = read_pointer(&table, "value");
    let label = table.parsed("label", check_pointer).map(|pointer| pointer.value);
    table.finish();
    let call = Call { query, headers, ..Call::new(Role::Account, Method::GET, url?, Body::None) };
    Some(Discovery { call: Arc::new(call), items, value: value?, label })
}

/// Reads `[default-policy]`.
pub(super) fn read_default_policy(table: Reader<'_>) -> DefaultPolicy {
    let span = |key| table.parsed(key, parse_span).map(|span| span.value);
    let policy = DefaultPolicy { rotate_every: span("rotate-every"), grace: span("grace") };
    table.finish();
    policy
}
