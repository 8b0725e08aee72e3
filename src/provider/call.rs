//! One operation's table: its request, what its answer must be like, and what is taken out of it.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::{Serde, Value as Dynamic};
use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::Value;

use super::definition::ParamSpec;
use super::resolve::{CODES, parse_span, read_headers};
use super::spec::{
    Auth, Body, Call, Captures, ExpirySource, Listing, Moment, Never, Place, Predicate, Source, Style, Test, Tree,
};
use super::template::{Name, Scope, Template, dynamic_time};
use super::time::Format;
use super::{OnTimeout, Operation, ParamKind, Role};
use crate::document::{Found, Located, Reader, nearest};
use crate::outcome::FailureCode;
use crate::secret::TOKEN_PART;

/// Where a template stands, which decides what it may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Auth,
    Request(Operation),
    /// Compared with an answer, of any operation where none is named.
    Answer(Option<Operation>),
}

/// Knows the names of one definition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binder<'a> {
    pub(super) params: &'a BTreeMap<String, ParamSpec>,
    pub(super) parts: &'a BTreeSet<String>,
    pub(super) facts: &'a BTreeSet<String>,
}

impl Binder<'_> {
    /// What `text` stands for at `stage`.
    fn bind(&self, text: &str, stage: Stage) -> Result<Name, String> {
        use Operation::{List, Mint, Renew, Revoke, Verify};
        let (root, rest) = text.split_once('.').unwrap_or((text, ""));
        let operation = match stage {
            Stage::Request(operation) | Stage::Answer(Some(operation)) => Some(operation),
            Stage::Auth | Stage::Answer(None) => None,
        };
        let allowed = match root {
            "want" => matches!(operation, Some(Mint | Renew)),
            "old" => matches!(operation, Some(Verify | Renew | Revoke)),
            "page" => operation == Some(List),
            "cred" => !matches!(stage, Stage::Answer(_)),
            _ => true,
        };
        if !allowed {
            return Err(format!("`{root}` is not known here"));
        }
        let part = |name: &str| name == TOKEN_PART || self.parts.contains(name);
        let name = match (root, rest) {
            ("base_url", "") => Name::BaseUrl,
            ("now", "") => Name::Now,
            ("params", "") => return Err("write `params.NAME` in full".to_owned()),
            ("params", path) => return self.parameter(path),
            ("cred", "username") => Name::Username,
            ("cred", "secret") => Name::CredentialPart(TOKEN_PART.to_owned()),
            ("cred", name) if part(name) => Name::CredentialPart(name.to_owned()),
            ("want", "name") => Name::WantName,
            ("want", "ttl") => Name::WantTtl,
            ("want", "expires") => Name::WantExpires,
            ("old", "id") => Name::OldId,
            ("old", "name") => Name::OldName,
            ("old", _) if matches!(stage, Stage::Answer(_)) && part(rest) => {
                return Err("a secret is not compared with answers".to_owned());
            }
            ("old", name) if part(name) => Name::OldPart(name.to_owned()),
            ("old", name) if self.facts.contains(name) => Name::OldFact(name.to_owned()),
            ("page", "number") => Name::PageNumber,
            ("page", "offset") => Name::PageOffset,
            ("page", "cursor") => Name::PageCursor,
            _ => return Err(self.unknown(text)),
        };
        Ok(name)
    }

    fn parameter(&self, path: &str) -> Result<Name, String> {
        let name = path.split('.').next().unwrap_or(path);
        match self.params.get(name) {
            Some(spec) if name == path || spec.kind == ParamKind::Json => Ok(Name::Param(name.to_owned())),
            Some(_) => Err(format!("`params.{name}` has no parts")),
            None => {
                let help = nearest(name, self.params.keys().map(String::as_str));
                let help = help.map(|near| format!(" (did you mean `params.{near}`?)")).unwrap_or_default();
                Err(format!("there is no parameter `{name}`{help}"))
            }
        }
    }

    fn unknown(&self, text: &str) -> String {
        let mut known: Vec<String> = ["base_url", "now", "cred.secret", "cred.username"].map(String::from).to_vec();
        known.extend(["want.name", "want.ttl", "want.expires", "old.id", "old.name"].map(String::from));
        known.extend(["page.number", "page.offset", "page.cursor"].map(String::from));
        known.extend(self.parts.iter().chain(self.facts).map(|name| format!("old.{name}")));
        let help = nearest(text, known.iter().map(String::as_str));
        let help = help.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
        format!("there is no value `{text}`{help}")
    }
}

/// Sample values: a template that cannot even be rendered with these would fail at the first request.
struct Sample<'a>(&'a Binder<'a>);

impl Scope for Sample<'_> {
    fn value(&self, name: &Name) -> Dynamic {
        match name {
            Name::BaseUrl => Dynamic::from_safe_string("https://example.com".to_owned()),
            Name::Now | Name::WantExpires => dynamic_time(chrono::DateTime::UNIX_EPOCH),
            Name::WantTtl | Name::PageNumber | Name::PageOffset => Dynamic::from(86_400),
            Name::Param(name) => self.0.params.get(name).map_or_else(|| Dynamic::from(()), sample_parameter),
            _ => Dynamic::from("sample"),
        }
    }

    fn secret(&self, _name: &Name) -> Option<&str> {
        Some("sample")
    }
}

fn sample_parameter(spec: &ParamSpec) -> Dynamic {
    let given = spec.default.as_ref().or(spec.example.as_ref()).or(spec.choices.first());
    match (given, spec.kind) {
        (Some(value), _) => Dynamic::from(Serde(value)),
        (None, ParamKind::Integer) => Dynamic::from(1),
        (None, ParamKind::Bool) => Dynamic::from(true),
        (None, ParamKind::List) => Dynamic::from(vec!["sample"]),
        (None, ParamKind::Url | ParamKind::String | ParamKind::Json) => Dynamic::from("sample"),
    }
}

/// One template; what is wrong with it is reported at its place.
pub(super) fn read_template(
    table: &Reader<'_>,
    found: Found<'_>,
    binder: &Binder<'_>,
    stage: Stage,
) -> Option<Template> {
    let text = match found.to_json() {
        Value::String(text) => text,
        Value::Array(_) | Value::Object(_) => {
            table.report().error(found.spot(), "text, a number, or true or false is wanted here");
            return None;
        }
        other => other.to_string(),
    };
    let template = Template::new(&text, &|name| binder.bind(name, stage));
    match template.and_then(|template| try_sample(&template, binder).map(|()| template)) {
        Ok(template) => Some(template),
        Err(error) => {
            table.report().error(found.spot(), format!("the template does not work: {error}"));
            None
        }
    }
}

fn try_sample(template: &Template, binder: &Binder<'_>) -> Result<(), String> {
    // Of a free-form parameter nothing is known before it is given.
    let free = |name: &Name| matches!(name, Name::Param(name) if binder.params[name].kind == ParamKind::Json);
    if template.names().any(free) {
        return Ok(());
    }
    template.value(&Sample(binder)).map(drop)
}

fn read_templates(table: &Reader<'_>, binder: &Binder<'_>, stage: Stage) -> Vec<(String, Template)> {
    let read = |(name, found): (Located<&str>, Found<'_>)| {
        read_template(table, found, binder, stage).map(|template| (name.value.to_owned(), template))
    };
    table.entries().filter_map(read).collect()
}

fn read_tree(table: &Reader<'_>, found: Found<'_>, binder: &Binder<'_>, stage: Stage) -> Option<Tree> {
    if found.value().as_table().is_some() {
        let reader = Reader::from_value(table.report(), found, "a table")?;
        let read = |(name, found): (Located<&str>, Found<'_>)| {
            read_tree(&reader, found, binder, stage).map(|tree| (name.value.to_owned(), tree))
        };
        return Some(Tree::Table(reader.entries().filter_map(read).collect()));
    }
    match found.to_json() {
        Value::String(_) => read_template(table, found, binder, stage).map(Tree::Template),
        Value::Array(_) => {
            let read = |found| read_tree(table, found, binder, stage);
            Some(Tree::List(found.items().filter_map(read).collect()))
        }
        fixed => Some(Tree::Fixed(fixed)),
    }
}

/// One predicate, with what it means when it does not hold.
pub(super) fn read_predicate(
    table: Reader<'_>,
    binder: &Binder<'_>,
    stage: Stage,
    otherwise: FailureCode,
) -> Option<Predicate> {
    let at = read_pointer(&table, "at");
    let or_absent = table.bool("or-absent").is_some_and(|flag| flag.value);
    let otherwise = table.choice("otherwise", CODES).map_or(otherwise, |code| code.value);
    let mut tests: Vec<Option<Test>> = Vec::new();
    let makers: [(&'static str, fn(Tree) -> Test); 3] =
        [("equals", Test::Equals), ("not-equals", Test::NotEquals), ("one-of", Test::OneOf)];
    for (key, make) in makers {
        tests.extend(table.take(key).map(|found| read_tree(&table, found, binder, stage).map(make)));
    }
    for (key, yes, no) in [("present", Test::Present, Test::Absent), ("empty", Test::Empty, Test::NonEmpty)] {
        tests.extend(table.bool(key).map(|flag| Some(if flag.value { yes } else { no })));
    }
    let count = tests.len();
    let test = tests.pop().flatten();
    if count != 1 {
        let message = format!("{} needs one of `equals`, `not-equals`, `one-of`, `present`, `empty`", table.what());
        table.report().error(table.spot(), message);
    }
    table.finish();
    Some(Predicate { at: at?, test: test?, or_absent, otherwise })
}

fn read_predicates(
    table: &Reader<'_>,
    key: &'static str,
    binder: &Binder<'_>,
    stage: Stage,
    otherwise: FailureCode,
) -> Vec<Predicate> {
    let items = table.tables(key, &format!("an item of `{key}`"));
    items.into_iter().filter_map(|item| read_predicate(item, binder, stage, otherwise)).collect()
}

/// Takes `key` as a JSON pointer (RFC 6901): empty, or with a slash before each step.
fn read_pointer(table: &Reader<'_>, key: &'static str) -> Option<String> {
    table.required(key);
    table.parsed(key, check_pointer).map(|pointer| pointer.value)
}

fn check_pointer(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!("a JSON pointer begins with a slash: did you mean \"/{}\"?", text.replace('.', "/")))
    }
}

/// Reads the table of `operation`.
pub(super) fn read_call(table: Reader<'_>, operation: Operation, binder: &Binder<'_>, auth: &Auth) -> Option<Call> {
    let stage = Stage::Request(operation);
    let answer = Stage::Answer(Some(operation));
    let by_token = matches!(operation, Operation::Verify | Operation::Renew);
    let roles = [("account", Role::Account), ("subject", Role::Subject), ("nobody", Role::Nobody)];
    let usual = if by_token { Role::Subject } else { Role::Account };
    let role = table.choice("auth", &roles).map_or(usual, |role| role.value);
    if role != Role::Nobody && auth.forms.is_empty() {
        table.report().error(table.spot(), format!("{} needs a form of authentication in [auth.form]", table.what()));
    }
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "LIST"];
    let method = table.parsed("method", |text| match Method::from_bytes(text.as_bytes()) {
        Ok(method) if methods.contains(&text) => Ok(method),
        _ => Err(format!("one of {} is wanted", methods.join(", "))),
    });
    let method = method.map_or(Method::GET, |method| method.value);
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
    let body = read_body(&table, binder, stage);
    let ok = read_statuses(&table, "ok");
    let expect = read_predicates(&table, "expect", binder, answer, FailureCode::Rejected);
    let mut call = Call {
        role,
        method,
        url: url?,
        query,
        headers: headers.unwrap_or_default(),
        body,
        ok,
        gone_ok: Vec::new(),
        gone_expect: Vec::new(),
        expect,
        matches: Vec::new(),
        capture: Captures::default(),
        listing: None,
        on_timeout: OnTimeout::Retry,
        settle: None,
        lead: None,
        overlap: false,
    };
    match operation {
        Operation::Mint => {
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
        }
        Operation::List => call.listing = Some(read_listing(&table, binder, answer)?),
    }
    call.on_timeout = read_on_timeout(&table, operation);
    let captures = if operation == Operation::List { ("item", "[list.item]") } else { ("capture", "`capture`") };
    if operation != Operation::Revoke {
        let captured = table.table(captures.0, captures.1).map(|captures| read_captures(captures, operation));
        call.capture = captured.unwrap_or_default();
    }
    if operation == Operation::Mint && call.capture.secret.is_none() {
        table.report().error(table.spot(), "[mint] must say in `capture` where the `secret` stands");
    }
    table.finish();
    Some(call)
}

fn check_url(table: &Reader<'_>, found: Found<'_>, url: &Template) -> bool {
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

fn read_body(table: &Reader<'_>, binder: &Binder<'_>, stage: Stage) -> Body {
    let json = table.take("json").and_then(|found| read_tree(table, found, binder, stage));
    let form = table.table("form", "`form`").map(|form| read_templates(&form, binder, stage));
    let graphql = table.table("graphql", "`graphql`").map(|graphql| {
        let query = graphql.required_string("query").map(|query| query.value).unwrap_or_default();
        let variables = graphql.take("variables").and_then(|found| read_tree(&graphql, found, binder, stage));
        graphql.finish();
        Body::Graphql { query, variables: variables.unwrap_or(Tree::Table(Vec::new())) }
    });
    if ["json", "form", "graphql"].iter().filter(|key| table.has(key)).count() > 1 {
        table.report().error(table.spot(), format!("{} has more than one of `json`, `form`, `graphql`", table.what()));
    }
    json.map(Body::Json).or(form.map(Body::Form)).or(graphql).unwrap_or(Body::None)
}

fn read_statuses(table: &Reader<'_>, key: &'static str) -> Vec<u16> {
    let mut statuses = Vec::new();
    for found in table.array(key).unwrap_or_default() {
        match found.to_json().as_u64().and_then(|status| u16::try_from(status).ok()) {
            Some(status) if (200..600).contains(&status) => statuses.push(status),
            _ => table.report().error(found.spot(), format!("`{key}` is a list of HTTP statuses")),
        }
    }
    statuses
}

fn read_on_timeout(table: &Reader<'_>, operation: Operation) -> OnTimeout {
    let usual = match operation {
        Operation::Mint => OnTimeout::ListFirst,
        Operation::Renew => OnTimeout::NeverRetry,
        Operation::List | Operation::Verify | Operation::Revoke => return OnTimeout::Retry,
    };
    let words =
        [("retry", OnTimeout::Retry), ("list-first", OnTimeout::ListFirst), ("never-retry", OnTimeout::NeverRetry)];
    table.choice("on-timeout", &words).map_or(usual, |word| word.value)
}

fn read_listing(table: &Reader<'_>, binder: &Binder<'_>, stage: Stage) -> Option<Listing> {
    let items = read_pointer(table, "items");
    let null_is_empty = table.bool("null-is-empty").is_some_and(|flag| flag.value);
    let keep = read_predicates(table, "keep", binder, stage, FailureCode::NotUnderstood);
    let dead = read_predicates(table, "dead", binder, stage, FailureCode::NotUnderstood);
    let style = table.table("page", "[list.page]").map_or(Some(Style::Whole), read_style);
    Some(Listing { items: items?, null_is_empty, keep, dead, style: style? })
}

fn read_style(table: Reader<'_>) -> Option<Style> {
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

fn read_captures(table: Reader<'_>, operation: Operation) -> Captures {
    let mut captures = Captures::default();
    if matches!(operation, Operation::Mint | Operation::Renew) {
        captures.secret = read_place(&table, "secret");
        captures.parts = read_places(&table, "parts");
        captures.refresh_expires = table.take("refresh-expires").and_then(|found| read_moment(&table, found));
        captures.renewable_until = table.take("renewable-until").and_then(|found| read_moment(&table, found));
    }
    if operation == Operation::List {
        captures.name = read_place(&table, "name");
        captures.created = table.take("created").and_then(|found| read_moment(&table, found));
        captures.last_used = table.take("last-used").and_then(|found| read_moment(&table, found));
    }
    if operation != Operation::Verify {
        captures.facts = read_places(&table, "facts");
    }
    captures.id = read_place(&table, "id");
    captures.expires = match table.take("expires") {
        None => Vec::new(),
        Some(found) if found.value().as_array().is_some() => {
            found.items().filter_map(|found| read_expiry(&table, found)).collect()
        }
        Some(found) => read_expiry(&table, found).into_iter().collect(),
    };
    table.finish();
    captures
}

fn read_expiry(table: &Reader<'_>, found: Found<'_>) -> Option<ExpirySource> {
    let reader = Reader::from_value(table.report(), found, "`expires`")?;
    if !reader.has("from") {
        return read_moment(table, found).map(ExpirySource::Answer);
    }
    let words: [(&str, fn() -> ExpirySource); 4] = [
        ("want", || ExpirySource::Want),
        ("jwt", || ExpirySource::Jwt),
        ("list", || ExpirySource::List),
        ("none", || ExpirySource::Never),
    ];
    let source = reader.choice("from", &words).map(|make| (make.value)());
    reader.finish();
    source
}

fn read_moment(table: &Reader<'_>, found: Found<'_>) -> Option<Moment> {
    let reader = Reader::from_value(table.report(), found, "a moment")?;
    let place = place_of(&reader);
    let format = reader.choice("format", Format::WORDS);
    reader.required("format");
    let values = |key| reader.array(key).unwrap_or_default().iter().map(Found::to_json).collect::<Vec<_>>();
    let never = values("never").into_iter().map(|value| match value.as_str() {
        Some("null") => Never::Null,
        Some("absent") => Never::Absent,
        Some("year 9999") => Never::Year9999,
        _ => Never::Value(value),
    });
    let never = never.collect();
    let unset = values("unset");
    reader.finish();
    Some(Moment { place: place?, format: format?.value, never, unset })
}

fn read_places(table: &Reader<'_>, key: &'static str) -> Vec<(String, Place)> {
    let Some(named) = table.table(key, format!("`{key}`")) else { return Vec::new() };
    let read = |(name, found): (Located<&str>, Found<'_>)| {
        place_from(&named, name.value, found).map(|place| (name.value.to_owned(), place))
    };
    named.entries().filter_map(read).collect()
}

fn read_place(table: &Reader<'_>, key: &'static str) -> Option<Place> {
    table.take(key).and_then(|found| place_from(table, key, found))
}

/// A place is a JSON pointer, or a table that says more.
fn place_from(table: &Reader<'_>, key: &str, found: Found<'_>) -> Option<Place> {
    let Some(text) = found.value().as_str() else {
        let reader = Reader::from_value(table.report(), found, format!("`{key}`"))?;
        let place = place_of(&reader);
        reader.finish();
        return place;
    };
    match check_pointer(text) {
        Ok(pointer) => Some(Place { source: Source::Body(pointer), optional: false }),
        Err(error) => {
            table.report().error(found.spot(), error);
            None
        }
    }
}

fn place_of(reader: &Reader<'_>) -> Option<Place> {
    let optional = reader.bool("optional").is_some_and(|flag| flag.value);
    let header = reader.parsed("header", str::parse::<HeaderName>);
    let at = if header.is_none() { read_pointer(reader, "at") } else { None };
    let source = header.map(|header| Source::Header(header.value)).or(at.map(Source::Body));
    Some(Place { source: source?, optional })
}
