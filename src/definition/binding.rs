//! What the names in templates stand for, and templates read from a file: a name that is not known where it stands is
//! an error with a place, and so is an expression that fails with sample values.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::{Serde, Value as Dynamic};
use serde_json::Value;

use crate::document::{Found, Located, Reader, nearest};
use crate::outcome::FailureCode;
use crate::provider::Operation;
use crate::provider::filters::dynamic_time;
use crate::provider::model::{Document, Entry, Slots, Tree};
use crate::provider::params::{ParamKind, ParamSpec};
use crate::provider::template::{Name, Scope, Template};
use crate::secret::TOKEN_PART;
use reqwest::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING};

/// Headers that frame a message: a wrong one would make one request into two.
const FRAMING: &[HeaderName] = &[HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

/// Where a template stands, which decides what it may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Auth,
    /// The headers of a form that signs.
    Signed,
    /// The request that exchanges the credential for a session.
    Login,
    Request(Operation),
    /// A request of a mint that follows another one, whose answer told of something new.
    Then,
    /// Of parameters alone.
    Params,
    /// Compared with an answer, of any operation where none is named.
    Answer(Option<Operation>),
}

/// Knows the names of one definition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binder<'a> {
    pub(super) params: &'a BTreeMap<String, ParamSpec>,
    pub(super) parts: &'a BTreeSet<String>,
    pub(super) facts: &'a BTreeSet<String>,
    /// Facts of the request that goes before a write.
    pub(super) prepared: &'a BTreeSet<String>,
    /// The failures that an answer can be said to mean.
    pub(super) codes: &'static [(&'static str, FailureCode)],
}

impl Binder<'_> {
    /// What `text` stands for at `stage`.
    fn bind(&self, text: &str, stage: Stage) -> Result<Name, String> {
        use Operation::{List, Mint, Read, Renew, Revoke, Verify};
        let (root, rest) = text.split_once('.').unwrap_or((text, ""));
        let operation = match stage {
            Stage::Request(operation) | Stage::Answer(Some(operation)) => Some(operation),
            Stage::Then => Some(Mint),
            Stage::Auth | Stage::Signed | Stage::Login | Stage::Params | Stage::Answer(None) => None,
        };
        let puts = matches!(stage, Stage::Request(operation) if operation.puts());
        let allowed = match root {
            "want" => matches!(operation, Some(Mint | Renew)),
            "old" => matches!(operation, Some(Verify | Renew | Revoke)),
            "page" => matches!(operation, Some(List | Read)),
            "new" => stage == Stage::Then,
            "jwt" => stage == Stage::Signed,
            "cred" => !matches!(stage, Stage::Answer(_) | Stage::Params),
            "value" | "read" | "prepare" | "delivery" | "mark" => puts,
            "base_url" | "now" => stage != Stage::Params,
            _ => true,
        };
        if !allowed {
            return Err(format!("`{root}` is not known here"));
        }
        let part = |name: &str| name == TOKEN_PART || self.parts.contains(name);
        let name = match (root, rest) {
            ("base_url", "") => Name::BaseUrl,
            ("now", "") => Name::Now,
            ("jwt", "") => Name::Jwt,
            ("params", "") => return Err("write `params.NAME` in full".to_owned()),
            ("params", path) => return self.parameter(path),
            ("cred", "username") => Name::Username,
            ("cred", "secret") => Name::CredentialPart(TOKEN_PART.to_owned()),
            ("cred", name) if part(name) => Name::CredentialPart(name.to_owned()),
            ("want", "name") => Name::WantName,
            ("want", "ttl") => Name::WantTtl,
            ("want", "expires") => Name::WantExpires,
            ("want", "step") => Name::WantStep,
            ("want", "secret") if operation == Some(Mint) && !matches!(stage, Stage::Answer(_)) => Name::WantSecret,
            ("old" | "new", "id") => Name::OldId,
            ("old", "name") => Name::OldName,
            ("old", _) if matches!(stage, Stage::Answer(_)) && part(rest) => {
                return Err("a secret is not compared with answers".to_owned());
            }
            ("old", name) if part(name) => Name::OldPart(name.to_owned()),
            ("old" | "new", name) if self.facts.contains(name) => Name::OldFact(name.to_owned()),
            ("value", "") => Name::SlotValue,
            ("mark", "") => Name::Mark,
            ("delivery", "id") => Name::DeliveryId,
            ("read", "value") => Name::ReadValue,
            ("read", "version") => Name::ReadVersion,
            ("read", name) if self.facts.contains(name) => Name::ReadFact(name.to_owned()),
            ("prepare", name) if self.prepared.contains(name) => Name::Prepared(name.to_owned()),
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
        known.extend(["want.name", "want.ttl", "want.expires", "want.step", "old.id", "old.name"].map(String::from));
        known.push("want.secret".to_owned());
        known.extend(["page.number", "page.offset", "page.cursor"].map(String::from));
        known.extend(self.parts.iter().chain(self.facts).map(|name| format!("old.{name}")));
        known.extend(self.facts.iter().map(|name| format!("new.{name}")).chain(["new.id".to_owned()]));
        known.extend(["value", "mark", "delivery.id", "read.value", "read.version"].map(String::from));
        known.extend(self.facts.iter().map(|name| format!("read.{name}")));
        known.extend(self.prepared.iter().map(|name| format!("prepare.{name}")));
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
            // 32 bytes in base64, for what seals to a key.
            Name::Prepared(_) => Dynamic::from("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
            Name::Param(name) => self.0.params.get(name).map_or_else(|| Dynamic::from(()), sample_parameter),
            _ => Dynamic::from("sample"),
        }
    }

    fn secret(&self, _name: &Name) -> Option<&str> {
        Some("sample\nsample")
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
    let text = table.scalar(found)?;
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

pub(super) fn read_templates(table: &Reader<'_>, binder: &Binder<'_>, stage: Stage) -> Vec<(String, Template)> {
    let read = |(name, found): (Located<&str>, Found<'_>)| {
        read_template(table, found, binder, stage).map(|template| (name.value.to_owned(), template))
    };
    table.entries().filter_map(read).collect()
}

/// A table of headers.
pub(super) fn read_headers(table: &Reader<'_>, binder: &Binder<'_>, stage: Stage) -> Vec<(HeaderName, Template)> {
    let mut headers = Vec::new();
    for (name, found) in table.entries() {
        match HeaderName::from_bytes(name.value.as_bytes()) {
            Ok(header) if FRAMING.contains(&header) => {
                table.report().error(name.spot, format!("the header `{header}` is not for a definition to set"));
            }
            Ok(header) => headers.extend(read_template(table, found, binder, stage).map(|value| (header, value))),
            Err(_) => table.report().error(name.spot, format!("`{}` is not a name for a header", name.value)),
        }
    }
    headers
}

pub(super) fn read_tree(table: &Reader<'_>, found: Found<'_>, binder: &Binder<'_>, stage: Stage) -> Option<Tree> {
    if let Some(entries) = found.value().as_table() {
        let reader = Reader::from_value(table.report(), found, "a table")?;
        let puts = matches!(stage, Stage::Request(operation) if operation.puts());
        if puts && ["merged", "changed"].iter().any(|key| entries.contains_key(*key)) {
            return read_document(reader).map(Tree::Document);
        }
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

/// `{ merged = "map" }` or `{ changed = "map" }`: the slots of a target.
fn read_document(reader: Reader<'_>) -> Option<Document> {
    let map = [("map", ())];
    let slots = match (reader.choice("merged", &map), reader.choice("changed", &map)) {
        (Some(_), None) => Some(Slots::Merged),
        (None, Some(_)) => Some(Slots::Changed),
        (None, None) => None,
        (Some(_), Some(_)) => {
            reader.report().error(reader.spot(), "slots are either `merged` or `changed`");
            None
        }
    };
    let base64 = reader.choice("encode", &[("base64", true)]).is_some();
    let text = reader.choice("write", &[("json", true)]).is_some();
    let with = reader.take("with").map(|found| found.to_json());
    let entry = reader.string("entry").map(|value| Entry {
        value: value.value,
        with: with.as_ref().and_then(Value::as_object).cloned().unwrap_or_default(),
    });
    if with.as_ref().is_some_and(|with| entry.is_none() || !with.is_object()) {
        let message = "`with` is a table of what stands beside the value in an `entry`";
        reader.report().error(reader.key_spot("with"), message);
    }
    reader.finish();
    slots.map(|slots| Document { slots, base64, text, entry })
}
