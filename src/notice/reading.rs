//! Reads forms: every name is known, every template is tried before the first message is due.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING};
use serde_json::Value;
use url::Url;

use super::condition::{ConditionKey, Kind, Severity, Turn};
use super::form::{Each, Filling, Form, OF_CONDITION, OF_MESSAGE, OWN};
use super::message::{Entry, Message, Source};
use crate::clock::Span;
use crate::document::{Found, Located, Reader, Report, nearest};
use crate::names::InstanceId;
use crate::provider::model::Tree;
use crate::provider::template::{Name, Template};
use crate::secret::{Secret, TOKEN_PART};

/// Headers that frame a message.
const FRAMING: &[HeaderName] = &[HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

/// Reads the form in `text`, which messages call `name`.
pub fn parse(name: &str, text: &str, report: &mut Report) -> Option<Form> {
    let source = report.add_source(name, text);
    let (table, errors) = toml::de::DeTable::parse_recoverable(report.text(source));
    for error in &errors {
        let spot =
            error.span().map_or(crate::document::Spot::top(source), |span| crate::document::Spot::new(source, span));
        report.error(spot, format!("not TOML: {}", error.message()));
    }
    read(Reader::new(report, source, &table, "the form"), text)
}

/// Reads the form that an inventory describes at `found`, which messages call `what`. `None` where it cannot be used, and
/// the report says why.
pub fn read_own(report: &Report, found: Found<'_>, what: String) -> Option<Form> {
    read(Reader::from_value(report, found, what)?, &format!("{OWN}{}", found.to_json()))
}

/// `source`: what tells it from others.
fn read(table: Reader<'_>, source: &str) -> Option<Form> {
    const EACH: [(&str, Each); 3] = [("message", Each::Message), ("condition", Each::Condition), ("list", Each::List)];
    let errors = table.report().errors();
    let text = |key| table.string(key).map(|text| text.value).unwrap_or_default();
    let list = |key| -> Vec<String> {
        let items = table.strings(key).map(|list| list.value).unwrap_or_default();
        items.into_iter().map(|item| item.value).collect()
    };
    let (name, title, docs) = (text("name"), text("title"), list("docs"));
    let credential = text("credential");
    let needs = table.choice("needs", &[("credential", true), ("nothing", false)]);
    let address = table.choice("address", &[("public", false), ("credential", true)]);
    let address_is_secret = address.is_some_and(|address| address.value);
    let url = table.parsed("url", |text| Url::parse(text).map_err(|error| error.to_string())).map(|url| url.value);
    let path = table.parsed("path", |text| {
        let plain = text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && !"?#{}".contains(c));
        if plain { Ok(text.to_owned()) } else { Err("it begins with \"/\", and has no query") }
    });
    let params = list("params");
    let each = table.choice("each", &EACH).map_or(Each::Message, |each| each.value);
    let repeat = table.parsed("repeat", |text| {
        let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        Span::from_std(duration).map_err(|error| error.to_string())
    });
    let bind = |name: &str| bind(name, each, &params);
    let headers = table.table("headers", format_args!("`headers` of {}", table.what()));
    let headers = headers.map(|headers| read_headers(&headers, &bind)).unwrap_or_default();
    table.required("json");
    let json = table.take("json").and_then(|found| read_tree(&table, found, &bind));
    let spot = table.key_spot("json");
    let report = table.report();
    table.finish();
    let form = Form {
        name: if name.is_empty() { "form".to_owned() } else { name },
        title,
        docs,
        credential_is_needed: address_is_secret || needs.is_some_and(|needs| needs.value),
        credential,
        address_is_secret,
        url,
        params,
        each,
        repeat: repeat.map(|repeat| repeat.value),
        path: path.map(|path| path.value).unwrap_or_default(),
        headers,
        json: json?,
        source: Arc::from(source),
    };
    if report.errors() > errors {
        return None;
    }
    if let Err(error) = try_sample(&form) {
        report.error(spot, format!("the form cannot be filled in: {error}"));
        return None;
    }
    Some(form)
}

/// What a name stands for.
fn bind(name: &str, each: Each, params: &[String]) -> Result<Name, String> {
    let (root, fact) = name.split_once('.').unwrap_or((name, ""));
    let fact = fact.split('.').next().unwrap_or(fact);
    match root {
        "cred" if fact == "secret" => return Ok(Name::CredentialPart(TOKEN_PART.to_owned())),
        "params" if params.iter().any(|param| param == fact) => return Ok(Name::Param(fact.to_owned())),
        "message" if OF_MESSAGE.contains(&fact) => return Ok(Name::Told(name.to_owned())),
        "condition" if each == Each::Message => {
            return Err("`condition` is known where `each` is \"condition\" or \"list\"".to_owned());
        }
        "condition" if OF_CONDITION.contains(&fact) => return Ok(Name::Told(name.to_owned())),
        _ => {}
    }
    let known = OF_MESSAGE.iter().map(|fact| format!("message.{fact}"));
    let known = known.chain(OF_CONDITION.iter().map(|fact| format!("condition.{fact}")));
    let known: Vec<_> =
        known.chain(params.iter().map(|name| format!("params.{name}"))).chain(["cred.secret".to_owned()]).collect();
    let help = nearest(name, known.iter().map(String::as_str));
    let help = help.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
    Err(format!("there is no value `{name}`{help}"))
}

type Bind<'b> = &'b dyn Fn(&str) -> Result<Name, String>;

fn read_template(table: &Reader<'_>, found: Found<'_>, bind: Bind<'_>) -> Option<Template> {
    let text = table.scalar(found)?;
    match Template::new(&text, bind) {
        Ok(template) => Some(template),
        Err(error) => {
            table.report().error(found.spot(), format!("the template does not work: {error}"));
            None
        }
    }
}

fn read_tree(table: &Reader<'_>, found: Found<'_>, bind: Bind<'_>) -> Option<Tree> {
    if found.value().as_table().is_some() {
        let reader = Reader::from_value(table.report(), found, "a table")?;
        let read = |(name, found): (Located<&str>, Found<'_>)| {
            read_tree(&reader, found, bind).map(|tree| (name.value.to_owned(), tree))
        };
        return Some(Tree::Table(reader.entries().filter_map(read).collect()));
    }
    match found.to_json() {
        Value::String(_) => read_template(table, found, bind).map(Tree::Template),
        Value::Array(_) => Some(Tree::List(found.items().filter_map(|item| read_tree(table, item, bind)).collect())),
        fixed => Some(Tree::Fixed(fixed)),
    }
}

fn read_headers(table: &Reader<'_>, bind: Bind<'_>) -> Vec<(HeaderName, Template)> {
    let mut headers = Vec::new();
    for (name, found) in table.entries() {
        match HeaderName::from_bytes(name.value.as_bytes()) {
            Ok(header) if !FRAMING.contains(&header) => {
                headers.extend(read_template(table, found, bind).map(|template| (header, template)));
            }
            _ => table.report().error(name.spot, format!("`{}` is no header for a form to set", name.value)),
        }
    }
    headers
}

/// Fills the form in with sample values, opened and closed.
fn try_sample(form: &Form) -> Result<(), String> {
    let at = chrono::DateTime::UNIX_EPOCH;
    let entry = |turn, until| Entry {
        key: ConditionKey { kind: Kind::Test, subject: "sample".to_owned() },
        turn,
        severity: Severity::Warning,
        account: None,
        token: None,
        why: "why".to_owned(),
        help: "help".to_owned(),
        since: at,
        until,
    };
    let message = Message {
        at,
        source: Source { instance: InstanceId::new([0; 4]), host: "sample".to_owned() },
        entries: vec![entry(Turn::Opened, None), entry(Turn::Closed, Some(at))],
        left_out: 1,
    };
    let url = Url::parse("https://example.com/sample").map_err(|error| error.to_string())?;
    let params: BTreeMap<_, _> = form.params.iter().map(|name| (name.clone(), "sample".to_owned())).collect();
    let secret = Secret::new("sample");
    let filling = Filling { message: &message, url: &url, credential: Some(&secret), params: &params };
    form.requests(&filling).map(drop)
}
