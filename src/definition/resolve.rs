//! From the tables of a file to a definition: every key is known, every name is bound, every template is compiled and
//! tried with sample values before the first request is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reqwest::header::HeaderName;
use url::Url;

use super::binding::{Binder, Stage, read_headers, read_template, read_templates};
use super::call::{operations_of, parse_span, read_call, read_statuses};
use super::capture::{CODES, STORE_CODES, read_classify, read_predicate};
use super::contract::{read_contract, read_server};
use super::discover::{read_default_policy, read_discoveries};
use super::lint::read_reasons;
use super::login::read_login;
use super::params::read_params;
use super::store;
use crate::clock::Span;
use crate::document::Reader;
use crate::names::ProviderName;
use crate::outcome::FailureCode;
use crate::provider::Operation;
use crate::provider::lifetime::Lifetime;
use crate::provider::model::{Answers, Auth, Call, Claims, Form, Limit, ResetUnit};
use crate::provider::resolved::{Checked, Provider, Rules, digest};
use crate::provider::template::is_identifier;
use crate::secret::TOKEN_PART;

/// An operation that has this key takes the place of the one that it would extend; one without changes single keys of it.
const WHOLE: Option<&str> = Some("url");

/// Reads a whole definition. `None` where it cannot be used; the report then says why.
///
/// `file` stands over the files that it extends; `sources` are the texts of all of them, its own first.
#[expect(clippy::too_many_lines, reason = "one step for each table of the file")]
pub(super) fn read_definition(file: &Reader<'_>, sources: &[&str]) -> Option<Provider> {
    let errors = file.report().errors();
    let stores = file.has("store");
    if stores && file.has("provider") {
        let message = "a definition is either of a [provider] of tokens or of a [store], and so is what it extends";
        file.report().error(file.key_spot("store"), message);
        return None;
    }
    let head = if stores {
        file.merged("store", "[store]", None)
    } else {
        let head = file.merged("provider", "[provider]", None);
        if head.is_none() && !file.has("provider") {
            file.required("provider");
        }
        head
    };
    let head = head?;
    // What the file says of itself. The name, and how far it was checked, are not those of what it extends.
    let own = |key: &str| head.peek(key).is_some_and(|found| found.spot().source() == head.spot().source());
    if !own("name") {
        file.report().error(head.spot(), format!("{} lacks `name`", head.what()));
    }
    let name = head.string("name").filter(|_| own("name"));
    let name = name.and_then(|name| match name.value.parse::<ProviderName>() {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            file.report().error(name.spot, format!("\"{}\" is not a name for a definition: {error}", name.value));
            None
        }
    });
    let text = |key| head.string(key).map(|text| text.value).unwrap_or_default();
    let list = |key| -> Vec<String> {
        let items = head.strings(key).map(|list| list.value).unwrap_or_default();
        items.into_iter().map(|item| item.value).collect()
    };
    let checked =
        [("docs", Checked::Docs), ("contract", Checked::Contract), ("mock", Checked::Mock), ("live", Checked::Live)];
    let title = text("title");
    let docs = list("docs");
    let checked = head.choice("checked", &checked).filter(|_| own("checked"));
    let checked = checked.map_or(Checked::Docs, |checked| checked.value);
    let extends = head.string("extends").filter(|_| own("extends")).map(|base| base.value);
    let without = if stores { Vec::new() } else { operations_of(&head, "without") };
    let (credential, notes) = (text("credential"), list("notes"));
    let old_token = if stores { String::new() } else { text("old-token") };
    let example = head.string("example").filter(|_| own("example")).map(|text| text.value).unwrap_or_default();
    let default_url = head.parsed("url", parse_url).map(|url| url.value);
    let unique_name = !stores && head.bool("unique-name").is_some_and(|flag| flag.value);
    let overlap = stores || head.bool("overlap").is_none_or(|flag| flag.value);
    let max_live = if stores { None } else { read_max_live(&head) };
    let of_store = stores.then(|| store::read_head(&head));
    head.finish();

    let params = file.merged("params", "[params]", None).map(|table| read_params(&table)).unwrap_or_default();
    let of_tokens = |key, what: &str| if stores { None } else { file.merged(key, what, None) };
    let lifetime = of_tokens("lifetime", "[lifetime]").map(read_lifetime).unwrap_or_default();
    let policy = of_tokens("default-policy", "[default-policy]");
    let default_policy = policy.map(read_default_policy).unwrap_or_default();
    // Of what this file changes nothing is said by what the one that it extends was held against.
    let own = |key| file.peek(key).is_some_and(|found| found.spot().source() == file.spot().source());
    let (held, run) = (own("contract"), own("server"));
    let contract = of_tokens("contract", "[contract]").and_then(read_contract).filter(|_| held);
    let server = of_tokens("server", "[server]").and_then(read_server).filter(|_| run);
    let reasons = file.merged("lint", "[lint]", None).map(|table| read_reasons(&table, stores)).unwrap_or_default();
    let mut tables = if stores { store::operation_tables(file) } else { operation_tables(file) };
    tables.retain(|(operation, _)| !without.contains(operation));
    let parts = captured_names(&tables, "parts");
    let prepared = store::captured(&tables, Operation::Prepare);
    let facts = if stores { store::captured(&tables, Operation::Read) } else { captured_names(&tables, "facts") };
    let codes = if stores { STORE_CODES } else { CODES };
    let binder = Binder { params: &params, parts: &parts, facts: &facts, prepared: &prepared, codes };
    if stores {
        store::check_names(file, facts.iter().chain(&prepared));
    } else {
        check_names(file, &parts, &facts);
    }
    let auth = file.merged("auth", "[auth]", None).map(|table| read_auth(&table, &binder)).unwrap_or_default();
    let answers = file.merged("answer", "[answer]", None).map(|table| read_answers(table, &binder)).unwrap_or_default();
    let login = file.merged("login", "[login]", WHOLE).and_then(|table| read_login(table, &binder)).map(Arc::new);
    let calls =
        if stores { store::read_calls(file, tables, &binder, &auth) } else { read_calls(tables, &binder, &auth) };
    let store = of_store.map(|head| Arc::new(store::read_rules(file, head, &binder)));
    let found = of_tokens("discover", "[discover]");
    let discoveries = found.map(|table| read_discoveries(&table, &binder, &auth)).unwrap_or_default();
    for (operation, call) in &calls {
        check_expiry_sources(file, *operation, call, &calls);
    }
    let name = name?;
    if file.report().errors() > errors {
        return None;
    }
    let auth = Arc::new(auth);
    let answers = Arc::new(answers);
    Some(Provider {
        name,
        title,
        docs,
        checked,
        credential,
        old_token,
        notes,
        example,
        default_policy,
        reasons,
        contract,
        server,
        params,
        store,
        default_url,
        rules: Rules {
            lifetime,
            unique_name,
            overlap,
            max_live,
            parts,
            facts,
            auth,
            answers,
            calls,
            login,
            discoveries,
        },
        extends: extends.unwrap_or_default(),
        source: sources.first().copied().unwrap_or_default().into(),
        digest: digest(sources),
    })
}

/// How many live tokens there may be in one place.
fn read_max_live(head: &Reader<'_>) -> Option<usize> {
    let most = head.integer("max-live")?;
    match usize::try_from(most.value) {
        Ok(count) if count >= 2 => Some(count),
        _ => {
            let message =
                "`max-live` of [provider] must be 2 or more: a new token lives beside the old one for a while";
            let help = "where there is but one, leave out [mint] and let [renew] replace it in place";
            head.report().error_with_help(most.spot, message, help);
            None
        }
    }
}

/// The tables of the operations that there are.
pub(super) fn operation_tables<'d>(file: &Reader<'d>) -> Vec<(Operation, Reader<'d>)> {
    let table = |operation: &Operation| {
        let key = operation.word();
        Some((*operation, file.merged(key, format!("[{key}]"), WHOLE)?))
    };
    Operation::OF_PROVIDERS.iter().filter_map(table).collect()
}

pub(super) fn read_calls(
    tables: Vec<(Operation, Reader<'_>)>,
    binder: &Binder<'_>,
    auth: &Auth,
) -> BTreeMap<Operation, Arc<Call>> {
    let read = |(operation, table)| Some((operation, Arc::new(read_call(table, operation, binder, auth)?)));
    tables.into_iter().filter_map(read).collect()
}

/// The names of the parts or facts that any operation captures: templates of all of them may use these names.
pub(super) fn captured_names(tables: &[(Operation, Reader<'_>)], kind: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, operation) in tables {
        let places = ["capture", "item"].into_iter().filter_map(|capture| operation.peek(capture));
        let mut found: Vec<_> = places.filter_map(|capture| capture.value().get(kind)).collect();
        let later = operation.peek("then").and_then(|steps| steps.value().as_array());
        let captures = later.into_iter().flatten().filter_map(|step| step.get_ref().get("capture"));
        found.extend(captures.filter_map(|capture| capture.get_ref().get(kind)));
        for table in found.into_iter().filter_map(|found| found.get_ref().as_table()) {
            names.extend(table.keys().map(|name| name.get_ref().to_string()));
        }
    }
    names
}

pub(super) fn check_names(file: &Reader<'_>, parts: &BTreeSet<String>, facts: &BTreeSet<String>) {
    for name in parts.iter().chain(facts) {
        if !is_identifier(name) {
            file.report().error(file.spot(), format!("`{name}` cannot be captured: names are of a-z, 0-9 and `_`"));
        }
    }
    let reserved = ["id", "name", "secret", "username", TOKEN_PART];
    for name in parts.iter().filter(|name| facts.contains(*name) || reserved.contains(&name.as_str())) {
        file.report().error(file.spot(), format!("the part `{name}` needs a name that nothing else has"));
    }
    for name in facts.iter().filter(|name| reserved.contains(&name.as_str())) {
        file.report().error(file.spot(), format!("the fact `{name}` needs a name that nothing else has"));
    }
}

pub(super) fn check_expiry_sources(
    file: &Reader<'_>,
    of: Operation,
    call: &Call,
    calls: &BTreeMap<Operation, Arc<Call>>,
) {
    use crate::provider::model::ExpirySource::List;
    let by_list = call.capture.expires.iter().any(|source| matches!(source, List));
    let listed = calls.get(&Operation::List).is_some_and(|list| !list.capture.expires.is_empty());
    if by_list && (of == Operation::List || !listed) {
        let message = "`from = \"list\"` needs a [list] whose items capture `expires`";
        file.report().error(file.key_spot(of.word()), message);
    }
}

fn read_lifetime(table: Reader<'_>) -> Lifetime {
    let default = table.parsed("default", parse_span).map(|span| span.value);
    let units = [("day", Span::days(1)), ("hour", Span::hours(1)), ("second", Span::seconds(1))];
    let round = table.choice("round", &units).map(|unit| unit.value);
    let min = table.parsed("min", parse_span).map(|span| span.value);
    let max = table.parsed("max", parse_span).map(|span| span.value);
    let mut ladder = Vec::new();
    if let Some(steps) = table.table("ladder", "`ladder`") {
        for (word, found) in steps.entries() {
            match parse_span(found.value().as_str().unwrap_or_default()) {
                Ok(span) => ladder.push((word.value.to_owned(), span)),
                Err(error) => steps.report().error(found.spot(), error),
            }
        }
        ladder.sort_by_key(|(_, span)| *span);
    }
    table.finish();
    Lifetime { default, round, min, max, ladder }
}

fn read_auth(table: &Reader<'_>, binder: &Binder<'_>) -> Auth {
    let mut forms = BTreeMap::new();
    let account = table.take("account").and_then(|found| read_template(table, found, binder, Stage::Auth));
    let subject = table.take("subject").and_then(|found| read_template(table, found, binder, Stage::Auth));
    if let Some(named) = table.merged("form", "[auth.form]", None) {
        for (name, found) in named.entries() {
            let what = format!("[auth.form.{}]", name.value);
            let Some(reader) = Reader::from_value(table.report(), found, what) else { continue };
            let basic = reader.bool("basic").is_some_and(|flag| flag.value);
            let claims = reader.table("jwt", "`jwt`").map(|table| read_claims(table, binder));
            let aws = reader.table("aws-v4", "`aws-v4`").map(|table| read_aws(&table, binder));
            let stage = if claims.is_some() { Stage::Signed } else { Stage::Auth };
            let headers = reader.table("headers", "`headers`").map(|table| read_headers(&table, binder, stage));
            let form = match (basic, headers, claims, aws) {
                (true, None, None, None) => Some(Form::Basic),
                (false, None, None, Some(form)) => form,
                (false, Some(headers), None, None) => Some(Form::Headers(headers)),
                (false, Some(headers), Some(claims), None) => Some(Form::Signed { claims, headers }),
                _ => None,
            };
            match form {
                Some(form) => drop(forms.insert(name.value.to_owned(), form)),
                None => reader.report().error(reader.spot(), "a form has one of `headers`, `basic = true`, `aws-v4`"),
            }
            reader.finish();
        }
    }
    if forms.len() > 1 && (account.is_none() || subject.is_none()) {
        let message = "with several forms, `account` and `subject` of [auth] must say which one applies";
        table.report().error(table.spot(), message);
    }
    for template in account.iter().chain(&subject) {
        if template.is_secret() {
            table.report().error(table.spot(), "the name of a form cannot depend on a secret");
        }
    }
    table.entries().for_each(|(key, _)| {
        if !["account", "subject", "form"].contains(&key.value) {
            table
                .report()
                .error(key.spot, format!("unknown key `{}` in [auth] (valid: account, subject, form)", key.value));
        }
    });
    Auth { forms, account, subject }
}

/// The service and the region that a signature of AWS is for.
fn read_aws(table: &Reader<'_>, binder: &Binder<'_>) -> Option<Form> {
    let text = |key| {
        table.required(key);
        table.take(key).and_then(|found| read_template(table, found, binder, Stage::Auth))
    };
    let (service, region) = (text("service"), text("region"));
    for (key, _) in table.entries() {
        if !["service", "region"].contains(&key.value) {
            let message = format!("unknown key `{}` in `aws-v4` (valid: region, service)", key.value);
            table.report().error(key.spot, message);
        }
    }
    Some(Form::AwsV4 { service: service?, region: region? })
}

/// What is signed, and for how long it holds.
fn read_claims(table: Reader<'_>, binder: &Binder<'_>) -> Claims {
    let given = table.table("claims", "`claims`").map(|claims| read_templates(&claims, binder, Stage::Auth));
    table.required("ttl");
    let ttl = table.parsed("ttl", parse_span).map_or(Span::zero(), |span| span.value);
    let backdate = table.parsed("backdate", parse_span).map_or(Span::zero(), |span| span.value);
    table.finish();
    Claims { given: given.unwrap_or_default(), ttl, backdate }
}

fn read_answers(table: Reader<'_>, binder: &Binder<'_>) -> Answers {
    let read = |reader: Reader<'_>| read_predicate(reader, binder, Stage::Answer(None), FailureCode::Rejected);
    let expect = table.tables("expect", "an item of `expect`").into_iter().filter_map(read).collect();
    let message = table.strings("message").map(|list| list.value).unwrap_or_default();
    let message = message.into_iter().map(|pointer| pointer.value).collect();
    let classify = read_classify(&table, binder, Stage::Answer(None));
    let limit = table.table("limit", "[answer.limit]").map(read_limit).unwrap_or_default();
    table.finish();
    Answers { expect, message, classify, limit }
}

fn read_limit(table: Reader<'_>) -> Limit {
    let header = |key| table.parsed(key, str::parse::<HeaderName>).map(|name| name.value);
    let reset = header("reset");
    let remaining = header("remaining");
    let units = [("epoch", ResetUnit::Epoch), ("delta", ResetUnit::Delta)];
    let unit = table.choice("unit", &units).map(|unit| unit.value);
    if reset.is_some() != unit.is_some() {
        table.report().error(table.spot(), "[answer.limit] needs `reset` and `unit` together");
    }
    let statuses = read_statuses(&table, "statuses");
    table.finish();
    Limit { reset: reset.zip(unit), remaining, statuses }
}

fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.host_str().is_none() || url.query().is_some() || url.fragment().is_some() {
        return Err("an address has a host, and neither a query nor a fragment".to_owned());
    }
    Ok(url)
}
