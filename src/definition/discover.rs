//! `[discover.NAME]`: how values of a parameter are found through the provider's API; and `[default-policy]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Method;

use super::binding::{Binder, Stage, read_headers, read_template, read_templates};
use super::call::{check_url, parse_span};
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
    table.required("url");
    let url = table.take("url").and_then(|found| {
        let template = read_template(&table, found, binder, stage)?;
        check_url(&table, found, &template).then_some(template)
    });
    let query = table.table("query", "`query`").map(|query| read_templates(&query, binder, stage)).unwrap_or_default();
    if query.iter().any(|(_, template)| template.is_secret()) {
        table
            .report()
            .error(table.key_spot("query"), "a secret must not be part of an address: it would end up in logs");
    }
    let headers = table.table("headers", "`headers`").map(|headers| read_headers(&headers, binder, stage));
    let items = table.parsed("items", check_pointer).map(|pointer| pointer.value);
    let value = read_pointer(&table, "value");
    let label = table.parsed("label", check_pointer).map(|pointer| pointer.value);
    table.finish();
    let call =
        Call { query, headers: headers.unwrap_or_default(), ..Call::new(Role::Account, Method::GET, url?, Body::None) };
    Some(Discovery { call: Arc::new(call), items, value: value?, label })
}

/// Reads `[default-policy]`.
pub(super) fn read_default_policy(table: Reader<'_>) -> DefaultPolicy {
    let span = |key| table.parsed(key, parse_span).map(|span| span.value);
    let policy = DefaultPolicy { rotate_every: span("rotate-every"), grace: span("grace") };
    table.finish();
    policy
}
