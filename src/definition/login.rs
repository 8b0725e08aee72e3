//! `[login]`: the request that exchanges the account's credential for a session.

use super::binding::{Binder, Stage, read_headers, read_template, read_templates};
use super::call::{read_body, read_method, read_statuses};
use super::capture::{read_captures, read_moment, read_predicates};
use crate::document::Reader;
use crate::outcome::FailureCode;
use crate::provider::model::Call;
use crate::provider::{Operation, Role};

/// Reads `[login]`.
pub(super) fn read_login(table: Reader<'_>, binder: &Binder<'_>) -> Option<Call> {
    let stage = Stage::Login;
    // The credential stands in the body as a rule; a form of authentication is used where it is asked for.
    let roles = [("account", Role::Account), ("nobody", Role::Nobody)];
    let role = table.choice("auth", &roles).map_or(Role::Nobody, |role| role.value);
    let method = read_method(&table);
    table.required("url");
    let url = table.take("url").and_then(|found| {
        let template = read_template(&table, found, binder, stage)?;
        let own = template.begins_with_base_url() || template.begins_with_url(binder.params);
        if !own || template.is_secret() || template.literals().any(|text| text.contains(['?', '#'])) {
            let message = "the address of a login begins with `{{ base_url }}` or with a parameter of type `url`, and has \
                           neither a query nor a secret";
            table.report().error(found.spot(), message);
            return None;
        }
        Some(template)
    });
    let query = table.table("query", "`query`").map(|query| read_templates(&query, binder, stage)).unwrap_or_default();
    if query.iter().any(|(_, template)| template.is_secret()) {
        table.report().error(table.key_spot("query"), "a secret must not be part of an address");
    }
    let headers = table.table("headers", "`headers`").map(|headers| read_headers(&headers, binder, stage));
    let body = read_body(&table, binder, stage);
    let ok = read_statuses(&table, "ok");
    let expect = read_predicates(&table, "expect", binder, Stage::Answer(None), FailureCode::Rejected);
    let retry_at = table.take("retry-at").and_then(|found| read_moment(&table, found));
    let capture = table.table("capture", "`capture`").map(|places| read_captures(places, Operation::Mint));
    let capture = capture.unwrap_or_default();
    if capture.secret.is_none() {
        table.report().error(table.spot(), "[login] must say in `capture` where the `secret` of the session stands");
    }
    table.finish();
    Some(Call {
        ok,
        expect,
        capture,
        retry_at,
        query,
        headers: headers.unwrap_or_default(),
        ..Call::new(role, method, url?, body)
    })
}
