//! Templates of a definition: literal text with `{{ expression }}` in it.
//!
//! A template that is nothing but one expression keeps the type of its value, so that a number stays a number in a
//! JSON body; any other yields text. Values can never become structure: bodies are built from tables of templates, and
//! what goes into a URL is percent-encoded. Every name is checked when the definition is loaded, so a misspelt one is
//! an error with a place and not a request with a hole.

mod bounds;

use std::collections::BTreeMap;
use std::fmt;

use minijinja::value::Value as Dynamic;
use minijinja::{Error, Expression};
use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use super::filters::{ENGINE, percent_encode};
use super::params::{ParamKind, ParamSpec};
use bounds::{check_product, check_size, check_words};

/// A name that a template may use, bound to what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::enum_variant_names, reason = "the variants spell what templates write: want.name, old.name")]
pub(crate) enum Name {
    BaseUrl,
    Now,
    Param(String),
    Username,
    /// A part of the secret that authenticates.
    CredentialPart(String),
    WantName,
    /// Seconds.
    WantTtl,
    WantExpires,
    /// The provider's word for the lifetime.
    WantStep,
    /// The secret that a new token is to have, where the caller chooses it.
    WantSecret,
    /// What the credential signed for this request.
    Jwt,
    OldId,
    OldName,
    OldFact(String),
    /// A part of the subject's secret.
    OldPart(String),
    PageNumber,
    PageOffset,
    PageCursor,
    /// A fact of what is told: `message.title`, `condition.since`.
    Told(String),
    /// The value that a slot gets.
    SlotValue,
    /// The value that a slot had when it was read.
    ReadValue,
    /// What the service calls the state of the target that was read.
    ReadVersion,
    ReadFact(String),
    Prepared(String),
    /// The same for every attempt at a delivery, as a UUID.
    DeliveryId,
    /// Says in words who writes.
    Mark,
}

impl Name {
    /// Whether its value must not be seen.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(
            self,
            Self::CredentialPart(_)
                | Self::OldPart(_)
                | Self::WantSecret
                | Self::Jwt
                | Self::SlotValue
                | Self::ReadValue
        )
    }
}

/// The slots of a target, in the body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) slots: Slots,
    /// Values are written in base64.
    pub(crate) base64: bool,
    /// The table is written as a text of JSON.
    pub(crate) text: bool,
    /// A slot is a table of its own; `None`: its value.
    pub(crate) entry: Option<Entry>,
}

/// A slot that is a table of its own. What was read of it stays, but for what is named here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The key of the value.
    pub(crate) value: String,
    /// What else is in it.
    pub(crate) with: Map<String, Value>,
}

/// Which slots are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slots {
    /// Those that are written. The service keeps the others.
    Changed,
    /// All that were read, and among them those that are written.
    Merged,
}

/// Where names get their values when a request is built. A value of null drops the key whose template is just that name.
pub(crate) trait Scope {
    /// The value of a name that is no secret.
    fn value(&self, name: &Name) -> Dynamic;
    /// The value of a secret name.
    fn secret(&self, name: &Name) -> Option<&str>;
    /// What a target is to hold.
    fn document(&self, _document: &Document) -> Result<Value, String> {
        Err("there is no target to write to".to_owned())
    }
}

enum Part {
    Text(String),
    /// A name alone. Looked up without the engine, so that secrets are not copied into its memory.
    Name(String, Name),
    Expression {
        source: String,
        names: Vec<(String, Name)>,
        program: Expression<'static, 'static>,
    },
}

/// A compiled template.
pub(crate) struct Template(Vec<Part>);

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(")?;
        for part in &self.0 {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Name(source, _) | Part::Expression { source, .. } => write!(f, "{{{{ {source} }}}}")?,
            }
        }
        f.write_str(")")
    }
}

impl Template {
    /// Compiles `source`; `bind` says what a dotted name stands for.
    pub(crate) fn new(source: &str, bind: &dyn Fn(&str) -> Result<Name, String>) -> Result<Self, String> {
        for mark in ["{%", "{#"] {
            if source.contains(mark) {
                return Err(format!("`{mark}` has no meaning here, only `{{{{ expression }}}}` has"));
            }
        }
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some(start) = rest.find("{{") {
            if start > 0 {
                parts.push(Part::Text(rest[..start].to_owned()));
            }
            let inside = &rest[start + 2..];
            let end = end_of_expression(inside).ok_or("`{{` without `}}`")?;
            parts.push(Part::new(inside[..end].trim(), bind)?);
            rest = &inside[end + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Every name that it uses.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().flat_map(|part| match part {
            Part::Text(_) => Vec::new(),
            Part::Name(_, name) => vec![name],
            Part::Expression { names, .. } => names.iter().map(|(_, name)| name).collect(),
        })
    }

    /// Whether a value of it must not be seen.
    pub(crate) fn is_secret(&self) -> bool {
        self.names().any(Name::is_secret)
    }

    /// Its literal pieces.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Whether it begins with the account's address.
    pub(crate) fn begins_with_base_url(&self) -> bool {
        matches!(self.0.first(), Some(Part::Name(_, Name::BaseUrl)))
    }

    /// Whether it begins with a parameter that is an address.
    pub(crate) fn begins_with_url(&self, params: &BTreeMap<String, ParamSpec>) -> bool {
        let spec = self.first_param().and_then(|name| params.get(name));
        spec.is_some_and(|spec| spec.kind == ParamKind::Url)
    }

    /// The parameter that it begins with.
    pub(crate) fn first_param(&self) -> Option<&str> {
        match self.0.first() {
            Some(Part::Name(_, Name::Param(name))) => Some(name),
            _ => None,
        }
    }

    /// Its value: of any type where it is one expression, text otherwise.
    pub(crate) fn value(&self, scope: &dyn Scope) -> Result<Value, String> {
        match self.0.as_slice() {
            [Part::Name(source, name)] if name.is_secret() => {
                Ok(Value::from(scope.secret(name).ok_or_else(|| format!("`{source}` is not known"))?))
            }
            [part @ (Part::Name(..) | Part::Expression { .. })] => part.dynamic(scope).and_then(|value| {
                serde_json::to_value(value).map_err(|error| format!("{part:?} cannot be written as JSON: {error}"))
            }),
            _ => Ok(Value::from(self.text(scope)?.as_str())),
        }
    }

    /// Its value as text, `None` where it is one expression without a value.
    pub(crate) fn optional_text(&self, scope: &dyn Scope) -> Result<Option<Zeroizing<String>>, String> {
        if let [Part::Expression { .. } | Part::Name(..)] = self.0.as_slice() {
            return match self.value(scope)? {
                Value::Null => Ok(None),
                Value::String(text) => Ok(Some(Zeroizing::new(text))),
                other => Ok(Some(Zeroizing::new(other.to_string()))),
            };
        }
        self.text(scope).map(Some)
    }

    /// Its value as text.
    pub(crate) fn text(&self, scope: &dyn Scope) -> Result<Zeroizing<String>, String> {
        self.fill(scope, true, |out, text, _| out.push_str(text))
    }

    /// Its value with every expression percent-encoded, save those that are marked as raw. Empty values are errors: in a
    /// path they would make one address into another.
    pub(crate) fn encoded(&self, scope: &dyn Scope) -> Result<Zeroizing<String>, String> {
        self.fill(scope, false, |out, text, raw| if raw { out.push_str(text) } else { percent_encode(out, text) })
    }

    fn fill(
        &self,
        scope: &dyn Scope,
        empty: bool,
        push: impl Fn(&mut String, &str, bool),
    ) -> Result<Zeroizing<String>, String> {
        let mut out = Zeroizing::new(String::new());
        for part in &self.0 {
            match part {
                Part::Text(text) => grow(&mut out, text.len()).push_str(text),
                Part::Name(source, name) if name.is_secret() => {
                    let secret = scope.secret(name).ok_or_else(|| format!("`{source}` is not known"))?;
                    push(grow(&mut out, secret.len() * 3), secret, false);
                }
                part => {
                    let value = part.dynamic(scope)?;
                    let text = match value.as_str() {
                        Some("") if !empty => return Err(format!("{part:?} is empty")),
                        Some(text) => text.to_owned(),
                        None if value.is_none() => return Err(format!("{part:?} has no value")),
                        None if matches!(value.kind(), minijinja::value::ValueKind::Number) => value.to_string(),
                        None => serde_json::to_string(&value).map_err(|error| format!("{part:?}: {error}"))?,
                    };
                    push(grow(&mut out, text.len() * 3), &text, value.is_safe());
                }
            }
        }
        Ok(out)
    }
}

/// Makes room for `more` bytes by moving into a new buffer and wiping the old one: a plain reallocation would leave a
/// copy of a secret behind.
fn grow(text: &mut Zeroizing<String>, more: usize) -> &mut String {
    if text.capacity() - text.len() < more {
        let mut larger = String::with_capacity((text.len() + more) * 2);
        larger.push_str(text);
        text.zeroize();
        **text = larger;
    }
    text
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Name(source, _) | Self::Expression { source, .. } => write!(f, "`{source}`"),
        }
    }
}

impl Part {
    fn new(source: &str, bind: &dyn Fn(&str) -> Result<Name, String>) -> Result<Self, String> {
        if source.is_empty() {
            return Err("`{{ }}` is empty".to_owned());
        }
        // Longer paths lead into a value, which is the engine's business.
        let whole = source.split('.').count() <= 2 && source.split('.').all(is_identifier);
        if whole && !matches!(source, "true" | "false" | "none") {
            return Ok(Self::Name(source.to_owned(), bind(source)?));
        }
        check_size(source)?;
        check_words(source)?;
        let program = ENGINE.compile_expression_owned(source.to_owned()).map_err(|error| explain(source, &error))?;
        let mut used: Vec<String> = program.undeclared_variables(true).into_iter().collect();
        used.sort();
        let names =
            used.into_iter().map(|name| bind(&name).map(|bound| (name, bound))).collect::<Result<Vec<_>, _>>()?;
        check_product(source, &names)?;
        Ok(Self::Expression { source: source.to_owned(), names, program })
    }

    fn dynamic(&self, scope: &dyn Scope) -> Result<Dynamic, String> {
        let look_up = |name: &Name| {
            if name.is_secret() {
                return scope.secret(name).map_or_else(|| Dynamic::from(()), Dynamic::from);
            }
            scope.value(name)
        };
        match self {
            Self::Text(text) => Ok(Dynamic::from(text.as_str())),
            Self::Name(_, name) => Ok(look_up(name)),
            Self::Expression { source, names, program } => {
                let mut roots: BTreeMap<&str, BTreeMap<&str, Dynamic>> = BTreeMap::new();
                let mut context: BTreeMap<&str, Dynamic> = BTreeMap::new();
                for (written, name) in names {
                    let value = look_up(name);
                    match written.split_once('.') {
                        // Of `params.policy.rules` the context holds `params.policy`; the rest is the value's own.
                        Some((root, rest)) => {
                            let leaf = rest.split('.').next().unwrap_or(rest);
                            roots.entry(root).or_default().insert(leaf, value);
                        }
                        None => drop(context.insert(written, value)),
                    }
                }
                for (root, leaves) in roots {
                    context.insert(root, Dynamic::from_pairs(leaves));
                }
                let context = Dynamic::from_pairs(context);
                let value = program.eval(context).map_err(|error| explain(source, &error))?;
                // Null drops a key on purpose; what is undefined was forgotten.
                if value.is_undefined() { Err(format!("`{source}` is undefined")) } else { Ok(value) }
            }
        }
    }
}

fn explain(source: &str, error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("`{source}`: {} ({detail})", error.kind()),
        None => format!("`{source}`: {}", error.kind()),
    }
}

/// The offset of the `}}` that ends an expression: outside of quotes and of braces of its own.
fn end_of_expression(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth > 0 => depth -= 1,
            (None, '}') if text[at..].starts_with("}}") => return Some(at),
            (Some(_) | None, _) => {}
        }
    }
    None
}

/// Whether templates can use `text` as a name.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
