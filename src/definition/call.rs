//! Reads the table of one operation: its request, and the conditions on its answer.

use std::sync::Arc;

use reqwest::Method;
use reqwest::header::HeaderName;

use super::binding::{Binder, Stage, read_headers, read_template, read_templates, read_tree};
use super::capture::{check_pointer, read_captures, read_classify, read_pointer, read_predicates};
use crate::clock::Span;
use crate::document::{Found, Reader};
use crate::outcome::FailureCode;
use crate::provider::model::{AnswerFormat, Auth, Body, Call, Captures, Listing, Source, Style, Tree};
use crate::provider::naming::{Alphabet, Naming};
use crate::provider::template::{Name, Template};
use crate::provider::{OnTimeout, Operation, Role};

/// The operations that `key` of a table names.
pub(super) fn operations_of(table: &Reader<'_>, key: &'static str) -> Vec<Operation> {
    let words: Vec<_> = Operation::OF_PROVIDERS.iter().map(|operation| (operation.word(), *operation)).collect();
    let given = table.strings(key).map(|list| list.value).unwrap_or_default();
    let mut operations = Vec::new();
    for word in given {
        if let Some((_, operation)) = words.iter().find(|(known, _)| *known == word.value) {
            operations.push(*operation);
        } else {
            let message = format!("`{key}` of {} names \"{}\", which is not an operation", table.what(), word.value);
            table.report().error_with_help(word.spot, message, "valid: mint, list, verify, renew, revoke");
        }
    }
    operations
}

/// Reads the table of `operation`.
pub(super) fn read_call(table: Reader<'_>, operation: Operation, binder: &Binder<'_>, auth: &Auth) -> Option<Call> {
    read_call_at(table, operation, Stage::Request(operation), binder, auth)
}

/// Where a request goes, and with which headers.
pub(super) struct Place {
    /// `None`: told already.
    pub url: Option<Template>,
    pub query: Vec<(String, Template)>,
    pub headers: Vec<(HeaderName, Template)>,
}

/// Reads `url`, `query` and `headers`.
pub(super) fn read_place(table: &Reader<'_>, binder: &Binder<'_>, stage: Stage) -> Place {
    table.required("url");
    let url = table.take("url").and_then(|found| {
        let template = read_template(table, found, binder, stage)?;
        check_url(table, found, &template).then_some(template)
    });
    let query = table.table("query", "`query`").map(|query| read_templates(&query, binder, stage)).unwrap_or_default();
    if query.iter().any(|(_, template)| template.is_secret()) {
        table
            .report()
            .error(table.key_spot("query"), "a secret must not be part of an address: it would end up in logs");
    }
    let headers = table.table("headers", "`headers`").map(|headers| read_headers(&headers, binder, stage));
    Place { url, query, headers: headers.unwrap_or_default() }
}

fn read_call_at(
    table: Reader<'_>,
    operation: Operation,
    stage: Stage,
    binder: &Binder<'_>,
    auth: &Auth,
) -> Option<Call> {
    let answer = Stage::Answer(Some(operation));
    let by_token = matches!(operation, Operation::Verify | Operation::Renew);
    let roles = [("account", Role::Account), ("subject", Role::Subject), ("nobody", Role::Nobody)];
    let usual = if by_token { Role::Subject } else { Role::Account };
    let role = table.choice("auth", &roles).map_or(usual, |role| role.value);
    if role != Role::Nobody && auth.forms.is_empty() {
        table.report().error(table.spot(), format!("{} needs a form of authentication in [auth.form]", table.what()));
    }
    let method = read_method(&table);
    let Place { url, query, headers } = read_place(&table, binder, stage);
    let body = read_body(&table, binder, stage);
    let format = table.choice("format", FORMATS).map(|format| format.value).unwrap_or_default();
    let ok = read_statuses(&table, "ok");
    let expect = read_predicates(&table, "expect", binder, answer, FailureCode::Rejected);
    let classify = read_classify(&table, binder, answer);
    let mut call = Call { query, headers, format, ok, expect, classify, ..Call::new(role, method, url?, body) };
    match operation {
        Operation::Mint if stage == Stage::Then => {}
        Operation::Mint => {
            let then = table.tables("then", "an item of [[mint.then]]").into_iter();
            let read = |step| read_call_at(step, operation, Stage::Then, binder, auth);
            call.then = then.filter_map(read).map(Arc::new).collect();
            call.naming = table.table("name", "[mint.name]").map(read_naming).unwrap_or_default();
            call.matches = read_predicates(&table, "match", binder, answer, FailureCode::WrongSubject);
            call.settle = table.parsed("settle", parse_span).map(|span| span.value);
        }
        Operation::Renew => {
            call.lead = table.parsed("lead", parse_span).map(|span| span.value);
            call.overlap = table.bool("overlap").is_some_and(|flag| flag.value);
        }
        Operation::Verify => call.settle = table.parsed("settle", parse_span).map(|span| span.value),
        Operation::Revoke => {
            call.gone_ok = read_statuses(&table, "gone-ok");
            call.gone_expect = read_predicates(&table, "gone-expect", binder, answer, FailureCode::NotUnderstood);
            let before = table.tables("before", "an item of [[revoke.before]]").into_iter();
            call.before = before.filter_map(|step| read_call(step, operation, binder, auth).map(Arc::new)).collect();
        }
        Operation::List => call.listing = Some(read_listing(&table, binder, answer)?),
        Operation::Probe
        | Operation::Read
        | Operation::Survey
        | Operation::Prepare
        | Operation::Create
        | Operation::Write
        | Operation::Delete => {}
    }
    call.on_timeout = read_on_timeout(&table, operation);
    if operation == Operation::Renew && call.overlap && call.on_timeout == OnTimeout::ListFirst {
        let message =
            "`on-timeout` of [renew] cannot be \"list-first\": with `overlap` a valid old secret proves nothing";
        table.report().error_with_help(table.key_spot("on-timeout"), message, "write \"never-retry\"");
    }
    let (key, what) = if operation == Operation::List { ("item", "[list.item]") } else { ("capture", "`capture`") };
    if operation != Operation::Revoke {
        let captured = table.table(key, what).map(|places| read_captures(places, operation));
        call.capture = captured.unwrap_or_default();
    }
    if operation == Operation::Mint && stage != Stage::Then {
        check_secret(&table, &call);
    }
    table.finish();
    Some(call)
}

/// How answers may be written.
const FORMATS: &[(&str, AnswerFormat)] = &[("json", AnswerFormat::Json), ("xml", AnswerFormat::Xml)];

/// The last answer to a mint tells the secret, and what the ones before it tell of can be found again.
fn check_secret(table: &Reader<'_>, mint: &Call) {
    let report = table.report();
    match mint.then.split_last() {
        None if mint.capture.secret.is_none() => {
            report.error(table.spot(), "[mint] must say in `capture` where the `secret` stands");
        }
        Some((last, _)) if last.capture.secret.is_none() => {
            let message = "the last item of [[mint.then]] must say in `capture` where the `secret` stands";
            report.error(table.key_spot("then"), message);
        }
        _ => {}
    }
    let asks = mint.says(|name| *name == Name::WantSecret);
    let chosen = |captures: &Captures| captures.secret.as_ref().is_some_and(|it| matches!(it.source, Source::Chosen));
    let takes = mint.all_captures().any(chosen);
    if asks != takes {
        let message = "`{{ want.secret }}` in a request and `secret = { from = \"want\" }` in `capture` go together";
        report.error(table.spot(), message);
    }
}

pub(super) fn read_method(table: &Reader<'_>) -> Method {
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "LIST"];
    let method = table.parsed("method", |text| match Method::from_bytes(text.as_bytes()) {
        Ok(method) if methods.contains(&text) => Ok(method),
        _ => Err(format!("one of {} is wanted", methods.join(", "))),
    });
    method.map_or(Method::GET, |method| method.value)
}

pub(super) fn check_url(table: &Reader<'_>, found: Found<'_>, url: &Template) -> bool {
    let wrong = if !url.begins_with_base_url() {
        "an address begins with `{{ base_url }}`: requests go to the account's own host only"
    } else if url.is_secret() {
        "a secret must not be part of an address: it would end up in logs"
    } else if url.literals().any(|text| text.contains(['?', '#'])) {
        "what comes after a question mark belongs into `query`"
    } else if url.literals().any(|text| text.contains(|c: char| !c.is_ascii_graphic())) {
        "an address has no blanks and no other than ASCII characters"
    } else {
        return true;
    };
    table.report().error(found.spot(), wrong);
    false
}

pub(super) fn read_body(table: &Reader<'_>, binder: &Binder<'_>, stage: Stage) -> Body {
    let json = table.take("json").and_then(|found| read_tree(table, found, binder, stage));
    let form = table.table("form", "`form`").map(|form| read_templates(&form, binder, stage));
    let graphql = table.table("graphql", "`graphql`").map(|graphql| {
        let query = graphql.required_string("query").map(|query| query.value).unwrap_or_default();
        let variables = graphql.take("variables").and_then(|found| read_tree(&graphql, found, binder, stage));
        graphql.finish();
        Body::Graphql { query, variables: variables.unwrap_or(Tree::Table(Vec::new())) }
    });
    let puts = matches!(stage, Stage::Request(operation) if operation.puts());
    let text = if puts { table.take("text") } else { None };
    let text = text.and_then(|found| read_template(table, found, binder, stage));
    if ["json", "form", "graphql", "text"].iter().filter(|key| table.has(key)).count() > 1 {
        table.report().error(table.spot(), format!("{} has more than one body", table.what()));
    }
    json.map(Body::Json).or(form.map(Body::Form)).or(graphql).or(text.map(Body::Text)).unwrap_or(Body::None)
}

pub(super) fn read_statuses(table: &Reader<'_>, key: &'static str) -> Vec<u16> {
    let mut statuses = Vec::new();
    for found in table.array(key).unwrap_or_default() {
        match found.to_json().as_u64().and_then(|status| u16::try_from(status).ok()) {
            Some(status) if (200..600).contains(&status) => statuses.push(status),
            _ => table.report().error(found.spot(), format!("`{key}` is a list of HTTP statuses")),
        }
    }
    statuses
}

/// Which names a mint takes.
fn read_naming(table: Reader<'_>) -> Naming {
    let longest = table.integer("longest").and_then(|longest| {
        let count = usize::try_from(longest.value).ok().filter(|count| *count > Naming::overhead());
        if count.is_none() {
            let message = format!(
                "`longest` of [mint.name] leaves nothing for a token's name: the rest of a marker takes {} characters",
                Naming::overhead()
            );
            table.report().error(longest.spot, message);
        }
        count
    });
    let alphabet = table.parsed("alphabet", str::parse::<Alphabet>).map(|alphabet| alphabet.value);
    table.finish();
    Naming { longest, alphabet }
}

/// What may be done after a request of unknown outcome. A mint is never sent again: it is looked for by its marker, and
/// the next one has another. A renewal is sent again only where the old secret proves that it did not happen.
fn read_on_timeout(table: &Reader<'_>, operation: Operation) -> OnTimeout {
    let words = [("list-first", OnTimeout::ListFirst), ("never-retry", OnTimeout::NeverRetry)];
    let (usual, words) = match operation {
        Operation::Mint => (OnTimeout::ListFirst, &words[..1]),
        Operation::Renew => (OnTimeout::NeverRetry, &words[..]),
        _ => return OnTimeout::Retry,
    };
    table.choice("on-timeout", words).map_or(usual, |word| word.value)
}

fn read_listing(table: &Reader<'_>, binder: &Binder<'_>, stage: Stage) -> Option<Listing> {
    let items = read_pointer(table, "items");
    let keyed = table.string("keyed").map(|name| name.value);
    let null_is_empty = table.bool("null-is-empty").is_some_and(|flag| flag.value);
    let absent_is_empty = table.bool("absent-is-empty").is_some_and(|flag| flag.value);
    let keep = read_predicates(table, "keep", binder, stage, FailureCode::NotUnderstood);
    let dead = read_predicates(table, "dead", binder, stage, FailureCode::NotUnderstood);
    let absence = table.choice("absence", &[("evidence", false), ("unknown", true)]);
    let leaves_out = absence.is_some_and(|word| word.value);
    let style = table.table("page", "[list.page]").map_or(Some(Style::Whole), read_style);
    Some(Listing { items: items?, keyed, null_is_empty, absent_is_empty, keep, dead, leaves_out, style: style? })
}

pub(super) fn read_style(table: Reader<'_>) -> Option<Style> {
    #[derive(Clone, Copy)]
    enum Word {
        None,
        NextUrl,
        Link,
        Page,
        Offset,
        Cursor,
    }
    let words = [
        ("none", Word::None),
        ("next-url", Word::NextUrl),
        ("link", Word::Link),
        ("page", Word::Page),
        ("offset", Word::Offset),
        ("cursor", Word::Cursor),
    ];
    table.required("style");
    let optional = |key| table.parsed(key, check_pointer).map(|pointer| pointer.value);
    let style = match table.choice("style", &words)?.value {
        Word::None => Some(Style::Whole),
        Word::NextUrl => read_pointer(&table, "next").map(Style::NextUrl),
        Word::Link => Some(Style::Link),
        Word::Page => {
            let first = table.integer("first").and_then(|first| u64::try_from(first.value).ok()).unwrap_or(1);
            Some(Style::Page { first, last: optional("last") })
        }
        Word::Offset => Some(Style::Offset { total: optional("total") }),
        Word::Cursor => read_pointer(&table, "next").map(Style::Cursor),
    };
    table.finish();
    style
}

/// A span such as `"60s"`.
pub(super) fn parse_span(text: &str) -> Result<Span, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    Span::from_std(duration).map_err(|error| error.to_string())
}
